"""What a sweep is going to do and to cost: found out from the disk and from a few steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import psutil
import torch

from fashion_mnist.launchers.base import Capacity
from fashion_mnist.models.network import num_parameters
from fashion_mnist.runs.request import ENDED, last_attempt
from fashion_mnist.runs.stacks import build_architecture, view_data
from fashion_mnist.sweeps.arrangement import lay_out
from fashion_mnist.sweeps.benchmark import Benchmark, benchmark
from fashion_mnist.sweeps.definition import Sweep
from fashion_mnist.sweeps.plan import Job, different, job_key, machine_for, stack_seconds, stacks
from fashion_mnist.sweeps.preflight import LEAST_SPREAD, Preflight, SearchPlan, StackPlan
from fashion_mnist.training.device import Machine, physical_cores

SHARE_OF_MEMORY = 0.5  # of what is free, for the stacks


def measure_stacks(
    jobs: Sequence[Job], *, capacity: Capacity, largest: int | None, memory: float | str
) -> dict[str, Benchmark]:
    """A few steps of each shape that is to be trained, by `plan.job_key`; here, on this machine.

    What is trained on GPUs of other machines is not measured: they are not here.

    Args:
        capacity: how many stacks are trained at a time.
        largest: the most runs in a stack; None: as many as suit the device.
        memory: GiB that a stack may fill, or auto.
    """
    benchmarks = dict[str, Benchmark]()
    if capacity.has_gpus:
        return benchmarks
    # elsewhere, as if the machines were like this one
    neighbours = (
        capacity.number if capacity.is_here else physical_cores() // (capacity.threads or 1)
    )
    neighbours = 1 if capacity.devices else max(1, neighbours)
    for key, group in stacks(jobs).items():
        machine = machine_for(group[0], threads=capacity.threads or None)
        bound = _memory(machine) if memory == "auto" else float(memory) * 2**30
        benchmarks[key] = benchmark(
            [job.config for job in group],
            [view_data(job.config, job.dataset) for job in group],
            group[0].dataset,
            machine,
            largest=largest,
            memory_bytes=bound / neighbours,
        )
    return benchmarks


def inspect_jobs(
    sweep: Sweep,
    jobs: Sequence[Job],
    benchmarks: Mapping[str, Benchmark],
    *,
    largest: int | None,
    capacity: Capacity,
    trials_done: int = 0,
) -> Preflight:
    """What is to be done of these jobs, which are a grid's, or examples of what is searched.

    Args:
        benchmarks: from `measure_stacks`.
        largest: the most runs in a stack.
        capacity: how many stacks are trained at a time.
        trials_done: how far the search is.
    """
    layout = lay_out(jobs, benchmarks=benchmarks, largest=largest, capacity=capacity)
    num_workers = min(capacity.number, max(1, len(layout.beside)))
    plans = [
        *_plans(layout.beside, benchmarks, num_workers),
        *_plans(layout.here, benchmarks, 1),
    ]
    start = capacity.seconds_to_start if layout.beside else 0.0
    if sweep.is_search:
        settings = sweep.settings
        left = max(0, settings.n_trials - trials_done) * len(sweep.space.replicates())
        search = SearchPlan(settings.sampler, settings.n_trials, trials_done)
        return Preflight(
            0,
            stacks=_share(plans, left),
            num_workers=num_workers,
            seconds_to_start=start,
            axes=sweep.words(),
            search=search,
        )
    runs = different(jobs)
    last = [last_attempt(job.config, job.dataset) for job in runs]
    statuses = [folder.status() if folder else "" for folder in last]
    repeated = [
        job.config.rerun and status in ENDED for job, status in zip(runs, statuses, strict=True)
    ]
    once = [status for status, again in zip(statuses, repeated, strict=True) if not again]
    epochs = [
        (job.epoch(), job.config.training.epochs)
        for job, status in zip(runs, statuses, strict=True)
        if status not in ENDED and job.epoch()
    ]
    return Preflight(
        num_jobs=len(jobs),
        num_duplicates=len(jobs) - len(runs),
        num_finished=once.count("FINISHED"),
        num_repeated=sum(repeated),
        resumed_epochs=epochs,
        num_failed=once.count("FAILED"),
        retries_failed=sweep.settings.retry_failed,
        stacks=plans,
        num_workers=num_workers,
        seconds_to_start=start,
        axes=sweep.words(),
    )


def _plans(
    layout: Sequence[list[Job]], benchmarks: Mapping[str, Benchmark], num_workers: int
) -> list[StackPlan]:
    """A plan for each key."""
    groups: dict[str, list[list[Job]]] = {}
    for stack in layout:
        groups.setdefault(job_key(stack[0]), []).append(stack)
    return [_plan(own, benchmarks.get(key), num_workers) for key, own in groups.items()]


def _plan(own: Sequence[list[Job]], cost: Benchmark | None, num_workers: int) -> StackPlan:
    config, dataset = own[0][0].config, own[0][0].dataset
    architecture = build_architecture(config, dataset)
    sizes = (architecture.num_inputs, *architecture.hidden_sizes, architecture.num_classes)
    largest = max(map(len, own))
    return StackPlan(
        architecture=f"{'-'.join(map(str, sizes))} {config.model.activation}",
        num_runs=sum(map(len, own)),
        num_stacks=len(own),
        stack_size=largest,
        num_parameters=num_parameters(architecture),
        num_bytes=largest * cost.bytes_per_run if cost else math.nan,
        seconds=sum(stack_seconds(stack, cost) for stack in own) / num_workers,
        spread=cost.spread if cost else LEAST_SPREAD,
    )


def _share(plans: Sequence[StackPlan], num_runs: int) -> list[StackPlan]:
    """Plans of examples, as if the runs to come were shared out evenly among them."""
    return [
        replace(
            plan,
            architecture=f"such as {plan.architecture}",
            num_runs=max(1, round(num_runs / len(plans))),
            num_stacks=max(1, round(num_runs / len(plans))),
            seconds=plan.seconds / plan.num_runs * num_runs / len(plans),
            spread=2.0,
        )
        for plan in plans
    ]


def _memory(machine: Machine) -> float:
    """Bytes that stacks may fill."""
    if machine.device == "cuda":
        return SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]
    return SHARE_OF_MEMORY * psutil.virtual_memory().available
