"""`hydra/launcher=stacked_ray`: stacks are tasks of a Ray cluster.

Ray queues the tasks, places them by the CPUs and GPUs that they ask for, and starts them again on
another node when theirs dies. Ray is imported within functions alone: it is an optional package.
"""

import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_mnist.config.messages import RunError, first_line_of
from fashion_mnist.launchers.base import STOP_SECONDS, Capacity, Task, Update, failure
from fashion_mnist.launchers.local import visible_devices
from fashion_mnist.launchers.options import RayOptions
from fashion_mnist.launchers.remote import (
    RemoteResult,
    Storage,
    marked_storage,
    pack_run_dir,
    portable,
    stop_on_signals,
    train_remote_task,
    update_of,
)
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import STOPPING, handling
from fashion_mnist.training.device import Machine, physical_cores
from fashion_mnist.training.stack import HistoryRow, Stack

# Ray writes pages to the standard output when a node dies; it reads this when it is imported
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")

log = logging.getLogger("fashion_mnist")

POLL_SECONDS = 0.2  # between two checks for a request to stop
SECONDS_BETWEEN_UPDATES = 0.5  # of a task's epochs
CONNECT_SECONDS = 5  # for the head of a cluster to answer
OBJECT_STORE_BYTES = 100 * 2**20  # of a local cluster: stacks travel as a few kilobytes


class RayLauncher(RayOptions):
    """Trains stacks in a cluster; without an address in one of this machine, for this sweep."""

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""
        if importlib.util.find_spec("ray") is None:
            return ["hydra/launcher=stacked_ray needs the package ray: pip install -e '.[ray]'"]
        cores = physical_cores()
        is_gpu_share = self.gpus >= 0 and (self.gpus <= 1 or self.gpus % 1 == 0)
        rules = {
            f"cpus must be 0 or more, got {self.cpus:g}": self.cpus >= 0,
            f"gpus must be 0, a fraction of 1 or a whole number, got {self.gpus:g}": is_gpu_share,
            f"retries must be -1 or more, got {self.retries}": self.retries >= -1,
            f"cpus must be at most {cores}, the cores of this machine, where there is no "
            f"hydra.launcher.address, got {self.cpus:g}": self.address or self.cpus <= cores,
        }
        return [f"hydra.launcher.{rule}" for rule, holds in rules.items() if not holds]

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """As many stacks as the cluster has room for as it is now."""
        import ray

        if self.address is None:
            has = {"CPU": float(physical_cores()), "GPU": float(len(visible_devices()))}
        else:
            self.connect()
            has = ray.cluster_resources()  # type: ignore[no-untyped-call]  # as Ray has it
        wants = {"CPU": self.cpus, "GPU": self.gpus}
        rooms = [int(has.get(name, 0) / share) for name, share in wants.items() if share]
        return Capacity(
            max(1, min(rooms, default=physical_cores())),
            max(1, int(self.cpus)),
            seconds_to_start=5.0 if self.address else 12.0,  # Ray's own processes come first
            is_here=False,
            has_gpus=self.gpus > 0,
        )

    @contextmanager
    def open(self, capacity: Capacity, folder: Path) -> Iterator["RayWorkers"]:
        """Workers that begin when there is something to train."""
        with marked_storage(folder) as storage:
            try:
                yield RayWorkers(capacity, self, storage)
            finally:
                self._disconnect()

    def _disconnect(self) -> None:
        """Leave the cluster; a local one ends."""
        import ray

        if ray.is_initialized():
            with handling(STOPPING, None):  # Ray sets its own
                ray.shutdown()

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
        with handling(STOPPING, None):  # Ray sets its own
            try:
                if self.address is not None:
                    _check_reachable(self.address)
                ray.init(
                    address=self.address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **({} if self.address else local),
                )
            except Exception as error:  # Ray raises whatever its parts raise
                reason = getattr(error, "strerror", None) or first_line_of(error)
                what = "Ray does not start on this machine"
                if self.address is not None:
                    what = f"no Ray cluster at {self.address}"
                raise RunError(f"{what}: {reason}") from error


def _check_reachable(address: str) -> None:
    """Raise OSError where no process listens: Ray would try for minutes and log each attempt."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


@dataclass
class RayWorkers:
    """The tasks of a sweep; the cluster is connected when the first one is sent."""

    capacity: Capacity
    _launcher: RayLauncher
    _storage: Storage
    _progress: Any = None
    _function: Any = None

    def run(self, tasks: Sequence[Task]) -> Generator[Update | None, None, None]:
        """See `base.Workers`. A stack that cannot be trained has its error."""
        import ray

        if not tasks:
            return
        self._begin()
        sent, trained_by = {self._send(task): task for task in tasks}, dict[int, str]()
        try:
            while sent:
                ready, _ = ray.wait(list(sent), timeout=POLL_SECONDS, fetch_local=False)
                under_way = {task.number for task in sent.values()}
                for number, (worker, epochs) in ray.get(self._progress.take.remote()).items():
                    if number in under_way:
                        before = trained_by.setdefault(number, worker)
                        if before != worker:
                            trained_by[number] = worker
                            log.warning("a worker died (%s): its runs go on in %s", before, worker)
                        yield Update(number, epochs=epochs)
                for reference in ready:
                    yield self._update(reference, sent.pop(reference))
                yield None
        finally:
            self._stop(sent)

    def _begin(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._progress is not None:
            return
        self._launcher.connect()
        _warn_of_no_such_node(self._launcher)
        on_this_node = NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), False
        )
        self._progress = (
            ray.remote(ProgressActor).options(num_cpus=0, scheduling_strategy=on_this_node).remote()
        )
        self._function = ray.remote(work).options(
            num_cpus=self._launcher.cpus,
            num_gpus=self._launcher.gpus,
            max_retries=self._launcher.retries,
        )

    def _send(self, task: Task) -> Any:
        import ray

        # a cluster of this machine shares its storage
        is_elsewhere = self._launcher.address is not None
        begun = is_elsewhere and any(RunDir(folder).status() for folder in task.folders)
        archives = [ray.put(pack_run_dir(folder)) for folder in task.folders] if begun else []
        return self._function.remote(portable(task), self._storage, self._progress, archives)

    def _update(self, reference: Any, task: Task) -> Update:
        """What came of a task that has ended."""
        import ray

        try:
            return update_of(ray.get(reference), task)
        except ray.exceptions.TaskCancelledError:
            return failure(task, "cancelled")
        except ray.exceptions.RayTaskError as error:
            return failure(task, first_line_of(error.cause or error))
        except ray.exceptions.RayError as error:
            return failure(task, f"{type(error).__name__}: {first_line_of(error)}")

    def _stop(self, sent: dict[Any, Task]) -> None:
        """Have running tasks save their runs, which come back; forget those that wait."""
        import ray

        for reference in sent:
            ray.cancel(reference)
        deadline = time.monotonic() + STOP_SECONDS
        while sent and (left := deadline - time.monotonic()) > 0:
            ready, _ = ray.wait(list(sent), timeout=left)
            for reference in ready:
                self._update(reference, sent.pop(reference))


def _warn_of_no_such_node(launcher: RayLauncher) -> None:
    """A task that fits no node waits for ever, unless the cluster grows."""
    import ray

    wants = {"CPU": launcher.cpus, "GPU": launcher.gpus}
    everything: Any = ray.nodes()  # type: ignore[no-untyped-call]  # as Ray has it
    nodes = [node["Resources"] for node in everything if node["Alive"]]
    if not any(all(node.get(n, 0) >= share for n, share in wants.items()) for node in nodes):
        log.warning(
            "no node of the cluster has %g CPUs and %g GPUs: its stacks wait for one",
            launcher.cpus,
            launcher.gpus,
        )


class ProgressActor:
    """An actor that keeps how far stacks are until the sweep asks for it."""

    def __init__(self) -> None:
        self._updates: dict[int, tuple[str, float]] = {}

    def tell(self, number: int, worker: str, epochs: float) -> None:
        """Note that the worker has trained the stack so far."""
        self._updates[number] = worker, epochs

    def take(self) -> dict[int, tuple[str, float]]:
        """The last note of each stack since the call before, by the stack's number."""
        updates, self._updates = self._updates, {}
        return updates


def work(task: Task, storage: Storage, progress: Any, archives: Sequence[Any]) -> RemoteResult:
    """The function of a task: train a stack; `ray.cancel`, which sends SIGINT, has its runs saved.

    Args:
        storage: of the sweep.
        progress: the handle of a `ProgressActor`.
        archives: references to archives of its run directories, where any was begun.
    """
    import ray

    last = time.monotonic()
    worker = f"{socket.gethostname()}, process {os.getpid()}"

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_UPDATES:
            last = time.monotonic()
            progress.tell.remote(task.number, worker, stack.epoch)

    with stop_on_signals(signal.SIGINT, on_epoch=on_epoch) as (observer, _):
        progress.tell.remote(task.number, worker, 0.0)
        return train_remote_task(task, storage, observer, lambda: ray.get(list(archives)))
