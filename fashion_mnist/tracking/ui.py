"""`fmnist ui`: MLflow's pages on this machine, and links to the views worth opening. No MLflow."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fashion_mnist.console import printable
from fashion_mnist.tracking.address import absolute_uri, check_store, sqlite_path, without_password
from fashion_mnist.tracking.views import VERSION_TAG, view_links

HOST = "127.0.0.1"
START_SECONDS = 180  # half a minute on a quiet machine
LONGEST_ANSWER = 20_000_000  # bytes


def ui(uri: str, port: int = 5000, say: Callable[[str], None] = print) -> None:
    """Shows the store in the browser until Ctrl-C.

    Raises:
        ValueError: the port is taken, or the address cannot be a store's.
        OSError: the store does not answer, or MLflow does not start.
    """
    uri = absolute_uri(uri)
    problem = check_store(uri)
    if problem:
        raise OSError(problem)
    if uri.startswith("http"):
        say_links(uri, say)
        return
    check_port_is_free(port)
    address = f"http://{HOST}:{port}"
    say(f"Starting MLflow for {without_password(uri)}: this takes about half a minute.")
    with contextlib.suppress(KeyboardInterrupt), ended_by_signals(), serve(uri, port) as server:
        wait_until_ready(server, address)
        say_links(address, say)
        tunnel = f"ssh -L {port}:{HOST}:{port} {socket.gethostname()}"
        say(f"\nFor this machine alone; on another one: {tunnel}")
        say("Ctrl-C stops it.")
        server.wait()


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


@contextmanager
def serve(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server as a process of its own, ended with all its workers on the way out."""
    database = sqlite_path(uri)
    folder = database.parent if database else Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    if database and not database.exists():
        make_database(uri)
    # a shell between would not pass on the signal; a session of its own takes the workers along
    server = subprocess.Popen(
        server_command(uri, port), cwd=folder, env=server_environment(), start_new_session=True
    )
    try:
        yield server
    finally:
        stop(server)


def make_database(uri: str) -> None:
    """A database file without runs. The server would make one too, but not under our lock: beside
    a run that is recorded for the first time it would be ruined.

    Raises:
        OSError: it cannot be made.
    """
    make = "import sys; from fashion_mnist.tracking.store import Store; Store(sys.argv[1])"
    command = [sys.executable, "-P", "-c", make, uri]
    done = subprocess.run(command, env=server_environment(), capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{uri} cannot be made: {done.stderr.strip().splitlines()[-1]}")


def server_command(uri: str, port: int) -> list[str]:
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri", uri]
    return [*command, "--host", HOST, "--port", str(port), "--workers", "1"]


def server_environment() -> dict[str, str]:
    """No usage reports, no job runner and its seven helpers, no log line for each request."""
    quiet = {"UVICORN_LOG_LEVEL": "warning", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    private = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    return os.environ | quiet | private | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


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


def check_port_is_free(port: int) -> None:
    """Raises ValueError if something listens there already."""
    with socket.socket() as probe:
        # as the server will: a port whose last connections are still closing is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ValueError(f"--port {port} is taken on {HOST}: try --port {port + 1}") from error


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


def say_links(address: str, say: Callable[[str], None]) -> None:
    """One block for each experiment that has our views."""
    found = [experiment for experiment in experiments(address) if has_views(experiment)]
    for experiment in found:
        say(printable(f"\n{experiment['name']}"))
        for name, link in view_links(address, str(experiment["experiment_id"])).items():
            say(printable(f"  {name}: {link}"))
    if not found:
        say(f"No runs of ours yet: {address}")


def has_views(experiment: dict[str, Any]) -> bool:
    tags = experiment.get("tags") or []
    return any(isinstance(tag, dict) and tag.get("key") == VERSION_TAG for tag in tags)


def experiments(address: str) -> list[dict[str, Any]]:
    """The store's experiments, as its server tells them, newest first.

    Raises:
        OSError: it does not tell.
    """
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1000}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read(LONGEST_ANSWER)
    try:
        found = json.loads(content).get("experiments", [])
        return [each for each in found if {"name", "experiment_id"} <= each.keys()]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise OSError(f"{without_password(address)} does not answer as MLflow does") from None
