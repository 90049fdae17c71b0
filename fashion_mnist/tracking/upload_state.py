"""How far each store has the logs below an output folder, and what keeps it. No MLflow here.

```
OUTPUT_DIR/uploader.json    what keeps runs from their stores
           runs/KEY/uploads/DESTINATION.json    how far one store has one run's log
           runs/KEY/offline                     says: tracking.offline=always
```
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from fashion_mnist.config.store_uri import sqlite_path
from fashion_mnist.runs.events import Mark, holds, log_size, rest_after
from fashion_mnist.runs.files import read_json, write_json
from fashion_mnist.runs.run_state import Destination, RunState

LONGEST_PAUSE_SECONDS = 8.0  # between two tries of what failed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UploadState:
    """The store has the log up to byte `offset`, as this run of this experiment.

    `crc` is the running checksum of those bytes: another log has another.
    """

    offset: int = 0
    crc: int = 0
    run_id: str = ""
    experiment_id: str = ""
    requested_ms: int = 0  # when a server was asked to make the run and has not answered; 0: never
    deleted_at: int = -1  # the log's size when the run was found deleted there; -1: it is not

    @property
    def mark(self) -> Mark:
        """The place in the log up to which the store has it."""
        return Mark(self.offset, self.crc)

    @property
    def is_deleted(self) -> bool:
        """Whether the run was found deleted there."""
        return self.deleted_at >= 0

    @classmethod
    def read(cls, destination: Destination) -> Self:
        """What the store has; nothing where the file is missing, damaged, or the database gone.

        A database that cannot be looked for counts as gone: what opens it tells why.
        """
        database = sqlite_path(destination.address)
        try:
            if database is not None and not database.exists():
                return cls()
        except OSError:  # of a folder that may not be entered
            return cls()
        content = read_json(upload_state_path(destination))
        default = asdict(cls())
        if all(type(content.get(key)) is type(value) for key, value in default.items()):
            return cls(**{key: content[key] for key in default})
        return cls()

    def write(self, destination: Destination) -> None:
        """Replaces the file: written beside, then renamed. Raises OSError."""
        write_json(upload_state_path(destination), asdict(self))


def upload_state_path(destination: Destination) -> Path:
    """The file of a run and one of its destinations."""
    return destination.run_dir / "uploads" / f"{destination.id}.json"


@dataclass(frozen=True)
class Upload:
    """A run or a sweep in a store, as it was when asked for.

    It is complete where the store has every line of the log, and where the run was deleted there.
    """

    destination: Destination
    state: UploadState
    is_complete: bool

    @classmethod
    def read(cls, destination: Destination) -> Self:
        """As of now."""
        run_dir, state = destination.run_dir, UploadState.read(destination)
        if state.is_deleted:
            return cls(destination, state, state.deleted_at == log_size(run_dir))
        is_whole = holds(run_dir, state.mark) and b"\n" not in rest_after(run_dir, state.mark)
        return cls(destination, state, is_whole)

    @property
    def run_dir(self) -> Path:
        """The directory of the run or the sweep."""
        return self.destination.run_dir


@dataclass(frozen=True)
class Outcome:
    """Whether the stores have everything; if not, why, in one line."""

    uploads: list[Upload]
    reason: str | None

    @property
    def is_complete(self) -> bool:
        """Whether they do."""
        return all(upload.is_complete for upload in self.uploads)


def uploads(run_dir: Path, uri: str | None = None) -> list[Upload]:
    """Where the run stands in each of its destinations, as of now; nowhere before it begins.

    Args:
        uri: of a store, absolute: what is to be sent to others is left out; None: all.
    """
    run = RunState.read(run_dir, kinds=("destination", "start"))
    destinations = run.destinations if run.started_ms else []
    return [Upload.read(each) for each in destinations if uri in (None, each.address)]


def outcome(run_dirs: Iterable[Path], reason: str | None = None, uri: str | None = None) -> Outcome:
    """What the stores, or the one of this address, have of these runs.

    `reason` is dropped if that is everything.
    """
    found = Outcome([upload for run_dir in run_dirs for upload in uploads(run_dir, uri)], reason)
    return Outcome(found.uploads, None) if found.is_complete else found


@dataclass(frozen=True)
class Problem:
    """Why a destination did not take something, in one line, and when (ms since the epoch)."""

    reason: str
    time_ms: int


@dataclass
class _Pause:
    """When to try again what failed."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE_SECONDS)
        self.until = time.monotonic() + self.seconds


class Problems:
    """The uploader's, each by its place, or by its `problem_key` if it concerns one run."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._known = read_problems(output_dir)
        self._pauses: dict[str, _Pause] = {}

    @property
    def known(self) -> Mapping[str, Problem]:
        """All of them, by their keys."""
        return self._known

    def reason(self, key: str) -> str | None:
        """Why this failed, if it did."""
        return self._known[key].reason if key in self._known else None

    def is_paused(self, *keys: str) -> bool:
        """Whether it is too early to try one of these again."""
        now = time.monotonic()
        return any(self._pauses[key].until > now for key in keys if key in self._pauses)

    def report(self, key: str, reason: str) -> None:
        """It failed, or failed again."""
        self._pauses.setdefault(key, _Pause()).extend()
        self._known[key] = Problem(reason, time.time_ns() // 1_000_000)
        self._write()

    def forget(self, *keys: str) -> None:
        """It went well."""
        for key in keys:
            self._pauses.pop(key, None)
        known = [self._known.pop(key, None) for key in keys]
        if any(known):
            self._write()

    def _write(self) -> None:
        content = {key: vars(problem) for key, problem in self._known.items()}
        try:
            write_json(problems_path(self._output_dir), content)
        except OSError as error:  # a full disk keeps the user from being told, and nothing else
            log.warning("the problems could not be noted: %s", error)


def read_problems(output_dir: Path) -> dict[str, Problem]:
    """What the uploader of this folder could not do; nothing where its note is damaged."""
    try:
        return {
            key: Problem(str(problem["reason"]), int(problem["time_ms"]))
            for key, problem in read_json(problems_path(output_dir)).items()
        }
    except (LookupError, TypeError, ValueError, OverflowError):
        return {}


def problem_of(destination: Destination, problems: Mapping[str, Problem]) -> Problem | None:
    """The problem that keeps a run from this destination, if one is known."""
    return problems.get(destination.place) or problems.get(problem_key(destination))


def problems_path(output_dir: Path) -> Path:
    """The uploader's note of what went wrong."""
    return output_dir / "uploader.json"


def problem_key(destination: Destination) -> str:
    """Names what concerns one run alone."""
    return f"{destination.id} {destination.run_dir.name}"
