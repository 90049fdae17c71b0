"""Tables of text for the terminal and for logs, as wide as there is room."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fashion_mnist.analysis.labels import ABSENT
from fashion_mnist.config.messages import printable

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
    kept = [c for c in columns if any(row.get(c.key, "") not in ("", ABSENT) for row in rows)]
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


def terminal_width() -> int | None:
    """Characters of a line of the terminal; None where the output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


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
