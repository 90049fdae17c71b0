"""From a tree of plain values to a `Config`, or to every mistake in it.

pydantic says which keys are wrong; what is allowed is said from the key's type, whole, for an
error of pydantic's names the violated bound alone. Rules between keys run afterwards, also where
some keys are wrong: those are None then, and a rule leaves out what it cannot judge.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path
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

import psutil
import torch
from annotated_types import Ge, Interval, MaxLen, MinLen
from pydantic import TypeAdapter, ValidationError

from fashion_mnist.config.messages import ConfigError, did_you_mean, shorten, shown
from fashion_mnist.config.overrides import child_of
from fashion_mnist.config.schema import (
    MOST,
    Config,
    EarlyStoppingConfig,
    Flag,
    Group,
    InWords,
    LossConfig,
    ModelConfig,
    Number,
    OneOf,
    OptimizerConfig,
    OtherThan,
    ScheduleConfig,
    SweepConfig,
    Whole,
    flatten,
)
from fashion_mnist.config.store_uri import (
    DEFAULT_STORE,
    absolute_uri,
    demand_no_password,
    sqlite_path,
)
from fashion_mnist.data.fashion_mnist import training_size
from fashion_mnist.data.splits import check_sizes
from fashion_mnist.models.network import ACTIVATION_OPTIONS, ACTIVATIONS, build_activation
from fashion_mnist.training.losses import LOSSES
from fashion_mnist.training.optim import optimizer_names, option_defaults, refusal, try_options
from fashion_mnist.training.schedules import SCHEDULES

T = TypeVar("T")
_Path = tuple[str, ...]
STORE = "MLFLOW_TRACKING_URI"
# torch has the ranges of its optimizers' options in its code; of these they are the same for all
_OPTIMIZER_RANGES = dict.fromkeys(("weight_decay", "momentum", "eps", "lr_decay"), Ge(0))
ACTIVATION = "model.activation_options"
# what may be named in a group, beside torch's optimizers
_ENTRIES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "loss": LOSSES,
    "schedule": SCHEDULES,
    ACTIVATION: ACTIVATIONS,
}


def parse(
    tree: Any,
    *,
    typed: Mapping[str, str] | None = None,
    deleted: Iterable[str] = (),
    layers: Sequence[Any] = (),
) -> Config:
    """The config that a composed tree of plain values describes.

    Args:
        tree: nested dicts, lists and plain values; interpolations are resolved.
        typed: the dotted keys that the command line sets, with their values as typed.
        deleted: the dotted keys that the command line takes away.
        layers: the trees that it was merged of, each over those before, the command line's last;
            where they are not known, what would be ignored in it is not looked for.

    Raises:
        ConfigError: with every mistake there is.
    """
    typed = typed or {}
    reading = _read(Config, tree, typed=typed, deleted=deleted)
    config = _with_store(reading.value)
    parts = [
        _activation_options(config.model, typed),
        _function_options("loss", config.loss, typed),
        _optimizer_options(config.optimizer, typed),
        _function_options("schedule", config.schedule, typed),
    ]
    activation, loss, optimizer, schedule = (part.value for part in parts)
    used = replace(
        config,
        model=replace(config.model, activation_options=activation),
        loss=replace(config.loss, options=loss),
        optimizer=replace(config.optimizer, options=optimizer),
        schedule=replace(config.schedule, options=schedule),
    )
    unknown = [*reading.unknown, *(each for part in parts for each in part.unknown)]
    problems = [
        *reading.problems,
        *_model_problems(config.model, tree, layers),
        *(problem for part in parts for problem in part.problems),
        *_data_problems(config),
        *_schedule_problems(config.schedule),
        *_early_stopping_problems(config.training.early_stopping, tree, layers),
        *_device_problems(config),
        *_place_problems(config),
        *(_unknown(unknown, flatten(used)) if unknown else ()),
    ]
    if problems:
        raise ConfigError(problems)
    if used.model.hidden_sizes is None:
        return used
    return replace(used, model=replace(used.model, width=None, depth=None))


def parse_sweep(node: Any, *, typed: Mapping[str, str]) -> SweepConfig:
    """The settings of a sweep, from the node `sweep`. Raises ConfigError with every mistake."""
    reading = _read(SweepConfig, node, "sweep.", typed=typed)
    known = [f"sweep.{name}" for name in _fields(SweepConfig)]
    problems = [*reading.problems, *_unknown(reading.unknown, known)]
    if problems:
        raise ConfigError(problems)
    return reading.value


# ---- each key by itself


@dataclass(frozen=True)
class _Reading(Generic[T]):
    """What a tree says. In `value` whatever is wrong is None."""

    value: T
    problems: list[str]
    unknown: list[tuple[str, list[str]]]  # dotted keys, each with those that are known beside it


def _read(
    kind: Callable[..., T],
    tree: Any,
    prefix: str = "",
    *,
    typed: Mapping[str, str],
    deleted: Iterable[str] = (),
) -> _Reading[T]:
    """Read a dataclass with pydantic, and put its errors into words: one for each key."""
    tree = _prepared(kind, tree)
    try:
        return _Reading(_adapter(kind).validate_python(tree), [], [])
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
            unknown.append((key, [f"{before}{name}" for name in _fields(parent)]))
        elif error_type != "missing" or _is_in(tree, path):
            problems.append(_must_be(key, _type_of(kind, path), _value_at(tree, path), typed))
    missing = [
        path
        for path, error_type in wrong.items()
        if error_type == "missing" and not _is_in(tree, path)  # else a list is too short
    ]
    problems = [*_missing(missing, prefix, set(deleted)), *problems]
    return _Reading(_partial(kind, tree, wrong), problems, unknown)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """The names and types of a dataclass's fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


@cache
def _groups(kind: Any) -> dict[str, Any]:
    """Those of a dataclass's fields that are dataclasses themselves."""
    return {name: each for name, each in _fields(kind).items() if dataclasses.is_dataclass(each)}


def _prepared(kind: Any, node: Any) -> Any:
    """A tree whose keys are text, with what a group does not list under its `options`."""
    if not isinstance(node, Mapping):
        return node
    own, fields = (
        {key if isinstance(key, str) else shown(key): value for key, value in node.items()},
        _fields(kind),
    )
    if "options" in fields:
        options = {key: own.pop(key) for key in list(own) if key not in fields or key == "options"}
        own["options"] = options
    for name in _groups(kind).keys() & own.keys():
        own[name] = _prepared(fields[name], own[name])
    return own


def _path_of(kind: Any, location: Sequence[int | str]) -> _Path:
    """The key that an error of pydantic's is about, without indices and tags of unions."""
    path: _Path = ()
    for part in location:
        path += (str(part),)
        kind = _fields(kind).get(str(part))
        if not dataclasses.is_dataclass(kind):
            break
    return path


def _type_of(kind: Any, path: _Path) -> Any:
    for name in path:
        kind = _fields(kind).get(name)
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
    for name, inner in _fields(kind).items():
        if dataclasses.is_dataclass(inner):
            values[name] = _partial(inner, node.get(name), wrong, (*path, name))
        elif (*path, name) in wrong:
            values[name] = None
        elif name in node or name not in defaults:
            values[name] = node.get(name)
    return kind(**values)


# ---- the wording


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
            return _one_of(each.words, value)
        if isinstance(each, InWords):
            return each.words
    if get_origin(base) is Literal:
        words = get_args(base)
        return str(words[0]) if len(words) == 1 else _one_of(words, value)
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


def _one_of(words: Iterable[str], value: Any) -> str:
    known = list(words)
    return f"one of {', '.join(known)}{did_you_mean(value, known)}"


def _unknown(keys: Iterable[tuple[str, Sequence[str]]], everywhere: Iterable[str]) -> Iterator[str]:
    """Keys that are none, each with the one that may be meant: of its name, or spelled like it."""
    for key, siblings in keys:
        name, known = key.rpartition(".")[2], [each for each in everywhere if each != key]
        same = [each for each in known if each.rpartition(".")[2] == name]
        nearest = f" (did you mean {same[0]}?)" if same else ""
        nearest = nearest or did_you_mean(key, siblings) or did_you_mean(key, known)
        yield f"{shorten(key)} is not a key{nearest}"


# ---- options, whose types are a function's or torch's


_Options = _Reading[dict[str, Any]]  # with defaults for what is not set


def _function_options(
    group: str, config: LossConfig | ScheduleConfig, typed: Mapping[str, str]
) -> _Options:
    """Options of an entry of a table: the keyword-only parameters of its function."""
    table = _ENTRIES[group]
    if config.name not in table or config.options is None:
        return _Reading({}, [], [])
    kind = _kind_of(group, config.name)
    known, problems, unknown = _fields(kind), [], []
    for key in config.options.keys() - known.keys():
        others = [name for name in table if key in _fields(_kind_of(group, name))]
        if others:
            have = "has" if len(others) == 1 else "have"
            named = ", ".join(f"{group}={other}" for other in others)
            problems.append(f"{group}.{key} is not a key of {config.name}: {named} {have} it")
        else:
            beside = [f"{group}.{name}" for name in ("name", *known)]
            unknown.append((f"{group}.{key}", beside))
    own = _own_options(kind, group, config.options, typed)
    return _Reading(own.value, [*problems, *own.problems], unknown)


def _optimizer_options(optimizer: OptimizerConfig, typed: Mapping[str, str]) -> _Options:
    """Options of torch's optimiser, of the types of torch's defaults; torch judges them too."""
    name, given = optimizer.name, optimizer.options
    if name is None or given is None:
        return _Reading({}, [], [])
    if name not in optimizer_names():
        reason = refusal(name)
        allowed = f"must not be {name}: {reason}"
        if reason is None:
            allowed = f"must be {_one_of(optimizer_names(), name)}, got {shown(name)}"
        return _Reading({}, [f"optimizer.name {allowed}"], [])
    kind = _kind_of("optimizer", name)
    takes = ["lr", *sorted(_fields(kind))]
    # the name alone leaves the options of the file that was chosen before
    advice = f"; write optimizer={name}" if "optimizer.name" in typed else ""
    strange = [
        f"optimizer.{key} is not an option of {name}{did_you_mean(key, takes)}, "
        f"which takes {', '.join(takes)}{advice}"
        for key in sorted(given.keys() - _fields(kind).keys())
    ]
    own = _own_options(kind, "optimizer", given, typed)
    problems = [*strange, *own.problems]
    if not problems and optimizer.lr is not None:
        try:
            try_options(name, {"lr": optimizer.lr, **own.value})
        except (ValueError, TypeError, RuntimeError) as error:
            problems.append(
                f"optimizer.name {name} does not take {shown(given)}: {shorten(str(error))}"
            )
    return _Reading(own.value, problems, [])


def _activation_options(model: ModelConfig, typed: Mapping[str, str]) -> _Options:
    """Options of an activation, of the ranges in its table; torch judges them together."""
    name, given, group = model.activation, model.activation_options, ACTIVATION
    if name is None or not given:
        return _Reading({}, [], [])
    kind = _kind_of(group, name)
    strange = [
        f"{group}.{shorten(key)} is not an option of {name}{did_you_mean(key, _fields(kind))}, "
        f"which takes {', '.join(_fields(kind)) or 'none'}"
        for key in sorted(given.keys() - _fields(kind).keys())
    ]
    own = _own_options(kind, group, given, typed)
    problems = [*strange, *own.problems]
    options = {key: own.value[key] for key in given if key in own.value}
    if not problems:
        try:
            build_activation(name, options)(torch.zeros(2))
        except (AssertionError, OverflowError, RuntimeError, ValueError) as error:
            problems.append(f"{group} {shown(given)} are not for {name}: {shorten(str(error))}")
    return _Reading(options, problems, [])


def _own_options(
    kind: Any, group: str, options: Mapping[str, Any], typed: Mapping[str, str]
) -> _Options:
    known = {key: value for key, value in options.items() if key in _fields(kind)}
    reading = _read(kind, known, f"{group}.", typed=typed)
    value = {name: getattr(reading.value, name) for name in _fields(kind)}
    return _Reading(value, reading.problems, [])


@cache
def is_whole(key: str) -> bool | None:
    """Whether a key's numbers are whole; None where it takes none, both kinds, or is not known."""
    group, _, name = key.rpartition(".")
    kinds: list[Any] = [Config]
    for part in group.split(".") if group else ():
        kinds = [_groups(kind)[part] for kind in kinds if part in _groups(kind)]
    entries = optimizer_names() if group == "optimizer" else _ENTRIES.get(group, ())
    kinds += [_kind_of(group, entry) for entry in entries]
    types = [_fields(kind)[name] for kind in kinds if name in _fields(kind)]
    bases = {base for each in types for base in _bases(each)} & {int, float}
    return int in bases if len(bases) == 1 else None


def _bases(kind: Any) -> Iterator[Any]:
    """The plain types that a type allows."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    is_union = get_origin(base) in (Union, UnionType)
    yield from (each for part in get_args(base) for each in _bases(part)) if is_union else (base,)


@cache
def _kind_of(group: str, name: str) -> Any:
    """A dataclass of the options of an entry: their types and ranges, and their defaults."""
    options: dict[str, tuple[Any, Any]] = {}
    if group == "optimizer":  # what torch takes beside `lr`
        for key, default in option_defaults(name).items():
            options[key] = (_like(key, default), _as_float(default))
    elif group == ACTIVATION:
        defaults = inspect.signature(ACTIVATIONS[name]).parameters
        for key, allowed in ACTIVATION_OPTIONS.get(name, {}).items():
            default = defaults[key].default
            if isinstance(allowed, tuple):
                options[key] = (Annotated[str, OneOf(allowed)], default)
            else:
                options[key] = (Annotated[Number, Interval(**allowed)], default)
    else:  # the keyword-only parameters of a function
        for each in inspect.signature(_ENTRIES[group][name], eval_str=True).parameters.values():
            if each.kind is each.KEYWORD_ONLY:
                base, *ranges = get_args(each.annotation) or [each.annotation]
                default = dataclasses.MISSING if each.default is each.empty else each.default
                options[each.name] = (
                    Annotated[(Whole if base is int else Number, *ranges)],
                    default,
                )
    fields = [
        (key, hint, dataclasses.field(default=default)) for key, (hint, default) in options.items()
    ]
    return dataclasses.make_dataclass("Options", fields, bases=(Group,), frozen=True, kw_only=True)


def _like(key: str, default: Any) -> Any:
    """The type of an option of that default."""
    if isinstance(default, bool):
        return Flag
    if isinstance(default, tuple):
        entry = Number | None if None in default else Number
        return tuple[(entry,) * len(default)]  # type: ignore[misc]  # a type made at run time
    ranges = [_OPTIMIZER_RANGES[key]] if key in _OPTIMIZER_RANGES else []
    return Annotated[(Number, *ranges)] if ranges else Number


def _as_float(default: Any) -> Any:
    """A default as it is recorded: 0 and 0.0 are one value."""
    if isinstance(default, tuple):
        return tuple(map(_as_float, default))
    is_whole = isinstance(default, int) and not isinstance(default, bool)
    return float(default) if is_whole else default


# ---- rules between keys


def size_problems(config: Config, num_images: int, num_test_images: int | None = None) -> list[str]:
    """What is asked for that does not fit a training and a test set of so many images.

    Args:
        num_test_images: None where that is not known yet.
    """
    sizes = config.data
    problems = check_sizes(
        num_images,
        validation_size=sizes.validation_size,
        fold=sizes.fold,
        train_size=sizes.train_size,
        batch_size=config.training.batch_size,
    )
    num_examples = sizes.train_size or num_images - sizes.validation_size
    last = num_examples % config.training.batch_size
    is_batch = config.model.normalization == "batch" and bool(config.model.sizes())
    if not problems and is_batch and 1 in (last, config.training.batch_size):
        problems.append(
            f"training.batch_size must not leave a last batch of 1 image, for which batch "
            f"normalization has no variance, got {config.training.batch_size} of {num_examples}"
        )
    if num_test_images == 0 and config.evaluation.test != "never":
        problems.append(
            "evaluation.test must be never where the test set is empty, "
            f"got {config.evaluation.test}"
        )
    return problems


def _last_layer(layers: Sequence[Any], key: str) -> int:
    """The number of the last layer that says something of a key; -1 where there is none."""
    *path, name = key.split(".")
    nodes = [reduce(child_of, path, layer) for layer in layers]
    own = [k for k, node in enumerate(nodes) if isinstance(node, Mapping) and name in node]
    return max(own, default=-1)


def _model_problems(model: ModelConfig, tree: Any, layers: Sequence[Any]) -> Iterator[str]:
    given = tree.get("model") if isinstance(tree, Mapping) else None
    if isinstance(given, Mapping) and given.get("hidden_sizes", "") is None:
        for key in ("width", "depth"):
            if given.get(key, "") is None:
                yield f"model.{key} must be a number where model.hidden_sizes is null, got null"
    sizes_layer = max(0, _last_layer(layers, "model.hidden_sizes"))
    both = {
        f"model.{key}": value
        for key, value in (("width", model.width), ("depth", model.depth))
        if value is not None and _last_layer(layers, f"model.{key}") >= sizes_layer
    }
    if model.hidden_sizes is not None and both:
        yield (
            f"{' and '.join(both)} must not be set beside model.hidden_sizes, which says all "
            f"layers, got {' and '.join(map(str, both.values()))} beside "
            f"{list(model.hidden_sizes)}; model.hidden_sizes=null lets width and depth count"
        )
    if model.hidden_sizes is None and None in (model.width, model.depth):
        return
    # weights, gradients and two moments in float32, of the hidden layers alone
    sizes = model.sizes()
    needed = 16 * sum(num_inputs * num_outputs for num_inputs, num_outputs in pairwise(sizes))
    available = _memory_of_machine()
    if needed > available:
        yield (
            f"model.width and model.depth, or model.hidden_sizes, must fit this machine's "
            f"{available / 2**30:.0f} GiB of memory, got a model of {needed / 2**30:,.0f} GiB"
        )


@cache
def _memory_of_machine() -> int:
    """Bytes."""
    return psutil.virtual_memory().total


def _early_stopping_problems(
    stopping: EarlyStoppingConfig, tree: Any, layers: Sequence[Any]
) -> Iterator[str]:
    own = "training.early_stopping"
    is_later = _last_layer(layers, f"{own}.patience") > _last_layer(layers, f"{own}.metric")
    is_off = reduce(child_of, f"{own}.metric".split("."), tree) is None
    if is_later and is_off and stopping.patience is not None:
        yield (
            f"{own}.patience must not be set where {own}.metric is null, for nothing stops early "
            f"then, got {stopping.patience}"
        )


def _schedule_problems(schedule: ScheduleConfig) -> Iterator[str]:
    if schedule.name == "one_cycle" and schedule.warmup:
        yield (
            "schedule.warmup must be 0 where schedule.name is one_cycle, which has a rise of its "
            f"own, got {schedule.warmup}"
        )


def _data_problems(config: Config) -> Iterator[str]:
    data, weights = config.data, config.loss.class_weights
    names, metric = data.class_names, config.training.early_stopping.metric
    if names is not None and len(set(names)) < len(names):
        yield f"data.class_names must be different from each other, got {shown(names)}"
    if weights is not None and names is not None and len(weights) != len(names):
        yield (
            f"loss.class_weights must be {len(names)} numbers, one for each of data.class_names, "
            f"got {len(weights)}"
        )
    if metric is not None and data.validation_size == 0:
        yield (
            "data.validation_size must be above 0 where training.early_stopping.metric is set, "
            f"got 0 with {metric}"
        )
    if config.evaluation.tta and data.augment.flip == data.augment.shift == 0:
        yield (
            "evaluation.tta must be false where data.augment.flip and data.augment.shift are 0: it "
            "averages over copies of an image that are altered as in training, got true"
        )
    num_images = training_size(data.name) if data.name is not None else None
    sizes = (data.validation_size, data.fold, config.training.batch_size)
    if num_images is not None and None not in sizes:
        yield from size_problems(config, num_images)


def _device_problems(config: Config) -> Iterator[str]:
    device = config.training.device
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not has.get(device, True):
        there = ", ".join(["auto", "cpu", *(name for name, is_there in has.items() if is_there)])
        yield (f"training.device must be one that this machine has ({there}), got '{device}'")


def _with_store(config: Config) -> Config:
    """With the store that tracking.uri=auto means; an empty variable is none."""
    if config.tracking.uri != "auto":
        return config
    uri = os.environ.get(STORE) or DEFAULT_STORE
    return replace(config, tracking=replace(config.tracking, uri=uri))


def _place_problems(config: Config) -> Iterator[str]:
    uri = config.tracking.uri
    if uri is not None:
        try:
            database = sqlite_path(absolute_uri(uri))
            demand_no_password(uri)
        except ValueError as error:
            yield str(error)
        else:
            if database is not None:
                yield from _writable("tracking.uri", database.parent)
    if config.output_dir is not None:
        yield from _writable("output_dir", Path(config.output_dir))


def _writable(key: str, folder: Path) -> Iterator[str]:
    place = folder.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
    except OSError as error:  # a name that is too long
        yield f"{key} must be a folder's name: {error.strerror}, got {shorten(str(folder))}"
        return
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield (
            f"{key} must be in a folder that can be written to, got {shorten(str(folder))} "
            f"in {shorten(str(place))}"
        )
