"""Hydra's side of a sweep in tests: it notes what it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fashion_mnist.launchers.base import Launcher
from fashion_mnist.runs.request import RequestResult
from fashion_mnist.sweeps.definition import Sweep
from fashion_mnist.sweeps.jobs import Job


@dataclass
class RecordedJobs:
    """A `sweeps.runner.HydraJobs` without folders.

    `train` is the launcher of Hydra's where there is no `own_launcher`.
    """

    own_launcher: Launcher | None = None
    train: Callable[[Sequence[Job]], None] | None = None
    reported: list[Job] = field(default_factory=list)

    def check(self, job: Job) -> None:
        """There is no folder to be named."""

    def begin(self, sweep: Sweep, parent: str) -> None:
        """There is no folder to be made."""

    def launch(self, jobs: Sequence[Job]) -> None:
        """Train."""
        assert self.train is not None
        self.train(jobs)

    def report(self, jobs: Sequence[Job], results: Mapping[str, RequestResult]) -> None:
        """Note jobs that have a result."""
        self.reported += [job for job in jobs if job.fingerprint in results]
