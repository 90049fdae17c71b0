"""Carries all journals of an output folder to their stores: the sending process, `fmnist sync`."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from fashion_mnist.journal import Destination
from fashion_mnist.lock import has_writer, take
from fashion_mnist.tracking.address import without_password
from fashion_mnist.tracking.delivery import Delivery, Kin
from fashion_mnist.tracking.outbox import (
    SWEEPS,
    Outcome,
    Problem,
    journal_folders,
    outcome,
    problem_key,
    read_problems,
    sender_lock,
    wait_until_sent,
    write_problems,
)
from fashion_mnist.tracking.receipt import Receipt
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.watch import Watch, end_abandoned, sweeps_by_id

POLL_SECONDS = 0.3
REST = 20  # times as long as a look at all journals, of which a round takes two
LINGER_SECONDS = 5.0  # a next run started by hand finds mlflow imported
LONGEST_PAUSE_SECONDS = 8.0  # between two tries of what failed

StoreError = (MlflowException, SQLAlchemyError, OSError)
log = logging.getLogger(__name__)


@dataclass
class Pause:
    """When to try again what failed."""

    until: float = 0.0
    seconds: float = 0.5

    def extend(self) -> None:
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE_SECONDS)
        self.until = time.monotonic() + self.seconds


class WaitingError(Exception):
    """A run cannot be sent before another; `reason` is None if that one is on its way."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


class Sender:
    """Whoever holds the output folder's `sender_lock` may have one."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self._watches: dict[Path, Watch] = {}
        self._look_seconds = 0.0
        self._sweeps: dict[str, Watch] = {}
        self._thrown_away: dict[str, bool] = {}
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
            time.sleep(max(POLL_SECONDS, REST * self._look_seconds))

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
        """One pass over all journals, sweeps first; whether anything was sent.

        `verify` asks the stores also for runs that they should have whole.
        """
        moved = False
        self._thrown_away.clear()
        for watch in self._look():
            for destination in watch.destinations if watch.started else []:
                if verify or watch.is_behind(destination):
                    moved |= self._carry_to(watch, destination)
        return moved

    def _look(self) -> list[Watch]:
        began = time.monotonic()
        folders = journal_folders(self.output_dir)
        # in the folders' order, and without those that were removed
        self._watches = {folder: self._watches.get(folder) or Watch(folder) for folder in folders}
        for watch in self._watches.values():
            try:
                watch.look()
            except ValueError:
                log.exception("a journal that cannot be read")
        self._sweeps = sweeps_by_id(self._watches.values())
        self._look_seconds = time.monotonic() - began
        return list(self._watches.values())

    def _carry_to(self, watch: Watch, destination: Destination) -> bool:
        folder = watch.folder
        place, run = destination.place, problem_key(folder, destination)
        if any(pause.until > time.monotonic() for pause in self._pauses_of(place, run)):
            return False
        try:
            self._delivery(watch, destination).send()
        except WaitingError as waiting:
            if waiting.reason:
                self._report(run, waiting.reason)
            return False
        except StoreError as error:
            self._deliveries.pop((folder, destination.id), None)  # the user may have deleted it
            key = run if self._answers(destination.uri) else place
            self._report(key, f"{without_password(destination.uri)}: {root_cause(error)}")
            log.warning("%s: %s", folder.name, self._problems[key].reason, exc_info=True)
            return False
        self._forget(place, run)
        return True

    def _delivery(self, watch: Watch, destination: Destination) -> Delivery:
        uri, key = destination.uri, (watch.folder, destination.id)
        if key not in self._deliveries:
            if uri not in self._stores:
                self._stores[uri] = Store(uri)
            kin = self._kin(watch, destination)
            self._deliveries[key] = Delivery(watch.folder, destination, self._stores[uri], kin)
        return self._deliveries[key]

    def _kin(self, watch: Watch, destination: Destination) -> Kin:
        """Raises WaitingError while the store lacks the run's parent, or the run it copies."""
        parent = self._parent(watch, destination) if destination.parent else ""
        first = watch.in_place(destination.place)
        original = self._original(watch, first) if first and first != destination else ""
        return Kin(parent, original, is_orphan=self._is_thrown_away(destination.uri, parent))

    def _parent(self, watch: Watch, destination: Destination) -> str:
        sweep = self._sweeps.get(destination.parent)
        wanted = sweep.in_place(destination.place) if sweep else None
        if sweep and wanted:
            run_id = sweep.receipt(wanted).run_id
            if not run_id:
                raise WaitingError(self._reason(sweep, wanted))
            return run_id
        if watch.receipt(destination).run_id:
            return ""  # it is there, and bears the tag
        if sweep:
            raise WaitingError(f"its sweep, {sweep.folder}, is not recorded there")
        sweeps = self.output_dir / SWEEPS
        raise WaitingError(f"its sweep is gone: {sweeps} has no journal {destination.parent}")

    def _original(self, watch: Watch, first: Destination) -> str:
        receipt = watch.receipt(first)
        # its turn was before: what could not be sent, or was not wanted, is nothing to wait for
        if receipt == Receipt() and not self._reason(watch, first):
            raise WaitingError(None)
        return receipt.run_id

    def _reason(self, watch: Watch, destination: Destination) -> str | None:
        """Why this run is not sent, if it was tried."""
        problem = self._problems.get(problem_key(watch.folder, destination))
        return problem.reason if problem else None

    def _is_thrown_away(self, uri: str, parent: str) -> bool:
        """Asks the store once in a pass."""
        if parent and parent not in self._thrown_away:
            self._thrown_away[parent] = self._stores[uri].is_thrown_away(parent)
        return bool(parent) and self._thrown_away[parent]

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
    if not journal_folders(output_dir):
        return Outcome([], None)
    lock = sender_lock(output_dir)
    if not take(lock):
        return wait_until_sent(journal_folders(output_dir), timeout_seconds)
    try:
        sender = Sender(output_dir)
        sender.writer_lives()
        sender.carry(verify=True)
    finally:
        lock.release()
    problems = read_problems(output_dir)
    reason = next((problem.reason for problem in problems.values()), None)
    return outcome(journal_folders(output_dir), reason)
