"""Sends the event logs of an output folder to their stores: the uploader process, `fmnist sync`."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from fashion_mnist.runs.event_log import is_offline, set_offline
from fashion_mnist.runs.events import LOG_FILE, SWEEPS, logged_dirs
from fashion_mnist.runs.files import RETRY_SECONDS
from fashion_mnist.runs.run_state import Destination
from fashion_mnist.tracking.checks import (
    ANSWER_SECONDS,
    UNKNOWN,
    check_store,
    complaint,
    refused_with,
)
from fashion_mnist.tracking.log_upload import LogUpload, Relatives, end_lost_runs
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.upload_state import (
    Outcome,
    Problems,
    outcome,
    problem_key,
    problem_of,
)
from fashion_mnist.tracking.uploader_process import (
    has_writers,
    start_uploader,
    uploader_lock,
    wait_until_uploaded,
)
from fashion_mnist.tracking.watched_log import WatchedLog, end_abandoned

POLL_SECONDS = 0.3
REST = 20  # times as long as a look at all logs, of which a pass takes two
OTHER_SECONDS = 600  # that `sync` waits for an uploader that is at work
LINGER_SECONDS = 5.0  # a next run started by hand finds mlflow imported

log = logging.getLogger(__name__)


class WaitingError(Exception):
    """A run cannot be sent before another; `reason` is None if that one is on its way."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class Uploader:
    """For the process that holds the output folder's `uploader_lock`."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self._logs: dict[Path, WatchedLog] = {}
        self._look_seconds = 0.0
        self._sweeps: dict[str, WatchedLog] = {}  # by the id of their log
        self._deleted: dict[str, bool] = {}
        self._stores: dict[str, Store] = {}
        self.problems = Problems(output_dir)
        self._tidied: set[str] = set()  # places that were looked through for lost runs
        self._refused: set[str] = set()  # places that want another login than ours
        self._complaints: set[str] = set()
        self._sends_without_sweep = False  # runs whose sweep's folder was removed
        self.is_ending = False

    def end(self) -> None:
        """This process is to end: it stays no longer than what is to be sent."""
        self.is_ending = True

    def stay(self) -> None:
        """Sends until no run has a living writer and nothing moves any more."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < LINGER_SECONDS:
            lives = self.writer_lives()  # asked first: what it wrote is then seen by the pass
            if self.poll() or lives:
                quiet_since = time.monotonic()
            elif self.is_ending or self._refused:  # the next one may have the right login
                return
            time.sleep(max(POLL_SECONDS, REST * self._look_seconds))

    def writer_lives(self) -> bool:
        """Whether a process is at work on a run; runs that a dead one left are ended."""
        lives = False
        for watched in self._look():
            try:
                if watched.is_unfinished and watched.has_writer:
                    lives = True
                elif watched.is_unfinished:
                    end_abandoned(watched)
            except OSError as error:  # a directory that cannot be written to
                self._complain(f"{watched.run_dir}: a dead run that cannot be ended: {error}")
        return lives

    def poll(self, *, verify: bool = False) -> bool:
        """One pass over all logs, sweeps first; whether anything was sent.

        `verify` asks the stores also for runs that they should have whole, and records runs whose
        sweep's folder was removed by themselves.
        """
        moved, self._sends_without_sweep = False, verify
        self._deleted.clear()
        for watched in self._look():
            for destination in watched.state.destinations if watched.is_started else []:
                is_due = verify or watched.damage or watched.is_behind(destination)
                if is_due and not is_offline(watched.run_dir):
                    moved |= self._upload_to(watched, destination)
        return moved

    def _look(self) -> list[WatchedLog]:
        began = time.monotonic()
        # in the folders' order, and without those that were removed
        self._logs = {
            run_dir: self._logs.get(run_dir) or WatchedLog(run_dir)
            for run_dir in logged_dirs(self.output_dir)
        }
        for watched in self._logs.values():
            watched.look()
        self._sweeps = {each.state.id: each for each in self._logs.values() if each.is_sweep}
        self._look_seconds = time.monotonic() - began
        return list(self._logs.values())

    def _upload_to(self, watched: WatchedLog, destination: Destination) -> bool:
        place, run = destination.place, problem_key(destination)
        if self.problems.is_paused(place, run):
            return False
        if watched.damage:  # more may be in it than can be read: the store keeps what it has
            path = watched.run_dir / LOG_FILE
            self.problems.report(run, f"{path} {watched.damage}: the run's own command repairs it")
            return False
        try:
            has_moved = self._upload(watched, destination).send()
        except WaitingError as waiting:
            if waiting.reason:
                self.problems.report(run, waiting.reason)
            return False
        except Exception as error:  # the boundary: one run's trouble must not keep the others
            # opened anew the next time: the user may have deleted the run
            watched.open_uploads.pop(destination.id, None)
            is_refused = refused_with(error) == UNKNOWN
            self._refused |= {place} if is_refused else set()
            is_alone = not is_refused and check_store(destination.address, ANSWER_SECONDS) is None
            key, reason = run if is_alone else place, complaint(destination.address, error)
            if reason != self.problems.reason(key):  # a server may be away for days
                log.info("%s: %s", watched.run_dir.name, reason, exc_info=True)
            self.problems.report(key, reason)
            return False
        self.problems.forget(place, run)
        self._refused.discard(place)
        return has_moved

    def _upload(self, watched: WatchedLog, destination: Destination) -> LogUpload:
        uri, known = destination.address, watched.open_uploads.get(destination.id)
        if known is not None and not known.state.is_deleted:  # it may have been restored
            return known
        if uri not in self._stores:
            self._stores[uri] = Store(uri)
        relatives = self._relatives(watched, destination)
        upload = LogUpload(watched, destination, self._stores[uri], relatives)
        watched.open_uploads[destination.id] = upload
        if destination.place not in self._tidied:
            self._tidied.add(destination.place)
            end_lost_runs(self._stores[uri], upload.state.experiment_id, self._identities())
        return upload

    def _identities(self) -> set[str]:
        """The ids that our runs bear in their stores."""
        logs = self._logs.values()
        return {each.identity(place) for each in logs for place in each.state.destinations}

    def _relatives(self, watched: WatchedLog, destination: Destination) -> Relatives:
        """Raises WaitingError while the store lacks the run's parent, or the run it copies."""
        parent = self._parent(watched, destination) if destination.parent else ""
        first = watched.in_place(destination.place)
        original = self._original(watched, first) if first and first != destination else ""
        is_deleted = self._is_deleted(destination.address, parent)
        return Relatives(parent, original, is_parent_deleted=is_deleted)

    def _parent(self, watched: WatchedLog, destination: Destination) -> str:
        sweep = self._sweeps.get(destination.parent)
        wanted = sweep.in_place(destination.place) if sweep else None
        if sweep and wanted:
            run_id = sweep.upload(wanted).run_id
            if not run_id and is_offline(sweep.run_dir):
                raise WaitingError(
                    f"its sweep, {sweep.run_dir}, is kept offline: `fmnist sync` sends it"
                )
            if not run_id:
                raise WaitingError(self._reason(wanted))
            return run_id
        if watched.upload(destination).run_id:
            return ""  # it is there, and bears the tag
        if sweep:
            raise WaitingError(f"its sweep, {sweep.run_dir}, is not recorded there")
        words = f"its sweep is gone: {self.output_dir / SWEEPS} has no log {destination.parent}"
        if not self._sends_without_sweep:  # on a shared folder it may only not be seen yet
            raise WaitingError(f"{words}; `fmnist sync` records it by itself")
        log.warning("%s: %s: recorded by itself", watched.run_dir.name, words)
        return ""

    def _original(self, watched: WatchedLog, first: Destination) -> str:
        state = watched.upload(first)
        # its turn was before: what could not be sent, or was not wanted, is nothing to wait for
        if not state.run_id and not state.is_deleted and not self._reason(first):
            raise WaitingError(None)
        return state.run_id

    def _reason(self, destination: Destination) -> str | None:
        """Why this run is not sent, if it was tried."""
        return self.problems.reason(problem_key(destination))

    def _is_deleted(self, uri: str, parent: str) -> bool:
        """Asks the store once in a pass."""
        if parent and parent not in self._deleted:
            self._deleted[parent] = self._stores[uri].is_deleted(parent)
        return bool(parent) and self._deleted[parent]

    def _complain(self, words: str) -> None:
        """Once, for the same is found several times a second."""
        if words not in self._complaints:
            self._complaints.add(words)
            log.warning(words)


def sync(output_dir: Path) -> Outcome:
    """Sends all that is pending, in this process, or waits for the uploader that is at it.

    What was kept offline is sent too. A run that a store should have and has not (its database was
    removed) is sent to it again, and one that was restored there gets the rest: not beside a run in
    training, whose uploader stays.
    """
    output_dir = output_dir.absolute()  # the store is told where its runs are
    run_dirs = logged_dirs(output_dir)
    if not run_dirs:
        return Outcome([], None)
    for run_dir in run_dirs:
        set_offline(run_dir, False)
    lock, patience = uploader_lock(output_dir), RETRY_SECONDS
    while not lock.acquire(patience):
        if patience == RETRY_SECONDS:  # once
            who = lock.holder_in_words() or "of an unknown number"
            log.warning("the uploader sends them (process %s): waiting for it", who)
        sent = wait_until_uploaded(run_dirs, OTHER_SECONDS)
        # where it has left with something unsent, it may be that only we have the login for it
        is_at_work = has_writers(output_dir) or not sent.is_complete
        if patience != RETRY_SECONDS or (is_at_work and lock.is_held()):
            return sent
        patience = 2 * LINGER_SECONDS  # with one that has nothing left to do
    try:
        uploader = Uploader(output_dir)
        uploader.writer_lives()
        uploader.poll(verify=True)
    finally:
        lock.release()
    if has_writers(output_dir):
        start_uploader(output_dir)  # a run that was begun meanwhile found ours at work
    found = outcome(logged_dirs(output_dir))
    unsent = (each.destination for each in found.uploads if not each.is_complete)
    # as they are known here: a full disk may not have taken their file
    known = (problem_of(destination, uploader.problems.known) for destination in unsent)
    return replace(found, reason=next((problem.reason for problem in known if problem), None))
