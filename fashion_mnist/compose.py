"""From a command line to a plain tree of settings; Hydra's errors become ours, all at once."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from fashion_mnist.config import Config, ConfigError, SweepConfig, parse
from fashion_mnist.schema import Reader, did_you_mean

CONFIG_NAME = "train"
_NO_OVERRIDE = "is no override as key=value (no space around =, quotes around a list: 'key=[1,2]')"
_OF_THE_SWEEP = re.compile(r"[+~]*sweep\b")
_RECIPE = "experiment"  # may choose a sweep too


def config_folder() -> Path:
    """The YAML files: in the package where it was built as a wheel, beside it in a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "conf"


def check(overrides: Sequence[str], *, config_dir: str | None = None) -> Config:
    """Compose and parse what the command line asks for; writes nothing.

    Args:
        overrides: as typed, `optimizer=sgd` or `optimizer.lr=0.1`.
        config_dir: a user's folder of further YAML.

    Raises:
        ConfigError: with every mistake there is.
    """
    return check_jobs([overrides], config_dir=config_dir)[0]


def check_jobs(jobs: Sequence[Sequence[str]], *, config_dir: str | None = None) -> list[Config]:
    """What `check` makes of each job's overrides; what jobs have in common is composed once.

    Raises:
        ConfigError: with every mistake of every job, each once.
    """
    folders, extra = _folders(config_dir)
    words = {text: _read(text, folders) for text in set(chain(*jobs))}
    bases: dict[tuple[str, ...], DictConfig | str] = {}  # or why it cannot be composed
    configs, mistakes = list[Config](), dict[str, list[int]]()
    with _hydra():
        for number, job in enumerate(jobs):
            try:
                configs.append(_check([words[text] for text in job], bases, extra))
            except ConfigError as error:
                for problem in error.problems:
                    mistakes.setdefault(problem, []).append(number)
    if mistakes:
        raise ConfigError([_with_jobs(*mistake, jobs) for mistake in mistakes.items()])
    return configs


def compose_sweep_settings(
    overrides: Sequence[str], *, config_dir: str | None = None
) -> SweepConfig:
    """The node `sweep` alone; its name is its file's where the YAML has none.

    Raises:
        ConfigError: with every mistake in it; what the overrides say of the jobs is left unread.
    """
    folders, extra = _folders(config_dir)
    own = [_read(text, folders) for text in overrides if _OF_THE_SWEEP.match(text)]
    recipes = [_read(text, folders) for text in overrides if text.startswith(f"{_RECIPE}=")]
    problems = [word.problem for word in own if word.problem is not None]
    texts = [word.text for word in (*recipes, *own) if word.text is not None]
    with _hydra():
        composed = _compose([*texts, *extra], with_hydra=True)
    if isinstance(composed, str):
        raise ConfigError([*problems, composed])
    reader = Reader()
    try:
        node = OmegaConf.to_container(composed.sweep, resolve=True)
        settings = reader.dataclass(SweepConfig, node, "sweep.")
        problems += reader.all_problems(f"sweep.{field.name}" for field in fields(SweepConfig))
    except OmegaConfBaseException as error:
        problems.append(first_line(error))
    if problems:
        raise ConfigError(problems)
    choice = composed.hydra.runtime.choices.sweep
    return replace(settings, name=settings.name or (choice if choice != "default" else None))


def group_options(group: str, config_dir: str | None = None) -> list[str]:
    """The files that a group can be chosen from; none: it is no group."""
    return _options(group, _folders(config_dir)[0])


def parse_composed(config: DictConfig, overrides: Sequence[str]) -> Config:
    """A job's config as Hydra composed it. Raises ConfigError with every mistake there is."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    return parse(plain(own), overridden=keys)


def plain(config: DictConfig) -> Any:
    """Nested dicts, lists and plain values, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


def first_line(error: Exception) -> str:
    """What an error of Hydra's says, without its advice; of broken YAML, where it is broken."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, is no YAML: {error.problem}"
    return str(error).strip().partition("\n")[0]


def parse_override(text: str, problems: list[str]) -> Override | None:
    """An override as Hydra reads it; None and a problem where it cannot."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        problems.append(f"{text!r} {_NO_OVERRIDE}: {first_line(error)}")
        return None
    if override.key_or_group:
        return override
    problems.append(f"{text!r} {_NO_OVERRIDE}")
    return None


@dataclass(frozen=True)
class _Word:
    """An override, as Hydra is to see it."""

    override: Override | None  # None: it is none
    text: str | None  # None: Hydra must not see it
    problem: str | None
    is_value: bool  # of a key, to be set on what groups and deletions make


def _read(text: str, folders: Sequence[Path]) -> _Word:
    problems: list[str] = []
    override = parse_override(text, problems)
    lenient = _lenient(override, folders, problems) if override is not None else None
    is_value = override is not None and lenient is not None and _is_value(override, folders)
    return _Word(override, lenient, problems[0] if problems else None, is_value)


def _check(
    words: Sequence[_Word],
    bases: dict[tuple[str, ...], DictConfig | str],
    extra: Sequence[str],
) -> Config:
    """Parse what the words of one job make; `bases` keeps what is composed, for the next job."""
    problems = [word.problem for word in words if word.problem is not None]
    shared, values = _split(words)
    if shared not in bases:
        bases[shared] = _compose([*shared, *extra])
    composed = _set(bases[shared], values)
    keys = [word.override.key_or_group for word in words if word.override is not None]
    if isinstance(composed, str):
        raise ConfigError([*problems, composed])
    try:
        config = parse(composed, overridden=keys)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _split(words: Sequence[_Word]) -> tuple[tuple[str, ...], list[_Word]]:
    """What must be composed, and the values that can be set on it afterwards.

    What stands before a deletion is composed with it, for their order counts.
    """
    deletions = [k for k, word in enumerate(words) if word.override and word.override.is_delete()]
    last = max(deletions, default=-1)
    is_value = [word.is_value and k > last for k, word in enumerate(words)]
    paired = list(zip(words, is_value, strict=True))
    shared = [word.text for word, is_last in paired if not is_last and word.text is not None]
    return tuple(shared), [word for word, is_last in paired if is_last]


def _set(base: DictConfig | str, values: Sequence[_Word]) -> Any:
    """A plain tree with the values set on a copy of the base, as Hydra does; or why it cannot."""
    if isinstance(base, str):
        return base
    node = deepcopy(base)
    for word in values:
        assert word.override is not None
        try:
            key, value = word.override.key_or_group, word.override.value()
            OmegaConf.update(node, key, value, merge=True, force_add=True)
        except OmegaConfBaseException:
            return f"Error merging override {word.text}"  # as Hydra says it
    try:
        return plain(node)
    except OmegaConfBaseException as error:
        return first_line(error)


def _with_jobs(problem: str, numbers: Sequence[int], jobs: Sequence[Sequence[str]]) -> str:
    """A problem, and which jobs have it where not all do."""
    if len(numbers) == len(jobs):
        return problem
    common = set(jobs[0]).intersection(*jobs)
    theirs = set(jobs[numbers[0]]).intersection(*(jobs[k] for k in numbers)) - common
    some = theirs or set(jobs[numbers[0]]) - common
    named = " ".join(text for text in jobs[numbers[0]] if text in some)
    count = f"{len(numbers)} of {len(jobs)} jobs"
    return f"{problem} ({count}{':' if theirs else ', the first:'} {named})"


def _folders(config_dir: str | None) -> tuple[list[Path], list[str]]:
    """The folders of YAML, and the override that makes Hydra search a user's."""
    if config_dir is None:
        return [config_folder()], []
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        raise ConfigError([f"--config-dir must be a folder, got {config_dir}"])
    return [config_folder(), folder], [f"hydra.searchpath=[file://{folder}]"]


def _options(group: str, folders: Sequence[Path]) -> list[str]:
    return sorted(path.stem for folder in folders for path in (folder / group).glob("*.yaml"))


def _lenient(override: Override, folders: Sequence[Path], problems: list[str]) -> str | None:
    """The override so that Hydra takes an unknown key: `parse` then judges all keys at once."""
    key, text = override.key_or_group, override.input_line or ""
    if key.startswith("hydra") or override.is_delete():
        return text
    if override.is_sweep_override():
        problems.append(
            f"{key} takes one value; several runs want -m, a list brackets as in '{key}=[1,2]', "
            f"and a decimal a point, got {text.partition('=')[2]}"
        )
        return None
    if _is_value(override, folders):
        return "++" + text.lstrip("+")
    value, options = override.value(), _options(key, folders)
    is_nothing = value is None and key == _RECIPE
    if is_nothing or value in options or isinstance(value, list):
        return text
    nearest = did_you_mean(value, options)
    known = f"one of {', '.join(options)}" if options else "a file of yours in --config-dir"
    problems.append(f"{key} must be {known}{nearest}, got {value!r}")
    return None


def _is_value(override: Override, folders: Sequence[Path]) -> bool:
    """Whether an override sets a key: it chooses no file of a group, and takes nothing away."""
    key = override.key_or_group
    # the folder of named recipes is a group also where it is empty, and so not in a clone
    is_group = key.startswith("hydra") or key == _RECIPE or bool(_options(key, folders))
    return not is_group and not override.is_delete()


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra as it composes; within a sweep there is one already, which is put back afterwards."""
    before = GlobalHydra.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), job_name=CONFIG_NAME, version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_state(before)


def _compose(overrides: list[str], *, with_hydra: bool = False) -> DictConfig | str:
    """What Hydra makes of the overrides, or why it cannot."""
    try:
        return compose(CONFIG_NAME, overrides=overrides, return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return first_line(error)
