"""Runs, searches and servers of other people: what is in them leads nowhere and runs nothing."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from fashion_mnist.cli.app import app
from fashion_mnist.cli.console import summarize_run
from fashion_mnist.config.messages import printable
from fashion_mnist.runs.events import FORMAT, START, make_event
from fashion_mnist.runs.events import LOG_FILE as EVENTS
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.sweeps.axes import Axis
from fashion_mnist.sweeps.search import LOG_FILE, Search
from fashion_mnist.tracking import reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.saved_views import VERSION_TAG
from fashion_mnist.tracking.server import say_links, ui
from fashion_mnist.tracking.uploader import sync
from tests.builders import data_overrides, make_data
from tests.faults.test_hostile_names import ESCAPES, HTML, STEERING


@pytest.fixture
def hostile_run(tmp_path: Path) -> Path:
    """A finished run of somebody else, whose event log names files and stores of others."""
    folder = tmp_path / "outputs/runs/0123456789abcdef-1"
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts/link.txt").symlink_to(secret)
    (folder / "artifacts/good.txt").write_text("good")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    paths = [
        "../../../../secret.txt",
        str(secret),
        "link.txt",
        "good.txt",
        "../events.jsonl",
        "",
        ".",
    ]
    said: list[dict[str, Any]] = [
        {"kind": "log", "id": "0" * 32, "format": FORMAT},
        {"kind": "destination", "uri": uri, "experiment": "../../x"},
        {"kind": "destination", "uri": "sqlite:///relative.db", "experiment": "x"},
        {"kind": "destination", "uri": f"file://{tmp_path}/store", "experiment": "x"},
        {"kind": "destination", "uri": "sqlite:////" + "x" * 5000, "experiment": "x"},
        {"kind": "start", "name": f"../../{HTML}\x1b[2J\n", "params": {"p": HTML}, "tags": {}},
        *({"kind": "artifact", "path": path} for path in paths),
        *({"kind": "model", "path": path} for path in paths),
        *({"kind": "image", "key": "../../k", "path": path} for path in paths[:3]),
        {"kind": "metrics", "step": 0, "values": {"test/accuracy": 0.5}},
        {"kind": "status", "status": "FINISHED"},
    ]
    mark = START
    with (folder / EVENTS).open("wb") as file:
        for content in said:
            event, line = make_event({"time": 1_700_000_000_000, **content}, mark)
            mark = event.mark
            file.write(line)
    return folder


def test_names_of_a_run_lead_nowhere_else(hostile_run: Path, tmp_path: Path) -> None:
    """Nothing outside the run's folder is sent, nothing outside the store's is written."""
    outcome = sync(tmp_path / "outputs")
    assert outcome.is_complete, outcome.reason
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [experiment] = client.search_experiments(filter_string="name = '../../x'")
    [run] = client.search_runs([experiment.experiment_id])
    sent = [path for path in (tmp_path / "mlruns").rglob("*") if path.is_file()]
    assert [path.name for path in sent] == ["good.txt"]
    assert not [path for path in sent if "SECRET" in path.read_text()]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["good.txt"]
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"outputs", "secret.txt", "mlflow.db", "mlflow.db.lock", "mlruns"}
    words = printable(summarize_run(RunDir(hostile_run), note="", where=[]))
    assert not STEERING.search(words)


class Impostor(BaseHTTPRequestHandler):
    """A server that is no MLflow."""

    answer = b""  # to what is looked for
    first_answer = b""  # to the question whether MLflow is there

    def do_GET(self) -> None:
        """Is MLflow there?"""
        self._say(self.first_answer)

    def do_POST(self) -> None:
        """Which experiments are there?"""
        self._say(self.answer)

    def _say(self, answer: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Not to be seen."""


@pytest.fixture(scope="module")
def impostor() -> Iterator[str]:
    """Its address."""
    with HTTPServer(("127.0.0.1", 0), Impostor) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b"[]", b"null", b'{"experiments": 5}', b'{"experiments": [5]}', b'{"a":' * 9999],
)
def test_a_server_that_is_none_is_said_so(answer: bytes, impostor: str) -> None:
    """`fmnist ui` ends with one line, whatever the address answers."""
    Impostor.first_answer = answer
    with pytest.raises(OSError, match="not as MLflow answers"):
        ui(impostor, say=lambda _line: None)
    Impostor.first_answer, Impostor.answer = b'{"error_code": "NONE"}', answer
    with suppress(OSError):  # or there are no experiments in what it says
        ui(impostor, say=lambda _line: None)


def test_experiments_of_a_server_are_shown_harmlessly(impostor: str) -> None:
    """Names and ids that a server tells are written out, and no link is built of anything else."""
    tags = [{"key": VERSION_TAG, "value": "1"}]
    # what is no text at all MLflow's client refuses itself
    names = [text for text in ESCAPES.values() if text == text.encode(errors="ignore").decode()]
    named = [{"name": text, "experiment_id": text, "tags": tags} for text in names]
    Impostor.first_answer = b'{"error_code": "NONE"}'
    Impostor.answer = json.dumps({"experiments": [*named, {"name": "x"}]}).encode()
    said: list[str] = []
    say_links(impostor, impostor, said.append)
    assert len(said) == 3 * len(named)
    assert not STEERING.search("".join(said))


@pytest.mark.parametrize(("num_folders", "num_files"), [(1, 1), (3, 0), (0, 500)])
def test_files_of_a_server_are_listed_to_a_bound(
    num_folders: int, num_files: int, impostor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that answers with folders in folders without end, or with a folder of too many files."""
    monkeypatch.setattr(reader, "MOST_FILES", 100)
    listed = [{"path": f"folder{n}", "is_dir": True} for n in range(num_folders)]
    listed += [{"path": f"{n}.txt", "is_dir": False, "file_size": 1} for n in range(num_files)]
    Impostor.first_answer = json.dumps({"error_code": "NONE", "files": listed}).encode()
    run = RecordedRun("a", "a", "FINISHED", "x", None, None, {}, {}, {}, "mlflow-artifacts:/1/a")
    files = reader.Reader(impostor).artifacts(run)
    assert len(files) == 100 * num_files // len(listed)  # 100 things, folders among them
    assert all(file.num_bytes == 1 for file in files)


SET_TRIAL_PARAM, SET_TRIAL_SYSTEM_ATTR = 5, 9  # of Optuna's journal


class MakesFolder:
    """Unpickled, it is a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
def test_a_search_of_another_user_is_not_unpickled(sampler: str, tmp_path: Path) -> None:
    """Optuna's CMA-ES would load a pickle from a trial's attributes: no sampler of ours does."""
    axes = [Axis(("a",), low=0.0, high=1.0), Axis(("b",), low=0.0, high=1.0)]

    def search(n_trials: int) -> int:
        """Ask and tell until there are so many trials; how many were new."""
        opened = Search(
            tmp_path,
            axes,
            sampler=sampler,
            objectives=["final/val_accuracy"],
            pruner="none",
            seed=0,
            n_trials=n_trials,
            num_epochs=1,
        )
        count = 0
        while trials := opened.ask(4):
            count += len(trials)
            for trial in trials:
                opened.tell(trial.number, [float(trial.values["a"])])
        return count

    assert search(12) == 12
    file, marker = tmp_path / LOG_FILE, tmp_path / "MARKER"
    evil = {"cma:optimizer:0": pickle.dumps(MakesFolder(str(marker))).hex()}
    lines = []
    for line in file.read_text().splitlines(keepends=True):
        lines.append(line)
        event = json.loads(line)
        if event["op_code"] == SET_TRIAL_PARAM:  # the trial is not yet told
            event = {key: event[key] for key in ("worker_id", "trial_id")}
            event |= {"op_code": SET_TRIAL_SYSTEM_ATTR, "system_attr": evil}
            lines.append(json.dumps(event) + "\n")
    file.write_text("".join(lines))
    assert file.read_text().count("cma:optimizer") == 24
    assert search(16) == 4
    assert not marker.exists()


HOOK = """
import json, os, sys
def note(event, *words):
    with open(os.environ["CONNECTIONS"], "a") as file:
        file.write(json.dumps([event, *map(repr, words)]) + "\\n")
def hook(event, args):
    if event in ("socket.connect", "socket.sendto"):
        note(event, args[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        note(event, args[0])
note("begun")
sys.addaudithook(hook)
"""
AT_HOME = re.compile(
    r"\('(127\.\d+\.\d+\.\d+|::1|localhost)', .*|b?'/.*"
)  # or a socket in a folder


def test_no_host_is_told_of_a_training(tmp_path: Path) -> None:
    """Training, recording in sqlite and sending open no connection, in any of the processes."""
    hooks, log = tmp_path / "hooks", tmp_path / "connections.txt"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    data = data_overrides(make_data(tmp_path / "data"))
    small = ["data.validation_size=20", "training.batch_size=16", "training.epochs=1"]
    quiet = {"CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"}  # where MLflow reports nothing anyway
    environment = {key: value for key, value in os.environ.items() if key not in quiet}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("fmnist")), "train", *data, *small],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(hooks), "CONNECTIONS": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("#/experiments/.*/runs/", done.stdout)  # it is in the store
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert calls.count(["begun"]) >= 2  # training and sending were both listened to
    assert not [call for call in calls if call != ["begun"] and not AT_HOME.fullmatch(call[1])]


def test_commands_say_errors_harmlessly(tmp_path: Path) -> None:
    """A file name with escapes, in the message of a command."""
    folder = tmp_path / "a\x1b[2Jb"
    folder.write_text("")
    result = CliRunner().invoke(app, ["ui", "--uri", f"sqlite:///{folder}/mlflow.db"])
    assert result.exit_code == 1
    assert not STEERING.search(result.output)
    assert "\\x1b[2J" in result.output
