"""How fast networks are trained, in one process: beside other loops, and as the work grows."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import contestants
import psutil
import torch
from contestants import Epoch
from measuring import (
    Table,
    in_turn,
    mean_and_deviation,
    ratio,
    real_dataset,
    seconds_of,
    spread,
)

from fashion_mnist.config.compose import check
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics.classification import accuracy
from fashion_mnist.runs.stacks import DataSplit, build_stack, split_data, validation_index
from fashion_mnist.sweeps.benchmark import benchmark
from fashion_mnist.training.device import Machine, is_fast_in_bf16, physical_cores
from fashion_mnist.training.loop import train_epoch, validate
from fashion_mnist.training.stack import Stack

NETWORKS = {
    "784-128-64-10": ["model.hidden_sizes=[128,64]"],
    "784-512-256-10": ["model.hidden_sizes=[512,256]"],
    "784-512-256-10, dropout": ["model.hidden_sizes=[512,256]", "model.dropout=0.3"],
    "784-1024-1024-1024-10, batch norm, dropout": [
        "model.hidden_sizes=[1024,1024,1024]",
        "model.normalization=batch",
        "model.dropout=0.3",
    ],
}
# as the other loops do it
ALIKE = ["data.validation_size=0", "schedule=constant", "schedule.warmup=0"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NUM_SEEDS = 5
LARGEST_LOSS_RATIO = 1.1  # of the first epoch, between loops that train the same
STACK_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
WIDTHS = [64, 128, 256, 512, 1024, 2048]


def measure_epochs(rounds: int, networks: Sequence[str]) -> Table:
    """Seconds an epoch of 60,000 images, batch 128, AdamW: this program and what it is up against.

    In fp32, and in bf16 where this machine is fast at it. The losses of the first epoch agree.
    """
    dataset = real_dataset()
    precisions = ["fp32", *(["bf16"] if is_fast_in_bf16("cpu") else [])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        contestants.write_for_torchvision(Path(folder))
        for name in networks:
            config = check([*ALIKE, *NETWORKS[name]])
            for precision in precisions:
                epochs = epochs_of(config, dataset, precision, Path(folder))
                losses = {other: epoch() for other, epoch in epochs.items()}
                demand_equal_losses(losses)
                seconds = dict(zip(epochs, in_turn(list(epochs.values()), rounds), strict=True))
                rows += [
                    [
                        name,
                        precision,
                        other,
                        spread(own),
                        ratio(own, seconds["this program"], 2),
                        "" if (loss := losses[other]) is None else f"{loss:.3f}",
                    ]
                    for other, own in seconds.items()
                ]
    head = ["network", "precision", "loop", "s an epoch", "times as long as ours"]
    return Table([*head, "loss of the first epoch"], rows)


def demand_equal_losses(losses: Mapping[str, float | None]) -> None:
    """Stop where loops that should train the same network do not."""
    known = [loss for loss in losses.values() if loss is not None]
    if max(known) > LARGEST_LOSS_RATIO * min(known):
        raise SystemExit(f"these losses should agree: {losses}")


def epochs_of(
    config: Config, dataset: Dataset, precision: str, folder: Path
) -> Mapping[str, Epoch]:
    """An epoch of each loop that there is for this precision."""
    dtype = DTYPES[precision]
    machine = Machine("cpu", precision, physical_cores())
    epochs = {
        "this program": contestants.ours(config, dataset, machine),
        "by hand, in memory": contestants.in_memory(config, dataset, dtype),
        "the products alone, by torch.mm": contestants.roof(config, dataset, dtype),
    }
    if precision == "bf16":
        return epochs
    epochs |= {
        f"classic, {workers} workers": contestants.classic(config, dataset, folder, workers)
        for workers in (0, 2)
    }
    if config.model.dropout == 0:
        epochs["scikit-learn"] = contestants.scikit_learn(config, dataset)
    if (lightning := contestants.lightning(config, dataset)) is not None:
        epochs["Lightning"] = lightning
    return epochs


def measure_precision(rounds: int) -> Table:
    """Validation accuracy in fp32 and bf16: the default network, 5 epochs, five seeds."""
    dataset, rows = real_dataset(), []
    for precision in DTYPES:
        scores, seconds = list[float](), list[float]()
        for seed in range(max(rounds, NUM_SEEDS)):
            config = check([f"seed={seed}", "training.epochs=5"])
            data_splits = [split_data(config, dataset)]
            machine = Machine("cpu", precision, physical_cores())
            stack = build_stack([config], data_splits, dataset, machine)
            seconds += [seconds_of(partial(train_epoch, stack)) for _ in range(5)]
            index = validation_index(data_splits, machine)
            assert index is not None
            scores.append(100 * float(accuracy(validate(stack, index).counts[0])))
        rows.append([precision, mean_and_deviation(scores), str(len(scores)), spread(seconds)])
    return Table(["precision", "validation accuracy, %", "seeds", "s an epoch"], rows)


def measure_growth(rounds: int) -> Table:
    """Microseconds of a step and member as stacks and networks grow, against the smallest."""
    dataset = real_dataset()
    by_size = [
        (f"{size} × 784-128-64-10", size, seconds_a_step(["model.hidden_sizes=[128,64]"], size))
        for size in STACK_SIZES
    ]
    by_width = [
        (f"784-{width}-{width}-10", 1, seconds_a_step([f"model.width={width}"], 1))
        for width in WIDTHS
    ]
    rows = []
    for steps in (by_size, by_width):
        subjects = [make(dataset) for _, _, make in steps]
        values = [[subject() for subject in subjects] for _ in range(rounds)]
        columns = [list(column) for column in zip(*values, strict=True)]
        for (name, size, _), own in zip(steps, columns, strict=True):
            each = [1e6 * value / size for value in own]
            alone = [1e6 * value for value in columns[0]]
            rows.append([name, spread(each, 0), ratio(each, alone, 2)])
    return Table(["stack", "µs a step and member", "times the first of its kind"], rows)


def measure_stacks(rounds: int) -> Table:
    """Microseconds of a step and member on one thread: small networks alone, and eight at once."""
    dataset, before, rows = real_dataset(), torch.get_num_threads(), []
    torch.set_num_threads(1)
    for sizes in ("[32]", "[128,64]"):
        overrides = [f"model.hidden_sizes={sizes}"]
        subjects = [seconds_a_step(overrides, size, threads=1)(dataset) for size in (1, 8)]
        values = [[subject() for subject in subjects] for _ in range(rounds)]
        alone, stacked = ([1e6 * value for value in column] for column in zip(*values, strict=True))
        each = [value / 8 for value in stacked]
        rows.append([sizes, spread(alone, 0), spread(each, 0), ratio(alone, each, 2)])
    torch.set_num_threads(before)
    return Table(["hidden layers", "alone, µs", "of eight, each, µs", "times as fast"], rows)


def seconds_a_step(
    overrides: Sequence[str], num_members: int, threads: int | None = None
) -> Callable[[Dataset], Callable[[], float]]:
    """What makes a measurement of the mean of some steps of a stack; None means all cores."""

    def make(dataset: Dataset) -> Callable[[], float]:
        configs = [
            check(["training.precision=fp32", f"seed={seed}", *overrides])
            for seed in range(num_members)
        ]
        data_splits = [split_data(config, dataset) for config in configs]
        machine = Machine("cpu", "fp32", threads or physical_cores())
        stack = build_stack(configs, data_splits, dataset, machine)
        return lambda: mean_step(stack, max(100 // num_members, 6))

    return make


class _StopTimingError(Exception):
    """Ends an epoch."""


def mean_step(stack: Stack, num_steps: int) -> float:
    """Seconds of a step, of the next steps of an epoch after a few that are not counted."""
    times, stack.num_steps = list[float](), 0

    def note(step: int) -> None:
        times.append(time.perf_counter())
        if step == num_steps + 3:
            raise _StopTimingError

    with suppress(_StopTimingError):
        train_epoch(stack, on_step=note)
    return (times[-1] - times[3]) / (len(times) - 4)


def measure_memory(rounds: int) -> Table:
    """What a stack holds, as a sweep's preflight says it and as a process grows."""
    rows = []
    for size in (16, 64):
        predicted, grown = (
            [in_a_process(f, size) for _ in range(rounds)] for f in (predicted_bytes, growth)
        )
        cells = [spread([value / 2**20 for value in values], 0) for values in (predicted, grown)]
        rows.append([f"{size} × 784-128-64-10", *cells, ratio(predicted, grown, 2)])
    return Table(["stack", "MiB as preflight says", "MiB that the process grew", "ratio"], rows)


def in_a_process(function: Callable[[int], float], size: int) -> float:
    """What a function gives in a process of its own, whose memory is fresh."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, size).result()


def predicted_bytes(size: int) -> float:
    """What a benchmark of a stack of that many runs says of it."""
    configs, data_splits, dataset = small_runs(size)
    machine = Machine("cpu", "fp32", physical_cores())
    cost = benchmark(configs, data_splits, dataset, machine, largest=size, memory_bytes=2**33)
    return size * cost.bytes_per_run


def growth(size: int) -> float:
    """How much a process grows by an epoch of a stack, its validation and its states."""
    configs, data_splits, dataset = small_runs(size)
    machine, process, most = Machine("cpu", "fp32", physical_cores()), psutil.Process(), 0
    # what torch itself takes
    mean_step(build_stack(configs[:1], data_splits[:1], dataset, machine), 5)
    before = process.memory_info().rss

    def note(_step: int) -> None:
        nonlocal most
        most = max(most, process.memory_info().rss)

    stack = build_stack(configs, data_splits, dataset, machine)
    train_epoch(stack, validation_index=validation_index(data_splits, machine), on_step=note)
    states = [stack.tensors(member) for member in range(size)]
    note(len(states))
    return most - before


def small_runs(size: int) -> tuple[list[Config], list[DataSplit], Dataset]:
    """Runs of one shape, with different seeds."""
    dataset = real_dataset()
    configs = [check(["model.hidden_sizes=[128,64]", f"seed={seed}"]) for seed in range(size)]
    return configs, [split_data(config, dataset) for config in configs], dataset


def measure_beside_a_neighbour(rounds: int) -> Table:
    """Milliseconds of a step of 784-512-256-10, alone and beside a process that never rests."""
    spins = {"ours (3,000 spins)": "3000", "libgomp's (300,000 spins)": "300000"}
    alone: dict[str, list[float]] = {name: [] for name in spins}
    beside: dict[str, list[float]] = {name: [] for name in spins}
    for _ in range(rounds):
        for name, spin_count in spins.items():
            alone[name].append(step_in_a_process(spin_count))
            with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
                beside[name].append(step_in_a_process(spin_count))
                neighbour.kill()
    [_, libraries] = alone.values()
    rows = [
        [
            name,
            spread(alone[name]),
            spread(beside[name]),
            ratio(beside[name], alone[name]),
            ratio(alone[name], libraries, 2),
        ]
        for name in spins
    ]
    head = ["waiting threads", "alone, ms a step", "beside one busy process, ms", "ratio"]
    return Table([*head, "alone, times as long as with libgomp's"], rows)


def step_in_a_process(spin_count: str) -> float:
    """The part `step` in a process of its own: libgomp reads its settings once."""
    environment = os.environ | {"GOMP_SPINCOUNT": spin_count}
    command = [sys.executable, str(Path(__file__).with_name("benchmark.py")), "step"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def step_milliseconds() -> float:
    """The mean of a hundred training steps, batch 128, in this process."""
    return 1000 * seconds_a_step(["model.hidden_sizes=[512,256]"], 1)(real_dataset())()
