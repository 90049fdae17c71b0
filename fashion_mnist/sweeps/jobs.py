"""The jobs of a sweep, and which run each of them is."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from fashion_mnist.analysis.labels import short_names
from fashion_mnist.config.compose import Composed
from fashion_mnist.config.messages import ConfigError, RunError
from fashion_mnist.config.rules import size_problems
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.records import run_name
from fashion_mnist.runs.request import (
    SETTLED,
    Attempts,
    Datasets,
    Request,
    find_attempts,
    identify,
    machine_of,
    resolve_machine_of,
)
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.training.device import Machine


@dataclass(frozen=True)
class Job:
    """One job of a sweep, and the run that it stands for."""

    number: int  # Hydra's, from 0
    request: Request
    dataset: Dataset
    fingerprint: str
    attempts: Attempts  # when the job was made
    values: Mapping[str, str] = field(default_factory=dict)  # of each axis, where it is known
    trial: int | None = None  # of a search

    @property
    def config(self) -> Config:
        """What is trained."""
        return self.request.config

    @property
    def run_dir(self) -> RunDir:
        """Of the attempt that is shown, gone on with or to be begun."""
        return self.attempts.run_dir

    @property
    def name(self) -> str:
        """What distinguishes it from the others."""
        return self.request.name or run_name(self.config, self.request.overrides)

    @property
    def epoch(self) -> int:
        """The epoch after which its run is resumed."""
        return self.attempts.epoch

    @property
    def is_settled(self) -> bool:
        """Whether nothing of its run is to be trained."""
        return self.attempts.kind in SETTLED

    @cached_property
    def machine(self) -> Machine:
        """What it is trained on, with one thread where their number is left to the launcher."""
        return self.machine_with(threads=1)

    def machine_with(self, threads: int | None) -> Machine:
        """What it is trained on: as it was begun, else as this machine does it.

        Args:
            threads: what `training.threads: auto` means for a new run; None: all cores.
        """
        machine = resolve_machine_of(self.config, self.dataset, threads=threads)
        with suppress(RunError):  # which shows when it is tried
            machine = machine_of(self.run_dir, machine)
        return machine


def child_request(job: Composed, axes: Sequence[str], *, retry_failed: bool) -> Request:
    """A job's run, as one of a sweep.

    Args:
        axes: the keys that may differ between the jobs.
        retry_failed: train again what failed before.
    """
    return Request(
        job.config,
        job.overrides,
        job.choices,
        name=child_name(job.overrides, axes) or None,
        retry_failed=retry_failed,
        auto=False,
    )


def child_name(overrides: Sequence[str], axes: Sequence[str]) -> str:
    """What differs between the runs of a sweep: `width=512 lr=0.003 seed=1`."""
    names = short_names(axes)
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    values = {key: value for key, _, value in pairs if key in names}  # the last of a key counts
    return " ".join(f"{names[key]}={value}" for key, value in values.items())


def make_jobs(
    requests: Sequence[Request],
    datasets: Datasets,
    *,
    first_number: int,
    keeps_pruned: bool = False,
) -> list[Job]:
    """The jobs of these requests.

    Args:
        keeps_pruned: whether runs that a search pruned stay as they are.

    Raises:
        ConfigError: with every size that does not fit the data.
        DataError: data is missing or damaged.
    """
    problems: dict[str, None] = {}
    jobs = []
    for number, request in enumerate(requests, first_number):
        dataset = datasets.of(request.config)
        sizes = len(dataset.train_labels), len(dataset.test_labels)
        problems |= dict.fromkeys(size_problems(request.config, *sizes))
        fingerprint = identify(request.config, dataset)
        attempts = find_attempts(request, fingerprint, keeps_pruned=keeps_pruned)
        jobs.append(Job(number, request, dataset, fingerprint, attempts))
    if problems:
        raise ConfigError(list(problems))
    return jobs


def jobs_by_run(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """The jobs of each run, by its fingerprint: several may ask for the same one."""
    found = dict[str, list[Job]]()
    for job in jobs:
        found.setdefault(job.fingerprint, []).append(job)
    return found


def unique_runs(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each run."""
    return [first for first, *_ in jobs_by_run(jobs).values()]


def runs_to_train(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each run of which something is to be trained."""
    return [job for job in unique_runs(jobs) if not job.is_settled]
