"""What is kept of a sweep: two tables, the pictures, and one page that holds it all."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fashion_mnist.plots.png import write_png
from fashion_mnist.runs.files import replacing
from fashion_mnist.sweep.importance import importances
from fashion_mnist.sweep.leaderboard import (
    Leaderboard,
    outcome,
    rank,
)
from fashion_mnist.sweep.pictures import sweep_pictures
from fashion_mnist.sweep.results import JobResult
from fashion_mnist.sweep.summary_page import summary_page


def write_summary(
    folder: Path,
    results: Sequence[JobResult],
    *,
    title: str,
    score: str,
    objectives: Sequence[str],
    note_of_tests: Sequence[str],
    command: str,
) -> list[Path]:
    """Write tables, pictures and the page below `folder`; returns the files.

    A picture of an earlier summary that there is nothing to draw for any more is removed.

    Args:
        score: the figure that settings are ranked by.
        objectives: of a search, the score first; with two there is a Pareto front.
        note_of_tests: which settings' test scores were read, a line each.
        command: that starts the sweep, or goes on with it.

    Raises:
        OSError: where a file cannot be written.
    """
    board = rank(results, score=score)
    shares = importances(results, score)
    pictures = {}
    for name, figure in sweep_pictures(board, shares=shares, objectives=objectives).items():
        pictures[name] = folder / "plots" / f"{name}.png"
        write_png(figure, pictures[name])
    for path in (folder / "plots").glob("[!.]*.png"):
        if path not in pictures.values():
            path.unlink()
    page = summary_page(
        board,
        pictures=pictures,
        num_doubles=len(results) - len(board.runs),
        title=title,
        note_of_tests=note_of_tests,
        command=command,
    )
    tables = {"summary": run_rows(board.runs), "leaderboard": setting_rows(board)}
    files = [folder / "summary.html", *(folder / f"{name}.csv" for name in tables)]
    _write_text(files[0], page)
    for path, rows in zip(files[1:], tables.values(), strict=True):
        _write_csv(path, rows)
    return [*files, *pictures.values()]


def run_rows(runs: Sequence[JobResult]) -> list[dict[str, object]]:
    """A row for each run: its values, what became of it, its figures, how to repeat it."""
    keys = _result_keys(run.figures for run in runs)
    rows: list[dict[str, object]] = []
    for run in runs:
        figures = {key: run.figures.get(key, "") for key in keys}
        pruned = "" if run.pruned_at is None else run.pruned_at
        head = {"number": run.number, **run.values, "status": run.status, "outcome": outcome(run)}
        tail = {"epochs": len(run.history), "command": run.command, "folder": run.folder.name}
        rows.append({**head, "failure": run.failure, "pruned_at": pruned, **figures, **tail})
    return rows


def setting_rows(board: Leaderboard) -> list[dict[str, object]]:
    """A row for each setting, the best first: its values, mean, std and n of each figure."""
    keys = _result_keys(setting.figures for setting in board.settings)
    rows: list[dict[str, object]] = []
    for number, setting in enumerate(board.settings, start=1):
        row: dict[str, object] = {"rank": number if setting.score else "", **setting.values}
        row |= {"runs": len(setting.runs), "finished": setting.num_finished}
        for key in keys:
            figure = setting.figures.get(key)
            row[f"{key}_mean"] = figure.mean if figure else ""
            row[f"{key}_std"] = figure.std if figure else ""
            row[f"{key}_n"] = figure.n if figure else 0
        rows.append(row)
    return rows


def _result_keys(all_figures: Iterable[Mapping[str, object]]) -> list[str]:
    """The figures worth a column, those of the validation split before those of the test set."""
    keys = sorted({key for figures in all_figures for key in figures})
    return [key for key in keys if key.startswith(("final/", "test/")) or key == "parameters"]


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the rows under all columns that one of them has, in the order they come in."""
    columns = dict.fromkeys(column for row in rows for column in row)
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
