"""The journals below an output folder, as whoever sends them sees them grow. No MLflow here."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid5

from fashion_mnist.console import first_line_of
from fashion_mnist.runs.event_log import (
    LOG_FILE,
    START,
    Destination,
    Event,
    EventLog,
    Mark,
    damage,
    holds,
    read_events,
)
from fashion_mnist.runs.files import run_lock, take
from fashion_mnist.tracking.address import is_address
from fashion_mnist.tracking.outbox import SWEEPS
from fashion_mnist.tracking.receipt import Receipt, read_receipt

log = logging.getLogger(__name__)


@dataclass
class Watch:
    """What a journal says about itself, read as it grows."""

    folder: Path
    id: str = ""
    mark: Mark = START
    last_ms: int = 0
    started: bool = False
    status: str = ""
    destinations: list[Destination] = field(default_factory=list)
    damage: str = ""  # why not all of it can be read, in words; empty where it can
    _sent: dict[Destination, Receipt] = field(default_factory=dict)
    _seen: tuple[int, int] = (0, 0)

    def look(self) -> None:
        """Reads what is new."""
        try:
            state = self._state_of_file()
            if state == self._seen:
                return  # thousands of old runs are looked at, several times a second
            if not holds(self.folder, self.mark):
                self._forget()
            for entry in read_events(self.folder, self.mark):
                self._read(entry)
            wrong = damage(self.folder, self.mark)
            self._seen = state
        except OSError as error:
            wrong = f"cannot be read: {first_line_of(error)}"
        if wrong and wrong != self.damage:
            log.warning("%s %s", self.folder / LOG_FILE, wrong)
        self.damage = wrong

    def _state_of_file(self) -> tuple[int, int]:
        try:
            file = (self.folder / LOG_FILE).stat()
        except FileNotFoundError:
            return 0, 0
        return file.st_size, file.st_mtime_ns

    def _forget(self) -> None:
        """It is another journal by now: mended, or put in the other's place."""
        self.mark, self.id, self.started, self.status, self.destinations = START, "", False, "", []

    def _read(self, entry: Event) -> None:
        self.mark, self.last_ms = entry.mark, entry.time_ms
        match entry.kind:
            case "log":
                self.id = entry.content["id"]
            case "destination" if is_address(entry.content["uri"]):
                self.destinations.append(Destination.of(entry.content))
            case "start":
                self.started = True
            case "status":
                self.status = entry.content["status"]

    @property
    def unfinished(self) -> bool:
        return self.started and self.status in {"", "RUNNING"}

    @property
    def is_sweep(self) -> bool:
        return self.folder.parent.name == SWEEPS

    def receipt(self, destination: Destination) -> Receipt:
        """What the store has. The file is read only while that is not everything."""
        known = self._sent.get(destination, Receipt())  # only its sender writes receipts
        if known.mark != self.mark:
            known = self._sent[destination] = read_receipt(self.folder, destination)
        return known

    def is_behind(self, destination: Destination) -> bool:
        """Whether the store has less than the journal, or has another one."""
        return self.receipt(destination).mark != self.mark

    def in_place(self, place: str) -> Destination | None:
        """The first of its destinations in this store and experiment."""
        return next((each for each in self.destinations if each.place == place), None)

    def identity(self, destination: Destination) -> str:
        """The id that the run bears there: the journal's own, or a copy's, always the same.

        The first destination in a store and experiment is the run itself.
        """
        if destination == self.in_place(destination.place):
            return self.id
        return uuid5(UUID(self.id), destination.parent).hex


def end_abandoned(watch: Watch) -> None:
    """Ends a run whose process is gone, at the time of the last thing it said."""
    lock = run_lock(watch.folder)
    if not take(lock):
        return  # somebody goes on with it after all
    try:
        watch.look()
        # a damaged journal may have more to say: whoever trains the run again mends it
        if watch.unfinished and not watch.damage:
            with EventLog(watch.folder) as journal:
                journal.status("KILLED", watch.last_ms)
    finally:
        lock.release()


def sweeps_by_id(watches: Iterable[Watch]) -> dict[str, Watch]:
    """Those of them that stand for a sweep, by the id of their journal."""
    return {watch.id: watch for watch in watches if watch.is_sweep}
