"""`fmnist ui` and `fmnist serve`: thin starts of MLflow's own servers, waited for and ended here.

No MLflow here. A server for many machines is `mlflow server` itself: `docs/tracking-server.md`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from safetensors import safe_open

from fashion_mnist.config.messages import printable
from fashion_mnist.config.store_uri import (
    absolute_uri,
    demand_no_password,
    driver_uri,
    sqlite_path,
    without_password,
)
from fashion_mnist.runs.signals import ended_by_signals
from fashion_mnist.tracking.checks import check_store
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.saved_views import VERSION_TAG, view_links

LOOPBACK = "127.0.0.1"
START_SECONDS = 180  # at most
USUAL_SECONDS = 12  # two quiet cores of an AMD EPYC (Zen 4)
STDERR = 2
ADVICE = b"[MLflow] Security middleware enabled"  # how other hosts may be let in, at each start
# no usage reports, no job runner and its seven helpers, no log line for each request, no warnings
# of other libraries
QUIET = {
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "UVICORN_LOG_LEVEL": "warning",
}


def ui(uri: str, port: int = 5000, say: Callable[[str], None] = print) -> None:
    """Shows the store in the browser until Ctrl-C; of a server's, the links.

    Raises:
        ValueError: the port is taken, or the address cannot be a store's.
        OSError: the store does not answer, or MLflow does not start.
    """
    uri = absolute_uri(uri)
    problem = check_store(uri, for_writing=True)
    if problem:
        raise OSError(problem)
    if uri.startswith("http"):
        demand_no_password(uri, "the store")
        say_links(uri, uri, say)
        return
    check_port_is_free(port)
    say(f"Starting MLflow for {without_password(uri)}: this takes some {USUAL_SECONDS} s.")
    address = f"http://{LOOPBACK}:{port}"
    with suppress(KeyboardInterrupt), ended_by_signals(), mlflow_server(uri, port) as server:
        wait_until_ready(server, f"{address}/health")
        say_links(uri, address, say)
        tunnel = f"ssh -L {port}:{LOOPBACK}:{port} {socket.gethostname()}"
        say(f"\nFor this machine alone; on another one: {tunnel}")
        say("Ctrl-C stops it.")
        wait_for_end(server)


def serve(weights: Path, *, name: str, port: int, say: Callable[[str], None]) -> None:
    """Answers requests with one network, by `mlflow models serve`, until Ctrl-C.

    The model folder is made here, of the weights alone: one from a store may name any code.

    Args:
        weights: the network, a safetensors file.
        name: what is served, in words.

    Raises:
        ValueError: the port is taken.
        OSError: MLflow does not start.
    """
    from fashion_mnist.tracking.packaged_model import save_network  # MLflow takes seconds

    check_port_is_free(port)
    with safe_open(weights, framework="numpy") as file:
        height, width = json.loads(file.metadata()["model"])["image_shape"]
    words = ["models", "serve", "--env-manager", "local", "--host", LOOPBACK, "--port", str(port)]
    # it calls uvicorn by its bare name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as place, suppress(KeyboardInterrupt), ended_by_signals():
        save_network(weights, Path(place, "model"))
        command = [sys.executable, "-P", "-m", "mlflow", *words, "--model-uri", f"{place}/model"]
        with started(command, Path(place), os.environ | QUIET | {"PATH": path}) as server:
            wait_until_ready(server, f"http://{LOOPBACK}:{port}/ping")
            address = f"http://{LOOPBACK}:{port}/invocations"
            say(f'{name}\n  takes {{"inputs": images}}, JSON, [B, {height}, {width}] of 0 to 255')
            say(f"  at {address}, for this machine alone; Ctrl-C stops it")
            wait_for_end(server)


def say_links(uri: str, address: str, say: Callable[[str], None]) -> None:
    """One block for each experiment of the store that has our views, as seen at this address."""
    known = [each for each in Reader(uri).all_experiments() if not each.is_deleted]
    found = [each for each in known if VERSION_TAG in each.tags]
    for experiment in found:
        say(printable(f"\n{experiment.name}"))
        for view, link in view_links(address, experiment.id).items():
            say(printable(f"  {view}: {link}"))
    if not found:
        say(f"No runs of ours yet: {address}")


@contextmanager
def mlflow_server(
    uri: str, port: int, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on a database, for this machine alone; ended on the way out.

    Args:
        options: further ones of `mlflow server`.

    Raises:
        OSError: the database cannot be made.
    """
    database = sqlite_path(uri)
    folder = database.parent if database else Path.cwd()
    # the store by the environment: a password in a command line is everybody's to read
    own = {"MLFLOW_BACKEND_STORE_URI": driver_uri(uri)}
    environment = os.environ | QUIET | own
    if database and not database.exists():
        _make_database(uri, environment)
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", LOOPBACK]
    command += ["--port", str(port), *(() if "--workers" in options else ("--workers", "1"))]
    # on its standard output is advice alone, on its standard error one line of it
    with started(
        [*command, *options], folder, environment, subprocess.DEVNULL, subprocess.PIPE
    ) as server:
        Thread(target=_show_errors, args=(server.stderr,), daemon=True).start()
        yield server


def _show_errors(lines: Iterable[bytes]) -> None:
    """What the server says on its standard error, but for what it says at each start."""
    for line in lines:
        if ADVICE not in line:
            os.write(STDERR, line)


def _make_database(uri: str, environment: Mapping[str, str]) -> None:
    """A database file without runs. The server would make one too, but not under our lock: beside
    a run that is recorded for the first time it would be ruined.
    """
    make = "import sys; from fashion_mnist.tracking.store import Store; Store(sys.argv[1])"
    command = [sys.executable, "-P", "-c", make, uri]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        output = done.stderr.strip().splitlines() or [f"a process ended with {done.returncode}"]
        raise OSError(f"{uri} cannot be made: {output[-1]}")


@contextmanager
def started(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a session of its own, which is ended with all its workers.

    Args:
        stdout: as `subprocess.Popen` takes it.
        stderr: the same.
    """
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):  # hard after five seconds
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=5)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def check_port_is_free(port: int) -> None:
    """Raises ValueError if something listens there already."""
    with socket.socket() as probe:
        # as the server will: a port whose last connections are still closing is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ValueError(
                f"--port {port} is taken on {LOOPBACK}: try --port {port + 1}"
            ) from error


def wait_for_end(server: subprocess.Popen[bytes]) -> None:
    """Returns when the server ends by itself without an error. Raises OSError for any other."""
    if server.wait():
        raise OSError(f"MLflow's server ended with status {server.returncode}")


def wait_until_ready(server: subprocess.Popen[bytes], page: str) -> None:
    """Returns when the server answers. Raises OSError if it ends or takes three minutes."""
    deadline = time.monotonic() + START_SECONDS
    # a proxy of the user's knows nothing of this machine's own ports
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise OSError(f"MLflow's server ended with status {server.returncode}")
        try:
            opener.open(page, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise OSError(f"MLflow's server did not answer within {START_SECONDS} s")
