"""A short trial: how many runs of one shape are best trained in one stack, and what that costs.

R runs in the stack, n images in an epoch, v validated on.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

import psutil
import torch
from torch import Tensor

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.loop import EVALUATION_BATCH_SIZE, train_epoch, validate
from fashion_mnist.machine import Machine
from fashion_mnist.runs.stacks import View, build_stack, validation_index
from fashion_mnist.stack import Stack

log = logging.getLogger("fashion_mnist")

LEAST_GAIN = 0.03  # of a member's cost: sizes that gain less are the same, and none larger is tried
FIRST_SECONDS = 0.1  # of training alone, before it is known how much there is to train
SHARE_OF_WORK = 0.01  # for each size, of the time that the runs will take
LEAST_SECONDS, MOST_SECONDS = 0.03, 0.3  # for each size
MOST_SECONDS_IN_ALL = 2  # beyond, no further size is tried, nor any a second time
FEWEST_STEPS = 2  # after the first, which allocates
EPOCH_BYTES_PER_IMAGE = 42  # what an epoch holds: two orders, labels, losses, weights, hits


@dataclass(frozen=True)
class Trial:
    """What a member costs in a stack of the size that suits the machine best."""

    size: int  # R
    seconds_per_epoch: float  # of one member: its share of training and validation; NaN: unknown
    bytes_per_member: float  # NaN: unknown
    spread: float = 1.0  # how many times longer than usual one step in ten took
    step_seconds: Mapping[int, float] = field(default_factory=dict)  # one member's, by size


@dataclass(frozen=True)
class Cost:
    """What was measured of one stack, as a whole."""

    step_seconds: float  # the least of some steps: what sizes are compared by
    epoch_seconds: float  # with usual steps: what training will take
    num_bytes: float
    spread: float


class _EnoughError(Exception):
    """Ends an epoch early."""


def measure(
    configs: Sequence[Config],
    views: Sequence[View],
    dataset: Dataset,
    machine: Machine,
    *,
    largest: int,
    memory_bytes: float,
) -> Trial:
    """Train stacks of 1, 2, 4, … of these runs for a moment, and say which size is the best.

    At that size no member costs more than it would alone. What was trained is thrown away, and
    nothing that a later run draws has moved. Where not even one run can be trained, or fits the
    memory, the size is 1 all the same: in training that run answers for itself.

    Args:
        configs: of one stack key.
        views: of each config.
        largest: no stack has more members.
        memory_bytes: no stack of several needs more.
    """
    torch.set_num_threads(machine.threads)
    dataset = dataset.to(machine.device)
    costs = try_sizes(
        lambda size, seconds: _try(configs[:size], views[:size], dataset, machine, seconds),
        limit=min(len(configs), largest),
        memory_bytes=memory_bytes,
        num_epochs=len(configs) * configs[0].training.epochs,
    )
    if not costs:
        return Trial(1, math.nan, math.nan)
    size = best_size(costs)
    cost = costs[size]
    steps = {size: cost.step_seconds / size for size, cost in costs.items()}
    return Trial(size, cost.epoch_seconds / size, cost.num_bytes / size, cost.spread, steps)


def try_sizes(
    try_size: Callable[[int, float], Cost | None],
    *,
    limit: int,
    memory_bytes: float,
    num_epochs: int,
) -> dict[int, Cost]:
    """What stacks of 1, 2, 4, … cost, up to the first whose members cost no less than before.

    Args:
        try_size: tells the cost of a size, from about so many seconds of training; None where
            that size cannot be trained.
        limit: the largest size.
        memory_bytes: no stack of several needs more.
        num_epochs: of all the runs, in sum: it is not worth to measure for long what is short.
    """
    deadline = time.monotonic() + MOST_SECONDS_IN_ALL
    alone = try_size(1, FIRST_SECONDS)
    if alone is None:
        return {}
    costs, size = {1: alone}, 2
    seconds = SHARE_OF_WORK * alone.epoch_seconds * num_epochs
    seconds = min(max(seconds, LEAST_SECONDS), MOST_SECONDS)
    while size <= limit and time.monotonic() < deadline:
        if 2 * costs[size // 2].num_bytes > memory_bytes:
            break
        cost = try_size(size, seconds)
        if cost is not None and not _gains(costs, cost, size) and time.monotonic() < deadline:
            cost = _lesser(cost, try_size(size, seconds))  # a busy neighbour may have been at work
        if cost is None or cost.num_bytes > memory_bytes:
            break
        has_gained = _gains(costs, cost, size)
        costs[size] = cost
        if not has_gained:
            break
        size *= 2
    if best_size(costs) > 1 and time.monotonic() < deadline:
        costs[1] = _lesser(alone, try_size(1, seconds))  # it decides: worth a second look
    return costs


def best_size(costs: Mapping[int, Cost]) -> int:
    """The least size of those whose members cost least: never more than alone."""
    own = {size: cost.step_seconds / size for size, cost in costs.items()}
    enough = min(own.values()) / (1 - LEAST_GAIN)
    return min(size for size, seconds in own.items() if seconds <= enough)


def _gains(costs: Mapping[int, Cost], cost: Cost, size: int) -> bool:
    """Whether a member of a stack of that size costs less than in all smaller ones."""
    least = min(cost.step_seconds / size for size, cost in costs.items())
    return cost.step_seconds / size < (1 - LEAST_GAIN) * least


def _lesser(one: Cost, other: Cost | None) -> Cost:
    """Of two measurements of a stack, what is least disturbed."""
    if other is None:
        return one
    return replace(
        one,
        step_seconds=min(one.step_seconds, other.step_seconds),
        epoch_seconds=min(one.epoch_seconds, other.epoch_seconds),
    )


def _try(
    configs: Sequence[Config],
    views: Sequence[View],
    dataset: Dataset,
    machine: Machine,
    seconds: float,
) -> Cost | None:
    """What one stack costs; None where it cannot be trained, for want of memory above all."""
    try:
        return _measure_stack(configs, views, dataset, machine, seconds)
    # torch has no error of its own for memory on a CPU; what fails for another reason fails again
    # in training, where its member alone answers for it
    except (MemoryError, RuntimeError):
        log.debug("no trial of a stack of %d", len(configs), exc_info=True)
        return None
    finally:
        if machine.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _measure_stack(
    configs: Sequence[Config],
    views: Sequence[View],
    dataset: Dataset,
    machine: Machine,
    seconds: float,
) -> Cost:
    before = _memory_in_use(machine)
    stack = build_stack(configs, views, dataset, machine)
    steps, most = _time_steps(stack, machine, seconds)
    validation = _time_validation(stack, validation_index(views, machine), machine)
    # where a stack is built from memory that an earlier one left, growth says too little
    num_bytes = max(most - before, _num_bytes(stack))
    if machine.device == "cpu":  # each member's state after its last epoch is kept there
        num_bytes += sum(t.nbytes for r in range(len(configs)) for t in stack.tensors(r).values())
    usual, slow = median(steps), sorted(steps)[len(steps) * 9 // 10]
    epoch_seconds = usual * stack.batches.num_steps + validation
    return Cost(min(steps), epoch_seconds, num_bytes, slow / usual)


def _time_steps(stack: Stack, machine: Machine, enough: float) -> tuple[list[float], int]:
    """Seconds of each training step, the first left out, and the memory in use in the last."""
    clock: list[float] = []

    def on_step(_step: int) -> None:
        _wait_for(machine)
        clock.append(time.perf_counter())
        if len(clock) >= FEWEST_STEPS + 2 and clock[-1] - clock[1] > enough:
            raise _EnoughError(_memory_in_use(machine))

    while True:
        try:
            train_epoch(stack, on_step=on_step)
        except _EnoughError as end:
            return [after - before for before, after in pairwise(clock[1:])], end.args[0]
        stack.epoch = 0  # no schedule goes beyond its last epoch


def _time_validation(stack: Stack, index: Tensor | None, machine: Machine) -> float:
    """Seconds of a pass over the validation images at index `[R, v]`, from one batch of them."""
    if index is None:
        return 0.0
    batch = index[:, :EVALUATION_BATCH_SIZE]
    clock = []
    for _ in range(3):
        _wait_for(machine)
        clock.append(time.perf_counter())
        validate(stack, batch)
    seconds = min(after - before for before, after in pairwise(clock))
    return seconds * index.shape[1] / batch.shape[1]


def _num_bytes(stack: Stack) -> int:
    """What a stack holds on its device, without the activations."""
    states = stack.optimizer.torch_optimizer.state.values()
    tensors = [
        stack.model.parameters.values,
        stack.model.parameters.values,  # as much again: the gradients
        *(buffer.value for buffer in stack.model.buffers),
        *(value for state in states for value in state.values() if isinstance(value, Tensor)),
        *(stack.average.values.values() if stack.average else []),
        stack.batches.train_index,
    ]
    num_images = stack.batches.train_index.numel()
    return sum(tensor.nbytes for tensor in tensors) + EPOCH_BYTES_PER_IMAGE * num_images


def _memory_in_use(machine: Machine) -> int:
    """Bytes; on a GPU the most since the last trial."""
    if machine.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return int(psutil.Process().memory_info().rss)


def _wait_for(machine: Machine) -> None:
    if machine.device == "cuda":
        torch.cuda.synchronize()
