"""A tree of plain values read into a dataclass by pydantic, whose errors are put into words.

pydantic says which keys are wrong; what is allowed is said from the key's type, whole, for an
error of pydantic's names the violated bound alone.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from fashion_mnist.config.messages import did_you_mean, shorten, shown
from fashion_mnist.config.schema import MOST, InWords, OneOf, OtherThan

T = TypeVar("T")
_Path = tuple[str, ...]


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What a tree says. In `value` whatever is wrong is None."""

    value: T
    problems: list[str]
    unknown: list[tuple[str, list[str]]]  # dotted keys, each with those that are known beside it


def read(
    kind: Callable[..., T],
    tree: Any,
    prefix: str = "",
    *,
    typed: Mapping[str, str],
    deleted: Iterable[str] = (),
) -> Reading[T]:
    """Read a dataclass with pydantic, and put its errors into words: one for each key."""
    tree = _prepared(kind, tree)
    try:
        return Reading(_adapter(kind).validate_python(tree), [], [])
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
    wrong: dict[_Path, str] = {}
    for each in errors:
        wrong.setdefault(_path_of(kind, each["loc"]), each["type"])
    problems, unknown = [], list[tuple[str, list[str]]]()
    for path, error_type in wrong.items():
        key, parent = f"{prefix}{'.'.join(path)}", _type_of(kind, path[:-1])
        if error_type == "unexpected_keyword_argument":
            before = key.removesuffix(path[-1])
            unknown.append((key, [f"{before}{name}" for name in fields_of(parent)]))
        elif error_type != "missing" or _is_in(tree, path):
            problems.append(_must_be(key, _type_of(kind, path), _value_at(tree, path), typed))
    missing = [
        path
        for path, error_type in wrong.items()
        if error_type == "missing" and not _is_in(tree, path)  # else a list is too short
    ]
    problems = [*_missing(missing, prefix, set(deleted)), *problems]
    return Reading(_partial(kind, tree, wrong), problems, unknown)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def fields_of(kind: Any) -> dict[str, Any]:
    """The names and types of a dataclass's fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


@cache
def groups_of(kind: Any) -> dict[str, Any]:
    """Those of a dataclass's fields that are dataclasses themselves."""
    return {name: each for name, each in fields_of(kind).items() if dataclasses.is_dataclass(each)}


def _prepared(kind: Any, node: Any) -> Any:
    """A tree whose keys are text, with what a group does not list under its `options`."""
    if not isinstance(node, Mapping):
        return node
    own, fields = (
        {key if isinstance(key, str) else shown(key): value for key, value in node.items()},
        fields_of(kind),
    )
    if "options" in fields:
        options = {key: own.pop(key) for key in list(own) if key not in fields or key == "options"}
        own["options"] = options
    for name in groups_of(kind).keys() & own.keys():
        own[name] = _prepared(fields[name], own[name])
    return own


def _path_of(kind: Any, location: Sequence[int | str]) -> _Path:
    """The key that an error of pydantic's is about, without indices and tags of unions."""
    path: _Path = ()
    for part in location:
        path += (str(part),)
        kind = fields_of(kind).get(str(part))
        if not dataclasses.is_dataclass(kind):
            break
    return path


def _type_of(kind: Any, path: _Path) -> Any:
    for name in path:
        kind = fields_of(kind).get(name)
    return kind


def _is_in(tree: Any, path: _Path) -> bool:
    parent = _value_at(tree, path[:-1])
    return isinstance(parent, Mapping) and path[-1] in parent


def _value_at(tree: Any, path: _Path) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _partial(kind: Any, node: Any, wrong: Mapping[_Path, str], path: _Path = ()) -> Any:
    """A dataclass of what is not wrong, as it stands in the tree, with None for the rest."""
    node = node if isinstance(node, Mapping) else {}
    values: dict[str, Any] = {}
    own = dataclasses.fields(kind)
    defaults = {each.name for each in own if each.default is not dataclasses.MISSING}
    for name, inner in fields_of(kind).items():
        if dataclasses.is_dataclass(inner):
            values[name] = _partial(inner, node.get(name), wrong, (*path, name))
        elif (*path, name) in wrong:
            values[name] = None
        elif name in node or name not in defaults:
            values[name] = node.get(name)
    return kind(**values)


def _missing(paths: Sequence[_Path], prefix: str, deleted: set[str]) -> Iterator[str]:
    """What is not there; of several keys of a group, one message."""
    keys = [f"{prefix}{'.'.join(path)}" for path in paths]
    for key in [key for key in keys if key in deleted]:
        yield f"{key} is missing: ~{key} takes away what a run needs"
    groups: dict[str, list[str]] = {}
    for key in [key for key in keys if key not in deleted]:
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    for own in groups.values():
        if len(own) == 1:
            yield f"{own[0]} is missing"
        else:
            yield (
                f"{', '.join(own)} are missing: a YAML file of your own begins with the one that "
                "it changes, as in `defaults: [mlp, _self_]`"
            )


def _must_be(key: str, kind: Any, value: Any, typed: Mapping[str, str]) -> str:
    """What a key must be, and what came: a number as it was typed, where it was."""
    came, text, allowed = shown(value), typed.get(key), _allowed(kind, value)
    if text is not None and isinstance(value, bool | int | float):
        came = shorten(text)
        if "text" in allowed.split():
            came += f", which is no text without quotes: '{key}=\"{came}\"'"
    entries = value if isinstance(value, list) and "each entry text" in allowed else []
    if any(isinstance(each, bool | int | float) for each in entries):
        came += ', where text wants quotes: ["0", "1"]'
    return f"{shorten(key) or 'a config'} must be {allowed}, got {came}"


def _allowed(kind: Any, value: Any) -> str:
    """What a type allows, in words: `null or a whole number from 1 to 100000`.

    Args:
        value: what came instead, for the word that is nearest to it.
    """
    base, *metadata = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if get_origin(base) in (Union, UnionType):
        parts = sorted(get_args(base), key=lambda part: part is not NoneType)
        return " or ".join(_allowed(part, value) for part in parts)
    for each in metadata:
        if isinstance(each, OneOf):
            return one_of(each.words, value)
        if isinstance(each, InWords):
            return each.words
    if get_origin(base) is Literal:
        words = get_args(base)
        return str(words[0]) if len(words) == 1 else one_of(words, value)
    if get_origin(base) is tuple:
        return _list(get_args(base), metadata, value)
    if base is int:
        return _whole(_bounds(metadata), value)
    if base is float:
        return _number(_bounds(metadata))
    if base is str:
        longest = [
            f" of at most {each.max_length} characters"
            for each in metadata
            if isinstance(each, MaxLen)
        ]
        reserved = [each.words for each in metadata if isinstance(each, OtherThan)]
        if any(value in words for words in reserved):
            return f"text other than {' and '.join(reserved[0])}"
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "text in UTF-8"
        is_long = isinstance(value, str) and value.strip() and not value.isprintable()
        return "text on one line" if is_long else "".join(["text", *longest])
    return {bool: "true or false", NoneType: "null"}.get(base, "a mapping")


def _bounds(metadata: Iterable[Any]) -> dict[str, float]:
    """The bounds of a number: `ge`, `gt`, `le`, `lt`; of several, the last."""
    names = ("ge", "gt", "le", "lt")
    return {
        name: bound
        for each in metadata
        for name in names
        if (bound := getattr(each, name, None)) is not None
    }


def _whole(bounds: Mapping[str, float], value: Any) -> str:
    low, high = bounds.get("ge"), bounds.get("le", MOST)
    is_open = high == MOST and not (isinstance(value, int) and value > MOST)
    return f"a whole number, {low} or more" if is_open else f"a whole number from {low} to {high}"


def _number(bounds: Mapping[str, float]) -> str:
    if not bounds:
        return "a number"
    low = f"[{bounds['ge']}" if "ge" in bounds else f"({bounds.get('gt', '-inf')}"
    high = f"{bounds['le']}]" if "le" in bounds else f"{bounds.get('lt', 'inf')})"
    return f"a number in {low}, {high}"


def _list(kinds: Sequence[Any], metadata: Iterable[Any], value: Any) -> str:
    lengths = [f" of {each.min_length} or more" for each in metadata if isinstance(each, MinLen)]
    if Ellipsis not in kinds:
        lengths = [f" of {len(kinds)}"]
    entries = value if isinstance(value, list | tuple) else []
    strange = next((each for each in entries if isinstance(each, str)), None)
    return "".join(["a list", *lengths, f", each entry {_allowed(kinds[0], strange)}"])


def one_of(words: Iterable[str], value: Any) -> str:
    known = list(words)
    return f"one of {', '.join(known)}{did_you_mean(value, known)}"


def unknown_keys(
    keys: Iterable[tuple[str, Sequence[str]]], everywhere: Iterable[str]
) -> Iterator[str]:
    """Keys that are none, each with the one that may be meant: of its name, or spelled like it."""
    for key, siblings in keys:
        name, known = key.rpartition(".")[2], [each for each in everywhere if each != key]
        same = [each for each in known if each.rpartition(".")[2] == name]
        nearest = f" (did you mean {same[0]}?)" if same else ""
        nearest = nearest or did_you_mean(key, siblings) or did_you_mean(key, known)
        yield f"{shorten(key)} is not a key{nearest}"
