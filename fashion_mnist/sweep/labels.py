"""What tables and pictures call axes, their values and metrics, and how many digits are shown."""

from collections.abc import Mapping, Sequence

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.scale import as_numbers

ABSENT = "–"  # a run that an axis does not apply to has no value on it
METRIC_NAMES = {
    "final/val_accuracy": "validation accuracy",
    "final/val_f1_macro": "validation macro F1",
    "final/val_loss": "validation loss",
    "final/epoch": "epoch",
    "test/accuracy": "test accuracy",
    "test/f1_macro": "test macro F1",
    "test/loss": "test loss",
}


def short_value(value: str) -> str:
    """The value for tables and pictures: a number with many digits loses those past the fourth."""
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
    """The values on these axes in one line: `width=512 lr=3e-3`."""
    names = short_names(axes)
    own = [(names[axis], values[axis]) for axis in axes if axis in values]
    return " ".join(f"{name}={short_value(value)}" for name, value in own)


def differing_axes(values: Sequence[Mapping[str, str]]) -> list[str]:
    """The axes that have more than one value; having none is a value too."""
    axes = dict.fromkeys(axis for own in values for axis in own)
    return [axis for axis in axes if len({own.get(axis) for own in values}) > 1]


def metric_name(key: str) -> str:
    """A metric as tables and pictures call it."""
    return METRIC_NAMES.get(key, key)


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


def p_text(p: float) -> str:
    """`p = 0.21`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
