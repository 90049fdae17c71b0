"""The summary of a sweep as one HTML page that needs nothing beside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from fashion_mnist.page import code, html_page, picture, section, table
from fashion_mnist.sweep.labels import ABSENT, metric_name, short_names, short_value, statistic_text
from fashion_mnist.sweep.leaderboard import Leaderboard, Setting, count_text, effects_of, outcome
from fashion_mnist.sweep.results import JobResult

MOST_ROWS = 100  # of a table; the CSV files have them all
CAPTIONS = {
    "leaderboard": "The best settings, each run as a dot",
    "main_effects": "The score along each axis",
    "heat_map": "The score by the two axes that matter most",
    "learning_curves": "Learning curves of the best settings",
    "parallel_coordinates": "Every setting's values and its score",
    "importance": "The importance of each axis",
    "pareto_front": "The settings that no other beats in both objectives",
}


def summary_page(
    board: Leaderboard,
    *,
    pictures: Mapping[str, Path],
    num_doubles: int,
    title: str,
    note_of_tests: Sequence[str],
    command: str,
) -> str:
    """The page: the best setting, tables, pictures, failures, how to repeat it all.

    Args:
        pictures: PNG files by name; they are embedded.
        num_doubles: jobs that are another job's run.
    """
    parts = [
        *_head(board, title, num_doubles),
        *section("Leaderboard", _leaderboard(board)),
        *section("Pictures", [_embedded(name, path) for name, path in pictures.items()]),
        *section("Main effects", effect_tables(board)),
        *section("Test scores that were read", [f"<p>{escape(n)}</p>" for n in note_of_tests]),
        *section("Failed", _failures(board.runs)),
        *section("Stopped by the search", _pruned(board.runs)),
        *section("Stopped or not begun", _unfinished(board.runs)),
        *section("How to repeat", _repeat(board, command)),
    ]
    return html_page(title, parts)


def _head(board: Leaderboard, title: str, num_doubles: int) -> list[str]:
    outcomes = Counter(map(outcome, board.runs)).most_common()
    words = ", ".join(f"{count} {escape(word)}" for word, count in outcomes)
    doubles = f"; {num_doubles} jobs are the same as another and count once" if num_doubles else ""
    counts = f"{board.size()}: {words}{doubles}"
    lines = [f"<h1>{escape(title)}</h1>", f'<p class="faint">{counts}</p>']
    best = board.winner
    if best is None or best.score is None:
        return [*lines, '<div class="best"><p>No run has a score.</p></div>']
    n = best.score.n
    over = f"mean ± std over {n} runs" if n > 1 else "one run: one seed tells little"
    score = f"{metric_name(board.score)} <b>{statistic_text(board.score, best.score)}</b> ({over})"
    who = f"Best: {code(board.label(best))}," if board.axes else "All runs:"
    count = len(board.scored)
    chosen = f"Chosen by this score among {count} settings, so the score is optimistically biased."
    lines.append(f'<div class="best"><p>{who} {score}</p>')
    lines.append(f'<p class="faint">{chosen if count > 1 else ""}</p></div>')
    return lines


def _leaderboard(board: Leaderboard) -> list[str]:
    """The settings, the best first; test scores where some were read."""
    if not board.settings:
        return []
    columns = [board.score]
    known = dict.fromkeys(key for setting in board.settings for key in setting.figures)
    columns += [k for k in known if k.startswith("final/") and k not in (*columns, "final/epoch")]
    columns += [key for key in ("parameters", "test/accuracy", "test/f1_macro") if key in known]
    columns = list(dict.fromkeys(columns))
    names = [*map(metric_name, columns)]
    head = ["", *short_names(board.axes).values(), names[0], "runs", *names[1:]]
    rows, classes = [], []
    for number, setting in enumerate(board.settings[:MOST_ROWS], start=1):
        values = [escape(short_value(setting.values.get(axis, ABSENT))) for axis in board.axes]
        figures = [_figure(setting, key) for key in columns]
        place = str(number) if setting.score else ABSENT
        rows.append([place, *values, figures[0], count_text(board, setting), *figures[1:]])
        is_partial = setting.num_finished < len(setting.runs)
        words = ("winner" * (setting is board.winner), "partial" * is_partial)
        classes.append(" ".join(filter(None, words)))
    left = set(range(1, len(board.axes) + 1))
    hidden = len(board.settings) - MOST_ROWS
    more = [f'<p class="faint">and {hidden} more in leaderboard.csv</p>'] if hidden > 0 else []
    note = "± is the standard deviation over a setting's runs (n − 1); runs: those the mean is of."
    return [table(head, rows, left=left, classes=classes), f'<p class="faint">{note}</p>', *more]


def _figure(setting: Setting, key: str) -> str:
    """Mean ± std, and n where it is not that of the score."""
    figure = setting.figures.get(key)
    n = f" (n = {figure.n})" if figure and setting.score and figure.n != setting.score.n else ""
    return statistic_text(key, figure) + n


def effect_tables(board: Leaderboard) -> list[str]:
    """A table for each axis, and what its figures are; nothing where no value has two settings."""
    effects = effects_of(board)
    if not effects:
        return []
    tables = []
    for axis, effect in effects.items():
        head = ["", metric_name(board.score), "settings"]
        rows = [
            [escape(short_value(value)), statistic_text(board.score, figure), str(figure.n)]
            for value, figure in list(effect.items())[:MOST_ROWS]
        ]
        if any(figure.n > 1 for figure in effect.values()):
            tables.append(f"<div><h3>{escape(axis)}</h3>{table(head, rows, left={0})}</div>")
    note = (
        "Mean ± std over the settings that have the value, each counted once by the mean of its "
        "runs. Where runs failed or a search chose the settings, the other axes are not balanced."
    )
    if not tables:
        return []
    return [f'<p class="faint">{note}</p>', f'<div class="effects">{"".join(tables)}</div>']


def _failures(runs: Sequence[JobResult]) -> list[str]:
    failed = [run for run in runs if run.status == "FAILED"]
    rows = [
        [str(run.number), _label(run), escape(run.failure), code(run.command)]
        for run in failed[:MOST_ROWS]
    ]
    return _listing(["job", "", "why", "the command that repeats it"], rows, len(failed))


def _pruned(runs: Sequence[JobResult]) -> list[str]:
    pruned = [run for run in runs if outcome(run) == "pruned"]
    rows = [[str(run.number), _label(run), str(run.pruned_at)] for run in pruned[:MOST_ROWS]]
    return _listing(["job", "", "after epoch"], rows, len(pruned))


def _unfinished(runs: Sequence[JobResult]) -> list[str]:
    words = ("finished", "failed", "pruned")
    others = [run for run in runs if outcome(run) not in words]
    rows = [[str(run.number), _label(run), escape(outcome(run))] for run in others[:MOST_ROWS]]
    return _listing(["job", "", ""], rows, len(others))


def _listing(head: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> list[str]:
    """A table of runs, nothing where there are none."""
    more = f'<p class="faint">and {count - len(rows)} more in summary.csv</p>'
    left = set(range(1, len(head)))
    return [table(head, rows, left=left), more if count > len(rows) else ""] if rows else []


def _repeat(board: Leaderboard, command: str) -> list[str]:
    lines = [f"<p>The sweep, again or on from here:</p><pre>{escape(command)}</pre>"]
    if board.winner:
        commands = "\n".join(run.command for run in board.winner.scored_runs)
        lines.append(f"<p>Each run of the best setting by itself:</p><pre>{escape(commands)}</pre>")
    return lines


def _embedded(name: str, path: Path) -> str:
    return picture(path.read_bytes(), CAPTIONS.get(name, name))


def _label(run: JobResult) -> str:
    names = short_names(list(run.values))
    words = [f"{names[axis]}={short_value(value)}" for axis, value in run.values.items()]
    return escape(" ".join(words))
