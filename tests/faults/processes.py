"""Real `fmnist train` processes, to be killed, and to be looked after until nothing is left.

A console script spends three seconds on imports before it does anything of its own. `ForkServer`
has done them and forks: each child is a process as the console script makes it, a session of its
own, with locks, signals, workers and an uploader of its own.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from fashion_mnist.tracking.uploader_process import MODULE, uploader_lock

ROOT = Path(__file__).parents[2]
FMNIST = Path(sys.executable).with_name("fmnist")
OUTPUT = "output"
PATIENCE_SECONDS = 240  # for anything that must happen, on the slowest machine


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Raises TimeoutError unless the condition holds within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


@dataclass
class Child:
    """A process that was started here: a session of its own, its words in a file."""

    pid: int
    output: Path  # both of its streams, unless a test gave it others
    poll: Callable[[], int | None]  # its exit status, as subprocess has it; None while it lives
    began: float = field(default_factory=time.monotonic)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status: that of a signal is negative."""
        wait_for(lambda: self.poll() is not None, f"the end of {self.pid}", seconds)
        status = self.poll()
        assert status is not None
        return status

    def text(self) -> str:
        """What it has said so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_for_text(self, words: str) -> None:
        """Until it says these words. Raises AssertionError where it ends without."""
        wait_for(lambda: words in self.text() or self.poll() is not None, words)
        assert words in self.text(), self.text()

    def send(self, number: signal.Signals, *, to_group: bool = False) -> None:
        """A signal, if it lives; as a terminal does it, to all processes of its group."""
        with suppress(ProcessLookupError):
            (os.killpg if to_group else os.kill)(self.pid, number)

    def kill(self, *, to_group: bool = False) -> bool:
        """`kill -9`; whether it was still alive."""
        self.send(signal.SIGKILL, to_group=to_group)
        return self.wait() == -signal.SIGKILL

    def wait_until(self, moment: float) -> None:
        """Seconds after its start, or until it ends."""
        while self.poll() is None and (left := self.began + moment - time.monotonic()) > 0:
            time.sleep(min(left, 0.005))

    def age(self) -> float:
        """Seconds from its start until now."""
        return time.monotonic() - self.began

    def session(self) -> list[psutil.Process]:
        """The processes of its session that live: workers too, no uploader."""
        return [process for process in psutil.process_iter() if _session_of(process) == self.pid]

    def wait_for_session(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until it and all its workers are gone."""
        wait_for(lambda: not self.session(), f"the end of the workers of {self.pid}", seconds)


def _session_of(process: psutil.Process) -> int | None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        if process.status() != psutil.STATUS_ZOMBIE:
            return os.getsid(process.pid)
    return None


class ForkServer:
    """Starts children that have imported everything; they are gone when it is closed."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # its libraries' threads would not be in the children
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._statuses: dict[int, int | None] = {}

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        stdout: str | None = OUTPUT,
        stderr: str | None = OUTPUT,
        ignored: Sequence[signal.Signals] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """`fmnist ARGUMENTS`.

        Args:
            folder: where it is started.
            stdout: a file; OUTPUT: the child's own, which `text` reads; None: closed.
            stderr: the same.
            ignored: signals, as nohup does it.
            environment: beside the variables that are set now, or instead of them.
        """
        output = folder / f"output-{len(self._statuses)}.txt"
        request = {
            "arguments": [str(FMNIST), *arguments],
            "folder": str(folder),
            "environment": {**os.environ, **(environment or {})},
            "outputs": [str(output) if path == OUTPUT else path for path in (stdout, stderr)],
            "ignored": ignored,
        }
        pid = int(self._ask(request))
        self._statuses[pid] = None
        return Child(pid, output, lambda: self._poll(pid))

    def end_children(self) -> None:
        """Kill what is left of them."""
        for pid in [pid for pid in self._statuses if self._poll(pid) is None]:
            end_session(pid)

    def close(self) -> None:
        """Kill what is left of the children, and end."""
        self.end_children()
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE_SECONDS)
        assert self._server.stdout is not None
        self._server.stdout.close()

    def _poll(self, pid: int) -> int | None:
        if self._statuses[pid] is None:
            self._statuses[pid] = self._ask({"poll": pid})
        return self._statuses[pid]

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


@cache
def shared_server() -> ForkServer:
    """The one that tests share: it takes seconds to get ready."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def fmnist(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`fmnist ARGUMENTS` in the current folder, to its end: as `subprocess.run` of it, sooner."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        stdout, stderr = map(str, outputs)
        child = shared_server().start(
            arguments, Path.cwd(), stdout=stdout, stderr=stderr, environment=environment
        )
        try:
            status = child.wait()
        except TimeoutError:
            end_session(child.pid)
            raise
        said = [path.read_text(encoding="utf-8") for path in outputs]
        return subprocess.CompletedProcess(arguments, status, *said)


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    """A server for as long as the context lasts."""
    server = ForkServer()
    try:
        yield server
    finally:
        server.close()


def start_console_script(arguments: Sequence[str], folder: Path) -> Child:
    """`fmnist ARGUMENTS` as a user starts it, imports included."""
    output = folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(FMNIST), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(process.pid, output, process.poll)


def uploaders(output_dir: Path) -> list[psutil.Process]:
    """The processes that carry this folder's event logs to their stores, or are about to."""
    mine = [MODULE, str(output_dir.resolve())]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[-2:] == mine:
                found.append(process)
    return found


def kill_uploaders(output_dir: Path) -> int:
    """`kill -9` every uploader of this folder; how many there were."""
    found = uploaders(output_dir)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not uploader_lock(output_dir).is_held(), "the end of the uploader")
    return len(found)


def end_session(pid: int) -> None:
    """Kill a child with its workers, at the end of a test that failed."""
    for process in psutil.process_iter():
        if _session_of(process) == pid:
            with suppress(psutil.NoSuchProcess):
                process.kill()
