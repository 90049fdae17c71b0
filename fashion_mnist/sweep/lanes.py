"""Trains stacks beside each other, in processes that have a share of the machine's threads each.

A process is sent a stack's requests, loads the data itself, and answers with what became of them.
This file is read by each process when it starts, so what is slow to import waits for its use.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fashion_mnist.runs.request import Request, RunResult
    from fashion_mnist.stack import HistoryRow, Stack
    from fashion_mnist.sweep.arrangement import Width

log = logging.getLogger("fashion_mnist")
POLL_SECONDS = 0.2  # between two looks whether somebody wants us to stop
LONGEST_GOODBYE_SECONDS = 60  # for a process that saves its runs


@dataclass(frozen=True)
class Task:
    """A stack on its way."""

    number: int
    requests: Sequence[Request]


@dataclass(frozen=True)
class News:
    """What a process says of its stack: how far it is, or, with results, that it is done."""

    number: int
    epochs: float = 0.0
    results: Sequence[RunResult] | None = None


@dataclass
class _Lane:
    process: BaseProcess
    connection: Connection
    task: Task | None = None


@dataclass
class Lanes:
    """Processes that wait for stacks; `open_lanes` makes them."""

    width: Width
    _stop: Event
    _lanes: list[_Lane] = field(default_factory=list)

    def run(
        self,
        tasks: Sequence[Task],
        *,
        on_begin: Callable[[Task], None],
        on_news: Callable[[News], None],
        check_for_stop: Callable[[], None],
    ) -> list[Task]:
        """Have stacks trained, in the order given; those whose process died come back undone.

        Raises:
            StopRequested: from `check_for_stop`, after every process has saved its runs.
        """
        waiting, undone = deque(tasks), list[Task]()
        while any(lane.task for lane in self._lanes) or (waiting and self._lanes):
            for lane in [lane for lane in self._lanes if lane.task is None]:
                if waiting and self._send(lane, waiting[0]):
                    on_begin(waiting.popleft())
            for news in self._listen(undone):
                on_news(news)
            try:
                check_for_stop()
            except Exception:
                self._stop_all(on_news)
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

    def _stop_all(self, on_news: Callable[[News], None]) -> None:
        self._stop.set()
        for lane in self._lanes:
            while lane.task and lane.connection.poll(LONGEST_GOODBYE_SECONDS):
                try:
                    news: News = lane.connection.recv()
                except (EOFError, OSError):
                    break
                if news.results is not None:
                    lane.task = None
                    on_news(news)


@contextmanager
def open_lanes(width: Width) -> Iterator[Lanes]:
    """Processes that get ready at once, and end with the context; none where one lane is enough."""
    context = _context()
    lanes = Lanes(width, context.Event())
    for _ in range(width.number if width.number > 1 else 0):
        ours, theirs = context.Pipe()
        process: BaseProcess = context.Process(
            target=work, args=(theirs, lanes._stop, width.threads), daemon=True
        )
        process.start()
        theirs.close()
        lanes._lanes.append(_Lane(process, ours))
    begun = list(lanes._lanes)
    try:
        yield lanes
    finally:
        lanes._stop.set()
        for lane in begun:
            lane.connection.close()  # to a process that waits, the end
        for lane in begun:
            lane.process.join(LONGEST_GOODBYE_SECONDS)


def _context() -> Any:
    """How processes are made: forked from one that has imported all and has no threads yet."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # as on Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fashion_mnist.sweep.preload"])
    return context


def work(connection: Connection, stop: Event, threads: int) -> None:
    """A process: train what is sent until there is no more, or `stop`, or nobody to answer to."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the terminal's and Slurm's are for the parent
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = os.getppid()
    from fashion_mnist.runs.request import RunError
    from fashion_mnist.runs.trainer import train
    from fashion_mnist.runs.training import Observer
    from fashion_mnist.signals import StopRequested
    from fashion_mnist.sweep.plan import Datasets

    datasets = Datasets()

    def check(_stack: Stack, _step: int) -> None:
        if stop.is_set() or os.getppid() != parent:
            raise StopRequested(signal.SIGTERM)

    while not stop.is_set():
        try:
            task: Task = connection.recv()
        except (EOFError, OSError):
            return

        def tell(stack: Stack, _rows: list[HistoryRow], number: int = task.number) -> None:
            try:
                connection.send(News(number, epochs=stack.epoch))
            except OSError:  # nobody is there any more: no failure of the run's
                raise StopRequested(signal.SIGTERM) from None

        try:
            dataset = datasets.of(task.requests[0].config)
            results = train(task.requests, dataset, Observer(check, tell), threads=threads)
        except StopRequested:
            return
        for result in results:
            if result.error is not None:  # not every error travels
                kind = type(result.error).__name__
                result.error = RunError(f"{kind}: {result.error}")
        connection.send(News(task.number, results=results))
