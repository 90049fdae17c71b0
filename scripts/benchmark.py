"""Measures the main job, each thing beside what a user would pick instead.

    .venv/bin/python scripts/benchmark.py                  # epoch, recording, start
    .venv/bin/python scripts/benchmark.py epoch            # one part; also sweep, neighbour
    .venv/bin/python scripts/benchmark.py sweep --rounds 1 --runs 64    # an hour
    .venv/bin/python scripts/benchmark.py epoch --json epoch.json

Things that are compared run in turn within one call, and their ratio is taken round by round, so
that a machine that changes its speed changes both. What is printed are medians. Real images.
`pip install lightning hydra-joblib-launcher` adds these two to what is compared.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import contestants
import torch
from contestants import Epoch

from fashion_mnist.compose import check
from fashion_mnist.config import Config
from fashion_mnist.data.dataset import Dataset, load_dataset
from fashion_mnist.data.files import NAMES, load_files
from fashion_mnist.data.idx import write_idx
from fashion_mnist.loop import train_epoch
from fashion_mnist.machine import Machine, is_fast_in_bf16, physical_cores, process_tags
from fashion_mnist.runs.stacks import build_stack, view_data

FMNIST = Path(sys.executable).with_name("fmnist")
GRIDS = {  # a network and epochs
    "784-64-10": ("model.hidden_sizes=[64]", "training.epochs=2"),
    "784-128-64-10": ("model.hidden_sizes=[128,64]", "training.epochs=5"),
    "784-512-256-10": ("model.hidden_sizes=[512,256]", "training.epochs=5"),
}
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
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Table(NamedTuple):
    """What a part has measured."""

    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As it stands in the README."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run the parts that were asked for and print a Markdown table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["epoch", "recording", "start"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=64, help="of a sweep")
    parser.add_argument("--grids", nargs="*", default=list(GRIDS), help="the sweeps' networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), help="of an epoch")
    parser.add_argument("--json", type=Path, help="a file for the tables")
    options = parser.parse_args()
    torch.set_num_threads(physical_cores())
    if options.parts == ["step"]:  # what the part `neighbour` has processes do
        print(step_milliseconds())
        return
    print(describe_machine())
    measures: dict[str, Callable[[int], Table]] = {
        "epoch": lambda rounds: measure_epochs(rounds, options.networks),
        "recording": measure_recording,
        "start": measure_start,
        "sweep": lambda rounds: measure_sweeps(rounds, options.runs, options.grids),
        "neighbour": measure_beside_a_neighbour,
    }
    tables = {}
    for part in options.parts:
        tables[part] = measures[part](options.rounds)
        print(f"\n{tables[part].markdown()}", flush=True)
    if options.json:
        content = {"machine": describe_machine()} | {k: t._asdict() for k, t in tables.items()}
        options.json.write_text(json.dumps(content, indent=1))


def describe_machine() -> str:
    """The machine, its load and the versions, in one line."""
    tags = process_tags()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{tags['cpu']}, {physical_cores()} cores, load {load:.1f} at the start, "
        f"{platform.system()}, Python {tags['python']}, torch {tags['torch']}"
    )


def measure_epochs(rounds: int, networks: Sequence[str]) -> Table:
    """Seconds an epoch of 60,000 images, batch 128, AdamW: this program and what it is up against.

    In fp32, and in bf16 where this machine is fast at it.
    """
    dataset = real_dataset()
    precisions = ["fp32", *(["bf16"] if is_fast_in_bf16("cpu") else [])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_for_torchvision(Path(folder))
        for name in networks:
            config = check(["data.validation_size=0", *NETWORKS[name]])
            for precision in precisions:
                epochs = epochs_of(config, dataset, precision, Path(folder))
                seconds = dict(zip(epochs, in_turn(list(epochs.values()), rounds), strict=True))
                rows += [
                    [name, precision, other, spread(own), ratio(own, seconds["this program"], 2)]
                    for other, own in seconds.items()
                ]
    return Table(["network", "precision", "loop", "s an epoch", "times as long as ours"], rows)


def epochs_of(
    config: Config, dataset: Dataset, precision: str, folder: Path
) -> Mapping[str, Epoch]:
    """An epoch of each loop that there is for this precision."""
    dtype = DTYPES[precision]
    machine = Machine("cpu", precision, physical_cores())
    epochs = {
        "this program": contestants.ours(config, dataset, machine),
        "by hand, in memory": contestants.in_memory(config, dataset, dtype),
        "the matrix products alone": contestants.roof(config, dataset, dtype),
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


def real_dataset() -> Dataset:
    """Fashion-MNIST."""
    names = check([]).data.class_names
    return load_dataset(name="fashion_mnist", folder=Path("data/fashion_mnist"), class_names=names)


def write_for_torchvision(folder: Path) -> None:
    """The data set where torchvision looks for it."""
    files = load_files(name="fashion_mnist", folder=Path("data/fashion_mnist"), num_classes=10)
    arrays = (files.train_images, files.train_labels, files.test_images, files.test_labels)
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in zip(NAMES, arrays, strict=True):
        write_idx(raw / name, array)


def measure_recording(rounds: int) -> Table:
    """Seconds of the whole command, 20 epochs of the default network, recorded and not."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["rerun=true", "training.checkpoint_seconds=1000000"]
        recorded = whole_command(folder, words)
        alone = whole_command(folder, [*words, "tracking.uri=null"])
        with_store, without = in_turn([recorded, alone], rounds)
    cost = [f"{100 * (a / b - 1):.1f}" for a, b in zip(with_store, without, strict=True)]
    middle = statistics.median(float(each) for each in cost)
    rows = [
        ["recorded in MLflow (sqlite)", spread(with_store)],
        ["journal and files alone", spread(without)],
        ["cost of MLflow, its process's start included", f"{middle:.1f} %"],
    ]
    return Table(["whole command, 20 epochs", "s"], rows)


def whole_command(folder: str, overrides: Sequence[str]) -> Callable[[], None]:
    """`fmnist train` in a folder, to its end."""

    def run() -> None:
        subprocess.run([FMNIST, "train", *overrides], cwd=folder, check=True, capture_output=True)

    return run


def measure_start(rounds: int) -> Table:
    """Seconds to the help and to the first training step, on a warm disk."""
    with tempfile.TemporaryDirectory() as folder:

        def show_help() -> None:
            subprocess.run([FMNIST, "--help"], check=True, capture_output=True)

        def import_torch() -> None:
            subprocess.run([sys.executable, "-c", "import torch, hydra"], check=True)

        to_help, imports = in_turn([show_help, import_torch], rounds)
        to_step = [seconds_to_first_step(folder) for _ in range(rounds + 1)][1:]
    rows = [
        ["`fmnist --help`", spread(to_help)],
        ["`fmnist train` to the first step", spread(to_step)],
        ["a process that imports torch and hydra, and ends", spread(imports)],
    ]
    return Table(["start", "s"], rows)


def measure_sweeps(rounds: int, num_runs: int, grids: Sequence[str]) -> Table:
    """Whole sweeps, every run in a fresh MLflow store, with each launcher that is installed."""
    launchers = {"stacked": ["hydra/launcher=stacked"], "basic": ["hydra/launcher=basic"]}
    if find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib, 2 jobs"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    rows = []
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
        what = f"{num_runs} runs of {grid}, {GRIDS[grid][1].partition('=')[2]} epochs"
        rows += [
            [what, name, spread(own), ratio(own, seconds["stacked"])]
            for name, own in seconds.items()
        ]
    return Table(["grid", "launcher", "s", "times as long as stacked"], rows)


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
    command = [sys.executable, __file__, "step"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def step_milliseconds(num_steps: int = 400) -> float:
    """The mean of some hundred training steps, batch 128, in this process."""
    dataset, times = real_dataset(), list[float]()
    config = check(["model.hidden_sizes=[512,256]"])
    views = [view_data(config, dataset)]
    stack = build_stack([config], views, dataset, Machine("cpu", "fp32", physical_cores()))
    train_epoch(stack, on_step=lambda _step: times.append(time.perf_counter()))
    return 1000 * (times[-1] - times[-num_steps]) / (num_steps - 1)


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


def in_turn(subjects: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each in each round, after a round that is not counted."""
    seconds: list[list[float]] = [[] for _ in subjects]
    for number in range(rounds + 1):
        for own, subject in zip(seconds, subjects, strict=True):
            began = time.perf_counter()
            subject()
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
