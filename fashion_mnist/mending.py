"""Damage to a journal: noticed by its checksums and its seal, cut off, and kept beside it."""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from fashion_mnist.atomic import replacing
from fashion_mnist.entries import (
    JOURNAL_FILE,
    Mark,
    holds,
    is_id,
    last_mark,
    parse_entry,
    rest_after,
)

SEAL_FILE = "journal.seal.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seal:
    """What a journal is and how far it had come, in a file of its own beside it."""

    id: str
    time_ms: int  # of the journal's making
    mark: Mark


def read_seal(folder: Path) -> Seal | None:
    """What the file beside the journal says; None where there is none, or it is damaged."""
    try:
        content = json.loads((folder / SEAL_FILE).read_bytes())
        numbers = [content[key] for key in ("time", "offset", "crc")]
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not is_id(content.get("id")) or not all(isinstance(number, int) for number in numbers):
        return None
    time_ms, offset, crc = numbers
    return Seal(content["id"], time_ms, Mark(offset, crc))


def write_seal(folder: Path, seal: Seal) -> None:
    """Notes where a journal is: cut short behind it, it would not look damaged."""
    content = {"id": seal.id, "time": seal.time_ms, **vars(seal.mark)}
    with replacing(folder / SEAL_FILE) as beside:
        beside.write_text(json.dumps(content))


def damage(folder: Path, end: Mark) -> str:
    """What is wrong with a journal that can be read up to here, in words; empty for nothing.

    A half line at its end is no damage: it is being written, or its writer was killed.
    """
    seal = read_seal(folder)  # before the journal, which is ahead of it
    line, line_break, _ = rest_after(folder, end).partition(b"\n")
    if line_break and parse_entry(line + line_break, end) is None:
        if line.startswith(b'{"kind": "journal"') and b'"crc"' not in line:
            return "is of an earlier format, without checksums"
        return f"is damaged after byte {end.offset}"
    if seal is not None and not holds(folder, seal.mark):
        return f"has lost what followed byte {end.offset}"
    return ""


def mend(folder: Path) -> bool:
    """Cuts a journal back to the entries that can be read; hold the folder's lock.

    Where more than a half-written line is wrong with it, the journal as it was is kept beside it,
    the user is told, and this is true.
    """
    path, end = folder / JOURNAL_FILE, last_mark(folder)
    rest = rest_after(folder, end)
    wrong = damage(folder, end)
    if not wrong and b"\0" in rest:
        wrong = "ends in zeros, as after a loss of power"
    if wrong:
        kept = f" (kept as {keep_copy(path).name})" if path.exists() else ""
        log.warning("%s %s%s: going on from what can be read of it", path, wrong, kept)
    if rest:
        with path.open("rb+") as file:
            file.truncate(end.offset)
            os.fsync(file.fileno())
    return bool(wrong)


def keep_copy(path: Path) -> Path:
    """Copies a damaged file to a name that is free, `NAME.damaged-1.SUFFIX` or a later number."""
    names = (f"{path.stem}.damaged-{number}{path.suffix}" for number in count(1))
    kept = next(copy for name in names if not (copy := path.with_name(name)).exists())
    with replacing(kept) as beside:
        shutil.copyfile(path, beside)
    return kept
