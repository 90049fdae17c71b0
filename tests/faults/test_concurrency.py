"""Eight processes train and record at once: in one fresh database file, and behind one server.

Each trains a stack of eight small runs and has an uploader of its own, or shares one.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Barrier as ThreadBarrier

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy import make_url

from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import logged_dirs
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.recorded import ID_TAG
from fashion_mnist.tracking.server import mlflow_server, wait_until_ready
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.uploader_process import start_uploader, wait_until_uploaded
from tests.builders import QUIET, load, make_config, make_data
from tests.faults.postgres import free_port, missing, new_database, postgres
from tests.faults.processes import kill_uploaders
from tests.faults.records import assert_recorded_once

pytestmark = pytest.mark.long

NUM_PROCESSES, NUM_RUNS = 8, 4
PATIENCE_SECONDS = 600
EXPERIMENT = "fashion-mnist"
SMALL = (
    *("data.validation_size=20", "training.batch_size=16", "training.epochs=2", "model.width=8"),
    *("training.threads=1", "evaluation.test=never", "tracking.model=never"),
)


@dataclass(frozen=True)
class Task:
    """What a process does: train the runs of these seeds as a stack, and have them recorded."""

    data: Path
    outputs: Path
    uris: Sequence[str]  # stores, one after the other: the runs are trained for the first
    seeds: Sequence[int]

    def __call__(self, ready: Barrier) -> None:
        """Begin when all are there."""
        dataset = load(self.data)
        ready.wait(PATIENCE_SECONDS)
        for uri in self.uris:
            place = (f"output_dir={self.outputs}", f"tracking.uri={uri}")
            seeds = [f"seed={seed}" for seed in self.seeds]
            configs = [make_config(self.data, *SMALL, *place, seed) for seed in seeds]
            results = train([Request(config) for config in configs], dataset, QUIET)
            problems = {str(result.error) for result in results if result.error}
            assert all("trained by another process" in problem for problem in problems), problems


def do_at_once(context: ForkServerContext, tasks: Sequence[Task]) -> None:
    """Each in a process of its own; then all is sent."""
    ready = context.Barrier(len(tasks))
    processes = [context.Process(target=task, args=(ready,)) for task in tasks]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE_SECONDS)
        assert [process.exitcode for process in processes] == [0] * len(tasks)
    finally:
        for process in processes:
            process.kill()
    wait_until_all_is_sent([task.outputs for task in tasks])


def wait_until_all_is_sent(folders: Sequence[Path]) -> None:
    """As the program waits, but for longer. Then nothing of ours is left."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for folder in dict.fromkeys(folders):
        while not (
            outcome := wait_until_uploaded(logged_dirs(folder), PATIENCE_SECONDS)
        ).is_complete:
            assert time.monotonic() < deadline, outcome.reason
        kill_uploaders(folder)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that have imported what training needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.builders", "fashion_mnist.runs.trainer"])
    return context


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """An empty PostgreSQL database; an empty word where PostgreSQL is not installed."""
    if missing():
        yield ""
        return
    with postgres() as address:
        yield address


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server in front of it, if it is there."""
    if not database:
        yield ""
        return
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with chdir(tmp_path_factory.mktemp("server")), mlflow_server(database, port) as process:
        wait_until_ready(process, f"{address}/health")
        yield address


@dataclass(frozen=True)
class Crowd:
    """What eight processes left that had an output folder each."""

    folders: Sequence[Path]
    sqlite: str
    server: str  # empty where there is none


@pytest.fixture(scope="module")
def crowd(
    context: ForkServerContext, data: Path, server: str, tmp_path_factory: pytest.TempPathFactory
) -> Crowd:
    """They record in a database file that nobody has made, and with the server."""
    place = tmp_path_factory.mktemp("crowd")
    sqlite = f"sqlite:///{place}/store/mlflow.db"
    uris = [sqlite, server] if server else [sqlite]
    seeds = range(NUM_PROCESSES * NUM_RUNS)
    tasks = [
        Task(data, place / f"outputs{k}", uris, seeds[k * NUM_RUNS : (k + 1) * NUM_RUNS])
        for k in range(NUM_PROCESSES)
    ]
    do_at_once(context, tasks)
    return Crowd([task.outputs for task in tasks], sqlite, server)


def all_runs(uri: str) -> list[Run]:
    """Every run of a store."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def assert_all_finished(runs: Sequence[Run], count: int) -> None:
    """As many runs as were trained, each finished and there once."""
    assert len(runs) == count
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags[ID_TAG] for run in runs}) == count


def assert_no_lock_error(folders: Sequence[Path]) -> None:
    """No uploader ever found the database locked."""
    for folder in folders:
        log = (folder / "uploader.log").read_text()
        assert "locked" not in log, log


def test_eight_processes_on_a_fresh_database_file(crowd: Crowd) -> None:
    """All 8 × 4 runs are recorded, each once and whole; the database is never locked."""
    assert_all_finished(all_runs(crowd.sqlite), NUM_PROCESSES * NUM_RUNS)
    for folder in crowd.folders:
        assert_recorded_once(crowd.sqlite, folder)
    assert_no_lock_error(crowd.folders)


def test_eight_processes_on_a_server_with_postgresql(crowd: Crowd) -> None:
    """All 8 × 4 runs are recorded, each once, and the same as in the database file."""
    if not crowd.server:
        pytest.skip(missing())
    runs = all_runs(crowd.server)
    assert_all_finished(runs, NUM_PROCESSES * NUM_RUNS)
    assert weights(runs) == weights(all_runs(crowd.sqlite))
    assert_recorded_once(crowd.server, crowd.folders[0])
    assert_no_lock_error(crowd.folders)


def weights(runs: Sequence[Run]) -> dict[str, str]:
    """What each run became, by its event log."""
    return {run.data.tags[ID_TAG]: run.data.tags["weights_sha256"] for run in runs}


def test_eight_processes_in_one_output_folder(
    context: ForkServerContext, data: Path, tmp_path: Path
) -> None:
    """They share an uploader and a fresh database; a run that all want is trained by one."""
    uri, outputs = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "outputs"
    wanted_by_all = NUM_PROCESSES * NUM_RUNS
    tasks = [
        Task(data, outputs, [uri], [*range(k * NUM_RUNS, (k + 1) * NUM_RUNS), wanted_by_all])
        for k in range(NUM_PROCESSES)
    ]
    do_at_once(context, tasks)
    assert_all_finished(all_runs(uri), NUM_PROCESSES * NUM_RUNS + 1)
    assert_recorded_once(uri, outputs)
    assert_no_lock_error([outputs])


def test_all_find_the_experiment_that_one_of_them_makes(crowd: Crowd) -> None:
    """Asked for at the same instant, a new experiment is made once, in a file and by a server."""
    for uri in filter(None, (crowd.sqlite, crowd.server)):
        stores = [Store(uri) for _ in range(NUM_PROCESSES)]
        ready = ThreadBarrier(NUM_PROCESSES)

        def ask(store: Store, name: str, ready: ThreadBarrier = ready) -> str:
            ready.wait(PATIENCE_SECONDS)
            return store.experiment(name)

        with ThreadPoolExecutor(NUM_PROCESSES) as pool:
            for number in range(5):
                name = f"new-{number}"
                found = list(pool.map(ask, stores, [name] * NUM_PROCESSES))
                assert len(set(found)) == 1


def test_two_uploaders_in_a_fresh_postgresql_database(
    crowd: Crowd, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server between: they make its tables at the same time, and record each run once."""
    if not database:
        pytest.skip(missing())
    whole = make_url(new_database(database, "direct"))
    # as a user gives it: an event log has no password
    monkeypatch.setenv("PGPASSWORD", str(whole.password))
    address = str(whole._replace(password=None))  # set() takes None for no change
    folders = crowd.folders[:2]
    for folder in folders:
        for run in logged_dirs(folder)[:3]:
            with EventLog(run) as event_log:
                event_log.destination(address, EXPERIMENT)
    for folder in folders:
        start_uploader(folder)
    wait_until_all_is_sent(folders)
    assert_all_finished(all_runs(address), 6)
    for folder in folders:
        assert_recorded_once(address, folder)
