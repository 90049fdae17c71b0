"""What Hydra does in a sweep: its launchers, and its folders and callbacks of the jobs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from fashion_mnist.config.compose import check_folders, job_config
from fashion_mnist.launchers.base import Launcher
from fashion_mnist.runs.request import RequestResult, validation_accuracy_of
from fashion_mnist.sweeps.definition import Sweep
from fashion_mnist.sweeps.jobs import Job

log = logging.getLogger("fashion_mnist")


class JobsInHydra:
    """The `sweeps.runner.HydraJobs` of a command."""

    def __init__(
        self, context: HydraContext, config: DictConfig, task: Callable[..., float | None]
    ) -> None:
        """Make the launcher that the config chooses.

        Args:
            config: Hydra's settings of the sweep.
            task: what one of Hydra's own launchers calls with the config of a job, and with the
                `parent`, the `axes` and `retry_failed` of the sweep.
        """
        self._context, self._config, self._task = context, config, task
        self._hydra_launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )

    @property
    def own_launcher(self) -> Launcher | None:
        """The launcher that was chosen; None: one of Hydra's own."""
        # imported here: Hydra runs the modules of plugins again, which makes another class of it
        from hydra_plugins.fashion_mnist.launcher import StackedLauncher

        own = self._hydra_launcher
        return own.launcher if isinstance(own, StackedLauncher) else None

    def check(self, job: Job) -> None:
        """Raise ConfigError where Hydra cannot name the folder of the sweep, or of a job."""
        own = job_config(self._config, job.config, job.request.overrides, job.number)
        check_folders(own, "hydra.sweep.dir", "hydra.sweep.subdir")

    def begin(self, sweep: Sweep, parent: str) -> None:
        """Make Hydra's folder of the sweep; Hydra's own launchers train its jobs under the parent.

        They may have processes of their own, and pickle the function of a job.
        """
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        settings = sweep.settings
        task = partial(
            self._task, parent=parent, axes=sweep.axes, retry_failed=settings.retry_failed
        )
        self._hydra_launcher.setup(
            hydra_context=self._context, task_function=task, config=self._config
        )

    def launch(self, jobs: Sequence[Job]) -> None:
        """Have one of Hydra's own launchers train jobs, and say why one could not be trained."""
        overrides = [list(job.request.overrides) for job in jobs]
        returned = self._hydra_launcher.launch(overrides, initial_job_idx=jobs[0].number)
        for job, own in zip(jobs, returned, strict=True):
            # the final report tells of a run that failed
            if own.status == JobStatus.FAILED and job.run_dir.status() != "FAILED":
                log.error("%s: %s", job.name, own._return_value)  # `return_value` prints and raises

    def report(self, jobs: Sequence[Job], results: Mapping[str, RequestResult]) -> None:
        """Make Hydra's folders of jobs that were trained.

        Args:
            results: by the jobs' fingerprints.
        """
        setup_globals()
        for job in jobs:
            result = results[job.fingerprint]

            def task(_config: DictConfig, result: RequestResult = result) -> float | None:
                return validation_accuracy_of(result)

            run_job(
                hydra_context=self._context,
                task_function=task,
                config=job_config(self._config, job.config, job.request.overrides, job.number),
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            # a job has logging of its own
            configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
