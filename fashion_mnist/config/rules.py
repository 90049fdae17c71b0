"""What no key of a config can say by itself: rules between keys, and options that torch judges."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from fashion_mnist.config.checks import Check, Reader, boolean, list_of, number, optional, whole
from fashion_mnist.config.errors import did_you_mean, shorten, shown
from fashion_mnist.data.fashion_mnist import training_size
from fashion_mnist.data.splits import check_sizes
from fashion_mnist.models.network import build_activation
from fashion_mnist.tracking.address import absolute_uri, demand_no_password, sqlite_path
from fashion_mnist.training.optim import optimizer_names, option_defaults, refusal, try_options
from fashion_mnist.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from fashion_mnist.config.schema import (
        Config,
        LossConfig,
        ModelConfig,
        OptimizerConfig,
        ScheduleConfig,
        TrainingConfig,
    )

_SHARE = number(minimum=0, maximum=1)
_SCHEDULE_OPTIONS: dict[str, Check] = {
    "final": _SHARE,
    "factor": number(above=0, maximum=1),
    "num_steps": whole(minimum=1),
    "initial": _SHARE,
    "peak": number(above=0, below=1),
}


def check_rules(config: Config, reader: Reader, overridden: Sequence[str]) -> None:
    """Note every broken rule as a problem. Fields that are wrong by themselves are None."""
    _model(config.model, overridden, reader.problems)
    _loss(config, reader)
    _optimizer(config.optimizer, reader, overridden)
    _schedule(config.schedule, reader)
    _training(config.training, reader.problems)
    _validation(config, reader.problems)
    _sizes(config, reader.problems)
    _tracking_uri(config.tracking.uri, reader.problems)
    _output_dir(config.output_dir, reader.problems)


def size_problems(config: Config, num_images: int) -> list[str]:
    """What of the sizes asked for does not fit a training set of that many images."""
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
    return problems


def _model(model: ModelConfig, overridden: Sequence[str], problems: list[str]) -> None:
    both = [key for key in ("model.width", "model.depth") if key in overridden]
    if model.hidden_sizes is not None and both:
        problems.append(
            f"{both[0]} must not be set beside model.hidden_sizes, which says all layers, got "
            f"both, and model.hidden_sizes={list(model.hidden_sizes)}"
        )
    if None not in (model.width, model.depth) or model.hidden_sizes is not None:
        _memory(model.sizes(), problems)
    if model.activation is None or model.activation_options is None:
        return
    try:
        build_activation(model.activation, model.activation_options)(torch.zeros(1))
        if model.activation_options.get("inplace"):
            raise ValueError("inplace would overwrite what the gradient needs")
    except (TypeError, ValueError, RuntimeError, AssertionError, OverflowError) as error:
        problems.append(
            f"model.activation_options must be arguments of {model.activation}, "
            f"got {shown(model.activation_options)}: {shorten(str(error))}"
        )


def _memory(sizes: Sequence[int], problems: list[str]) -> None:
    # weights, gradients and two moments in float32, of the hidden layers alone
    needed = 16 * sum(num_inputs * num_outputs for num_inputs, num_outputs in pairwise(sizes))
    available = psutil.virtual_memory().total
    if needed > available:
        problems.append(
            f"model.width and model.depth, or model.hidden_sizes, must fit this machine's "
            f"{available / 2**30:.0f} GiB of memory, got a model of {needed / 2**30:,.0f} GiB"
        )


def _loss(config: Config, reader: Reader) -> None:
    loss: LossConfig = config.loss
    known: dict[str, Check] = {}
    if loss.name == "cross_entropy":
        known["label_smoothing"] = number(minimum=0, below=1)
    _options(loss.options, "loss", known, known, reader)
    names, weights = config.data.class_names, loss.class_weights
    if names is not None and len(set(names)) < len(names):
        reader.problems.append(
            f"data.class_names must be different from each other, got {shown(names)}"
        )
    if weights is not None and names is not None and len(weights) != len(names):
        reader.problems.append(
            f"loss.class_weights must be {len(names)} numbers, one for each of data.class_names, "
            f"got {len(weights)}"
        )


def _schedule(schedule: ScheduleConfig, reader: Reader) -> None:
    if schedule.name is None:
        return
    names = list(inspect.signature(SCHEDULES[schedule.name]).parameters)[1:]
    known = {name: _SCHEDULE_OPTIONS[name] for name in names}
    _options(schedule.options, "schedule", known, (), reader)


def _optimizer(optimizer: OptimizerConfig, reader: Reader, overridden: Sequence[str]) -> None:
    name, problems = optimizer.name, reader.problems
    if name is None:
        return
    if name not in optimizer_names():
        reason = refusal(name)
        problems.append(
            f"optimizer.name must not be {name}: {reason}"
            if reason
            else f"optimizer.name must be one of {', '.join(optimizer_names())}, "
            f"got {shown(name)}{did_you_mean(name, optimizer_names())}"
        )
        return
    defaults = option_defaults(name)
    takes = ["lr", *sorted(defaults)]
    # the name alone leaves the options of the file that was chosen before
    advice = f"; write optimizer={name}" if "optimizer.name" in overridden else ""
    strange = sorted(optimizer.options.keys() - defaults.keys())
    for key in strange:
        problems.append(
            f"optimizer.{key} is not an option of {name}{did_you_mean(key, takes)}, "
            f"which takes {', '.join(takes)}{advice}"
        )
    before = len(problems)
    known = {key: _like(value) for key, value in defaults.items()}
    options = {key: value for key, value in optimizer.options.items() if key in known}
    _options(options, "optimizer", known, (), reader)
    optimizer.options.update(options)
    if len(problems) > before or optimizer.lr is None or strange:
        return
    try:
        try_options(name, {"lr": optimizer.lr, **options})
    except (ValueError, TypeError, RuntimeError) as error:
        problems.append(
            f"optimizer.name {name} does not take {shown(options)}: {shorten(str(error))}"
        )


def _options(
    options: dict[str, Any],
    group: str,
    known: Mapping[str, Check],
    required: Sequence[str] | Mapping[str, Check],
    reader: Reader,
) -> None:
    """Check options in place."""
    reader.unknown(options.keys() - known.keys(), f"{group}.", ["name", *known])
    for name in [name for name in known if name in options or name in required]:
        value = reader.take(options, f"{group}.{name}", name, known[name])
        options[name] = value


def _like(default: Any) -> Check:
    """The check for an option of an optimiser: of the type of torch's default; torch has ranges."""
    if isinstance(default, bool):
        return boolean
    if isinstance(default, tuple):
        entry = optional(number()) if None in default else number()
        return list_of(entry, minimum=len(default), maximum=len(default))
    return number()


def _training(training: TrainingConfig, problems: list[str]) -> None:
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not has.get(training.device, True):
        there = ", ".join(["auto", "cpu", *(name for name, is_there in has.items() if is_there)])
        problems.append(
            f"training.device must be one that this machine has ({there}), got '{training.device}'"
        )


def _validation(config: Config, problems: list[str]) -> None:
    metric = config.training.early_stopping.metric
    if metric is not None and config.data.validation_size == 0:
        problems.append(
            f"data.validation_size must be above 0 where training.early_stopping.metric is set, "
            f"got 0 with {metric}"
        )


def _sizes(config: Config, problems: list[str]) -> None:
    data = config.data
    num_images = training_size(data.name) if data.name is not None else None
    sizes = (data.validation_size, data.fold, config.training.batch_size)
    if num_images is not None and None not in sizes:
        problems.extend(size_problems(config, num_images))


def _tracking_uri(uri: str | None, problems: list[str]) -> None:
    if uri is None:
        return
    try:
        database = sqlite_path(absolute_uri(uri))
        demand_no_password(uri)
    except ValueError as error:
        problems.append(str(error))
    else:
        if database is not None:
            _writable("tracking.uri", database.parent, problems)


def _output_dir(folder: str | None, problems: list[str]) -> None:
    if folder is not None:
        _writable("output_dir", Path(folder), problems)


def _writable(key: str, folder: Path, problems: list[str]) -> None:
    place = folder.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
    except OSError as error:  # a name that is too long
        problems.append(
            f"{key} must be a folder's name: {error.strerror}, got {shorten(str(folder))}"
        )
        return
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        problems.append(
            f"{key} must be in a folder that can be written to, got {shorten(str(folder))} "
            f"in {shorten(str(place))}"
        )
