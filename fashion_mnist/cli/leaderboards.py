"""A leaderboard on the terminal: what `fmnist leaderboard` prints."""

from __future__ import annotations  # rich is imported for the type checker alone

from collections.abc import Collection
from typing import TYPE_CHECKING

from fashion_mnist.cli.tables import print_json, print_on_terminal, print_text
from fashion_mnist.conclusions.leaderboard import Leaderboard
from fashion_mnist.conclusions.settings import TEST_SCORE, Setting
from fashion_mnist.conclusions.standing import Standing
from fashion_mnist.console import plural, printable
from fashion_mnist.recorded import SCORE
from fashion_mnist.sweep.figures import figure_name, figure_text, p_text, statistic_text
from fashion_mnist.sweep.scale import ABSENT

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 110  # characters: a narrower table has two lines for each setting


def print_leaderboard(board: Leaderboard, *, as_json: bool) -> None:
    """Print the settings that are shown, and what a reader must know of them."""
    from rich.console import Console

    if as_json:
        print_json(board.as_json())
        return
    console = Console()
    print_text(f"{board.title}: {_size(board)}")
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

    gap = "  " if width >= WIDE else "\n"
    table = Table(box=None, header_style="bold", pad_edge=False)
    has_test = any(setting.test for setting, _ in board.shown)
    table.add_column("", justify="right")
    table.add_column("setting", overflow="fold", min_width=14)
    table.add_column(f"{figure_name(SCORE)}{gap}(95 % interval)", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("beside the best")
    if has_test:
        table.add_column(figure_name(TEST_SCORE), no_wrap=True)
    for place, (setting, standing) in enumerate(board.shown, start=1):
        cells: list[str | Text] = [
            str(place) if setting.score else ABSENT,
            Text(printable(board.label(setting))),  # rich would read [] as its markup
            gap.join(filter(None, [statistic_text(SCORE, setting.score), _interval(setting)])),
            _count(setting),
            Text(printable(standing_text(standing, gap))),
        ]
        if has_test:
            cells.append(_test(setting))
        is_near = standing.verdict in ("best", "not told apart")
        table.add_row(*cells, style="bold" if is_near else "")
    return table


def notes(board: Leaderboard) -> list[str]:
    """What a reader of the table must know, a paragraph each."""
    shown = [standing for _, standing in board.shown]
    num_hidden = len(board.settings) - len(shown)
    lines = [f"and {plural(num_hidden, 'more setting')}: --limit 0 for all"] if num_hidden else []
    tests = {standing.test for standing in shown if standing.test}
    if tests:
        lines.append(_explanation(tests))
    use = board.test_use
    settings, runs = plural(use.num_settings, "setting"), plural(use.num_runs, "run")
    many = "; the more often, the less it says" if use.num_settings > 1 else ""
    read = f"In this experiment the test set was read for {settings} ({runs}){many}."
    return [*lines, read if use.num_runs else "The test set was not read in this experiment."]


def _explanation(tests: Collection[str]) -> str:
    ways = {
        "paired t": "paired t-test over common seeds and folds",
        "McNemar": "McNemar's exact test on the same images, which says nothing of other seeds",
    }
    used = "; ".join(words for test, words in ways.items() if test in tests)
    return (
        "Not told apart: p > 0.05 after Holm's correction for all comparisons with the best "
        f"({used}). It does not mean equal. The best was picked by these scores, which flatter it: "
        "a claim that it is better wants new seeds, or the test set."
    )


def standing_text(standing: Standing, gap: str = "  ") -> str:
    """`not told apart  p = 0.21`; where nothing was tested, why."""
    if standing.verdict == "not tested":
        return f"not tested:{gap[-1]}{standing.why}"
    if standing.p_holm is None:
        return standing.verdict
    return f"{standing.verdict}{gap}{p_text(standing.p_holm)}"


def _interval(setting: Setting) -> str:
    """`(0.8860 to 0.8964)`; empty for one run."""
    interval = setting.score and setting.score.interval
    if not interval:
        return ""
    low, high = (figure_text(SCORE, end) for end in interval)
    return f"({low} to {high})"


def _size(board: Leaderboard) -> str:
    num_runs = sum(len(setting.runs) for setting in board.settings)
    return f"{plural(num_runs, 'run')}, {plural(len(board.settings), 'setting')}"


def _count(setting: Setting) -> str:
    """`3`, or `2 of 3` where some have no score."""
    scored = setting.score.n if setting.score else 0
    return str(scored) if scored == len(setting.runs) else f"{scored} of {len(setting.runs)}"


def _test(setting: Setting) -> str:
    """With n where not every scored run was tested."""
    is_all = setting.test and setting.score and setting.test.n == setting.score.n
    n = "" if is_all or setting.test is None else f" (n = {setting.test.n})"
    return statistic_text(TEST_SCORE, setting.test) + n
