"""Who is at work in a folder: file locks, which the system frees when their process dies."""

from pathlib import Path

from filelock import FileLock


def run_lock(folder: Path) -> FileLock:
    """The lock of a run's or a sweep's folder: hold it while you write the journal.

    Acquire it with a time-out of some seconds, for a sender that looks whether anybody lives
    holds it for an instant; and keep the object, for a lock that is collected is released.
    """
    return FileLock(folder / "lock")


def has_writer(folder: Path) -> bool:
    """Whether a living process holds the folder's lock."""
    return (folder / "lock").exists() and is_held(run_lock(folder))


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
