"""What a user is told when something goes wrong, and the program's exit status then."""

import os

from fashion_mnist.config import ConfigError
from fashion_mnist.data.idx import DataError
from fashion_mnist.runs.request import RunError
from fashion_mnist.signals import StopRequested


def in_words(error: BaseException) -> str:
    """What a user reads instead of a traceback."""
    match error:
        case ConfigError(problems=[only]):
            return str(only)
        case ConfigError(problems=problems):
            return "\n".join([f"{len(problems)} mistakes:", *(f"  {each}" for each in problems)])
        case StopRequested():
            return f"stopped by {error}; the same command goes on from the last whole epoch"
        case _:
            return str(error)


def exit_status(error: BaseException) -> int | None:
    """The program's exit status after this error; None for one that nobody expected."""
    match error:
        case StopRequested(exit_status=status):
            return int(status)
        case ConfigError() | DataError():
            return 2
        case RunError():
            return 1
        case _:
            return None


def wants_traceback() -> bool:
    """Whether Hydra's switch for the whole story of an error is on."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"
