"""Checks and measures stacks on a GPU, in at most eight minutes; the safest parts first.

    python scripts/benchmarks/gpu.py
    python scripts/benchmarks/gpu.py --device cpu --small  # the same on a CPU, as a rehearsal
    python scripts/benchmarks/gpu.py --parts checks data.dir=FOLDER  # overrides for every run

It ends with exit status 1 where a check fails. Each part prints its lines as soon as it has them.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from measuring import FMNIST, describe_machine, seconds_of, spread, whole_command
from torch import Tensor

from fashion_mnist.config.compose import check
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics.classification import accuracy
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Request, load_data, resolve_machine_of
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.stacks import build_stack, split_data
from fashion_mnist.runs.trainer import train
from fashion_mnist.training.loop import evaluate, train_epoch
from fashion_mnist.training.stack import HistoryRow, Stack

NETWORK = ("model.hidden_sizes=[512,256]", "training.epochs=20")  # 784-512-256-10
SMALL = ("model.hidden_sizes=[8,4]", "training.epochs=2")
# of a check: some fifty steps, after which a stack and a run alone agree to the tolerance
SHORT = ("training.epochs=2", "data.train_size=3200")
RTOL, ATOL = 1e-3, 2e-4
BF16_RTOL = 0.1  # of the validation loss
MEMBERS = (
    ("seed=0",),
    ("seed=1", "optimizer.lr=0.003"),
    ("seed=2", "optimizer.weight_decay=0.3"),
    ("seed=3", "optimizer.betas=[0.8,0.99]"),
)
TARGET = 0.9  # test accuracy, and how it is reached fast
FAST = ("training.batch_size=512", "optimizer.lr=0.002", "data.validation_size=0")
ROUNDS = 5


@dataclass(frozen=True)
class Bench:
    """What all parts share: the device, the size of the work, the user's overrides."""

    folder: Path
    device: str
    is_small: bool
    overrides: tuple[str, ...]

    def config(self, *words: str, output: str = "outputs") -> Config:
        """A run of the network on the device, recorded in its event log alone."""
        return check(self.words(f"output_dir={self.folder / output}", *words))

    def words(self, *own: str) -> list[str]:
        """Overrides; of those of one key the last."""
        network = SMALL if self.is_small else NETWORK
        where = (f"training.device={self.device}", "tracking.uri=null")
        every = (*network, *where, *self.overrides, *own)
        return list({word.partition("=")[0]: word for word in every}.values())

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def check_stacks(bench: Bench) -> bool:
    """A stack of four equals each run alone; stopped and gone on with too; bf16 learns alike."""
    short = ("training.epochs=2",) if bench.is_small else SHORT
    fp32 = (*short, "training.precision=fp32")
    together = train_all(bench, "together", fp32)
    alone = [train_all(bench, "alone", fp32, [member])[0] for member in MEMBERS]
    stopped = train_all(bench, "stopped", fp32, observer=stopping_after(1))
    epochs = {run.epoch() for run in stopped}
    resumed = train_all(bench, "stopped", fp32)
    bf16 = train_all(bench, "bf16", (*short, "training.precision=bf16"))
    losses = [[run.metrics()["final/val_loss"] for run in runs] for runs in (bf16, together)]
    return all(
        [
            say_check("a stack of 4 is each run alone", largest_difference(together, alone) <= 1),
            say_check("it was stopped after an epoch", epochs == {1}),
            say_check("and resumed", largest_difference(resumed, together) <= 1),
            say_check(
                "bf16 learns as fp32 does",
                all(abs(a - b) <= BF16_RTOL * b for a, b in zip(*losses, strict=True)),
            ),
        ]
    )


def train_all(
    bench: Bench,
    output: str,
    words: Sequence[str],
    members: Sequence[Sequence[str]] = MEMBERS,
    observer: Observer | None = None,
) -> list[RunDir]:
    """Train these as one stack in an output folder of their own; what an observer stops is kept."""
    configs = [bench.config(*words, *own, output=output) for own in members]
    requests = [Request(config, auto=False) for config in configs]
    folders: list[RunDir] = []

    def remember(stack: Stack, rows: list[HistoryRow]) -> None:
        assert stack.num_runs == len(members)
        if observer is not None:
            observer.on_epoch(stack, rows)

    try:
        results = train(requests, load_data(configs[0]), Observer(on_epoch=remember))
    except StopRequested:
        return [RunDir(path) for path in sorted((bench.folder / output / "runs").iterdir())]
    for result in results:
        if result.error is not None:
            raise result.error
        folders.append(result.folder)
    return folders


def stopping_after(epoch: int) -> Observer:
    """Stops training as a signal does."""

    def stop(stack: Stack, _rows: list[HistoryRow]) -> None:
        if stack.epoch == epoch:
            raise StopRequested(2)

    return Observer(on_epoch=stop)


def largest_difference(runs: Sequence[RunDir], others: Sequence[RunDir]) -> float:
    """Of all weights, in units of the tolerance."""
    found = 0.0
    for run, other in zip(runs, others, strict=True):
        weights = run.load_model().weights
        for name, tensor in other.load_model().weights.items():
            room = ATOL + RTOL * tensor.abs()
            found = max(found, float(((weights[name] - tensor).abs() / room).max()))
    return found


def say_check(what: str, is_good: bool) -> bool:
    """A line; the outcome itself."""
    print(f"{'ok' if is_good else 'FAILED'}: {what}", flush=True)
    return is_good


def measure_step(bench: Bench) -> None:
    """Milliseconds of one run's step."""
    config = bench.config("data.validation_size=0")
    data, stack = on_device(bench, config)
    del data

    def epoch() -> None:
        stack.num_steps = 0
        train_epoch(stack)
        bench.wait()

    own = [1000 * seconds_of(epoch) / stack.loader.num_steps for _ in range(ROUNDS + 1)][1:]
    print(f"one run: {spread(own, 3)} ms a step", flush=True)


def on_device(bench: Bench, config: Config) -> tuple[Dataset, Stack]:
    """The data on the device, and a stack of one."""
    data = load_data(config)
    machine = resolve_machine_of(config, data)
    data = data.to(bench.device)
    return data, build_stack([config], [split_data(config, data)], data, machine)


def measure_stacks(bench: Bench) -> None:
    """Seconds of many runs trained to their end, every run with its event log and scores."""
    for size in (2, 3) if bench.is_small else (64, 256):
        members = [(f"seed={seed}",) for seed in range(size)]
        epochs: list[float] = []

        def on_epoch(_stack: Stack, _rows: list[HistoryRow], epochs: list[float] = epochs) -> None:
            epochs.append(time.perf_counter())

        observer = Observer(on_epoch=on_epoch)
        began = time.perf_counter()
        runs = train_all(bench, f"stack-{size}", (), members, observer)
        ended = time.perf_counter()
        assert all(run.status() == "FINISHED" for run in runs)
        lines = sum(len(run.history()) for run in runs)
        rest = statistics.median(b - a for a, b in pairwise(epochs))
        print(
            f"{size} runs: {ended - began:.1f} s in all, {epochs[-1] - began:.1f} s to the last "
            f"epoch, {rest:.2f} s an epoch, {lines} epochs in their event logs",
            flush=True,
        )


def measure_target(bench: Bench) -> None:
    """Seconds of training until the test accuracy is 90 %; looking at it is not counted."""
    config = bench.config(*(() if bench.is_small else FAST))
    data, stack = on_device(bench, config)
    index = torch.arange(len(data.test_labels), device=bench.device).unsqueeze(0)
    seconds, reached = 0.0, 0.0
    while reached < TARGET and stack.epoch < stack.num_epochs:
        began = time.perf_counter()
        train_epoch(stack)
        bench.wait()
        seconds += time.perf_counter() - began
        reached = test_accuracy(stack, data, index)
    words = "reached" if reached >= TARGET else "not reached"
    print(
        f"{TARGET:.0%} test accuracy {words}: {reached:.4f} after {stack.epoch} epochs, "
        f"{seconds:.2f} s of training",
        flush=True,
    )


def test_accuracy(stack: Stack, data: Dataset, index: Tensor) -> float:
    """Of the stack's one network."""
    stack.model.eval()
    found = evaluate(
        stack.predict,
        data.test_images,
        data.test_labels,
        index=index,
        normalizer=stack.loader.normalizer,
    )
    return float(accuracy(found.counts[0]))


def measure_search(bench: Bench) -> None:
    """A search by whole command, in stacks."""
    trials, stack = (4, 2) if bench.is_small else (64, 32)
    words = ["sweep.sampler=tpe", f"sweep.n_trials={trials}", f"sweep.stack_size={stack}"]
    words += ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "optimizer.weight_decay=interval(0,0.3)"]
    words += [] if bench.is_small else ["training.epochs=5"]
    command = whole_command(str(bench.folder), [FMNIST, "train", "-m", *bench.words(*words)])
    seconds = seconds_of(command)
    print(f"a search of {trials} trials in stacks of {stack}: {seconds:.1f} s", flush=True)


PARTS: dict[str, Callable[[Bench], bool | None]] = {
    "checks": check_stacks,
    "step": measure_step,
    "target": measure_target,
    "stacks": measure_stacks,
    "search": measure_search,
}


def main() -> None:
    """Run the parts that were asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="seconds of work, as a rehearsal")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("overrides", nargs="*", help="for every run, as data.dir=FOLDER")
    options = parser.parse_intermixed_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here, or this torch cannot use it: --device cpu --small")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "the CPU"
    print(f"{name}; {describe_machine()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.device, options.small, tuple(options.overrides))
        outcomes = [PARTS[part](bench) for part in options.parts]
    if False in outcomes:
        sys.exit(1)


if __name__ == "__main__":
    main()
