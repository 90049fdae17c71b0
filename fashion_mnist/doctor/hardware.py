"""Cores, neighbours, GPU: what training has to work with on this machine."""

import os
import shutil
import time
from collections.abc import Iterator
from statistics import median

import torch

from fashion_mnist.doctor.finding import Finding, note, well
from fashion_mnist.training.device import physical_cores

THREADS, GPU = "threads", "GPU"
SIDE = 768  # of the matrices that are multiplied
SAMPLES = 9
SAMPLE_SECONDS = 0.02
FAIR_SHARE = 0.65  # of the speed of so many cores: with less, somebody else is at work on them


def look_at_threads() -> Iterator[Finding]:
    """Whether as many threads as there are cores are faster than one, and how busy it is."""
    cores, load = physical_cores(), _load()
    words = f"{cores} core{'s' * (cores != 1)} to use{load}"
    if os.environ.get("OMP_NUM_THREADS"):
        words += f", as OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} has it"
    if cores == 1:
        yield well(THREADS, words)
        return
    gain = _gain(cores)
    words += f"; {cores} threads are {gain:.1f} times as fast as one"
    if gain >= FAIR_SHARE * cores:
        yield well(THREADS, words)
        return
    advice = "see what else runs here; until it has ended, training.threads=1 may be faster"
    yield note(THREADS, f"{words}: other programs disturb, or the cores are no cores", advice)


def look_at_gpu() -> Iterator[Finding]:
    """What `training.device=auto` finds."""
    if torch.cuda.is_available():
        yield well(GPU, torch.cuda.get_device_name())
    elif torch.backends.mps.is_available():
        yield well(GPU, "Apple's, as training.device=mps")
    elif shutil.which("nvidia-smi"):
        is_cpu_build = torch.version.cuda is None
        reason = "torch is built without CUDA" if is_cpu_build else "torch cannot use it"
        advice = "install torch with CUDA, and a driver for it; `nvidia-smi` tells of the driver"
        yield note(GPU, f"there is one of NVIDIA's, but {reason}", advice)
    else:
        yield well(GPU, "none: training runs on the processor")


def _load() -> str:
    """What the system says of how many programs want a core."""
    if not hasattr(os, "getloadavg"):
        return ""
    return f", {os.getloadavg()[0]:.1f} of them in demand over the last minute"


def _gain(threads: int) -> float:
    """How many times as fast a product is with so many threads as with one."""
    before = torch.get_num_threads()
    matrix = torch.ones(SIDE, SIDE)
    seconds: dict[int, list[float]] = {1: [], threads: []}
    try:
        for _ in range(SAMPLES):  # in turn: what disturbs one disturbs the other
            for number, own in seconds.items():
                torch.set_num_threads(number)
                own.append(_product_seconds(matrix))
    finally:
        torch.set_num_threads(before)
    return median(seconds[1]) / median(seconds[threads])


def _product_seconds(matrix: torch.Tensor) -> float:
    """The mean of as many products as fit the sample, at least two; the first is not counted."""
    matrix @ matrix
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < SAMPLE_SECONDS:
        matrix @ matrix
        count += 1
    return (time.perf_counter() - began) / count
