"""One journal carried to one store: what is new in it, in order, each piece once."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fashion_mnist.journal import Destination, Entry, journal_size, read_entries
from fashion_mnist.tracking.packaging import save_network
from fashion_mnist.tracking.receipt import Receipt, read_receipt, write_receipt
from fashion_mnist.tracking.store import Store

MOST_POINTS = 1000  # metrics in one request
log = logging.getLogger(__name__)


@dataclass
class Batch:
    """Entries that go in one request; `end` is the byte after the last of them."""

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    end: int = 0

    def add(self, entry: Entry) -> bool:
        """Takes the entry, if it is of a kind that is sent in batches and has room."""
        content = entry.content
        match entry.kind:
            case "journal" | "destination":
                pass
            case "start":
                self.params |= content["params"]
                self.tags |= content["tags"]
            case "tags":
                self.tags |= content["values"]
            case "metrics" if self._has_room(len(content["values"])):
                points = content["values"].items()
                step = content["step"]
                self.metrics += [(key, value, entry.time_ms, step) for key, value in points]
            case _:
                return False
        self.end = entry.end
        return True

    def _has_room(self, points: int) -> bool:
        return not self.metrics or len(self.metrics) + points <= MOST_POINTS


def batches(entries: Iterable[Entry]) -> Iterator[Batch | Entry]:
    """Runs of entries gathered, the others (files, status) as they are; order kept."""
    batch = Batch()
    for entry in entries:
        if batch.add(entry):
            continue
        if batch.end:
            yield batch
            batch = Batch()
        if not batch.add(entry):
            yield entry
    if batch.end:
        yield batch


class Delivery:
    """The way of one run's folder to one destination.

    Raises `MlflowException` or OSError where the store does not take something; the receipt then
    stands before it, and the next `send` goes on there.
    """

    def __init__(self, folder: Path, destination: Destination, store: Store) -> None:
        self.folder = folder
        self.destination = destination
        self.store = store
        header, start = first_entries(folder)
        self.journal_id: str = header.content["id"]
        self.born_ms = header.time_ms
        self.receipt = self._open(start)

    def send(self) -> None:
        """Tells the store all that the journal holds beyond the receipt."""
        for piece in batches(read_entries(self.folder, self.receipt.offset)):
            if isinstance(piece, Batch):
                run_id = self.receipt.run_id
                self.store.log(run_id, piece.metrics, piece.params, piece.tags)
            else:
                self._send_entry(piece)
            self._sign(replace(self.receipt, offset=piece.end))

    def _open(self, start: Entry) -> Receipt:
        """The receipt for the run that the store has, or has now."""
        experiment_id = self.store.experiment(self.destination.experiment)
        receipt = read_receipt(self.folder, self.destination)
        run = self.store.find_run(experiment_id, self.journal_id)
        if run is None:
            name = start.content["name"]
            run_id = self.store.create_run(experiment_id, self.journal_id, name, start.time_ms)
            return self._sign(Receipt(0, run_id, experiment_id))
        if run.info.lifecycle_stage == "deleted":
            log.info("%s: thrown away in the store, not sent again", self.folder.name)
            return self._sign(Receipt(journal_size(self.folder), run.info.run_id, experiment_id))
        known = receipt if receipt.run_id == run.info.run_id else Receipt()
        return self._sign(Receipt(known.offset, run.info.run_id, experiment_id))

    def _sign(self, receipt: Receipt) -> Receipt:
        write_receipt(self.folder, self.destination, receipt)
        self.receipt = receipt
        return receipt

    def _send_entry(self, entry: Entry) -> None:
        run_id, content = self.receipt.run_id, entry.content
        match entry.kind:
            case "dataset":
                self.store.log_dataset(run_id, content)
            case "status":
                self.store.set_status(run_id, content["status"], entry.time_ms)
            case "artifact" | "image" | "model":
                self._send_file(entry)
            case unknown:
                raise ValueError(f"{self.folder}: an entry of unknown kind {unknown!r}")

    def _send_file(self, entry: Entry) -> None:
        run_id, path = self.receipt.run_id, entry.content["path"]
        file = self.folder / path if entry.kind == "model" else self.folder / "artifacts" / path
        if not file.exists():
            log.warning("%s is gone: left out", file)
        elif entry.kind == "artifact":
            self.store.log_file(run_id, file, path)
        elif entry.kind == "image":
            key, step = entry.content["key"], entry.content["step"]
            self.store.log_image(
                run_id, file, key=key, step=step, journal_id=self.journal_id, time_ms=self.born_ms
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_network(file, Path(folder, "model"))
                self.store.log_folder(run_id, Path(folder, "model"), "model")


def first_entries(folder: Path) -> tuple[Entry, Entry]:
    """The journal's header and its start. Raises LookupError before there is a start."""
    header = None
    for entry in read_entries(folder):
        if entry.kind == "journal":
            header = entry
        elif entry.kind == "start" and header is not None:
            return header, entry
    raise LookupError(f"{folder}: nothing to send before the run's start")
