"""What a sweep is going to do and to cost: found out from the disk and from short trials."""

import math
from collections.abc import Mapping, Sequence

import psutil
import torch

from fashion_mnist.machine import Machine
from fashion_mnist.network import num_parameters
from fashion_mnist.runs.request import last_attempt
from fashion_mnist.runs.stacks import build_architecture, view_data
from fashion_mnist.sweep.definition import Sweep
from fashion_mnist.sweep.plan import Job, cut, different, job_key, machine_for, stacks
from fashion_mnist.sweep.preflight import Preflight, SearchPlan, StackPlan
from fashion_mnist.sweep.trial import Trial, measure

# Of one run, for what comes after its training: evaluation, pictures, its journal.
SECONDS_TO_FINISH = 0.4
SHARE_OF_MEMORY = 0.5  # of what is free, for the stacks


def measure_stacks(
    jobs: Sequence[Job], *, largest: int | None, memory: float | str
) -> dict[str, Trial]:
    """A short trial of each shape that is to be trained, by `plan.job_key`.

    Args:
        largest: the most runs in a stack; None: as many as gain by it.
        memory: GiB that a stack may fill, or auto.
    """
    trials = {}
    for key, group in stacks(jobs).items():
        machine = machine_for(group[0])
        trials[key] = measure(
            [job.config for job in group],
            [view_data(job.config, job.dataset) for job in group],
            group[0].dataset,
            machine,
            largest=largest or len(group),
            memory_bytes=_memory(machine) if memory == "auto" else float(memory) * 2**30,
        )
    return trials


def inspect_jobs(
    sweep: Sweep,
    jobs: Sequence[Job],
    trials: Mapping[str, Trial],
    *,
    largest: int | None,
    trials_done: int = 0,
) -> Preflight:
    """What is to be done of these jobs, which are a grid's, or examples of what is searched.

    Args:
        trials: from `measure_stacks`.
        largest: the most runs in a stack.
        trials_done: how far the search is.
    """
    plans = [
        _plan(group, trials[key], largest) for key, group in stacks(jobs).items() if key in trials
    ]
    if sweep.is_search:
        settings = sweep.settings
        left = max(0, settings.n_trials - trials_done) * len(sweep.space.replicates())
        search = SearchPlan(settings.sampler, settings.n_trials, trials_done)
        return Preflight(0, stacks=_share(plans, left), axes=sweep.words(), search=search)
    runs = different(jobs)
    last = [last_attempt(job.config, job.dataset) for job in runs]
    statuses = [folder.status() if folder else "" for folder in last]
    epochs = [
        (job.folder.epoch(), job.config.training.epochs)
        for job, status in zip(runs, statuses, strict=True)
        if status not in ("FINISHED", "FAILED") and job.folder.checkpoint.exists()
    ]
    return Preflight(
        num_jobs=len(jobs),
        num_duplicates=len(jobs) - len(runs),
        num_finished=statuses.count("FINISHED"),
        resumed_epochs=epochs,
        num_failed=statuses.count("FAILED"),
        retries_failed=sweep.settings.retry_failed,
        stacks=plans,
        axes=sweep.words(),
    )


def stack_seconds(jobs: Sequence[Job], trials: Mapping[str, Trial]) -> float:
    """How long runs that are trained together will take; NaN where no trial was made."""
    trial = trials.get(job_key(jobs[0]))
    if trial is None:
        return math.nan
    config = jobs[0].config
    epochs = config.training.epochs - jobs[0].folder.epoch()
    return len(jobs) * (epochs * trial.seconds_per_epoch + SECONDS_TO_FINISH)


def _plan(jobs: Sequence[Job], trial: Trial, largest: int | None) -> StackPlan:
    config, dataset = jobs[0].config, jobs[0].dataset
    architecture = build_architecture(config, dataset)
    sizes = (architecture.num_inputs, *architecture.hidden_sizes, architecture.num_classes)
    size = max(map(len, cut(jobs, trial, largest)))
    return StackPlan(
        architecture=f"{'-'.join(map(str, sizes))} {config.model.activation}",
        num_runs=len(jobs),
        stack_size=size,
        num_parameters=num_parameters(architecture),
        num_bytes=size * trial.bytes_per_member,
        seconds=stack_seconds(jobs, {job_key(jobs[0]): trial}),
    )


def _share(plans: Sequence[StackPlan], num_runs: int) -> list[StackPlan]:
    """Plans of examples, as if the runs to come were shared out evenly among them."""
    return [
        StackPlan(
            plan.architecture,
            max(1, round(num_runs / len(plans))),
            plan.stack_size,
            plan.num_parameters,
            plan.num_bytes,
            plan.seconds / plan.num_runs * num_runs / len(plans),
            spread=2.0,
        )
        for plan in plans
    ]


def _memory(machine: Machine) -> float:
    """Bytes that stacks may fill."""
    if machine.device == "cuda":
        return SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]
    return SHARE_OF_MEMORY * psutil.virtual_memory().available
