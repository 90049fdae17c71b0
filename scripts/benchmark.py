"""Measures the main job: an epoch beside the classic loop, the cost of recording, the first step.

    .venv/bin/python scripts/benchmark.py            # these three, a quarter of an hour
    .venv/bin/python scripts/benchmark.py epoch      # one part: epoch, recording, start, sweep ...
    .venv/bin/python scripts/benchmark.py neighbour  # ... or neighbour
    .venv/bin/python scripts/benchmark.py sweep --rounds 1 --runs 64    # an hour

Things that are compared run in turn within one call, and their ratio is taken round by round, so
that a machine that changes its speed changes both. What is printed are medians. Real images.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fashion_mnist.compose import check
from fashion_mnist.config import Config
from fashion_mnist.data.dataset import Dataset, load_dataset
from fashion_mnist.data.files import NAMES, load_files
from fashion_mnist.data.idx import write_idx
from fashion_mnist.loop import train_epoch
from fashion_mnist.machine import Machine, physical_cores, process_tags
from fashion_mnist.network import build_network
from fashion_mnist.runs.stacks import build_stack, view_data

FMNIST = Path(sys.executable).with_name("fmnist")
GRIDS = {  # a network and epochs
    "784-64-10": ("model.hidden_sizes=[64]", "training.epochs=2"),
    "784-128-64-10": ("model.hidden_sizes=[128,64]", "training.epochs=5"),
    "784-512-256-10": ("model.hidden_sizes=[512,256]", "training.epochs=5"),
}
NETWORKS = ("[128,64]", "[512,512]", "[1024,1024,1024]")


def main() -> None:
    """Run the parts that were asked for and print a Markdown table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["epoch", "recording", "start"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=64, help="of a sweep")
    parser.add_argument("--grids", nargs="*", default=list(GRIDS), help="the sweeps' networks")
    options = parser.parse_args()
    torch.set_num_threads(physical_cores())
    print(describe_machine())
    measures: dict[str, Callable[[int], str]] = {
        "epoch": measure_epochs,
        "recording": measure_recording,
        "start": measure_start,
        "sweep": lambda rounds: measure_sweeps(rounds, options.runs, options.grids),
        "neighbour": measure_beside_a_neighbour,
        "step": lambda _rounds: f"{step_milliseconds():.3f}",  # what `neighbour` has processes do
    }
    for part in options.parts:
        print(f"\n{measures[part](options.rounds)}", flush=True)


def describe_machine() -> str:
    """The machine, its load and the versions, in one line."""
    tags = process_tags()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{tags['cpu']}, {physical_cores()} cores, load {load:.1f} at the start, "
        f"{platform.system()}, Python {tags['python']}, torch {tags['torch']}"
    )


def measure_epochs(rounds: int) -> str:
    """Seconds an epoch of 55,000 images, batch 128, AdamW: this program and the classic loop."""
    dataset = real_dataset()
    lines = ["| network | ours, s | classic loop, s | ratio |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        write_for_torchvision(Path(folder))
        for sizes in NETWORKS:
            config = check([f"model.hidden_sizes={sizes}"])
            contestants = [our_epoch(config, dataset), classic_epoch(config, dataset, Path(folder))]
            ours, classic = in_turn(contestants, rounds)
            name = "-".join(["784", *map(str, config.model.sizes()), "10"])
            lines.append(
                f"| {name} | {spread(ours)} | {spread(classic)} | {ratio(classic, ours)} |"
            )
    return "\n".join(lines)


def real_dataset() -> Dataset:
    """Fashion-MNIST."""
    names = check([]).data.class_names
    return load_dataset(name="fashion_mnist", folder=Path("data/fashion_mnist"), class_names=names)


def our_epoch(config: Config, dataset: Dataset) -> Callable[[], None]:
    """One epoch as `fmnist train` trains it, as a stack of one."""
    view = view_data(config, dataset)
    stack = build_stack([config], [view], dataset, Machine("cpu", "fp32", physical_cores()))

    def run() -> None:
        stack.epoch = 0
        train_epoch(stack)

    return run


def classic_epoch(config: Config, dataset: Dataset, folder: Path) -> Callable[[], None]:
    """One epoch of the loop of the tutorials: torchvision, DataLoader, nn.Sequential, AdamW."""
    view = view_data(config, dataset)
    stack = build_stack([config], [view], dataset, Machine("cpu", "fp32", 1))
    network = build_network(stack.model.architecture)
    network.load_state_dict(stack.model.state_dict(0))
    images = FashionMNIST(
        str(folder),
        transform=transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((view.mean,), (view.std,))]
        ),
    )
    part = Subset(images, view.split.train.tolist())
    loader = DataLoader(part, batch_size=config.training.batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.optimizer.lr)
    criterion = nn.CrossEntropyLoss()

    def run() -> None:
        for pixels, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(pixels.flatten(1)), labels)
            loss.backward()
            optimizer.step()

    return run


def write_for_torchvision(folder: Path) -> None:
    """The data set where torchvision looks for it."""
    files = load_files(name="fashion_mnist", folder=Path("data/fashion_mnist"), num_classes=10)
    arrays = (files.train_images, files.train_labels, files.test_images, files.test_labels)
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in zip(NAMES, arrays, strict=True):
        write_idx(raw / name, array)


def measure_recording(rounds: int) -> str:
    """Seconds of the whole command, 20 epochs of the default network, recorded and not."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["rerun=true", "training.checkpoint_seconds=1000000"]
        recorded = whole_command(folder, words)
        alone = whole_command(folder, [*words, "tracking.uri=null"])
        with_store, without = in_turn([recorded, alone], rounds)
    cost = [f"{100 * (a / b - 1):.1f}" for a, b in zip(with_store, without, strict=True)]
    middle = statistics.median(float(each) for each in cost)
    return (
        "| whole command, 20 epochs | s |\n|---|---|\n"
        f"| recorded in MLflow (sqlite) | {spread(with_store)} |\n"
        f"| journal and files alone | {spread(without)} |\n"
        f"| cost of MLflow, its process's start included | {middle:.1f} % |"
    )


def whole_command(folder: str, overrides: Sequence[str]) -> Callable[[], None]:
    """`fmnist train` in a folder, to its end."""

    def run() -> None:
        subprocess.run([FMNIST, "train", *overrides], cwd=folder, check=True, capture_output=True)

    return run


def measure_start(rounds: int) -> str:
    """Seconds to the help and to the first training step, on a warm disk."""
    with tempfile.TemporaryDirectory() as folder:

        def show_help() -> None:
            subprocess.run([FMNIST, "--help"], check=True, capture_output=True)

        def import_torch() -> None:
            subprocess.run([sys.executable, "-c", "import torch, hydra"], check=True)

        to_help, imports = in_turn([show_help, import_torch], rounds)
        to_step = [seconds_to_first_step(folder) for _ in range(rounds + 1)][1:]
    return (
        "| start | s |\n|---|---|\n"
        f"| `fmnist --help` | {spread(to_help)} |\n"
        f"| `fmnist train` to the first step | {spread(to_step)} |\n"
        f"| a process that imports torch and hydra, and ends | {spread(imports)} |"
    )


def measure_sweeps(rounds: int, num_runs: int, grids: Sequence[str]) -> str:
    """Whole sweeps, every run in a fresh MLflow store, with each launcher that is installed."""
    launchers = {"stacked": ["hydra/launcher=stacked"], "basic": ["hydra/launcher=basic"]}
    if find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib, 2 jobs"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    lines = ["| grid | launcher | s | times as long as stacked |", "|---|---|---|---|"]
    for grid in grids:
        axes = ["optimizer.lr=5e-4,1e-3,2e-3,4e-3", f"seed=range({num_runs // 4})"]
        seconds: dict[str, list[float]] = {name: [] for name in launchers}
        for _ in range(rounds):  # none is thrown away: each begins in an empty folder anyway
            for name, launcher in launchers.items():
                with tempfile.TemporaryDirectory() as folder:
                    run = whole_command(folder, ["-m", *GRIDS[grid], *axes, *launcher])
                    began = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - began)
        epochs = GRIDS[grid][1].partition("=")[2]
        lines += [
            f"| {num_runs} runs of {grid}, {epochs} epochs | {name} | {spread(own)} "
            f"| {ratio(own, seconds['stacked'])} |"
            for name, own in seconds.items()
        ]
    return "\n".join(lines)


def measure_beside_a_neighbour(rounds: int) -> str:
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
    lines = [
        f"| {name} | {spread(alone[name])} | {spread(beside[name])} "
        f"| {ratio(beside[name], alone[name])} | {ratio(alone[name], libraries, 2)} |"
        for name in spins
    ]
    head = "| waiting threads | alone, ms a step | beside one busy process, ms | ratio | alone "
    return "\n".join([f"{head}beside libgomp's |", "|---|---|---|---|---|", *lines])


def step_in_a_process(spin_count: str) -> float:
    """The part `step` in a process of its own: libgomp reads its settings once."""
    environment = os.environ | {"GOMP_SPINCOUNT": spin_count}
    command = [sys.executable, __file__, "step"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def step_milliseconds(num_steps: int = 400) -> float:
    """The mean of some hundred training steps, batch 128, in this process."""
    dataset = real_dataset()
    config = check(["model.hidden_sizes=[512,256]"])
    times: list[float] = []
    stack = build_stack(
        [config], [view_data(config, dataset)], dataset, Machine("cpu", "fp32", physical_cores())
    )
    train_epoch(stack, on_step=lambda _step: times.append(time.perf_counter()))
    warm = len(times) - num_steps
    return 1000 * (times[-1] - times[warm]) / (num_steps - 1)


def seconds_to_first_step(folder: str) -> float:
    """From the command to the moment when the first training step begins."""
    began = time.perf_counter()
    command = [str(FMNIST), "train", "rerun=true", "training.epochs=1", "model.width=32"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("training "))
        seconds = time.perf_counter() - began
        process.stdout.read()
    return seconds


def in_turn(contestants: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Seconds of each contestant in each round, after a round that is not counted."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for number in range(rounds + 1):
        for own, contestant in zip(seconds, contestants, strict=True):
            began = time.perf_counter()
            contestant()
            if number:
                own.append(time.perf_counter() - began)
    return seconds


def spread(values: Sequence[float]) -> str:
    """The median, and the smallest and largest value."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratio(slower: Sequence[float], faster: Sequence[float], digits: int = 1) -> str:
    """The median of the ratios round by round."""
    middle = statistics.median(a / b for a, b in zip(slower, faster, strict=True))
    return f"{middle:.{digits}f}"


if __name__ == "__main__":
    main()
