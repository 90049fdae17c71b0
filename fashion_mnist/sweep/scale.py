"""What tables and pictures call the axes of a sweep and their values."""

from collections.abc import Mapping, Sequence

from fashion_mnist.plots.scale import as_numbers

ABSENT = "–"  # a run that an axis does not apply to has no value on it


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


def in_words(values: Mapping[str, str], axes: Sequence[str]) -> str:
    """The values on these axes in one line: `width=512 lr=3e-3`."""
    names = short_names(axes)
    own = [(names[axis], values[axis]) for axis in axes if axis in values]
    return " ".join(f"{name}={short_value(value)}" for name, value in own)


def differing_axes(values: Sequence[Mapping[str, str]]) -> list[str]:
    """The axes that have more than one value; having none is a value too."""
    axes = dict.fromkeys(axis for own in values for axis in own)
    return [axis for axis in axes if len({own.get(axis) for own in values}) > 1]
