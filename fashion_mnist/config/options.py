"""Options of a loss, a schedule, an optimiser and an activation: checked by what takes them.

Their types and ranges stand where those are defined; of torch's optimisers it is torch that says.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import torch
from annotated_types import Ge, Interval

from fashion_mnist.config.messages import did_you_mean, shorten, shown
from fashion_mnist.config.reading import Reading, fields_of, groups_of, one_of, read
from fashion_mnist.config.schema import (
    Config,
    Flag,
    Group,
    LossConfig,
    ModelConfig,
    Number,
    OneOf,
    OptimizerConfig,
    ScheduleConfig,
    Whole,
)
from fashion_mnist.models.network import ACTIVATION_OPTIONS, ACTIVATIONS, build_activation
from fashion_mnist.training.losses import LOSSES
from fashion_mnist.training.optim import optimizer_names, option_defaults, refusal, try_options
from fashion_mnist.training.schedules import SCHEDULES

# torch has the ranges of its optimizers' options in its code; of these they are the same for all
_OPTIMIZER_RANGES = dict.fromkeys(("weight_decay", "momentum", "eps", "lr_decay"), Ge(0))
ACTIVATION = "model.activation_options"
# what may be named in a group, beside torch's optimizers
_ENTRIES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "loss": LOSSES,
    "schedule": SCHEDULES,
    ACTIVATION: ACTIVATIONS,
}
_Options = Reading[dict[str, Any]]  # with defaults for what is not set


def function_options(
    group: str, config: LossConfig | ScheduleConfig, typed: Mapping[str, str]
) -> _Options:
    """Options of an entry of a table: the keyword-only parameters of its function."""
    table = _ENTRIES[group]
    if config.name not in table or config.options is None:
        return Reading({}, [], [])
    kind = _kind_of(group, config.name)
    known, problems, unknown = fields_of(kind), [], []
    for key in config.options.keys() - known.keys():
        others = [name for name in table if key in fields_of(_kind_of(group, name))]
        if others:
            have = "has" if len(others) == 1 else "have"
            named = ", ".join(f"{group}={other}" for other in others)
            problems.append(f"{group}.{key} is not a key of {config.name}: {named} {have} it")
        else:
            beside = [f"{group}.{name}" for name in ("name", *known)]
            unknown.append((f"{group}.{key}", beside))
    own = _own_options(kind, group, config.options, typed)
    return Reading(own.value, [*problems, *own.problems], unknown)


def optimizer_options(optimizer: OptimizerConfig, typed: Mapping[str, str]) -> _Options:
    """Options of torch's optimiser, of the types of torch's defaults; torch judges them too."""
    name, given = optimizer.name, optimizer.options
    if name is None or given is None:
        return Reading({}, [], [])
    if name not in optimizer_names():
        reason = refusal(name)
        allowed = f"must not be {name}: {reason}"
        if reason is None:
            allowed = f"must be {one_of(optimizer_names(), name)}, got {shown(name)}"
        return Reading({}, [f"optimizer.name {allowed}"], [])
    kind = _kind_of("optimizer", name)
    takes = ["lr", *sorted(fields_of(kind))]
    # the name alone leaves the options of the file that was chosen before
    advice = f"; write optimizer={name}" if "optimizer.name" in typed else ""
    own = _own_options(kind, "optimizer", given, typed)
    problems = [*_not_options("optimizer", name, kind, given, takes, advice), *own.problems]
    if not problems and optimizer.lr is not None:
        try:
            try_options(name, {"lr": optimizer.lr, **own.value})
        except (ValueError, TypeError, RuntimeError) as error:
            problems.append(
                f"optimizer.name {name} does not take {shown(given)}: {shorten(str(error))}"
            )
    return Reading(own.value, problems, [])


def activation_options(model: ModelConfig, typed: Mapping[str, str]) -> _Options:
    """Options of an activation, of the ranges in its table; torch judges them together."""
    name, given, group = model.activation, model.activation_options, ACTIVATION
    if name is None or not given:
        return Reading({}, [], [])
    kind = _kind_of(group, name)
    own = _own_options(kind, group, given, typed)
    problems = [*_not_options(group, name, kind, given, list(fields_of(kind))), *own.problems]
    options = {key: own.value[key] for key in given if key in own.value}
    if not problems:
        try:
            build_activation(name, options)(torch.zeros(2))
        except (AssertionError, OverflowError, RuntimeError, ValueError) as error:
            problems.append(f"{group} {shown(given)} are not for {name}: {shorten(str(error))}")
    return Reading(options, problems, [])


def _not_options(
    group: str, name: str, kind: Any, given: Iterable[str], takes: Sequence[str], advice: str = ""
) -> list[str]:
    """What is given that an entry does not take."""
    return [
        f"{group}.{shorten(key)} is not an option of {name}{did_you_mean(key, takes)}, "
        f"which takes {', '.join(takes) or 'none'}{advice}"
        for key in sorted(set(given) - fields_of(kind).keys())
    ]


def _own_options(
    kind: Any, group: str, options: Mapping[str, Any], typed: Mapping[str, str]
) -> _Options:
    known = {key: value for key, value in options.items() if key in fields_of(kind)}
    reading = read(kind, known, f"{group}.", typed=typed)
    value = {name: getattr(reading.value, name) for name in fields_of(kind)}
    return Reading(value, reading.problems, [])


@cache
def is_whole(key: str) -> bool | None:
    """Whether a key's numbers are whole; None where it takes none, both kinds, or is not known."""
    group, _, name = key.rpartition(".")
    kinds: list[Any] = [Config]
    for part in group.split(".") if group else ():
        kinds = [groups_of(kind)[part] for kind in kinds if part in groups_of(kind)]
    entries = optimizer_names() if group == "optimizer" else _ENTRIES.get(group, ())
    kinds += [_kind_of(group, entry) for entry in entries]
    types = [fields_of(kind)[name] for kind in kinds if name in fields_of(kind)]
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
