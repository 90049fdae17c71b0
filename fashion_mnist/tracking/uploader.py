"""Sends the event logs of an output folder to their stores: the uploader process, `fmnist sync`."""

import json
import logging
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from mlflow.entities import Run

from fashion_mnist.console import first_line_of
from fashion_mnist.runs.event_log import (
    LOG_FILE,
    START,
    Destination,
    EventLog,
    RunState,
    damage,
    file_in,
    holds,
    is_offline,
    log_size,
    set_offline,
)
from fashion_mnist.runs.files import has_writer, run_lock
from fashion_mnist.tracking.packaged_model import UnreadableError, save_network
from fashion_mnist.tracking.recorded import COPY_TAG, ID_TAG, PARENT_TAG, STATE_TAG
from fashion_mnist.tracking.saved_views import sweep_view
from fashion_mnist.tracking.store import IMAGES_TAG, Point, Store
from fashion_mnist.tracking.upload_state import (
    ANSWER_SECONDS,
    SWEEPS,
    Outcome,
    Problems,
    UploadState,
    logged_dirs,
    outcome,
    problem_key,
    read_upload_state,
    start_uploader,
    uploader_lives,
    uploader_lock,
    wait_until_uploaded,
    write_upload_state,
)
from fashion_mnist.tracking.uri import UNKNOWN, check_store, complaint, refused_with

POLL_SECONDS = 0.3
REST = 20  # times as long as a look at all logs, of which a pass takes two
LINGER_SECONDS = 5.0  # a next run started by hand finds mlflow imported
CREATE_SECONDS = 60  # a server that was asked to make a run may be at it for so long
# What the uploader reads of every log, several times a second; the rest when it is sent.
KINDS = ("log", "destination", "start", "status")

log = logging.getLogger(__name__)


@dataclass
class WatchedLog:
    """An event log as the uploader sees it grow."""

    run_dir: Path
    state: RunState = field(init=False)  # of `KINDS`
    damage: str = ""  # why not all of it can be read, in words; empty where it can
    _uploads: dict[Destination, UploadState] = field(default_factory=dict)
    _seen: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.state = RunState(run_dir=self.run_dir)

    def look(self) -> None:
        """Reads what is new."""
        try:
            now = self._state_of_file()
            if now == self._seen:
                return  # thousands of old runs are looked at, several times a second
            if not holds(self.run_dir, self.state.mark):
                self.state = RunState(
                    run_dir=self.run_dir
                )  # it is another log by now: repaired, or put in its place
            self.state.read_on(kinds=KINDS)
            wrong = damage(self.run_dir, self.state.mark)
            self._seen = now
        except OSError as error:
            wrong = f"cannot be read: {first_line_of(error)}"
        if wrong and wrong != self.damage:
            log.warning("%s %s", self.run_dir / LOG_FILE, wrong)
        self.damage = wrong

    def _state_of_file(self) -> tuple[int, int]:
        try:
            file = (self.run_dir / LOG_FILE).stat()
        except FileNotFoundError:
            return 0, 0
        return file.st_size, file.st_mtime_ns

    @property
    def destinations(self) -> list[Destination]:
        """Where the run is to be recorded; what cannot be a store is left out."""
        return [place for place in self.state.destinations if place.is_valid]

    @property
    def is_started(self) -> bool:
        """Whether there is something to send."""
        return bool(self.state.started_ms)

    @property
    def is_unfinished(self) -> bool:
        """Whether the run has begun and not ended."""
        return self.is_started and self.state.status in {"", "RUNNING"}

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for a sweep."""
        return self.run_dir.parent.name == SWEEPS

    def upload(self, destination: Destination) -> UploadState:
        """What the store has. The file is read only while that is not everything."""
        known = self._uploads.get(destination, UploadState())  # only its uploader writes it
        if known.mark != self.state.mark:
            known = self._uploads[destination] = read_upload_state(self.run_dir, destination)
        return known

    def is_behind(self, destination: Destination) -> bool:
        """Whether the store has less than the log, or has another one."""
        known = self.upload(destination)
        if known.deleted_at >= 0:
            return known.deleted_at != log_size(self.run_dir)
        return known.mark != self.state.mark

    def in_place(self, place: str) -> Destination | None:
        """The first of its destinations in this store and experiment."""
        return next((each for each in self.destinations if each.place == place), None)

    def identity(self, destination: Destination) -> str:
        """The id that the run bears there: the log's own, or a copy's, always the same.

        The first destination in a store and experiment is the run itself.
        """
        if destination == self.in_place(destination.place):
            return self.state.id
        return uuid5(UUID(self.state.id), destination.parent).hex


def end_abandoned(watched: WatchedLog) -> None:
    """Ends a run whose process is gone, at the time of its last event."""
    lock = run_lock(watched.run_dir)
    if not lock.acquire(0):
        return  # another process goes on with it after all
    try:
        watched.look()
        # a damaged log may hold more: the run's own command repairs it
        if watched.is_unfinished and not watched.damage:
            with EventLog(watched.run_dir) as event_log:
                event_log.status("KILLED", event_log.state.time_ms)
    finally:
        lock.release()


@dataclass(frozen=True)
class Relatives:
    """What a run is to others in its store, by their run ids; empty where it is nothing."""

    parent: str = ""  # the sweep that it belongs to
    original: str = ""  # the same run, which was in this experiment first
    is_orphan: bool = False  # its parent was deleted

    def tags(self) -> dict[str, str]:
        """The tags that say so."""
        tags = {PARENT_TAG: self.parent, COPY_TAG: self.original}
        return {key: run_id for key, run_id in tags.items() if run_id}


class LogUpload:
    """One log on its way to one destination.

    Raises `MlflowException` or OSError where the store does not take something; the upload state
    then stands before it, and the next `send` goes on there.
    """

    def __init__(
        self, watched: WatchedLog, destination: Destination, store: Store, relatives: Relatives
    ) -> None:
        self.run_dir = watched.run_dir
        self.destination = destination
        self.store = store
        self.identity = watched.identity(destination)
        self._created_ms = watched.state.created_ms
        self._steps: dict[str, set[int]] | None = None  # that the store has, where it is asked
        self.state = read_upload_state(self.run_dir, destination)
        self._open(watched, relatives)

    def send(self) -> bool:
        """Sends all that the log holds beyond the upload state; whether that is anything.

        Nothing but the status depends on the order of events: the last value counts.
        """
        if self.state.deleted_at >= 0:
            return False
        if not holds(self.run_dir, self.state.mark):
            log.warning("%s: the log is not the one that was sent: from its start", self.run_dir)
            self._sign(offset=0, crc=0)
            self._steps = {}
        news = RunState.read(self.run_dir, self.state.mark)
        if news.mark == self.state.mark:
            return False
        run_id = self.state.run_id
        if any(kind == "image" for kind, _ in news.files):
            news.tags[IMAGES_TAG] = "True"
        self.store.log_batch(run_id, list(self._unknown(news)), news.params, news.tags)
        self.store.log_datasets(run_id, news.datasets)
        for kind, content, file in self._existing(news):
            try:
                self._send_file(kind, content, file)
            except UnreadableError as error:
                log.warning("%s: left out", error)
        for view in news.views.values():
            page = sweep_view(view["name"], view["columns"], view["axes"], run_id)
            self.store.save_view(self.state.experiment_id, view["key"], page)
        # last of all: a reader that sees a run ended may read what it left
        if news.status:
            self.store.set_status(run_id, news.status, news.status_ms)
        self._sign(offset=news.mark.offset, crc=news.mark.crc)
        return True

    def _unknown(self, news: RunState) -> Iterator[Point]:
        """The points that the store may not have.

        A point that is sent twice is the same one. Only a log that was sent before and repaired may
        hold points that were measured again, at another time: the store is asked for each metric.
        """
        for (step, key), (value, time_ms) in news.points.items():
            if self._steps is not None:
                if key not in self._steps:
                    self._steps[key] = self.store.steps(self.state.run_id, key)
                if step in self._steps[key]:
                    continue
            yield key, value, time_ms, step

    def _open(self, watched: WatchedLog, relatives: Relatives) -> None:
        """Find the run that the store has, or make it."""
        experiment_id = self.store.experiment(self.destination.experiment)
        run = self.store.find_run(experiment_id, self.identity)
        if run is None and relatives.is_orphan:
            log.info("%s: its sweep was deleted in the store: not sent", self.run_dir.name)
            self._sign(deleted_at=log_size(self.run_dir), experiment_id=experiment_id)
        elif run is None:
            self._create(watched.state, experiment_id, relatives)
        elif run.info.lifecycle_stage == "deleted":
            log.info("%s: deleted in the store, not sent again", self.run_dir.name)
            run_id, size = str(run.info.run_id), log_size(self.run_dir)
            self._sign(run_id=run_id, experiment_id=experiment_id, deleted_at=size)
        else:
            self._take_up(run, watched.state, experiment_id, relatives)

    def _create(self, state: RunState, experiment_id: str, relatives: Relatives) -> None:
        waited = time.time() - self.state.requested_ms / 1000
        if waited < CREATE_SECONDS:  # also in the life of another uploader
            raise OSError("the store did not answer when the run was made; it may still make it")
        self.state = UploadState(experiment_id=experiment_id)
        if self.destination.address.startswith("http"):
            self._sign(requested_ms=time.time_ns() // 1_000_000)
        name = self.destination.name or state.name
        tags = {ID_TAG: self.identity, STATE_TAG: place_of(self.run_dir), **relatives.tags()}
        tags["mlflow.source.name"] = "fmnist train"
        if "git_commit" in state.tags:
            tags["mlflow.source.git.commit"] = state.tags["git_commit"]
        run_id = self.store.create_run(experiment_id, name, state.started_ms, tags)
        self._sign(run_id=run_id, requested_ms=0)

    def _take_up(self, run: Run, state: RunState, experiment_id: str, relatives: Relatives) -> None:
        run_id = str(run.info.run_id)
        # a parent that was sent anew, to a store that had lost it, has another run id
        tags = relatives.tags() | {STATE_TAG: place_of(self.run_dir)}
        wrong = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
        if wrong:
            self.store.log_batch(run_id, [], {}, wrong)
        if state.status == "RUNNING" and run.info.status != "RUNNING":  # it was taken for dead
            self.store.set_status(run_id, "RUNNING", state.started_ms)
        if self.state.run_id != run_id:
            self.state = UploadState()
        if self.state.mark == START:
            self._steps = {}
        self._sign(run_id=run_id, experiment_id=experiment_id, requested_ms=0, deleted_at=-1)

    def _sign(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        write_upload_state(self.run_dir, self.destination, state)
        self.state = state

    def _existing(self, news: RunState) -> Iterator[tuple[str, dict[str, Any], Path]]:
        """The files that are there, below the run's directory: kind and content of the event."""
        for (kind, _), content in news.files.items():
            root = self.run_dir if kind == "model" else self.run_dir / "artifacts"
            file = file_in(self.run_dir, root, content["path"])
            if file is not None:
                yield kind, content, file
            else:
                log.warning("%s: no file %r in it: left out", self.run_dir, content["path"])

    def _send_file(self, kind: str, content: dict[str, Any], file: Path) -> None:
        run_id = self.state.run_id
        if kind == "artifact":
            self.store.log_file(run_id, file, content["path"])
        elif kind == "image":
            key, step = content["key"], content["step"]
            # drawn anew, it would be one image more
            unique = uuid5(UUID(self.identity), f"{key} {step}")
            self.store.log_image(
                run_id, file, key=key, step=step, unique=unique, time_ms=self._created_ms
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_network(file, Path(folder, "model"))
                self.store.log_model(run_id, self.state.experiment_id, Path(folder, "model"))


def place_of(run_dir: Path) -> str:
    """Where the run is written: the host and its directory, in JSON."""
    return json.dumps({"host": socket.gethostname(), "dir": str(run_dir)})


def end_lost_runs(store: Store, experiment_id: str, known: Iterable[str]) -> None:
    """Ends the runs that the store shows as running and whose directory on this host is gone.

    No process can go on with them. A dead run whose log is here is ended there, and sent.

    Args:
        known: ids of the runs whose logs are here.
    """
    here = set(known)
    for run in store.running_runs(experiment_id):
        try:
            place = json.loads(run.data.tags[STATE_TAG])
            is_gone = place["host"] == socket.gethostname() and not Path(place["dir"]).exists()
        except (ValueError, LookupError, TypeError, OSError):
            continue
        if is_gone and run.data.tags[ID_TAG] not in here:
            store.set_status(run.info.run_id, "KILLED", store.last_ms(run))
            log.info("%s: its directory is gone: ended", run.info.run_name)


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
        self._uploads: dict[tuple[Path, str, str], LogUpload] = {}
        self.problems = Problems(output_dir)
        self._tidied: set[str] = set()  # places that were looked through for lost runs
        self._refused: set[str] = set()  # places that want another login than ours
        self._complaints: set[str] = set()
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
                if watched.is_unfinished and has_writer(watched.run_dir):
                    lives = True
                elif watched.is_unfinished:
                    end_abandoned(watched)
            except OSError as error:  # a directory that cannot be written to
                self._complain(f"{watched.run_dir}: a dead run that cannot be ended: {error}")
        return lives

    def poll(self, *, verify: bool = False) -> bool:
        """One pass over all logs, sweeps first; whether anything was sent.

        `verify` asks the stores also for runs that they should have whole.
        """
        moved = False
        self._deleted.clear()
        for watched in self._look():
            for destination in watched.destinations if watched.is_started else []:
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
        run_dir = watched.run_dir
        place, run = destination.place, problem_key(run_dir, destination)
        if self.problems.is_paused(place, run):
            return False
        if watched.damage:  # more may be in it than can be read: the store keeps what it has
            path = run_dir / LOG_FILE
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
            self._uploads.pop((run_dir, destination.id, watched.state.id), None)
            is_refused = refused_with(error) == UNKNOWN
            self._refused |= {place} if is_refused else set()
            is_alone = not is_refused and check_store(destination.address, ANSWER_SECONDS) is None
            key = run if is_alone else place
            self.problems.report(key, complaint(destination.address, error))
            log.info("%s: %s", run_dir.name, self.problems.reason(key), exc_info=True)
            return False
        self.problems.forget(place, run)
        self._refused.discard(place)
        return has_moved

    def _upload(self, watched: WatchedLog, destination: Destination) -> LogUpload:
        uri, key = destination.address, (watched.run_dir, destination.id, watched.state.id)
        if key in self._uploads and self._uploads[key].state.deleted_at >= 0:
            del self._uploads[key]  # it may have been restored
        if key not in self._uploads:
            if uri not in self._stores:
                self._stores[uri] = Store(uri)
            relatives = self._relatives(watched, destination)
            upload = LogUpload(watched, destination, self._stores[uri], relatives)
            self._uploads[key] = upload
            if destination.place not in self._tidied:
                self._tidied.add(destination.place)
                end_lost_runs(self._stores[uri], upload.state.experiment_id, self._identities())
        return self._uploads[key]

    def _identities(self) -> set[str]:
        """The ids that our runs bear in their stores."""
        logs = self._logs.values()
        return {each.identity(place) for each in logs for place in each.destinations}

    def _relatives(self, watched: WatchedLog, destination: Destination) -> Relatives:
        """Raises WaitingError while the store lacks the run's parent, or the run it copies."""
        parent = self._parent(watched, destination) if destination.parent else ""
        first = watched.in_place(destination.place)
        original = self._original(watched, first) if first and first != destination else ""
        return Relatives(parent, original, is_orphan=self._is_deleted(destination.address, parent))

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
                raise WaitingError(self._reason(sweep, wanted))
            return run_id
        if watched.upload(destination).run_id:
            return ""  # it is there, and bears the tag
        if sweep:
            raise WaitingError(f"its sweep, {sweep.run_dir}, is not recorded there")
        sweeps = self.output_dir / SWEEPS
        raise WaitingError(f"its sweep is gone: {sweeps} has no log {destination.parent}")

    def _original(self, watched: WatchedLog, first: Destination) -> str:
        state = watched.upload(first)
        # its turn was before: what could not be sent, or was not wanted, is nothing to wait for
        if not state.run_id and state.deleted_at < 0 and not self._reason(watched, first):
            raise WaitingError(None)
        return state.run_id

    def _reason(self, watched: WatchedLog, destination: Destination) -> str | None:
        """Why this run is not sent, if it was tried."""
        return self.problems.reason(problem_key(watched.run_dir, destination))

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


def sync(output_dir: Path, timeout_seconds: float = 600) -> Outcome:
    """Sends all that is pending, in this process, or waits for the uploader that is at it.

    What was kept offline is sent too. A run that a store should have and has not (its database was
    removed) is sent to it again, and one that was restored there gets the rest.
    """
    run_dirs = logged_dirs(output_dir)
    if not run_dirs:
        return Outcome([], None)
    for run_dir in run_dirs:
        set_offline(run_dir, False)
    lock = uploader_lock(output_dir)
    while not lock.acquire():
        sent = wait_until_uploaded(run_dirs, timeout_seconds)
        # where it has left with something unsent, it may be that only we have the login for it
        if sent.is_complete or uploader_lives(output_dir):
            return sent
    try:
        uploader = Uploader(output_dir)
        uploader.writer_lives()
        uploader.poll(verify=True)
        reason = next(iter(uploader.problems.reasons()), None)
    finally:
        lock.release()
    if any(map(has_writer, run_dirs := logged_dirs(output_dir))):
        start_uploader(output_dir)  # a run that was begun meanwhile found ours at work
    return outcome(run_dirs, reason)
