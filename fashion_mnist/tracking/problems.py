"""What keeps runs from their stores: told to whoever waits, tried again later. No MLflow here."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.runs.event_log import Destination
from fashion_mnist.tracking.address import has_password, without_password
from fashion_mnist.tracking.login import UNKNOWN, refusal, refused_with
from fashion_mnist.tracking.receipt import read_json, write_json

LONGEST_PAUSE_SECONDS = 8.0  # between two tries of what failed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """Why a destination did not take something, in one line, and when (ms since the epoch)."""

    reason: str
    time_ms: int


@dataclass
class Pause:
    """When to try again what failed."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE_SECONDS)
        self.until = time.monotonic() + self.seconds


class Problems:
    """The sender's, each by its place, or by its `problem_key` if it concerns one run."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._known = read_problems(output_dir)
        self._pauses: dict[str, Pause] = {}

    def reasons(self) -> list[str]:
        """All of them, one line each."""
        return [problem.reason for problem in self._known.values()]

    def reason(self, key: str) -> str | None:
        """Why this failed, if it did."""
        return self._known[key].reason if key in self._known else None

    def is_paused(self, *keys: str) -> bool:
        """Whether it is too early to try one of these again."""
        now = time.monotonic()
        return any(self._pauses[key].until > now for key in keys if key in self._pauses)

    def report(self, key: str, reason: str) -> None:
        """It failed, or failed again."""
        self._pauses.setdefault(key, Pause()).extend()
        self._known[key] = Problem(reason, time.time_ns() // 1_000_000)
        self._write()

    def forget(self, *keys: str) -> None:
        """It went well."""
        for key in keys:
            self._pauses.pop(key, None)
        if any(self._known.pop(key, None) for key in keys):
            self._write()

    def _write(self) -> None:
        content = {key: vars(problem) for key, problem in self._known.items()}
        try:
            write_json(problems_path(self._output_dir), content)
        except OSError as error:  # a full disk keeps us from telling, and from nothing else
            log.warning("the problems could not be noted: %s", error)


def read_problems(output_dir: Path) -> dict[str, Problem]:
    """What the sender of this folder could not do; nothing where its note is damaged."""
    try:
        return {
            key: Problem(str(problem["reason"]), int(problem["time_ms"]))
            for key, problem in read_json(problems_path(output_dir)).items()
        }
    except (LookupError, TypeError, ValueError, OverflowError):
        return {}


def problems_path(output_dir: Path) -> Path:
    return output_dir / "sender.json"


def problem_key(folder: Path, destination: Destination) -> str:
    """Names what concerns one run alone."""
    return f"{destination.id} {folder.name}"


def complaint(uri: str, error: BaseException) -> str:
    """What a store at this address did not do, in one line; without its password."""
    if refused_with(error) == UNKNOWN:
        return refusal(uri)
    reason = root_cause(error)
    address = without_password(uri)
    if has_password(uri):  # a library may say the address, whole or in part
        reason = without_password(reason.replace(uri, address))
    return f"{address}: {reason}"


def root_cause(error: BaseException) -> str:
    """The innermost reason in one line: "Connection refused", not four layers of retries.

    A disk's is the one that names the file.
    """
    while (inner := error.__cause__ or error.__context__) is not None:
        if isinstance(error, OSError) and error.filename is not None:
            break
        error = inner
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
