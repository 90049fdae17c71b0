"""A user's folder of YAML, which another person may have written: plain values, within bounds.

The user's files stand before the packaged ones, so that one of the same name replaces it. What
they may say of Hydra's own settings is judged after composition, in `compose`.
"""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any, Self

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf

from fashion_mnist.config.messages import first_line_of

MOST_BYTES = 200_000  # of a file
MOST_DEPTH = 50  # of lists and mappings in each other
MOST_INCLUDED = 20  # files in the defaults lists of all that a config is composed of


class UserFolder(FileConfigSource):
    """What `--config-dir` names, as a place where Hydra looks for files."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        self.loaded: set[str] = set()  # paths of files within the folder, of all compositions
        self.num_included = 0  # of the composition under way

    def __deepcopy__(self, _: Any) -> Self:
        """Hydra composes with a copy."""
        own = copy(self)
        own.num_included = 0
        return own

    @staticmethod
    def scheme() -> str:
        """What Hydra's search path knows it by."""
        return "user-folder"

    def load_config(self, config_path: str) -> ConfigResult:
        """The YAML of this name. Raises HydraException or YAMLError."""
        name = self._normalize_file_name(config_path)
        path = Path(self.path, name)
        try:
            check_text(path)
            result = super().load_config(config_path)
        except HydraException:
            raise
        except (OSError, ValueError) as error:
            raise ConfigLoadError(f"{path} cannot be read: {error}") from error
        included = list(_included(result.config))
        if Path(name).stem in included:
            raise ConfigLoadError(
                f"{path} names itself in its defaults list: a file of your own that begins with "
                "the packaged one of its name wants another name"
            )
        self.num_included += len(included)
        if self.num_included > MOST_INCLUDED:
            raise ConfigLoadError(f"{path} is one file too many: see the lists of defaults")
        self.loaded.add(name)
        return result


SourcesRegistry.instance().register(UserFolder)


def check_text(path: Path) -> None:
    """Look through a file before it is loaded.

    Raises:
        OSError, YAMLError: it cannot be read, or is no YAML.
        ConfigLoadError: it is too long or too deep, repeats parts of itself, or names a target.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ConfigLoadError(f"{path} has more than {MOST_BYTES:,} bytes: that is no config")
    depth = 0
    with path.open(encoding="utf-8") as file:
        for event in yaml.parse(file, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            text = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if depth > MOST_DEPTH:
                raise ConfigLoadError(f"{path} is nested too deeply")
            # nine lines of aliases can stand for a billion values
            if isinstance(event, yaml.AliasEvent) or text == "<<":
                raise ConfigLoadError(f"{path} must have no aliases (*name) and no merges (<<)")
            if text == "_target_":
                raise ConfigLoadError(f"{path} must not have _target_, for Hydra would call it")


def plain_tree(path: Path) -> Any:
    """What a file of YAML holds, in plain values; interpolations stay as they are written.

    Raises:
        ValueError: it cannot be read, is no YAML, or too much of it.
    """
    try:
        check_text(path)
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (HydraException, yaml.YAMLError, OSError, ValueError) as error:
        raise ValueError(f"{path.name} is no config: {first_line_of(error)}") from error


def _included(config: Any) -> Iterator[str]:
    """The files that the defaults list of a file adds; an override replaces one."""
    node = OmegaConf.to_container(config, resolve=False)
    entries = node.get("defaults") if isinstance(node, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            yield from [] if entry == "_self_" else [str(entry)]
            continue
        for group, names in entry.items():
            if not str(group).startswith("override "):
                yield from [
                    f"{group}/{name}" for name in (names if isinstance(names, list) else [names])
                ]
