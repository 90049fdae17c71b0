"""What a run has to say: JSON lines appended to its folder as it happens. No MLflow here.

```
outputs/runs/KEY/journal.jsonl    one entry a line, written only by whoever holds the lock
                 artifacts/       files, laid out as MLflow will show them
                 lock             held by the training process while it lives
                 sent/            how far each store has been told (written by the sender)
outputs/sweeps/ID/                the same for the run that stands for a whole sweep
```
"""

import hashlib
import json
import os
import posixpath
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

JOURNAL_FILE = "journal.jsonl"
STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED")


@dataclass(frozen=True)
class Entry:
    """One line of a journal: `time_ms` since the epoch, fixed when made; `end` in bytes."""

    kind: str
    time_ms: int
    content: dict[str, Any]
    end: int


@dataclass(frozen=True)
class Destination:
    """Where a run is wanted, and as what.

    `uri` is a store's absolute address; `parent` the id of the sweep's journal under which the
    run is wanted, empty for none; `name` what it is called there, empty for the journal's name.
    """

    uri: str
    experiment: str
    parent: str = ""
    name: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        """Sixteen characters for the store and the experiment."""
        return short_hash(self.uri, self.experiment)

    @property
    def id(self) -> str:
        """Sixteen characters that name this destination in file names."""
        return short_hash(self.uri, self.experiment, self.parent) if self.parent else self.place


def short_hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def journal_size(folder: Path) -> int:
    """Bytes that the journal holds, a half-written last line included; 0 without a journal."""
    try:
        return (folder / JOURNAL_FILE).stat().st_size
    except FileNotFoundError:
        return 0


def read_entries(folder: Path, offset: int = 0) -> Iterator[Entry]:
    """The entries from a byte offset on, never a half-written one.

    Raises:
        ValueError: a line in the middle that is no entry.
    """
    if journal_size(folder) <= offset:
        return
    with (folder / JOURNAL_FILE).open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            offset += len(line)
            yield parse_entry(line, offset, folder)


def parse_entry(line: bytes, end: int, folder: Path) -> Entry:
    """One line as an entry that ends at byte `end`. Raises ValueError for anything else."""
    try:
        content = json.loads(line)
        return Entry(content.pop("kind"), content.pop("time"), content, end)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / JOURNAL_FILE}: no entry ends at byte {end}") from error


class Journal:
    """Opens or creates the journal of a run's or a sweep's folder and appends to it.

    Saying a thing again that the journal already holds writes nothing, also after reopening: a
    resumed run repeats itself freely. Times are set here, once. Names of metrics, parameters and
    tags are held to what MLflow takes, for one bad name would reject its whole batch there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)
        path = folder / JOURNAL_FILE
        cut_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._id = ""
        self._destinations: list[Destination] = []
        self._views: dict[str, dict[str, Any]] = {}
        self._points: set[tuple[int, str]] = set()
        self._tags: dict[str, str] = {}
        self._datasets: list[dict[str, Any]] = []
        self._status = ""
        self._started = False
        for entry in read_entries(folder):
            self._remember(entry.kind, entry.content)
        if not self._id:
            self._append("journal", {"id": uuid.uuid4().hex})

    @property
    def id(self) -> str:
        """32 hexadecimal digits, made with the journal: the run's name in every store."""
        return self._id

    @property
    def started(self) -> bool:
        """Whether the journal holds the run's start."""
        return self._started

    @property
    def last_status(self) -> str:
        """The last status said, or the empty string."""
        return self._status

    def destination(
        self, uri: str, experiment: str, *, parent: str = "", name: str = ""
    ) -> Destination:
        """Wants the run in this store and experiment too, from its beginning.

        Under another `parent` it becomes a run of its own there; without one, any that is there
        will do. `uri` is absolute (`tracking.address.absolute_uri`): the sender has a folder of
        its own.
        """
        wanted = Destination(uri, experiment, parent, name)
        there = [each for each in self._destinations if each.place == wanted.place]
        for known in there:
            if known == wanted or not parent:
                return known
        relation = {key: value for key, value in (("parent", parent), ("name", name)) if value}
        self._append("destination", {"uri": uri, "experiment": experiment, **relation})
        return wanted

    def start(self, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """The run's name, parameters and first tags. Only the first call counts."""
        check_names([*params, *tags])
        if not self._started:
            self._append("start", {"name": name, "params": dict(params), "tags": dict(tags)})

    def dataset(
        self,
        name: str,
        *,
        digest: str,
        context: str,
        source: str,
        num_examples: int,
        image_shape: Sequence[int],
    ) -> None:
        """What the run saw as `context` (train, validation, test); digest of at most 36 letters.

        MLflow keeps one dataset for a name and digest: splits need digests of their own.
        """
        if not 1 <= len(digest) <= 36:
            raise ValueError(f"a dataset's digest must have 1 to 36 characters, got {digest!r}")
        content: dict[str, Any] = {"name": name, "digest": digest, "context": context}
        content |= {"source": source, "num_examples": num_examples}
        content |= {"image_shape": list(image_shape)}
        if content not in self._datasets:
            self._append("dataset", content)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Points of this step; those that the journal already has stay as they are."""
        check_names(values)
        new = {key: float(value) for key, value in values.items()}
        new = {key: value for key, value in new.items() if (step, key) not in self._points}
        if new:
            self._append("metrics", {"step": step, "values": new})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags set or changed after the start."""
        check_names(values)
        changed = {key: value for key, value in values.items() if self._tags.get(key) != value}
        if changed:
            self._append("tags", {"values": changed})

    def artifact(self, path: str) -> None:
        """A file below `artifacts/`, complete by now, by its path from there."""
        self._append("artifact", {"path": self._existing(path, self.artifacts)})

    def image(self, key: str, path: str, step: int = 0) -> None:
        """A PNG below `artifacts/` that MLflow's charts show beside other runs' under this key."""
        if not re.fullmatch(r"[\w\-./ ]+", key):
            raise ValueError(f"an image key takes letters, digits and _-./ only, got {key!r}")
        path = self._existing(path, self.artifacts)
        self._append("image", {"key": key, "path": path, "step": step})

    def model(self, path: str) -> None:
        """The trained network: a safetensors file, by its path from the run's folder."""
        self._append("model", {"path": self._existing(path, self.folder)})

    def view(self, key: str, name: str, axes: Sequence[str]) -> None:
        """A saved page of the experiment on the runs whose parent this one is; replaces `key`.

        Args:
            key: what the page's link says (`tracking.views.sweep_link`).
            name: what the page is called in MLflow.
            axes: names of the parameters that were swept, as columns and axes of a chart.
        """
        if not re.fullmatch(r"[\w\-]{1,100}", key):
            raise ValueError(f"a view's key takes letters, digits and _- only, got {key!r}")
        content = {"key": key, "name": name, "axes": list(axes)}
        if self._views.get(key) != content:
            self._append("view", content)

    def status(self, status: str, time_ms: int | None = None) -> None:
        """Where the run stands (one of `STATUSES`), safe on the disk when this returns."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
        if status != self._status:
            self._append("status", {"status": status}, time_ms)
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; the journal can be opened again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, kind: str, content: dict[str, Any], time_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        entry = {"kind": kind, "time": now_ms if time_ms is None else time_ms, **content}
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        end = self._file.tell()
        if self._file.write(line) != len(line):
            self._file.truncate(end)  # a full disk takes a part: the next entry must not join it
            raise OSError(f"{self._file.name}: the disk took only a part of an entry")
        self._remember(kind, content)

    def _remember(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "journal":
                self._id = content["id"]
            case "destination":
                self._destinations.append(Destination(**content))
            case "start":
                self._started = True
                self._tags |= content["tags"]
            case "metrics":
                self._points |= {(content["step"], key) for key in content["values"]}
            case "tags":
                self._tags |= content["values"]
            case "dataset":
                self._datasets.append(content)
            case "view":
                self._views[content["key"]] = content
            case "status":
                self._status = content["status"]

    def _existing(self, path: str, root: Path) -> str:
        inside = not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
        if not inside or not (root / path).is_file():
            raise ValueError(f"{path!r} is no file below {root}")
        return PurePosixPath(path).as_posix()


def cut_torn_line(path: Path) -> None:
    """Cuts off what follows the last newline: the half entry that a kill leaves."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def check_names(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raises ValueError for the first name that MLflow would not take."""
    for name in names:
        plain = re.fullmatch(r"[\w.\-/: ]{1,250}", name) and posixpath.normpath(name) == name
        if not plain or name.startswith((".", "/")):
            raise ValueError(
                "names of metrics, parameters and tags take letters, digits and _-.:/ and space, "
                f"up to 250 and as a plain path, got {name!r}"
            )
