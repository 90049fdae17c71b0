"""What a command line sweeps over, read and checked: nothing is composed for good or trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from hydra.types import RunMode
from omegaconf import DictConfig

from fashion_mnist.config.compose import (
    LAUNCHER,
    RECIPE,
    Composed,
    Composer,
    Files,
    hydra_config,
)
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.config.overrides import parse_override
from fashion_mnist.config.schema import Config, SweepConfig
from fashion_mnist.sweeps.axes import Axis, text_of
from fashion_mnist.sweeps.space import Space, holds, read_space
from fashion_mnist.tracking.links import train_command

BATCH_SIZE = 4  # trials that a search asks for at once: each learns of those before
FEWEST_BATCHES = 4  # however many machines there are, or a search that learns would learn nothing
INDEPENDENT_SAMPLERS = ("random", "qmc")  # that learn nothing anyway
NO_SWEEP = "sweep=default"  # typed, it makes a run of what an experiment sweeps
MOST_WORDS = 50  # values of an axis that are listed
MOST_EXAMPLES = 1000  # jobs that are searched for mistakes at once, 7 ms each
# what a pruner compares after every epoch, by the objective
EPOCH_METRICS = {
    "final/val_accuracy": "val/accuracy",
    "final/val_f1_macro": "val/f1_macro",
    "final/val_loss": "val/loss",
}


@dataclass(frozen=True)
class Sweep:
    """A grid or a search."""

    settings: SweepConfig
    space: Space
    composer: Composer  # with a user's folder of further YAML
    overrides: tuple[str, ...]  # as typed

    @property
    def is_search(self) -> bool:
        """Whether Optuna proposes the settings."""
        return self.settings.sampler != "grid"

    @property
    def score(self) -> str:
        """The metric that chooses the winner."""
        return self.settings.objectives[0]

    @property
    def name(self) -> str:
        """The name that is shown."""
        swept = " × ".join(key.rpartition(".")[2] for key in self.axes)
        return self.settings.name or swept or "one run"

    @property
    def prunes(self) -> bool:
        """Whether runs are pruned: a grid has none to compare with."""
        return self.is_search and self.settings.pruner != "none"

    def batch_size(self, num_workers: int, *, is_here: bool) -> int:
        """How many trials a search asks for at once; the next ones learn of their scores.

        Args:
            num_workers: how many stacks can be trained at a time.
            is_here: on this machine. What a search that learns proposes must not depend on the
                number of its cores.
        """
        settings = self.settings
        fewest = max(BATCH_SIZE, 1 if settings.stack_size == "auto" else settings.stack_size)
        learns = settings.sampler not in INDEPENDENT_SAMPLERS
        if learns and is_here:
            return fewest
        most = settings.n_trials // FEWEST_BATCHES if learns else settings.n_trials
        return max(fewest, min(num_workers, most))

    @property
    def axes(self) -> tuple[str, ...]:
        """The keys that differ between the jobs."""
        return tuple(key for axis in self.space.axes for key in axis.keys)

    def words(self) -> dict[str, list[str]]:
        """Each axis and its values, as they are read."""
        return {axis.name: _words(axis) for axis in self.space.axes}

    def samples(self) -> list[dict[str, str]]:
        """The values of every job of a grid; of a search, settings from the edges of its space."""
        if not self.is_search:
            return self.space.grid(self.settings.limit)
        return _edges(self.space)

    def compose(self, values: Sequence[Mapping[str, str]]) -> list[Composed]:
        """The jobs with these values. Raises ConfigError with every mistake."""
        own = [text for text in self.overrides if text.lstrip("+").startswith(("hydra.", "hydra/"))]
        words = [(*self.space.overrides_of(each), *own) for each in values]
        # a job is a run alone, whatever its experiment says
        words = [(*job, NO_SWEEP) if is_sweep(job, self.composer) else job for job in words]
        jobs = self.composer.jobs(words)
        launcher = self._files().launcher
        strange = [job for job in jobs if job.choices[LAUNCHER] != launcher]
        if strange:
            raise ConfigError(
                [
                    f"{LAUNCHER}={strange[0].choices[LAUNCHER]} is chosen by a file of some jobs "
                    f"alone ({' '.join(strange[0].overrides)}): type it, for it is the sweep's"
                ]
            )
        return jobs

    def hydra_config(self) -> DictConfig:
        """Hydra's settings of the sweep: its launcher, its folders."""
        words = self.composer.hydra_words(self.overrides)
        return hydra_config(self._files(), words, RunMode.MULTIRUN)

    def _files(self) -> Files:
        return self.composer.sweep_files(self.overrides)


# a row of each axis: a text for each of its keys
_Setting = Mapping[Axis, tuple[str, ...]]


def _edges(space: Space) -> list[dict[str, str]]:
    """Settings that have every choice, and both ends of every range, at least once."""
    rows = {axis: _ends(axis) for axis in space.searched}
    first = {axis: own[0] for axis, own in rows.items()}
    last = {axis: own[-1] for axis, own in rows.items()}
    others = [
        _enabled(axis, first | {axis: row}, space, [each for each in rows if each != axis])
        for axis, own in rows.items()
        for row in own
    ]
    settings = [first, *others, last]
    replicate = space.replicates()[0]
    return [space.active({**_values(setting), **replicate}) for setting in settings]


def _enabled(axis: Axis, setting: _Setting, space: Space, others: Sequence[Axis]) -> _Setting:
    """The setting with other rows of these other axes, so that the axis counts in it."""
    condition = space.conditions.get(axis.name, {})
    for other in others:
        own = {key: texts for key, texts in condition.items() if key in other.keys}
        # a range takes its values from the condition
        rows = other.choices or [(text,) for texts in own.values() for text in texts]
        fitting = [row for row in rows if holds(own, dict(zip(other.keys, row, strict=True)))]
        if own and fitting:
            changed = {**setting, other: fitting[0]}
            rest = [each for each in others if each != other]
            setting = _enabled(other, changed, space, rest)
    return setting


def _values(setting: _Setting) -> dict[str, str]:
    pairs = (zip(axis.keys, row, strict=True) for axis, row in setting.items())
    return dict(chain.from_iterable(pairs))


def _words(axis: Axis) -> list[str]:
    if axis.count is not None and axis.count <= MOST_WORDS:
        return [" ".join(row) for row in axis.values()]
    if axis.choices is not None:
        first, last = (" ".join(axis.choices[k]) for k in (0, -1))
        return [f"{len(axis.choices)} values, {first} to {last}"]
    return [f"{text_of(axis.low)} to {text_of(axis.high)}{' (log)' if axis.log else ''}"]


def _ends(axis: Axis) -> Sequence[tuple[str, ...]]:
    return axis.choices or [(text_of(axis.low),), (text_of(axis.last),)]


def is_sweep(overrides: Sequence[str], composer: Composer) -> bool:
    """Whether a command line asks for a sweep without saying -m: by a word, or its experiment."""
    if _says_how_to_sweep(overrides):
        return True
    has_recipe = any(text.lstrip("+").startswith(f"{RECIPE}=") for text in overrides)
    try:
        is_alone = NO_SWEEP in overrides or not has_recipe
        return not is_alone and bool(composer.sweep(overrides).axes)
    except ConfigError:  # a run alone has this mistake too
        return False


def _says_how_to_sweep(overrides: Sequence[str]) -> bool:
    words = [text.lstrip("+") for text in overrides if text != NO_SWEEP]
    return any(text.startswith(("sweep=", "sweep.")) for text in words)


def sweep_command(overrides: Sequence[str], config_dir: str | None) -> str:
    """The command that starts this sweep, or goes on with it."""
    flags = [] if _says_how_to_sweep(overrides) else ["-m"]
    return train_command([*flags, *overrides], config_dir)


def is_swept(text: str) -> bool:
    """Whether an override has several values, or a range of them."""
    override = parse_override(text, [])
    return override is not None and override.is_sweep_override()


def read_sweep(overrides: Sequence[str], composer: Composer) -> Sweep:
    """What the command line sweeps over. Raises ConfigError with every mistake of the space."""
    settings = composer.sweep(overrides)
    space = read_space(overrides, axes=settings.axes, when=settings.when, composer=composer)
    return Sweep(settings, space, composer, tuple(overrides))


def check_sweep(overrides: Sequence[str], composer: Composer) -> Sweep:
    """What is swept over. Raises ConfigError where the first job is no run, for many more jobs.

    What is left for `run_sweep` to find is what its jobs do not share with the first.
    """
    try:
        sweep = read_sweep(overrides, composer)
    except ConfigError as error:
        problems = [*error.problems, *_job_problems(overrides, composer)]
        raise ConfigError(list(dict.fromkeys(problems))) from None
    values = sweep.samples()
    try:
        sweep.compose(values[:1])
    except ConfigError:
        sweep.compose(values[:MOST_EXAMPLES])
        raise
    return sweep


def _job_problems(overrides: Sequence[str], composer: Composer) -> list[str]:
    """What is wrong with a job whatever is swept, for a command line that says that wrongly."""
    words = [text for text in overrides if not (is_swept(text) or _says_how_to_sweep([text]))]
    try:
        composer.job(words)
    except ConfigError as error:
        return error.problems
    return []


def search_problems(sweep: Sweep, config: Config, *, can_prune: bool) -> list[str]:
    """What keeps a search from being made, a message each; of a grid what it would ignore.

    Args:
        config: of one of its runs.
        can_prune: whether the launcher can stop a run after an epoch.
    """
    settings, axes = sweep.settings, sweep.space.searched
    if not sweep.is_search:
        if settings.pruner == "none":
            return []
        return [f"sweep.pruner must be none where sweep.sampler is grid, got {settings.pruner}"]
    problems = []
    if settings.limit is not None:
        problems.append(
            f"sweep.limit must be null where sweep.sampler is {settings.sampler}, got "
            f"{settings.limit}: sweep.n_trials says how many"
        )
    if not axes:
        problems.append(
            f"sweep.axes must name a key for {settings.sampler} beside seed and data.fold, got none"
        )
    objectives, pruner = settings.objectives, settings.pruner
    if len(set(objectives)) < len(objectives):
        problems.append(f"sweep.objectives must differ, got {', '.join(objectives)}")
    if config.rerun:
        problems.append(
            f"rerun must be false where sweep.sampler is {settings.sampler}, got true: a search "
            "keeps what it has learned of each trial, and trains a setting once"
        )
    measured = [name for name in objectives if name.startswith("final/val_")]
    if measured and config.data.validation_size == 0:
        problems.append(
            "sweep.objectives must not be measured on a validation split where "
            f"data.validation_size is 0, got {', '.join(measured)}"
        )
    if not sweep.prunes:
        return problems
    first = objectives[0]
    rules = {
        f"with several sweep.objectives, got {pruner} and {len(objectives)} of them": (
            len(objectives) > 1
        ),
        f"where {first} is wanted, which has no value after each epoch, got {pruner}": (
            first not in EPOCH_METRICS
        ),
        f"where seed or data.fold repeats each setting, got {pruner}": (
            len(sweep.space.replicates()) > 1
        ),
        f"unless hydra/launcher is stacked, which alone can stop a run, got {pruner}": (
            not can_prune
        ),
        f"where training.epochs is 1, got {pruner}": config.training.epochs < 2,
    }
    return problems + [
        f"sweep.pruner must be none {rule}" for rule, applies in rules.items() if applies
    ]
