"""The engine of `hydra/launcher=stacked`: this process, and processes beside it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from fashion_mnist.engines.devices import visible_devices
from fashion_mnist.engines.engine import Width, Workers
from fashion_mnist.engines.lanes import open_lanes
from fashion_mnist.training.device import Machine, physical_cores

LANE_BYTES = 2**30  # what a process needs before there is a stack in it: libraries and the data


@dataclass(frozen=True)
class Processes:
    """Trains stacks on this machine, as many at a time as it has cores or GPUs."""

    is_here = True

    def problems(self) -> list[str]:
        """None: it has no options, and needs nothing."""
        return []

    def width(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Width:
        """A lane for each core, or each GPU, as far as there is memory and something to train."""
        devices = {machine.device for machine in machines}
        room = psutil.virtual_memory().available // LANE_BYTES
        if devices == {"cpu"}:
            return cpu_width(min(m.threads for m in machines), num_runs, wanted, room=room)
        if devices == {"cuda"}:
            return gpu_width(visible_devices(), num_runs, wanted, room=room)
        return Width()

    def open(self, width: Width, folder: Path) -> AbstractContextManager[Workers]:
        """See `lanes`."""
        return open_lanes(width)


def cpu_width(threads: int, num_runs: int, wanted: int | str, *, room: int) -> Width:
    """Workers that share the cores.

    Args:
        threads: the fewest that a run wants.
        wanted: by the user, or auto.
        room: for so many processes there is memory.
    """
    cores = physical_cores()
    number = min(cores // threads, room) if wanted == "auto" else int(wanted)
    number = max(1, min(number, num_runs))
    return Width(number, max(threads, cores // number))


def gpu_width(devices: Sequence[str], num_runs: int, wanted: int | str, *, room: int) -> Width:
    """A lane for each device, pinned to it; with one device this process is enough.

    Args:
        wanted: more lanes than devices share these in turn.
    """
    number = min(len(devices), room) if wanted == "auto" else int(wanted)
    number = max(1, min(number, num_runs))
    if number == 1 or not devices:
        return Width()
    return Width(number, max(1, physical_cores() // number), devices)
