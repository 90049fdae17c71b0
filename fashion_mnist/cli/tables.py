"""Rows as a table for the terminal or as JSON: what every command prints its findings with."""

from __future__ import annotations  # rich is imported for the type checker alone

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

ABSENT = "–"
WIDEST = 10_000  # characters of a line in a file


@dataclass(frozen=True)
class Column:
    """A column of a table: the rows' key, and what is written above it."""

    key: str
    title: str
    is_number: bool = False  # stands on the right


def print_rows(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    as_json: bool,
    foot: str = "",
) -> None:
    """Print the rows' columns as a table with a foot, or the whole rows as JSON, under `name`."""
    if as_json:
        print_json({name: list(rows)})
        return
    if rows:
        print_on_terminal(table_of(rows, columns))
    if foot:
        print_text(foot)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> RenderableType:
    """The table, every word in it printable."""
    from rich.table import Table

    has_titles = any(column.title for column in columns)
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=has_titles)
    for column in columns:
        justify = "right" if column.is_number else "left"
        table.add_column(_text(column.title), justify=justify, overflow="fold")  # type: ignore[arg-type] # a str for its literals
    for row in rows:
        table.add_row(*(_text(cell(row.get(column.key))) for column in columns))
    return table


def print_on_terminal(what: RenderableType) -> None:
    """Print it as wide as the terminal is; into a pipe or a file as wide as it wants to be."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(what)
        return
    console = Console(highlight=False, width=WIDEST, no_color=True)
    console.width = Measurement.get(console, console.options, what).maximum or 1
    with console.capture() as captured:
        console.print(what)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_text(text: str) -> None:
    """Print lines, harmless whatever is in them."""
    from fashion_mnist.console import printable

    typer.echo(printable(text))


def print_json(content: Any) -> None:
    """Print it as JSON: times as ISO 8601, durations in seconds, what is no finite number null."""
    typer.echo(json.dumps(_plain(content), ensure_ascii=True))


def cell(value: Any) -> str:
    """A value in a table: four digits that are worth reading, local time, ABSENT for none."""
    from fashion_mnist.console import duration

    match value:
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case float():
            return _digits(value)
        case datetime():
            return f"{value.astimezone():%Y-%m-%d %H:%M}"
        case timedelta():
            return duration(value.total_seconds())
    return str(value)


def _digits(value: float) -> str:
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.4f}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _text(words: str) -> RenderableType:
    from rich.text import Text

    from fashion_mnist.console import printable

    return Text(printable(words))  # as text: rich would read square brackets as its markup


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Sequence():
            return [_plain(inner) for inner in value]
    return str(value)
