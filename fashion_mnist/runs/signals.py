"""A request to stop, from Ctrl-C or from whoever runs the program, heard between two steps."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def handling(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], object] | None
) -> Iterator[None]:
    """Within, a handler has these signals; afterwards those that had them before.

    Args:
        handler: None: what is called within may set its own.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before if handler is not None else ():
            signal.signal(number, handler)
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


class StopRequested(Exception):  # noqa: N818 (nothing went wrong)
    """The program is asked to end; what was learned so far is to be saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number


class StopRequests:
    """A first signal to stop is kept, a second ends the program at once."""

    def __init__(self) -> None:
        self.request: StopRequested | None = None
        self._interrupts = False

    def check(self) -> None:
        """To be called where stopping is safe. Raises StopRequested if that was asked for."""
        if self.request is not None:
            raise self.request

    def is_requested(self) -> bool:
        """Whether the program was asked to stop."""
        return self.request is not None

    @contextmanager
    def interrupting(self, is_on: bool) -> Iterator[None]:
        """Within, for code that never calls `check`, the first signal raises KeyboardInterrupt."""
        before, self._interrupts = self._interrupts, is_on
        try:
            yield
        finally:
            self._interrupts = before

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        if self.request is not None:
            end_at_once(number)
        self.request = StopRequested(number)
        if self._interrupts:
            raise KeyboardInterrupt from self.request


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Within, signals to stop are kept; within another such context they are the other's too."""
    requests = _listener()
    if requests is not None:
        with requests.interrupting(False):
            yield requests
        return
    requests = StopRequests()
    with handling(_heard(), requests.hear):
        yield requests


def _listener() -> StopRequests | None:
    """Who hears signals now: a job of another launcher has its sweep above it."""
    for number in STOPPING:
        owner = getattr(signal.getsignal(number), "__self__", None)
        if isinstance(owner, StopRequests):
            return owner
    return None


def _heard() -> list[signal.Signals]:
    """The signals to stop without those that nohup and a shell's background jobs ignore."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, a closed terminal and `kill` count as Ctrl-C: what was started must not stay."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with handling(STOPPING, interrupt):
        yield


def end_on_signals() -> None:
    """From here on a signal to stop ends the program with a line: there is nothing to save."""
    for number in _heard():
        signal.signal(number, end_at_once)


@contextmanager
def held_back(numbers: Sequence[signal.Signals] = tuple(STOPPING)) -> Iterator[None]:
    """Within, signals wait; for a process that is started here, until it unblocks them."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """For a process whose parent hears them for it."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def end_at_once(number: int, _frame: FrameType | None = None) -> NoReturn:
    """Ends the program, wherever it is. What it was writing is beside the file's place."""
    with suppress(OSError):
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
        if sys.stdout is not None and sys.stdout.isatty():
            os.write(1, b"\x1b[?25h")  # a live display hides the cursor
    os._exit(128 + number)
