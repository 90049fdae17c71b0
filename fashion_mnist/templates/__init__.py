"""HTML pages of one layout. A page holds its pictures, runs no code and fetches nothing."""

import base64
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2

# a text that is not escaped, by some mistake, still runs and fetches nothing
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SHORT = 24  # characters of a cell that is not broken into lines
_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+(e[+-]?\d+)?")


@dataclass(frozen=True)
class Table:
    """Cells of text under headings."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_text: Sequence[bool]  # of each column: it stands on the left
    classes: Sequence[str] = ()  # CSS classes of each row
    is_sorted: bool = False  # by the column that a reader chooses
    orders: Sequence[Sequence[int]] = field(default=())  # of each row: its place by each column

    def is_short(self, column: int, cell: str) -> bool:
        """Whether the cell is not broken into lines."""
        return not self.is_text[column] or len(cell) <= SHORT


@dataclass(frozen=True)
class PagePicture:
    """A PNG in the page itself, and the caption for readers who do not see it."""

    png: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as an address that has all of it."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def table(
    rows: Sequence[Mapping[str, str]],
    *,
    text: Container[str] = (),
    classes: Sequence[str] = (),
    is_sorted: bool = False,
    values: Mapping[str, Sequence[float | None]] | None = None,
) -> Table | None:
    """A table of rows that map headings to cells; None where there are no rows.

    Columns without any value are left out.

    Args:
        text: headings of columns that stand on the left; all others on the right.
        is_sorted: whether a reader can sort by a column: numbers falling, texts rising.
        values: what columns are sorted by whose cells do not begin with it, by their headings; a
            number for each row, None for none.
    """
    if not rows:
        return None
    head = list(dict.fromkeys(key for row in rows for key, cell in row.items() if cell))
    cells = [[row.get(key, "") for key in head] for row in rows]
    known = values or {}
    columns = zip(head, zip(*cells, strict=True), strict=True)
    places = (_places(own, known.get(key) or list(map(_number, own))) for key, own in columns)
    orders = list(zip(*places, strict=True))
    return Table(head, cells, [key in text for key in head], classes, is_sorted, orders)


def render(template: str, **context: Any) -> str:
    """The page of a template; every text in it is escaped."""
    return _environment().get_template(template).render(policy=POLICY, contents=[], **context)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fashion_mnist", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _number(cell: str) -> float | None:
    """The number that a cell begins with; None where it begins with none."""
    found = _NUMBER.match(cell)
    return float(found[0].replace(",", "")) if found else None


def _places(cells: Sequence[str], values: Sequence[float | None]) -> list[int]:
    """The place of each cell by value: numbers first, the largest first, then texts."""

    def key(row: int) -> tuple[bool, float, str]:
        value = values[row]
        return value is None, -(value or 0), cells[row]

    order = sorted(range(len(cells)), key=key)
    places = [0] * len(cells)
    for place, row in enumerate(order):
        places[row] = place
    return places
