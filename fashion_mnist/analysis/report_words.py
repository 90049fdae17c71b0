"""A report in plain sentences: what was asked, and what came out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from fashion_mnist.analysis.leaderboard import interval_text, tested_text
from fashion_mnist.analysis.lookup import FOLD, SEED
from fashion_mnist.analysis.report import Report
from fashion_mnist.console import plural
from fashion_mnist.sweep.labels import short_value, statistic_text
from fashion_mnist.sweep.results import REPLICATE_KEYS
from fashion_mnist.tracking.recorded import SCORE, SWEEP_TAG, RecordedRun

MOST_VALUES = 8  # of an axis, named
# what is said of the data, by the parameter that says it
DATA = {
    "data.name": ("", ""),
    "data.train_size": ("training image", "training images"),
    "data.validation_size": ("for validation", "for validation"),
    "training.epochs": ("epoch", "epochs"),
}


def question(report: Report) -> list[str]:
    """What was asked, of which networks, on which data: a paragraph each."""
    lines = [f"{_asked(report)} {_size(report)}"]
    axes = axes_of(report)
    lines += [_axes(axes)] if axes else []
    lines += [_data(report.runs), _when(report.runs)]
    return list(filter(None, lines))


def answer(report: Report) -> list[str]:
    """What came out, a sentence each; the first is the main one."""
    best, board = report.best, report.board
    if best.score is None:
        tested = f" Test accuracy: {tested_text(best)}." if best.test else ""
        return [f"No run has finished with a validation accuracy.{tested}"]
    n = best.score.n
    over = f"mean ± std over {n} runs" if n > 1 else "one run"
    interval = f"; 95 % interval {interval_text(best)}" if n > 1 else ""
    who = f"{board.label(best)} is best" if len(board.settings) > 1 else "The result"
    lines = [f"{who}: validation accuracy {statistic_text(SCORE, best.score)} ({over}{interval})."]
    lines += [f"Test accuracy: {tested_text(best)}."] if best.test else []
    lines += _beside(report)
    if n == 1:
        lines.append("One seed tells little of what another would do.")
    return lines


def axes_of(report: Report) -> dict[str, list[str]]:
    """What was swept, with its values: as a sweep says, else as its networks differ."""
    if len(report.subject.sweeps) == 1:
        found = _said(report.subject.sweeps[0])
        if found:
            return found
    board = report.board
    axes = {
        axis: list(dict.fromkeys(s.values[axis] for s in board.settings if axis in s.values))
        for axis in board.axes
    }
    for key in (SEED, FOLD):
        values = dict.fromkeys(run.parameters.get(key, "") for run in report.runs)
        axes |= {key: list(values)} if len(values) > 1 else {}
    return axes


def _asked(report: Report) -> str:
    title = report.subject.title
    if report.is_one_run:
        return f"What can be said of the network {title}: how often is it right, where is it wrong?"
    if len(report.board.settings) == 1:
        return f"How far do repetitions of one setting ({title}) lie apart?"
    return (
        f"Which setting of {title} is the best by validation accuracy, is it really better than "
        "the others, and where is it wrong?"
    )


def _size(report: Report) -> str:
    outcomes = Counter(run.status.lower() for run in report.runs)
    words = ", ".join(f"{count:,} {status}" for status, count in outcomes.most_common())
    runs, settings = len(report.runs), len(report.board.settings)
    if runs == 1:
        return f"It has {words.partition(' ')[2]}." if runs and words else ""
    return f"{plural(settings, 'setting')}, {plural(runs, 'run')}: {words}."


def _axes(axes: Mapping[str, Sequence[str]]) -> str:
    words = []
    for axis, values in axes.items():
        some = ", ".join(map(short_value, values[:MOST_VALUES]))
        more = f" … {len(values):,} in all" if len(values) > MOST_VALUES else ""
        repeats = ", which repeats a setting" if axis in REPLICATE_KEYS else ""
        words.append(f"{axis} ({some}{more}{repeats})")
    return f"Varied: {'; '.join(words)}."


def _data(runs: Sequence[RecordedRun]) -> str:
    words = []
    for key, (one, many) in DATA.items():
        values = dict.fromkeys(run.parameters.get(key, "") for run in runs)
        known = [value for value in values if value and value != "null"]
        if known:
            some = " or ".join(map(_counted, known[:MOST_VALUES]))
            words.append(f"{some} {one if known == ['1'] else many}".strip())
    return f"Data: {', '.join(words)}." if words else ""


def _when(runs: Sequence[RecordedRun]) -> str:
    starts = sorted(run.start for run in runs if run.start)
    if not starts:
        return ""
    first, last = (f"{time.astimezone():%Y-%m-%d %H:%M}" for time in (starts[0], starts[-1]))
    names = dict.fromkeys(run.experiment for run in runs)
    span = f"on {first}" if first == last else f"between {first} and {last}"
    kind = "experiment" if len(names) == 1 else "experiments"
    return f"Started {span}; recorded in {kind} {', '.join(names)}."


def _beside(report: Report) -> list[str]:
    """The other settings vs. best, and what that means."""
    verdicts = Counter(standing.verdict for standing in report.board.standings[1:])
    near, worse, rest = (
        verdicts[v]
        for v in (
            "not significantly different",
            "significantly worse",
            "not tested",
        )
    )
    total = near + worse + rest
    others, lines = f"the other {plural(total, 'setting')}", []
    if near:
        which = f"None of {others} is" if near == total else f"{near:,} of {others}"
        which += "" if near == total else (" is not" if near == 1 else " are not")
        which = "The other setting is not" if total == 1 else which
        lines.append(
            f"{which} significantly different from it: the difference may be chance, so each may "
            "be as good, or better."
        )
    if worse:
        which = f"All of {others} are" if worse == total else f"{worse:,} of {others} "
        which += "" if worse == total else ("is" if worse == 1 else "are")
        which = "The other setting is" if total == 1 else which
        lines.append(f"{which} significantly worse.")
    if rest:
        lines.append(f"{rest:,} could not be tested against it.")
    return lines


def _said(sweep: RecordedRun) -> dict[str, list[str]]:
    """The axes as the sweep's own tag has them; nothing where that cannot be read."""
    try:
        axes = json.loads(sweep.tags.get(SWEEP_TAG, ""))
        return {str(axis): [str(value) for value in values] for axis, values in axes.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _counted(value: str) -> str:
    return f"{int(value):,}" if value.isascii() and value.isdigit() and len(value) < 16 else value
