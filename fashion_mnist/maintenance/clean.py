"""Files below an output folder that are of no further use: found, and deleted if wanted."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.runs.events import LOG_FILE, RUNS, SWEEPS
from fashion_mnist.runs.files import is_abandoned, list_folder, run_lock
from fashion_mnist.runs.request import ENDED
from fashion_mnist.runs.run_dir import RunDir

PART = "half-written files of dead processes"
ENDED_CHECKPOINT = "checkpoints of runs that have ended"
DAMAGED = "damaged files that were set aside"
EMPTY = "folders of runs and sweeps that never began"
UNFINISHED = "checkpoints of unfinished runs"
# event logs that were set aside are not among them: they may hold what is recorded nowhere else
_DAMAGED = re.compile(r"(checkpoint|checkpoint\.previous|model)\.damaged-\d+\.safetensors")


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder in which nothing was recorded."""

    path: Path
    kind: str  # one of those above
    num_bytes: int


def clean(output_dir: Path, *, unfinished: bool, delete: bool) -> list[Leftover]:
    """Find what is of no further use below a folder, and delete it if that is wanted.

    What a living process holds the lock of is left out and left alone, and so is all that was
    recorded: event logs, artifacts, networks, stores.

    Args:
        unfinished: the checkpoints of unfinished runs as well: their training then begins again.

    Raises:
        OSError: something cannot be read or deleted.
    """
    found = _outside_of_runs(output_dir)
    for leftover in found if delete else ():
        _delete(leftover.path)
    for folder in [*list_folder(output_dir / RUNS), *list_folder(output_dir / SWEEPS)]:
        own = _in_folder(folder, unfinished)
        if own and not run_lock(folder).is_held():
            found += _delete_in(folder, own, unfinished) if delete else own
    return found


def _in_folder(folder: Path, unfinished: bool) -> list[Leftover]:
    """What may go from the folder of a run or a sweep."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    files = list(_files(folder))
    if all(_is_nothing(path) for path in files):
        return [Leftover(folder, EMPTY, sum(map(_size, files)))]
    found = [Leftover(path, PART, _size(path)) for path in files if is_abandoned(path)]
    aside = (path for path in list_folder(folder) if _DAMAGED.fullmatch(path.name))
    found += [Leftover(path, DAMAGED, _size(path)) for path in aside]
    run = RunDir(folder)
    if checkpoints := run.checkpoints():
        has_ended = run.status() in ENDED
        if has_ended or unfinished:
            kind = ENDED_CHECKPOINT if has_ended else UNFINISHED
            found += [Leftover(path, kind, _size(path)) for path in checkpoints]
    return found


def _is_nothing(path: Path) -> bool:
    """Whether a file says nothing: a process that was killed before its first event left it."""
    is_silent = path.name == LOG_FILE and _size(path) == 0
    return is_silent or path.name in ("lock", "lock.holder") or is_abandoned(path)


def _outside_of_runs(output_dir: Path) -> list[Leftover]:
    """Half-written files that are in no folder of a run or a sweep."""
    places = (path for path in list_folder(output_dir) if path.name not in (RUNS, SWEEPS))
    files = (file for place in places for file in (_files(place) if _is_folder(place) else [place]))
    return [Leftover(path, PART, _size(path)) for path in files if is_abandoned(path)]


def _files(folder: Path) -> Iterator[Path]:
    """Everything below it that is no folder; links are not followed."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _is_folder(path: Path) -> bool:
    """Whether it is one itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # a living process has renamed it
        return 0


def _delete_in(folder: Path, seen: Sequence[Leftover], unfinished: bool) -> list[Leftover]:
    """Delete what was seen in the folder, and may still go now that its lock is held.

    Nothing where another process has taken the lock meanwhile.
    """
    lock = run_lock(folder)
    if not lock.acquire(0):
        return []
    try:
        still = {leftover.path for leftover in _in_folder(folder, unfinished)}
        found = [leftover for leftover in seen if leftover.path in still]
        for leftover in found:
            _delete(leftover.path)
    finally:
        lock.release()
    return found


def _delete(path: Path) -> None:
    """A file; or a folder of nothing, as long as it is still empty."""
    if not _is_folder(path):
        path.unlink(missing_ok=True)
        return
    for place, _, names in os.walk(path, topdown=False):
        for name in names:
            if _is_nothing(Path(place, name)):
                Path(place, name).unlink()
        Path(place).rmdir()
