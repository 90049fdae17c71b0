"""What a store has of one run, and what differs between two."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fashion_mnist.metrics.confusions import most_confused, read_confusion
from fashion_mnist.runs.identity import DATA_TAG, NUMERICS_TAG, WEIGHTS_TAG
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SPLITS, ArtifactFile, RecordedRun

CURVES = ("train/loss", "val/loss", "val/accuracy")
# tags by what they tell of
TAGS = {
    "code": ("code_sha256",),
    "data": (DATA_TAG,),
    "versions": ("python", "torch", NUMERICS_TAG),
    "machine": ("host", "cpu", "device", "precision", "threads", "stack_size"),
}
RESULTS = ("final/", "test/", "best/", "parameters")  # how metrics begin that are no curves
Value = str | float | None  # None where the run does not say
BARS = "▁▂▃▄▅▆▇█"
GAP = " "  # where a value is no finite number


def read_details(store: Reader, run: RecordedRun, *, every_curve: bool = False) -> dict[str, Any]:
    """Configuration, curves, scores, most confused classes and files, as plain values.

    Files that are gone are said to be.

    Raises:
        OSError: the store does not answer.
    """
    curves = store.history(run, None if every_curve else CURVES)
    try:
        files, reason = store.artifacts(run), None
    except OSError as error:  # a folder that was moved: the rest is worth telling
        files, reason = [], str(error)
    return {
        "id": run.run_id,
        "name": run.name,
        "status": run.status,
        "experiment": run.experiment,
        "started": run.start,
        "ended": run.end,
        "duration": run.duration,
        "parent": run.parent_id or None,
        "parameters": run.parameters,
        "metrics": run.metrics,
        "tags": run.tags,
        "artifact_uri": run.artifact_uri,
        "curves": curves,
        "most_confused": _confused(store, run, files),
        "files": [{"path": file.path, "bytes": file.num_bytes} for file in files],
        "files_missing": reason,
    }


def grouped(parameters: Mapping[str, str]) -> list[list[str]]:
    """A row for each group of the config, with its settings; those of no group come first."""
    groups: dict[str, list[str]] = {"": []}
    for key in sorted(parameters):
        group, _, name = key.partition(".") if "." in key else ("", "", key)
        groups.setdefault(group, []).append(f"{name}={parameters[key]}")
    return [[group, "  ".join(words)] for group, words in groups.items() if words]


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values from the lowest to the highest bar; of more than `width`, evenly chosen ones."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return GAP * min(len(values), width)
    low, high = min(finite), max(finite)
    if len(values) > width:
        last, places = len(values) - 1, max(width - 1, 1)
        values = [values[round(place * last / places)] for place in range(width)]
    return "".join(_bar(value, low, high) for value in values)


def _confused(store: Reader, run: RecordedRun, files: Sequence[ArtifactFile]) -> dict[str, Any]:
    """The first split that was recorded, and its most frequent mistakes."""
    there = {file.path for file in files}
    for split in SPLITS:
        path = f"{split}/confusion_matrix.json"
        if path not in there:
            continue
        with tempfile.TemporaryDirectory() as folder:
            store.download(run, path, Path(folder))
            confusion = read_confusion(Path(folder), split)
        if confusion is not None:
            pairs = [mistake._asdict() for mistake in most_confused(*confusion)]
            return {"split": split, "pairs": pairs}
    return {"split": None, "pairs": []}


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    # halves, for the range may exceed the largest number
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def differences(first: RecordedRun, second: RecordedRun) -> list[dict[str, Value]]:
    """A row for each thing in which they differ: its part, its key, and what A and B say.

    Parts are the configuration, those of TAGS, and the results; what is equal is left out.
    """
    runs = first, second
    parts: dict[str, tuple[Mapping[str, Value], ...]] = {
        "configuration": (first.parameters, second.parameters),
        **{
            part: tuple({k: run.tags[k] for k in keys if k in run.tags} for run in runs)
            for part, keys in TAGS.items()
        },
        "results": tuple(map(_results, runs)),
    }
    return [
        {"part": part, "key": key, "A": one.get(key), "B": other.get(key)}
        for part, (one, other) in parts.items()
        for key in sorted({*one, *other})
        if not _are_equal(one.get(key), other.get(key))
    ]


def in_short(first: RecordedRun, second: RecordedRun) -> str:
    """Whether they are the same network, and whether it was to be expected.

    Two runs of one fingerprint are asked for in the same words.
    """
    found = differences(first, second)
    if not found:
        return "nothing differs"
    weights = [run.tags.get(WEIGHTS_TAG) for run in (first, second)]
    is_same = weights[0] is not None and weights[0] == weights[1]
    parts = dict.fromkeys(str(each["part"]) for each in found)
    where = ", ".join(part for part in parts if part != "results") or "nothing but results"
    if None in weights:
        network = "the weights of one of them are not known" if any(weights) else "no weights"
    else:
        network = "the same weights, to the bit" if is_same else "other weights"
    return f"{network}; what differs: {where}"


def _results(run: RecordedRun) -> dict[str, Value]:
    metrics: dict[str, Value] = {
        key: value for key, value in run.metrics.items() if key.startswith(RESULTS)
    }
    weights = {WEIGHTS_TAG: run.tags[WEIGHTS_TAG]} if WEIGHTS_TAG in run.tags else {}
    return {"status": run.status, **metrics, **weights}


def _are_equal(first: Value, second: Value) -> bool:
    both_nan = all(isinstance(value, float) and math.isnan(value) for value in (first, second))
    return both_nan or first == second
