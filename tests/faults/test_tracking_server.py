"""A store that is down, hangs, dies and comes back, and an uploader: all is there once."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from fashion_mnist.cli.output import in_words
from fashion_mnist.config.messages import RunError
from fashion_mnist.runs.event_log import EventLog, is_offline
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking import uploader_process
from fashion_mnist.tracking.checks import ANSWER_SECONDS, demand_store
from fashion_mnist.tracking.server import mlflow_server, wait_until_ready
from fashion_mnist.tracking.upload_state import UploadState, read_problems, uploads
from fashion_mnist.tracking.uploader import Uploader, sync
from fashion_mnist.tracking.uploader_process import start_uploader, wait_until_uploaded
from tests.builders import QUIET, data_overrides, load, make_config, make_data
from tests.faults.event_logs import EXPERIMENT, draw, say_epoch, write_run
from tests.faults.processes import fork_server, kill_uploaders, wait_for
from tests.faults.records import assert_recorded_once

pytestmark = pytest.mark.long

UPLOADER_KILLS = 20


class Server:
    """A real MLflow server on loopback, to be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        starting = mlflow_server(f"sqlite:///{self.folder}/mlflow.db", self.port)
        self._process = starting.__enter__()
        self._starting = starting  # a context that is collected would end it
        wait_until_ready(self._process, f"{self.uri}/health")

    def hang(self) -> None:
        """It accepts, and answers no more."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers what was asked meanwhile."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def die(self) -> None:
        """It is killed with all that it was at."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests; each works in an experiment or an output folder of its own."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.die()


@pytest.fixture
def output_dir(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "outputs").mkdir()
    yield tmp_path / "outputs"
    kill_uploaders(tmp_path / "outputs")


@contextmanager
def listener(answer: Callable[[socket.socket], None] | None = None) -> Iterator[str]:
    """The address of a server that accepts and does this, or nothing, with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return  # the test is over
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)


def trickle(connection: socket.socket) -> None:
    """A byte at a time, for ever."""
    with connection:
        try:
            while True:
                connection.sendall(b"H")
                time.sleep(0.05)
        except OSError:
            return


def talk_nonsense(connection: socket.socket) -> None:
    """What no web server says."""
    with connection:
        connection.recv(1000)
        connection.sendall(b"\x1b[2J* OK IMAP4\r\n\r\n")


@contextmanager
def refusing() -> Iterator[str]:
    """An address at which nobody listens."""
    yield "http://127.0.0.1:9"


@contextmanager
def unknown_name() -> Iterator[str]:
    """An address with a name that nobody has."""
    yield "http://no-such-machine.invalid:5000"


STORES_THAT_ARE_NONE: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "refused": refusing,
    "unknown name": unknown_name,
    "accepts and never answers": listener,
    "a byte at a time": partial(listener, trickle),
    "nonsense": partial(listener, talk_nonsense),
}


@pytest.mark.parametrize("store", STORES_THAT_ARE_NONE)
def test_never_offline_is_one_error_before_training(store: str, tmp_path: Path) -> None:
    """`tracking.offline=never` says in one line within its seconds that no store answers."""
    with STORES_THAT_ARE_NONE[store]() as uri:
        config = make_config(
            make_data(tmp_path / "data"), f"tracking.uri={uri}", "tracking.offline=never"
        )
        began = time.monotonic()
        with pytest.raises(RunError, match=f"^{uri} does not answer: .*offline=never") as error:
            demand_store(config.tracking.uri, config.tracking.offline)
        assert time.monotonic() - began < 8  # 5, and a busy machine
        assert in_words(error.value).isprintable()


def test_wait_for_a_store_that_hangs_is_short(
    output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's end waits a quarter of a minute, not its minute, for a server that says nothing."""
    assert uploader_process.PATIENCE_SECONDS + ANSWER_SECONDS <= 15
    monkeypatch.setattr(uploader_process, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(uploader_process, "ANSWER_SECONDS", 1)
    with listener() as uri:
        write_run(output_dir / "runs" / "a", uri)
        began = time.monotonic()
        outcome = wait_until_uploaded([output_dir / "runs" / "a"], timeout_seconds=600)
        assert time.monotonic() - began < 60  # 2, and a busy machine
    assert not outcome.is_complete
    assert str(outcome.reason).startswith(f"{uri} does not answer")


def test_wait_goes_on_while_a_store_answers(
    output_dir: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not given up while an uploader is slow to begin, or has another store to send to."""
    monkeypatch.setattr(uploader_process, "PATIENCE_SECONDS", 0)
    write_run(output_dir / "runs" / "a", uri)
    write_run(output_dir / "runs" / "b", "http://127.0.0.1:9")
    [a], [b] = uploads(output_dir / "runs" / "a"), uploads(output_dir / "runs" / "b")
    assert uploader_process.Stall().reason([a]) is None
    assert uploader_process.Stall().reason([a, b]) is None
    assert uploader_process.Stall().reason([b, a]) is None
    assert uploader_process.Stall().reason([b]) is not None
    monkeypatch.setattr(uploader_process, "PATIENCE_SECONDS", 600)
    assert uploader_process.Stall().reason([b]) is None


def test_hung_store_holds_up_no_other(
    output_dir: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request's time-out after the other store's turn came, its event logs are there."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with listener() as hung:
        for number in range(3):
            write_run(output_dir / "runs" / f"{number}", hung)
        write_run(output_dir / "runs" / "last", uri)
        uploader = Uploader(output_dir)
        assert uploader.poll()
        [last] = uploads(output_dir / "runs" / "last")
        assert last.is_complete
        reasons = [problem.reason for problem in read_problems(output_dir).values()]
        assert len(reasons) == 1
        assert reasons[0].startswith(hung)


def test_always_offline_sends_nothing_until_asked(tmp_path: Path, uri: str) -> None:
    """Neither its own command nor another's uploader sends a run that is kept back; `sync` does."""
    data, output_dir = make_data(tmp_path / "data"), tmp_path / "outputs"
    common = [f"output_dir={output_dir}", f"tracking.uri={uri}", "training.epochs=1"]
    common += ["evaluation.test=never"]
    kept = make_config(data, *common, "tracking.offline=always", "model.hidden_sizes=[4]")
    [result] = train([Request(kept)], load(data), QUIET)
    assert result.folder.status() == "FINISHED"
    assert is_offline(result.folder.path)
    write_run(output_dir / "runs" / "other", uri)
    uploader = Uploader(output_dir)
    assert uploader.poll()
    assert not uploader.poll()
    assert [run.is_complete for run in uploads(output_dir / "runs" / "other")] == [True]
    assert [run.state.run_id for run in uploads(result.folder.path)] == [""]
    assert sync(output_dir).is_complete
    assert_recorded_once(uri, output_dir)


def run_statuses(output_dir: Path) -> list[str]:
    """How far the runs below a folder have come, as they say themselves."""
    return [RunDir(path).status() for path in sorted((output_dir / "runs").glob("*"))]


def num_recorded(output_dir: Path) -> int:
    """How many runs a store has a part of."""
    folders = sorted((output_dir / "runs").glob("*"))
    states = [UploadState.read(each.destination) for run in folders for each in uploads(run)]
    return sum(state.offset > 0 for state in states)


def wait_for_another_run(output_dir: Path) -> None:
    """Until a run is trained to its end, and published, that was not when this began."""
    before = run_statuses(output_dir).count("FINISHED")
    wait_for(
        lambda: run_statuses(output_dir).count("FINISHED") > before,
        "a run that is finished while the server is away",
    )


def test_sweep_beside_a_server_that_hangs_dies_and_comes_back(
    server: Server, tmp_path: Path, output_dir: Path
) -> None:
    """Runs are trained to their end while it is stopped, and while it is dead; all arrives once."""
    data, first = make_data(tmp_path / "data"), output_dir / "runs" / "first"
    words = ["model.width=4,5,6,7,8,9", "training.epochs=40", "training.checkpoint_seconds=0"]
    words += ["data.validation_size=20", "training.batch_size=16", "training.threads=1"]
    words += ["sweep.processes=1", "evaluation.test=never", f"tracking.uri={server.uri}"]
    with fork_server() as processes, run_lock(folder_of(first)), EventLog(first) as event_log:
        event_log.destination(server.uri, EXPERIMENT)
        event_log.start("keeps the uploader awake", {}, {})
        event_log.status("RUNNING")
        start_uploader(output_dir)
        wait_for(lambda: is_all_sent(output_dir), "the uploader's first words")
        child = processes.start(["train", "-m", *data_overrides(data), *words], tmp_path)
        wait_for(lambda: num_recorded(output_dir) > 1, "a run of the sweep")
        server.hang()
        wait_for_another_run(output_dir)
        server.go_on()
        sent = num_recorded(output_dir)
        wait_for(lambda: num_recorded(output_dir) > sent, "another run of the sweep")
        server.die()
        wait_for_another_run(output_dir)
        server.start()
        event_log.status("FINISHED")
        assert child.wait() == 0, child.text()
    assert run_statuses(output_dir) == ["FINISHED"] * 7
    assert sync(output_dir).is_complete
    assert_recorded_once(server.uri, output_dir)


@contextmanager
def slow_door(server: Server, *, refuses: bool = False) -> Iterator[tuple[str, list[str]]]:
    """An address that hands everything on to the server, but the first wish for a run too late.

    That one waits until nobody listens any more and the run was looked for, in vain. Also gives
    the paths of what was asked.

    Args:
        refuses: it answers each wish for a run with 403 instead, and hands none on.
    """
    asked: list[str] = []
    looked_for = threading.Event()

    class Door(BaseHTTPRequestHandler):
        def hand_on(self) -> None:
            is_first = self.path.endswith("/runs/create") and self.path not in asked
            is_search = self.path.endswith("/runs/search")
            was_asked = any(path.endswith("/runs/create") for path in asked)
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if is_first and not refuses:
                looked_for.wait(60)
            if refuses and self.path.endswith("/runs/create"):
                words = {"error_code": "PERMISSION_DENIED", "message": "not for you"}
                status, answer = 403, json.dumps(words).encode()
            else:
                status, answer = self.server_says(body)
            if is_search and was_asked:
                looked_for.set()
            with suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def server_says(self, body: bytes) -> tuple[int, bytes]:
            line = HTTPConnection("127.0.0.1", server.port, timeout=60)
            kind = self.headers.get("Content-Type", "application/json")
            line.request(self.command, self.path, body, {"Content-Type": kind})
            with line.getresponse() as answer:
                return answer.status, answer.read()

        def log_message(self, *_: object) -> None:
            pass

    for verb in ("GET", "POST", "PUT", "PATCH"):
        setattr(Door, f"do_{verb}", Door.hand_on)
    door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=door.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.server_port}", asked
    finally:
        door.shutdown()
        thread.join()
        door.server_close()


def test_run_whose_making_is_answered_too_late_is_made_once(
    server: Server, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is lost, and the server makes it all the same: it is found, not made again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with slow_door(server) as (uri, asked):
        write_run(output_dir / "runs" / "a", uri, epochs=1)
        # another one each time, as after a kill
        wait_for(lambda: is_sent_after_a_pass(Uploader(output_dir)), "the run")
        assert len([path for path in asked if path.endswith("/runs/create")]) == 1
        assert sync(output_dir).is_complete
        assert_recorded_once(uri, output_dir)


def test_a_run_that_the_server_refuses_is_asked_for_again(server: Server, output_dir: Path) -> None:
    """At once, and the reason stays the server's own: no run can have been made."""
    with slow_door(server, refuses=True) as (uri, asked):
        write_run(output_dir / "runs" / "a", uri, epochs=1)
        for number in (1, 2):
            outcome = sync(output_dir)
            assert outcome.reason is not None
            assert "not for you" in outcome.reason
            assert len([path for path in asked if path.endswith("/runs/create")]) == number


def is_sent_after_a_pass(uploader: Uploader) -> bool:
    """One more pass; whether all is sent by now."""
    uploader.poll()
    return is_all_sent(uploader.output_dir)


def is_all_sent(output_dir: Path) -> bool:
    """Whether the stores have every event log."""
    folders = sorted((output_dir / "runs").glob("*"))
    return all(upload.is_complete for folder in folders for upload in uploads(folder))


@pytest.fixture(scope="module")
def uploader_processes() -> ForkServerContext:
    """Senders that start with mlflow imported."""
    context = get_context("forkserver")
    slow = ["mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"]
    context.set_forkserver_preload(["fashion_mnist.tracking.uploader", *slow])
    return context


def test_uploader_killed_at_random_moments(
    uploader_processes: ForkServerContext, output_dir: Path, uri: str
) -> None:
    """Killed at twenty moments while it sends a run that goes on: everything is there once."""
    random = Random(5)
    folder = output_dir / "runs" / "a"
    with run_lock(folder_of(folder)), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("a run", {"model.width": "512"}, {"host": "h"})
        event_log.status("RUNNING")
        say_more(event_log, 0)
        undisturbed = send_and_kill(uploader_processes, output_dir, after=600)
        for number in range(1, UPLOADER_KILLS + 1):
            say_more(event_log, number)
            send_and_kill(uploader_processes, output_dir, after=random.uniform(0, undisturbed))
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    assert_recorded_once(uri, output_dir)


def say_more(event_log: EventLog, number: int) -> None:
    """Ten epochs and three pictures."""
    for epoch in range(10):
        say_epoch(event_log, 10 * number + epoch + 1)
    for picture in range(3):
        draw(event_log, f"{number}/{picture}.png")


def send_and_kill(context: ForkServerContext, output_dir: Path, after: float) -> float:
    """Starts an uploader, kills it after so many seconds or when all is sent; how many it took."""
    uploader = context.Process(target=uploader_process.main, args=(output_dir,))
    began = time.monotonic()
    uploader.start()
    while time.monotonic() - began < after and not is_all_sent(output_dir):
        time.sleep(0.001)
    seconds = time.monotonic() - began
    uploader.kill()
    uploader.join()
    assert uploader.exitcode == -signal.SIGKILL
    return seconds


def folder_of(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_run(uri: str) -> Run:
    """The only run of the experiment, wherever it is."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    return run


def test_uploader_told_to_end_sends_final_states_first(
    uploader_processes: ForkServerContext, output_dir: Path, uri: str
) -> None:
    """SIGTERM to all processes of a job: what the run says then still arrives, and it leaves."""
    folder = output_dir / "runs" / "a"
    with run_lock(folder_of(folder)), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("a run", {}, {})
        event_log.status("RUNNING")
        uploader = uploader_processes.Process(target=uploader_process.main, args=(output_dir,))
        uploader.start()
        wait_for(lambda: is_all_sent(output_dir), "the first words")
        assert uploader.pid is not None
        os.kill(uploader.pid, signal.SIGTERM)
        say_epoch(event_log, 1)
        event_log.status("KILLED")
    uploader.join(60)
    assert uploader.exitcode == 0
    assert find_run(uri).info.status == "KILLED"
    assert_recorded_once(uri, output_dir)


def send_until_told(output_dir: Path, seconds: int) -> None:
    uploader_process.LAST_SECONDS = seconds
    uploader_process.main(output_dir)


def test_uploader_told_to_end_does_not_wait_for_a_hung_store(
    uploader_processes: ForkServerContext, output_dir: Path
) -> None:
    """After some seconds it ends in the middle of a request."""
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        connection.recv(1)
        asked.set()
        connection.recv(100_000)

    with listener(hang) as uri:
        write_run(output_dir / "runs" / "a", uri)
        uploader = uploader_processes.Process(target=send_until_told, args=(output_dir, 1))
        uploader.start()
        assert asked.wait(120)
        assert uploader.pid is not None
        os.kill(uploader.pid, signal.SIGTERM)
        uploader.join(12)  # a request's time-out is 15
        assert uploader.exitcode == -signal.SIGALRM


def test_run_deleted_while_it_is_sent_stays_deleted(output_dir: Path, uri: str) -> None:
    """Thrown away in the store, a run is left alone from then on, without a hang; others go on."""
    folder = output_dir / "runs" / "a"
    uploader = Uploader(output_dir)
    with run_lock(folder_of(folder)), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("a run", {}, {})
        event_log.status("RUNNING")
        say_epoch(event_log, 1)
        assert uploader.poll()
        deleted = find_run(uri)
        MlflowClient(uri).delete_run(deleted.info.run_id)
        say_epoch(event_log, 2)
        write_run(output_dir / "runs" / "other", uri)
        wait_for(lambda: not uploader.poll() and is_all_sent(output_dir), "the end of the sending")
        say_epoch(event_log, 3)
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    assert sync(output_dir).is_complete
    client = MlflowClient(uri)
    after = client.get_run(deleted.info.run_id)
    assert after.info.lifecycle_stage == "deleted"
    assert after.info.status == "RUNNING"
    experiment = deleted.info.experiment_id
    names = [run.info.run_name for run in client.search_runs([experiment])]
    assert names == ["größer"]
    assert len(client.search_runs([experiment], run_view_type=ViewType.ALL)) == 2
