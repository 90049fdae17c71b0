"""Locks: looking keeps no process from taking one, and other hosts are known by silence."""

import errno
import fcntl
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from fashion_mnist.config.messages import disk_trouble
from fashion_mnist.runs import files
from fashion_mnist.runs.files import ProcessLock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_folder_without_locks_is_said(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its path and what to do; no lock that would outlive its process stands in."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        ProcessLock(tmp_path / "lock").acquire()
    words = disk_trouble(raised.value)
    assert f"{tmp_path / 'lock'}: " in words
    assert "no locks for files: choose another folder" in words


def test_looking_keeps_no_process_from_taking_the_lock(tmp_path: Path) -> None:
    """Processes that ask all the time whether a lock is held never make a taker give up."""
    path = tmp_path / "lock"
    path.touch()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            ProcessLock(path).is_held()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            lock = ProcessLock(path)
            assert lock.acquire()
            assert ProcessLock(path).is_held()
            lock.release()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not ProcessLock(path).is_held()


@pytest.mark.skipif(os.name != "posix", reason="locks that are shared")
def test_two_that_look_at_once_see_it_free(tmp_path: Path) -> None:
    """One of them taken for a holder, no uploader would be started."""
    import fcntl

    path = tmp_path / "lock"
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as another process that looks
        assert not ProcessLock(path).is_held()


def test_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    """By process id and host; a second taker waits for its time and gives up."""
    lock = ProcessLock(tmp_path / "lock")
    with lock:
        assert lock.holder() == (os.getpid(), socket.gethostname())
        began = time.monotonic()
        assert not ProcessLock(lock.path).acquire(0.3)
        assert 0.2 < time.monotonic() - began < 5
    assert lock.holder() == (0, "")
    assert not lock.is_held()


def test_holder_on_another_host_lives_until_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network folder the file lock may be free here: the holder's touch shows it lives."""
    path = tmp_path / "lock"
    path.touch()
    touched = tmp_path / "lock.holder"
    touched.write_text("12 another-host")
    assert ProcessLock(path).is_held()
    assert not ProcessLock(path).acquire(0)
    silent = time.time() - files.SILENT_SECONDS - 1
    os.utime(touched, (silent, silent))
    assert not ProcessLock(path).is_held()
    monkeypatch.setattr(files, "TOUCH_SECONDS", 0.05)
    lock = ProcessLock(path)
    assert lock.acquire(0)
    os.utime(touched, (silent, silent))
    deadline = time.monotonic() + 20
    while touched.stat().st_mtime < silent + 60:  # touched again while it is held
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lock.release()
