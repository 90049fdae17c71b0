"""What every measurement shares: things run in turn, medians, tables, the machine in a line."""

import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from fashion_mnist.config.compose import check
from fashion_mnist.data.fashion_mnist import Dataset, load_dataset
from fashion_mnist.training.device import physical_cores, process_tags

FMNIST = Path(sys.executable).with_name("fmnist")
DATA = Path("data/fashion_mnist")


class Table(NamedTuple):
    """What a part has measured."""

    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As it stands in the README and in docs/."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_machine() -> str:
    """The machine, its load and the versions, in one line."""
    tags = process_tags()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{tags['cpu']} ({torch.backends.cpu.get_cpu_capability()}), {physical_cores()} cores, "
        f"load {load:.1f} at the start, "
        f"{platform.system()}, Python {tags['python']}, torch {tags['torch']}"
    )


def real_dataset() -> Dataset:
    """Fashion-MNIST."""
    names = check([]).data.class_names
    return load_dataset(name="fashion_mnist", folder=DATA, class_names=names)


def whole_command(folder: str, words: Sequence[object]) -> Callable[[], None]:
    """A command in a folder, to its end."""

    def run() -> None:
        command = [str(word) for word in words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")

    return run


def seconds_of(subject: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    subject()
    return time.perf_counter() - began


def core_seconds() -> float:
    """What this program, and those that it started and that ended, have used until now."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def in_turn(subjects: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each in each round, after a round that is not counted.

    Each round has an order of its own: what follows a library whose threads still wait for work, or
    one that has filled the caches, is slower.
    """
    for subject in subjects:
        subject()
    seconds, draw = [list[float]() for _ in subjects], random.Random(0)
    for _ in range(rounds):
        for number in draw.sample(range(len(subjects)), len(subjects)):
            seconds[number].append(seconds_of(subjects[number]))
    return seconds


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the smallest and largest value."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation (n - 1); of one value itself."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def ratio(slower: Sequence[float], faster: Sequence[float], digits: int = 1) -> str:
    """The median of the ratios round by round."""
    middle = statistics.median(a / b for a, b in zip(slower, faster, strict=True))
    return f"{middle:.{digits}f}"
