"""From a tree of plain values to a `Config`, or to every mistake in it.

Each key by itself (`reading`), options by what takes them (`options`), then keys together
(`rules`).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fashion_mnist.config.messages import ConfigError
from fashion_mnist.config.options import activation_options, function_options, optimizer_options
from fashion_mnist.config.reading import fields_of, read, unknown_keys
from fashion_mnist.config.rules import rule_problems
from fashion_mnist.config.schema import Config, SweepConfig, flatten
from fashion_mnist.config.store_uri import DEFAULT_STORE

STORE = "MLFLOW_TRACKING_URI"


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
    reading = read(Config, tree, typed=typed, deleted=deleted)
    config = _with_store(reading.value)
    parts = [
        activation_options(config.model, typed),
        function_options("loss", config.loss, typed),
        optimizer_options(config.optimizer, typed),
        function_options("schedule", config.schedule, typed),
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
        *(problem for part in parts for problem in part.problems),
        *rule_problems(config, tree, layers),
        *(unknown_keys(unknown, flatten(used)) if unknown else ()),
    ]
    if problems:
        raise ConfigError(problems)
    if used.model.hidden_sizes is None:
        return used
    return replace(used, model=replace(used.model, width=None, depth=None))


def parse_sweep(node: Any, *, typed: Mapping[str, str]) -> SweepConfig:
    """The settings of a sweep, from the node `sweep`. Raises ConfigError with every mistake."""
    reading = read(SweepConfig, node, "sweep.", typed=typed)
    known = [f"sweep.{name}" for name in fields_of(SweepConfig)]
    problems = [*reading.problems, *unknown_keys(reading.unknown, known)]
    if problems:
        raise ConfigError(problems)
    return reading.value


def _with_store(config: Config) -> Config:
    """With the store that tracking.uri=auto means; an empty variable is none."""
    if config.tracking.uri != "auto":
        return config
    uri = os.environ.get(STORE) or DEFAULT_STORE
    return replace(config, tracking=replace(config.tracking, uri=uri))
