"""Reads plain nodes of YAML into typed dataclasses, collecting every mistake on the way.

A field's type is `Annotated[type, check]`. A check takes a value and returns it, typed, or raises
a ValueError that says what is allowed: "must be a number above 0".
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

from fashion_mnist.config.errors import did_you_mean, shorten, shown

Check = Callable[[Any], Any]
T = TypeVar("T")


def whole(*, minimum: int, maximum: int | None = None) -> Check:
    """A whole number within bounds."""
    allowed = f"a whole number, {minimum} or more"
    if maximum is not None:
        allowed = f"a whole number from {minimum} to {maximum}"

    def check(value: Any) -> int:
        _demand(isinstance(value, int) and not isinstance(value, bool), allowed)
        _demand(minimum <= value <= (2**63 if maximum is None else maximum), allowed)
        return int(value)

    return check


def number(
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Check:
    """A finite number within bounds: `minimum` and `maximum` are allowed, `above`, `below` not."""
    low = "(-inf" if minimum is None and above is None else f"[{minimum}"
    low = f"({above}" if above is not None else low
    high = "inf)" if maximum is None and below is None else f"{maximum}]"
    high = f"{below})" if below is not None else high
    allowed = f"a number in {low}, {high}"

    def check(value: Any) -> float:
        _demand(isinstance(value, int | float) and not isinstance(value, bool), allowed)
        _demand(abs(value) < 1e300, allowed)  # compared, not converted: a whole number may be huge
        _demand(minimum is None or value >= minimum, allowed)
        _demand(above is None or value > above, allowed)
        _demand(maximum is None or value <= maximum, allowed)
        _demand(below is None or value < below, allowed)
        return float(value)

    return check


def one_of(values: Iterable[str]) -> Check:
    """One of these words."""
    known = list(values)

    def check(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}{did_you_mean(value, known)}")
        return str(value)

    return check


def text(value: Any) -> str:
    """Words on one line, not empty."""
    _demand(isinstance(value, str) and bool(value.strip()), "text")
    _demand(value.isprintable(), "text on one line")
    return str(value)


def text_up_to(longest: int) -> Check:
    """Words on one line, of at most so many characters."""

    def check(value: Any) -> str:
        allowed = f"text of at most {longest} characters"
        _demand(not isinstance(value, str) or len(value) <= longest, allowed)
        return text(value)

    return check


def boolean(value: Any) -> bool:
    """True or false."""
    _demand(isinstance(value, bool), "true or false")
    return bool(value)


def mapping(value: Any) -> dict[str, Any]:
    """Keys with plain values."""
    allowed = "a mapping of names to numbers, words, true or false"
    _demand(isinstance(value, Mapping), allowed)
    _demand(all(isinstance(v, str | int | float | bool) for v in value.values()), allowed)
    return {str(key): v for key, v in value.items()}


def tree(value: Any) -> dict[str, Any]:
    """Keys with anything."""
    _demand(isinstance(value, Mapping), "a mapping")
    return {str(key): entry for key, entry in value.items()}


def tag_names(value: Any) -> dict[str, Any]:
    """Keys that MLflow takes as names of tags, with plain values."""
    tags = mapping(value)
    allowed = "a mapping whose names have letters, digits, spaces and _ . - only"
    _demand(all(re.fullmatch(r"\w[\w. -]{0,200}", name) for name in tags), allowed)
    return tags


def optional(check: Check) -> Check:
    """What `check` takes, or null."""

    def with_null(value: Any) -> Any:
        try:
            return None if value is None else check(value)
        except ValueError as error:
            raise ValueError(f"null or {error}") from None

    return with_null


def either(word: str, check: Check) -> Check:
    """That word, or what `check` takes."""

    def with_word(value: Any) -> Any:
        try:
            return value if value == word else check(value)
        except ValueError as error:
            raise ValueError(f"{word} or {error}") from None

    return with_word


def list_of(check: Check, *, minimum: int = 0, maximum: int | None = None) -> Check:
    """A list of so many entries, each of which `check` takes, as a tuple."""

    def every(value: Any) -> tuple[Any, ...]:
        _demand(isinstance(value, list | tuple), "a list")
        _demand(len(value) >= minimum, f"a list of {minimum} or more")
        _demand(maximum is None or len(value) <= maximum, f"a list of {maximum}")
        try:
            return tuple(check(entry) for entry in value)
        except ValueError as error:
            raise ValueError(f"a list, each entry {error}") from None

    return every


class Reader:
    """Reads a tree of plain values; `problems` are messages that name key, limit and value."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._unread: list[tuple[str, list[str]]] = []

    def take(self, node: dict[str, Any], key: str, name: str, check: Check) -> Any:
        """Remove `name` from the node and check it; `key` is its full dotted name."""
        if name not in node:
            self.problems.append(f"{key} is missing")
            return None
        value = node.pop(name)
        try:
            return check(value)
        except ValueError as error:
            self.problems.append(f"{key} must be {error}, got {shown(value)}")
            return None

    def dataclass(self, kind: type[T], node: Any, prefix: str = "") -> T:
        """Fill a dataclass; a node of a field that is a dataclass too is read in turn.

        What is wrong is in `problems` and None in its field. A field named `options` takes every
        key that no other field takes.
        """
        if not isinstance(node, Mapping):
            self.problems.append(f"{prefix.rstrip('.')} must be a mapping, got {shown(node)}")
            node = {}
        rest, values = dict(node), dict[str, Any]()
        hints = get_type_hints(kind, include_extras=True)
        names = [f.name for f in dataclasses.fields(kind) if f.name != "options"]  # type: ignore[arg-type]  # a dataclass
        missing = [name for name in names if name not in node]
        if len(missing) > 1:
            self.problems.append(
                f"{', '.join(prefix + name for name in missing)} are missing: a YAML file of your "
                "own begins with the one that it changes, as in `defaults: [mlp, _self_]`"
            )
        for name in names:
            hint, key = hints[name], f"{prefix}{name}"
            if len(missing) > 1 and name in missing:
                # its own keys are missing too, of which nothing more is said
                values[name] = (
                    Reader().dataclass(hint, {})  # type: ignore[arg-type]  # a class
                    if dataclasses.is_dataclass(hint)
                    else None
                )
            elif dataclasses.is_dataclass(hint):
                values[name] = self.dataclass(hint, rest.pop(name, {}), f"{key}.")  # type: ignore[arg-type]  # a class
            else:
                values[name] = self.take(rest, key, name, hint.__metadata__[0])
        if "options" in hints:
            values["options"] = rest
        else:
            self.unknown(rest, prefix, names)
        return kind(**values)

    def unknown(self, rest: Iterable[str], prefix: str, known: Iterable[str]) -> None:
        """Note every key that is not known."""
        known = [f"{prefix}{name}" for name in known]
        self._unread += [(f"{prefix}{name}", known) for name in rest]

    def all_problems(self, known: Iterable[str]) -> list[str]:
        """Every problem; an unknown key gets the nearest of its siblings or of all `known`."""
        everywhere = list(known)
        return self.problems + [
            f"{shorten(key)} is not a key{self._nearest(key, siblings, everywhere)}"
            for key, siblings in self._unread
        ]

    def _nearest(self, key: str, siblings: list[str], everywhere: list[str]) -> str:
        name = key.rpartition(".")[2]
        same = [known for known in everywhere if known.rpartition(".")[2] == name]
        if same:
            return f" (did you mean {same[0]}?)"
        return did_you_mean(key, siblings) or did_you_mean(key, everywhere)


def _demand(condition: bool, allowed: str) -> None:
    if not condition:
        raise ValueError(allowed)
