"""One override of a command line: how it is read, what is wrong with it, and what it sets."""

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from fashion_mnist.config.messages import ConfigError, first_line_of, shorten, shown

LONGEST_OVERRIDE = 100_000  # characters; of a terminal's line Linux takes little more
_NO_OVERRIDE = "is no override as key=value (no space around =, quotes around a list: 'key=[1,2]')"
_KEY = re.compile(r"[+~]{0,2}[a-zA-Z_][\w./@:-]*")
# Hydra's own settings that may be typed: none other may change what is imported, run or written
_TYPED = re.compile(
    r"\+{0,2}(hydra\.(run\.dir|sweep\.dir|sweep\.subdir|verbose|mode|launcher\.[^=]+)"
    r"|hydra/(launcher|job_logging|hydra_logging))="
)
_CALLED = re.compile(r"\+{0,2}hydra\.launcher\.")  # Hydra calls what these name


@dataclass(frozen=True)
class Word:
    """One override of a command line."""

    override: Override
    # a file of a group, a setting of Hydra's, the value of a key, or a key that is taken away
    kind: Literal["file", "hydra", "value", "deletion"]
    text: str  # as Hydra gets it; of a value without `+`

    @property
    def key(self) -> str:
        """The dotted key, or the group."""
        return str(self.override.key_or_group)


def parse_override(text: str, problems: list[str]) -> Override | None:
    """An override as Hydra reads it; None and a problem where it cannot."""
    if len(text) > LONGEST_OVERRIDE:
        problems.append(f"{shown(text)} is too long: at most {LONGEST_OVERRIDE:,} characters")
        return None
    try:
        override = _parse(text)
        # a tag is text, whatever it looks like
        if override.key_or_group and re.match(r"tracking\.tags\b", override.key_or_group):
            override = _parse(_with_quotes(text))
    except (HydraException, ValueError, RecursionError) as error:  # too many digits, or brackets
        advice = _quoted(text) or f"{_NO_OVERRIDE}: {shorten(first_line_of(error))}"
        problems.append(f"{shown(text)} {advice}")
        return None
    if override.key_or_group:
        return override
    problems.append(f"{shown(text)} {_NO_OVERRIDE}")
    return None


def _parse(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def _quoted(text: str) -> str | None:
    """What to write instead of an override whose value is text that wants quotes."""
    key, equals, value = text.partition("=")
    if not _KEY.fullmatch(key) or not equals or not value or value[0] in "[{(\"'" or "\n" in value:
        return None
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    word = f'{key}="{escaped}"'
    try:
        _parse(word)
    except (HydraException, ValueError, RecursionError):
        return None
    shell = f"'{word}'" if "'" not in word else '"{}"'.format(word.replace('"', '\\"'))
    return f"has a value that wants quotes: {shorten(shell)}"


def _with_quotes(text: str) -> str:
    """An override of tags whose numbers, true and false are text, as they were typed."""

    def quote(match: re.Match[str]) -> str:
        override = _parse(f"x={match[2]}")
        is_text = isinstance(override.value(), str | dict | list | None)
        return match[0] if is_text or override.is_sweep_override() else f"{match[1]}'{match[2]}'"

    return re.sub(r"""([=:]\s*)([^\s=:,{}\[\]'"()]+)(?=\s*(?:[,}]|$))""", quote, text)


def hydra_problem(text: str) -> str | None:
    """What is wrong with an override of Hydra's own settings."""
    if re.match(r"\W*hydra\.searchpath\b", text):  # Hydra imports a package that it names
        return f"{shown(text)} must not be: --config-dir names a folder of YAML"
    if re.match(r"\W*hydra[./]sweeper\b", text):
        return f"{shown(text)} must not be: fmnist train sweeps by itself, see sweep.sampler"
    if not _TYPED.match(text):
        return f"{shown(text)} must not be: it says what Hydra runs, or where it writes"
    if _CALLED.match(text) and ("_target_" in text or "${" in text):
        return f"{shown(text)} must be a plain value of the launcher, which Hydra calls"
    return None


def typed_values(words: Sequence[Word]) -> dict[str, str]:
    """The keys that the command line sets, with their values as typed."""
    own = [word for word in words if word.kind == "value"]
    return {word.key: (word.override.input_line or "").partition("=")[2] for word in own}


def set_on(word: Word, tree: dict[str, Any]) -> str:
    """Set a value in a tree, or take a key away; what it is in is replaced by a copy.

    Returns:
        The word with which Hydra does the same.

    Raises:
        ConfigError: the key is below one that has a value, or there is nothing to take away.
    """
    if word.kind == "file":
        return word.text
    *path, name = word.key.split(".")
    node: Any = tree
    for part in path:
        inner = child_of(node, part)
        if inner is None and isinstance(node, dict) and word.kind == "value":
            inner = {}
        if not isinstance(inner, dict | list):
            raise ConfigError(
                [f"{shorten(word.key)} is not a key, for {shorten(part)} has a value"]
            )
        inner = copy(inner)
        node[int(part) if isinstance(node, list) else part] = inner
        node = inner
    if word.kind == "deletion":
        if not isinstance(node, dict) or name not in node:
            raise ConfigError([f"{shorten(word.text)} takes away a key that is not there"])
        del node[name]
        return word.text
    before: Any = child_of(node, name)
    value: Any = word.override.value()
    if isinstance(node, list):
        if before is None:
            raise ConfigError([f"{shorten(word.key)} is not a key: the list has no such entry"])
        node[int(name)] = value
        return word.text
    is_there, is_group = name in node, isinstance(value, dict)
    node[name] = _merged(before, value) if isinstance(before, dict) and is_group else value
    return word.text if is_there and not is_group else f"++{word.text}"


def child_of(node: Any, name: str) -> Any:
    """What a dict or a list of YAML has under a name or a number; None for nothing."""
    if isinstance(node, list):
        return node[int(name)] if name.isdecimal() and int(name) < len(node) else None
    return node.get(name) if isinstance(node, dict) else None


def _merged(before: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(before[key], new)
        if isinstance(before.get(key), dict) and isinstance(new, dict)
        else new
        for key, new in value.items()
    }
    return before | both
