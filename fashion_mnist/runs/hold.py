"""Takes the folder of a run or a sweep for this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fashion_mnist.lock import run_lock
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.request import RunError

PATIENCE_SECONDS = 3  # with a sender that looks, or an orphan that is about to end


@contextmanager
def hold(folder: Path, what: str, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock of a run's or a sweep's folder, which is made where it is not there.

    Args:
        what: the folder stands for: run or sweep.
        patience_seconds: with another process that has it.

    Raises:
        RunError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = run_lock(folder)
    try:
        lock.acquire(timeout=patience_seconds)
    except TimeoutError:
        holder = _holder(folder)
        raise RunError(
            f"this {what} is being trained by another process ({holder}in {folder})"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    """Who said last that it trains here."""
    tags = RunFolder(folder).tags()
    return f"{tags['pid']} on {tags['host']}, " if {"pid", "host"} <= set(tags) else ""
