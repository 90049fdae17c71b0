"""What runs in a Ray cluster: the function that trains a stack, and the box for what it says.

Only processes of Ray import this, and whoever starts them.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from fashion_mnist.engines.errand import Answer, Errand, do_errand
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.training import Observer
from fashion_mnist.training.stack import HistoryRow, Stack

SECONDS_BETWEEN_WORDS = 0.5


class Mailbox:
    """An actor that keeps how far stacks are, until the sweep asks."""

    def __init__(self) -> None:
        self._words: dict[int, tuple[str, float]] = {}

    def tell(self, number: int, worker: str, epochs: float) -> None:
        """A stack is that far, in the hands of that worker."""
        self._words[number] = worker, epochs

    def take(self) -> dict[int, tuple[str, float]]:
        """What was told last since somebody asked, by the stack's number."""
        words, self._words = self._words, {}
        return words


def work(errand: Errand, mailbox: Any, parcels: Sequence[Any]) -> Answer:
    """A task of Ray's: train a stack.

    Args:
        mailbox: the handle of a `Mailbox`.
        parcels: references to what is there of its runs, where folders may not be shared.
    """
    number, spoken = errand.task.number, time.monotonic()
    us = f"{socket.gethostname()}, process {os.getpid()}"

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= SECONDS_BETWEEN_WORDS:
            spoken = time.monotonic()
            mailbox.tell.remote(number, us, stack.epoch)

    with _stop_when_cancelled() as stop:

        def check(*_: object) -> None:
            if stop.is_set():
                raise StopRequested(signal.SIGTERM)

        mailbox.tell.remote(number, us, 0.0)
        observer = Observer(check, on_epoch, check_for_stop=check)
        return do_errand(errand, observer, lambda: ray.get(list(parcels)))


@contextmanager
def _stop_when_cancelled() -> Iterator[threading.Event]:
    """Within, `ray.cancel`, which interrupts as Ctrl-C does, sets the event: runs can be saved."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda _number, _frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
