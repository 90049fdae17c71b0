"""Names of settings, axes and metrics, and the digits of their values, in tables and charts."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from fashion_mnist.analysis.scale import as_numbers
from fashion_mnist.metrics.statistics import ALPHA, Interval, Statistic
from fashion_mnist.runs.identity import CHOSEN, DATA_TAG
from fashion_mnist.tracking.recorded import DIRECTIONS

REPLICATE_KEYS = ("seed", "data.fold")  # they repeat a setting
ABSENT = "–"  # where a row has no value
NULL = "null"  # a key that is switched off, as YAML and JSON write it
METRIC_NAMES = {
    "final/val_accuracy": "validation accuracy",
    "final/val_f1_macro": "validation macro F1",
    "final/val_loss": "validation loss",
    "final/epoch": "epoch",
    "test/accuracy": "test accuracy",
    "test/f1_macro": "test macro F1",
    "test/loss": "test loss",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
    "top_2_accuracy": "top-2 accuracy",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
    "area_under_risk": "area under risk-coverage curve",
}
# how good probabilities are; the lower the better
CALIBRATION = ("ece", "brier", "nll")
# what the run of a sweep records of its best setting, by the metric that it is the mean of
BEST_METRICS = {
    "final/val_accuracy": "best/val_accuracy",
    "final/val_f1_macro": "best/val_f1_macro",
    "final/val_loss": "best/val_loss",
    "parameters": "best/parameters",
    "test/accuracy": "best/test_accuracy",
    "test/f1_macro": "best/test_f1_macro",
    "test/loss": "best/test_loss",
}
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
# parameters that name a chosen file, or what comes from one: the keys of the group follow from it
EXPERIMENT = "experiment"
FILES = (*CHOSEN, "data.name")
Difference = Literal["not significantly different", "significantly better", "significantly worse"]
_HASH = re.compile(r"[0-9a-f]{40,}\+?")


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value wins: a loss, a number of parameters."""
    return DIRECTIONS[metric] == "minimize"


def short_value(value: str) -> str:
    """The value for tables and charts: four digits of a long number, the beginning of a hash."""
    if _HASH.fullmatch(value):
        return f"{value[:12]}…{'+' * value.endswith('+')}"
    numbers = as_numbers([value]) if len(value) > 8 else None
    return f"{numbers[0]:.4g}" if numbers else value


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """What tables call each axis: the last word of its key, the whole key where two share one.

    `optimizer.name` is the optimizer.
    """
    last = [axis.removesuffix(".name").rpartition(".")[2] for axis in axes]
    return {
        axis: axis if last.count(word) > 1 else word for axis, word in zip(axes, last, strict=True)
    }


def values_text(values: Mapping[str, str], axes: Sequence[str]) -> str:
    """The values on these axes in one line: `width=512 lr=3e-3`; without those that are null."""
    names = short_names(axes)
    own = [(names[axis], values[axis]) for axis in axes if values.get(axis, NULL) != NULL]
    return " ".join(f"{name}={short_value(value)}" for name, value in own)


def differing_axes(values: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys that have more than one value; having none is a value too."""
    axes = dict.fromkeys(axis for own in values for axis in own)
    return [axis for axis in axes if len({own.get(axis) for own in values}) > 1]


def naming_axes(values: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys that name settings: those that differ, without those that a chosen file implies.

    A file implies a key of its group where all settings with the same file have the same value:
    `model=pyramid` says what its hidden sizes are. An experiment's file may imply any key.
    """
    axes = differing_axes(values)
    # a run that was not composed of files has the name alone: optimizer.name=sgd
    names = [axis for axis in axes if axis.endswith(".name")]
    files = [axis for axis in axes if axis in FILES]
    files += [name for name in names if name not in FILES and name.partition(".")[0] not in files]

    def is_implied(axis: str) -> bool:
        group = "data" if axis == DATA_TAG else axis.partition(".")[0]
        above = [f for f in files if f != axis and f.partition(".")[0] in (group, EXPERIMENT)]
        above = [f for f in above if f != "data.name" or axis == DATA_TAG]
        if axis == EXPERIMENT:
            return False
        return any(_is_function_of(axis, file, values) for file in above)

    return [axis for axis in axes if not is_implied(axis)]


def _is_function_of(axis: str, file: str, values: Sequence[Mapping[str, str]]) -> bool:
    known: dict[str | None, str | None] = {}
    return all(known.setdefault(own.get(file), own.get(axis)) == own.get(axis) for own in values)


def metric_name(key: str) -> str:
    """A metric as tables and charts call it."""
    return METRIC_NAMES.get(key, key)


def metric_title(key: str) -> str:
    """The same at the beginning of a title: `Validation macro F1`."""
    name = metric_name(key)
    return name[:1].upper() + name[1:]


def metric_text(key: str, value: float) -> str:
    """A metric's value with the digits that are worth reading."""
    return f"{value:,.0f}" if key == "parameters" else f"{value:.4f}"


def statistic_text(key: str, metric: Statistic | None) -> str:
    """`0.8912 ± 0.0021`, or the one value; how many there are is for the caller to say."""
    if metric is None:
        return ABSENT
    mean = metric_text(key, metric.mean)
    # sizes that are the same for all runs of a setting have no spread worth a word
    is_spread = metric.std is not None and (metric.std > 0 or key != "parameters")
    return f"{mean} ± {metric_text(key, metric.std or 0)}" if is_spread else mean


def interval_text(interval: Interval | None) -> str:
    """`0.8860 to 0.8964`; empty where there is none."""
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval else ""


def difference_result(difference: float, p: float) -> Difference:
    """What a test says of the second of two, whose score is larger than the first's by this."""
    if p > ALPHA:
        return "not significantly different"
    return "significantly better" if difference > 0 else "significantly worse"


def compared_to(result: str, first: str) -> str:
    """Such a result in a sentence: `significantly better than A`."""
    return f"{result} {'from' if result.endswith('different') else 'than'} {first}"


def p_text(p: float) -> str:
    """`p = 0.21`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
