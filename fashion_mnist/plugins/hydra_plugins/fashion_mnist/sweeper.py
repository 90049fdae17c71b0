"""`hydra/sweeper=grid_and_search`: what `sweeps.runner.run_sweep` has Hydra do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.fashion_mnist.launcher import StackedLauncher
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from fashion_mnist.launchers import base
    from fashion_mnist.runs.request import RequestResult
    from fashion_mnist.sweeps.definition import Sweep
    from fashion_mnist.sweeps.jobs import Job


class GridAndSearch(Sweeper):
    """A `sweeps.runner.HydraJobs` for a grid or a search, with any launcher of Hydra's."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call."""
        self._context, self._config = hydra_context, config
        self._task: Callable[..., object] = task_function  # takes what `begin` binds, too
        self._hydra_launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> NoReturn:
        """Hydra's call, which `fmnist train` leaves out: it has read the arguments before."""
        raise NotImplementedError("fmnist train calls run_sweep")

    @property
    def own_launcher(self) -> "base.Launcher | None":
        """The launcher that was chosen; None: one of Hydra's own."""
        return (
            self._hydra_launcher.launcher
            if isinstance(self._hydra_launcher, StackedLauncher)
            else None
        )

    def begin(self, sweep: "Sweep", parent: str) -> None:
        """Make Hydra's folder of the sweep; Hydra's own launchers train its jobs under the parent.

        They may have processes of their own, and pickle the function of a job.
        """
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        task = partial(
            self._task,
            parent=parent,
            axes=sweep.axes,
            retry_failed=sweep.settings.retry_failed,
        )
        self._hydra_launcher.setup(
            hydra_context=self._context, task_function=task, config=self._config
        )

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


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="grid_and_search",
    node=GridAndSearchConfig,
    provider="fashion_mnist",
)
