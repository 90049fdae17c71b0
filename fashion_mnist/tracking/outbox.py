"""The training process's side of recording: start the sender, wait for it. No MLflow here."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock

from fashion_mnist.console import disk_trouble
from fashion_mnist.runs.event_log import Destination, log_size
from fashion_mnist.runs.files import is_held
from fashion_mnist.tracking.address import check_store
from fashion_mnist.tracking.problems import Problem, problem_key, read_problems
from fashion_mnist.tracking.receipt import Receipt, destinations, is_whole, read_receipt

SWEEPS, RUNS = "sweeps", "runs"  # folders of journals below an output folder
KEPT_BACK = "kept_back"  # a file that says: tracking.offline=always
LONGEST_LOG_BYTES = 1_000_000
GOODBYE_SECONDS = 5  # for a program that is to stop: whoever wants it to gives it 30 at most
PROBE_BYTES = 4096
PATIENCE_SECONDS = 10  # with a sender that sends nothing, which may only be starting
ANSWER_SECONDS = 5  # for a store that is asked whether it is there
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


def journal_folders(output_dir: Path) -> list[Path]:
    """The folders that hold a journal, by name: sweeps, and then the runs that belong to them."""
    found = (subfolders(output_dir / kind) for kind in (SWEEPS, RUNS))
    return [folder for folders in found for folder in folders if log_size(folder)]


def subfolders(folder: Path) -> list[Path]:
    """Sorted; none where there is no such folder, or it cannot be looked into."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def sender_lock(output_dir: Path) -> FileLock:
    """Held by the one sender of this folder while it lives."""
    output_dir.mkdir(parents=True, exist_ok=True)
    return FileLock(output_dir / "sender.lock")


def sender_lives(output_dir: Path) -> bool:
    return is_held(sender_lock(output_dir))


def keep_back(folder: Path, is_wanted: bool) -> None:
    """Nothing of this run or sweep is sent until somebody asks for it; or it may be sent."""
    if is_wanted:
        (folder / KEPT_BACK).touch()
    else:
        (folder / KEPT_BACK).unlink(missing_ok=True)


def is_kept_back(folder: Path) -> bool:
    return (folder / KEPT_BACK).exists()


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
    receipts = [(place, read_receipt(folder, place)) for place in destinations(folder)]
    return [
        Recorded(folder, place, receipt.run_id, receipt.experiment_id, is_whole(folder, receipt))
        for place, receipt in receipts
    ]


def outcome(folders: Iterable[Path], reason: str | None = None) -> Outcome:
    """What the stores have of these runs; `reason` is dropped if that is everything."""
    runs = [run for folder in folders for run in recorded(folder)]
    result = Outcome(runs, reason)
    return Outcome(runs, None) if result.sent else result


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

    The sender itself waits longer in front of a server that hangs: it may be a slow one.
    """

    receipts: list[Receipt] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def reason(self, waiting: Sequence[Recorded]) -> str | None:
        """Why these runs are not sent, if that can be seen from here; takes 5 seconds at most.

        No store of theirs answers, or on the journals' disk there is no room for what was sent.
        """
        receipts = [read_receipt(run.folder, run.destination) for run in waiting]
        if receipts != self.receipts:
            self.receipts, self.since = receipts, time.monotonic()
        if time.monotonic() - self.since < PATIENCE_SECONDS:
            return None
        full = why_unwritable(waiting[0].folder)
        if full is not None:
            return full
        uris = list(dict.fromkeys(run.destination.uri for run in waiting))
        silent = [check_store(uri, ANSWER_SECONDS / len(uris)) for uri in uris]
        self.since = time.monotonic()
        return silent[0] if all(silent) else None


def _go_on() -> bool:
    return False


def wait_until_sent(
    folders: Sequence[Path],
    timeout_seconds: float = 60,
    is_stopping: Callable[[], bool] = _go_on,
) -> Outcome:
    """Waits until the stores have these runs (all of one output folder), or for a reason why not.

    Comes back as soon as the sender has tried each unsent run since the call and failed, or no
    store has taken anything for some seconds and none answers. Starts a sender where none lives.

    Args:
        is_stopping: somebody wants the program to end: it waits for `GOODBYE_SECONDS` more at most.
    """
    if not folders:
        return Outcome([], None)
    output_dir = folders[0].parents[1]
    began_ms = time.time_ns() // 1_000_000
    began = time.monotonic()
    deadline, has_hurried = began + timeout_seconds, False
    sender: subprocess.Popen[bytes] | None = None
    starts = 0
    stall = Stall()
    waiting = [run for folder in folders for run in recorded(folder)]
    while waiting := [run for run in waiting if not is_complete(run)]:
        problems = read_problems(output_dir)
        known = [problem_of(run, problems) for run in waiting]
        fresh = [problem for problem in known if problem and problem.time_ms >= began_ms]
        if len(fresh) == len(waiting):
            return outcome(folders, fresh[0].reason)
        silent = stall.reason(waiting)
        if silent is not None:
            return outcome(folders, silent)
        if is_stopping() and not has_hurried:
            has_hurried, deadline = True, min(deadline, time.monotonic() + GOODBYE_SECONDS)
        if time.monotonic() > deadline:
            late = f"not everything was sent within {round(deadline - began, 1):g} s"
            return outcome(folders, next((each.reason for each in known if each), late))
        if (sender is None or sender.poll() is not None) and not sender_lives(output_dir):
            if starts == MOST_STARTS:
                return outcome(folders, f"the sender stops: see {output_dir / 'sender.log'}")
            try:
                sender = spawn(output_dir)
            except OSError as error:
                return outcome(folders, str(error))
            starts += 1
        time.sleep(0.1)
    return outcome(folders)


def is_complete(run: Recorded) -> bool:
    """Whether the store has by now all that the journal holds."""
    return is_whole(run.folder, read_receipt(run.folder, run.destination))
