"""The event log of a run, read: JSON lines in its directory, as things happened. No MLflow here.

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
after it. The first line holds the log's id and the number of this format. `runs/event_log.py`
writes it; `runs/run_state.py` says what its events amount to.
"""

import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Self

from fashion_mnist.runs.files import list_folder, read_json, write_json

RUNS, SWEEPS = "runs", "sweeps"  # folders of directories below an output folder
LOG_FILE = "events.jsonl"
SEAL_FILE = "events.seal.json"
FORMAT = 2  # 1 was called journal.jsonl


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
    "image": {"key": str, "path": str},
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


def log_size(run_dir: Path) -> int:
    """Bytes of the log, a half-written last line included; 0 where there is none."""
    try:
        file = (run_dir / LOG_FILE).stat()
    except OSError:  # `run_dir` may be a file, or not ours to look into
        return 0
    return file.st_size if S_ISREG(file.st_mode) else 0


def logged_dirs(output_dir: Path) -> list[Path]:
    """The directories that hold an event log, by name: sweeps, then the runs of them."""
    found = (list_folder(output_dir / kind) for kind in (SWEEPS, RUNS))
    return [run_dir for run_dirs in found for run_dir in run_dirs if log_size(run_dir)]


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
        content = json.loads(words.decode() + "}")
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
    # a seal or an upload state may say any number, and none can be sought beyond the end
    if not _CRC_LENGTH < mark.offset <= log_size(run_dir):
        return False
    try:
        with (run_dir / LOG_FILE).open("rb") as file:
            file.seek(mark.offset - _CRC_LENGTH)
            return file.read(_CRC_LENGTH) == mark.line_end()
    except FileNotFoundError:  # removed since it was measured
        return False


def rest_after(run_dir: Path, end: Mark) -> bytes:
    """What the file holds after this place."""
    if log_size(run_dir) <= end.offset:
        return b""
    with (run_dir / LOG_FILE).open("rb") as file:
        file.seek(end.offset)
        return file.read()


@dataclass(frozen=True)
class Seal:
    """Which log it is and how far it had come, in a file of its own beside it."""

    id: str
    time_ms: int  # when the log was made
    mark: Mark

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """The seal beside a log; None where it is missing or damaged."""
        content = read_json(run_dir / SEAL_FILE)
        found = [content.get(key) for key in ("time", "offset", "crc")]
        numbers = [each for each in found if isinstance(each, int) and _is_number(each)]
        if not _is_id(content.get("id")) or len(numbers) != len(found):
            return None
        time_ms, offset, crc = numbers
        return cls(content["id"], time_ms, Mark(offset, crc))

    def write(self, run_dir: Path) -> None:
        """Replaces the seal beside a log. Raises OSError."""
        content = {"id": self.id, "time": self.time_ms, **vars(self.mark)}
        write_json(run_dir / SEAL_FILE, content)


def damage(run_dir: Path, end: Mark) -> str:
    """What is wrong with a log that can be read up to here, in words; empty for nothing.

    A half line at its end is no damage: it is being written, or its writer was killed.
    """
    seal = Seal.read(run_dir)  # before the log, which is ahead of it
    line, line_break, _ = rest_after(run_dir, end).partition(b"\n")
    if line_break and parse_event(line + line_break, end) is None:
        is_header = end == START and line.startswith((b'{"kind": "journal"', b'{"kind": "log"'))
        if is_header and b'"format": %d' % FORMAT not in line:
            return "is of another format"
        return f"is damaged after byte {end.offset}"
    if seal is not None and not holds(run_dir, seal.mark):
        return f"has lost what followed byte {end.offset}"
    return ""
