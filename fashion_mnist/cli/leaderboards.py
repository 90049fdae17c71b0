"""A leaderboard on the terminal: what `fmnist leaderboard` prints."""

from __future__ import annotations  # rich is imported for the type checker alone

from typing import TYPE_CHECKING

from fashion_mnist.analysis.leaderboard import (
    Leaderboard,
    Setting,
    count_text,
    interval_text,
    notes,
    size_text,
    standing_text,
    tested_text,
)
from fashion_mnist.cli.tables import print_json, print_on_terminal, print_text
from fashion_mnist.console import printable
from fashion_mnist.sweep.labels import ABSENT, metric_name, statistic_text
from fashion_mnist.tracking.recorded import SCORE, TEST_SCORE

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 130  # characters: a narrower table has two lines for each setting


def print_leaderboard(board: Leaderboard, *, as_json: bool) -> None:
    """Print the settings that are shown, and what a reader must know of them."""
    from rich.console import Console

    if as_json:
        print_json(board.as_json())
        return
    console = Console()
    print_text(f"{board.title}: {size_text(board)}")
    print_on_terminal(leaderboard_table(board, console.width if console.is_terminal else WIDE))
    for note in notes(board):
        print_text(note)


def leaderboard_table(board: Leaderboard, width: int) -> Table:
    """The settings that are shown, the best first; on a narrow terminal, two lines for each.

    Args:
        width: of the terminal, in characters.
    """
    from rich.table import Table
    from rich.text import Text

    gap = " " if width >= WIDE else "\n"
    table = Table(box=None, header_style="bold", pad_edge=False)
    has_test = any(setting.test for setting, _ in board.shown)
    table.add_column("", justify="right")
    table.add_column("setting", overflow="fold", min_width=14)
    table.add_column(f"{metric_name(SCORE)}{gap}(95 % interval)", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("vs. best")
    if has_test:
        table.add_column(metric_name(TEST_SCORE), no_wrap=True)
    for place, (setting, standing) in enumerate(board.shown, start=1):
        cells: list[str | Text] = [
            str(place) if setting.score else ABSENT,
            Text(printable(board.label(setting))),  # rich would read [] as its markup
            gap.join(
                filter(
                    None,
                    [statistic_text(SCORE, setting.score), _interval(setting)],
                )
            ),
            count_text(board, setting),
            Text(printable(standing_text(standing, gap))),
        ]
        if has_test:
            cells.append(tested_text(setting))
        is_near = standing.verdict in ("best", "not significantly different")
        table.add_row(*cells, style="bold" if is_near else "")
    return table


def _interval(setting: Setting) -> str:
    words = interval_text(setting)
    return f"({words})" if words else ""
