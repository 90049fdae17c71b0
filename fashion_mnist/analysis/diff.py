"""What differs between two recorded runs: configuration, code, data, versions, machine, results."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fashion_mnist.runs.identity import NUMERICS_TAG
from fashion_mnist.tracking.recorded import DATA_TAG, WEIGHTS_TAG, RecordedRun

# tags by what they tell of
TAGS = {
    "code": ("code_sha256",),
    "data": (DATA_TAG,),
    "versions": ("python", "torch", NUMERICS_TAG),
    "machine": ("host", "cpu", "device", "precision", "threads", "stack_size"),
}
RESULTS = ("final/", "test/", "best/", "parameters")  # how metrics begin that are no curves
Value = str | float | None  # None where the run does not say


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ."""

    part: str  # configuration, results or a key of TAGS
    key: str
    first: Value
    second: Value


def differences(first: RecordedRun, second: RecordedRun) -> list[Difference]:
    """Everything in which they differ, part by part; what is equal is left out."""
    return [each for each in _all(first, second) if not _are_equal(each.first, each.second)]


def in_short(first: RecordedRun, second: RecordedRun) -> str:
    """Whether they are the same network, and whether it was to be expected.

    Two runs of one fingerprint are asked for in the same words.
    """
    found = differences(first, second)
    if not found:
        return "nothing differs"
    weights = [run.tags.get(WEIGHTS_TAG) for run in (first, second)]
    is_same = weights[0] is not None and weights[0] == weights[1]
    parts = dict.fromkeys(each.part for each in found)
    where = ", ".join(part for part in parts if part != "results") or "nothing but results"
    if None in weights:
        network = "the weights of one of them are not known" if any(weights) else "no weights"
    else:
        network = "the same weights, to the bit" if is_same else "other weights"
    return f"{network}; what differs: {where}"


def _all(first: RecordedRun, second: RecordedRun) -> Iterator[Difference]:
    yield from _pairs("configuration", first.parameters, second.parameters)
    for part, keys in TAGS.items():
        yield from _pairs(
            part, *({k: run.tags[k] for k in keys if k in run.tags} for run in (first, second))
        )
    yield from _pairs("results", _results(first), _results(second))


def _pairs(
    part: str, first: Mapping[str, Value], second: Mapping[str, Value]
) -> Iterator[Difference]:
    for key in sorted({*first, *second}):
        yield Difference(part, key, first.get(key), second.get(key))


def _results(run: RecordedRun) -> dict[str, Value]:
    figures: dict[str, Value] = {
        key: value for key, value in run.metrics.items() if key.startswith(RESULTS)
    }
    weights = {WEIGHTS_TAG: run.tags[WEIGHTS_TAG]} if WEIGHTS_TAG in run.tags else {}
    return {"status": run.status, **figures, **weights}


def _are_equal(first: Value, second: Value) -> bool:
    both_nan = all(isinstance(value, float) and math.isnan(value) for value in (first, second))
    return both_nan or first == second
