"""The engine of `hydra/launcher=stacked_ray`: stacks are tasks of a Ray cluster.

Ray queues them, places them by the CPUs and GPUs that they want, and starts them again somewhere
else when their node dies. Only `ray_worker` and what is within functions here import ray.
"""

import importlib.util
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fashion_mnist.console import first_line_of
from fashion_mnist.engines.engine import News, Task, Width, failure
from fashion_mnist.engines.errand import Answer, Home, at_home, deliver, errand_of
from fashion_mnist.engines.parcel import pack
from fashion_mnist.machine import Machine, physical_cores
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.request import RunError
from fashion_mnist.signals import STOPPING

# Ray writes pages to our standard output when a node dies; this is read when ray is imported
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")

log = logging.getLogger("fashion_mnist")

POLL_SECONDS = 0.2  # between two looks whether somebody wants us to stop
KNOCK_SECONDS = 5  # for the head of a cluster to answer
GOODBYE_SECONDS = 20  # for tasks that save their runs; after 30, Slurm kills
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
            self._connect()
            has = _resources()
        wants = {"CPU": self.cpus, "GPU": self.gpus}
        rooms = [int(has.get(name, 0) / share) for name, share in wants.items() if share]
        threads = max(1, int(self.cpus))
        return Width(
            max(1, min(rooms, default=physical_cores())),
            min([threads, *(machine.threads for machine in machines)]),
            seconds_to_start=5.0 if self.address else 12.0,  # Ray's own processes come first
            is_here=False,
            has_gpus=self.gpus > 0,
        )

    @contextmanager
    def open(self, width: Width, folder: Path) -> Iterator["RayWorkers"]:
        """Workers that begin when there is something to train."""
        with at_home(folder) as home:
            try:
                yield RayWorkers(width, self, home)
            finally:
                _disconnect()

    def _connect(self) -> None:
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


@dataclass
class RayWorkers:
    """A cluster's tasks; it is connected when the first one is sent."""

    width: Width
    _cluster: RayCluster
    _home: Home
    _mailbox: Any = None
    _function: Any = None

    def run(
        self,
        tasks: Sequence[Task],
        *,
        on_begin: Callable[[Task], None],
        on_news: Callable[[News], None],
        check_for_stop: Callable[[], None],
    ) -> list[Task]:
        """See `engine.Workers`. None comes back: what cannot be trained has its error."""
        import ray

        if not tasks:
            return []
        self._begin()
        sent = _Sent({self._send(task): task for task in tasks}, on_begin, on_news)
        try:
            while sent.waiting:
                ready, _ = ray.wait(list(sent.waiting), timeout=POLL_SECONDS, fetch_local=False)
                sent.hear(ray.get(self._mailbox.take.remote()))
                for reference in ready:
                    sent.take(reference, self._answer(reference))
                check_for_stop()
        except Exception:
            self._stop(sent)
            raise
        return []

    def _begin(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from fashion_mnist.engines.ray_worker import Mailbox, work

        if self._mailbox is not None:
            return
        self._cluster._connect()
        _warn_of_none_so_large(self._cluster)
        beside_us = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), False)
        self._mailbox = (
            ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=beside_us).remote()
        )
        self._function = ray.remote(work).options(
            num_cpus=self._cluster.cpus,
            num_gpus=self._cluster.gpus,
            max_retries=self._cluster.retries,
        )

    def _send(self, task: Task) -> Any:
        import ray

        begun = [folder for folder in task.folders if RunFolder(folder).status()]
        parcels = [ray.put(pack(folder)) for folder in task.folders] if begun else []
        return self._function.remote(errand_of(task, self._home), self._mailbox, parcels)

    def _answer(self, reference: Any) -> Answer | str:
        """What became of a task, or why nobody could do it."""
        import ray

        try:
            answer: Answer = ray.get(reference)
        except ray.exceptions.TaskCancelledError:
            return Answer()
        except ray.exceptions.RayTaskError as error:
            return first_line_of(error.cause or error)
        except ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {first_line_of(error)}"
        return answer

    def _stop(self, sent: "_Sent") -> None:
        """Have what is trained saved, and what waits forgotten."""
        import ray

        for reference in sent.waiting:
            ray.cancel(reference)
        deadline = time.monotonic() + GOODBYE_SECONDS
        while sent.waiting and (left := deadline - time.monotonic()) > 0:
            ready, _ = ray.wait(list(sent.waiting), timeout=left)
            for reference in ready:
                sent.take(reference, self._answer(reference))


@dataclass
class _Sent:
    """Tasks on their way."""

    waiting: dict[Any, Task]
    on_begin: Callable[[Task], None]
    on_news: Callable[[News], None]
    _begun: set[int] = field(default_factory=set)
    _workers: dict[int, str] = field(default_factory=dict)

    def hear(self, words: dict[int, tuple[str, float]]) -> None:
        """Who is at them, and how far they are."""
        by_number = {task.number: task for task in self.waiting.values()}
        for number, (worker, epochs) in words.items():
            if number not in by_number:
                continue  # its end was heard of first
            before = self._workers.setdefault(number, worker)
            if before != worker:
                self._workers[number] = worker
                log.warning("a worker died (%s): its runs go on in %s", before, worker)
            self._hear_of(by_number[number])
            self.on_news(News(number, epochs=epochs))

    def take(self, reference: Any, answer: Answer | str) -> None:
        """One has ended."""
        task = self.waiting.pop(reference)
        news = failure(task, answer) if isinstance(answer, str) else deliver(answer, task)
        if news.results is not None or news.refusal:
            self._hear_of(task)
            self.on_news(news)

    def _hear_of(self, task: Task) -> None:
        if task.number not in self._begun:
            self._begun.add(task.number)
            self.on_begin(task)


def _warn_of_none_so_large(cluster: RayCluster) -> None:
    """A task that fits no node waits for one: for ever, unless the cluster grows."""
    import ray

    wants = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    everything: Any = ray.nodes()  # type: ignore[no-untyped-call]  # as Ray has it
    nodes = [node["Resources"] for node in everything if node["Alive"]]
    if not any(all(node.get(n, 0) >= share for n, share in wants.items()) for node in nodes):
        log.warning(
            "no node of the cluster has %g CPUs and %g GPUs: its stacks wait for one",
            cluster.cpus,
            cluster.gpus,
        )


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
