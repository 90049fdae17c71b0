"""Trains stacks beside each other, in processes of this machine that have a share of it each.

A share is some threads, or a GPU. A process is sent a stack's requests, loads the data itself, and
answers with what became of them.
This file is read by each process when it starts, so what is slow to import waits for its use.

Whom a process waits for may be killed at any moment. So nothing is shared but pipes, whose end the
system tells: an event would have a lock, which a killed process takes with it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from fashion_mnist.engines.engine import Listener, News, Task, Width
from fashion_mnist.runs.signals import StopRequested, held_back, ignore_signals

if TYPE_CHECKING:
    from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")
POLL_SECONDS = 0.2  # between two looks whether somebody wants us to stop
LONGEST_GOODBYE_SECONDS = 20  # for processes that save their runs; after 30, Slurm kills
ORPHANS_GOODBYE_SECONDS = 2  # less than whoever goes on waits for the lock of a run


@dataclass
class _Lane:
    process: BaseProcess
    connection: Connection
    task: Task | None = None


@dataclass
class Lanes:
    """Processes that wait for stacks; `open_lanes` makes them."""

    width: Width
    _stop: Connection  # closed, it tells the processes to stop
    _lanes: list[_Lane] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], listener: Listener) -> list[Task]:
        """Have stacks trained, in the order given; those whose process died come back undone.

        Raises:
            StopRequested: from `check_for_stop`, after every process has saved its runs.
        """
        waiting, undone = deque(tasks), list[Task]()
        while any(lane.task for lane in self._lanes) or (waiting and self._lanes):
            for lane in [lane for lane in self._lanes if lane.task is None]:
                if waiting and self._send(lane, waiting[0]):
                    listener.on_begin(waiting.popleft())
            for news in self._listen(undone):
                listener.on_news(news)
            try:
                listener.check_for_stop()
            except Exception:
                self._stop_all(listener)
                raise
        return [*undone, *waiting]

    def _send(self, lane: _Lane, task: Task) -> bool:
        """Whether the process lives to take the stack."""
        try:
            lane.connection.send(task)
        except OSError:
            self._lanes.remove(lane)
            return False
        lane.task = task
        return True

    def _listen(self, undone: list[Task]) -> Iterator[News]:
        """What is new, after a moment's waiting; the stacks of the dead go to `undone`."""
        by_connection = {lane.connection: lane for lane in self._lanes}
        for ready in wait(list(by_connection), POLL_SECONDS):
            assert isinstance(ready, Connection)
            lane = by_connection[ready]
            try:
                news: News = ready.recv()
            except (EOFError, OSError):
                self._lanes.remove(lane)
                undone += [lane.task] if lane.task else []
                log.warning("a process died (%s): its runs go on here", lane.process.exitcode)
                continue
            if news.results is not None:
                lane.task = None
            yield news

    def _stop_all(self, listener: Listener) -> None:
        self._stop.close()
        deadline = time.monotonic() + LONGEST_GOODBYE_SECONDS
        for lane in self._lanes:
            while lane.task and lane.connection.poll(max(0.0, deadline - time.monotonic())):
                try:
                    news: News = lane.connection.recv()
                except (EOFError, OSError):
                    break
                if news.results is not None:
                    lane.task = None
                    listener.on_news(news)


@contextmanager
def open_lanes(width: Width) -> Iterator[Lanes]:
    """Processes that get ready at once, and end with the context; none where one lane is enough."""
    context = _context()
    told_to_stop, stop = context.Pipe(duplex=False)
    lanes = Lanes(width, stop)
    for number in range(width.number if width.number > 1 else 0):
        ours, theirs = context.Pipe()
        process: BaseProcess = context.Process(
            target=work, args=(theirs, told_to_stop, width.device(number)), daemon=True
        )
        with held_back():  # else they may come before the process knows to ignore them
            process.start()
        theirs.close()
        lanes._lanes.append(_Lane(process, ours))
    told_to_stop.close()
    begun = list(lanes._lanes)
    try:
        yield lanes
    finally:
        stop.close()
        for lane in begun:
            lane.connection.close()  # to a process that waits, the end
        _see_off([lane.process for lane in begun])


def _see_off(processes: Sequence[BaseProcess]) -> None:
    """Wait until they have saved their runs; one that hangs goes on from its checkpoint."""
    deadline = time.monotonic() + LONGEST_GOODBYE_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.kill()


def _context() -> Any:
    """How processes are made: forked from one that has imported all and has no threads yet."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # as on Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fashion_mnist.engines.preload"])
    resource_tracker.ensure_running()  # which lets signals through again when it has begun
    return context


def work(connection: Connection, told_to_stop: Connection, device: str | None) -> None:
    """A process: train what is sent until there is no more, or it is told to stop, or orphaned.

    Args:
        device: the GPU that is its own; None: there is none, or only one.
    """
    ignore_signals()  # the terminal's and Slurm's are for the parent
    stop = threading.Event()
    threading.Thread(target=_wait_for_stop, args=(told_to_stop, stop), daemon=True).start()
    from fashion_mnist.engines.devices import pin
    from fashion_mnist.engines.workbench import RefusalError, train_task
    from fashion_mnist.runs.request import Datasets
    from fashion_mnist.runs.training import Observer

    if device is not None:
        pin(device)
    datasets = Datasets()

    def check(*_: object) -> None:
        if stop.is_set():
            raise StopRequested(signal.SIGTERM)

    while not stop.is_set():
        try:
            task: Task = connection.recv()
        except (EOFError, OSError):
            return

        def tell(stack: Stack, _rows: list[HistoryRow], number: int = task.number) -> None:
            with suppress(OSError):  # nobody is there any more: no failure of the run's
                connection.send(News(number, epochs=stack.epoch))

        news = News(task.number, results=[])
        try:
            results = train_task(task, datasets, Observer(check, tell, check_for_stop=check))
            news = replace(news, results=results)
        except StopRequested:
            return
        except RefusalError as error:
            news = replace(news, refusal=str(error))
        with suppress(OSError):
            connection.send(news)


def _wait_for_stop(told_to_stop: Connection, stop: threading.Event) -> None:
    """In a thread: a parent that dies tells to stop too, and then there is not much time."""
    told_to_stop.poll(None)
    stop.set()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    time.sleep(ORPHANS_GOODBYE_SECONDS)
    os._exit(1)  # what it holds is wanted by whoever starts the sweep again
