"""MLflow's server as a process: how it is started, waited for and ended. No MLflow here."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fashion_mnist.tracking.address import sqlite_path, without_password

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # on every network that this machine is in
FILES = "--artifacts-destination"  # where the server puts the files of its clients
START_SECONDS = 180  # half a minute on a quiet machine


@dataclass(frozen=True)
class Hosting:
    """What MLflow's server is started with."""

    store: str  # absolute address of a database
    port: int
    host: str = LOOPBACK
    workers: int = 1
    options: tuple[str, ...] = ()  # further ones of `mlflow server`
    settings: Mapping[str, str] = field(default_factory=dict)  # further variables

    @property
    def address(self) -> str:
        """Where this machine finds it."""
        return f"http://{self.host if self.host not in EVERYWHERE else LOOPBACK}:{self.port}"

    @property
    def carries_files(self) -> bool:
        """Whether clients send their files to it, and not to where they are kept."""
        return FILES in self.options

    def command(self) -> list[str]:
        """Without the store, whose password everybody on this machine could read here."""
        words = [sys.executable, "-P", "-m", "mlflow", "server", "--host", self.host]
        return [*words, "--port", str(self.port), "--workers", str(self.workers), *self.options]

    def environment(self) -> dict[str, str]:
        """No usage reports, no job runner and its seven helpers, no log line for each request."""
        quiet = {"UVICORN_LOG_LEVEL": "warning", "MLFLOW_LOGGING_LEVEL": "WARNING"}
        private = {"MLFLOW_DISABLE_TELEMETRY": "true"}
        own = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": self.store,
        }
        return os.environ | quiet | private | own | dict(self.settings)


def serve_until_stopped(
    hosting: Hosting, say: Callable[[str], None], when_ready: Callable[[], None]
) -> None:
    """Serves until Ctrl-C.

    Raises:
        ValueError: the port is taken.
        OSError: MLflow does not start.
    """
    check_port_is_free(hosting.port, hosting.host)
    say(f"Starting MLflow for {without_password(hosting.store)}: this takes about half a minute.")
    with suppress(KeyboardInterrupt), ended_by_signals(), serve(hosting) as server:
        wait_until_ready(server, hosting.address)
        when_ready()
        server.wait()


@contextmanager
def serve(hosting: Hosting) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server as a process of its own, ended with all its workers on the way out."""
    database = sqlite_path(hosting.store)
    folder = database.parent if database else Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    if database and not database.exists():
        make_database(hosting)
    # a shell between would not pass on the signal; a session of its own takes the workers along
    server = subprocess.Popen(
        hosting.command(), cwd=folder, env=hosting.environment(), start_new_session=True
    )
    try:
        yield server
    finally:
        stop(server)


def make_database(hosting: Hosting) -> None:
    """A database file without runs. The server would make one too, but not under our lock: beside
    a run that is recorded for the first time it would be ruined.

    Raises:
        OSError: it cannot be made.
    """
    # the experiment Default comes with the first client, and its files are where that one's are:
    # where files travel through the server, that must be the server itself
    what = "with at_home(sys.argv[1]): pass" if hosting.carries_files else "Store(sys.argv[1])"
    make = f"import sys\nfrom fashion_mnist.tracking.store import Store, at_home\n{what}"
    command = [sys.executable, "-P", "-c", make, hosting.store]
    done = subprocess.run(command, env=hosting.environment(), capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{hosting.store} cannot be made: {done.stderr.strip().splitlines()[-1]}")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A closed terminal and `kill` count as Ctrl-C: the server must not stay behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and its workers; hard, if they take more than five seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def check_port_is_free(port: int, host: str = LOOPBACK) -> None:
    """Raises ValueError if something listens there already."""
    with socket.socket() as probe:
        # as the server will: a port whose last connections are still closing is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(f"--port {port} is taken on {host}: try --port {port + 1}") from error


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Returns when the server answers. Raises OSError if it ends or takes three minutes."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise OSError(f"MLflow's server ended with status {server.returncode}")
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise OSError(f"MLflow's server did not answer within {START_SECONDS} s")
