"""One journal carried to one store: what is new in it, each piece once."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from mlflow.entities import Run

from fashion_mnist.recorded import COPY_TAG, FOLDER_TAG, JOURNAL_TAG, PARENT_TAG
from fashion_mnist.runs.event_log import (
    START,
    Destination,
    Event,
    Mark,
    RunState,
    file_in,
    holds,
    read_events,
)
from fashion_mnist.tracking.packaging import UnreadableError, save_network
from fashion_mnist.tracking.receipt import Receipt, read_receipt, write_receipt
from fashion_mnist.tracking.store import IMAGES_TAG, Point, Store
from fashion_mnist.tracking.views import sweep_view
from fashion_mnist.tracking.watch import Watch

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
    """What a journal holds beyond a receipt, up to `end`, sorted by how it is sent.

    Nothing but the status depends on the order of entries: the last word on a thing counts.
    """

    metrics: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], Event] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: Event | None = None
    end: Mark = START

    def add(self, entry: Event) -> None:
        """Sorts the entry in."""
        content = entry.content
        match entry.kind:
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
        self.end = entry.mark


def gather(entries: Iterable[Event]) -> News:
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
        self, watch: Watch, destination: Destination, store: Store, kin: Kin | None = None
    ) -> None:
        self.folder = watch.folder
        self.destination = destination
        self.store = store
        self.identity = watch.identity(destination)
        self._steps: dict[str, set[int]] = {}  # that the store has, of each metric
        self._is_new = False
        self.receipt = self._open(watch, kin or Kin())

    def send(self) -> bool:
        """Tells the store all that the journal holds beyond the receipt; whether that is anything.

        Points that the store has are left out: a journal that was damaged and mended says some
        again, at another time.
        """
        if not holds(self.folder, self.receipt.mark):
            log.warning("%s: the journal is not the one that was sent: from its start", self.folder)
            self._sign(START)
        news = gather(read_events(self.folder, self.receipt.mark))
        if news.end == START:
            return False
        run_id = self.receipt.run_id
        self.store.log(run_id, list(self._unknown(news.metrics)), news.params, news.tags)
        self.store.log_datasets(run_id, news.datasets)
        for file, entry in self._existing(news.files.values()):
            try:
                self._send_file(file, entry)
            except UnreadableError as error:
                log.warning("%s: left out", error)
        for view in news.views.values():
            page = sweep_view(view["name"], view["columns"], view["axes"], run_id)
            self.store.save_view(self.receipt.experiment_id, view["key"], page)
        # last of all: who sees a run ended may read what it left
        if news.status:
            self.store.set_status(run_id, news.status.content["status"], news.status.time_ms)
        self._sign(news.end)
        return True

    def _unknown(self, points: Iterable[Point]) -> Iterator[Point]:
        """Those that the store does not have yet; it is asked once for each metric."""
        for point in points:
            key, _, _, step = point
            if key not in self._steps:
                run_id = self.receipt.run_id
                self._steps[key] = set() if self._is_new else self.store.steps(run_id, key)
            if step not in self._steps[key]:
                self._steps[key].add(step)
                yield point

    def _open(self, watch: Watch, kin: Kin) -> Receipt:
        """The receipt for the run that the store has, or has now."""
        header, start = first_entries(self.folder)
        self.born_ms = header.time_ms
        experiment_id = self.store.experiment(self.destination.experiment)
        self.receipt = Receipt(experiment_id=experiment_id)
        run = self.store.find_run(experiment_id, self.identity)
        if run is None and kin.is_orphan:
            log.info("%s: its sweep was thrown away in the store: not sent", self.folder.name)
            return self._sign(RunState.read(self.folder).mark)
        if run is None:
            name = self.destination.name or start.content["name"]
            own = {JOURNAL_TAG: self.identity, FOLDER_TAG: str(self.folder)}
            tags = {**own, **kin.tags()}
            run_id = self.store.create_run(experiment_id, name, start.time_ms, tags)
            self._is_new = True
            return self._sign(START, run_id)
        if run.info.lifecycle_stage == "deleted":
            log.info("%s: thrown away in the store, not sent again", self.folder.name)
            return self._sign(RunState.read(self.folder).mark, run.info.run_id)
        self._mend_tags(run, kin.tags())
        if watch.status == "RUNNING" and run.info.status != "RUNNING":  # it was taken for dead
            self.store.set_status(run.info.run_id, "RUNNING", start.time_ms)
        receipt = read_receipt(self.folder, self.destination)
        is_same = receipt.run_id == run.info.run_id
        return self._sign(receipt.mark if is_same else START, run.info.run_id)

    def _mend_tags(self, run: Run, tags: Mapping[str, str]) -> None:
        """A parent that was sent anew, to a store that had lost it, has another run id."""
        wrong = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
        if wrong:
            self.store.log(run.info.run_id, [], {}, wrong)

    def _sign(self, mark: Mark, run_id: str = "") -> Receipt:
        known = self.receipt
        self.receipt = Receipt(mark.offset, mark.crc, run_id or known.run_id, known.experiment_id)
        write_receipt(self.folder, self.destination, self.receipt)
        return self.receipt

    def _existing(self, entries: Iterable[Event]) -> Iterator[tuple[Path, Event]]:
        """The entries of files that are there, below the run's folder, with their files."""
        for entry in entries:
            root = self.folder if entry.kind == "model" else self.folder / "artifacts"
            file = file_in(self.folder, root, entry.content["path"])
            if file is not None:
                yield file, entry
            else:
                log.warning("%s: no file %r in it: left out", self.folder, entry.content["path"])

    def _send_file(self, file: Path, entry: Event) -> None:
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


def first_entries(folder: Path) -> tuple[Event, Event]:
    """The journal's header and its start. Raises LookupError before there is a start."""
    header = None
    for entry in read_events(folder):
        if entry.kind == "log":
            header = entry
        elif entry.kind == "start" and header is not None:
            return header, entry
    raise LookupError(f"{folder}: nothing to send before the run's start")
