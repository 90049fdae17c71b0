"""Carries all journals of an output folder to their stores: the sending process, `fmnist sync`."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from fashion_mnist.journal import Destination, Journal, has_writer, read_entries, run_lock, take
from fashion_mnist.tracking.address import without_password
from fashion_mnist.tracking.delivery import Delivery
from fashion_mnist.tracking.outbox import (
    Outcome,
    Problem,
    outcome,
    read_problems,
    run_folders,
    sender_lock,
    wait_until_sent,
    write_problems,
)
from fashion_mnist.tracking.receipt import read_receipt
from fashion_mnist.tracking.store import Store

POLL_SECONDS = 0.3
LINGER_SECONDS = 5.0  # a next run started by hand finds mlflow imported
LONGEST_PAUSE_SECONDS = 8.0  # between two tries of what failed

StoreError = (MlflowException, SQLAlchemyError, OSError)
log = logging.getLogger(__name__)


@dataclass
class Watch:
    """What a journal says about itself, read as it grows."""

    folder: Path
    offset: int = 0
    last_ms: int = 0
    started: bool = False
    status: str = ""
    destinations: list[Destination] = field(default_factory=list)

    def look(self) -> None:
        """Reads what is new."""
        for entry in read_entries(self.folder, self.offset):
            self.offset, self.last_ms = entry.end, entry.time_ms
            if entry.kind == "destination":
                self.destinations.append(Destination(**entry.content))
            elif entry.kind == "start":
                self.started = True
            elif entry.kind == "status":
                self.status = entry.content["status"]

    @property
    def unfinished(self) -> bool:
        return self.started and self.status in {"", "RUNNING"}


@dataclass
class Pause:
    """When to try again what failed."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE_SECONDS)
        self.until = time.monotonic() + self.seconds


class Sender:
    """Whoever holds the output folder's `sender_lock` may have one."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self._watches: dict[Path, Watch] = {}
        self._stores: dict[str, Store] = {}
        self._deliveries: dict[tuple[Path, str], Delivery] = {}
        self._pauses: dict[str, Pause] = {}
        self._problems = read_problems(output_dir)

    def stay(self) -> None:
        """Sends until no run has a living writer and nothing moves any more."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < LINGER_SECONDS:
            lives = self.writer_lives()  # asked first: what it wrote is then seen by the pass
            if self.carry() or lives:
                quiet_since = time.monotonic()
            time.sleep(POLL_SECONDS)

    def writer_lives(self) -> bool:
        """Whether a process is at work on a run; runs that a dead one left are ended."""
        lives = False
        for watch in self._look():
            if watch.unfinished and has_writer(watch.folder):
                lives = True
            elif watch.unfinished:
                end_abandoned(watch)
        return lives

    def carry(self, *, verify: bool = False) -> bool:
        """One pass over all journals; whether anything was sent.

        `verify` asks the stores also for runs that they should have whole.
        """
        moved = False
        for watch in self._look():
            for destination in watch.destinations if watch.started else []:
                behind = read_receipt(watch.folder, destination).offset < watch.offset
                if behind or verify:
                    moved |= self._carry_to(watch.folder, destination)
        return moved

    def _look(self) -> list[Watch]:
        for folder in run_folders(self.output_dir):
            watch = self._watches.setdefault(folder, Watch(folder))
            try:
                watch.look()
            except ValueError:
                log.exception("a journal that cannot be read")
        return list(self._watches.values())

    def _carry_to(self, folder: Path, destination: Destination) -> bool:
        place, run = destination.id, f"{destination.id} {folder.name}"
        if any(pause.until > time.monotonic() for pause in self._pauses_of(place, run)):
            return False
        try:
            self._delivery(folder, destination).send()
        except StoreError as error:
            key = run if self._answers(destination.uri) else place
            self._report(key, f"{without_password(destination.uri)}: {root_cause(error)}")
            log.warning("%s: %s", folder.name, self._problems[key].reason, exc_info=True)
            return False
        self._forget(place, run)
        return True

    def _delivery(self, folder: Path, destination: Destination) -> Delivery:
        uri, key = destination.uri, (folder, destination.id)
        if uri not in self._stores:
            self._stores[uri] = Store(uri)
        if key not in self._deliveries:
            self._deliveries[key] = Delivery(folder, destination, self._stores[uri])
        return self._deliveries[key]

    def _answers(self, uri: str) -> bool:
        return uri in self._stores and self._stores[uri].answers()

    def _pauses_of(self, *keys: str) -> list[Pause]:
        return [self._pauses[key] for key in keys if key in self._pauses]

    def _report(self, key: str, reason: str) -> None:
        self._pauses.setdefault(key, Pause()).extend()
        self._problems[key] = Problem(reason, time.time_ns() // 1_000_000)
        write_problems(self.output_dir, self._problems)

    def _forget(self, *keys: str) -> None:
        for key in keys:
            self._pauses.pop(key, None)
        if any(self._problems.pop(key, None) for key in keys):
            write_problems(self.output_dir, self._problems)


def end_abandoned(watch: Watch) -> None:
    """Ends a run whose process is gone, at the time of the last thing it said."""
    lock = run_lock(watch.folder)
    if not take(lock):
        return  # somebody goes on with it after all
    try:
        with Journal(watch.folder) as journal:
            journal.status("KILLED", watch.last_ms)
    finally:
        lock.release()


def root_cause(error: BaseException) -> str:
    """The innermost reason in one line: "Connection refused", not four layers of retries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def sync(output_dir: Path, timeout_seconds: float = 600) -> Outcome:
    """Sends all that is pending, in this process, or waits for the sender that is at it.

    A run that a store should have and has not (its database was removed) is sent to it again.
    """
    if not run_folders(output_dir):
        return Outcome([], None)
    lock = sender_lock(output_dir)
    if not take(lock):
        return wait_until_sent(run_folders(output_dir), timeout_seconds)
    try:
        sender = Sender(output_dir)
        sender.writer_lives()
        sender.carry(verify=True)
    finally:
        lock.release()
    problems = read_problems(output_dir)
    reason = next((problem.reason for problem in problems.values()), None)
    return outcome(run_folders(output_dir), reason)
