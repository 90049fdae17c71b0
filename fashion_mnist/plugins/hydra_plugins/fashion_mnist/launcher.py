"""`hydra/launcher=stacked`, `stacked_ray` and `stacked_submitit`: Hydra's shells over `launchers/`.

Hydra imports this file at every start, so what is slow to import is imported where it is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from fashion_mnist.launchers.options import RayOptions, SubmititOptions

if TYPE_CHECKING:
    from fashion_mnist.launchers import base
    from fashion_mnist.runs.request import Request, RequestResult
    from fashion_mnist.sweeps.jobs import Job


class StackedLauncher(Launcher):
    """Trains stacks on this machine; a subclass has another of our launchers."""

    def __init__(self, launcher: "base.Launcher | None" = None) -> None:
        from fashion_mnist.launchers.local import LocalLauncher

        self.launcher: base.Launcher = launcher or LocalLauncher()

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call. The task function is not called: it would train one run."""
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Compose jobs and train them in this process, for a sweeper that is not ours.

        Raises:
            ConfigError, DataError: before anything is trained.
            KeyboardInterrupt: a signal has asked to stop; what was learned by then is saved.
        """
        from fashion_mnist.runs.request import Datasets, wants_uploader
        from fashion_mnist.runs.signals import StopRequested, stop_requests
        from fashion_mnist.sweeps.jobs import make_jobs
        from fashion_mnist.sweeps.training import TrainingSetup, train_jobs
        from fashion_mnist.tracking.uploader_process import begin_uploading

        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        requests = [self._request(list(overrides)) for overrides in job_overrides]
        jobs = make_jobs(requests, Datasets(), first_number=initial_job_idx)
        configs = [request.config for request in requests if wants_uploader(request.config)]
        for output_dir in {Path(config.output_dir).absolute() for config in configs}:
            begin_uploading(output_dir)  # also where all was trained before, and not yet sent
        try:
            with stop_requests() as stop:
                results = train_jobs(jobs, TrainingSetup(check_for_stop=stop.check))
        except StopRequested as error:
            raise KeyboardInterrupt from error  # a sweeper goes on after an Exception
        return self.report(jobs, results)

    def report(
        self, jobs: "Sequence[Job]", results: "Mapping[str, RequestResult]"
    ) -> list[JobReturn]:
        """Hydra's folders and callbacks of jobs that were trained.

        Args:
            results: by the jobs' fingerprints.
        """
        from fashion_mnist.config.compose import job_config
        from fashion_mnist.runs.request import outcome_of

        setup_globals()
        returned = []
        for job in jobs:
            result = results[job.fingerprint]

            def task(_config: DictConfig, result: "RequestResult" = result) -> float | None:
                return outcome_of(result)

            own = job_config(self._config, job.config, job.request.overrides, job.number)
            returned.append(
                run_job(
                    hydra_context=self._context,
                    task_function=task,
                    config=own,
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
            )
            # a job has logging of its own
            configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        return returned

    def _request(self, overrides: list[str]) -> "Request":
        from fashion_mnist.config.compose import composed_by_hydra
        from fashion_mnist.runs.request import Request

        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        choices = config.hydra.runtime.choices
        with open_dict(config):
            del config["hydra"]
        job = composed_by_hydra(config, overrides, choices)
        return Request(job.config, job.overrides, job.choices)


class StackedRayLauncher(StackedLauncher):
    """Trains stacks wherever a Ray cluster has room for them."""

    def __init__(self, **options: Any) -> None:
        from fashion_mnist.launchers.ray import RayLauncher

        super().__init__(RayLauncher(**options))


class StackedSubmititLauncher(StackedLauncher):
    """Trains each stack as a job of a Slurm array."""

    def __init__(self, **options: Any) -> None:
        from fashion_mnist.launchers.slurm import SlurmLauncher

        super().__init__(SlurmLauncher(**options))


@dataclass
class StackedLauncherConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedLauncher"


@dataclass
class StackedRayLauncherConfig(RayOptions):
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedRayLauncher"


@dataclass
class StackedSubmititLauncherConfig(SubmititOptions):
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedSubmititLauncher"


for _name, _node in {
    "stacked": StackedLauncherConfig,
    "stacked_ray": StackedRayLauncherConfig,
    "stacked_submitit": StackedSubmititLauncherConfig,
}.items():
    ConfigStore.instance().store(
        group="hydra/launcher", name=_name, node=_node, provider="fashion_mnist"
    )
