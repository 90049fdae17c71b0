"""The engine of `hydra/launcher=stacked_ray`: stacks are tasks of a Ray cluster.

Ray queues them, places them by the CPUs and GPUs that they want, and starts them again somewhere
else when their node dies. See `ray_tasks`; only what is within functions here imports ray.
"""

import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_mnist.console import first_line_of
from fashion_mnist.engines.engine import Width
from fashion_mnist.engines.errand import at_home
from fashion_mnist.engines.ray_tasks import RayWorkers
from fashion_mnist.runs.run_dir import RunError
from fashion_mnist.runs.signals import STOPPING
from fashion_mnist.training.device import Machine, physical_cores

# Ray writes pages to our standard output when a node dies; this is read when ray is imported
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")


KNOCK_SECONDS = 5  # for the head of a cluster to answer
OBJECT_STORE_BYTES = 100 * 2**20  # of a local cluster: stacks travel as a few kilobytes


@dataclass(frozen=True)
class RayCluster:
    """Trains stacks in a cluster; `address` null: one of this machine, for this sweep alone."""

    address: str | None
    cpus: float  # of a stack
    gpus: float
    retries: int  # of a stack whose node or process died

    is_here = False

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""
        if importlib.util.find_spec("ray") is None:
            return ["hydra/launcher=stacked_ray needs the package ray: pip install '.[ray]'"]
        problems = []
        if not self.cpus >= 0:
            problems.append(f"hydra.launcher.cpus must be 0 or more, got {self.cpus:g}")
        if not self.gpus >= 0 or (self.gpus > 1 and self.gpus % 1):
            problems.append(
                "hydra.launcher.gpus must be 0, a fraction of 1 or a whole number, got "
                f"{self.gpus:g}"
            )
        if self.retries < -1:
            problems.append(f"hydra.launcher.retries must be -1 or more, got {self.retries}")
        cores = physical_cores()
        if self.address is None and self.cpus > cores:
            problems.append(
                f"hydra.launcher.cpus must be at most {cores}, the cores of this machine, where "
                f"there is no hydra.launcher.address, got {self.cpus:g}"
            )
        return problems

    def width(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Width:
        """As many stacks as the cluster has room for as it is now."""
        if self.address is None:
            has = {"CPU": float(physical_cores()), "GPU": float(_num_gpus())}
        else:
            self.connect()
            has = _resources()
        wants = {"CPU": self.cpus, "GPU": self.gpus}
        rooms = [int(has.get(name, 0) / share) for name, share in wants.items() if share]
        return Width(
            max(1, min(rooms, default=physical_cores())),
            max(1, int(self.cpus)),
            seconds_to_start=5.0 if self.address else 12.0,  # Ray's own processes come first
            is_here=False,
            has_gpus=self.gpus > 0,
        )

    @contextmanager
    def open(self, width: Width, folder: Path) -> Iterator[RayWorkers]:
        """Workers that begin when there is something to train."""
        with at_home(folder) as home:
            try:
                yield RayWorkers(width, self, home)
            finally:
                _disconnect()

    def connect(self) -> None:
        """Once. Raises RunError where there is no cluster."""
        import ray

        if ray.is_initialized():
            return
        local: dict[str, Any] = {
            "num_cpus": physical_cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        where = self.address or "here"
        with _own_handlers():
            try:
                _knock(where)
                ray.init(
                    address=self.address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **({} if self.address else local),
                )
            except Exception as error:  # Ray raises whatever its parts raise
                reason = getattr(error, "strerror", None) or first_line_of(error)
                raise RunError(f"no Ray cluster at {where}: {reason}") from error


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would try for minutes, and tell of each attempt."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def _resources() -> dict[str, float]:
    """Of the whole cluster."""
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # as Ray has it
    return resources


def _num_gpus() -> int:
    from fashion_mnist.engines.devices import visible_devices

    return len(visible_devices())


def _disconnect() -> None:
    """Leave the cluster; a local one ends."""
    import ray

    if ray.is_initialized():
        with _own_handlers():
            ray.shutdown()


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Ray takes signals that end a program for itself: they stay ours."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
