"""What a stack costs: a few timed steps of it, before a sweep begins.

R runs in the stack, n images in an epoch, v validated on.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import psutil
import torch
from torch import Tensor

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.stacks import DataSplit, build_stack, validation_index
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import EVALUATION_BATCH_SIZE, train_epoch, validate
from fashion_mnist.training.stack import Stack

log = logging.getLogger("fashion_mnist")

SECONDS = 0.1  # of training, for each shape
FEWEST_STEPS = 2  # after the first, which allocates
EPOCH_BYTES_PER_IMAGE = 42  # what an epoch holds: two orders, labels, losses, hits


@dataclass(frozen=True)
class Benchmark:
    """What one run costs in a stack of `size`; NaN where it could not be trained."""

    size: int  # R
    seconds_per_epoch: float  # of one run: its share of training and validation
    bytes_per_run: float
    spread: float = 1.0  # how many times longer than usual one step in ten took


class _StopTimingError(Exception):
    """Ends an epoch early."""


def benchmark(
    configs: Sequence[Config],
    data_splits: Sequence[DataSplit],
    dataset: Dataset,
    machine: Machine,
    *,
    largest: int | None,
    memory_bytes: float,
) -> Benchmark:
    """Train a stack of these runs for a moment, at the size at which they will be trained.

    That is `largest`, or else one run on a CPU, and on a GPU as many as fit. What was trained is
    thrown away, and nothing that a later run draws has moved. Where not even one run can be
    trained the size is 1 all the same: in training that run fails by itself.

    Args:
        configs: of one stack key.
        data_splits: of each config.
        largest: no stack has more runs; None: as many as suit the device.
        memory_bytes: no stack of several needs more.
    """
    torch.set_num_threads(machine.threads)
    dataset = dataset.to(machine.device)
    alone = _try(configs[:1], data_splits[:1], dataset, machine)
    wanted = largest or (1 if machine.device == "cpu" else len(configs))
    fitting = 1 if math.isnan(alone.bytes_per_run) else int(memory_bytes / alone.bytes_per_run)
    size = max(1, min(wanted, len(configs), fitting))
    if size == 1:
        return alone
    together = _try(configs[:size], data_splits[:size], dataset, machine)
    return alone if math.isnan(together.seconds_per_epoch) else together


def _try(
    configs: Sequence[Config], data_splits: Sequence[DataSplit], dataset: Dataset, machine: Machine
) -> Benchmark:
    try:
        return _measure(configs, data_splits, dataset, machine)
    # torch has no error of its own for memory on a CPU; what fails for another reason fails again
    # in training, with its run
    except (MemoryError, RuntimeError):
        log.debug("no benchmark of a stack of %d", len(configs), exc_info=True)
        return Benchmark(1, math.nan, math.nan)
    finally:
        if machine.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _measure(
    configs: Sequence[Config], data_splits: Sequence[DataSplit], dataset: Dataset, machine: Machine
) -> Benchmark:
    size, before = len(configs), _memory_in_use(machine)
    stack = build_stack(configs, data_splits, dataset, machine)
    steps, most = _time_steps(stack, machine)
    validation = _time_validation(stack, validation_index(data_splits, machine), machine)
    # where a stack is built from memory that an earlier one left, growth says too little
    num_bytes = max(most - before, _num_bytes(stack))
    # each run's state after its last epoch is kept beside it
    num_bytes += sum(t.nbytes for r in range(size) for t in stack.tensors(r).values())
    usual, slow = median(steps), sorted(steps)[len(steps) * 9 // 10]
    epoch_seconds = usual * stack.loader.num_steps + validation
    return Benchmark(size, epoch_seconds / size, num_bytes / size, slow / usual)


def _time_steps(stack: Stack, machine: Machine) -> tuple[list[float], int]:
    """Seconds of each training step, the first left out, and the memory in use in the last."""
    clock: list[float] = []

    def on_step(_step: int) -> None:
        _wait_for(machine)
        clock.append(time.perf_counter())
        if len(clock) >= FEWEST_STEPS + 2 and clock[-1] - clock[1] > SECONDS:
            raise _StopTimingError(_memory_in_use(machine))

    while True:
        try:
            train_epoch(stack, on_step=on_step)
        except _StopTimingError as end:
            return [after - before for before, after in pairwise(clock[1:])], end.args[0]
        stack.num_steps = 0  # no schedule goes beyond its last epoch


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
    tensors = [
        *stack.model.state_dict().values(),
        *stack.model.parameters(),  # as much again: the gradients
        *stack.optimizer.state_tensors(),
        *(stack.average.tensors.values() if stack.average else []),
        stack.loader.train_index,
    ]
    num_images = stack.loader.train_index.numel()
    num_bytes: int = sum(tensor.nbytes for tensor in tensors)
    return num_bytes + EPOCH_BYTES_PER_IMAGE * num_images


def _memory_in_use(machine: Machine) -> int:
    """Bytes; on a GPU the most since the last benchmark."""
    if machine.device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def _wait_for(machine: Machine) -> None:
    if machine.device == "cuda":
        torch.cuda.synchronize()
