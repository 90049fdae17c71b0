"""One axis of a sweep: how YAML and the command line write it, and the values that it takes."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
)

from fashion_mnist.analysis.labels import REPLICATE_KEYS
from fashion_mnist.config.options import is_whole
from fashion_mnist.config.overrides import parse_override

_BARE = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z_][\w./-]*", re.IGNORECASE | re.ASCII)
_SPECIAL = re.compile(r"([\\()\[\]{}:=, \t])")
_RANGE_KEYS = ("low", "high", "log", "step", "num")
_ALLOWED = (
    "a list of values, a range as in {low: 1, high: 8}, or one of Hydra's sweeps as in 'range(8)'"
)


@dataclass(frozen=True)
class Axis:
    """One key, or several in step, and the values they take in the runs of a sweep.

    `choices` are texts in Hydra's grammar, one for each key. None: a range of numbers from `low`
    to `high`, both included, of whole numbers where both are int; `num` is for grids alone.
    """

    keys: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...] | None = None
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    num: int | None = None

    @property
    def name(self) -> str:
        """The keys, as YAML names the axis."""
        return ", ".join(self.keys)

    @property
    def is_replicate(self) -> bool:
        """Whether the axis repeats a setting."""
        return all(key in REPLICATE_KEYS for key in self.keys)

    @property
    def count(self) -> int | None:
        """How many values a grid takes, at most; None: without end."""
        if self.choices is not None:
            return len(self.choices)
        step = self._step()
        if self.num is not None or step is None:
            return self.num
        return int((_exact(self.high) - _exact(self.low)) // _exact(step)) + 1

    @property
    def last(self) -> float:
        """The last value that a step reaches; without a step `high`."""
        if self.step is None:
            return self.high
        first, step = _exact(self.low), _exact(self.step)
        kind = int if self._is_whole() else float
        return kind(first + (_exact(self.high) - first) // step * step)

    @property
    def sorted_choices(self) -> tuple[tuple[str, ...], ...]:
        """The choices in an order that does not depend on how they are written."""
        choices = self.choices or ()
        return tuple(sorted(choices, key=lambda row: ([same_text(text) for text in row], row)))

    def values(self) -> Sequence[tuple[str, ...]]:
        """The values of a grid, a text for each key; `count` is not None."""
        if self.choices is not None:
            return self.choices
        texts = (text_of(number) for number in self._numbers())
        return tuple(dict.fromkeys((text,) for text in texts))

    def _step(self) -> float | None:
        return 1 if self.step is None and not self.log and self._is_whole() else self.step

    def _is_whole(self) -> bool:
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    def _numbers(self) -> list[float]:
        assert self.count is not None
        step, kind = self._step(), int if self._is_whole() else float
        if self.num is None and step is not None:
            # as it is written, for 0.1 + 2 * 0.1 is no 0.3 in binary
            first, width = _exact(self.low), _exact(step)
            return [kind(first + k * width) for k in range(self.count)]
        space = np.geomspace if self.log else np.linspace
        inner = space(self.low, self.high, self.count)[1:-1].tolist()
        # six digits make a name that can be read; the ends stay what they are
        short = [round(x) if kind is int else float(f"{x:.6g}") for x in inner]
        return [kind(self.low), *short, kind(self.high)]


def read_axis(keys: tuple[str, ...], notation: Any) -> Axis:
    """The axis that a value of YAML describes; a plain value is an axis of one.

    Raises:
        ValueError: what is allowed.
    """
    if len(keys) > 1:
        rows = notation if isinstance(notation, list) else []
        if not rows or any(not isinstance(row, list) or len(row) != len(keys) for row in rows):
            raise ValueError(f"a list of lists of {len(keys)} values, one for each key")
        return _choices(keys, rows)
    if isinstance(notation, list):
        return _choices(keys, [[value] for value in notation])
    if isinstance(notation, Mapping):
        return _range(keys, **_range_arguments(notation))
    if isinstance(notation, str):
        problems: list[str] = []
        override = parse_override(f"{keys[0]}={notation}", problems)
        if override is None:
            raise ValueError(_ALLOWED)
        return axis_of_override(override)
    return _choices(keys, [[notation]])


def axis_of_override(override: Override, options: Sequence[str] = ()) -> Axis:
    """The axis that an override describes, an axis of one where it does not sweep.

    Args:
        override: no deletion.
        options: the files of the group, for `glob(*)`.

    Raises:
        ValueError: what is allowed.
    """
    keys = (override.get_key_element().lstrip("+"),)
    value: Any = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if tags - {"log"}:
        raise ValueError("tagged with nothing but log")
    match value:
        case Glob():
            return _choices(keys, [[name] for name in value.filter(list(options))])
        case ChoiceSweep():
            return _choices(keys, [[_plain(each)] for each in value.list])
        case IntervalSweep():
            low, high = value.start or 0, value.end or 0  # Hydra's own are never None
            return _range(keys, low, high, log="log" in tags)
        case RangeSweep():
            return _stepped(keys, value)
    return _choices(keys, [[value]])


def text_of(value: Any) -> str:
    """A plain value as Hydra's grammar writes it, so that it is read back the same."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return value if _BARE.fullmatch(value) else _quoted(value)
        case list():
            return f"[{','.join(map(text_of, value))}]"
        case Mapping():
            names = [_SPECIAL.sub(r"\\\1", str(key)) for key in value]
            pairs = zip(names, map(text_of, value.values()), strict=True)
            return "{" + ",".join(f"{name}:{text}" for name, text in pairs) + "}"
    return repr(value)


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _plain(value: Any) -> Any:
    """Without the parser's own kind of strings."""
    match value:
        case QuotedString(text=text):
            return text
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {_plain(key): _plain(each) for key, each in value.items()}
    return value


def _choices(keys: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Axis:
    texts = dict.fromkeys(tuple(map(text_of, row)) for row in rows)
    if not texts:
        raise ValueError("one value or more")
    return Axis(keys, tuple(texts))


def _range_arguments(notation: Mapping[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {"log": bool, "num": int} | dict.fromkeys(
        ("low", "high", "step"), int | float
    )
    for key, value in notation.items():
        if key not in _RANGE_KEYS:
            raise ValueError(f"{_ALLOWED}; a range has the keys {', '.join(_RANGE_KEYS)}")
        is_flag = isinstance(value, bool)
        if not isinstance(value, kinds[key]) or is_flag != (key == "log"):
            raise ValueError(
                "a range whose log is true or false, num a whole number, others numbers"
            )
    if "low" not in notation or "high" not in notation:
        raise ValueError("a range with low and high")
    return dict(notation)


def _range(
    keys: tuple[str, ...],
    low: float,
    high: float,
    *,
    log: bool = False,
    step: float | None = None,
    num: int | None = None,
) -> Axis:
    rules = {
        "a range of finite numbers with low below high": _are_finite(low, high) and low < high,
        "a range with low above 0 where log is true": not log or low > 0,
        "a range with one of log and step, not both": not log or step is None,
        "a range with one of step and num, not both": step is None or num is None,
        "a range with step above 0": step is None or (_are_finite(step) and step > 0),
        "a range with num 2 or more": num is None or num >= 2,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError("; ".join(broken))
    kind = int if _are_whole(keys[0], low, high, step or 1) else float
    return Axis(keys, None, kind(low), kind(high), log, step and kind(step), num)


def _are_whole(key: str, *numbers: float) -> bool:
    """Whether a range has whole numbers alone: by its key's type, else as its ends are written."""
    takes_whole = is_whole(key)
    if takes_whole is None:
        return all(isinstance(each, int) for each in numbers)
    return takes_whole and all(each == int(each) for each in numbers)


def _stepped(keys: tuple[str, ...], sweep: RangeSweep) -> Axis:
    """Hydra's range, whose stop is left out; from low to high also where it goes down."""
    assert sweep.start is not None
    assert sweep.stop is not None
    given = (sweep.start, sweep.stop, sweep.step)
    start, stop, step = map(_exact, given if _are_finite(*given) else (0, 0, 0))
    count = math.ceil((stop - start) / step) if step else 0
    if count < 1:
        raise ValueError("a range with a value between start and stop, and a step other than 0")
    has_whole = _are_whole(keys[0], *given)
    kind = int if has_whole else float
    low, high = sorted([kind(start), kind(start + (count - 1) * step)])
    if count == 1:
        return _choices(keys, [[low]])
    width = None if has_whole and abs(step) == 1 else kind(abs(step))
    return _range(keys, low, high, log="log" in sweep.tags, step=width)


def _are_finite(*numbers: float) -> bool:
    return all(abs(number) < 1e300 for number in numbers)  # a whole number may be too long for math


def _exact(number: float) -> Fraction:
    return Fraction(str(number))


def same_text(text: str) -> str:
    """A value, or a key and its value, with one text for 0 and 0.0."""
    before, equals, value = text.rpartition("=")
    try:
        return f"{before}{equals}{float(value)!r}"
    except ValueError:
        return text
