"""A user's folder of YAML as Hydra reads it, with bounds: somebody else may have written it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import Container, OmegaConf

from fashion_mnist.console import first_line_of

MOST_BYTES = 200_000  # of a file
# What repeats others may repeat what repeats others: nine lines can stand for a billion values.
MOST_VALUES = 20_000  # of a file, with its aliases written out
MOST_INCLUDED = 20  # in the defaults lists of all files that are read
MOST_INTERPOLATIONS = 12  # of a config


class UserFolder(FileConfigSource):
    """What `--config-dir` names; refuses what would fill the memory."""

    _num_included = 0

    @staticmethod
    def scheme() -> str:
        """What Hydra's search path knows it by."""
        return "user-folder"

    def load_config(self, config_path: str) -> ConfigResult:
        """The YAML of this name. Raises HydraException or YAMLError."""
        path = Path(self.path, self._normalize_file_name(config_path))
        try:
            _check_size(path)
            result = super().load_config(config_path)
        except HydraException:
            raise
        except RecursionError:
            raise ConfigLoadError(f"{path} is nested too deeply") from None
        except (OSError, ValueError) as error:
            raise ConfigLoadError(f"{path} cannot be read: {error}") from error
        self._num_included += _num_included(result.config)
        if self._num_included > MOST_INCLUDED:
            raise ConfigLoadError(f"{path} is one too many: see the lists of defaults")
        return result


SourcesRegistry.instance().register(UserFolder)


def plain_tree(path: Path) -> Any:
    """What a file of YAML holds, in plain values; interpolations stay as they are written.

    Raises:
        ValueError: it cannot be read, is no YAML, or too much of it.
    """
    try:
        _check_size(path)
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    except (HydraException, yaml.YAMLError, OSError, ValueError) as error:
        raise ValueError(f"{path.name} is no config: {first_line_of(error)}") from error


def num_interpolations(config: Container) -> int:
    """How often the texts of a config refer to something else."""
    return sum(text.count("${") for text in _texts(OmegaConf.to_container(config, resolve=False)))


def _texts(node: Any) -> Iterator[str]:
    match node:
        case str():
            yield node
        case dict() | list():
            for inner in node.values() if isinstance(node, dict) else node:
                yield from _texts(inner)


def _check_size(path: Path) -> None:
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise ConfigLoadError(f"{path} has more than {MOST_BYTES:,} bytes: that is no config")
    with path.open(encoding="utf-8") as file:
        node = yaml.compose(file, yaml.SafeLoader)
    if node is not None and _num_values(node, {}) > MOST_VALUES:
        raise ConfigLoadError(f"{path} has more than {MOST_VALUES:,} values, aliases written out")


def _num_values(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values there are with every alias written out; one within itself has no end."""
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = node.value if isinstance(node.value, list) else []
        inner = [each for pair in pairs for each in (pair if isinstance(pair, tuple) else [pair])]
        known[id(node)] = 1 + sum(_num_values(each, known) for each in inner)
    return known[id(node)]


def _num_included(config: Container) -> int:
    """How many files the defaults list of a file adds; an override replaces one."""
    node = OmegaConf.to_container(config, resolve=False)
    entries = node.get("defaults") if isinstance(node, dict) else None
    return sum(map(_num_files, entries)) if isinstance(entries, list) else 0


def _num_files(entry: Any) -> int:
    """How many files an entry of a defaults list adds."""
    if not isinstance(entry, dict):
        return int(entry != "_self_")
    added = [names for group, names in entry.items() if not str(group).startswith("override ")]
    return sum(len(names) if isinstance(names, list) else 1 for names in added)
