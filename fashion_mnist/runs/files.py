"""Files that are there whole or not at all, and the locks that say which process is at work.

A file is written beside its place, flushed and renamed. A lock is a file lock, which the system
frees when its process ends.
"""

import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

LOCK_FILE = "lock"
RETRY_SECONDS = 1.0
TOUCH_SECONDS, SILENT_SECONDS = 30, 120
LONGEST_PATH = 250  # below a run's directory; file systems take names of 255 bytes
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part(\.[^.]*)?")


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
    beside = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.part{path.suffix}")
    try:
        with _locked(beside):
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


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole or not at all. Raises OSError."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote of a mapping; nothing where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    log.warning("%s cannot be read: it counts as not there", path)
    return {}


def list_folder(folder: Path) -> list[Path]:
    """What is in a folder, sorted; nothing where there is none, or it cannot be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def flush_names(folder: Path) -> None:
    """Have the renames in a folder outlive a loss of power, where that can be; milliseconds."""
    with suppress(OSError):  # Windows and some network folders have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file to a name of `take_damaged_name`; its new path.

    Raises:
        OSError: the folder cannot be written to; the file is then where it was.
    """
    return path.replace(take_damaged_name(path))


def take_damaged_name(path: Path) -> Path:
    """An empty file `NAME.damaged-1.SUFFIX`, or of the next number that is free. Raises OSError."""
    number = 1
    while True:
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            aside.touch(exist_ok=False)  # takes the name: a rename would overwrite another's
        except FileExistsError:
            number += 1
        else:
            return aside


def cut_torn_line(path: Path) -> None:
    """Cuts off what follows the last line break of a file: the half line that a kill leaves."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock by which `is_abandoned` knows that a file is being written."""
    with path.open("a+b") as file:  # made here, so that it has a lock before it has content
        if sys.platform != "win32":
            with suppress(OSError):  # a folder without file locks
                fcntl.flock(file, fcntl.LOCK_SH)
            yield
    if sys.platform == "win32":  # an open file cannot be renamed there
        yield


def is_abandoned(path: Path) -> bool:
    """Whether this is what `replacing` was writing to in a process that is dead.

    The writer holds a lock of the file. On Windows, which has no such locks, it is a file that was
    not written to for `SILENT_SECONDS`.
    """
    if _PART.fullmatch(path.name) is None:
        return False
    try:
        if sys.platform == "win32":
            return time.time() - path.stat().st_mtime > SILENT_SECONDS
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its writer lives, or has just renamed it
        return False
    return True


def leads_down(path: str) -> bool:
    """Whether a path by its words alone names something below the folder it is taken from."""
    words = PurePosixPath(path)
    return bool(words.parts) and not words.is_absolute() and ".." not in words.parts


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is below a folder, wherever links lead."""
    return path.resolve().is_relative_to(folder.resolve())


def file_in(run_dir: Path, root: Path, path: str) -> Path | None:
    """The file of this path below `root`; None where there is none inside the run's directory."""
    file = root / path
    if not leads_down(path) or len(path) > LONGEST_PATH or not file.is_file():
        return None
    return file if is_inside(file, run_dir) else None


class ProcessLock:
    """A lock that a process holds while it lives, and that names the process.

    It is a file lock, which the system frees when its process ends. On a network folder such a lock
    may hold on its own host alone. So the holder is named in a file beside it, and touches that
    every `TOUCH_SECONDS`: one on another host counts as alive until it was silent for
    `SILENT_SECONDS`.

    Keep the object: a lock that is collected is released.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # the soft lock that it would turn to outlives a killed process
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False)
        self._holder_file = path.with_name(f"{path.name}.holder")
        self._released = Event()

    def acquire(self, seconds: float = RETRY_SECONDS) -> bool:
        """Whether the lock is ours, tried for so long: who looks whether it is held has it shortly.

        Raises:
            OSError: its folder cannot be written to.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return False
            except OSError as error:  # of a file system without locks, it has no name
                raise OSError(error.errno, error.strerror, str(self.path)) from error
            if not self._is_held_elsewhere():
                break
            self._lock.release()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        with suppress(OSError):  # on a full disk the lock itself must do
            self._holder_file.write_text(f"{os.getpid()} {socket.gethostname()}", encoding="utf-8")
        self._released.clear()
        Thread(target=self._touch, daemon=True).start()
        return True

    def release(self) -> None:
        """Gives it up; nothing where it is not ours."""
        if self._lock.is_locked:
            self._released.set()
            with suppress(OSError):
                self._holder_file.unlink()
            self._lock.release()

    def holder(self) -> tuple[int, str]:
        """The process id and the host of the process that last had it; (0, "") for unknown."""
        try:
            pid, _, host = self._holder_file.read_text(encoding="utf-8").partition(" ")
            return int(pid), host
        except (OSError, ValueError):
            return 0, ""

    def holder_in_words(self) -> str:
        """Who last had it, `123 on HOST`; empty where that is not known."""
        pid, host = self.holder()
        return f"{pid} on {host}" if pid else ""

    def is_held(self) -> bool:
        """Whether a living process, also this one, holds it.

        Where the system can share locks, looking keeps no other process from taking it but for an
        instant, and who looks at the same time sees it free.
        """
        return self.path.exists() and (self._is_locked_here() or self._is_held_elsewhere())

    def _is_locked_here(self) -> bool:
        if sys.platform == "win32":
            probe = FileLock(self.path)
            try:
                probe.acquire(timeout=0)
            except TimeoutError:
                return True
            probe.release()
            return False
        with self.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _is_held_elsewhere(self) -> bool:
        """Whether a process of another host has touched the lock lately."""
        _, host = self.holder()
        if host in ("", socket.gethostname()):
            return False
        try:
            return time.time() - self._holder_file.stat().st_mtime < SILENT_SECONDS
        except FileNotFoundError:
            return False

    def _touch(self) -> None:
        while not self._released.wait(TOUCH_SECONDS):
            with suppress(OSError):
                os.utime(self._holder_file)

    def __enter__(self) -> Self:
        if not self.acquire():
            raise TimeoutError(f"{self.path} is held by another process")
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def run_lock(run_dir: Path) -> ProcessLock:
    """The lock of a run's or a sweep's directory: hold it while you write the event log."""
    return ProcessLock(run_dir / LOCK_FILE)
