"""What a run has to say: JSON lines appended to its folder as it happens. No MLflow here.

```
outputs/runs/KEY/journal.jsonl    one entry a line, written only by whoever holds the lock
                 journal.seal.json    what the journal is and how far it had come
                 journal.damaged-1.jsonl    the journal as it was when damage was found
                 artifacts/       files, laid out as MLflow will show them
                 lock             held by the training process while it lives
                 sent/            how far each store has been told (written by the sender)
outputs/sweeps/ID/                the same for the run that stands for a whole sweep
```
"""

import os
import posixpath
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from fashion_mnist.entries import (
    JOURNAL_FILE,
    START,
    Destination,
    Entry,
    file_in,
    make_entry,
    read_entries,
)
from fashion_mnist.mending import Seal, mend, read_seal, write_seal

STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED")


class Journal:
    """Opens or creates the journal of a run's or a sweep's folder and appends to it.

    Saying a thing again that the journal already holds writes nothing, also after reopening: a
    resumed run repeats itself freely. Times are set here, once. Names of metrics, parameters and
    tags are held to what MLflow takes, for one bad name would reject its whole batch there.
    Whatever is said is in the file when the call returns, or the call raises OSError with the
    file's name, nothing of it is there, and the journal can be written to again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)
        is_mended = mend(folder)
        self._file = (folder / JOURNAL_FILE).open("ab", buffering=0)
        self._mark = START
        self._id = ""
        self._born_ms = 0
        self._destinations: list[Destination] = []
        self._views: dict[str, dict[str, Any]] = {}
        self._points: set[tuple[int, str]] = set()
        self._tags: dict[str, str] = {}
        self._datasets: list[dict[str, Any]] = []
        self._status = ""
        self._started = False
        try:
            self._begin(is_mended)
        except OSError:
            self._file.close()
            raise

    def _begin(self, is_mended: bool) -> None:
        for entry in read_entries(self.folder):
            self._remember(entry)
        seal = read_seal(self.folder)
        if not self._id:
            known = (seal.id, seal.time_ms) if seal else (uuid.uuid4().hex, None)
            self._append("journal", {"id": known[0]}, known[1])
        if is_mended or seal is None:
            write_seal(self.folder, Seal(self._id, self._born_ms, self._mark))

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

    def view(self, key: str, name: str, columns: Sequence[str], axes: Sequence[str]) -> None:
        """A saved page of the experiment on the runs whose parent this one is; replaces `key`.

        Args:
            key: what the page's link says (`tracking.views.sweep_link`).
            name: what the page is called in MLflow.
            columns: names of parameters, the first columns of the table.
            axes: names of parameters, the axes of a chart.
        """
        if not re.fullmatch(r"[\w\-]{1,100}", key):
            raise ValueError(f"a view's key takes letters, digits and _- only, got {key!r}")
        content = {"key": key, "name": name, "columns": list(columns), "axes": list(axes)}
        if self._views.get(key) != content:
            self._append("view", content)

    def status(self, status: str, time_ms: int | None = None) -> None:
        """Where the run stands (one of `STATUSES`), safe on the disk when this returns."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
        if status != self._status:
            self._append("status", {"status": status}, time_ms)
            os.fsync(self._file.fileno())
            write_seal(self.folder, Seal(self._id, self._born_ms, self._mark))

    def close(self) -> None:
        """Closes the file; the journal can be opened again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, kind: str, content: dict[str, Any], time_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        said = {"kind": kind, "time": now_ms if time_ms is None else time_ms, **content}
        entry, line = make_entry(said, self._mark)
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            # a full disk takes a part: the next entry must not join it
            self._file.truncate(self._mark.offset)
            raise OSError(error.errno, error.strerror, self._file.name) from error
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        content, self._mark = entry.content, entry.mark
        match entry.kind:
            case "journal":
                self._id, self._born_ms = content["id"], entry.time_ms
            case "destination":
                self._destinations.append(Destination.of(content))
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
        if file_in(self.folder, root, path) is None:
            raise ValueError(f"{path!r} is no file below {root}")
        return PurePosixPath(path).as_posix()


def check_names(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raises ValueError for the first name that MLflow would not take."""
    for name in names:
        plain = re.fullmatch(r"[\w.\-/: ]{1,250}", name) and posixpath.normpath(name) == name
        if not plain or name.startswith((".", "/")):
            raise ValueError(
                "names of metrics, parameters and tags take letters, digits and _-.:/ and space, "
                f"up to 250 and as a plain path, got {name!r}"
            )
