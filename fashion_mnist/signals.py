"""A request to stop, from Ctrl-C or from whoever runs the program, heard between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class StopRequested(Exception):  # noqa: N818 (nothing went wrong)
    """Somebody wants the program to end; what was learned so far is to be saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_status = 128 + signal_number


@contextmanager
def stop_requests() -> Iterator[Callable[[], None]]:
    """Within, a first signal to stop is kept, a second ends the program at once.

    Gives a function to be called where stopping is safe; it raises StopRequested if asked to.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in _STOPPING}
    # nohup and a shell's background jobs have them ignored: so do we
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        restore()

    def check() -> None:
        if received:
            raise StopRequested(received[0])

    for number in heard:
        signal.signal(number, remember)
    try:
        yield check
    finally:
        restore()
