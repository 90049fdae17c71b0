"""The uploader process, `python -m fashion_mnist.tracking OUTPUT_DIR`: `start_uploader` does it."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fashion_mnist.runs.files import has_writer
from fashion_mnist.tracking.upload_state import logged_dirs, uploader_lock

LAST_SECONDS = 8  # after SIGTERM; containers are given 10 before they are killed


def main(output_dir: Path) -> None:
    """Sends until nothing is left to do; leaves at once if another uploader does it."""
    lower_priority()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    lock = uploader_lock(output_dir)
    while lock.acquire():
        try:
            # takes seconds: only the process that stays pays for the import
            from fashion_mnist.tracking.uploader import Uploader

            uploader = Uploader(output_dir)
            with ending_gently(uploader.end):
                uploader.stay()
        finally:
            lock.release()
        # a run that began between our last look and the release found us alive
        lives = any(has_writer(run_dir) for run_dir in logged_dirs(output_dir))
        if uploader.is_ending or not lives:
            return


@contextmanager
def ending_gently(end: Callable[[], None]) -> Iterator[None]:
    """Within, SIGTERM calls `end`; what takes longer than some seconds then is cut off.

    A signal to a job goes to all of its processes: the training ones have a status to be sent.
    """

    def on_signal(*_: object) -> None:
        end()
        signal.alarm(LAST_SECONDS)

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def lower_priority() -> None:
    """Training comes first."""
    if hasattr(os, "nice"):
        os.nice(10)
    # Linux with autogroups weighs sessions, and this process has one of its own: `man 7 sched`
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("10", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
