"""What everything on the console shares: words for figures and errors, harmless text, a display."""

import errno
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def duration(seconds: float) -> str:
    """A time in words, as short as a person wants it: `3 min 10 s`.

    It is not below 0, whatever a clock that was set back says.
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def plural(count: int, one: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def first_line_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def disk_trouble(error: OSError) -> str:
    """What the disk, or whatever holds the files, says, of which file, and what to do; one line."""
    what = error.strerror or first_line_of(error)
    if "AF_UNIX path too long" in what:
        return "the path of temporary files is too long: set TMPDIR to a folder of a shorter one"
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return what  # of no file
    # a write does not know the name of its file
    where = error.filename or "output_dir, or the folder for temporary files (TMPDIR)"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "make room, and the same command goes on"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "let it be written, and the same command goes on; or choose another folder"
        case _:
            advice = "mend it, and the same command goes on"
    return f"{where}: {what}: {advice}"


def printable(text: str) -> str:
    """The text with all that would steer a terminal written out, as \\x1b; its lines stay lines.

    Names come from configs, runs and stores of other people: an escape sequence in one could
    rewrite what stands above it, and a bidirectional mark show it in another order.
    """
    if text.isprintable():
        return text
    kept = (c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    return "".join(kept)


class PrintableFormatter(logging.Formatter):
    """Makes log lines that are `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))


@contextmanager
def lines_on_stdout() -> Iterator[None]:
    """Within, what the program logs is written to the standard output, `printable`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    ours, everybodys = logging.getLogger("fashion_mnist"), logging.getLogger()
    level = ours.level
    everybodys.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        everybodys.removeHandler(handler)


@contextmanager
def lines_above_the_display() -> Iterator[None]:
    """Logging holds the standard output of before a live display; let it write to the display's."""
    before = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    for handler in handlers:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(before)
