"""What a user is told when something goes wrong, and the program's exit status then."""

import os

from fashion_mnist.config.errors import ConfigError
from fashion_mnist.console import disk_trouble, printable
from fashion_mnist.data.idx import DataError
from fashion_mnist.runs.run_dir import RunError
from fashion_mnist.runs.signals import StopRequested

WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"  # Hydra's own variable


def in_words(error: BaseException) -> str:
    """What a user reads instead of a traceback, `printable`."""
    return printable(_in_words(error))


def _in_words(error: BaseException) -> str:
    match error:
        case ConfigError(problems=[only]):
            return str(only)
        case ConfigError(problems=problems):
            return "\n".join([f"{len(problems)} mistakes:", *(f"  {each}" for each in problems)])
        case StopRequested():
            return f"stopped by {error}; the same command goes on from the last whole epoch"
        case OSError():
            return disk_trouble(error)
        case _:
            return str(error)


def exit_status(error: BaseException) -> int | None:
    """The program's exit status after this error; None for one that was not expected."""
    match error:
        case StopRequested(exit_status=status):
            return int(status)
        case ConfigError() | DataError():
            return 2
        case RunError() | OSError():
            return 1
        case _:
            return None
