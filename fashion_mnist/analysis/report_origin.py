"""Where recorded runs came from, and how to have them again: commands, versions, machine, costs."""

import shlex
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from fashion_mnist.analysis.leaderboard import Setting
from fashion_mnist.analysis.lookup import FOLD, SEED
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import DATA_TAG, FINGERPRINT_TAG, RecordedRun

OVERRIDES = "config/overrides.yaml"
MOST_BYTES = 100_000  # of a file of overrides
MOST_VALUES = 4  # of a tag, named
SPEED = "images_per_second"
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


def repetition_of(store: Reader, setting: Setting) -> tuple[str, str]:
    """The command that trains all runs of a setting; or nothing, and why it is not known."""
    runs = list(setting.runs.values())
    words = read_overrides(store, runs[0])
    if isinstance(words, str):
        return "", words
    return command_of(words, list(setting.runs)), ""


def read_overrides(store: Reader, run: RecordedRun) -> list[str] | str:
    """What was typed to have the run; or why that is not known."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.download(run, OVERRIDES, Path(folder))
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= MOST_BYTES else ""
            words = yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            return f"{OVERRIDES} of {run.name} cannot be read: {str(error).splitlines()[0]}"
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return f"{OVERRIDES} of {run.name} is no list of overrides"
    return words


def command_of(overrides: Sequence[str], replicates: Sequence[tuple[str, str]]) -> str:
    """The command that trains these seeds and folds, of one run's overrides.

    Where they are no grid, it is one command for each.
    """
    seeds, folds = (list(dict.fromkeys(own)) for own in zip(*replicates, strict=True))
    own = [word for word in overrides if not word.startswith((f"{SEED}=", f"{FOLD}="))]
    has_folds = len(folds) > 1 or len(own) + 1 < len(overrides)

    def line(seeds: Sequence[str], folds: Sequence[str]) -> str:
        sweeps = len(seeds) > 1 or len(folds) > 1
        words = [*(["-m"] if sweeps else []), *own, *_given(SEED, seeds)]
        words += _given(FOLD, folds) if has_folds else []
        return f"fmnist train {shlex.join(words)}"

    if len(seeds) * len(folds) == len(replicates):
        return line(seeds, folds)
    return "\n".join(line([seed], [fold]) for seed, fold in replicates)


def origin_rows(runs: Sequence[RecordedRun]) -> list[tuple[str, str]]:
    """What the runs were made of and on: each thing's name and its value, or values with counts."""
    rows = []
    for tag, name in ORIGIN.items():
        values = _counted(run.tags.get(tag, "") for run in runs)
        known = {value: count for value, count in values.items() if value}
        if len(known) == 1 and len(values) == 1:
            rows.append((name, next(iter(known))))
        elif known:
            words = [f"{value} ({count})" for value, count in list(known.items())[:MOST_VALUES]]
            more = f" and {len(known) - MOST_VALUES} more" if len(known) > MOST_VALUES else ""
            rows.append((name, ", ".join(words) + more))
    return rows


def fingerprints(setting: Setting) -> list[tuple[str, str]]:
    """Id and fingerprint of each run of a setting."""
    return [(run.run_id, run.tags.get(FINGERPRINT_TAG, "")) for run in setting.runs.values()]


def seconds_of(runs: Iterable[RecordedRun]) -> Statistic | None:
    """How long finished runs took, from first start to last end."""
    known = [run.duration for run in runs if run.status == "FINISHED" and run.duration]
    return statistic([each.total_seconds() for each in known]) if known else None


def metric_of(runs: Iterable[RecordedRun], key: str) -> Statistic | None:
    """A metric's last value over finished runs."""
    values = [run.metrics[key] for run in runs if run.status == "FINISHED" and key in run.metrics]
    return statistic(values) if values else None


def wall_seconds(runs: Sequence[RecordedRun]) -> float | None:
    """Seconds from the first start to the last end; None where no run has ended."""
    starts = [run.start for run in runs if run.start]
    ends = [run.end for run in runs if run.end]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else None


def _given(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}={','.join(values)}"] if any(values) else []


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
