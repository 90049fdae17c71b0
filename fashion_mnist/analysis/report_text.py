"""A report in sentences: what was asked, what came out, how to repeat it."""

import shlex
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from fashion_mnist.analysis.labels import (
    REPLICATE_KEYS,
    interval_text,
    metric_name,
    short_value,
    statistic_text,
)
from fashion_mnist.analysis.leaderboard import FOLD, SEED, Leaderboard, Setting
from fashion_mnist.analysis.lookup import Selection, recorded_axes
from fashion_mnist.config.messages import plural
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.runs.identity import TRAINING_IMAGES_TAG
from fashion_mnist.runs.records import OVERRIDES_FILE
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import DATA_TAG, TEST_SCORE, RecordedRun

MOST_VALUES = 8  # of an axis, named
MOST_ORIGINS = 4  # values of a tag, named
MOST_BYTES = 100_000  # of a file of overrides
# the tags that a repetition depends on, under the names that people read
ORIGIN = {
    "git_commit": "code (git commit)",
    DATA_TAG: "data (SHA-256)",
    "torch": "torch",
    "python": "Python",
    "cpu": "processor",
    "device": "device",
    "precision": "precision",
    "threads": "threads",
    "host": "host",
}


def question(board: Leaderboard, subject: Selection) -> list[str]:
    """What was asked, of which networks, on which data: a paragraph each."""
    runs = [run for setting in board.settings for run in setting.records]
    lines = [f"{_asked(board)} {_size(board, runs)}"]
    axes = axes_of(board, subject)
    lines += [_axes(axes)] if axes else []
    lines += [_data(runs), _when(runs)]
    return list(filter(None, lines))


def answer(board: Leaderboard) -> list[str]:
    """What came out, a sentence each; the first is the main one."""
    best, name = board.settings[0], metric_name(board.score)
    test = statistic_text(TEST_SCORE, best.test)
    if best.score is None:
        tested = f" Test accuracy: {test}." if best.test else ""
        return [f"No run has finished with a {name}.{tested}"]
    n = best.score.n
    over = f"mean ± std over {n} runs" if n > 1 else "one run"
    interval = interval_text(best.interval)
    over += f"; 95 % interval {interval}" if interval else ""
    who = f"{board.label(best)} is best" if len(board.settings) > 1 else "The result"
    lines = [f"{who}: {name} {statistic_text(board.score, best.score)} ({over})."]
    lines += [f"Test accuracy: {test}."] if best.test else []
    lines += _others(board)
    if n == 1:
        lines.append("One seed tells little of what another would do.")
    return lines


def axes_of(board: Leaderboard, subject: Selection) -> dict[str, list[str]]:
    """What was varied, with its values: as a sweep says, else as its networks differ.

    Keys with one value alone are not varied.
    """
    axes: dict[str, list[str]] = {}
    if len(subject.sweeps) == 1:
        axes = recorded_axes(subject.sweeps[0])
    if not axes:
        for axis in board.axes:
            own = (setting.values.get(axis) for setting in board.settings)
            axes[axis] = [value for value in dict.fromkeys(own) if value is not None]
        runs = [run for setting in board.settings for run in setting.records]
        for key in REPLICATE_KEYS:
            axes[key] = list(dict.fromkeys(run.parameters.get(key, "") for run in runs))
    return {axis: values for axis, values in axes.items() if len(values) > 1}


def repetition_of(store: Reader, setting: Setting) -> tuple[str, str]:
    """The command that trains all runs of a setting; or nothing, and why it is not known."""
    words = read_overrides(store, setting.records[0])
    if isinstance(words, str):
        return "", words
    return command_of(words, [run.replicate for run in setting.runs]), ""


def read_overrides(store: Reader, run: RecordedRun) -> list[str] | str:
    """What was typed to have the run; or why that is not known."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.download(run, OVERRIDES_FILE, Path(folder))
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= MOST_BYTES else ""
            words = yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            return f"{OVERRIDES_FILE} of {run.name} cannot be read: {str(error).splitlines()[0]}"
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return f"{OVERRIDES_FILE} of {run.name} is no list of overrides"
    return words


def command_of(overrides: Sequence[str], replicates: Sequence[tuple[str, str]]) -> str:
    """The command that trains these seeds and folds, of one run's overrides.

    Where they are no grid, it is one command for each. The fold is left out where it is 0, the
    default, and was not typed.
    """
    seeds, folds = (list(dict.fromkeys(own)) for own in zip(*replicates, strict=True))
    own = [word for word in overrides if not word.lstrip("+").startswith((f"{SEED}=", f"{FOLD}="))]
    is_typed = any(word.lstrip("+").startswith(f"{FOLD}=") for word in overrides)
    has_folds = is_typed or any(fold not in ("", "0") for fold in folds)

    def line(seeds: Sequence[str], folds: Sequence[str]) -> str:
        words = ["-m"] if len(seeds) > 1 or len(folds) > 1 else []
        words += [*own, *_given(SEED, seeds)]
        words += _given(FOLD, folds) if has_folds else []
        return f"fmnist train {shlex.join(words)}"

    if len(seeds) * len(folds) == len(replicates):
        return line(seeds, folds)
    return "\n".join(line([seed], [fold]) for seed, fold in replicates)


def origin_of(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """What the runs were made of and on: each thing's name and its value, or values with counts."""
    found = {}
    for tag, name in ORIGIN.items():
        values = Counter(run.tags.get(tag, "") for run in runs)
        known = [(value, count) for value, count in values.most_common() if value]
        if len(known) == len(values) == 1:
            found[name] = known[0][0]
        elif known:
            words = [f"{value} ({count})" for value, count in known[:MOST_ORIGINS]]
            more = f" and {len(known) - MOST_ORIGINS} more" if len(known) > MOST_ORIGINS else ""
            found[name] = ", ".join(words) + more
    return found


def seconds_of(runs: Iterable[RecordedRun]) -> Statistic | None:
    """How long finished runs took, from first start to last end."""
    known = [run.duration for run in runs if run.status == "FINISHED" and run.duration]
    return statistic([each.total_seconds() for each in known]) if known else None


def wall_seconds(runs: Sequence[RecordedRun]) -> float | None:
    """Seconds from the first start to the last end; None where no run has ended."""
    starts = [run.start for run in runs if run.start]
    ends = [run.end for run in runs if run.end]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else None


def _asked(board: Leaderboard) -> str:
    if len(board.runs) == 1:
        return "How often is this network right, and where is it wrong?"
    if len(board.settings) == 1:
        return "How far do repetitions of this setting lie apart?"
    return (
        f"Which setting is the best by {metric_name(board.score)}, is it significantly better "
        "than the others, and where is it wrong?"
    )


def _size(board: Leaderboard, runs: Sequence[RecordedRun]) -> str:
    outcomes = Counter(run.status.lower() for run in runs)
    words = ", ".join(f"{count:,} {status}" for status, count in outcomes.most_common())
    if len(runs) == 1:
        return f"It has {words.partition(' ')[2]}." if words.partition(" ")[2] else ""
    return f"{plural(len(board.settings), 'setting')}, {plural(len(runs), 'run')}: {words}."


def _axes(axes: Mapping[str, Sequence[str]]) -> str:
    words = []
    for axis, values in axes.items():
        some = ", ".join(map(short_value, values[:MOST_VALUES]))
        more = f" … {len(values):,} in all" if len(values) > MOST_VALUES else ""
        repeats = ", which repeats a setting" if axis in REPLICATE_KEYS else ""
        words.append(f"{axis} ({some}{more}{repeats})")
    return f"Varied: {'; '.join(words)}."


def _data(runs: Sequence[RecordedRun]) -> str:
    """The data that the runs had; of what differs, how many runs had each."""
    trained = [
        run.tags.get(TRAINING_IMAGES_TAG) or run.parameters.get("data.train_size", "")
        for run in runs
    ]
    parts = {
        "{}": [run.parameters.get("data.name", "") for run in runs],
        "{} training images": trained,
        "{} for validation": [run.parameters.get("data.validation_size", "") for run in runs],
        "epochs: {}": [run.parameters.get("training.epochs", "") for run in runs],
    }
    words = []
    for form, values in parts.items():
        counts = Counter(value for value in values if value and value != "null").most_common()
        if len(counts) == 1:
            words.append(form.format(_counted(counts[0][0])))
        elif counts:
            named = [f"{_counted(value)} ({plural(n, 'run')})" for value, n in counts[:MOST_VALUES]]
            words.append(form.format(" or ".join(named)))
    return f"Data: {', '.join(words)}." if words else ""


def _when(runs: Sequence[RecordedRun]) -> str:
    starts = sorted(run.start for run in runs if run.start)
    if not starts:
        return ""
    first, last = (f"{time.astimezone():%Y-%m-%d %H:%M}" for time in (starts[0], starts[-1]))
    names = list(dict.fromkeys(run.experiment for run in runs))
    span = f"on {first}" if first == last else f"between {first} and {last}"
    kind = "experiment" if len(names) == 1 else "experiments"
    return f"Started {span}; recorded in {kind} {', '.join(names)}."


def _others(board: Leaderboard) -> list[str]:
    """The other settings vs. best, and what that means."""
    results = Counter(comparison.result for comparison in board.comparisons[1:])
    near, worse = results["not significantly different"], results["significantly worse"]
    rest = results["not tested"]
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


def _given(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}={','.join(values)}"] if any(values) else []


def _counted(value: str) -> str:
    return f"{int(value):,}" if value.isascii() and value.isdigit() and len(value) < 16 else value
