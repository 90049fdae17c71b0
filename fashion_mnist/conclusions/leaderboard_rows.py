"""A leaderboard's cells and remarks in words: what terminal and pages show of it."""

from collections.abc import Collection

from fashion_mnist.conclusions.leaderboard import Leaderboard
from fashion_mnist.conclusions.settings import Setting
from fashion_mnist.conclusions.standing import Standing
from fashion_mnist.console import plural
from fashion_mnist.sweep.labels import metric_text, p_text, statistic_text
from fashion_mnist.tracking.recorded import SCORE, TEST_SCORE


def notes(board: Leaderboard) -> list[str]:
    """What a reader of the table must know, a paragraph each."""
    shown = [standing for _, standing in board.shown]
    num_hidden = len(board.settings) - len(shown)
    lines = [f"and {plural(num_hidden, 'more setting')}: --limit 0 for all"] if num_hidden else []
    incomplete = [each for each, _ in board.shown if is_incomplete(board, each)]
    if incomplete:
        lines.append(
            f"Settings with fewer than {plural(board.num_repetitions, 'finished run')} rank after "
            "the others, which rank by the seeds and folds that they share, if any."
        )
    tests = {standing.test for standing in shown if standing.test}
    if tests:
        lines.append(_explanation(tests))
    use = board.test_use
    settings, runs = plural(use.num_settings, "setting"), plural(use.num_runs, "run")
    many = "; the more often, the less it says" if use.num_settings > 1 else ""
    read = f"In this experiment the test set was read for {settings} ({runs}){many}."
    return [*lines, read if use.num_runs else "The test set was not read in this experiment."]


def standing_text(standing: Standing, gap: str = " ") -> str:
    """`significantly worse (Holm-adjusted p = 0.012)`; where nothing was tested, why."""
    if standing.verdict == "not tested":
        return f"not tested:{gap}{standing.why}"
    if standing.p_holm is None:
        return standing.verdict
    return f"{standing.verdict}{gap}(Holm-adjusted {p_text(standing.p_holm)})"


def interval_text(setting: Setting) -> str:
    """`0.8860 to 0.8964`; empty for one run."""
    interval = setting.score and setting.score.interval
    if not interval:
        return ""
    low, high = (metric_text(SCORE, end) for end in interval)
    return f"{low} to {high}"


def size_text(board: Leaderboard) -> str:
    """`54 runs, 18 settings`."""
    num_runs = sum(len(setting.runs) for setting in board.settings)
    return f"{plural(num_runs, 'run')}, {plural(len(board.settings), 'setting')}"


def count_text(board: Leaderboard, setting: Setting) -> str:
    """`3`, or `2 of 3` where it has fewer finished runs than the board's repetitions."""
    scored = setting.score.n if setting.score else 0
    planned = max(board.num_repetitions, 0 if scored else len(setting.runs))
    return str(scored) if scored >= planned else f"{scored} of {planned}"


def is_incomplete(board: Leaderboard, setting: Setting) -> bool:
    """Whether it has a score, of fewer runs than the board's repetitions."""
    return setting.score is not None and setting.score.n < board.num_repetitions


def tested_text(setting: Setting) -> str:
    """Test accuracy, with n where not every scored run was tested."""
    is_all = setting.test and setting.score and setting.test.n == setting.score.n
    n = "" if is_all or setting.test is None else f" (n = {setting.test.n})"
    return statistic_text(TEST_SCORE, setting.test) + n


def _explanation(tests: Collection[str]) -> str:
    ways = {
        "paired t": "paired t-test over common seeds, of several folds their mean",
        "corrected paired t": "corrected resampled t-test (Nadeau and Bengio) over common folds",
        "McNemar": "McNemar's exact test on the same images, which says nothing of other seeds",
    }
    used = "; ".join(words for test, words in ways.items() if test in tests)
    return (
        "Not significantly different: p > 0.05 after Holm's adjustment for all comparisons vs. "
        f"best ({used}). It does not mean equal. The best was chosen by these scores, so they are "
        "optimistically biased: new seeds or the test set show whether it is better."
    )
