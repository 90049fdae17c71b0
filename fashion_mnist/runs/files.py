"""Files that are there whole or not at all, and the locks that say which process is at work.

A file is written beside its place, flushed and renamed. A lock is a file lock, which the system
frees when its process ends.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock

from fashion_mnist.process import CLOCK_SECONDS

_PART = re.compile(r"\..+\.(\d+)\.part(\.[^.]*)?")


@contextmanager
def replacing(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """A path to write to, beside `path`; it takes the place of `path` if nothing is raised.

    Args:
        previous: what was at `path` is kept here. Between the two renames there is nothing at
            `path`, and the last whole file is here.

    Raises:
        OSError: with its name, where the folder cannot be made or written to; `path` is then as
            it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the ending is kept: some writers choose the format by it
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        beside.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside)):
            raise
        # a full disk is told by a write, which knows no name
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # else it would hide why nothing could be written
            beside.unlink(missing_ok=True)


def flush_names(folder: Path) -> None:
    """Have the renames in a folder outlive a loss of power, where that can be; milliseconds."""
    with suppress(OSError):  # Windows and some network folders have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file, `NAME.damaged-1.SUFFIX` or the next number that is free; its new path.

    Raises:
        OSError: the folder cannot be written to; the file is then where it was.
    """
    number = 1
    while True:
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            aside.touch(exist_ok=False)  # takes the name: a rename would overwrite another's
        except FileExistsError:
            number += 1
        else:
            return path.replace(aside)


def cut_torn_line(path: Path) -> None:
    """Cuts off what follows the last line break of a file: the half line that a kill leaves."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def is_abandoned(path: Path) -> bool:
    """Whether this is what `replacing` was writing to in a process that is dead."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return False
    try:
        process = psutil.Process(int(match[1]))
        # a process that began after the file's last change has only taken the number over
        is_another = process.create_time() > path.stat().st_mtime + CLOCK_SECONDS
        return is_another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.AccessDenied, FileNotFoundError):  # it lives, and has just renamed the file
        return False


def run_lock(run_dir: Path) -> FileLock:
    """The lock of a run's or a sweep's directory: hold it while you write the event log.

    Acquire it with a time-out of some seconds, for an uploader that looks whether the process
    lives holds it for an instant; and keep the object, for a lock that is collected is released.
    """
    return FileLock(run_dir / "lock")


def has_writer(run_dir: Path) -> bool:
    """Whether a living process holds the directory's lock."""
    return (run_dir / "lock").exists() and is_held(run_lock(run_dir))


def take(lock: FileLock) -> bool:
    """Whether the lock was free and is now ours, without waiting."""
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return False
    return True


def is_held(lock: FileLock) -> bool:
    """Whether another process, or another lock object of this one, has it."""
    if not take(lock):
        return True
    lock.release()
    return False
