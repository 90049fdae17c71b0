"""Rules between keys of a config, and what of it must fit the data and this machine.

They run after each key was read by itself, also where some are wrong: those are None then, and a
rule leaves out what it cannot judge.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import torch

from fashion_mnist.config.messages import shorten, shown
from fashion_mnist.config.overrides import child_of
from fashion_mnist.config.schema import Config, EarlyStoppingConfig, ModelConfig, ScheduleConfig
from fashion_mnist.config.store_uri import absolute_uri, demand_no_password, sqlite_path
from fashion_mnist.data.fashion_mnist import training_size
from fashion_mnist.data.splits import check_sizes


def rule_problems(config: Config, tree: Any, layers: Sequence[Any]) -> Iterator[str]:
    """What is wrong with keys together.

    Args:
        config: what was read; None for what is wrong by itself.
        tree: that it was read from.
        layers: the trees that it was merged of, as in `parse`.
    """
    yield from _model_problems(config.model, tree, layers)
    yield from _data_problems(config)
    yield from _schedule_problems(config.schedule)
    yield from _early_stopping_problems(config.training.early_stopping, tree, layers)
    yield from _device_problems(config)
    yield from _place_problems(config)


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
    sizes = model.sizes()
    if not sizes:
        layer = max(sizes_layer, _last_layer(layers, "model.depth"))
        yield from _linear_problems(model, layer, layers)
    # weights, gradients and two moments in float32, of the hidden layers alone
    needed = 16 * sum(num_inputs * num_outputs for num_inputs, num_outputs in pairwise(sizes))
    available = _memory_of_machine()
    if needed > available:
        yield (
            f"model.width and model.depth, or model.hidden_sizes, must fit this machine's "
            f"{available / 2**30:.0f} GiB of memory, got a model of {needed / 2**30:,.0f} GiB"
        )


def _linear_problems(model: ModelConfig, layer: int, layers: Sequence[Any]) -> Iterator[str]:
    """Of a model without hidden layers: what would act in these, and was set to.

    Args:
        layer: the last that says how many there are; what one before it says was for others.
    """
    off = {"dropout": 0.0, "normalization": "none", "residual": False}
    for name, value in off.items():
        given = getattr(model, name)
        if given not in (value, None) and _last_layer(layers, f"model.{name}") >= layer:
            yield (
                f"model.{name} must be {shown(value)} where there is no hidden layer, got "
                f"{shown(given)} (in a sweep, sweep.when says for which models an axis counts)"
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
            "averages over copies of an image, mirrored or moved where training does so, got true"
        )
    is_scored = data.validation_size != 0 or config.evaluation.test != "never"
    if config.evaluation.tta and not is_scored:
        yield (
            "evaluation.tta must be false where nothing is scored, with data.validation_size=0 and "
            "evaluation.test=never, got true"
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
