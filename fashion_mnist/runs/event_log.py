"""The event log of a run: JSON lines appended to its directory as things happen. No MLflow here.

```
outputs/runs/KEY/events.jsonl    one event a line, written only by the process that holds the lock
                 events.seal.json    which log it is and how far it had come
                 events.damaged-1.jsonl    the log as it was when damage was found
                 artifacts/      files, laid out as MLflow will show them
                 lock            held by the training process while it lives
                 uploads/        how far each store has the log (written by the uploader)
outputs/sweeps/ID/               the same for the run that stands for a whole sweep
```

A line: `{"kind": "metrics", "time": 1763946000000, "step": 1, "values": {"val/loss": 0.5}, "crc":
"f64a…"}`. `time` is in ms since the epoch. `crc` is the CRC-32 of all lines before and of this one
up to the comma in front of it: a line that was changed, lost or moved does not fit, nor does any
after it. The first line holds the log's id and the number of this format.
"""

import hashlib
import json
import logging
import os
import posixpath
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Self

from fashion_mnist.config.store_uri import absolute_uri, is_address, relative_uri
from fashion_mnist.runs.files import replacing

LOG_FILE = "events.jsonl"
SEAL_FILE = "events.seal.json"
OFFLINE_FILE = "offline"  # says: tracking.offline=always
FORMAT = 2  # 1 was called journal.jsonl
STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED")
LONGEST_PATH = 250  # below a run's directory; file systems take names of 255 bytes
log = logging.getLogger(__name__)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    """Whether it fits the columns of a store."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


# What each kind of event holds; more is allowed.
_CONTENT: dict[str, dict[str, type]] = {
    "log": {"id": str, "format": int},
    "destination": {"uri": str, "experiment": str},
    "start": {"name": str, "params": dict, "tags": dict},
    "dataset": {
        "name": str,
        "digest": str,
        "context": str,
        "source": str,
        "num_examples": int,
        "image_shape": list,
    },
    "metrics": {"step": int, "values": dict},
    "tags": {"values": dict},
    "artifact": {"path": str},
    "image": {"key": str, "path": str, "step": int},
    "model": {"path": str},
    "view": {"key": str, "name": str, "columns": list, "axes": list},
    "status": {"status": str},
}
# What is in these.
_INNER: dict[str, dict[str, Callable[[object], bool]]] = {
    "start": {"params": _is_text, "tags": _is_text},
    "dataset": {"image_shape": _is_number},
    "metrics": {"values": _is_number},
    "tags": {"values": _is_text},
    "view": {"columns": _is_text, "axes": _is_text},
}
_CRC_LENGTH = len(', "crc": "01234567"}\n')


@dataclass(frozen=True)
class Mark:
    """A place between two events: bytes before it, and their running checksum."""

    offset: int = 0
    crc: int = 0

    def line_end(self) -> bytes:
        """How the line before it ends."""
        return b', "crc": "%08x"}\n' % self.crc


START = Mark()


@dataclass(frozen=True)
class Event:
    """One line of a log: `time_ms` since the epoch, fixed when made; `mark` is after it."""

    kind: str
    time_ms: int
    content: dict[str, Any]
    mark: Mark


@dataclass(frozen=True)
class Destination:
    """A store and an experiment where a run is to be recorded, and as what.

    `uri` is a store's address, of a database below the same folder as the run's directory from
    there; `parent` the id of the sweep's log under which the run is recorded, empty for none;
    `name` the run's name there, empty for the log's own; `run_dir` the run's directory.
    """

    uri: str
    experiment: str
    parent: str = ""
    name: str = field(default="", compare=False)
    run_dir: Path = field(default=Path(), compare=False)

    @classmethod
    def of(cls, content: Mapping[str, Any], run_dir: Path = Path()) -> Self:
        """As an event of this kind holds it."""
        relation = {key: str(content[key]) for key in ("parent", "name") if key in content}
        return cls(content["uri"], content["experiment"], **relation, run_dir=run_dir)

    @cached_property
    def address(self) -> str:
        """The store's absolute address. Raises ValueError for what cannot be one."""
        return absolute_uri(self.uri, self.run_dir)

    @cached_property
    def is_valid(self) -> bool:
        """Whether there can be such a store: a log of another program may hold anything."""
        try:
            return is_address(self.address)
        except (ValueError, OSError):
            return False

    @property
    def place(self) -> str:
        """Sixteen characters for the store and the experiment."""
        return _short_hash(self.address, self.experiment)

    @property
    def id(self) -> str:
        """Sixteen characters that name this destination in file names."""
        return _short_hash(self.uri, self.experiment, *([self.parent] if self.parent else []))


def _short_hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def log_size(run_dir: Path) -> int:
    """Bytes of the log, a half-written last line included; 0 where there is none."""
    try:
        file = (run_dir / LOG_FILE).stat()
    except OSError:  # `run_dir` may be a file, or not ours to look into
        return 0
    return file.st_size if S_ISREG(file.st_mode) else 0


def read_events(
    run_dir: Path, after: Mark = START, *, kinds: Collection[str] = ()
) -> Iterator[Event]:
    """The events after a place, up to the first line that is half written or damaged.

    Args:
        kinds: only these; of the others the checksum is checked, which takes no time, and they
            have no kind and no content. Empty: all.
    """
    if log_size(run_dir) <= after.offset:
        return
    wanted = tuple(b'{"kind": "%s"' % kind.encode() for kind in kinds) or b""
    with (run_dir / LOG_FILE).open("rb") as file:
        file.seek(after.offset)
        for line in file:
            if line.startswith(wanted):
                event = parse_event(line, after)
            else:
                mark = _mark_after(line, after)
                event = Event("", 0, {}, mark) if line.endswith(mark.line_end()) else None
            if event is None:
                return
            after = event.mark
            yield event


def make_event(content: Mapping[str, Any], after: Mark) -> tuple[Event, bytes]:
    """Content (with `kind` and `time`) as an event after this place, and its line."""
    # a word from a terminal may hold what is no letter
    rest = {key: value for key, value in content.items() if key not in ("kind", "time")}
    ordered = {"kind": content["kind"], "time": content["time"], **rest}
    words = json.dumps(ordered, ensure_ascii=False).encode(errors="replace")[:-1]
    mark = Mark(after.offset + len(words) + _CRC_LENGTH, zlib.crc32(words, after.crc))
    return Event(content["kind"], content["time"], rest, mark), words + mark.line_end()


def parse_event(line: bytes, after: Mark) -> Event | None:
    """A line as the event after this place; None for anything else."""
    words, mark = line[:-_CRC_LENGTH], _mark_after(line, after)
    if not line.endswith(mark.line_end()):
        return None
    try:
        content = json.loads(words + b"}")
        kind, time_ms = content.pop("kind"), content.pop("time")
        is_whole = isinstance(time_ms, int) and _is_number(time_ms) and _is_whole(kind, content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return Event(kind, time_ms, content, mark) if is_whole else None


def _mark_after(line: bytes, after: Mark) -> Mark:
    return Mark(after.offset + len(line), zlib.crc32(line[:-_CRC_LENGTH], after.crc))


def _is_whole(kind: str, content: Mapping[str, Any]) -> bool:
    """Whether it holds what readers look for, each of its type: any program may write a log."""
    for key, kind_of in _CONTENT[kind].items():
        if not isinstance(content[key], kind_of):
            return False
    for key, is_kind in _INNER.get(kind, {}).items():
        inner = content[key].values() if isinstance(content[key], dict) else content[key]
        if not all(map(is_kind, inner)):
            return False
    is_header = kind == "log"
    return _is_number(content.get("step", 0)) and (
        not is_header or (_is_id(content["id"]) and content["format"] == FORMAT)
    )


def _is_id(word: object) -> bool:
    return isinstance(word, str) and re.fullmatch("[0-9a-f]{32}", word) is not None


def holds(run_dir: Path, mark: Mark) -> bool:
    """Whether an event of the log ends here, with the same content up to here."""
    if mark == START:
        return True
    try:
        with (run_dir / LOG_FILE).open("rb") as file:
            file.seek(max(0, mark.offset - _CRC_LENGTH))
            return file.read(_CRC_LENGTH) == mark.line_end()
    except FileNotFoundError:
        return False


def rest_after(run_dir: Path, end: Mark) -> bytes:
    """What the file holds after this place."""
    if log_size(run_dir) <= end.offset:
        return b""
    with (run_dir / LOG_FILE).open("rb") as file:
        file.seek(end.offset)
        return file.read()


def file_in(run_dir: Path, root: Path, path: str) -> Path | None:
    """The file of this path below `root`; None where there is none inside the run's directory.

    Neither `..` nor a link leads out of it.
    """
    words = PurePosixPath(path)
    file = root / words
    if words.is_absolute() or ".." in words.parts or len(path) > LONGEST_PATH:
        return None
    if not file.is_file() or not file.resolve().is_relative_to(run_dir.resolve()):
        return None
    return file


@dataclass
class RunState:
    """What the events of a log amount to: the one reducer, for every reader of a log.

    The resuming run, the uploader and the commands that show a run read it. Applied to the events
    after a place alone it holds what is new since then.
    """

    mark: Mark = START  # after the last event
    run_dir: Path = field(default=Path(), compare=False)
    time_ms: int = 0  # of the last event
    id: str = ""  # 32 hexadecimal digits, made with the log: the run's id in every store
    created_ms: int = 0
    destinations: list[Destination] = field(default_factory=list)
    name: str = ""
    started_ms: int = 0  # 0: the run has not begun
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: str = ""
    status_ms: int = 0

    @classmethod
    def read(cls, run_dir: Path, after: Mark = START, *, kinds: Collection[str] = ()) -> Self:
        """The state by the events after a place; `kinds` as in `read_events`."""
        state = cls(after, run_dir)
        state.read_on(kinds=kinds)
        return state

    def read_on(self, *, kinds: Collection[str] = ()) -> None:
        """Takes in what the log holds beyond what was read."""
        for event in read_events(self.run_dir, self.mark, kinds=kinds):
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Takes in the next event."""
        content, self.mark = event.content, event.mark
        self.time_ms = event.time_ms or self.time_ms
        match event.kind:
            case "log":
                self.id, self.created_ms = content["id"], event.time_ms
            case "destination":
                self.destinations.append(Destination.of(content, self.run_dir))
            case "start":
                self.name, self.started_ms = content["name"], event.time_ms
                self.params |= content["params"]
                self.tags |= content["tags"]
            case "metrics":
                step = content["step"]
                for key, value in content["values"].items():
                    self.points[step, key] = (value, event.time_ms)
            case "tags":
                self.tags |= content["values"]
            case "dataset":
                self.datasets.append(content)
            case "artifact" | "model":
                self.files[event.kind, content["path"]] = content
            case "image":
                self.files["image", f"{content['key']} {content['step']}"] = content
            case "view":
                self.views[content["key"]] = content
            case "status":
                self.status, self.status_ms = content["status"], event.time_ms

    def metrics(self, step: int = 0) -> dict[str, float]:
        """The values of one step; those of the finished run are at step 0."""
        return {key: value for (at, key), (value, _) in self.points.items() if at == step}

    def history(self) -> list[dict[str, float]]:
        """What was measured, a row an epoch, with the keys `epoch` and `time`, in ms."""
        rows: dict[int, dict[str, float]] = {}
        for (step, key), (value, time_ms) in self.points.items():
            if step > 0:
                row = rows.setdefault(step, {"epoch": step, "time": time_ms})
                row[key] = value
        return [rows[step] for step in sorted(rows)]


def check_names(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raises ValueError for the first name of a metric, parameter or tag that MLflow refuses."""
    for name in names:
        plain = re.fullmatch(r"[\w.\-/: ]{1,250}", name) and posixpath.normpath(name) == name
        if not plain or name.startswith((".", "/")):
            raise ValueError(
                "names of metrics, parameters and tags take letters, digits and _-.:/ and space, "
                f"up to 250 and as a plain path, got {name!r}"
            )


@dataclass(frozen=True)
class _Seal:
    """Which log it is and how far it had come, in a file of its own beside it."""

    id: str
    time_ms: int  # when the log was made
    mark: Mark


def _read_seal(run_dir: Path) -> _Seal | None:
    try:
        content = json.loads((run_dir / SEAL_FILE).read_bytes())
        numbers = [content[key] for key in ("time", "offset", "crc")]
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not _is_id(content.get("id")) or not all(isinstance(number, int) for number in numbers):
        return None
    time_ms, offset, crc = numbers
    return _Seal(content["id"], time_ms, Mark(offset, crc))


def _write_seal(run_dir: Path, seal: _Seal) -> None:
    content = {"id": seal.id, "time": seal.time_ms, **vars(seal.mark)}
    with replacing(run_dir / SEAL_FILE) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")


def damage(run_dir: Path, end: Mark) -> str:
    """What is wrong with a log that can be read up to here, in words; empty for nothing.

    A half line at its end is no damage: it is being written, or its writer was killed.
    """
    seal = _read_seal(run_dir)  # before the log, which is ahead of it
    line, line_break, _ = rest_after(run_dir, end).partition(b"\n")
    if line_break and parse_event(line + line_break, end) is None:
        is_header = end == START and line.startswith((b'{"kind": "journal"', b'{"kind": "log"'))
        if is_header and b'"format": %d' % FORMAT not in line:
            return "is of another format"
        return f"is damaged after byte {end.offset}"
    if seal is not None and not holds(run_dir, seal.mark):
        return f"has lost what followed byte {end.offset}"
    return ""


def _repair(run_dir: Path) -> bool:
    """Cuts a log back to the events that can be read; hold the directory's lock.

    The log is replaced, not shortened: a process on another host that was taken for dead may still
    write to it, and must not write into what is there now. Where more than a half-written line is
    wrong with it, the log as it was is kept beside it, the user is told, and this is true.
    """
    path, end = run_dir / LOG_FILE, RunState.read(run_dir).mark
    rest = rest_after(run_dir, end)
    wrong = damage(run_dir, end)
    if not wrong and b"\0" in rest:
        wrong = "ends in zeros, as after a loss of power"
    if wrong:
        kept = f" (kept as {_keep_copy(path).name})" if path.exists() else ""
        log.warning("%s %s%s: going on from what can be read of it", path, wrong, kept)
    if rest:
        with path.open("rb") as file, replacing(path) as beside:
            beside.write_bytes(file.read(end.offset))
    return bool(wrong)


def _keep_copy(path: Path) -> Path:
    """Copies a damaged file to a name that is free, `NAME.damaged-1.SUFFIX` or a later number."""
    names = (f"{path.stem}.damaged-{number}{path.suffix}" for number in count(1))
    kept = next(copy for name in names if not (copy := path.with_name(name)).exists())
    with replacing(kept) as beside:
        shutil.copyfile(path, beside)
    return kept


class EventLog:
    """Opens or creates the log of a run's or a sweep's directory and appends to it.

    Repeating what the log already holds writes nothing, also after reopening: a resumed run
    repeats itself freely. Times are set here, once. Names of metrics, parameters and tags are held
    to what MLflow takes, for one bad name would reject its whole batch there. When a call returns
    its event is in the file; where it raises OSError, with the file's name, nothing of it is there
    and the log can be written to again.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.artifacts = run_dir / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)
        is_repaired = _repair(run_dir)
        self.state = RunState.read(run_dir)
        self._file = (run_dir / LOG_FILE).open("ab", buffering=0)
        try:
            self._begin(is_repaired)
        except OSError:
            self._file.close()
            raise

    def _begin(self, is_repaired: bool) -> None:
        seal = _read_seal(self.run_dir)
        if not self.id:
            known = (seal.id, seal.time_ms) if seal else (uuid.uuid4().hex, None)
            self._append("log", {"id": known[0], "format": FORMAT}, known[1])
        if is_repaired or seal is None:
            self._write_seal()

    @property
    def id(self) -> str:
        """32 hexadecimal digits, made with the log: the run's id in every store."""
        return self.state.id

    @property
    def last_status(self) -> str:
        """The last status, or the empty string."""
        return self.state.status

    def destination(
        self, uri: str, experiment: str, *, parent: str = "", name: str = ""
    ) -> Destination:
        """Has the run recorded in this store and experiment too, from its beginning.

        Under another `parent` it becomes a run of its own there; without one, any that is there
        will do. `uri` is absolute (`config.store_uri.absolute_uri`); the log holds it relative to
        its own place where both are below the current folder.
        """
        uri = relative_uri(uri, self.run_dir)
        wanted = Destination(uri, experiment, parent, name, self.run_dir)
        for known in self.state.destinations:
            if known.is_valid and known.place == wanted.place and parent in ("", known.parent):
                return known
        relation = {key: value for key, value in (("parent", parent), ("name", name)) if value}
        self._append("destination", {"uri": uri, "experiment": experiment, **relation})
        return wanted

    def start(self, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """The run's name, parameters and first tags. Only the first call counts."""
        check_names([*params, *tags])
        if not self.state.started_ms:
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
        if content not in self.state.datasets:
            self._append("dataset", content)

    def metrics(self, step: int, values: Mapping[str, float], time_ms: int | None = None) -> int:
        """Points of this step; those that the log already has stay as they are.

        Args:
            time_ms: when they were measured, in ms since the epoch; None: now.

        Returns:
            The time that the step's points have.
        """
        check_names(values)
        new = {key: float(value) for key, value in values.items()}
        new = {key: value for key, value in new.items() if (step, key) not in self.state.points}
        if new:
            self._append("metrics", {"step": step, "values": new}, time_ms)
        return max((self.state.points[step, key][1] for key in values), default=0)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags set or changed after the start."""
        check_names(values)
        known = self.state.tags
        changed = {key: value for key, value in values.items() if known.get(key) != value}
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
        """The trained network: a safetensors file, by its path from the run's directory."""
        self._append("model", {"path": self._existing(path, self.run_dir)})

    def view(self, key: str, name: str, columns: Sequence[str], axes: Sequence[str]) -> None:
        """A saved view of the experiment, on the runs whose parent this one is; replaces `key`.

        Args:
            key: the view's key in links (`tracking.saved_views.sweep_link`).
            name: the view's name in MLflow.
            columns: names of parameters, the first columns of the table.
            axes: names of parameters, the axes of a chart.
        """
        if not re.fullmatch(r"[\w\-]{1,100}", key):
            raise ValueError(f"a view's key takes letters, digits and _- only, got {key!r}")
        content = {"key": key, "name": name, "columns": list(columns), "axes": list(axes)}
        if self.state.views.get(key) != content:
            self._append("view", content)

    def status(self, status: str, time_ms: int | None = None) -> None:
        """Where the run stands (one of `STATUSES`), safe on the disk when this returns."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
        if status != self.state.status:
            self._append("status", {"status": status}, time_ms, is_flushed=True)
            try:
                self._write_seal()
            except OSError as error:  # the older one still fits, and the status stands
                log.warning("%s: %s", error.filename, error.strerror)

    def close(self) -> None:
        """Closes the file; the log can be opened again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(
        self,
        kind: str,
        content: dict[str, Any],
        time_ms: int | None = None,
        *,
        is_flushed: bool = False,
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        whole = {"kind": kind, "time": now_ms if time_ms is None else time_ms, **content}
        event, line = make_event(whole, self.state.mark)
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
            if is_flushed:
                os.fsync(self._file.fileno())
        except OSError as error:
            # a full disk takes a part: the next event must not join it
            self._file.truncate(self.state.mark.offset)
            raise OSError(error.errno, error.strerror, self._file.name) from error
        self.state.apply(event)

    def _write_seal(self) -> None:
        state = self.state
        _write_seal(self.run_dir, _Seal(state.id, state.created_ms, state.mark))

    def _existing(self, path: str, root: Path) -> str:
        if file_in(self.run_dir, root, path) is None:
            raise ValueError(f"{path!r} is no file below {root}")
        return PurePosixPath(path).as_posix()


def set_offline(run_dir: Path, is_offline: bool) -> None:
    """Nothing of this run or sweep is sent until `fmnist sync` is called; or it may be sent."""
    if is_offline:
        (run_dir / OFFLINE_FILE).touch()
    else:
        (run_dir / OFFLINE_FILE).unlink(missing_ok=True)


def is_offline(run_dir: Path) -> bool:
    """Whether nothing of it is to be sent yet."""
    return (run_dir / OFFLINE_FILE).exists()
