"""What is kept of a sweep: two tables, charts, a page of it all, its description in MLflow."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fashion_mnist.analysis.axis_charts import (
    effects_chart,
    heat_map_chart,
    importance_chart,
    parallel_chart,
)
from fashion_mnist.analysis.effects import importances, main_effects
from fashion_mnist.analysis.labels import (
    BEST_METRICS,
    metric_name,
    short_names,
    short_value,
    statistic_text,
    values_text,
)
from fashion_mnist.analysis.leaderboard import Leaderboard
from fashion_mnist.analysis.setting_charts import (
    curves_chart,
    history_chart,
    leaderboard_chart,
    pareto_chart,
)
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.config.messages import plural
from fashion_mnist.plots.png import Picture, write_png
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.markdown import code, plain
from fashion_mnist.templates import PagePicture, Table, render, table
from fashion_mnist.tracking.recorded import TEST_SCORE

MOST_ROWS = 100  # of a table on the page, which names the CSV files that have them all
MOST_DESCRIBED = 5  # settings and failed runs, in the description
MOST_AXES = 6  # as columns; more are one text
LONGEST_DESCRIPTION = 7500  # characters: MLflow cuts a tag at 8000
CAPTIONS = {
    "leaderboard": "The best settings, each run as a dot",
    "main_effects": "The score along each axis",
    "heat_map": "The score by the two axes that matter most",
    "learning_curves": "Learning curves of the best settings",
    "parallel_coordinates": "Every setting's values and its score",
    "importance": "The importance of each axis",
    "optimization_history": "The score of each setting, and the best so far",
    "pareto_front": "The Pareto front: none is better in one objective and as good in the rest",
}
SPREAD_NOTE = (
    "± is the standard deviation over a setting's runs (n − 1); the interval is Student's t over "
    "seeds, each by its mean over folds, where no seed lacks a fold; runs: those the mean is of."
)
EFFECTS_NOTE = (
    "Mean ± std over the settings that have the value, each counted once by the mean of its runs. "
    "Where runs failed or a search chose the settings, the other axes are not balanced."
)


def write_summary(
    folder: Path,
    board: Leaderboard,
    *,
    objectives: Sequence[str],
    is_search: bool = False,
    command: str,
) -> list[Path]:
    """Write tables, charts and the page below `folder`; returns the files.

    A chart of an earlier summary that there is nothing to draw for any more is removed.

    Args:
        objectives: the score first; with two there is a Pareto front.
        is_search: whether settings were asked for one after the other: their history is drawn.
        command: that starts the sweep, or goes on with it.

    Raises:
        OSError: where a file cannot be written.
    """
    import pandas as pd  # the page of a report uses this module too

    charts = {}
    shares = importances(board)
    drawn = sweep_charts(board, shares=shares, objectives=objectives, is_search=is_search)
    for name, figure in drawn.items():
        charts[name] = folder / "plots" / f"{name}.png"
        write_png(figure, charts[name])
    for path in (folder / "plots").glob("[!.]*.png"):
        if path not in charts.values():
            path.unlink()
    winner = board.winner
    page = render(
        "sweep.html",
        title=board.title,
        counts=_counts(board),
        answer=board.answer(),
        leaderboard=leaderboard_table(board, MOST_ROWS),
        notes=[SPREAD_NOTE, *board.notes()],
        pictures=[PagePicture(path.read_bytes(), CAPTIONS[k]) for k, path in charts.items()],
        note_of_tests=_tests_read(board),
        unfinished=_unfinished(board.runs),
        command=command,
        run_commands="\n".join(run.command for run in winner.scored_runs) if winner else "",
        **effects_context(board),
    )
    files = [folder / name for name in ("summary.html", "summary.csv", "leaderboard.csv")]
    with replacing(files[0]) as beside:
        beside.write_text(page, encoding="utf-8")
    for path, rows in zip(files[1:], (_run_rows(board.runs), _setting_rows(board)), strict=True):
        with replacing(path) as beside:
            pd.DataFrame(rows, dtype=object).to_csv(beside, index=False)
    return [*files, *charts.values()]


def sweep_charts(
    board: Leaderboard,
    *,
    shares: Mapping[str, float],
    objectives: Sequence[str],
    is_search: bool = False,
) -> dict[str, Picture]:
    """All pictures that this sweep has something to show for, by their names.

    Args:
        shares: the importance of each axis.
        is_search: whether settings were asked for one after the other.
    """
    pictures = {
        "leaderboard": leaderboard_chart(board),
        "main_effects": effects_chart(board, shares),
        "heat_map": heat_map_chart(board, shares),
        "learning_curves": curves_chart(board),
        "parallel_coordinates": parallel_chart(board),
        "importance": importance_chart(board, shares),
        "pareto_front": pareto_chart(board, objectives),
        "optimization_history": history_chart(board) if is_search else None,
    }
    return {name: figure for name, figure in pictures.items() if figure}


def leaderboard_table(board: Leaderboard, limit: int | None = None) -> Table | None:
    """The leaderboard on a page; settings that are level with the best are marked.

    A column for each axis, or one text where there are more than `MOST_AXES`.
    """
    names = set(short_names(board.axes).values()) or {"setting"}
    hidden = {"setting"} if len(board.axes) <= MOST_AXES and board.axes else names - {"setting"}
    rows = [
        {key: cell for key, cell in row.items() if key not in hidden}
        for row in board.rows()[:limit]
    ]
    kinds = {"best": "winner near", "not significantly different": "near"}
    classes = [
        f"{kinds.get(comparison.result, '')} {'partial' * setting.is_partial}".strip()
        for setting, comparison in board.shown[:limit]
    ]
    text = {*names, "setting", "vs. best"}
    return table(rows, text=text, classes=classes, is_sorted=len(rows) > 2)


def effects_context(board: Leaderboard) -> dict[str, Any]:
    """What `effects.html` shows: a table for each axis where a value has two settings or more."""
    effects = {}
    for axis, effect in main_effects(board).items():
        rows = [
            {
                "": short_value(value),
                metric_name(board.score): statistic_text(board.score, metric),
                "settings": str(metric.n),
            }
            for value, metric in list(effect.items())[:MOST_ROWS]
        ]
        if any(metric.n > 1 for metric in effect.values()):
            effects[axis] = table(rows, text={""})
    return {"effects": effects, "effects_note": EFFECTS_NOTE}


def _run_rows(runs: Sequence[RunResult]) -> list[dict[str, object]]:
    """A row for each run: its values, what became of it, its metrics, how to repeat it."""
    keys = _metric_keys(run.metrics for run in runs)
    return [
        {"number": run.number, **run.values, "status": run.status, "outcome": run.outcome}
        | {"failure": run.failure, "pruned_at": run.pruned_at}
        | {key: run.metrics.get(key) for key in keys}
        | {"epochs": len(run.history), "command": run.command, "folder": run.folder.name}
        for run in runs
    ]


def _setting_rows(board: Leaderboard) -> list[dict[str, object]]:
    """A row for each setting, the best first: its values, mean, std and n of each metric."""
    keys = _metric_keys(setting.metrics for setting in board.settings)
    rows: list[dict[str, object]] = []
    for number, setting in enumerate(board.settings, start=1):
        row: dict[str, object] = {"rank": number if setting.score else None, **setting.values}
        row |= {"runs": len(setting.runs), "finished": setting.num_finished}
        for key in keys:
            metric = setting.metrics.get(key)
            row[f"{key}_mean"] = metric.mean if metric else None
            row[f"{key}_std"] = metric.std if metric else None
            row[f"{key}_n"] = metric.n if metric else 0
        rows.append(row)
    return rows


def best_metrics(board: Leaderboard) -> dict[str, float]:
    """The winner's metrics as means over its runs, and how many runs finished and failed."""
    counts = Counter(run.status for run in board.runs)
    metrics: dict[str, float] = {
        "finished_runs": counts["FINISHED"],
        "failed_runs": counts["FAILED"],
    }
    if board.winner is None or board.winner.score is None:
        return metrics
    metrics["best/runs"] = board.winner.score.n
    for key, name in BEST_METRICS.items():
        metric = board.winner.metrics.get(key)
        if metric:
            metrics[name] = metric.mean
            if metric.std is not None and key != "parameters":
                metrics[f"{name}_std"] = metric.std
    return metrics


def describe(board: Leaderboard, axes: Mapping[str, Sequence[str]], command: str) -> str:
    """The sweep in Markdown, for the run that stands for it: what was swept, what came of it.

    Args:
        axes: each axis, replicate axes included, and its values or the words for them.
        command: that starts the sweep, or goes on with it.
    """
    note_of_tests = _tests_read(board)
    # MLflow shows the first lines and folds the rest
    first, *others = map(plain, board.answer())
    lines = [f"**{first}**", *others, "", plain(f"{_counts(board)}.")]
    lines += ["", *(board.markdown(MOST_DESCRIBED) if board.scored else []), ""]
    lines += [f"Swept ({plain(board.title)}):", ""]
    lines += [f"- {code(axis)}: {_some(values)}" for axis, values in axes.items()]
    lines += ["", "Test scores that were read:", ""] if note_of_tests else []
    lines += [f"- {plain(note)}" for note in note_of_tests]
    failed = [run for run in board.runs if run.status == "FAILED"]
    lines += ["", "Failed:", ""] if failed else []
    for run in failed[:MOST_DESCRIBED]:
        lines.append(f"- {run.number} ({code(_label(run))}): {plain(run.failure)[:200]}")
    hidden = len(failed) - MOST_DESCRIBED
    lines += [f"- and {hidden} more"] if hidden > 0 else []
    lines += ["", "How to repeat each, and all charts: Artifacts, `summary.html`."]
    own = command.replace("\n", "\n    ")
    lines += ["", "Again, or on from here:", "", f"    {own}"]
    return _bounded("\n".join(lines))


def _unfinished(runs: Sequence[RunResult]) -> Table | None:
    """The runs without a result: what became of each, and how to repeat those that failed."""
    rows = [
        {
            "job": str(run.number),
            "setting": _label(run),
            "outcome": run.outcome,
            "after epoch": "" if run.pruned_at is None else str(run.pruned_at),
            "why": run.failure,
            "the command that repeats it": run.command if run.status == "FAILED" else "",
        }
        for run in runs
        if run.status != "FINISHED"
    ]
    text = {"setting", "outcome", "why", "the command that repeats it"}
    return table(rows[:MOST_ROWS], text=text)


def _tests_read(board: Leaderboard) -> list[str]:
    """Each setting whose test scores have been seen: this sweep's winner and earlier ones."""
    return [
        f"{board.label(setting)}: {statistic_text(TEST_SCORE, test)} ({plural(test.n, 'run')})"
        for setting in board.settings
        if (test := setting.metrics.get(TEST_SCORE)) is not None
    ]


def _counts(board: Leaderboard) -> str:
    """`14 runs, 7 settings: 12 finished, 2 failed`."""
    outcomes = Counter(run.outcome for run in board.runs).most_common()
    words = f"{board.size()}: {', '.join(f'{count} {word}' for word, count in outcomes)}"
    if board.num_duplicates:
        words += f"; {plural(board.num_duplicates, 'job')} the same as another, which count once"
    return words


def _label(run: RunResult) -> str:
    return values_text(run.values, list(run.values))


def _some(values: Sequence[str], limit: int = 12) -> str:
    more = f" … {len(values)} in all" if len(values) > limit else ""
    return ", ".join(code(short_value(value)) for value in values[:limit]) + more


def _bounded(text: str) -> str:
    """The text without the last lines where it is too long."""
    if len(text) <= LONGEST_DESCRIPTION:
        return text
    kept = text[:LONGEST_DESCRIPTION].rpartition("\n")[0]
    return f"{kept}\n\n… (cut; all of it: Artifacts, `summary.html`)"


def _metric_keys(all_metrics: Iterable[Mapping[str, object]]) -> list[str]:
    """The metrics worth a column, those of the validation split before those of the test set."""
    keys = sorted({key for metrics in all_metrics for key in metrics})
    return [key for key in keys if key.startswith(("final/", "test/")) or key == "parameters"]
