"""The overrides of a command line, each as Hydra is to see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from fashion_mnist.config.errors import did_you_mean, shorten, shown
from fashion_mnist.console import first_line_of

RECIPE = "experiment"  # the group of named recipes; one may choose a sweep too
LONGEST_OVERRIDE = 100_000  # characters; of a terminal's line Linux takes little more
_NO_OVERRIDE = "is no override as key=value (no space around =, quotes around a list: 'key=[1,2]')"


@dataclass(frozen=True)
class Word:
    """An override, as Hydra is to see it."""

    override: Override | None  # None: it is none
    text: str | None  # None: Hydra must not see it
    problem: str | None
    is_value: bool  # of a key, to be set on what groups and deletions make

    @property
    def sweeps(self) -> bool:
        """Whether it has several values, or a range of them."""
        return self.override is not None and self.override.is_sweep_override()


def read_word(text: str, folders: Sequence[Path]) -> Word:
    """An override as typed; of a group, its choice must be a file in one of the folders."""
    problems: list[str] = []
    override = parse_override(text, problems)
    lenient = _lenient(override, folders, problems) if override is not None else None
    is_value = override is not None and lenient is not None and _is_value(override, folders)
    return Word(override, lenient, problems[0] if problems else None, is_value)


def parse_override(text: str, problems: list[str]) -> Override | None:
    """An override as Hydra reads it; None and a problem where it cannot."""
    if len(text) > LONGEST_OVERRIDE:
        problems.append(f"{shown(text)} is too long: at most {LONGEST_OVERRIDE:,} characters")
        return None
    try:
        override = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:  # too many digits, or brackets
        problems.append(f"{shown(text)} {_NO_OVERRIDE}: {shorten(first_line_of(error))}")
        return None
    if override.key_or_group:
        return override
    problems.append(f"{shown(text)} {_NO_OVERRIDE}")
    return None


def options_of(group: str, folders: Sequence[Path]) -> list[str]:
    """The files that a group can be chosen from; none: it is no group."""
    return sorted(path.stem for folder in folders for path in (folder / group).glob("*.yaml"))


def _lenient(override: Override, folders: Sequence[Path], problems: list[str]) -> str | None:
    """The override so that Hydra takes an unknown key: `parse` then judges all keys at once."""
    key, text = override.key_or_group, override.input_line or ""
    if key.startswith("hydra") or override.is_delete():
        return text
    if override.is_sweep_override():
        problems.append(
            f"{key} takes one value; several runs want -m, a list brackets as in '{key}=[1,2]', "
            f"and a decimal a point, got {shorten(text.partition('=')[2])}"
        )
        return None
    if _is_value(override, folders):
        return "++" + text.lstrip("+")
    value, options = override.value(), options_of(key, folders)
    is_nothing = value is None and key == RECIPE
    if is_nothing or value in options or isinstance(value, list):
        return text
    nearest = did_you_mean(value, options)
    known = f"one of {', '.join(options)}" if options else "a file of yours in --config-dir"
    problems.append(f"{key} must be {known}{nearest}, got {shown(value)}")
    return None


def _is_value(override: Override, folders: Sequence[Path]) -> bool:
    """Whether an override sets a key: it chooses no file of a group, and takes nothing away."""
    key = override.key_or_group
    # the folder of named recipes is a group also where it is empty, and so not in a clone
    is_group = key.startswith("hydra") or key == RECIPE or bool(options_of(key, folders))
    return not is_group and not override.is_delete()
