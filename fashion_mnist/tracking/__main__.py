"""The sending process: `python -m fashion_mnist.tracking OUTPUT_DIR`, started by `outbox.spawn`."""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from fashion_mnist.lock import has_writer, take
from fashion_mnist.tracking.outbox import journal_folders, sender_lock


def main(output_dir: Path) -> None:
    """Sends until nothing is left to do; leaves at once if another sender does it."""
    give_way()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    lock = sender_lock(output_dir)
    while take(lock):
        try:
            # takes seconds: only the process that stays pays for the import
            from fashion_mnist.tracking.sender import Sender

            Sender(output_dir).stay()
        finally:
            lock.release()
        # who came between our last look and the release found us alive and started no sender
        if not any(has_writer(folder) for folder in journal_folders(output_dir)):
            return


def give_way() -> None:
    """Training comes first."""
    if hasattr(os, "nice"):
        os.nice(10)
    # Linux with autogroups weighs sessions, and this process has one of its own: `man 7 sched`
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("10")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
