"""Composed configs as plain trees, and the values of a sweep's job set on what all jobs share."""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from types import NoneType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from fashion_mnist.config.errors import shorten
from fashion_mnist.config.overrides import Word
from fashion_mnist.config.user_files import MOST_INTERPOLATIONS
from fashion_mnist.console import first_line_of

TOO_MANY = f"a config must have at most {MOST_INTERPOLATIONS} interpolations (${{key}})"
_PLAIN = (bool, int, float, str, NoneType)
_ENVIRONMENT = re.compile(r"\$\{oc\.env:[^${}]*\}")  # says the same whatever a job's values are


@dataclass(frozen=True)
class Base:
    """What jobs have in common, composed."""

    node: DictConfig
    # the same as plain values; None where a job's value may show elsewhere too
    tree: dict[str, Any] | None


def plain(config: DictConfig) -> Any:
    """Nested dicts, lists and plain values, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


def first_line(error: Exception) -> str:
    """What an error of Hydra's says, without its advice; of broken YAML, where it is broken."""
    if isinstance(error, RecursionError):
        return "the config is nested too deeply, or refers to itself"
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, is no YAML: {error.problem}"
    if isinstance(error, ReaderError):
        return f"{error.name} is no YAML: {error.reason}"
    head, _, rest = str(error).strip().partition("\n")
    reason = rest.strip().partition("\n")[0]
    return f"{head} {reason}" if head.endswith(":") else first_line_of(error)


def base_of(node: DictConfig) -> Base:
    """With its plain tree, unless an interpolation leads from one key to another."""
    try:
        raw = OmegaConf.to_yaml(node, resolve=False)
        if "${" in _ENVIRONMENT.sub("", raw):
            return Base(node, None)
        return Base(node, plain(node))
    # a job may have a value in its place; a number may be longer than Python writes
    except (OmegaConfBaseException, RecursionError, ValueError):
        return Base(node, None)


def set_values(base: Base | list[str], values: Sequence[Word]) -> Any:
    """A plain tree with the values set on a copy of the base, as Hydra does; or why it cannot."""
    if isinstance(base, list):
        return base
    if sum((word.text or "").count("${") for word in values) > MOST_INTERPOLATIONS:
        return [TOO_MANY]
    known = _set_plainly(base.tree, values)
    if known is not None:
        return known
    node = deepcopy(base.node)
    for word in values:
        assert word.override is not None
        try:
            key, value = word.override.key_or_group, word.override.value()
            OmegaConf.update(node, key, value, merge=True, force_add=True)
        except (OmegaConfBaseException, RecursionError):
            return [f"Error merging override {shorten(word.text or '')}"]  # as Hydra says it
    try:
        return plain(node)
    except (OmegaConfBaseException, RecursionError) as error:
        return [first_line(error)]


def _set_plainly(tree: dict[str, Any] | None, values: Sequence[Word]) -> dict[str, Any] | None:
    """A copy of the tree with plain values in the place of plain values; None for all else.

    This is what most jobs of a sweep are, and a hundredth of OmegaConf's time for them.
    """
    changed = deepcopy(tree)
    for word in values:
        assert word.override is not None
        *path, name = word.override.key_or_group.split(".")
        node: Any = changed
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or not isinstance(node.get(name, ()), _PLAIN):
            return None
        value = word.override.value()
        if not isinstance(value, _PLAIN) or "${" in str(value):
            return None
        node[name] = value
    return changed
