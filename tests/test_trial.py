"""The trial before a sweep: it finds a size of stacks, keeps to its limits and leaves no trace."""

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.machine import Machine
from fashion_mnist.runs.stacks import view_data
from fashion_mnist.sweep.trial import Cost, Trial, best_size, measure, try_sizes
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


def cost(seconds: float, num_bytes: float = 0) -> Cost:
    """What a whole stack takes for a step, and for an epoch of one step."""
    return Cost(seconds, seconds, num_bytes, spread=1)


def tried(
    steps: Mapping[int, float | list[float] | None], *, limit: int = 64, memory: float = math.inf
) -> dict[int, Cost]:
    """Try sizes whose steps take so long, of a list each time the next; a run needs 100 bytes."""
    left = {size: own if isinstance(own, list) else [own] * 9 for size, own in steps.items()}

    def try_size(size: int, _seconds: float) -> Cost | None:
        assert size <= limit
        assert size == 1 or 100 * size <= memory  # as half of it tells
        step = left[size].pop(0)
        return None if step is None else cost(step, 100 * size)

    return try_sizes(try_size, limit=limit, memory_bytes=memory, num_epochs=1)


def measure_runs(
    configs: list[Config], dataset: Dataset, *, largest: int = 8, memory: float = math.inf
) -> Trial:
    """Measure runs on one thread."""
    views = [view_data(config, dataset) for config in configs]
    return measure(configs, views, dataset, MACHINE, largest=largest, memory_bytes=memory)


def test_the_least_of_the_best_sizes_is_chosen() -> None:
    """Members at 1.0, 0.8, 0.6, then 0.59 s: what gains less than 3 % is not worth its memory."""
    costs = tried({1: 1.0, 2: 1.6, 4: 2.4, 8: 4.72, 16: 0.0})
    assert list(costs) == [1, 2, 4, 8]
    assert best_size(costs) == 4


def test_a_member_never_costs_more_than_alone() -> None:
    """Where two cost more than twice what one does, each is trained alone."""
    assert best_size(tried({1: 1.0, 2: 2.1})) == 1
    assert best_size(tried({1: 1.0, 2: 2.0})) == 1


def test_one_disturbed_measurement_decides_nothing() -> None:
    """A size that seems dear is tried again, and so is the lone run that others are judged by."""
    assert best_size(tried({1: 1.0, 2: [9.0, 1.6], 4: 4.0})) == 2
    assert best_size(tried({1: [1.0, 0.5], 2: 1.6, 4: 4.0})) == 1


def test_what_does_not_fit_ends_the_search() -> None:
    """By the memory it would need, by failing, by the limit; not even one run: nothing is known."""
    gains = {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}
    assert list(tried(gains, memory=399)) == [1, 2]
    assert list(tried(gains, memory=50)) == [1]
    assert list(tried(gains, limit=3)) == [1, 2]
    assert list(tried({**gains, 4: None})) == [1, 2]
    assert tried({1: None}) == {}


def test_a_stack_that_needs_more_than_its_half_promised_is_not_used() -> None:
    """Two runs need 100 bytes each, four 150 each."""
    needs = {1: 100, 2: 200, 4: 600}
    costs = try_sizes(lambda size, _: cost(1, needs[size]), limit=8, memory_bytes=500, num_epochs=1)
    assert list(costs) == [1, 2]


@pytest.mark.parametrize(("num_runs", "largest", "memory"), [(3, 8, 1e12), (8, 2, 1e12), (8, 8, 1)])
def test_measured_sizes_keep_to_their_limits(
    num_runs: int, largest: int, memory: float, tmp_path: Path
) -> None:
    """Sizes are powers of two, no more than the runs, the limit and the memory allow."""
    folder = make_data(tmp_path / "data")
    configs = [make_config(folder, "model.hidden_sizes=[4]", f"seed={s}") for s in range(num_runs)]
    trial = measure_runs(configs, load(folder), largest=largest, memory=memory)
    allowed = {1} if memory == 1 else {1, 2}
    assert set(trial.step_seconds) <= allowed
    assert trial.size in trial.step_seconds
    assert trial.step_seconds[trial.size] <= trial.step_seconds[1]
    assert trial.seconds_per_epoch > 0
    assert trial.spread >= 1


@pytest.mark.parametrize(
    "words", [EVERYTHING, ("data.validation_size=0", "training.batch_size=99")]
)
def test_measuring_changes_no_later_run(words: tuple[str, ...], tmp_path: Path) -> None:
    """Weights after a trial are those without it, and no generator of the process has moved."""
    folder = make_data(tmp_path / "data")
    words = (*words, "model.hidden_sizes=[6]", "training.epochs=1")
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(2)]
    dataset, state = load(folder), torch.get_rng_state()
    before = train_stack(configs, dataset, MACHINE, tmp_path / "before")
    trial = measure_runs(configs, dataset)
    assert trial.seconds_per_epoch > 0
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
    trial = measure_runs([config], load(folder))
    assert trial.bytes_per_member >= 7 * 4 * num_parameters


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[None]:
    """Within, this process gets no more than so many bytes beside those it has."""
    import resource  # Windows has none

    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory so")
def test_a_run_without_enough_memory_is_left_to_training(tmp_path: Path) -> None:
    """The trial fails for want of memory, and says only that it does not know."""
    folder = make_data(tmp_path / "data")
    config, dataset = make_config(folder, "model.hidden_sizes=[20000,20000]"), load(folder)
    with memory_limit(2**30):
        trial = measure_runs([config], dataset)
    assert trial.size == 1
    assert math.isnan(trial.seconds_per_epoch)
    assert math.isnan(trial.bytes_per_member)
