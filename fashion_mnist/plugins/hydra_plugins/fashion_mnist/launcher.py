"""`hydra/launcher=stacked`: Hydra's shell over `sweep.execution`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from fashion_mnist.runs.request import Request, RunResult


class StackedLauncher(Launcher):
    """Trains jobs whose shapes agree together, in this process."""

    def __init__(self) -> None:
        # imported here, as in all of this file: Hydra imports every plugin at every start
        from fashion_mnist.sweep.execution import Orders

        self.orders = Orders()  # which our sweeper fills in

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call. The task function is not called: it would train one run."""
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train all jobs; then let Hydra do for each what it does for any job.

        Raises:
            ConfigError, DataError: before anything is trained.
            StopRequested: what was done by then is recorded.
        """
        from fashion_mnist.sweep.execution import train_jobs
        from fashion_mnist.sweep.plan import make_jobs

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        configs = [
            self._compose(list(overrides), number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        requests = [
            self._request(config, overrides)
            for config, overrides in zip(configs, job_overrides, strict=True)
        ]
        jobs = make_jobs(requests, self.orders.datasets, first_number=initial_job_idx)
        results = train_jobs(jobs, self.orders)
        return [
            self._report(config, results[job.identity])
            for config, job in zip(configs, jobs, strict=True)
        ]

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _request(self, config: DictConfig, overrides: Sequence[str]) -> "Request":
        from fashion_mnist.config.compose import parse_composed
        from fashion_mnist.runs.request import Request
        from fashion_mnist.sweep.context import read_context

        parsed = parse_composed(config, overrides)
        context = read_context(Path(self._config.hydra.sweep.dir))
        own = tuple(overrides)
        return context.request(parsed, own) if context else Request(parsed, own)

    def _report(self, config: DictConfig, result: "RunResult") -> JobReturn:
        """Hydra's folder and callbacks for a job whose result is there."""
        from fashion_mnist.runs.request import outcome_of

        def task(_config: DictConfig) -> float | None:
            return outcome_of(result)

        returned = run_job(
            hydra_context=self._context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        # a job has logging of its own
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        return returned


@dataclass
class StackedLauncherConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="stacked", node=StackedLauncherConfig, provider="fashion_mnist"
)
