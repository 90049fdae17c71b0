"""From a command line to validated configs: Hydra composes the files, and every job once.

Hydra composes what the chosen files make; values typed on the command line are then set on it,
here, and the result is checked. What was checked is what is run: a run gets that `Config`, and
where Hydra itself composes a job (for another launcher, or to show it) it gets the same words.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from fashion_mnist.config.messages import ConfigError, did_you_mean, first_line_of, shorten, shown
from fashion_mnist.config.overrides import (
    Word,
    child_of,
    hydra_problem,
    parse_override,
    set_on,
    typed_values,
)
from fashion_mnist.config.parse import parse, parse_sweep
from fashion_mnist.config.schema import Config, SweepConfig, flatten, nested
from fashion_mnist.config.user_files import UserFolder

CONFIG_NAME = "train"
RECIPE = "experiment"  # the group of named recipes; one may choose a sweep or a launcher too
LAUNCHER, OWN_LAUNCHER = "hydra/launcher", "stacked"
MOST_INTERPOLATIONS = 12  # of a config: each may repeat what others say
_TOO_DEEP = "the config is nested too deeply, or refers to itself"
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


def config_folder() -> Path:
    """The YAML files: in the package where it was built as a wheel, beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def check(overrides: Sequence[str]) -> Config:
    """Compose and check what the command line asks for; writes nothing.

    Args:
        overrides: as typed, `optimizer=sgd` or `optimizer.lr=0.1`.

    Raises:
        ConfigError: with every mistake there is.
    """
    return Composer().job(overrides).config


@dataclass(frozen=True)
class Composed:
    """What the overrides of one run make."""

    config: Config
    choices: Mapping[str, str]  # group -> the file that was chosen
    overrides: tuple[str, ...]  # as Hydra gets them


@dataclass(frozen=True)
class Files:
    """What the chosen files make, before any value is set."""

    config: DictConfig  # Hydra's own settings among it
    tree: dict[str, Any]  # without them, interpolations as they are written
    choices: Mapping[str, str]
    layers: tuple[Any, ...]  # what each file says, in the order in which they were merged

    @property
    def launcher(self) -> str:
        """The launcher that the files, or the command line, choose."""
        return self.choices[LAUNCHER]


class _Loader(ConfigLoaderImpl):
    """Hydra's, which keeps what each file says: a merged config does not tell who said it."""

    def __init__(self, search_path: ConfigSearchPath) -> None:
        super().__init__(search_path)
        self.layers: list[Any] = []  # of the files in the order in which they are merged

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        loaded = super()._load_single_config(default, repo)
        self.layers.append(OmegaConf.to_container(loaded.config, resolve=False))
        return loaded


@dataclass
class Composer:
    """Composes command lines, with a user's folder of YAML in front of the packaged files.

    What several jobs share is composed once.

    Raises:
        ConfigError: the folder is none, or would replace all packaged files.
    """

    config_dir: str | None = None
    _files: dict[tuple[str, ...], Files | ConfigError] = field(default_factory=dict, repr=False)
    _words: dict[str, tuple[Word | None, list[str]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        folder = Path(self.config_dir or ".")
        if not folder.is_dir():
            raise ConfigError(
                [f"--config-dir must be a folder, got {shorten(str(self.config_dir))}"]
            )
        if self.config_dir is not None and (folder / f"{CONFIG_NAME}.yaml").exists():
            raise ConfigError(
                [
                    f"{CONFIG_NAME}.yaml must not be in --config-dir: what it changes belongs into "
                    "experiment/NAME.yaml, for experiment=NAME"
                ]
            )

    @cached_property
    def _packaged(self) -> "Composer":
        return Composer()

    @cached_property
    def _loader(self) -> _Loader:
        version.setbase("1.3")
        search_path = create_config_search_path(str(config_folder()))
        if self.config_dir is not None:
            place = f"{UserFolder.scheme()}://{Path(self.config_dir).absolute()}"
            search_path.prepend("command-line", place, "main")
        return _Loader(search_path)

    @cached_property
    def hydra(self) -> Hydra:
        """Hydra, which looks into the user's folder first."""
        return Hydra(task_name=CONFIG_NAME, config_loader=self._loader)

    def options(self, group: str) -> list[str]:
        """The files that a group can be chosen from; none: it is no group."""
        if group.startswith("hydra/"):
            return self.hydra.config_loader.get_group_options(group)
        folders = [Path(folder, group) for folder in (config_folder(), self.config_dir) if folder]
        found = [path.relative_to(folder) for folder in folders for path in folder.rglob("*.yaml")]
        return sorted({path.with_suffix("").as_posix() for path in found})

    def job(self, overrides: Sequence[str]) -> Composed:
        """Compose and check one run. Raises ConfigError with every mistake there is."""
        words, problems = self.read(overrides)
        try:
            job = self._job(words)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return job

    def jobs(self, jobs: Sequence[Sequence[str]]) -> list[Composed]:
        """What `job` makes of each.

        Raises:
            ConfigError: with every mistake of every job, each once.
        """
        composed, mistakes = list[Composed](), dict[str, list[int]]()
        for number, overrides in enumerate(jobs):
            try:
                composed.append(self.job(overrides))
            except ConfigError as error:
                for problem in error.problems:
                    mistakes.setdefault(problem, []).append(number)
        if mistakes:
            raise ConfigError([_with_jobs(*mistake, jobs) for mistake in mistakes.items()])
        return composed

    def sweep(self, overrides: Sequence[str]) -> SweepConfig:
        """The settings of a sweep; its name is its file's where the YAML has none.

        Raises:
            ConfigError: with every mistake in them; what is said of the jobs is left unread.
        """
        words, problems = self.read(_of_the_sweep(overrides))
        try:
            files = self.sweep_files(overrides)
            tree, _ = _set_values(files.tree, words, self._user_files)
            settings = parse_sweep(tree.get("sweep"), typed=typed_values(words))
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        name = files.choices["sweep"].rpartition("/")[2]
        return replace(settings, name=settings.name or (name if name != "default" else None))

    def sweep_files(self, overrides: Sequence[str]) -> Files:
        """What the files make that are the same for all jobs of a sweep: its own, and Hydra's."""
        return self.files(self.read(_of_the_sweep(overrides))[0])

    def hydra_words(self, overrides: Sequence[str]) -> list[str]:
        """Overrides that may have several values, for Hydra to compose what they make."""
        parsed = [parse_override(text, []) for text in overrides]
        words = [self._word(each) for each in parsed if each is not None]
        return [f"++{word.text}" if word.kind == "value" else word.text for word in words]

    def read(self, overrides: Sequence[str]) -> tuple[list[Word], list[str]]:
        """The overrides of one run, and what is wrong with those that are left out."""
        for text in set(overrides) - self._words.keys():
            problems: list[str] = []
            override = parse_override(text, problems)
            word = self._word(override) if override is not None else None
            problem = self._problem(word) if word is not None else None
            problems += [] if problem is None else [problem]
            self._words[text] = (None if problems else word), problems
        known = [self._words[text] for text in overrides]
        words = [word for word, _ in known if word is not None]
        return words, [problem for _, problems in known for problem in problems]

    def files(self, words: Sequence[Word]) -> Files:
        """What the files that these words choose make. Raises ConfigError where that is nothing."""
        return self._composed(tuple(w.text for w in words if w.kind in ("file", "hydra")))

    def _composed(self, texts: tuple[str, ...]) -> Files:
        """What `_compose` makes of these words, once."""
        if texts not in self._files:
            try:
                self._files[texts] = self._compose(texts)
            except ConfigError as error:
                self._files[texts] = error
        files = self._files[texts]
        if isinstance(files, ConfigError):
            raise files
        return files

    def notes(self) -> list[str]:
        """What is to be known of the files that were read: which replace packaged ones."""
        return [
            f"{file} is read, and not the packaged file of that name"
            for file in self._user_files()
            if (config_folder() / file.relative_to(str(self.config_dir))).exists()
        ]

    def _user_files(self) -> list[Path]:
        """The files of the user's folder that were read."""
        names = {name for source in self._user_folders() for name in source.loaded}
        return [Path(str(self.config_dir), name) for name in sorted(names)]

    def _user_folders(self) -> list[UserFolder]:
        sources = self.hydra.config_loader.get_sources()
        return [source for source in sources if isinstance(source, UserFolder)]

    def _job(self, words: Sequence[Word]) -> Composed:
        files = self.files(words)
        tree, texts = _set_values(files.tree, words, self._user_files)
        problems = []
        if RECIPE in tree:  # there an experiment is that says nothing of its package
            del tree[RECIPE]
            problems.append(
                f"{RECIPE}/{files.choices.get(RECIPE)}.yaml must begin with the line "
                "`# @package _global_`, for its keys are those of the whole config"
            )
        deleted = [word.key for word in words if word.override.is_delete()]
        own: dict[str, Any] = {}
        for word in words:
            if word.kind == "value":
                set_on(word, own)
        typed, layers = typed_values(words), [*files.layers, own]
        try:
            config = parse(tree, typed=typed, deleted=deleted, layers=layers)
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return Composed(config, files.choices, tuple(texts))

    def _word(self, override: Override) -> Word:
        """What an override sets, and how Hydra is to get it."""
        key, text = str(override.key_or_group), override.input_line or ""
        if re.match(r"hydra\b", key) or re.match(r"hydra\b", override.package or ""):
            return Word(override, "hydra", text)
        if key != RECIPE and not self.options(key):
            kind: Literal["deletion", "value"] = "deletion" if override.is_delete() else "value"
            return Word(override, kind, text.lstrip("+"))
        if override.is_delete() or override.value() is None:  # Hydra does not take experiment=null
            return Word(override, "file", f"~{text.lstrip('~').partition('=null')[0]}")
        # what is in the packaged list of defaults is chosen, all else added
        is_packaged = (config_folder() / key).is_dir() and override.package is None
        return Word(override, "file", f"{'' if is_packaged else '+'}{text.lstrip('+')}")

    def _problem(self, word: Word) -> str | None:
        """What is wrong with an override of one run."""
        text = word.override.input_line or ""
        if word.override.is_sweep_override():
            return (
                f"{word.key} takes one value; several runs want -m, a list brackets as in "
                f"'{word.key}=[1,2]', and a decimal a point, got {shorten(text.partition('=')[2])}"
            )
        problem = hydra_problem(text) if word.kind == "hydra" else None
        is_choice = word.kind == "file" or word.key.startswith("hydra/")
        if problem is None and is_choice and not word.override.is_delete():
            return self._choice_problem(word.override)
        return problem

    def _choice_problem(self, override: Override) -> str | None:
        """What is wrong with a group's choice of a file."""
        group, value = str(override.key_or_group), override.value()
        if value is None and group == RECIPE:
            return None
        if isinstance(value, list) and group != RECIPE:
            return (
                f"{group} takes one file, and several runs want -m {group}=a,b, got {shown(value)}"
            )
        options = self.options(group)
        chosen = value if isinstance(value, list) else [value]
        for name in chosen if self.config_dir is not None else ():
            path = Path(str(self.config_dir), group, f"{name}.yml")
            if path.exists() and not path.with_suffix(".yaml").exists():
                return f"{path} is not read: name it {path.stem}.yaml"
        strange = [each for each in chosen if each not in options]
        return self._must_be_option(group, strange[0], value) if strange else None

    def _must_be_option(self, group: str, name: Any, value: Any) -> str:
        """What a group can be, and what came: a name that it does not have, in a value."""
        options = self.options(group)
        known = f"one of {_listed(options)}" if options else "a file of yours in --config-dir"
        nearest = did_you_mean(name, options)
        is_named = isinstance(name, str) and not nearest and self.config_dir is None
        advice = "; a file of your own wants --config-dir FOLDER" if options and is_named else ""
        return f"{group} must be {known}{nearest}, got {shown(value)}{advice}"

    def _compose(self, texts: tuple[str, ...]) -> Files:
        self._loader.layers = []
        try:
            config = self.hydra.compose_config(
                CONFIG_NAME, list(texts), RunMode.RUN, from_shell=False
            )
            tree: Any = OmegaConf.to_container(config, resolve=False)
        except MissingConfigException as error:
            raise ConfigError([self._missing_file(error)]) from None
        except _NO_CONFIG as error:
            raise ConfigError([first_line(error)]) from None
        hydra = tree.pop("hydra")
        choices = _chosen(hydra["runtime"]["choices"])
        files = Files(config, tree, choices, tuple(self._loader.layers))
        if any(source.loaded for source in self._user_folders()):
            problems = self._hydra_problems(files, hydra, texts)
            if problems:
                raise ConfigError(problems)
        return files

    def _missing_file(self, error: MissingConfigException) -> str:
        """Of a list of defaults that names a file which is not there: what it may name, and where.

        Hydra names the list's file only where it is the one that adds the group.
        """
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if not group:
            return first_line(error)
        place = _place_of(name, self._user_files(), "in the defaults of")
        return f"{self._must_be_option(group, name, name)}{place}"

    def _hydra_problems(
        self, files: Files, hydra: dict[str, Any], texts: Sequence[str]
    ) -> list[str]:
        """Where a user's files say what Hydra imports, runs or writes: only the launcher is theirs.

        Compared with what the packaged files make of the same words, and of that launcher.
        """
        packaged, launcher = self._packaged, files.launcher
        installed = packaged.options(LAUNCHER)
        if launcher not in installed:
            return [f"{LAUNCHER} must be one of {', '.join(installed)}, got {shown(launcher)}"]
        typed = [text for text in texts if re.match(r"\W*hydra\b", text) and LAUNCHER not in text]
        alone = packaged._composed((*typed, f"{LAUNCHER}={launcher}")).config
        known: Any = OmegaConf.to_container(alone.hydra, resolve=False)
        for own in (known, hydra):
            for name in ("runtime", "overrides", "searchpath"):
                own.pop(name)
            own["job"].pop("override_dirname")
        return [
            f"hydra.{shorten(name)} must not be changed by a YAML file: it says what Hydra runs, "
            "or where it writes"
            for name in dict.fromkeys([*known, *hydra])
            if known.get(name) != hydra.get(name)
        ]


def hydra_config(files: Files, overrides: Sequence[str], mode: RunMode) -> DictConfig:
    """Hydra's settings, as files and words make them, for a run or a sweep."""
    config = deepcopy(files.config)
    with open_dict(config):
        config.hydra.mode = mode
        config.hydra.overrides.task = list(overrides)
        if mode == RunMode.MULTIRUN:  # also where Hydra composes a job of it
            config.hydra.overrides.hydra.append(f"hydra.mode={mode.name}")
    return config


def job_config(
    hydra: DictConfig, config: Config, overrides: Sequence[str], number: int | None = None
) -> DictConfig:
    """What Hydra calls the config of a job: the checked one, beside Hydra's settings."""
    job = OmegaConf.create({**nested(flatten(config)), "hydra": hydra.hydra})
    OmegaConf.copy_cache(hydra, job)  # a time that is in a name stays what it was
    with open_dict(job.hydra):
        job.hydra.overrides.task = list(overrides)
        job.hydra.job.override_dirname = ",".join(sorted(overrides))
        if number is not None:
            job.hydra.job.id, job.hydra.job.num = str(number), number
    return job


def check_folders(job: DictConfig, *keys: str) -> None:
    """Raise ConfigError where Hydra cannot name a job's folders.

    Args:
        job: as `job_config` makes it.
        keys: of the folders: `hydra.run.dir`.
    """
    problems = []
    for key in keys:
        try:
            OmegaConf.select(job, key)
        except OmegaConfBaseException as error:
            problems.append(f"{key} names no folder: {first_line_of(error)}")
    if problems:
        raise ConfigError(problems)


def composed_by_hydra(
    config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]
) -> Composed:
    """A job that another launcher has Hydra compose.

    Args:
        config: without Hydra's own settings.
        choices: those of Hydra's, group -> file.

    Raises:
        ConfigError: with every mistake there is.
    """
    typed = {text.lstrip("+").partition("=")[0]: text.partition("=")[2] for text in overrides}
    parsed = parse(OmegaConf.to_container(config, resolve=True), typed=typed)
    return Composed(parsed, _chosen(choices), tuple(overrides))


def _listed(options: Sequence[str]) -> str:
    """The files of a group, and of the files in folders below it only the folders."""
    files = [name for name in options if "/" not in name]
    folders = {name.rpartition("/")[0] for name in options if "/" in name}
    return ", ".join([*files, *(f"{folder}/…" for folder in sorted(folders))])


def _chosen(choices: Mapping[str, Any]) -> dict[str, str]:
    return {str(group): str(name) for group, name in choices.items() if name is not None}


def first_line(error: Exception) -> str:
    """What an error of Hydra's says, without its advice; of broken YAML, where it is broken."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, is no YAML: {error.problem}"
    if isinstance(error, ReaderError):
        return f"{error.name} is no YAML: {error.reason}"
    key = getattr(error, "full_key", None)  # of OmegaConf
    head, _, rest = str(error).strip().partition("\n")
    reason = rest.strip().partition("\n")[0]
    line = f"{head} {reason}" if head.endswith(":") else first_line_of(error)
    return f"{key}: {line}" if key else line


def _of_the_sweep(overrides: Sequence[str]) -> list[str]:
    """Those that say how to sweep; a recipe may choose a sweep and a launcher."""
    own = [text for text in overrides if re.match(r"[+~]*(sweep|hydra)\b", text)]
    recipes = [text for text in overrides if re.match(rf"\+*{RECIPE}=", text)]
    parsed = [(text, parse_override(text, [])) for text in recipes]
    return [
        text for text, word in parsed if word is not None and not word.is_sweep_override()
    ] + own


def _set_values(
    tree: dict[str, Any], words: Sequence[Word], files: Callable[[], Sequence[Path]]
) -> tuple[dict[str, Any], list[str]]:
    """A tree with values set on it as Hydra does it, and the words for Hydra to do the same.

    What is not set is shared with the tree that was given, which stays as it is.

    Args:
        files: says which the user's are; one may have an interpolation that cannot be resolved.

    Raises:
        ConfigError: a key is below one that has a value, or interpolations lead nowhere.
    """
    try:
        tree, texts = copy(tree), list[str]()
        for word in words:
            texts += [] if word.kind == "hydra" else [set_on(word, tree)]
        return _resolved(tree, files), texts
    except RecursionError:
        raise ConfigError([_TOO_DEEP]) from None


def _resolved(tree: dict[str, Any], files: Callable[[], Sequence[Path]]) -> dict[str, Any]:
    """The tree with its interpolations resolved. Raises ConfigError where one cannot be."""
    count = sum(text.count("${") for text in _texts(tree))
    if count == 0:
        return tree
    if count > MOST_INTERPOLATIONS:
        most = f"at most {MOST_INTERPOLATIONS} interpolations (${{key}})"
        raise ConfigError([f"a config must have {most}"])
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except InterpolationResolutionError as error:
        raise ConfigError([_unresolved(error, tree, files())]) from None
    except _NO_CONFIG as error:
        raise ConfigError([first_line(error)]) from None
    return dict(resolved)


def _unresolved(
    error: InterpolationResolutionError, tree: dict[str, Any], files: Sequence[Path]
) -> str:
    """Which key's interpolation cannot be resolved, why, and in which file it is."""
    text: Any = tree
    for name in re.split(r"[.\[\]]+", str(error.full_key).rstrip("]")):
        text = child_of(text, name)
    # of a resolver, as `oc.env`, OmegaConf names the class of the error too
    reason = first_line_of(error).rpartition("raised while resolving interpolation: ")[2].strip('"')
    if "${hydra:" in str(text):
        reason = "Hydra's own settings are not known where a config is checked"
    place = _place_of(str(text), files, "in")
    return f"{error.full_key}: {shown(text)} cannot be resolved: {reason}{place}"


def _place_of(text: str, files: Sequence[Path], where: str) -> str:
    """The first of these files that has a text, in brackets after `where`; empty for none."""
    sources = [file for file in files if text in file.read_text(encoding="utf-8")]
    return f" ({where} {sources[0]})" if sources else ""


def _texts(node: Any) -> Iterator[str]:
    match node:
        case str():
            yield node
        case dict() | list():
            for inner in node.values() if isinstance(node, dict) else node:
                yield from _texts(inner)


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
