"""Which of Hydra's own settings may be changed: none that names what is run or written.

Hydra imports and calls what its settings name: callbacks, the handlers and streams of logging,
plugins with their arguments. Launchers hand commands to a shell. None of it may come from a folder
of YAML, which somebody else may have written: there the choice of a launcher and plain values of
its options are free, and on the command line a little more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from fashion_mnist.config.errors import shorten, shown

# what the command line may say besides of launchers: overrides of values, and choices of files
_TYPED = re.compile(
    r"(\+{0,2}hydra\.(run\.dir|sweep\.dir|sweep\.subdir|verbose|sweeper\.[^=]+)|"
    r"hydra/(sweeper|job_logging|hydra_logging))="
)
_LAUNCHER_OPTION = re.compile(r"\+{0,2}hydra\.(launcher\.[^=]+)=")
_WORD = re.compile(r"[\w.,:@+-]*", re.ASCII)  # of which no shell makes anything else
_NO_TARGET = "hydra.{} must not have _target_ within its options: it would be called"
# Hydra imports a package that is named here before anybody can look at what it composes
_SEARCH_PATH = re.compile(r"\W*hydra\.searchpath\b")


def is_search_path(override: str) -> bool:
    """Whether an override names more places for YAML, which Hydra would import at once."""
    return _SEARCH_PATH.match(override) is not None


def own_words(overrides: Sequence[str]) -> tuple[str, ...]:
    """Those of the overrides that may change settings of Hydra's other than of launchers."""
    return tuple(text for text in overrides if _TYPED.match(text))


def hydra_problems(hydra: DictConfig, own: DictConfig, overrides: Sequence[str]) -> list[str]:
    """What must not be in Hydra's node of a composed config.

    Args:
        hydra: with everything that the user asks for.
        own: composed from the program's YAML and `own_words` alone.
        overrides: as typed.
    """
    settings, ours = _settings(hydra), _settings(own)
    typed = {match[1] for match in map(_LAUNCHER_OPTION.match, overrides) if match}
    problems = _launcher_problems(settings.pop("launcher"), typed)
    ours.pop("launcher")
    if _has_target(settings["sweeper"]):
        problems.append(_NO_TARGET.format("sweeper"))
    known, here = dict(_leaves(ours, "hydra")), dict(_leaves(settings, "hydra"))
    changed = [key for key in {**known, **here} if here.get(key) != known.get(key)]
    names = dict.fromkeys(".".join(key.split(".")[:3]) for key in changed)
    return problems + [
        f"{shorten(name)} must not be changed: it says what Hydra runs, or where it writes"
        for name in names
    ]


def _settings(hydra: DictConfig) -> dict[str, Any]:
    """The node as it is written, without what Hydra fills in, and we to show it a user's folder."""
    node: dict[str, Any] = OmegaConf.to_container(hydra, resolve=False)  # type: ignore[assignment]  # a mapping
    for name in ("runtime", "overrides", "searchpath"):
        del node[name]
    del node["job"]["override_dirname"]
    return node


def _launcher_problems(launcher: Any, typed: set[str]) -> list[str]:
    """A launcher that is installed, with its options as installed, as plain words, or as typed."""
    installed = _installed_launchers()
    target = launcher.get("_target_") if isinstance(launcher, Mapping) else None
    if not isinstance(target, str) or target not in installed:
        return [f"hydra.launcher._target_ must be of an installed launcher, got {shown(target)}"]
    if _has_target(launcher):
        return [_NO_TARGET.format("launcher")]
    known = dict(_leaves(installed[target], "launcher"))
    return [
        f"hydra.{shorten(key)} must be a plain word, or typed, got {shown(value)}"
        for key, value in _leaves(launcher, "launcher")
        if not (key in known and (value == known[key] or _is_word(value)))
        and not any(key == name or key.startswith(f"{name}.") for name in typed)
    ]


def _installed_launchers() -> dict[str, Any]:
    """The settings of every launcher that there is, by what Hydra makes it from."""
    store, group = ConfigStore.instance(), "hydra/launcher"
    nodes = [store.load(f"{group}/{name}").node for name in store.list(group)]
    settings = [OmegaConf.to_container(node, resolve=False) for node in nodes]
    return {node["_target_"]: node for node in settings if isinstance(node, Mapping)}


def _leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys and what is there; a list is one value."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _is_word(value: Any) -> bool:
    return value is None or _WORD.fullmatch(str(value)) is not None


def _has_target(node: Any) -> bool:
    """Whether something within the node, but not the node itself, would be called."""
    inner = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else []
    return any(
        _has_target(each) or (isinstance(each, Mapping) and "_target_" in each) for each in inner
    )
