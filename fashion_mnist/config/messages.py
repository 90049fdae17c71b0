"""The wording that messages share: mistakes in a config, values, times, errors of the disk.

Imports nothing slow.
"""

import difflib
import errno
import logging
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST_SHOWN = 200  # characters of a value in a message


class ConfigError(ValueError):
    """Everything that is wrong with a config, a message a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class RunError(RuntimeError):
    """A run that cannot be trained now, through no fault of its config."""


def shown(value: Any) -> str:
    """A value as it stands in YAML, on one line, cut off where it is long."""
    try:
        return shorten(_as_yaml(value))
    except (ValueError, RecursionError):  # Python writes no number of more than 4300 digits
        return "more than can be shown"


def _as_yaml(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(_as_yaml, value))}]"
        case dict():
            entries = (f"{_as_yaml(key)}: {_as_yaml(own)}" for key, own in value.items())
            return f"{{{', '.join(entries)}}}"
        case _:
            return repr(value)


def shorten(text: str) -> str:
    """The text, printable on one line, or its beginning."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}…"


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """The nearest known word as a question, or nothing."""
    if not isinstance(value, str) or len(value) > LONGEST_SHOWN:
        return ""
    by_case = {word.lower(): word for word in known}
    near = difflib.get_close_matches(value.lower(), by_case, n=1, cutoff=0.7)
    return f" (did you mean {by_case[near[0]]}?)" if near else ""


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
        case errno.ENOENT:
            advice = "bring it back, or the same command begins again"
        case errno.ENOLCK | errno.ENOSYS | errno.EOPNOTSUPP:
            advice = "its file system has no locks for files: choose another folder"
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
