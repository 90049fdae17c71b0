"""The entries of a journal as they lie on the disk: lines with checksums, read up to any damage.

```
{"kind": "metrics", "time": 1763946000000, "step": 1, "values": {"val/loss": 0.5}, "crc": "f64a…"}
```

`time` is in ms since the epoch. `crc` is the CRC-32 of all lines before and of this one up to the
comma in front of it: a line that was changed, lost or moved does not fit, nor does any after it.
Lines without one are an earlier format; they are not read.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, Self

JOURNAL_FILE = "journal.jsonl"
LONGEST_PATH = 250  # below a run's folder; disks take names of 255 bytes
# what each kind of entry holds; more is allowed
_CONTENT: dict[str, dict[str, type]] = {
    "journal": {"id": str},
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


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    """Whether it fits the columns of a store."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


# and what is in these
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
    """A place between two entries: bytes before it, and their running checksum."""

    offset: int = 0
    crc: int = 0

    def line_end(self) -> bytes:
        """How the line before it ends."""
        return b', "crc": "%08x"}\n' % self.crc


START = Mark()


@dataclass(frozen=True)
class Entry:
    """One line of a journal: `time_ms` since the epoch, fixed when made; `mark` is after it."""

    kind: str
    time_ms: int
    content: dict[str, Any]
    mark: Mark


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

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """As an entry of this kind says it."""
        relation = {key: str(content[key]) for key in ("parent", "name") if key in content}
        return cls(content["uri"], content["experiment"], **relation)

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
        file = (folder / JOURNAL_FILE).stat()
    except OSError:  # `folder` may be a file, or not ours to look into
        return 0
    return file.st_size if S_ISREG(file.st_mode) else 0


def read_entries(
    folder: Path, after: Mark = START, *, kinds: Collection[str] = ()
) -> Iterator[Entry]:
    """The entries after a place, up to the first line that is half written or damaged.

    Args:
        kinds: only these; of the others the checksum is looked at, which takes no time. Empty: all.
    """
    if journal_size(folder) <= after.offset:
        return
    wanted = tuple(b'{"kind": "%s"' % kind.encode() for kind in kinds) or b""
    with (folder / JOURNAL_FILE).open("rb") as file:
        file.seek(after.offset)
        for line in file:
            if not line.startswith(wanted):
                after = _mark_after(line, after)
                if line.endswith(after.line_end()):
                    continue
                return
            entry = parse_entry(line, after)
            if entry is None:
                return
            after = entry.mark
            yield entry


def make_entry(said: Mapping[str, Any], after: Mark) -> tuple[Entry, bytes]:
    """What is said (with `kind` and `time`) as an entry after this place, and its line."""
    # a word from a terminal may hold what is no letter
    words = json.dumps(said, ensure_ascii=False).encode(errors="replace")[:-1]
    mark = Mark(after.offset + len(words) + _CRC_LENGTH, zlib.crc32(words, after.crc))
    content = {key: value for key, value in said.items() if key not in ("kind", "time")}
    return Entry(said["kind"], said["time"], content, mark), words + mark.line_end()


def parse_entry(line: bytes, after: Mark) -> Entry | None:
    """A line as the entry after this place; None for anything else."""
    words, mark = line[:-_CRC_LENGTH], _mark_after(line, after)
    if not line.endswith(mark.line_end()):
        return None
    try:
        content = json.loads(words + b"}")
        kind, time_ms = content.pop("kind"), content.pop("time")
        is_whole = isinstance(time_ms, int) and _is_number(time_ms) and _is_whole(kind, content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return Entry(kind, time_ms, content, mark) if is_whole else None


def _mark_after(line: bytes, after: Mark) -> Mark:
    return Mark(after.offset + len(line), zlib.crc32(line[:-_CRC_LENGTH], after.crc))


def _is_whole(kind: str, content: Mapping[str, Any]) -> bool:
    """Whether it holds what its readers look for, each of its type: anybody may write a journal."""
    for key, kind_of in _CONTENT[kind].items():
        if not isinstance(content[key], kind_of):
            return False
    for key, is_kind in _INNER.get(kind, {}).items():
        inner = content[key].values() if isinstance(content[key], dict) else content[key]
        if not all(map(is_kind, inner)):
            return False
    return _is_number(content.get("step", 0)) and (kind != "journal" or is_id(content["id"]))


def holds(folder: Path, mark: Mark) -> bool:
    """Whether an entry of the journal ends here, with the same content up to here."""
    if mark == START:
        return True
    try:
        with (folder / JOURNAL_FILE).open("rb") as file:
            file.seek(max(0, mark.offset - _CRC_LENGTH))
            return file.read(_CRC_LENGTH) == mark.line_end()
    except FileNotFoundError:
        return False


def last_mark(folder: Path) -> Mark:
    """The place after the last entry that can be read."""
    mark = START
    for entry in read_entries(folder):
        mark = entry.mark
    return mark


def is_id(word: object) -> bool:
    """Whether this can be a journal's id."""
    return isinstance(word, str) and re.fullmatch("[0-9a-f]{32}", word) is not None


def rest_after(folder: Path, end: Mark) -> bytes:
    """What the file holds after this place."""
    if journal_size(folder) <= end.offset:
        return b""
    with (folder / JOURNAL_FILE).open("rb") as file:
        file.seek(end.offset)
        return file.read()


def file_in(folder: Path, root: Path, path: str) -> Path | None:
    """The file of this path below `root`; None for one that is not there or outside the folder.

    Neither `..` nor a link leads out of the run's folder.
    """
    words = PurePosixPath(path)
    file = root / words
    if words.is_absolute() or ".." in words.parts or len(path) > LONGEST_PATH:
        return None
    if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        return None
    return file


def cut_torn_line(path: Path) -> None:
    """Cuts off what follows the last line break of a file: the half line that a kill leaves."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
