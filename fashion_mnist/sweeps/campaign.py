"""A sweep under way: its jobs so far, and the search that proposes more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from fashion_mnist.analysis.leaderboard import RunResult
from fashion_mnist.config.schema import Config
from fashion_mnist.runs.request import ENDED, last_attempt
from fashion_mnist.runs.results import PRUNED_TAG
from fashion_mnist.sweeps.collect import read_result
from fashion_mnist.sweeps.context import SweepContext
from fashion_mnist.sweeps.definition import EPOCH_METRICS, Sweep
from fashion_mnist.sweeps.execution import Orders, train_jobs
from fashion_mnist.sweeps.plan import Job, make_jobs
from fashion_mnist.training.stack import HistoryRow

if TYPE_CHECKING:  # Optuna takes its time, and a grid does without it
    from fashion_mnist.sweeps.search import Search, Trial

Launch = Callable[[Sequence[Job]], None]
BATCH_SIZE = 4  # proposals of a search that are asked for at once: each learns of those before
FEWEST_BATCHES = 4  # however many machines there are, or a search that learns would learn nothing
INDEPENDENT = ("random", "qmc")  # samplers that learn nothing anyway


@dataclass
class Campaign:
    """The jobs of a sweep, in the order in which they were thought of."""

    sweep: Sweep
    context: SweepContext
    orders: Orders
    launch: Launch
    jobs: list[Job] = field(default_factory=list)

    def make(self, values: Sequence[Mapping[str, str]]) -> list[Job]:
        """Jobs with these values of the axes, of which nothing is known yet.

        Raises:
            ConfigError: with every mistake of every job.
        """
        requests = [self.context.request(composed) for composed in self.sweep.compose(values)]
        jobs = make_jobs(requests, self.orders.datasets)
        return [replace(job, values=own) for job, own in zip(jobs, values, strict=True)]

    def add(self, jobs: Sequence[Job]) -> list[Job]:
        """Make jobs part of the sweep, with numbers of their own."""
        added = [replace(job, number=number) for number, job in enumerate(jobs, len(self.jobs))]
        self.jobs += added
        return added

    def run(self, jobs: Sequence[Job]) -> None:
        """Have jobs trained, by whatever launcher.

        Those of a grid that have ended are no work for one: what is left to say of them is said
        here, in a tenth of the time that Hydra takes to compose a job.
        """
        parent = self.context.parent  # which was not yet known when the jobs were made
        jobs = [replace(job, request=replace(job.request, parent=parent)) for job in jobs]
        if not self.sweep.is_search:
            has_ended = [job.folder.status() in ENDED for job in jobs]
            ended = list(compress(jobs, has_ended))
            train_jobs(ended, replace(self.orders, workers=None))
            jobs = [job for job, done in zip(jobs, has_ended, strict=True) if not done]
            if jobs:
                self._compare(ended)
        if jobs:
            self.launch(jobs)

    def _compare(self, jobs: Sequence[Job]) -> None:
        """Have the display know the best of runs that were trained before."""
        for job in jobs:
            state = job.folder.state()
            if state.status == "FINISHED":
                self.orders.progress.compare(job.name, state.metrics().get(self.orders.score))

    def results(self) -> list[RunResult]:
        """What came of every job so far."""
        return self._read(self.jobs)

    def _read(self, jobs: Sequence[Job]) -> list[RunResult]:
        return [read_result(job, self.sweep.composer.config_dir) for job in jobs]

    def search(self, folder: Path, config: Config) -> None:
        """Ask, train and tell, until as many trials are done as are wanted.

        Args:
            folder: of the sweep, where the search keeps what it learns.
            config: of one of the jobs.
        """
        from fashion_mnist.sweeps.search import Search

        settings, batch_size = self.sweep.settings, self._batch_size()
        with Search(
            folder,
            self.sweep.space.searched,
            sampler=settings.sampler,
            objectives=settings.objectives,
            pruner=settings.pruner,
            seed=config.seed,
            n_trials=settings.n_trials,
            num_epochs=config.training.epochs,
        ) as search:
            if settings.retry_failed:
                search.retry_failed()
            known = self.add(self.make(self._settings(search.known())))
            self._compare(known)
            missing = [job for job in known if _is_open(job)]  # of seeds that are new
            if missing:
                self.run(missing)
            while trials := search.ask(batch_size):
                self._try(search, trials)

    def _batch_size(self) -> int:
        """How many proposals are tried at once: on other machines, as many as these can train."""
        settings, workers = self.sweep.settings, self.orders.workers
        if settings.stack_size != "auto":
            return settings.stack_size
        is_independent = settings.sampler in INDEPENDENT
        most = settings.n_trials if is_independent else settings.n_trials // FEWEST_BATCHES
        num_places = 1 if workers is None or workers.capacity.is_here else workers.capacity.number
        return max(BATCH_SIZE, min(num_places, most))

    def _settings(self, trials: Sequence[Trial]) -> list[dict[str, str]]:
        """The values of every job of these trials."""
        space = self.sweep.space
        return [
            space.active({**trial.values, **replicate})
            for trial in trials
            for replicate in space.replicates()
        ]

    def _try(self, search: Search, trials: Sequence[Trial]) -> None:
        own = [self.add(self.make(self._settings([trial]))) for trial in trials]
        pairs = list(zip(trials, own, strict=True))
        trial_of = {job.number: trial.number for trial, jobs in pairs for job in jobs}
        watched = EPOCH_METRICS.get(self.sweep.score, "")

        def gives_up(number: int, epoch: int, row: HistoryRow) -> bool:
            return search.report(trial_of[number], epoch, row[watched])

        if self.sweep.settings.pruner != "none":
            self.orders.gives_up = gives_up
        self.run([job for jobs in own for job in jobs])
        for trial, jobs in pairs:
            results = self._read(jobs)
            search.tell(
                trial.number,
                self._mean_objectives(results),
                is_pruned=any(result.pruned_at is not None for result in results),
            )

    def _mean_objectives(self, results: Sequence[RunResult]) -> list[float] | None:
        """Each objective's mean over the replicates; None where one of them has no result."""
        objectives = self.sweep.settings.objectives
        if any(name not in result.metrics for result in results for name in objectives):
            return None
        return [fmean(result.metrics[name] for result in results) for name in objectives]


def _is_open(job: Job) -> bool:
    """Whether a run has neither come to its end nor been given up."""
    last = last_attempt(job.config, job.dataset)
    return last is None or (last.status() not in ENDED and PRUNED_TAG not in last.tags())
