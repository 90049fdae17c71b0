"""`hydra/launcher=stacked`: stacks are trained by worker processes of this machine.

Each worker has its share of the threads, or a GPU. It is sent a stack's requests, loads the data
itself, and sends back the results.
Where there is no fork, each worker reads this file before it ignores signals, so modules that are
slow to import are imported where they are used.

A worker or its parent may be killed at any moment. So they share nothing but pipes, whose end the
system reports: a `multiprocessing.Event` has a lock that a killed process never releases.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fashion_mnist.launchers.base import STOP_SECONDS, Capacity, Task, Update
from fashion_mnist.runs.signals import StopRequested, held_back, ignore_signals

if TYPE_CHECKING:
    from fashion_mnist.training.device import Machine
    from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")
WORKER_BYTES = 2**30  # what a process needs before there is a stack in it: libraries and the data
POLL_SECONDS = 0.2  # between two checks for a request to stop
DEATH_SECONDS = 1  # until it is known of what a process died
ORPHAN_STOP_SECONDS = 2  # less than the same command waits for a run's lock


@dataclass(frozen=True)
class LocalLauncher:
    """Trains stacks on this machine, as many at a time as it has cores or GPUs."""

    def problems(self) -> list[str]:
        """None: it has no options."""
        return []

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """A worker for each core, or each GPU, as far as there is memory and something to train."""
        devices = {machine.device for machine in machines}
        room = psutil.virtual_memory().available // WORKER_BYTES
        if devices == {"cpu"}:
            return cpu_capacity(min(m.threads for m in machines), num_runs, wanted, room=room)
        if devices == {"cuda"}:
            return gpu_capacity(visible_devices(), num_runs, wanted, room=room)
        return Capacity()

    @contextmanager
    def open(self, capacity: Capacity, folder: Path) -> Iterator[LocalWorkers]:
        """Processes that get ready at once; none where one worker is enough."""
        context = _context()
        told_to_stop, stop = context.Pipe(duplex=False)
        begun = list[_Worker]()
        for number in range(capacity.number if capacity.number > 1 else 0):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(
                target=work, args=(theirs, told_to_stop, capacity.device(number)), daemon=True
            )
            with held_back():  # a signal must not arrive before the process ignores it
                process.start()
            theirs.close()
            begun.append(_Worker(process, ours))
        told_to_stop.close()
        try:
            yield LocalWorkers(capacity, list(begun))
        finally:
            stop.close()  # which has the processes save their runs
            for worker in begun:
                worker.connection.close()  # which ends a process that waits for a stack
            _wait_for_end([worker.process for worker in begun])


def cpu_capacity(threads: int, num_runs: int, wanted: int | str, *, room: int) -> Capacity:
    """Workers that share the cores.

    Args:
        threads: the fewest that a run wants.
        wanted: by the user, or auto.
        room: for so many processes there is memory.
    """
    from fashion_mnist.training.device import physical_cores  # imports torch

    cores = physical_cores()
    number = _num_workers(cores // threads, num_runs, wanted, room)
    return Capacity(number, max(threads, cores // number))


def gpu_capacity(
    devices: Sequence[str], num_runs: int, wanted: int | str, *, room: int
) -> Capacity:
    """A worker for each device, pinned to it; with one device this process is enough.

    Args:
        wanted: more workers than devices share these in turn.
    """
    from fashion_mnist.training.device import physical_cores

    number = _num_workers(len(devices), num_runs, wanted, room)
    if number == 1 or not devices:
        return Capacity()
    return Capacity(number, max(1, physical_cores() // number), devices)


def _num_workers(places: int, num_runs: int, wanted: int | str, room: int) -> int:
    number = min(places, room) if wanted == "auto" else int(wanted)
    return max(1, min(number, num_runs))


def visible_devices() -> list[str]:
    """Each GPU that this process may use, by the name that CUDA_VISIBLE_DEVICES takes.

    Without a GPU, or without CUDA, there is none.
    """
    import torch

    if not torch.cuda.is_available():
        return []
    return names_of(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def names_of(count: int, visible: str | None) -> list[str]:
    """Names of so many devices, where the environment lets these be seen; None: all.

    What CUDA numbers from 0 are the first `count` entries of the list, be they numbers or UUIDs:
    a process within must be given the entry and not the number.
    """
    listed = [name.strip() for name in (visible or "").split(",") if name.strip()]
    return listed[:count] if listed else [str(number) for number in range(count)]


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: Task | None = None


@dataclass
class LocalWorkers:
    """Processes that wait for stacks."""

    capacity: Capacity
    _workers: list[_Worker]  # that are alive

    def run(self, tasks: Sequence[Task]) -> Generator[Update | None, None, None]:
        """See `base.Workers`. A stack whose process died has no results."""
        waiting = deque(tasks)
        while any(worker.task for worker in self._workers) or (waiting and self._workers):
            for worker in [worker for worker in self._workers if worker.task is None]:
                if waiting and self._send(worker, waiting[0]):
                    yield Update(waiting.popleft().number)
            yield from self._listen()
            yield None

    def _send(self, worker: _Worker, task: Task) -> bool:
        """Whether the process was alive to receive the stack."""
        try:
            worker.connection.send(task)
        except OSError:
            self._workers.remove(worker)
            return False
        worker.task = task
        return True

    def _listen(self) -> Iterator[Update]:
        """The updates that arrive within a moment."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for ready in wait(list(by_connection), POLL_SECONDS):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            try:
                update: Update = ready.recv()
            except (EOFError, OSError):
                self._workers.remove(worker)
                worker.process.join(DEATH_SECONDS)
                log.warning("a process died (%s): its runs go on here", worker.process.exitcode)
                if worker.task is not None:
                    yield Update(worker.task.number, is_lost=True)
                continue
            if update.results is not None:
                worker.task = None
            yield update


def _wait_for_end(processes: Sequence[BaseProcess]) -> None:
    """Wait until they have saved their runs; one that hangs is killed."""
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()


def _context() -> Any:
    """Processes are forked from one that has imported everything and has no threads yet."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # as on Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fashion_mnist.launchers.preload"])
    resource_tracker.ensure_running()  # it unblocks signals when it starts
    return context


def work(connection: Connection, told_to_stop: Connection, device: str | None) -> None:
    """A worker process: train what is sent, until the pipe ends or a stop is asked for.

    Args:
        device: the GPU that is its own; None: there is none.
    """
    ignore_signals()  # the parent handles those of the terminal and of Slurm
    stop = threading.Event()
    threading.Thread(target=_wait_for_stop, args=(told_to_stop, stop), daemon=True).start()
    from fashion_mnist.launchers.worker import RefusalError, train_task
    from fashion_mnist.runs.members import Observer

    if device is not None:  # before this process has used any
        os.environ["CUDA_VISIBLE_DEVICES"] = device

    def check_for_stop() -> None:
        if stop.is_set():
            raise StopRequested(signal.SIGTERM)

    while not stop.is_set():
        try:
            task: Task = connection.recv()
        except (EOFError, OSError):
            return

        def tell(stack: Stack, _rows: list[HistoryRow], number: int = task.number) -> None:
            with suppress(OSError):  # the parent has ended: no failure of the run
                connection.send(Update(number, epochs=stack.epoch))

        update = Update(task.number, results=[])
        try:
            results = train_task(task, Observer(check_for_stop, on_epoch=tell))
            update = replace(update, results=results)
        except StopRequested:
            return
        except RefusalError as error:
            update = replace(update, refusal=str(error))
        with suppress(OSError):
            connection.send(update)


def _wait_for_stop(told_to_stop: Connection, stop: threading.Event) -> None:
    """In a thread; where the parent has died, the process ends within `ORPHAN_STOP_SECONDS`."""
    told_to_stop.poll(None)
    stop.set()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    time.sleep(ORPHAN_STOP_SECONDS)
    os._exit(1)  # its locks are needed by the same command, started again
