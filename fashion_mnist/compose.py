"""From a command line to a plain tree of settings; Hydra's errors become ours, all at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from fashion_mnist.config import Config, ConfigError, parse
from fashion_mnist.schema import did_you_mean

CONFIG_NAME = "train"
_NO_OVERRIDE = "is no override as key=value (no space around =, quotes around a list: 'key=[1,2]')"


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
    problems: list[str] = []
    parsed = [item for text in overrides if (item := _parse(text, problems)) is not None]
    folders = [config_folder()]
    extra = []
    if config_dir is not None:
        folders.append(Path(config_dir).absolute())
        if not folders[-1].is_dir():
            raise ConfigError([f"--config-dir must be a folder, got {config_dir}"])
        extra = [f"hydra.searchpath=[file://{folders[-1]}]"]
    lenient = [_lenient(item, folders, problems) for item in parsed]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        node = _compose([text for text in lenient if text is not None] + extra, problems)
    keys = [item.key_or_group for item in parsed]
    try:
        config = parse(node, overridden=keys) if node is not None else None
    except ConfigError as error:
        problems += error.problems
    if problems or config is None:
        raise ConfigError(problems)
    return config


def first_job(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep's first job: `a=1,2` becomes `a=1`."""
    parsed = ((text, _parse(text, [])) for text in overrides)
    return [
        f"{item.get_key_element()}={next(iter(item.sweep_string_iterator()))}"
        if item is not None and item.is_sweep_override()
        else text
        for text, item in parsed
    ]


def plain(config: DictConfig) -> Any:
    """Nested dicts, lists and plain values, interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


def first_line(error: Exception) -> str:
    """What an error of Hydra's says, without its advice; of broken YAML, where it is broken."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, is no YAML: {error.problem}"
    return str(error).strip().partition("\n")[0]


def _parse(text: str, problems: list[str]) -> Override | None:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        problems.append(f"{text!r} {_NO_OVERRIDE}: {first_line(error)}")
        return None
    if override.key_or_group:
        return override
    problems.append(f"{text!r} {_NO_OVERRIDE}")
    return None


def _lenient(override: Override, folders: Sequence[Path], problems: list[str]) -> str | None:
    """The override so that Hydra takes an unknown key: `parse` then judges all keys at once."""
    key, text = override.key_or_group, override.input_line or ""
    options = sorted(path.stem for folder in folders for path in (folder / key).glob("*.yaml"))
    if key.startswith("hydra") or override.is_delete():
        return text
    if override.is_sweep_override():
        problems.append(
            f"{key} takes one value; several runs want -m, a list brackets as in '{key}=[1,2]', "
            f"and a decimal a point, got {text.partition('=')[2]}"
        )
        return None
    # the folder of named recipes is a group also where it is empty, and so not in a clone
    if not options and key != "experiment":
        return "++" + text.lstrip("+")
    value = override.value()
    is_nothing = value is None and key == "experiment"
    if is_nothing or value in options or isinstance(value, list):
        return text
    nearest = did_you_mean(value, options)
    known = f"one of {', '.join(options)}" if options else "a file of yours in --config-dir"
    problems.append(f"{key} must be {known}{nearest}, got {value!r}")
    return None


def _compose(overrides: list[str], problems: list[str]) -> Any:
    try:
        return plain(compose(CONFIG_NAME, overrides=overrides))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        problems.append(first_line(error))
        return None
