"""The benchmark before a sweep: it keeps to its limits and leaves no trace."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.stacks import split_data
from fashion_mnist.sweeps.benchmark import Benchmark, benchmark
from fashion_mnist.training.device import Machine
from tests.builders import load, make_config, make_data, train_stack

MACHINE = Machine("cpu", "fp32", 1)
EVERYTHING = (
    "model.dropout=0.2",
    "model.input_dropout=0.1",
    "model.normalization=batch",
    "training.ema=0.9",
    "training.clip_grad_norm=0.5",
    "training.early_stopping.metric=val/loss",
    "data.augment.flip=0.5",
    "data.augment.noise=0.1",
    "schedule=one_cycle",
)


def measure_runs(
    configs: list[Config], dataset: Dataset, *, largest: int | None = None, memory: float = 1e12
) -> Benchmark:
    """Measure runs on one thread."""
    data_splits = [split_data(config, dataset) for config in configs]
    return benchmark(configs, data_splits, dataset, MACHINE, largest=largest, memory_bytes=memory)


@pytest.mark.parametrize(
    ("num_runs", "largest", "memory", "size"),
    [(8, None, 1e12, 1), (8, 4, 1e12, 4), (3, 8, 1e12, 3), (8, 8, 1, 1)],
)
def test_the_size_is_the_one_that_will_be_trained(
    num_runs: int, largest: int | None, memory: float, size: int, tmp_path: Path
) -> None:
    """One run on a CPU, or as many as are asked for, are there and fit the memory."""
    folder = make_data(tmp_path / "data")
    configs = [make_config(folder, "model.hidden_sizes=[4]", f"seed={s}") for s in range(num_runs)]
    cost = measure_runs(configs, load(folder), largest=largest, memory=memory)
    assert cost.size == size
    assert cost.seconds_per_epoch > 0
    assert cost.spread >= 1


@pytest.mark.parametrize(
    "words", [EVERYTHING, ("data.validation_size=0", "training.batch_size=99")]
)
def test_measuring_changes_no_later_run(words: tuple[str, ...], tmp_path: Path) -> None:
    """Weights after a benchmark are those without it, and no generator of the process has moved."""
    folder = make_data(tmp_path / "data")
    words = (*words, "model.hidden_sizes=[6]", "training.epochs=1")
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(2)]
    dataset, state = load(folder), torch.get_rng_state()
    before = train_stack(configs, dataset, MACHINE, tmp_path / "before")
    cost = measure_runs(configs, dataset)
    assert cost.seconds_per_epoch > 0
    assert torch.equal(torch.get_rng_state(), state)
    after = train_stack(configs, dataset, MACHINE, tmp_path / "after")
    for one, other in zip(before, after, strict=True):
        assert one.weights is not None
        assert other.weights is not None
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_memory_counts_all_that_a_run_keeps(tmp_path: Path) -> None:
    """AdamW: weights, gradients, two moments, and on the host a copy of all but the gradients."""
    folder = make_data(tmp_path / "data")
    config = make_config(folder, "model.hidden_sizes=[500,500]")
    num_parameters = 30 * 500 + 500 + 500 * 500 + 500 + 500 * 3 + 3
    cost = measure_runs([config], load(folder))
    assert cost.bytes_per_run >= 7 * 4 * num_parameters


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[None]:
    """Within, this process gets no more than so many bytes beside those it has."""
    import resource  # Windows has none

    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = (
        int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        * resource.getpagesize()
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory so")
def test_a_run_without_enough_memory_is_left_to_training(tmp_path: Path) -> None:
    """The benchmark fails for want of memory, and says only that it does not know."""
    folder = make_data(tmp_path / "data")
    config, dataset = make_config(folder, "model.hidden_sizes=[20000,20000]"), load(folder)
    with memory_limit(2**30):
        cost = measure_runs([config], dataset)
    assert cost.size == 1
    assert math.isnan(cost.seconds_per_epoch)
    assert math.isnan(cost.bytes_per_run)
