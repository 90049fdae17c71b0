"""`hydra/sweeper=grid_and_search`: Hydra's shell over `sweep.conduct`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.fashion_mnist.launcher import StackedLauncher
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from fashion_mnist.sweeps.definition import Sweep
    from fashion_mnist.sweeps.plan import Job

log = logging.getLogger("fashion_mnist")


class GridAndSearch(Sweeper):
    """Runs the jobs of a grid, or what a search proposes, with any launcher of Hydra's."""

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self.checked: Sweep | None = None  # what is swept over, set by the command

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call."""
        self._config = config
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Everything; ends the program with an exit status of its own where not all is well.

        What is swept over was read from the arguments before.

        Raises:
            SystemExit: 2 for a mistake, 1 for runs that failed, 128 + signal when stopped.
        """
        from fashion_mnist.errors import WANTS_TRACEBACK, exit_status, in_words
        from fashion_mnist.sweeps.conduct import conduct

        assert self.checked is not None
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        launcher = self._launcher
        try:
            status = conduct(
                self.checked,
                sweep_dir=Path(self._config.hydra.sweep.dir),
                launch=self._launch,
                stacked=launcher.orders if isinstance(launcher, StackedLauncher) else None,
                dry_run=self._dry_run,
            )
        except Exception as error:
            expected = exit_status(error)
            if WANTS_TRACEBACK or expected is None:
                raise
            log.error(in_words(error))
            status = expected
        if status:
            raise SystemExit(status)

    def _launch(self, jobs: "Sequence[Job]") -> None:
        """As Hydra's own sweeper does it, with the record of the sweep beside the jobs."""
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        if isinstance(self._launcher, StackedLauncher):
            self._launcher.train(jobs)
        else:
            overrides = [list(job.request.overrides) for job in jobs]
            self._launcher.launch(overrides, initial_job_idx=jobs[0].number)


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
