"""The journals below an output folder, as whoever sends them sees them grow. No MLflow here."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fashion_mnist.journal import JOURNAL_FILE, Destination, Journal, read_entries
from fashion_mnist.lock import run_lock, take
from fashion_mnist.tracking.outbox import SWEEPS
from fashion_mnist.tracking.receipt import Receipt, read_receipt


@dataclass
class Watch:
    """What a journal says about itself, read as it grows."""

    folder: Path
    id: str = ""
    offset: int = 0
    last_ms: int = 0
    started: bool = False
    status: str = ""
    destinations: list[Destination] = field(default_factory=list)
    _sent: dict[Destination, Receipt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = self.folder / JOURNAL_FILE

    def look(self) -> None:
        """Reads what is new."""
        if self._size() <= self.offset:
            return  # thousands of old runs are looked at, several times a second
        for entry in read_entries(self.folder, self.offset):
            self.offset, self.last_ms = entry.end, entry.time_ms
            if entry.kind == "journal":
                self.id = entry.content["id"]
            elif entry.kind == "destination":
                self.destinations.append(Destination(**entry.content))
            elif entry.kind == "start":
                self.started = True
            elif entry.kind == "status":
                self.status = entry.content["status"]

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def unfinished(self) -> bool:
        return self.started and self.status in {"", "RUNNING"}

    @property
    def is_sweep(self) -> bool:
        return self.folder.parent.name == SWEEPS

    def receipt(self, destination: Destination) -> Receipt:
        """What the store has. The file is read only while that is not everything."""
        known = self._sent.get(destination, Receipt())  # only its sender writes receipts
        if known.offset < self.offset:
            known = self._sent[destination] = read_receipt(self.folder, destination)
        return known

    def is_behind(self, destination: Destination) -> bool:
        """Whether the store has less than the journal."""
        return self.receipt(destination).offset < self.offset

    def in_place(self, place: str) -> Destination | None:
        """The first of its destinations in this store and experiment."""
        return next((each for each in self.destinations if each.place == place), None)


def end_abandoned(watch: Watch) -> None:
    """Ends a run whose process is gone, at the time of the last thing it said."""
    lock = run_lock(watch.folder)
    if not take(lock):
        return  # somebody goes on with it after all
    try:
        watch.look()
        if watch.unfinished:  # else it ended between our last look and our lock
            with Journal(watch.folder) as journal:
                journal.status("KILLED", watch.last_ms)
    finally:
        lock.release()


def sweeps_by_id(watches: Iterable[Watch]) -> dict[str, Watch]:
    """Those of them that stand for a sweep, by the id of their journal."""
    return {watch.id: watch for watch in watches if watch.is_sweep}
