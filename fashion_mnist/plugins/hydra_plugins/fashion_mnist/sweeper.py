"""`hydra/sweeper=grid_and_search`: Hydra's shell over `sweeps.runner.run_sweep`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.fashion_mnist.launcher import StackedLauncher
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from fashion_mnist.launchers import base
    from fashion_mnist.runs.request import RequestResult
    from fashion_mnist.sweeps.definition import Sweep
    from fashion_mnist.sweeps.jobs import Job
    from fashion_mnist.sweeps.parent import SweepContext


class GridAndSearch(Sweeper):
    """Runs the jobs of a grid, or what a search proposes, with any launcher of Hydra's.

    It is a `sweeps.runner.HydraJobs`: the runner has it launch or record the jobs.
    """

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self.checked: Sweep | None = None  # what is swept over, set by the command

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call."""
        self._config = config
        self._hydra_launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> int:
        """Run the sweep that was read from the arguments before; the exit status of the program.

        Raises:
            ConfigError, DataError, RunError, OSError: see `run_sweep`.
        """
        from fashion_mnist.sweeps.runner import run_sweep

        assert self.checked is not None
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        return run_sweep(self.checked, self, dry_run=self._dry_run)

    @property
    def own_launcher(self) -> "base.Launcher | None":
        """The launcher that was chosen; None: one of Hydra's own."""
        return (
            self._hydra_launcher.launcher
            if isinstance(self._hydra_launcher, StackedLauncher)
            else None
        )

    def begin(self, context: "SweepContext") -> None:
        """Make Hydra's folder of the sweep, with what a job of Hydra's own launchers reads."""
        from fashion_mnist.sweeps.parent import write_context

        folder = Path(self._config.hydra.sweep.dir)
        write_context(folder, context)
        OmegaConf.save(self._config, folder / "multirun.yaml")

    def launch(self, jobs: "Sequence[Job]") -> None:
        """Have one of Hydra's own launchers train jobs."""
        overrides = [list(job.request.overrides) for job in jobs]
        self._hydra_launcher.launch(overrides, initial_job_idx=jobs[0].number)

    def report(self, jobs: "Sequence[Job]", results: "Mapping[str, RequestResult]") -> None:
        """Make Hydra's folders of jobs that were trained."""
        assert isinstance(self._hydra_launcher, StackedLauncher)
        self._hydra_launcher.report(jobs, results)


@dataclass
class GridAndSearchConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.sweeper.GridAndSearch"
    dry_run: bool = False  # check and show what would be trained


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid_and_search",
    node=GridAndSearchConfig,
    provider="fashion_mnist",
)
