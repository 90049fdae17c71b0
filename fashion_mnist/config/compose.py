"""From a command line to a plain tree of settings; Hydra's errors become ours, all at once."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from itertools import chain
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fashion_mnist.config.checks import Reader
from fashion_mnist.config.errors import ConfigError, shorten, shown
from fashion_mnist.config.hydra_settings import hydra_problems, is_search_path, own_words
from fashion_mnist.config.overrides import RECIPE, Word, options_of, read_word
from fashion_mnist.config.schema import Config, SweepConfig, parse
from fashion_mnist.config.trees import TOO_MANY, Base, base_of, first_line, plain, set_values
from fashion_mnist.config.user_files import MOST_INTERPOLATIONS, UserFolder, num_interpolations

CONFIG_NAME = "train"
_OF_THE_SWEEP = re.compile(r"[+~]*sweep\b")
# what Hydra and OmegaConf raise for YAML that is no config; beside their own errors they assert
_NO_CONFIG = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
)
_Composed = DictConfig | list[str]  # a config, or why there is none


def config_folder() -> Path:
    """The YAML files: in the package where it was built as a wheel, beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


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
    words = {text: read_word(text, folders) for text in set(chain(*jobs))}
    bases: dict[tuple[str, ...], Base | list[str]] = {}
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


def check_hydra(overrides: Sequence[str], *, config_dir: str | None = None) -> None:
    """Raise ConfigError where Hydra cannot compose this, or must not run it.

    What has several values is left out: each job has its own.
    """
    folders, extra = _folders(config_dir)
    words = [read_word(text, folders) for text in overrides]
    with _hydra():
        composed = _compose([w.text for w in words if w.text and not w.sweeps], extra)
    if isinstance(composed, list):
        raise ConfigError(composed)


def compose_sweep_settings(
    overrides: Sequence[str], *, config_dir: str | None = None
) -> SweepConfig:
    """The node `sweep` alone; its name is its file's where the YAML has none.

    Raises:
        ConfigError: with every mistake in it; what the overrides say of the jobs is left unread.
    """
    folders, extra = _folders(config_dir)
    own = [read_word(text, folders) for text in overrides if _OF_THE_SWEEP.match(text)]
    recipes = [read_word(text, folders) for text in overrides if text.startswith(f"{RECIPE}=")]
    problems = [word.problem for word in own if word.problem is not None]
    texts = [word.text for word in (*recipes, *own) if word.text is not None]
    with _hydra():
        composed = _compose(texts, extra)
    if isinstance(composed, list):
        raise ConfigError([*problems, *composed])
    reader = Reader()
    try:
        node = OmegaConf.to_container(composed.sweep, resolve=True)
        settings = reader.dataclass(SweepConfig, node, "sweep.")
        problems += reader.all_problems(f"sweep.{field.name}" for field in fields(SweepConfig))
    except (OmegaConfBaseException, RecursionError) as error:
        problems.append(first_line(error))
    if problems:
        raise ConfigError(problems)
    choice = composed.hydra.runtime.choices.sweep
    return replace(settings, name=settings.name or (choice if choice != "default" else None))


def group_options(group: str, config_dir: str | None = None) -> list[str]:
    """The files that a group can be chosen from; none: it is no group."""
    return options_of(group, _folders(config_dir)[0])


def parse_composed(config: DictConfig, overrides: Sequence[str]) -> Config:
    """A job's config as Hydra composed it. Raises ConfigError with every mistake there is."""
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    return parse(plain(_without_hydra(config)), overridden=keys)


def _check(
    words: Sequence[Word],
    bases: dict[tuple[str, ...], Base | list[str]],
    extra: Sequence[str],
) -> Config:
    """Parse what the words of one job make; `bases` keeps what is composed, for the next job."""
    problems = [word.problem for word in words if word.problem is not None]
    shared, values = _split(words)
    if shared not in bases:
        base = _compose(shared, extra)
        bases[shared] = base if isinstance(base, list) else base_of(_without_hydra(base))
    composed = set_values(bases[shared], values)
    keys = [word.override.key_or_group for word in words if word.override is not None]
    if isinstance(composed, list):
        raise ConfigError([*problems, *composed])
    try:
        config = parse(composed, overridden=keys)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _split(words: Sequence[Word]) -> tuple[tuple[str, ...], list[Word]]:
    """What must be composed, and the values that can be set on it afterwards.

    What stands before a deletion is composed with it, for their order counts.
    """
    deletions = [k for k, word in enumerate(words) if word.override and word.override.is_delete()]
    last = max(deletions, default=-1)
    is_value = [word.is_value and k > last for k, word in enumerate(words)]
    paired = list(zip(words, is_value, strict=True))
    shared = [word.text for word, is_last in paired if not is_last and word.text is not None]
    return tuple(shared), [word for word, is_last in paired if is_last]


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
        raise ConfigError([f"--config-dir must be a folder, got {shorten(config_dir)}"])
    place = QuotedString(f"{UserFolder.scheme()}://{folder}", Quote.single).with_quotes()
    return [config_folder(), folder], [f"hydra.searchpath=[{place}]"]


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


def _compose(words: Sequence[str], extra: Sequence[str]) -> _Composed:
    """What Hydra makes of the overrides, with its own settings; or why it cannot, or must not.

    Args:
        extra: the override that makes Hydra search a user's folder.
    """
    refused = [text for text in words if is_search_path(text)]
    if refused:
        return [
            f"{shown(text)} must not be: --config-dir names a folder of YAML" for text in refused
        ]
    try:
        config = compose(CONFIG_NAME, overrides=[*words, *extra], return_hydra_config=True)
        own = _hydra_alone(own_words(words))
    except _NO_CONFIG as error:
        return [first_line(error)]
    problems = hydra_problems(config.hydra, own, words)
    if extra and num_interpolations(_without_hydra(config)) > MOST_INTERPOLATIONS:
        problems.append(TOO_MANY)
    return problems or config


def _without_hydra(config: DictConfig) -> DictConfig:
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    assert isinstance(own, DictConfig)
    return own


@cache
def _hydra_alone(words: tuple[str, ...]) -> DictConfig:
    """Hydra's own settings as the program's YAML has them, with these overrides."""
    settings: DictConfig = compose(CONFIG_NAME, list(words), return_hydra_config=True).hydra
    return settings
