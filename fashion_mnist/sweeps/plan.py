"""What a sweep is going to do, found out before anything is trained, and the words for it.

How many runs there are, which of them are known, how the rest are grouped into stacks, and what
they need in time and memory, from a few timed steps of each shape.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, groupby, islice
from pathlib import Path

import psutil
import torch

from fashion_mnist.analysis.text_table import Column, text_table
from fashion_mnist.config.messages import ConfigError, duration, plural
from fashion_mnist.config.schema import Config
from fashion_mnist.launchers.base import Capacity, Launcher
from fashion_mnist.launchers.local import LocalLauncher
from fashion_mnist.models.network import num_parameters
from fashion_mnist.models.summary import summarize
from fashion_mnist.runs.request import ENDED, Datasets
from fashion_mnist.runs.stacks import build_architecture, view_data
from fashion_mnist.sweeps.benchmark import Benchmark, benchmark
from fashion_mnist.sweeps.definition import Sweep, search_problems
from fashion_mnist.sweeps.jobs import (
    Job,
    JobStack,
    group_by_key,
    machine_for,
    make_jobs,
    runs_to_train,
    split_groups,
    unique_runs,
)
from fashion_mnist.sweeps.parent import child_request, sweep_folder
from fashion_mnist.sweeps.space import sweep_id
from fashion_mnist.training.device import Machine, physical_cores

MEBIBYTE = 2**20
MEMORY_SHARE = 0.5  # of what is free, for the stacks
# Steps are measured; reading data, the final evaluation, pictures and event logs are not, nor is
# what else the machine will do in that time.
LEAST_SPREAD = 1.3
# what is to be done of a run
NEW, RESUMED, REPEATED = "new", "to be resumed", "to be trained again (rerun=true)"
FINISHED, FAILED = "finished before", "failed before (sweep.retry_failed=true retries)"
RETRIED = "failed before (to be retried)"
KINDS = (NEW, RESUMED, REPEATED, FINISHED, FAILED, RETRIED)
TRAINED = (NEW, RESUMED, REPEATED, RETRIED)
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
class StackPlan:
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
    is_search: bool = False
    resumed_epochs: Sequence[tuple[int, int]] = ()  # of each run to be resumed: done, of how many
    stacks: Sequence[StackPlan] = ()
    num_workers: int = 1  # stacks that are trained at a time
    seconds_to_start: float = 0.0  # before there is one
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # and their values in words

    @property
    def seconds(self) -> float:
        """Estimate of all the training, as far as it is known; 0 where there is none."""
        known = [plan.seconds for plan in self.stacks if not math.isnan(plan.seconds)]
        return sum(known) + self.seconds_to_start if known else 0.0

    @property
    def num_bytes(self) -> float:
        """What the largest stack needs, as far as it is known."""
        known = [plan.num_bytes for plan in self.stacks if not math.isnan(plan.num_bytes)]
        return max(known, default=math.nan)


@dataclass(frozen=True)
class Plan:
    """A sweep whose jobs are checked; nothing is written yet."""

    jobs: Sequence[Job]  # of a grid all, of a search examples
    folder: Path  # of the sweep
    capacity: Capacity
    benchmarks: Mapping[str, Benchmark]  # by the key of `jobs.group_by_key`
    max_stack_size: int | None  # None: as benchmarked
    preflight: Preflight

    @property
    def config(self) -> Config:
        """Of one of the jobs."""
        return self.jobs[0].config


def plan_sweep(sweep: Sweep, launcher: Launcher | None, datasets: Datasets) -> Plan:
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
    folder = sweep_folder(Path(config.output_dir).absolute(), identity)
    examples = unique_runs([jobs[0], jobs[-1]]) if sweep.is_search else jobs
    at_once = None  # runs that a search has at a time: more than there are examples
    done = 0
    if sweep.is_search:
        from fashion_mnist.sweeps.search import trials_done  # Optuna takes its time

        done = trials_done(folder, retry_failed=settings.retry_failed)
        trials = sweep.batch_size(settings.n_trials, is_here=can_prune)
        at_once = trials * len(sweep.space.replicates())
        # an example stands for trials to come, also where its own run has ended
        groups = group_by_key(examples if done < settings.n_trials else [])
    else:
        groups = group_by_key(runs_to_train(jobs))
    capacity, max_stack_size = Capacity(), 1 if launcher is None else None
    if launcher is not None and settings.stack_size != "auto":
        max_stack_size = settings.stack_size
    if launcher is not None and not sweep.prunes:  # pruned runs are trained in-process
        first = examples if sweep.is_search else [group[0] for group in groups.values()]
        machines = [machine_for(job, threads=1) for job in first]
        num_runs = at_once or sum(map(len, groups.values()))
        capacity = launcher.capacity(machines, num_runs, settings.processes)
    benchmarks = _measure(
        groups,
        capacity=capacity,
        most=at_once,
        max_stack_size=max_stack_size,
        memory=settings.memory,
    )
    stacks = split_groups(
        groups, benchmarks=benchmarks, max_stack_size=max_stack_size, capacity=capacity
    )
    preflight = _preflight(sweep, examples, stacks, benchmarks, capacity, done)
    return Plan(jobs, folder, capacity, benchmarks, max_stack_size, preflight)


def compose_jobs(
    sweep: Sweep,
    values: Sequence[Mapping[str, str]],
    datasets: Datasets,
    *,
    parent: str = "",
    first_number: int = 0,
) -> list[Job]:
    """Jobs with these values of the axes.

    Args:
        parent: the id of the sweep's event log, once it is there.

    Raises:
        ConfigError: with every mistake of every job.
        DataError: data is missing or damaged.
    """
    requests = [
        child_request(composed, parent, sweep.axes, retry_failed=sweep.settings.retry_failed)
        for composed in sweep.compose(values)
    ]
    jobs = make_jobs(requests, datasets, first_number=first_number)
    return [replace(job, values=own) for job, own in zip(jobs, values, strict=True)]


def _measure(
    groups: Mapping[str, Sequence[Job]],
    *,
    capacity: Capacity,
    most: int | None,
    max_stack_size: int | None,
    memory: float | str,
) -> dict[str, Benchmark]:
    """A few steps of each group's shape, by the group's key; on this machine.

    What is trained on GPUs of other machines is not measured: they are not here.

    Args:
        most: runs that there may be of a group at a time; None: those that are in it.
        memory: GiB that a stack may fill, or auto.
    """
    benchmarks = dict[str, Benchmark]()
    if capacity.has_gpus:
        return benchmarks
    # other machines are assumed to be like this one
    num_sharing = (
        capacity.num_sharing
        if capacity.is_here
        else max(1, physical_cores() // (capacity.threads or 1))
    )
    for key, group in groups.items():
        machine = machine_for(group[0], threads=capacity.threads or None)
        bound = _free_memory(machine) if memory == "auto" else float(memory) * 2**30
        jobs = group if most is None else list(islice(cycle(group), most))
        benchmarks[key] = benchmark(
            [job.config for job in jobs],
            [view_data(job.config, job.dataset) for job in jobs],
            group[0].dataset,
            machine,
            largest=max_stack_size,
            memory_bytes=bound / num_sharing,
        )
    return benchmarks


def _free_memory(machine: Machine) -> float:
    """Bytes that stacks may fill."""
    if machine.device == "cuda":
        return MEMORY_SHARE * torch.cuda.mem_get_info()[0]
    return MEMORY_SHARE * psutil.virtual_memory().available


def _preflight(
    sweep: Sweep,
    jobs: Sequence[Job],
    stacks: Sequence[JobStack],
    benchmarks: Mapping[str, Benchmark],
    capacity: Capacity,
    trials_done: int,
) -> Preflight:
    """What is to be done of these jobs, or of a search of which they are examples."""
    settings, runs = sweep.settings, unique_runs(jobs)
    num_for_workers = sum(stack.is_for_workers for stack in stacks)
    num_workers = min(capacity.number, max(1, num_for_workers))
    plans = [
        _stack_plan(list(own), benchmarks.get(key), num_workers)
        for key, own in groupby(stacks, key=lambda stack: stack.key)
    ]
    kinds = [_kind(job, retry_failed=settings.retry_failed) for job in runs]
    counts = Counter(kinds)
    resumed = [
        (job.epoch(), job.config.training.epochs)
        for job, kind in zip(runs, kinds, strict=True)
        if kind == RESUMED
    ]
    headline = grid_headline(counts, len(jobs) - len(runs))
    num_to_train = sum(counts[kind] for kind in TRAINED)
    if sweep.is_search:
        headline = search_headline(settings.sampler, trials_done, settings.n_trials)
        num_to_train = max(0, settings.n_trials - trials_done) * len(sweep.space.replicates())
        # as if all trials were shared out evenly among the examples' shapes
        share = num_to_train / max(1, len(plans))
        plans = [
            replace(
                plan,
                architecture=f"such as {plan.architecture}",
                num_runs=max(1, round(share)),
                num_stacks=max(1, round(share)),
                seconds=plan.seconds / plan.num_runs * share,
                spread=2.0,
            )
            for plan in plans
        ]
    return Preflight(
        headline,
        num_to_train,
        sweep.is_search,
        [] if sweep.is_search else resumed,
        plans,
        num_workers,
        capacity.seconds_to_start if num_for_workers else 0.0,
        sweep.words(),
    )


def _kind(job: Job, *, retry_failed: bool) -> str:
    """What is to be done of a job's run, one of `KINDS`."""
    status = job.attempts.last_status
    if status in ENDED and job.config.rerun:
        return REPEATED
    if status == "FAILED":
        return RETRIED if retry_failed else FAILED
    if status == "FINISHED":
        return FINISHED
    return RESUMED if job.epoch() else NEW


def _stack_plan(stacks: Sequence[JobStack], cost: Benchmark | None, num_workers: int) -> StackPlan:
    """Of the stacks of one key."""
    first = stacks[0].jobs[0]
    architecture = build_architecture(first.config, first.dataset)
    sizes = (architecture.num_inputs, *architecture.hidden_sizes, architecture.num_classes)
    stack_size = max(len(stack.jobs) for stack in stacks)
    return StackPlan(
        architecture=f"{'-'.join(map(str, sizes))} {first.config.model.activation}",
        num_runs=sum(len(stack.jobs) for stack in stacks),
        num_stacks=len(stacks),
        stack_size=stack_size,
        num_parameters=num_parameters(architecture),
        num_bytes=stack_size * cost.bytes_per_run if cost else math.nan,
        seconds=sum(stack.seconds for stack in stacks)
        / (num_workers if stacks[0].is_for_workers else 1),
        spread=cost.spread if cost else LEAST_SPREAD,
    )


def short_text(preflight: Preflight) -> str:
    """Counts, stacks, time and memory, in one to three lines."""
    lines = [preflight.headline]
    if preflight.stacks:
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
    if preflight.stacks:
        blocks.append("\n".join(text_table([_row(plan) for plan in preflight.stacks], COLUMNS)))
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
    """How good the estimate was: `estimated 3 min 10 s, took 3 min 31 s (+11 %)`; in seconds."""
    if not estimated > 0:  # nothing was to be trained, or it could not be measured
        return f"took {duration(actual)}"
    error = (actual - estimated) / estimated
    return f"estimated {duration(estimated)}, took {duration(actual)} ({100 * error:+.0f} %)"


def grid_headline(counts: Mapping[str, int], num_duplicates: int) -> str:
    """How many jobs a grid has, and what is to be done of them.

    Args:
        counts: of different runs, by their kinds.
    """
    words = [f"{counts[kind]} {kind}" for kind in KINDS if counts.get(kind)]
    if num_duplicates:
        words.append(f"{num_duplicates} duplicate{'s' * (num_duplicates > 1)}")
    head = plural(sum(counts.values()) + num_duplicates, "job")
    return f"{head}: {', '.join(words)}" if words else head


def search_headline(sampler: str, done: int, total: int) -> str:
    """How far a search is; a lowered number of trials leaves none."""
    return f"search ({sampler}): {done} of {total} trials done, {max(0, total - done)} to go"


def _cost_text(preflight: Preflight) -> str:
    plans = preflight.stacks
    number = plural(sum(plan.num_stacks for plan in plans), "stack")
    size = max(plan.stack_size for plan in plans)
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
    plans = preflight.stacks
    known = [plan for plan in plans if not math.isnan(plan.seconds)]
    if not known:
        return "how long is not known"
    spreads = [(plan.seconds, max(plan.spread, LEAST_SPREAD)) for plan in known]
    start = preflight.seconds_to_start
    low, high = (start + sum(s * x**sign for s, x in spreads) for sign in (-1, 1))
    words = f"about {duration(preflight.seconds)} ({duration(low)} to {duration(high)})"
    unknown = len(plans) - len(known)
    return f"{words} and {plural(unknown, 'architecture')} not measured" if unknown else words


def _row(plan: StackPlan) -> dict[str, str]:
    """The cells of an architecture, in plain text: they go to logs as well as to terminals."""
    return {
        "architecture": plan.architecture,
        "num_runs": str(plan.num_runs),
        "stacks": f"{plan.num_stacks} × {plan.stack_size}",
        "num_parameters": f"{plan.num_parameters:,}",
        "memory": "?" if math.isnan(plan.num_bytes) else _mebibytes(plan.num_bytes),
        "time": "?" if math.isnan(plan.seconds) else duration(plan.seconds),
    }


def _mebibytes(num_bytes: float) -> str:
    return f"{num_bytes / MEBIBYTE:,.1f}"
