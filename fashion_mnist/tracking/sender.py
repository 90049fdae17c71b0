"""Carries all journals of an output folder to their stores: the sending process, `fmnist sync`."""

import logging
import time
from pathlib import Path

from fashion_mnist.runs.event_log import LOG_FILE, Destination
from fashion_mnist.runs.files import has_writer, take
from fashion_mnist.tracking.address import absolute_uri, check_store
from fashion_mnist.tracking.delivery import Delivery, Kin
from fashion_mnist.tracking.login import UNKNOWN, refused_with
from fashion_mnist.tracking.outbox import (
    ANSWER_SECONDS,
    SWEEPS,
    Outcome,
    is_kept_back,
    journal_folders,
    keep_back,
    outcome,
    sender_lives,
    sender_lock,
    wait_until_sent,
)
from fashion_mnist.tracking.problems import Problems, complaint, problem_key
from fashion_mnist.tracking.receipt import Receipt
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.watch import Watch, end_abandoned, sweeps_by_id
from fashion_mnist.tracking.zombies import end_zombies

POLL_SECONDS = 0.3
REST = 20  # times as long as a look at all journals, of which a round takes two
LINGER_SECONDS = 5.0  # a next run started by hand finds mlflow imported

log = logging.getLogger(__name__)


class WaitingError(Exception):
    """A run cannot be sent before another; `reason` is None if that one is on its way."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class Sender:
    """Whoever holds the output folder's `sender_lock` may have one."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self._watches: dict[Path, Watch] = {}
        self._look_seconds = 0.0
        self._sweeps: dict[str, Watch] = {}
        self._thrown_away: dict[str, bool] = {}
        self._stores: dict[str, Store] = {}
        self._deliveries: dict[tuple[Path, str, str], Delivery] = {}
        self.problems = Problems(output_dir)
        self._tidied: set[str] = set()  # places that were looked through for zombies
        self._refused: set[str] = set()  # places that want another login than ours
        self._complaints: set[str] = set()
        self.is_ending = False

    def end(self) -> None:
        """Somebody wants this process to end: it stays no longer than what is to be sent."""
        self.is_ending = True

    def stay(self) -> None:
        """Sends until no run has a living writer and nothing moves any more."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < LINGER_SECONDS:
            lives = self.writer_lives()  # asked first: what it wrote is then seen by the pass
            if self.carry() or lives:
                quiet_since = time.monotonic()
            elif self.is_ending or self._refused:  # the next one may have the right login
                return
            time.sleep(max(POLL_SECONDS, REST * self._look_seconds))

    def writer_lives(self) -> bool:
        """Whether a process is at work on a run; runs that a dead one left are ended."""
        lives = False
        for watch in self._look():
            try:
                if watch.unfinished and has_writer(watch.folder):
                    lives = True
                elif watch.unfinished:
                    end_abandoned(watch)
            except OSError as error:  # a folder that cannot be written to
                self._complain(f"{watch.folder}: a dead run that cannot be ended: {error}")
        return lives

    def carry(self, *, verify: bool = False) -> bool:
        """One pass over all journals, sweeps first; whether anything was sent.

        `verify` asks the stores also for runs that they should have whole.
        """
        moved = False
        self._thrown_away.clear()
        for watch in self._look():
            for destination in watch.destinations if watch.started else []:
                is_due = verify or watch.damage or watch.is_behind(destination)
                if is_due and not is_kept_back(watch.folder):
                    moved |= self._carry_to(watch, destination)
        return moved

    def _look(self) -> list[Watch]:
        began = time.monotonic()
        folders = journal_folders(self.output_dir)
        # in the folders' order, and without those that were removed
        self._watches = {folder: self._watches.get(folder) or Watch(folder) for folder in folders}
        for watch in self._watches.values():
            watch.look()
        self._sweeps = sweeps_by_id(self._watches.values())
        self._look_seconds = time.monotonic() - began
        return list(self._watches.values())

    def _carry_to(self, watch: Watch, destination: Destination) -> bool:
        folder = watch.folder
        place, run = destination.place, problem_key(folder, destination)
        if self.problems.is_paused(place, run):
            return False
        if watch.damage:  # more may be in it than can be read: the store keeps what it has
            journal = folder / LOG_FILE
            self.problems.report(run, f"{journal} {watch.damage}: the run's own command mends it")
            return False
        try:
            has_moved = self._delivery(watch, destination).send()
        except WaitingError as waiting:
            if waiting.reason:
                self.problems.report(run, waiting.reason)
            return False
        except Exception as error:  # the boundary: one run's trouble must not keep the others
            # opened anew the next time: the user may have deleted the run
            self._deliveries.pop((folder, destination.id, watch.id), None)
            is_refused = refused_with(error) == UNKNOWN
            self._refused |= {place} if is_refused else set()
            key = run if not is_refused and self._answers(destination.uri) else place
            self.problems.report(key, complaint(destination.uri, error))
            log.warning("%s: %s", folder.name, self.problems.reason(key), exc_info=True)
            return False
        self.problems.forget(place, run)
        self._refused.discard(place)
        return has_moved

    def _delivery(self, watch: Watch, destination: Destination) -> Delivery:
        uri, key = destination.uri, (watch.folder, destination.id, watch.id)
        if key not in self._deliveries:
            if uri not in self._stores:
                self._stores[uri] = Store(absolute_uri(uri))
            kin = self._kin(watch, destination)
            delivery = Delivery(watch, destination, self._stores[uri], kin)
            self._deliveries[key] = delivery
            if destination.place not in self._tidied:
                self._tidied.add(destination.place)
                end_zombies(self._stores[uri], delivery.receipt.experiment_id, self._identities())
        return self._deliveries[key]

    def _identities(self) -> set[str]:
        """The ids that our runs bear in their stores."""
        return {
            watch.identity(destination)
            for watch in self._watches.values()
            for destination in watch.destinations
        }

    def _kin(self, watch: Watch, destination: Destination) -> Kin:
        """Raises WaitingError while the store lacks the run's parent, or the run it copies."""
        parent = self._parent(watch, destination) if destination.parent else ""
        first = watch.in_place(destination.place)
        original = self._original(watch, first) if first and first != destination else ""
        return Kin(parent, original, is_orphan=self._is_thrown_away(destination.uri, parent))

    def _parent(self, watch: Watch, destination: Destination) -> str:
        sweep = self._sweeps.get(destination.parent)
        wanted = sweep.in_place(destination.place) if sweep else None
        if sweep and wanted:
            run_id = sweep.receipt(wanted).run_id
            if not run_id and is_kept_back(sweep.folder):
                raise WaitingError(
                    f"its sweep, {sweep.folder}, is kept back: `fmnist sync` sends it"
                )
            if not run_id:
                raise WaitingError(self._reason(sweep, wanted))
            return run_id
        if watch.receipt(destination).run_id:
            return ""  # it is there, and bears the tag
        if sweep:
            raise WaitingError(f"its sweep, {sweep.folder}, is not recorded there")
        sweeps = self.output_dir / SWEEPS
        raise WaitingError(f"its sweep is gone: {sweeps} has no journal {destination.parent}")

    def _original(self, watch: Watch, first: Destination) -> str:
        receipt = watch.receipt(first)
        # its turn was before: what could not be sent, or was not wanted, is nothing to wait for
        if receipt == Receipt() and not self._reason(watch, first):
            raise WaitingError(None)
        return receipt.run_id

    def _reason(self, watch: Watch, destination: Destination) -> str | None:
        """Why this run is not sent, if it was tried."""
        return self.problems.reason(problem_key(watch.folder, destination))

    def _is_thrown_away(self, uri: str, parent: str) -> bool:
        """Asks the store once in a pass."""
        if parent and parent not in self._thrown_away:
            self._thrown_away[parent] = self._stores[uri].is_thrown_away(parent)
        return bool(parent) and self._thrown_away[parent]

    def _complain(self, words: str) -> None:
        """Once, for the same is found several times a second."""
        if words not in self._complaints:
            self._complaints.add(words)
            log.warning(words)

    def _answers(self, uri: str) -> bool:
        return check_store(uri, ANSWER_SECONDS) is None


def sync(output_dir: Path, timeout_seconds: float = 600) -> Outcome:
    """Sends all that is pending, in this process, or waits for the sender that is at it.

    What was kept back is sent too. A run that a store should have and has not (its database was
    removed) is sent to it again.
    """
    folders = journal_folders(output_dir)
    if not folders:
        return Outcome([], None)
    for folder in folders:
        keep_back(folder, is_wanted=False)
    lock = sender_lock(output_dir)
    while not take(lock):
        sent = wait_until_sent(folders, timeout_seconds)
        # where it has left with something unsent, it may be that only we have the login for it
        if sent.sent or sender_lives(output_dir):
            return sent
    try:
        sender = Sender(output_dir)
        sender.writer_lives()
        sender.carry(verify=True)
    finally:
        lock.release()
    return outcome(journal_folders(output_dir), next(iter(sender.problems.reasons()), None))
