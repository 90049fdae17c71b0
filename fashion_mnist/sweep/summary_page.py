"""The summary of a sweep as one HTML page that needs nothing beside it."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from fashion_mnist.sweep.leaderboard import (
    Leaderboard,
    Setting,
    count_text,
    effects_of,
    figure_name,
    outcome,
    statistic_text,
)
from fashion_mnist.sweep.results import JobResult
from fashion_mnist.sweep.scale import ABSENT, short_names, short_value

MOST_ROWS = 100  # of a table; the CSV files have them all
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
  background: #fff; max-width: 1180px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; } .faint { color: #6b6b6b; }
.best { border-left: 4px solid #b84a00; background: #fbf5f0; padding: .6rem 1rem; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #eee; }
td { max-width: 26rem; overflow-wrap: break-word; }
th { color: #6b6b6b; font-weight: 600; white-space: nowrap; }
.number { text-align: right; } .short { white-space: nowrap; }
tr.winner td { font-weight: 600; } tr.partial td.runs { color: #b84a00; }
code, pre { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: #f5f5f5;
  border-radius: 3px; overflow-wrap: anywhere; white-space: pre-wrap; }
code { padding: 0 .2rem; } pre { padding: .5rem .8rem; margin: .4rem 0; }
img { max-width: 100%; height: auto; display: block; margin: 1.2rem 0; }
.effects { display: flex; flex-wrap: wrap; gap: 0 3rem; }
""".strip()
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
        *_section("Leaderboard", _leaderboard(board)),
        *_section("Pictures", [_picture(name, path) for name, path in pictures.items()]),
        *_section("Main effects", _effects(board)),
        *_section("Test scores that were read", [f"<p>{escape(n)}</p>" for n in note_of_tests]),
        *_section("Failed", _failures(board.runs)),
        *_section("Stopped by the search", _pruned(board.runs)),
        *_section("Stopped or not begun", _unfinished(board.runs)),
        *_section("How to repeat", _repeat(board, command)),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    # a name that is not escaped, by some mistake of ours, still runs and fetches nothing
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    page = f'<html lang="en"><head>{policy}{viewport}{head}</head>\n<body>\n{body}\n</body></html>'
    return f"<!doctype html>\n{page}\n"


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
    score = f"{figure_name(board.score)} <b>{statistic_text(board.score, best.score)}</b> ({over})"
    who = f"Best: {_code(board.label(best))}," if board.axes else "All runs:"
    count = len(board.scored)
    chosen = f"Chosen by this score among {count} settings, so the score flatters it a little."
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
    names = [*map(figure_name, columns)]
    head = ["", *short_names(board.axes).values(), names[0], "runs", *names[1:]]
    rows, classes = [], []
    for number, setting in enumerate(board.settings[:MOST_ROWS], start=1):
        values = [escape(short_value(setting.values.get(axis, ABSENT))) for axis in board.axes]
        figures = [_figure(setting, key) for key in columns]
        place = str(number) if setting.score else ABSENT
        rows.append([place, *values, figures[0], count_text(setting), *figures[1:]])
        is_partial = setting.num_finished < len(setting.runs)
        words = ("winner" * (setting is board.winner), "partial" * is_partial)
        classes.append(" ".join(filter(None, words)))
    left = set(range(1, len(board.axes) + 1))
    hidden = len(board.settings) - MOST_ROWS
    more = [f'<p class="faint">and {hidden} more in leaderboard.csv</p>'] if hidden > 0 else []
    note = "± is the standard deviation over a setting's runs (n − 1); runs: those the mean is of."
    return [_table(head, rows, left=left, classes=classes), f'<p class="faint">{note}</p>', *more]


def _figure(setting: Setting, key: str) -> str:
    """Mean ± std, and n where it is not that of the score."""
    figure = setting.figures.get(key)
    n = f" (n = {figure.n})" if figure and setting.score and figure.n != setting.score.n else ""
    return statistic_text(key, figure) + n


def _effects(board: Leaderboard) -> list[str]:
    effects = effects_of(board)
    if not effects:
        return []
    tables = []
    for axis, effect in effects.items():
        head = ["", figure_name(board.score), "settings"]
        rows = [
            [escape(short_value(value)), statistic_text(board.score, figure), str(figure.n)]
            for value, figure in list(effect.items())[:MOST_ROWS]
        ]
        if any(figure.n > 1 for figure in effect.values()):
            tables.append(f"<div><h3>{escape(axis)}</h3>{_table(head, rows, left={0})}</div>")
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
        [str(run.number), _label(run), escape(run.failure), _code(run.command)]
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
    return [_table(head, rows, left=left), more if count > len(rows) else ""] if rows else []


def _repeat(board: Leaderboard, command: str) -> list[str]:
    lines = [f"<p>The sweep, again or on from here:</p><pre>{escape(command)}</pre>"]
    if board.winner:
        commands = "\n".join(run.command for run in board.winner.scored_runs)
        lines.append(f"<p>Each run of the best setting by itself:</p><pre>{escape(commands)}</pre>")
    return lines


def _section(title: str, content: Sequence[str]) -> list[str]:
    """A heading and what is below it; nothing where there is nothing."""
    return [f"<h2>{escape(title)}</h2>", *content] if any(content) else []


def _picture(name: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    caption = escape(CAPTIONS.get(name, name))
    return f'<img alt="{caption}" title="{caption}" src="data:image/png;base64,{data}">'


def _label(run: JobResult) -> str:
    names = short_names(list(run.values))
    words = [f"{names[axis]}={short_value(value)}" for axis, value in run.values.items()]
    return escape(" ".join(words))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: set[int],
    classes: Sequence[str] = (),
) -> str:
    """A table of cells that are HTML already; columns are right-aligned but those in `left`."""

    def cell(tag: str, number: int, text: str) -> str:
        is_short = number not in left or len(text) <= 24
        names = ["" if number in left else "number", "short" * is_short]
        names += ["runs" if head[number] == "runs" else ""]
        return f'<{tag} class="{" ".join(filter(None, names))}">{text}</{tag}>'

    lines = ["<tr>" + "".join(cell("th", n, escape(t)) for n, t in enumerate(head)) + "</tr>"]
    for number, row in enumerate(rows):
        name = classes[number] if classes else ""
        cells = "".join(cell("td", column, text) for column, text in enumerate(row))
        lines.append(f'<tr class="{name}">{cells}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'
