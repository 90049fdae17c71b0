"""A tracking server for many machines: PostgreSQL, files through the server, logins.

Where PostgreSQL is not installed the runs are in a file, and the rest is the same.
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from urllib.error import HTTPError
from urllib.request import Request as WebRequest
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from fashion_mnist.cli.app import app
from fashion_mnist.config.messages import RunError
from fashion_mnist.maintenance.doctor import check_tracking
from fashion_mnist.tracking.checks import PASSWORD, USERNAME, demand_store, login_headers
from fashion_mnist.tracking.server import mlflow_server, wait_until_ready
from fashion_mnist.tracking.upload_state import Outcome, read_problems
from fashion_mnist.tracking.uploader import Uploader, sync
from tests.builders import data_overrides, make_config, make_data
from tests.faults.event_logs import EXPERIMENT, write_run
from tests.faults.postgres import free_port, missing, postgres
from tests.faults.processes import start_console_script
from tests.faults.records import assert_recorded_once

pytestmark = pytest.mark.long

NUM_CLIENTS = 20
PATIENCE_SECONDS = 240
# long and odd enough to be found wherever they might be
CHIEF, ANN, WRONG = "chief-9f3a71c05e", "ann-4c81e0b7d2", "wrong-77aa0e19c3"


@dataclass(frozen=True)
class Team:
    """A server in use."""

    uri: str
    folder: Path  # where its files are


def log_in(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    """From here on this is who we are."""
    monkeypatch.setenv(USERNAME, name)
    monkeypatch.setenv(PASSWORD, password)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The server of `docs/tracking-server.md`, with a user besides its administrator."""
    place = tmp_path_factory.mktemp("team")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        store = f"sqlite:///{place}/mlflow.db" if missing() else stack.enter_context(postgres())
        logins = f"sqlite:///{place}/logins.db" if missing() else store
        patch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(place / "logins.ini"))
        patch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", CHIEF)
        patch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "x" * 32)
        lines = ["[mlflow]", "default_permission = EDIT", f"database_uri = {logins}"]
        lines += ["admin_username = admin", "auth_cache_ttl_seconds = 60"]
        (place / "logins.ini").write_text("\n".join(lines).replace("%", "%%"))
        patch.chdir(place)
        port = free_port()
        uri = f"http://127.0.0.1:{port}"
        options = ["--artifacts-destination", f"{place}/artifacts", "--app-name", "basic-auth"]
        process = stack.enter_context(mlflow_server(store, port, options))
        wait_until_ready(process, f"{uri}/health")
        log_in(patch, "admin", CHIEF)
        tell(uri, "users/create", username="ann", password=ANN)
        patch.undo()
        yield Team(uri, place)
        os.killpg(process.pid, signal.SIGKILL)  # gently, it would wait for clients to hang up


def tell(uri: str, what: str, **content: object) -> None:
    """A request to the server, of whoever is logged in."""
    headers = {"Content-Type": "application/json", **login_headers()}
    body = json.dumps(content).encode()
    urlopen(WebRequest(f"{uri}/api/2.0/mlflow/{what}", body, headers), timeout=30).close()


@pytest.fixture
def _ann(monkeypatch: pytest.MonkeyPatch) -> None:
    """We are a user whom the server knows."""
    log_in(monkeypatch, "ann", ANN)


@pytest.mark.usefixtures("_ann")
def test_twenty_clients_at_once(team: Team, tmp_path: Path) -> None:
    """The runs of all are there, whole and once; their files came through the server."""
    folders = [tmp_path / f"{number}" for number in range(NUM_CLIENTS)]
    for folder in folders:
        write_run(folder / "runs" / "a", team.uri, epochs=1)
    ready = Barrier(NUM_CLIENTS)

    def send(output_dir: Path) -> Outcome:
        ready.wait(PATIENCE_SECONDS)
        return sync(output_dir)

    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        for outcome in clients.map(send, folders):
            assert outcome.is_complete, outcome.reason
    for folder in folders:
        assert_recorded_once(team.uri, folder)
    experiment = MlflowClient(team.uri).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    assert len(list(team.folder.glob("artifacts/**/validation/*.png"))) >= NUM_CLIENTS


def train_at(uri: str, data: Path, *more: str) -> list[str]:
    """The words that train a small network and record it there."""
    small = ["model.width=4", "training.epochs=1", "training.threads=1", "evaluation.test=never"]
    sizes = ["data.validation_size=20", "training.batch_size=16"]
    return ["train", *data_overrides(data), *small, *sizes, f"tracking.uri={uri}", *more]


def test_wrong_password_costs_nothing_but_the_recording(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is trained and kept, one line says why it is not sent; the right one sends it."""
    log_in(monkeypatch, "ann", WRONG)
    data, outputs = make_data(tmp_path / "data"), tmp_path / "outputs"
    child = start_console_script(train_at(team.uri, data), tmp_path)
    assert child.wait() == 0, child.text()
    [line] = [line for line in child.text().splitlines() if "not sent yet" in line]
    assert f"{team.uri} refuses the user 'ann' with this password" in line
    assert "fmnist sync" in line
    assert "Traceback" not in child.text()
    # at once: the uploader with the wrong password must not be in the way
    log_in(monkeypatch, "ann", ANN)
    outcome = sync(outputs)
    assert outcome.is_complete, outcome.reason
    assert_recorded_once(team.uri, outputs)
    for password in (WRONG, ANN):
        assert not files_with(password, tmp_path)


def files_with(words: str, folder: Path) -> list[Path]:
    """The files below a folder in which these words are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if words.encode() in path.read_bytes()]


def test_no_login_is_asked_for(team: Team, tmp_path: Path) -> None:
    """Without one the reason names MLflow's two variables; no second run is tried in vain."""
    for name in ("a", "b"):
        write_run(tmp_path / "outputs" / "runs" / name, team.uri, epochs=1)
    outcome = sync(tmp_path / "outputs")
    assert not outcome.is_complete
    assert outcome.reason == f"{team.uri} wants a login: set {USERNAME} and {PASSWORD}"
    assert len(read_problems(tmp_path / "outputs")) == 1


def test_uploader_with_the_wrong_login_leaves(team: Team, tmp_path: Path) -> None:
    """It does not linger: the next one may have the right login."""
    write_run(tmp_path / "outputs" / "runs" / "a", team.uri, epochs=1)
    began = time.monotonic()
    Uploader(tmp_path / "outputs").stay()
    assert time.monotonic() - began < 4  # it lingers for five seconds where all is well


def test_offline_never_wants_the_right_login(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tracking.offline=never` is refused before anything is trained."""
    words = (f"tracking.uri={team.uri}", "tracking.offline=never")
    config = make_config(make_data(tmp_path / "data"), *words)
    with pytest.raises(RunError, match=f"{team.uri} wants a login"):
        demand_store(config.tracking.uri, config.tracking.offline)
    log_in(monkeypatch, "ann", WRONG)
    with pytest.raises(RunError, match="refuses the user 'ann'"):
        demand_store(config.tracking.uri, config.tracking.offline)
    log_in(monkeypatch, "ann", ANN)
    demand_store(config.tracking.uri, config.tracking.offline)


@pytest.mark.parametrize("words", [["runs"], ["leaderboard"], ["ui"], ["show", "latest"]])
def test_reading_without_a_login_is_one_line(team: Team, words: Sequence[str]) -> None:
    """Commands that read say that a login is wanted, with status 1."""
    result = CliRunner().invoke(app, [*words, "--uri", team.uri])
    assert result.exit_code == 1, result.output
    assert result.stderr == f"{team.uri} wants a login: set {USERNAME} and {PASSWORD}\n"


@pytest.mark.usefixtures("_ann")
def test_reading_with_a_login(team: Team, tmp_path: Path) -> None:
    """It is the same as without logins."""
    write_run(tmp_path / "runs" / "a", team.uri, epochs=1)
    assert sync(tmp_path).is_complete
    result = CliRunner().invoke(app, ["runs", "--uri", team.uri, "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["runs"]
    pages = CliRunner().invoke(app, ["ui", "--uri", team.uri])
    assert f"{team.uri}/#/experiments/" in pages.stdout


def test_doctor_tells_of_a_refused_login(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers, and runs would not be recorded all the same."""
    [refused] = check_tracking(team.uri, list)
    assert (refused.state, "wants a login" in refused.words) == ("error", True)
    log_in(monkeypatch, "ann", ANN)
    [let_in] = check_tracking(team.uri, list)
    assert let_in.state == "OK"


def test_login_from_mlflows_file(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~/.mlflow/credentials` does as well: nodes of a cluster share a home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    lines = ["[mlflow]", f"{USERNAME.lower()} = ann", f"{PASSWORD.lower()} = {ANN}"]
    (tmp_path / ".mlflow" / "credentials").write_text("\n".join(lines))
    assert login_headers()
    assert CliRunner().invoke(app, ["ui", "--uri", team.uri]).exit_code == 0


@pytest.mark.usefixtures("_ann")
def test_others_runs_are_not_deleted(team: Team) -> None:
    """Users add to each other's experiments; only an experiment's owner can throw it away."""
    with pytest.MonkeyPatch.context() as patch:
        log_in(patch, "admin", CHIEF)
        own = MlflowClient(team.uri).create_experiment("the chief's")
    MlflowClient(team.uri).create_run(own)
    with pytest.raises(HTTPError, match="403"):
        tell(team.uri, "experiments/delete", experiment_id=own)
