"""The training process's side of recording: start the sender, wait for it. No MLflow here."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from fashion_mnist.journal import Destination, journal_size
from fashion_mnist.lock import is_held
from fashion_mnist.tracking.receipt import Receipt, destinations, read_receipt, write_json

SWEEPS, RUNS = "sweeps", "runs"  # folders of journals below an output folder
LONGEST_LOG_BYTES = 1_000_000
MOST_STARTS = 3  # of a sender that ends without having sent anything


@dataclass(frozen=True)
class Recorded:
    """A run or a sweep in a store; the ids are empty until the store has it."""

    folder: Path
    destination: Destination
    run_id: str
    experiment_id: str
    complete: bool


@dataclass(frozen=True)
class Outcome:
    """Whether the stores have everything; if not, why, in one line."""

    runs: list[Recorded]
    reason: str | None

    @property
    def sent(self) -> bool:
        return all(run.complete for run in self.runs)


@dataclass(frozen=True)
class Problem:
    """Why a destination did not take something, in one line, and when (ms since the epoch)."""

    reason: str
    time_ms: int


def journal_folders(output_dir: Path) -> list[Path]:
    """The folders that hold a journal, by name: sweeps, and then the runs that belong to them."""
    found = (subfolders(output_dir / kind) for kind in (SWEEPS, RUNS))
    return [folder for folders in found for folder in folders if journal_size(folder)]


def subfolders(folder: Path) -> list[Path]:
    """Sorted; none where there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def sender_lock(output_dir: Path) -> FileLock:
    """Held by the one sender of this folder while it lives."""
    output_dir.mkdir(parents=True, exist_ok=True)
    return FileLock(output_dir / "sender.lock")


def sender_lives(output_dir: Path) -> bool:
    return is_held(sender_lock(output_dir))


def read_problems(output_dir: Path) -> dict[str, Problem]:
    """What the sender could not do, by place, or by `problem_key` if it concerns one run."""
    try:
        content = json.loads((output_dir / "sender.json").read_text())
    except FileNotFoundError:
        return {}
    return {key: Problem(**problem) for key, problem in content.items()}


def write_problems(output_dir: Path, problems: dict[str, Problem]) -> None:
    write_json(output_dir / "sender.json", {key: vars(value) for key, value in problems.items()})


def problem_key(folder: Path, destination: Destination) -> str:
    """Names what concerns one run alone."""
    return f"{destination.id} {folder.name}"


def problem_of(run: Recorded, problems: dict[str, Problem]) -> Problem | None:
    """The problem that keeps this run from its destination, if one is known."""
    alone = problem_key(run.folder, run.destination)
    return problems.get(run.destination.place) or problems.get(alone)


def spawn(output_dir: Path) -> subprocess.Popen[bytes] | None:
    """Starts the sender unless one lives. Hold your runs' locks first, or it may leave again.

    It survives this process, hears no Ctrl-C of the terminal, and writes to `sender.log` alone:
    with our own standard output, `fmnist train | tee` would wait for it.
    """
    if sender_lives(output_dir):
        return None
    log_path = output_dir / "sender.log"
    too_long = log_path.exists() and log_path.stat().st_size > LONGEST_LOG_BYTES
    with log_path.open("wb" if too_long else "ab") as log:
        return subprocess.Popen(
            # -P: a file in the user's folder must not stand in for a module
            [sys.executable, "-P", "-m", "fashion_mnist.tracking", str(output_dir.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def recorded(folder: Path) -> list[Recorded]:
    """Where the run stands in each of its destinations, as of now."""
    size = journal_size(folder)
    receipts = [(place, read_receipt(folder, place)) for place in destinations(folder)]
    return [record(folder, place, receipt, size) for place, receipt in receipts]


def record(folder: Path, destination: Destination, receipt: Receipt, size: int) -> Recorded:
    complete = receipt.offset >= size
    return Recorded(folder, destination, receipt.run_id, receipt.experiment_id, complete)


def outcome(folders: Iterable[Path], reason: str | None = None) -> Outcome:
    """What the stores have of these runs; `reason` is dropped if that is everything."""
    runs = [run for folder in folders for run in recorded(folder)]
    result = Outcome(runs, reason)
    return Outcome(runs, None) if result.sent else result


def wait_until_sent(folders: Sequence[Path], timeout_seconds: float = 60) -> Outcome:
    """Waits until the stores have these runs (all of one output folder), or for a reason why not.

    Comes back as soon as the sender has tried each unsent run since the call and failed. Starts
    a sender where none lives.
    """
    if not folders:
        return Outcome([], None)
    output_dir = folders[0].parents[1]
    began_ms = time.time_ns() // 1_000_000
    deadline = time.monotonic() + timeout_seconds
    sender: subprocess.Popen[bytes] | None = None
    starts = 0
    waiting = [run for folder in folders for run in recorded(folder)]
    while waiting := [run for run in waiting if not is_complete(run)]:
        problems = read_problems(output_dir)
        known = [problem_of(run, problems) for run in waiting]
        fresh = [problem for problem in known if problem and problem.time_ms >= began_ms]
        if len(fresh) == len(waiting):
            return outcome(folders, fresh[0].reason)
        if time.monotonic() > deadline:
            late = f"not everything was sent within {timeout_seconds:g} s"
            return outcome(folders, next((each.reason for each in known if each), late))
        if (sender is None or sender.poll() is not None) and not sender_lives(output_dir):
            if starts == MOST_STARTS:
                return outcome(folders, f"the sender stops: see {output_dir / 'sender.log'}")
            sender = spawn(output_dir)
            starts += 1
        time.sleep(0.1)
    return outcome(folders)


def is_complete(run: Recorded) -> bool:
    """Whether the store has by now all that the journal holds."""
    return read_receipt(run.folder, run.destination).offset >= journal_size(run.folder)
