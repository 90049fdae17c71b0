"""What a sweep is going to do, found out before anything is trained, and the words for it.

How many runs there are, which of them are known, how the rest are grouped into stacks, and what
they need in time and memory, from a few timed steps of each shape.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from fashion_mnist.analysis.text_table import Column, text_table
from fashion_mnist.config.messages import ConfigError, duration, plural
from fashion_mnist.config.schema import Config
from fashion_mnist.launchers.base import Capacity, Launcher
from fashion_mnist.launchers.local import LocalLauncher
from fashion_mnist.models.network import num_parameters
from fashion_mnist.models.summary import summarize
from fashion_mnist.runs.events import SWEEPS
from fashion_mnist.runs.request import Attempts, Datasets
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.stacks import build_architecture
from fashion_mnist.sweeps.definition import Sweep, search_problems
from fashion_mnist.sweeps.grouping import Grouping, JobStack
from fashion_mnist.sweeps.jobs import Job, child_request, make_jobs, runs_to_train, unique_runs
from fashion_mnist.sweeps.space import sweep_id

MEBIBYTE = 2**20
# Steps are measured; reading data, the final evaluation, pictures and event logs are not, nor is
# what else the machine will do in that time.
LEAST_SPREAD = 1.3
KINDS = {  # what is to be done of a run of a grid, in words
    "new": "new",
    "resumed": "to be resumed",
    "repeated": "to be trained again (rerun=true)",
    "finished": "finished before",
    "failed": "failed before (sweep.retry_failed=true retries)",
    "retried": "failed before (to be retried)",
}
COLUMNS = (
    Column("architecture", "network"),
    Column("num_runs", "runs", is_number=True),
    Column("stacks", "stacks", is_number=True),
    Column("num_parameters", "parameters", is_number=True),
    Column("memory", "MiB a stack", is_number=True),
    Column("time", "time", is_number=True),
)
LAYER_COLUMNS = (
    Column("layer", "layer"),
    Column("kind", "kind"),
    Column("shape", "output"),
    Column("num_parameters", "parameters", is_number=True),
    Column("multiply_adds", "multiply-adds of an image", is_number=True),
)
MAX_LAYERS = 40  # rows of the table


@dataclass(frozen=True)
class ArchitectureCost:
    """Runs of one architecture that can be trained together, and what that costs."""

    architecture: str  # 784-512-256-10 relu
    num_runs: int
    num_stacks: int  # that the runs are split into
    stack_size: int  # the most members of a stack
    num_parameters: int  # of one run
    num_bytes: float  # of a stack; NaN: not known
    seconds: float  # of all the runs; NaN: not known
    spread: float = LEAST_SPREAD  # the factor by which the seconds may be wrong


@dataclass(frozen=True)
class Preflight:
    """What is known of a sweep before anything is trained."""

    headline: str  # how many jobs there are, or trials, and what is known of them
    num_to_train: int  # runs; of a search those of all its trials
    costs: Sequence[ArchitectureCost]
    num_workers: int  # stacks that are trained at a time
    seconds_to_start: float  # before there is one
    axes: Mapping[str, Sequence[str]]  # and their values in words
    is_search: bool = False
    resumed_epochs: Sequence[tuple[int, int]] = ()  # of each run to be resumed: done, of how many

    @property
    def seconds(self) -> float:
        """Estimate of all the training, as far as it is known; 0 where there is none."""
        known = [cost.seconds for cost in self.costs if not math.isnan(cost.seconds)]
        return sum(known) + self.seconds_to_start if known else 0.0

    @property
    def num_bytes(self) -> float:
        """What the largest stack needs, as far as it is known."""
        known = [cost.num_bytes for cost in self.costs if not math.isnan(cost.num_bytes)]
        return max(known, default=math.nan)


@dataclass(frozen=True)
class Plan:
    """A sweep whose jobs are checked; nothing is written yet."""

    jobs: Sequence[Job]  # of a grid all, of a search examples
    folder: Path  # of the sweep
    grouping: Grouping
    stacks: Sequence[JobStack]  # of these jobs
    datasets: Datasets
    preflight: Preflight

    @property
    def config(self) -> Config:
        """Of one of the jobs."""
        return self.jobs[0].config


def plan_sweep(sweep: Sweep, launcher: Launcher | None) -> Plan:
    """Make the jobs, each composed and validated once, and measure what they will take.

    Args:
        launcher: None: one of Hydra's own, which has processes of its own and trains each run
            alone.

    Raises:
        ConfigError: with every mistake of every job.
        DataError: data is missing or damaged.
    """
    settings = sweep.settings
    if launcher is not None and (problems := launcher.problems()):
        raise ConfigError(problems)
    datasets = Datasets()
    jobs = compose_jobs(sweep, sweep.samples(), datasets)
    config = jobs[0].config
    can_prune = isinstance(launcher, LocalLauncher)  # at once, after an epoch
    if problems := search_problems(sweep, config, can_prune=can_prune):
        raise ConfigError(problems)
    identity = sweep_id(
        sweep.space,
        sampler=settings.sampler,
        objectives=settings.objectives,
        data_sha256={job.dataset.sha256 for job in jobs},
    )
    folder = Path(config.output_dir).absolute() / SWEEPS / identity
    if not sweep.is_search:
        counts = Counter[str](job.attempts.kind for job in unique_runs(jobs))
        headline = grid_headline(counts, len(jobs) - counts.total())
        runs = runs_to_train(jobs)
        num_to_train, resumed = len(runs), [job for job in runs if job.attempts.kind == "resumed"]
        grouping = _grouping(sweep, launcher, runs, counts.total())
        stacks = grouping.stacks(runs, measures_all=True)
    else:
        from fashion_mnist.sweeps.search import trials_done  # Optuna takes its time

        done = trials_done(folder, retry_failed=settings.retry_failed)
        # these stand for trials to come, whatever came of their own runs
        new = Attempts("new", RunDir(folder / "none"))
        runs = [replace(job, attempts=new) for job in unique_runs([jobs[0], jobs[-1]])]
        headline = search_headline(settings.sampler, done, settings.n_trials)
        num_left, resumed = max(0, settings.n_trials - done), []
        num_to_train = num_left * len(sweep.space.replicates())
        is_here = isinstance(launcher, LocalLauncher)
        runs_at_a_time = sweep.batch_size(settings.n_trials, is_here=is_here)
        runs_at_a_time *= len(sweep.space.replicates())
        grouping = _grouping(sweep, launcher, runs, runs_at_a_time)
        stacks = grouping.stacks(runs if num_left else [], measures_all=True)
    preflight = _preflight(sweep, headline, num_to_train, stacks, grouping, resumed=resumed)
    return Plan(jobs, folder, grouping, stacks, datasets, preflight)


def _grouping(
    sweep: Sweep, launcher: Launcher | None, runs: Sequence[Job], num_runs: int
) -> Grouping:
    """Where runs, or a search's that are like these, are trained, and in how large stacks.

    Args:
        runs: that are to be trained, or examples of a search's.
        num_runs: of the whole grid, trained before or not, for a run's bits must not depend on how
            many are left; of a search, that it has at a time.
    """
    settings = sweep.settings
    if launcher is None:
        return Grouping(Capacity(), max_stack_size=1)
    capacity, runs_at_a_time = Capacity(), num_runs if sweep.is_search else None
    if runs and not sweep.prunes:  # pruned runs are trained in-process
        machines = [job.machine for job in runs]
        capacity = launcher.capacity(machines, num_runs, settings.processes)
        num_workers = min(capacity.number, runs_at_a_time or len(runs))
        capacity = replace(capacity, number=num_workers)
    max_stack_size = None if settings.stack_size == "auto" else settings.stack_size
    return Grouping(capacity, max_stack_size, settings.memory, runs_at_a_time)


def compose_jobs(
    sweep: Sweep,
    values: Sequence[Mapping[str, str]],
    datasets: Datasets,
    *,
    first_number: int = 0,
    keeps_pruned: bool = False,
) -> list[Job]:
    """Jobs with these values of the axes.

    Args:
        keeps_pruned: whether runs that a search pruned stay as they are.

    Raises:
        ConfigError: with every mistake of every job.
        DataError: data is missing or damaged.
    """
    requests = [
        child_request(composed, sweep.axes, retry_failed=sweep.settings.retry_failed)
        for composed in sweep.compose(values)
    ]
    jobs = make_jobs(requests, datasets, first_number=first_number, keeps_pruned=keeps_pruned)
    return [replace(job, values=own) for job, own in zip(jobs, values, strict=True)]


def _preflight(
    sweep: Sweep,
    headline: str,
    num_to_train: int,
    stacks: Sequence[JobStack],
    grouping: Grouping,
    *,
    resumed: Sequence[Job] = (),
) -> Preflight:
    """What training so many runs takes.

    Args:
        stacks: of a grid all of them; of a search those of examples, none where no trial is to go.
        resumed: the jobs of runs that are begun.
    """
    capacity, num_for_workers = grouping.capacity, sum(stack.is_for_workers for stack in stacks)
    if num_for_workers and grouping.runs_at_a_time:  # the stacks are examples
        num_for_workers = grouping.runs_at_a_time
    num_workers = min(capacity.number, max(1, num_for_workers))
    by_key = groupby(stacks, lambda stack: stack.key)
    costs = [_cost(list(own), num_workers) for _, own in by_key]
    return Preflight(
        headline,
        num_to_train,
        costs=_of_trials(costs, num_to_train) if sweep.is_search else costs,
        num_workers=num_workers,
        seconds_to_start=capacity.seconds_to_start if num_for_workers else 0.0,
        axes=sweep.words(),
        is_search=sweep.is_search,
        resumed_epochs=[(job.epoch, job.config.training.epochs) for job in resumed],
    )


def _of_trials(examples: Sequence[ArchitectureCost], num_to_train: int) -> list[ArchitectureCost]:
    """As if so many runs were shared out evenly among the examples' architectures."""
    share = num_to_train / max(1, len(examples))
    return [
        replace(
            cost,
            architecture=f"such as {cost.architecture}",
            num_runs=max(1, round(share)),
            num_stacks=max(1, round(share)),
            seconds=cost.seconds / cost.num_runs * share,
            spread=2.0,
        )
        for cost in examples
    ]


def _cost(stacks: Sequence[JobStack], num_workers: int) -> ArchitectureCost:
    """Of the stacks of one key."""
    first, benchmark = stacks[0].jobs[0], stacks[0].benchmark
    architecture = build_architecture(first.config, first.dataset)
    sizes = (architecture.num_inputs, *architecture.hidden_sizes, architecture.num_classes)
    stack_size = max(len(stack.jobs) for stack in stacks)
    return ArchitectureCost(
        architecture=f"{'-'.join(map(str, sizes))} {first.config.model.activation}",
        num_runs=sum(len(stack.jobs) for stack in stacks),
        num_stacks=len(stacks),
        stack_size=stack_size,
        num_parameters=num_parameters(architecture),
        num_bytes=stack_size * benchmark.bytes_per_run if benchmark else math.nan,
        seconds=sum(stack.seconds for stack in stacks)
        / (num_workers if stacks[0].is_for_workers else 1),
        spread=benchmark.spread if benchmark else LEAST_SPREAD,
    )


def short_text(preflight: Preflight) -> str:
    """Counts, stacks, time and memory, in one to three lines."""
    lines = [preflight.headline]
    if preflight.costs:
        lines.append(_cost_text(preflight))
    return "\n".join(lines)


def full_text(preflight: Preflight) -> str:
    """The short form, what is swept, what is resumed, and a table of the architectures."""
    blocks = [short_text(preflight)]
    if preflight.axes:
        names = max(map(len, preflight.axes))
        axes = [f"  {name:<{names}}  {', '.join(v)}" for name, v in preflight.axes.items()]
        blocks.append("\n".join(["axes", *axes]))
    if preflight.resumed_epochs:
        epochs = ", ".join(f"{done} of {total}" for done, total in preflight.resumed_epochs)
        blocks.append(f"resumed after epochs {epochs}")
    if preflight.costs:
        blocks.append("\n".join(text_table([_row(cost) for cost in preflight.costs], COLUMNS)))
    return "\n\n".join(blocks)


def layers_text(job: Job) -> str:
    """The network of a job as a table: a row for each layer of one network, their sums last."""
    model = job.config.model
    layers = summarize(
        build_architecture(job.config, job.dataset), (model.input_dropout, model.dropout)
    )
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "shape": f"[B, {layer.num_outputs}]",
            "num_parameters": f"{layer.num_parameters:,}",
            "multiply_adds": f"{layer.multiply_adds:,}",
        }
        for layer in layers
    ]
    hidden = len(rows) - MAX_LAYERS
    if hidden > 0:
        middle = {"layer": f"… {hidden} more"}
        rows = [*rows[: MAX_LAYERS // 2], middle, *rows[-MAX_LAYERS // 2 :]]
    total = {
        "layer": "all",
        "num_parameters": f"{sum(layer.num_parameters for layer in layers):,}",
        "multiply_adds": f"{sum(layer.multiply_adds for layer in layers):,}",
    }
    return "\n".join(text_table([*rows, total], LAYER_COLUMNS))


def estimate_error(estimated: float, actual: float) -> str:
    """How good the estimate was: `estimated 3 min 10 s, took 3 min 31 s (+11 %)`.

    Args:
        estimated, actual: seconds, above 0.
    """
    error = (actual - estimated) / estimated
    return f"estimated {duration(estimated)}, took {duration(actual)} ({100 * error:+.0f} %)"


def grid_headline(counts: Mapping[str, int], num_duplicates: int) -> str:
    """How many jobs a grid has, and what is to be done of them.

    Args:
        counts: of different runs, by their kinds.
    """
    words = [f"{counts[kind]} {text}" for kind, text in KINDS.items() if counts.get(kind)]
    if num_duplicates:
        words.append(f"{num_duplicates} duplicate{'s' * (num_duplicates > 1)}")
    head = plural(sum(counts.values()) + num_duplicates, "job")
    return f"{head}: {', '.join(words)}" if words else head


def search_headline(sampler: str, done: int, total: int) -> str:
    """How far a search is; a lowered number of trials leaves none."""
    return f"search ({sampler}): {done} of {total} trials done, {max(0, total - done)} to go"


def _cost_text(preflight: Preflight) -> str:
    costs = preflight.costs
    number = plural(sum(cost.num_stacks for cost in costs), "stack")
    size = max(cost.stack_size for cost in costs)
    runs = f"{plural(preflight.num_to_train, 'run')} to train"
    parallel = f", {preflight.num_workers} at a time" if preflight.num_workers > 1 else ""
    words = [
        f"in stacks of up to {size}"
        if preflight.is_search
        else f"{runs} in {number} of up to {size}{parallel}",
        _time_text(preflight),
    ]
    if not math.isnan(preflight.num_bytes):
        words.append(f"{_mebibytes(preflight.num_bytes)} MiB for the largest stack")
    return ", ".join(words)


def _time_text(preflight: Preflight) -> str:
    """The estimate and between what it may lie."""
    known = [cost for cost in preflight.costs if not math.isnan(cost.seconds)]
    if not known:
        return "how long is not known"
    spreads = [(cost.seconds, max(cost.spread, LEAST_SPREAD)) for cost in known]
    start = preflight.seconds_to_start
    low, high = (start + sum(s * x**sign for s, x in spreads) for sign in (-1, 1))
    words = f"about {duration(preflight.seconds)} ({duration(low)} to {duration(high)})"
    unknown = len(preflight.costs) - len(known)
    return f"{words} and {plural(unknown, 'architecture')} not measured" if unknown else words


def _row(cost: ArchitectureCost) -> dict[str, str]:
    """The cells of an architecture, in plain text: they go to logs as well as to terminals."""
    return {
        "architecture": cost.architecture,
        "num_runs": str(cost.num_runs),
        "stacks": f"{cost.num_stacks} × {cost.stack_size}",
        "num_parameters": f"{cost.num_parameters:,}",
        "memory": "?" if math.isnan(cost.num_bytes) else _mebibytes(cost.num_bytes),
        "time": "?" if math.isnan(cost.seconds) else duration(cost.seconds),
    }


def _mebibytes(num_bytes: float) -> str:
    return f"{num_bytes / MEBIBYTE:,.1f}"
