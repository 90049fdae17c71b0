"""Text for the terminal: words for numbers and errors, tables, harmless names, a live display."""

import errno
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


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


NARROWEST = 14  # characters to which a long name is cut before a column is left out
GAP = "  "  # between columns


@dataclass(frozen=True)
class Column:
    """A column of a table on the terminal."""

    key: str
    title: str
    is_number: bool = False  # stands on the right
    can_shrink: bool = False  # its cells are cut in the middle where there is no room
    priority: int = 0  # columns above 0 are left out where there is no room, the highest first


def text_table(
    rows: Sequence[Mapping[str, str]], columns: Sequence[Column], width: int | None = None
) -> list[str]:
    """A heading, unless no column has a title, and a line for each row, without control characters.

    No cell is broken into lines. Columns without any value are left out.

    Args:
        width: of the terminal, in characters; None for as wide as the cells are.
    """
    kept = [c for c in columns if any(row.get(c.key, "") not in ("", "–") for row in rows)]
    cells = {c.key: [printable(row.get(c.key, "")) for row in rows] for c in kept}
    widths = {c.key: max(map(cell_width, [c.title, *cells[c.key]])) for c in kept}
    while width is not None and (over := _total(widths) - width) > 0:
        for column in sorted((c for c in kept if c.can_shrink), key=lambda c: -widths[c.key]):
            cut = min(over, max(widths[column.key] - NARROWEST, 0))
            widths[column.key] -= cut
            over -= cut
        last = max(kept, key=lambda column: column.priority)
        if over <= 0 or not last.priority:
            break
        # the names that were cut for it have their room again
        kept = [column for column in kept if column is not last]
        widths = {c.key: max(map(cell_width, [c.title, *cells[c.key]])) for c in kept}

    def line(texts: Sequence[str]) -> str:
        parts = []
        for column, text in zip(kept, texts, strict=True):
            fitted = cut_in_the_middle(text, widths[column.key])
            room = " " * (widths[column.key] - cell_width(fitted))
            parts.append(room + fitted if column.is_number else fitted + room)
        return GAP.join(parts).rstrip()

    heading = [line([c.title for c in kept])] if any(c.title for c in kept) else []
    return [*heading, *(line(own) for own in zip(*(cells[c.key] for c in kept), strict=True))]


def cell_width(text: str) -> int:
    """How many places of a terminal the text takes: two for each wide letter."""
    from rich.cells import cell_len

    return cell_len(text)


def cut_in_the_middle(text: str, width: int) -> str:
    """The text in at most so many places, its beginning and its end with `…` between."""
    from rich.cells import set_cell_size

    if cell_width(text) <= width:
        return text
    end = (width - 1) // 2
    tail = set_cell_size(text[::-1], end)[::-1].lstrip() if end else ""
    return f"{set_cell_size(text, width - 1 - end).rstrip()}…{tail}"


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


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
