"""The uploader process of an output folder: it is started, waited for, and run. No MLflow here.

```
OUTPUT_DIR/uploader.lock    held by the one uploader of this folder while it lives
           uploader.log     what it says
```

`start_uploader` runs `python -m fashion_mnist.tracking.uploader_process OUTPUT_DIR`.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.runs.events import logged_dirs
from fashion_mnist.runs.files import ProcessLock, run_lock
from fashion_mnist.runs.signals import handling
from fashion_mnist.tracking.checks import ANSWER_SECONDS, check_store, why_unwritable
from fashion_mnist.tracking.upload_state import (
    Outcome,
    Problem,
    Upload,
    UploadState,
    outcome,
    problem_of,
    read_problems,
    uploads,
)

MODULE = "fashion_mnist.tracking.uploader_process"
LONGEST_LOG_BYTES = 1_000_000
STOP_SECONDS = 5  # for a program that is told to stop: it is killed after 30 at most
PATIENCE_SECONDS = 10  # with an uploader that sends nothing, which may only be starting
MOST_STARTS = 3  # of an uploader, by one command that waits for it
LAST_SECONDS = 8  # after SIGTERM; containers are given 10 before they are killed

log = logging.getLogger(__name__)


def uploader_lock(output_dir: Path) -> ProcessLock:
    """Held by the one uploader of this folder while it lives."""
    return ProcessLock(output_dir / "uploader.lock")


def has_writers(output_dir: Path) -> bool:
    """Whether a living process is at work on a run below a folder."""
    return any(run_lock(run_dir).is_held() for run_dir in logged_dirs(output_dir))


def start_uploader(output_dir: Path) -> subprocess.Popen[bytes] | None:
    """Starts the uploader unless one lives. Hold your runs' locks first, or it may leave again.

    It survives this process, hears no Ctrl-C of the terminal, and writes to `uploader.log` alone:
    with our own standard output, `fmnist train | tee` would wait for it.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    if uploader_lock(output_dir).is_held():
        return None
    log_path = output_dir / "uploader.log"
    too_long = log_path.exists() and log_path.stat().st_size > LONGEST_LOG_BYTES
    with log_path.open("wb" if too_long else "ab") as output:
        return subprocess.Popen(
            # -P: a file in the user's folder must not stand in for a module
            [sys.executable, "-P", "-m", MODULE, str(output_dir.absolute())],
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


def outcome_of_uploads(
    run_dirs: Sequence[Path],
    *,
    uri: str | None,
    offline: str,
    is_stopping: Callable[[], bool],
    timeout_seconds: float = 60,
) -> Outcome | None:
    """What `wait_until_uploaded` says of runs that are to be sent; None where none are recorded.

    Args:
        uri: `tracking.uri` of the runs.
        offline: their `tracking.offline`; always: nothing is sent, and not waited for.
    """
    if uri is None:
        return None
    if offline == "always":
        return Outcome([], "tracking.offline=always")
    return wait_until_uploaded(run_dirs, timeout_seconds, is_stopping, absolute_uri(uri))


def wait_until_uploaded(
    run_dirs: Sequence[Path],
    timeout_seconds: float,
    is_stopping: Callable[[], bool] = lambda: False,
    uri: str | None = None,
) -> Outcome:
    """Waits until the stores have these runs (all of one output folder), or for a reason why not.

    Comes back as soon as the uploader has tried each of the runs since the call and failed, or no
    store has taken anything for some seconds and none answers. Starts an uploader where none lives.

    Args:
        is_stopping: the program is to end: it waits for `STOP_SECONDS` more at most.
        uri: of the store that is waited for, absolute: another, of an earlier command, may be gone;
            None: all of them.
    """
    if not run_dirs:
        return Outcome([], None)
    output_dir = run_dirs[0].parents[1]
    began_ms, began = time.time_ns() // 1_000_000, time.monotonic()
    deadline, is_hurried = began + timeout_seconds, False
    stall, starts = Stall(), Starts(output_dir)
    waiting = [upload for run_dir in run_dirs for upload in uploads(run_dir, uri)]
    while waiting := [upload for upload in waiting if not upload.is_complete]:
        problems = read_problems(output_dir)
        reason = _failure(waiting, problems, began_ms) or stall.reason(waiting)
        if is_stopping() and not is_hurried:
            is_hurried, deadline = True, min(deadline, time.monotonic() + STOP_SECONDS)
        if reason is None and time.monotonic() > deadline:
            known = (problem_of(upload.destination, problems) for upload in waiting)
            late = f"not everything was sent within {round(deadline - began, 1):g} s"
            reason = next((problem.reason for problem in known if problem), late)
        reason = reason or starts.reason()
        if reason is not None:
            return outcome(run_dirs, reason, uri)
        time.sleep(0.1)
        waiting = [Upload.read(upload.destination) for upload in waiting]
    return outcome(run_dirs, uri=uri)


def _failure(
    waiting: Sequence[Upload], problems: Mapping[str, Problem], began_ms: int
) -> str | None:
    """Why the first of these runs was not sent, if each was tried since then and failed."""
    known = [problem_of(upload.destination, problems) for upload in waiting]
    fresh = [problem for problem in known if problem and problem.time_ms >= began_ms]
    return fresh[0].reason if len(fresh) == len(waiting) else None


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
        states = [upload.state for upload in waiting]
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


@dataclass
class Starts:
    """Starts an uploader whenever none lives, but not for ever."""

    output_dir: Path
    uploader: subprocess.Popen[bytes] | None = None
    number: int = 0

    def reason(self) -> str | None:
        """Why there is no uploader; None where one lives, or was started now."""
        is_running = self.uploader is not None and self.uploader.poll() is None
        if is_running or uploader_lock(self.output_dir).is_held():
            return None
        if self.number == MOST_STARTS:
            return f"the uploader stops: see {self.output_dir / 'uploader.log'}"
        try:
            self.uploader = start_uploader(self.output_dir)
        except OSError as error:
            return str(error)
        self.number += 1
        return None


def main(output_dir: Path) -> None:
    """Sends until nothing is left to do; leaves at once if another uploader does it."""
    lower_priority()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    lock = uploader_lock(output_dir)
    while lock.acquire():
        try:
            # takes seconds: only the process that stays pays for the import
            from fashion_mnist.tracking.uploader import Uploader

            uploader = Uploader(output_dir)
            with ending_gently(uploader.end):
                uploader.stay()
        finally:
            lock.release()
        # a run that began between our last look and the release found us alive
        if uploader.is_ending or not has_writers(output_dir):
            return


@contextmanager
def ending_gently(end: Callable[[], None]) -> Iterator[None]:
    """Within, SIGTERM calls `end`; what takes longer than some seconds then is cut off.

    A signal to a job goes to all of its processes: the training ones have a status to be sent.
    """

    def on_signal(*_: object) -> None:
        end()
        signal.alarm(LAST_SECONDS)

    with handling([signal.SIGTERM], on_signal):
        yield


def lower_priority() -> None:
    """Training comes first."""
    if hasattr(os, "nice"):
        os.nice(10)
    # Linux with autogroups weighs sessions, and this process has one of its own: `man 7 sched`
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("10", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
