"""Standard output and error that may fail: the reader is gone, the disk is full, nobody listens.

What training says there is for somebody who looks on, and is in Hydra's log too: a run does not
end because nobody looks on any more.
"""

import io
import os
import select
import sys
from typing import Any, TextIO


class LastingFile(io.FileIO):
    """Writes for as long as somebody takes it, and from then on nowhere."""

    def write(self, data: Any) -> int:
        """All of it, or what fits."""
        try:
            while (written := super().write(data)) is None:  # full, and of the kind that returns
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return written


def outlast_readers() -> None:
    """Have standard output and error take whatever is written, also where nobody reads it."""
    _open_what_is_closed()
    if os.name == "posix":  # a console of Windows is no file
        sys.stdout = _lasting(1, sys.stdout)
        sys.stderr = _lasting(2, sys.stderr)


def _open_what_is_closed() -> None:
    # the next file to be opened would take the place of a closed stream, and get its words
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _lasting(number: int, before: TextIO | None) -> io.TextIOWrapper:
    """A stream on this file descriptor, in the manner of the one before; None: it was closed."""
    file = LastingFile(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=before.encoding if before else "utf-8",
        errors=before.errors if before else "backslashreplace",
        line_buffering=number == 2 or file.isatty(),
    )
