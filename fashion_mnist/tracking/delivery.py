"""One journal carried to one store: what is new in it, each piece once."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from mlflow.entities import Run

from fashion_mnist.journal import Destination, Entry, journal_size, read_entries
from fashion_mnist.tracking.packaging import save_network
from fashion_mnist.tracking.receipt import Receipt, destinations, read_receipt, write_receipt
from fashion_mnist.tracking.store import IMAGES_TAG, JOURNAL_TAG, Store
from fashion_mnist.tracking.views import sweep_view

PARENT_TAG = "mlflow.parentRunId"
COPY_TAG = "copy_of"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kin:
    """What a run is to others in its store, by their run ids; empty where it is nothing."""

    parent: str = ""  # the sweep that it belongs to
    original: str = ""  # the same run, which was in this experiment first
    is_orphan: bool = False  # its parent was thrown away

    def tags(self) -> dict[str, str]:
        """The tags that say so."""
        tags = {PARENT_TAG: self.parent, COPY_TAG: self.original}
        return {key: run_id for key, run_id in tags.items() if run_id}


@dataclass
class News:
    """What a journal holds beyond a receipt, sorted by how it is sent; `end` in bytes.

    Nothing but the status depends on the order of entries: the last word on a thing counts.
    """

    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], Entry] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: Entry | None = None
    end: int = 0

    def add(self, entry: Entry) -> None:
        """Sorts the entry in. Raises ValueError for one of unknown kind."""
        content = entry.content
        match entry.kind:
            case "journal" | "destination":
                pass
            case "start":
                self.params |= content["params"]
                self.tags |= content["tags"]
            case "tags":
                self.tags |= content["values"]
            case "metrics":
                points = content["values"].items()
                step = content["step"]
                self.metrics += [(key, value, entry.time_ms, step) for key, value in points]
            case "dataset":
                self.datasets.append(content)
            case "artifact" | "model":
                self.files[entry.kind, content["path"]] = entry
            case "image":
                self.files["image", f"{content['key']} {content['step']}"] = entry
                self.tags[IMAGES_TAG] = "True"
            case "view":
                self.views[content["key"]] = content
            case "status":
                self.status = entry
            case unknown:
                raise ValueError(f"an entry of unknown kind {unknown!r}")
        self.end = entry.end


def gather(entries: Iterable[Entry]) -> News:
    """All these entries, sorted."""
    news = News()
    for entry in entries:
        news.add(entry)
    return news


class Delivery:
    """The way of one run's folder to one destination.

    Raises `MlflowException` or OSError where the store does not take something; the receipt then
    stands before it, and the next `send` goes on there.
    """

    def __init__(
        self, folder: Path, destination: Destination, store: Store, kin: Kin | None = None
    ) -> None:
        self.folder = folder
        self.destination = destination
        self.store = store
        header, start = first_entries(folder)
        self.identity = identity_in(folder, destination, header.content["id"])
        self.born_ms = header.time_ms
        self.receipt = self._open(start, kin or Kin())

    def send(self) -> None:
        """Tells the store all that the journal holds beyond the receipt."""
        news = gather(read_entries(self.folder, self.receipt.offset))
        if not news.end:
            return
        run_id = self.receipt.run_id
        self.store.log(run_id, news.metrics, news.params, news.tags)
        self.store.log_datasets(run_id, news.datasets)
        for file, entry in self._existing(news.files.values()):
            self._send_file(file, entry)
        for view in news.views.values():
            page = sweep_view(view["name"], view["axes"], run_id)
            self.store.save_view(self.receipt.experiment_id, view["key"], page)
        # last of all: who sees a run ended may read what it left
        if news.status:
            self.store.set_status(run_id, news.status.content["status"], news.status.time_ms)
        self._sign(news.end)

    def _open(self, start: Entry, kin: Kin) -> Receipt:
        """The receipt for the run that the store has, or has now."""
        experiment_id = self.store.experiment(self.destination.experiment)
        self.receipt = Receipt(0, "", experiment_id)
        run = self.store.find_run(experiment_id, self.identity)
        if run is None and kin.is_orphan:
            log.info("%s: its sweep was thrown away in the store: not sent", self.folder.name)
            return self._sign(journal_size(self.folder))
        if run is None:
            name = self.destination.name or start.content["name"]
            tags = {JOURNAL_TAG: self.identity, **kin.tags()}
            run_id = self.store.create_run(experiment_id, name, start.time_ms, tags)
            return self._sign(0, run_id)
        if run.info.lifecycle_stage == "deleted":
            log.info("%s: thrown away in the store, not sent again", self.folder.name)
            return self._sign(journal_size(self.folder), run.info.run_id)
        self._mend_tags(run, kin.tags())
        receipt = read_receipt(self.folder, self.destination)
        is_same = receipt.run_id == run.info.run_id
        return self._sign(receipt.offset if is_same else 0, run.info.run_id)

    def _mend_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """A parent that was sent anew, to a store that had lost it, has another run id."""
        wrong = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
        if wrong:
            self.store.log(run.info.run_id, [], {}, wrong)

    def _sign(self, offset: int, run_id: str = "") -> Receipt:
        known = self.receipt
        self.receipt = Receipt(offset, run_id or known.run_id, known.experiment_id)
        write_receipt(self.folder, self.destination, self.receipt)
        return self.receipt

    def _existing(self, entries: Iterable[Entry]) -> Iterator[tuple[Path, Entry]]:
        """The entries of files that are still there, with their files."""
        for entry in entries:
            root = self.folder if entry.kind == "model" else self.folder / "artifacts"
            file = root / entry.content["path"]
            if file.exists():
                yield file, entry
            else:
                log.warning("%s is gone: left out", file)

    def _send_file(self, file: Path, entry: Entry) -> None:
        run_id, content = self.receipt.run_id, entry.content
        if entry.kind == "artifact":
            self.store.log_file(run_id, file, content["path"])
        elif entry.kind == "image":
            key, step = content["key"], content["step"]
            # drawn anew, it would be one image more
            unique = uuid5(UUID(self.identity), f"{key} {step}")
            self.store.log_image(
                run_id, file, key=key, step=step, unique=unique, time_ms=self.born_ms
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_network(file, Path(folder, "model"))
                self.store.log_folder(run_id, Path(folder, "model"), "model")


def identity_in(folder: Path, destination: Destination, journal_id: str) -> str:
    """The id that the run bears in a destination: the journal's own, or a copy's, always the same.

    The first destination in a store and experiment is the run itself.
    """
    there = [each for each in destinations(folder) if each.place == destination.place]
    if destination in there[:1]:
        return journal_id
    return uuid5(UUID(journal_id), destination.parent).hex


def first_entries(folder: Path) -> tuple[Entry, Entry]:
    """The journal's header and its start. Raises LookupError before there is a start."""
    header = None
    for entry in read_entries(folder):
        if entry.kind == "journal":
            header = entry
        elif entry.kind == "start" and header is not None:
            return header, entry
    raise LookupError(f"{folder}: nothing to send before the run's start")
