"""Stacks as tasks of a Ray cluster: sent, listened to, stopped.

Only what is within functions here imports ray.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fashion_mnist.console import first_line_of
from fashion_mnist.engines.engine import Listener, News, Task, Width, failure
from fashion_mnist.engines.errand import Answer, Home, deliver, errand_of
from fashion_mnist.engines.parcel import pack
from fashion_mnist.runs.run_dir import RunDir

if TYPE_CHECKING:
    from fashion_mnist.engines.ray_cluster import RayCluster

log = logging.getLogger("fashion_mnist")

POLL_SECONDS = 0.2  # between two looks whether somebody wants us to stop
GOODBYE_SECONDS = 20  # for tasks that save their runs; after 30, Slurm kills


@dataclass
class RayWorkers:
    """A cluster's tasks; it is connected when the first one is sent."""

    width: Width
    _cluster: "RayCluster"
    _home: Home
    _mailbox: Any = None
    _function: Any = None

    def run(self, tasks: Sequence[Task], listener: Listener) -> list[Task]:
        """See `engine.Workers`. None comes back: what cannot be trained has its error."""
        import ray

        if not tasks:
            return []
        self._begin()
        sent = _Sent({self._send(task): task for task in tasks}, listener)
        try:
            while sent.waiting:
                ready, _ = ray.wait(list(sent.waiting), timeout=POLL_SECONDS, fetch_local=False)
                sent.hear(ray.get(self._mailbox.take.remote()))
                for reference in ready:
                    sent.take(reference, self._answer(reference))
                listener.check_for_stop()
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
        self._cluster.connect()
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

        begun = [folder for folder in task.folders if RunDir(folder).status()]
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
    listener: Listener
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
            self.listener.on_news(News(number, epochs=epochs))

    def take(self, reference: Any, answer: Answer | str) -> None:
        """One has ended."""
        task = self.waiting.pop(reference)
        news = failure(task, answer) if isinstance(answer, str) else deliver(answer, task)
        if news.results is not None or news.refusal:
            self._hear_of(task)
            self.listener.on_news(news)

    def _hear_of(self, task: Task) -> None:
        if task.number not in self._begun:
            self._begun.add(task.number)
            self.listener.on_begin(task)


def _warn_of_none_so_large(cluster: "RayCluster") -> None:
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
