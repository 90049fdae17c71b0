"""How far each store has the logs below an output folder, and the wait for it. No MLflow here.

```
OUTPUT_DIR/uploader.lock    held by the one uploader of this folder while it lives
           uploader.log     what it says
           uploader.json    what keeps runs from their stores
           runs/KEY/uploads/DESTINATION.json    how far one store has one run's log
           runs/KEY/offline                     says: tracking.offline=always
```
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from fashion_mnist.config.messages import disk_trouble
from fashion_mnist.config.store_uri import sqlite_path
from fashion_mnist.runs.events import Mark, holds, log_size, rest_after
from fashion_mnist.runs.files import ProcessLock, is_held, replacing
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.tracking.uri import check_store

SWEEPS, RUNS = "sweeps", "runs"  # folders of run directories below an output folder
LONGEST_LOG_BYTES = 1_000_000
STOP_SECONDS = 5  # for a program that is told to stop: it is killed after 30 at most
PROBE_BYTES = 4096
PATIENCE_SECONDS = 10  # with an uploader that sends nothing, which may only be starting
ANSWER_SECONDS = 5  # for a store that is asked whether it is there
MOST_STARTS = 3  # of an uploader that ends without having sent anything
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


def read_upload_state(run_dir: Path, destination: Destination) -> UploadState:
    """What the store has; nothing where the file is missing or damaged, or the database gone."""
    database = sqlite_path(destination.address)
    if database is not None and not database.exists():
        return UploadState()
    content = read_json(upload_state_path(run_dir, destination))
    default = asdict(UploadState())
    if all(type(content.get(key)) is type(value) for key, value in default.items()):
        return UploadState(**{key: content[key] for key in default})
    return UploadState()


def write_upload_state(run_dir: Path, destination: Destination, state: UploadState) -> None:
    """Replaces the file: written beside, then renamed."""
    write_json(upload_state_path(run_dir, destination), asdict(state))


def upload_state_path(run_dir: Path, destination: Destination) -> Path:
    """The file of one destination."""
    return run_dir / "uploads" / f"{destination.id}.json"


def is_uploaded(run_dir: Path, destination: Destination) -> bool:
    """Whether the store has every line of this very log; true of a run that was deleted there."""
    state = read_upload_state(run_dir, destination)
    if state.deleted_at >= 0:
        return state.deleted_at == log_size(run_dir)
    return holds(run_dir, state.mark) and b"\n" not in rest_after(run_dir, state.mark)


def destinations(run_dir: Path) -> list[Destination]:
    """Where the run is to be recorded; what cannot be a store is left out."""
    wanted = RunState.read(run_dir, kinds=("destination",)).destinations
    return [destination for destination in wanted if destination.is_valid]


def pending(run_dir: Path) -> list[Destination]:
    """The destinations that do not have everything yet."""
    return [place for place in destinations(run_dir) if not is_uploaded(run_dir, place)]


def write_json(path: Path, content: object) -> None:
    """Writes a small JSON file whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote of a mapping; nothing where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    log.warning("%s cannot be read: it counts as not there", path)
    return {}


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
        self._pauses.setdefault(key, _Pause()).extend()
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


def problems_path(output_dir: Path) -> Path:
    """The uploader's note of what went wrong."""
    return output_dir / "uploader.json"


def problem_key(run_dir: Path, destination: Destination) -> str:
    """Names what concerns one run alone."""
    return f"{destination.id} {run_dir.name}"


def logged_dirs(output_dir: Path) -> list[Path]:
    """The directories that hold an event log, by name: sweeps, then the runs of them."""
    found = (subfolders(output_dir / kind) for kind in (SWEEPS, RUNS))
    return [folder for folders in found for folder in folders if log_size(folder)]


def subfolders(folder: Path) -> list[Path]:
    """Sorted; none where there is no such folder, or it cannot be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def uploader_lock(output_dir: Path) -> ProcessLock:
    """Held by the one uploader of this folder while it lives."""
    output_dir.mkdir(parents=True, exist_ok=True)
    return ProcessLock(output_dir / "uploader.lock")


def uploader_lives(output_dir: Path) -> bool:
    """Whether a process holds the lock."""
    return is_held(output_dir / "uploader.lock")


def start_uploader(output_dir: Path) -> subprocess.Popen[bytes] | None:
    """Starts the uploader unless one lives. Hold your runs' locks first, or it may leave again.

    It survives this process, hears no Ctrl-C of the terminal, and writes to `uploader.log` alone:
    with our own standard output, `fmnist train | tee` would wait for it.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    if uploader_lives(output_dir):
        return None
    log_path = output_dir / "uploader.log"
    too_long = log_path.exists() and log_path.stat().st_size > LONGEST_LOG_BYTES
    with log_path.open("wb" if too_long else "ab") as output:
        return subprocess.Popen(
            # -P: a file in the user's folder must not stand in for a module
            [sys.executable, "-P", "-m", "fashion_mnist.tracking", str(output_dir.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def begin_uploading(output_dir: Path) -> None:
    """`start_uploader`, where training goes on whatever comes of it: what it records is kept."""
    try:
        start_uploader(output_dir)
    except OSError as error:
        log.warning("nothing is sent for now: %s", error)


@dataclass(frozen=True)
class Upload:
    """A run or a sweep in a store; the ids are empty until the store has it."""

    run_dir: Path
    destination: Destination
    run_id: str
    experiment_id: str
    is_complete: bool


@dataclass(frozen=True)
class Outcome:
    """Whether the stores have everything; if not, why, in one line."""

    uploads: list[Upload]
    reason: str | None

    @property
    def is_complete(self) -> bool:
        """Whether they do."""
        return all(upload.is_complete for upload in self.uploads)


def uploads(run_dir: Path) -> list[Upload]:
    """Where the run stands in each of its destinations, as of now."""
    states = [(place, read_upload_state(run_dir, place)) for place in destinations(run_dir)]
    return [
        Upload(run_dir, place, state.run_id, state.experiment_id, is_uploaded(run_dir, place))
        for place, state in states
    ]


def outcome(run_dirs: Iterable[Path], reason: str | None = None) -> Outcome:
    """What the stores have of these runs; `reason` is dropped if that is everything."""
    found = Outcome([upload for run_dir in run_dirs for upload in uploads(run_dir)], reason)
    return Outcome(found.uploads, None) if found.is_complete else found


def why_unwritable(folder: Path) -> str | None:
    """Why nothing more can be written to a folder, in one line; None where something can."""
    try:
        with TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        return disk_trouble(OSError(error.errno, error.strerror, str(folder)))
    return None


@dataclass
class Stall:
    """Notices that nothing is sent any more, and asks the stores whether they are there at all.

    The uploader itself waits longer for a server that hangs: it may be a slow one.
    """

    states: list[UploadState] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def reason(self, waiting: Sequence[Upload]) -> str | None:
        """Why these runs are not sent, if that can be seen from here; takes 5 seconds at most.

        No store of theirs answers, or the logs' disk has no room for the note of what was sent.
        """
        states = [read_upload_state(upload.run_dir, upload.destination) for upload in waiting]
        if states != self.states:
            self.states, self.since = states, time.monotonic()
        if time.monotonic() - self.since < PATIENCE_SECONDS:
            return None
        full = why_unwritable(waiting[0].run_dir)
        if full is not None:
            return full
        uris = list(dict.fromkeys(upload.destination.address for upload in waiting))
        silent = [check_store(uri, ANSWER_SECONDS / len(uris)) for uri in uris]
        self.since = time.monotonic()
        return silent[0] if all(silent) else None


def _go_on() -> bool:
    return False


def wait_until_uploaded(
    run_dirs: Sequence[Path],
    timeout_seconds: float = 60,
    is_stopping: Callable[[], bool] = _go_on,
) -> Outcome:
    """Waits until the stores have these runs (all of one output folder), or for a reason why not.

    Comes back as soon as the uploader has tried each of the runs since the call and failed, or no
    store has taken anything for some seconds and none answers. Starts an uploader where none lives.

    Args:
        is_stopping: the program is to end: it waits for `STOP_SECONDS` more at most.
    """
    if not run_dirs:
        return Outcome([], None)
    output_dir = run_dirs[0].parents[1]
    began_ms = time.time_ns() // 1_000_000
    began = time.monotonic()
    deadline, is_hurried = began + timeout_seconds, False
    uploader: subprocess.Popen[bytes] | None = None
    starts = 0
    stall = Stall()
    waiting = [upload for run_dir in run_dirs for upload in uploads(run_dir)]
    while waiting := [each for each in waiting if not is_uploaded(each.run_dir, each.destination)]:
        problems = read_problems(output_dir)
        known = [_problem_of(upload, problems) for upload in waiting]
        fresh = [problem for problem in known if problem and problem.time_ms >= began_ms]
        if len(fresh) == len(waiting):
            return outcome(run_dirs, fresh[0].reason)
        silent = stall.reason(waiting)
        if silent is not None:
            return outcome(run_dirs, silent)
        if is_stopping() and not is_hurried:
            is_hurried, deadline = True, min(deadline, time.monotonic() + STOP_SECONDS)
        if time.monotonic() > deadline:
            late = f"not everything was sent within {round(deadline - began, 1):g} s"
            return outcome(run_dirs, next((each.reason for each in known if each), late))
        if (uploader is None or uploader.poll() is not None) and not uploader_lives(output_dir):
            if starts == MOST_STARTS:
                return outcome(run_dirs, f"the uploader stops: see {output_dir / 'uploader.log'}")
            try:
                uploader = start_uploader(output_dir)
            except OSError as error:
                return outcome(run_dirs, str(error))
            starts += 1
        time.sleep(0.1)
    return outcome(run_dirs)


def _problem_of(upload: Upload, problems: dict[str, Problem]) -> Problem | None:
    """The problem that keeps this run from its destination, if one is known."""
    alone = problem_key(upload.run_dir, upload.destination)
    return problems.get(upload.destination.place) or problems.get(alone)
