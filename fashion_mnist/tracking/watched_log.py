"""An event log as the uploader sees it grow, and how far each store has it. No MLflow here."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from fashion_mnist.config.messages import first_line_of
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE, SWEEPS, damage, holds, log_size
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.tracking.upload_state import UploadState

if TYPE_CHECKING:  # which imports MLflow
    from fashion_mnist.tracking.log_upload import LogUpload

# What is read of every log, several times a second; the rest when it is sent.
KINDS = ("log", "destination", "start", "status")

log = logging.getLogger(__name__)


@dataclass
class WatchedLog:
    """An event log as the uploader sees it grow."""

    run_dir: Path
    state: RunState = field(init=False)  # of `KINDS`
    damage: str = ""  # why not all of it can be read, in words; empty where it can
    open_uploads: "dict[str, LogUpload]" = field(default_factory=dict)  # by destinations' ids
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
                # it is another log by now: repaired, or put in its place
                self.state = RunState(run_dir=self.run_dir)
                self.open_uploads.clear()
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
    def is_started(self) -> bool:
        """Whether there is something to send."""
        return bool(self.state.started_ms)

    @property
    def is_unfinished(self) -> bool:
        """Whether the run has begun and not ended."""
        return self.is_started and self.state.status in {"", "RUNNING"}

    @property
    def has_writer(self) -> bool:
        """Whether a living process, also this one, holds the lock of its directory."""
        return run_lock(self.run_dir).is_held()

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for a sweep."""
        return self.run_dir.parent.name == SWEEPS

    def upload(self, destination: Destination) -> UploadState:
        """What the store has. The file is read only while that is not everything."""
        known = self._uploads.get(destination, UploadState())  # only its uploader writes it
        if known.mark != self.state.mark:
            known = self._uploads[destination] = UploadState.read(destination)
        return known

    def is_behind(self, destination: Destination) -> bool:
        """Whether the store has less than the log, or has another one."""
        known = self.upload(destination)
        if known.is_deleted:
            return known.deleted_at != log_size(self.run_dir)
        return known.mark != self.state.mark

    def in_place(self, place: str) -> Destination | None:
        """The first of its destinations in this store and experiment."""
        return next((each for each in self.state.destinations if each.place == place), None)

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
