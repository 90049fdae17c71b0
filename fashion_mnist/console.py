"""What everything on the console shares: durations in words, and log lines above a live display."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def duration(seconds: float) -> str:
    """A time in words, as short as a person wants it: `3 min 10 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def plural(count: int, one: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


@contextmanager
def lines_above_the_display() -> Iterator[None]:
    """Logging holds the standard output of before a live display; let it write to the display's."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stdout__
    ]
    for handler in handlers:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(sys.__stdout__)
