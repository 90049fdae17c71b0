"""What the terminal says at the end of a sweep: leaderboard, winner, failures, where to look."""

import shlex
import shutil
from dataclasses import replace

from fashion_mnist.analysis.labels import metric_name, statistic_text
from fashion_mnist.analysis.leaderboard import pareto_front
from fashion_mnist.console import plural
from fashion_mnist.sweeps.closing import Ending

MOST_SETTINGS, MOST_FAILURES = 10, 10
MISSING = {  # why there is no result, where the run does not say it
    "": "not begun",
    "RUNNING": "another process trains it: the same command again shows what it makes of it",
    "KILLED": "not trained to its end: the same command again goes on",
    "FAILED": "failed",
}


def farewell(ending: Ending) -> str:
    """The end of a sweep in words."""
    blocks = [_table(ending), _front(ending), _winner(ending), _failures(ending)]
    return "\n\n".join(block for block in blocks if block)


def _table(ending: Ending) -> str:
    if not ending.board.scored:
        return "no run has a validation score"
    width = max(80, shutil.get_terminal_size((100, 24)).columns)
    hidden = len(ending.board.settings) - MOST_SETTINGS
    more = [f"and {plural(hidden, 'more setting')}: see leaderboard.csv"] if hidden > 0 else []
    return "\n".join([*replace(ending.board, limit=MOST_SETTINGS).text(width), *more])


def _front(ending: Ending) -> str:
    """Of several objectives, the settings that no other beats in all."""
    if len(ending.objectives) < 2:
        return ""
    names = [metric_name(objective) for objective in ending.objectives]
    lines = [
        f"  {ending.board.label(setting)}: "
        + ", ".join(
            f"{name} {statistic_text(key, setting.metrics.get(key))}"
            for key, name in zip(ending.objectives, names, strict=True)
        )
        for setting in pareto_front(ending.board.scored, ending.objectives)
    ]
    return "\n".join([f"none is better in {' and '.join(names)} at once than", *lines])


def _winner(ending: Ending) -> str:
    winner = ending.board.winner
    if winner is None or not ending.winners:
        return ""
    test = winner.metrics.get("test/accuracy")
    if test is None:
        tested = "its test set was not read"
    else:
        words = statistic_text("test/accuracy", test)
        tested = f"test accuracy {words} ({plural(test.n, 'run')})"
    recorded = next(run.command for run in winner.runs if run.status == "FINISHED")
    # what the sweep said of the test set is replaced
    kept = [w for w in shlex.split(recorded) if not w.startswith("evaluation.test=")]
    command = shlex.join(kept)
    is_never = ending.winners[0].config.evaluation.test == "never"  # maybe by a file
    return (
        f"best setting: {ending.board.label(winner)}, {tested}\n"
        f"  to train it alone:   {command} evaluation.test=never\n"
        f"  with its test score: {command}{' evaluation.test=always' if is_never else ''}"
    )


def _failures(ending: Ending) -> str:
    failures = ending.failures
    if not failures:
        return ""
    shown = [
        f"  {result.failure or MISSING[result.status]}\n    {result.command}"
        for result in failures[:MOST_FAILURES]
    ]
    more = len(failures) - len(shown)
    lines = [f"{len(failures)} without a result:", *shown]
    return "\n".join([*lines, f"  and {more} more: see summary.csv"] if more else lines)
