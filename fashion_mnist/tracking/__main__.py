"""The sending process: `python -m fashion_mnist.tracking OUTPUT_DIR`, started by `outbox.spawn`."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fashion_mnist.runs.files import has_writer, take
from fashion_mnist.tracking.outbox import journal_folders, sender_lock

LAST_SECONDS = 8  # after SIGTERM; containers are given 10 before they are killed


def main(output_dir: Path) -> None:
    """Sends until nothing is left to do; leaves at once if another sender does it."""
    give_way()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    lock = sender_lock(output_dir)
    while take(lock):
        try:
            # takes seconds: only the process that stays pays for the import
            from fashion_mnist.tracking.sender import Sender

            sender = Sender(output_dir)
            with ending_gently(sender.end):
                sender.stay()
        finally:
            lock.release()
        # who came between our last look and the release found us alive and started no sender
        lives = any(has_writer(folder) for folder in journal_folders(output_dir))
        if sender.is_ending or not lives:
            return


@contextmanager
def ending_gently(end: Callable[[], None]) -> Iterator[None]:
    """Within, SIGTERM calls `end`; what takes longer than some seconds then is cut off.

    Whoever stops a job tells all of its processes: the training ones have last words to be sent.
    """

    def on_signal(*_: object) -> None:
        end()
        signal.alarm(LAST_SECONDS)

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def give_way() -> None:
    """Training comes first."""
    if hasattr(os, "nice"):
        os.nice(10)
    # Linux with autogroups weighs sessions, and this process has one of its own: `man 7 sched`
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("10")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
