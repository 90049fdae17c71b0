"""What a command line sweeps over, read and checked: nothing is composed for good or trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from fashion_mnist.config.compose import check_hydra, check_jobs, compose_sweep_settings
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.schema import Config, SweepConfig
from fashion_mnist.sweep.axes import Axis, text_of
from fashion_mnist.sweep.objectives import search_problems
from fashion_mnist.sweep.space import Space, read_space, sweep_id

MOST_WORDS = 50  # values of an axis that are listed
MOST_EXAMPLES = 1000  # jobs that are searched for mistakes at once, 7 ms each


@dataclass(frozen=True)
class Sweep:
    """A grid or a search."""

    settings: SweepConfig
    space: Space
    config_dir: str | None  # a user's folder of further YAML

    @property
    def is_search(self) -> bool:
        """Whether Optuna proposes the settings."""
        return self.settings.sampler != "grid"

    @property
    def score(self) -> str:
        """The figure that chooses the winner."""
        return self.settings.objectives[0]

    @property
    def name(self) -> str:
        """What a person calls it."""
        swept = " × ".join(key.rpartition(".")[2] for key in self.axes)
        return self.settings.name or swept or "one run"

    @property
    def axes(self) -> tuple[str, ...]:
        """The keys that differ between the jobs."""
        return tuple(key for axis in self.space.axes for key in axis.keys)

    def words(self) -> dict[str, list[str]]:
        """Each axis and its values, as they are read."""
        return {axis.name: _words(axis) for axis in self.space.axes}

    def identity(self, data_sha256: Iterable[str]) -> str:
        """The id under which it goes on when it is started again.

        Args:
            data_sha256: of the data sets of its jobs.
        """
        settings = self.settings
        return sweep_id(
            self.space,
            sampler=settings.sampler,
            objectives=settings.objectives,
            data_sha256=data_sha256,
        )

    def samples(self) -> list[dict[str, str]]:
        """The values of every job of a grid; of a search, settings from the edges of its space."""
        if not self.is_search:
            return self.space.grid(self.settings.limit)
        return _edges(self.space)

    def configs(self, values: Sequence[Mapping[str, str]]) -> list[Config]:
        """The configs of jobs with these values. Raises ConfigError with every mistake."""
        jobs = [self.space.overrides_of(own) for own in values]
        return check_jobs(jobs, config_dir=self.config_dir)


def _edges(space: Space) -> list[dict[str, str]]:
    """Settings that have every choice, and both ends of every range, at least once."""
    rows = {axis: _ends(axis) for axis in space.searched}
    first = {axis: own[0] for axis, own in rows.items()}
    last = {axis: own[-1] for axis, own in rows.items()}
    others = [first | {axis: row} for axis, own in rows.items() for row in own[1:]]
    settings = [first, *others, last]
    replicate = space.replicates()[0]
    return [space.active({**_values(setting), **replicate}) for setting in settings]


def _values(setting: Mapping[Axis, tuple[str, ...]]) -> dict[str, str]:
    pairs = (zip(axis.keys, row, strict=True) for axis, row in setting.items())
    return dict(chain.from_iterable(pairs))


def _words(axis: Axis) -> list[str]:
    if axis.count is not None and axis.count <= MOST_WORDS:
        return [" ".join(row) for row in axis.values()]
    return [f"{text_of(axis.low)} to {text_of(axis.high)}{' (log)' if axis.log else ''}"]


def _ends(axis: Axis) -> Sequence[tuple[str, ...]]:
    return axis.choices or [(text_of(axis.low),), (text_of(axis.high),)]


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a command line asks for a sweep without saying -m."""
    return any(text.lstrip("+").startswith(("sweep=", "sweep.")) for text in overrides)


def read_sweep(overrides: Sequence[str], config_dir: str | None) -> Sweep:
    """What the command line sweeps over. Raises ConfigError with every mistake of the space."""
    settings = compose_sweep_settings(overrides, config_dir=config_dir)
    space = read_space(overrides, axes=settings.axes, when=settings.when, config_dir=config_dir)
    return Sweep(settings, space, config_dir)


def check_sweep(overrides: Sequence[str], config_dir: str | None) -> None:
    """Raise ConfigError where the first job is no run: then with the mistakes of many more.

    What is left for `conduct` to find is what its jobs do not share with the first one. Another
    sweeper of Hydra's would not look for it: then all jobs are checked.
    """
    sweep = read_sweep(overrides, config_dir)
    check_hydra(overrides, config_dir=config_dir)
    values = sweep.samples()
    is_ours = not any(text.startswith("hydra/sweeper=") for text in overrides)
    try:
        sweep.configs(values[:1] if is_ours else values)
    except ConfigError:
        sweep.configs(values[:MOST_EXAMPLES])
        raise


def search_mistakes(sweep: Sweep, config: Config, *, can_give_up: bool) -> list[str]:
    """What keeps the search from being made; `can_give_up`: a run can be stopped early."""
    settings = sweep.settings
    if not sweep.is_search:
        return []
    return search_problems(
        sweep.space.searched,
        sampler=settings.sampler,
        objectives=settings.objectives,
        pruner=settings.pruner,
        has_replicates=len(sweep.space.replicates()) > 1,
        can_give_up=can_give_up,
        num_epochs=config.training.epochs,
    )
