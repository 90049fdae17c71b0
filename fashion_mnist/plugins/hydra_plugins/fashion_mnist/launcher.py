"""`hydra/launcher=stacked`: Hydra's shell over `sweep.execution`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from fashion_mnist.runs.request import Request, RunResult
    from fashion_mnist.sweeps.plan import Job


class StackedLauncher(Launcher):
    """Trains jobs whose shapes agree together, in this process."""

    def __init__(self) -> None:
        # imported here, as in all of this file: Hydra imports every plugin at every start
        from fashion_mnist.sweeps.execution import Orders

        self.orders = Orders()  # which our sweeper fills in

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call. The task function is not called: it would train one run."""
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Compose jobs and train them, for a sweeper that is not ours.

        Raises:
            ConfigError, DataError: before anything is trained.
            StopRequested: what was done by then is recorded.
        """
        from fashion_mnist.sweeps.plan import make_jobs

        requests = [self._request(list(overrides)) for overrides in job_overrides]
        jobs = make_jobs(requests, self.orders.datasets, first_number=initial_job_idx)
        return self.train(jobs)

    def train(self, jobs: "Sequence[Job]") -> list[JobReturn]:
        """Train jobs that are composed; then let Hydra do for each what it does for any job.

        Raises:
            StopRequested: what was done by then is recorded.
        """
        from fashion_mnist.sweeps.execution import train_jobs

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        results = train_jobs(jobs, self.orders)
        return [self._report(job, results[job.identity]) for job in jobs]

    def _request(self, overrides: list[str]) -> "Request":
        from fashion_mnist.config.compose import composed_by_hydra
        from fashion_mnist.runs.request import Request

        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        choices = config.hydra.runtime.choices
        with open_dict(config):
            del config["hydra"]
        job = composed_by_hydra(config, overrides, choices)
        return Request(job.config, job.overrides, job.choices)

    def _report(self, job: "Job", result: "RunResult") -> JobReturn:
        """Hydra's folder and callbacks for a job whose result is there."""
        from fashion_mnist.config.compose import job_config
        from fashion_mnist.runs.request import outcome_of

        def task(_config: DictConfig) -> float | None:
            return outcome_of(result)

        returned = run_job(
            hydra_context=self._context,
            task_function=task,
            config=job_config(self._config, job.config, job.request.overrides, job.number),
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
