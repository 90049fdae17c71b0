"""What this machine trains on: each `auto` of device, precision and threads, resolved."""

import os
import platform
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import joblib
import torch

# what a CPU must have for bf16 products to be fast; without, they took seven times as long as fp32
_BF16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}
# Each step converts every weight and its gradient: on a Zen 5 core that took longer than bf16 saved
# below these, by a quarter for 784-128-64-10 with a batch of 32.
SMALLEST_BF16_BATCH = 64
SMALLEST_BF16_PRODUCTS = 2**25  # multiply-adds of a batch in all layers
PID_TAG = "mlflow.fmnist.pid"  # MLflow's pages hide it


@dataclass(frozen=True)
class Machine:
    """Where a run is trained. These three are recorded with it; on a CPU they decide its bits."""

    device: str  # cpu, cuda or mps
    precision: str  # fp32 or bf16
    threads: int  # of the CPU

    @property
    def dtype(self) -> torch.dtype:
        """The type of the matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def resolve_machine(
    *, device: str, precision: str, threads: int, batch_size: int, num_weights: int
) -> Machine:
    """Replace each `auto` by what this machine is good at.

    Args:
        batch_size, num_weights: images in a step, and numbers in all weight matrices: with few,
            bf16 costs more than it saves.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if torch.backends.mps.is_available():
            device = "mps"
    if precision == "auto":
        gains = device != "cpu" or (
            batch_size >= SMALLEST_BF16_BATCH and batch_size * num_weights >= SMALLEST_BF16_PRODUCTS
        )
        precision = "bf16" if gains and is_fast_in_bf16(device) else "fp32"
    return Machine(device, precision, threads)


def physical_cores() -> int:
    """Physical cores that this process may use; `OMP_NUM_THREADS` where it is set.

    Fewer than the machine has where an affinity mask or a container's CPU quota says so.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return int(joblib.cpu_count(only_physical_cores=True))


def process_tags() -> dict[str, str]:
    """Which process trains a run, and on what."""
    return {
        "host": socket.gethostname(),
        PID_TAG: str(os.getpid()),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def is_fast_in_bf16(device: str) -> bool:
    """Whether the device has instructions for products in bf16."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and bool(_BF16_INSTRUCTIONS & _cpu_flags())


@cache
def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty on other systems."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _cpu_flags() -> set[str]:
    return set((_cpu_info().get("flags") or _cpu_info().get("Features") or "").split())


def _cpu_name() -> str:
    return _cpu_info().get("model name") or platform.processor() or platform.machine()
