"""A sweep in words and figures, for the run that stands for it in MLflow."""

from collections import Counter
from collections.abc import Mapping, Sequence

from fashion_mnist.runs.markdown import code, plain
from fashion_mnist.sweep.labels import ABSENT, metric_name, short_names, short_value, statistic_text
from fashion_mnist.sweep.leaderboard import Leaderboard, Setting, count_text, outcome, rank
from fashion_mnist.sweep.results import JobResult

BEST_FIGURES = {
    "final/val_accuracy": "best/val_accuracy",
    "final/val_f1_macro": "best/val_f1_macro",
    "final/val_loss": "best/val_loss",
    "parameters": "best/parameters",
    "test/accuracy": "best/test_accuracy",
    "test/f1_macro": "best/test_f1_macro",
    "test/loss": "best/test_loss",
}
LONGEST_DESCRIPTION = 7500  # characters: MLflow cuts a tag at 8000


def describe(
    results: Sequence[JobResult],
    axes: Mapping[str, Sequence[str]],
    *,
    title: str,
    score: str,
    note_of_tests: Sequence[str] = (),
    command: str = "",
) -> str:
    """The sweep in Markdown, for the run that stands for it: what was swept, what came of it.

    Args:
        axes: each axis, replicate axes included, and its values or the words for them.
    """
    board = rank(results, score=score)
    # MLflow shows the first lines and folds the rest
    lines = [*_best_lines(board), "", f"{board.size()}: {_counts(board.runs)}."]
    doubles = len(results) - len(board.runs)
    lines += [f"{doubles} more are the same as one of these and count once."] if doubles else []
    lines += ["", *_top_lines(board), ""]
    lines += [f"Swept ({plain(title)}):", ""]
    lines += [f"- {code(axis)}: {_values(values)}" for axis, values in axes.items()]
    lines += ["", "Test scores that were read:", ""] if note_of_tests else []
    lines += [f"- {plain(note)}" for note in note_of_tests]
    failed = [run for run in board.runs if run.status == "FAILED"]
    lines += ["", "Failed:", ""] if failed else []
    for run in failed[:5]:
        lines.append(f"- {run.number} ({code(_run_label(run))}): {plain(run.failure)[:200]}")
    lines += [f"- and {len(failed) - 5} more"] if len(failed) > 5 else []
    lines += ["", "How to repeat each, and all pictures: Artifacts, `summary.html`."]
    own = command.replace("\n", "\n    ")
    lines += ["", "Again, or on from here:", "", f"    {own}"] if command else []
    return _bounded(lines)


def best_figures(board: Leaderboard) -> dict[str, float]:
    """The winner's figures as means over its runs, and how many runs finished and failed."""
    counts = Counter(run.status for run in board.runs)
    figures: dict[str, float] = {
        "finished_runs": counts["FINISHED"],
        "failed_runs": counts["FAILED"],
    }
    if board.winner is None or board.winner.score is None:
        return figures
    figures["best/runs"] = board.winner.score.n
    for key, name in BEST_FIGURES.items():
        figure = board.winner.figures.get(key)
        if figure:
            figures[name] = figure.mean
            if figure.std is not None and key != "parameters":
                figures[f"{name}_std"] = figure.std
    return figures


def _best_lines(board: Leaderboard) -> list[str]:
    best = board.winner
    if best is None or best.score is None:
        return ["No run has a score."]
    name, n = metric_name(board.score), best.score.n
    score = statistic_text(board.score, best.score)
    runs = f"mean ± std (n − 1) over {n} runs" if n > 1 else "one run"
    who = f"Best: {code(board.label(best))}" if board.axes else "All runs"
    lines = [f"**{who}: {name} {score}** ({runs})."]
    if best.is_partial:
        lines.append(f"Of its {len(best.runs)} runs {best.num_finished} finished.")
    if n == 1:
        lines.append("One seed tells little: repeat it with others, `seed=range(5)`.")
    if len(board.scored) > 1:
        count = len(board.scored)
        lines.append(
            f"Chosen by this score among {count} settings, so the score is optimistically biased."
        )
    return lines


def _top_lines(board: Leaderboard, limit: int = 5) -> list[str]:
    """The best settings as a table."""
    if not board.scored:
        return []
    names = [plain(name) for name in short_names(board.axes).values()]
    tested = [s for s in board.scored[:limit] if "test/accuracy" in s.figures]
    last = [metric_name(board.score), "runs", *(["test accuracy"] if tested else [])]
    lines = [_row(["", *names, *last]), _row(["--:", *["---"] * len(names), *["--:"] * len(last)])]
    for number, setting in enumerate(board.scored[:limit], start=1):
        values = [code(short_value(setting.values.get(axis, ABSENT))) for axis in board.axes]
        figures = [statistic_text(board.score, setting.score), count_text(board, setting)]
        figures += [_test_text(setting)] if tested else []
        lines.append(_row([str(number), *values, *figures]))
    return lines


def _test_text(setting: Setting) -> str:
    figure = setting.figures.get("test/accuracy")
    return f"{statistic_text('test/accuracy', figure)} (n = {figure.n})" if figure else ABSENT


def _counts(runs: Sequence[JobResult]) -> str:
    """`12 finished, 2 failed`."""
    return ", ".join(f"{n} {plain(word)}" for word, n in Counter(map(outcome, runs)).most_common())


def _run_label(run: JobResult) -> str:
    names = short_names(list(run.values))
    return " ".join(f"{names[axis]}={short_value(value)}" for axis, value in run.values.items())


def _values(values: Sequence[str], limit: int = 12) -> str:
    more = f" … {len(values)} in all" if len(values) > limit else ""
    return ", ".join(code(short_value(value)) for value in values[:limit]) + more


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bounded(lines: Sequence[str]) -> str:
    """The lines as one text, without the last ones where they are too many."""
    kept: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length > LONGEST_DESCRIPTION:
            return "\n".join([*kept, "", "… (cut; all of it: Artifacts, `summary.html`)"])
        kept.append(line)
    return "\n".join(kept)
