"""`fmnist register` and `fmnist serve`: a real registry, and a real client over HTTP."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from fashion_mnist.analysis.networks import load_network
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.uploader import sync
from fashion_mnist.training.checkpoint import FORMAT, load_model, save_model
from tests.builders import QUIET, load, make_config, make_data
from tests.recordings import SMALL, Recordings, fmnist, fmnist_json

FMNIST = Path(sys.executable).with_name("fmnist")
JSON = {"Content-Type": "application/json"}


def register(*words: str) -> dict[str, Any]:
    return fmnist_json("register", *words)


def record_model(recordings: Recordings, *words: str) -> None:
    """What the run's own command does with tracking.model=always."""
    where = (f"tracking.uri={recordings.uri}", f"output_dir={recordings.folder / 'outputs'}")
    config = make_config(recordings.data, *where, *SMALL, *words, "tracking.model=always")
    [result] = train([Request(config, auto=False)], load(recordings.data), QUIET)
    assert result.was_known
    assert sync(recordings.folder / "outputs").is_complete


def test_other_weights_than_the_runs_are_not_registered(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was exchanged in the store is noticed before anybody is given it as the champion."""
    shutil.copytree(recordings.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    [weights] = Path("mlruns").glob(f"*/{recordings.run('alone').run_id}/**/*.safetensors")
    model = load_model(weights)
    model.weights["output.bias"] += 1
    save_model(weights, model)
    refused = fmnist("register", "alone", "--name", "exchanged")
    assert refused.exit_code == 1
    assert "other weights than the run says" in refused.stderr


def test_lost_files_have_a_remedy_that_works(tmp_path: Path) -> None:
    """Where all files of a run are gone, `fmnist sync` sends them again; of some, it is said."""
    data = make_data(tmp_path / "data")
    config = make_config(data, "tracking.uri=sqlite:///mlflow.db", *SMALL)
    train([Request(config, name="lost")], load(data), QUIET)
    assert fmnist("sync").exit_code == 0
    [root] = Path("mlruns").glob("*/*/artifacts")
    files = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in files} >= {"config", "model", "images"}
    shutil.rmtree(root)
    refused = fmnist("register", "lost")
    assert refused.exit_code == 1
    assert "fmnist sync sends them again" in refused.stderr
    assert fmnist("sync").exit_code == 0
    assert {path.relative_to(root) for path in root.rglob("*") if path.is_file()} == files
    assert register("lost")["version"] == "1"
    shutil.rmtree(root / "model")
    refused = fmnist("register", "lost")
    assert refused.exit_code == 1
    assert "rerun=true" in refused.stderr
    assert "tracking.model=always" not in refused.stderr


def test_networks_are_registered_and_compared(
    here: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each; the alias moves; a sweep's network is recorded first; then both are compared."""
    client, alone = MlflowClient(here.uri), here.run("alone")
    first = register("alone")
    assert (first["version"], first["before"], first["result"]) == ("1", None, None)
    assert register("alone") == first | {"before": register("alone")["before"]}
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///elsewhere.db")
    again = fmnist("register", "alone")
    assert "already" in again.stdout
    assert "MLFLOW_REGISTRY_URI is not read" in again.stderr
    assert not Path("elsewhere.db").exists()
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    other = here.run("model.width=4 seed=1")
    refused = fmnist("register", other.run_id)
    assert refused.exit_code == 1
    assert "tracking.model=always" in refused.stderr
    record_model(here, "model.width=4", "seed=1")
    second = register(other.run_id)
    assert second["version"] == "2"
    assert second["before"]["run_id"] == alone.run_id
    assert second["result"] == "not significantly different"  # by 20 images
    version = client.get_model_version_by_alias("fashion-mnist-mlp", "champion")
    assert version.description is not None
    assert other.name in version.description
    assert "validation accuracy 0." in version.description
    assert (version.version, version.run_id) in ((2, other.run_id), ("2", other.run_id))
    mlflow.set_tracking_uri(here.uri)
    model = mlflow.pyfunc.load_model("models:/fashion-mnist-mlp@champion")
    probabilities = model.predict(np.zeros((2, 6, 5), np.uint8))
    assert np.allclose(probabilities.sum(1), 1)
    shown = fmnist("register", "alone").stdout
    assert "version 2 no longer" in shown
    assert "not significantly different from the registered model so far" in shown


def test_the_alias_moves_only_after_the_comparison(
    here: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the comparison fails, the network that has the alias keeps it."""
    registered = register("alone", "--name", "kept")
    other = here.run("model.width=4 seed=1")
    if not here.reader().artifacts(other, "model"):
        record_model(here, "model.width=4", "seed=1")

    def fails(*_words: object) -> None:
        raise OSError("the store does not answer")

    monkeypatch.setattr("fashion_mnist.analysis.registered.compare_registered", fails)
    assert fmnist("register", other.run_id, "--name", "kept").exit_code == 1
    version = MlflowClient(here.uri).get_model_version_by_alias("kept", "champion")
    assert str(version.version) == registered["version"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["register", "widths"], 2, "is a sweep"),
        (["register", "diverged"], 2, "has no network"),
        (["register", "alone", "--name", "a/b'"], 2, "a model's name"),
        (["register", "alone", "--alias", "v1"], 2, "alias"),
        (["serve", "--name", "nobody"], 2, "fmnist register RUN"),
        (["serve", "aloen"], 2, "(alone)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_one_line(words: list[str], status: int, message: str) -> None:
    """And nothing is registered or served."""
    said = fmnist(*words)
    assert (said.exit_code, said.stdout) == (status, "")
    assert message in said.stderr
    assert said.stderr.count("\n") == 1


@contextmanager
def served(folder: Path, *words: str) -> Iterator[int]:
    """`fmnist serve` in a folder, on a free port; ended as a user ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(FMNIST), "serve", *words, "--port", str(port)]
    environment = os.environ | {"GOMP_SPINCOUNT": "0"}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as server:
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and server.poll() is None:
                try:
                    if ask(port, "GET", "/ping")[0] == 200:
                        break
                except OSError:
                    time.sleep(0.1)
            yield port
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
            assert server.stderr is not None
            said = server.stderr.read()
            assert not [word for word in (b"Traceback", b"Warning") if word in said]
        finally:
            server.kill()


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def name_evil_code(recordings: Recordings) -> None:
    """In the model that the store has of a run whose own folder is gone."""
    (recordings.folder / "outputs").rename(recordings.folder / "gone")
    (recordings.folder / "evil.py").write_text("open('MARKER', 'w')\n")
    root = Path(recordings.run("alone").artifact_uri.removeprefix("file://"))
    file = root / "model" / "MLmodel"
    text = file.read_text()
    loader = f"fashion_mnist_network_{FORMAT}"
    assert loader in text
    file.write_text(text.replace(loader, "evil"))


def test_the_champion_answers_and_refuses(here: Recordings) -> None:
    """The network's own probabilities; what are no images gets 4xx and a reason."""
    register("alone", "--name", "served")
    name_evil_code(here)
    model, _ = load_network(here.reader(), here.run("alone"))
    images = load(here.data).test_images.view(-1, 6, 5)
    rows = images.tolist()
    expected = model.probabilities(images)
    blank = json.dumps([[0] * 5] * 6)
    bad: dict[str, bytes | str] = {
        "a wrong shape": json.dumps({"inputs": [image[:5] for image in rows]}),
        "one image alone": json.dumps({"inputs": rows[0]}),
        "ragged": json.dumps({"inputs": [[*rows[0][:5], [0] * 4]]}),
        "NaN": f'{{"inputs": [{blank.replace("0", "NaN", 1)}]}}',
        "null": f'{{"inputs": [{blank.replace("0", "null", 1)}]}}',
        "text": f'{{"inputs": [{blank.replace("0", chr(34) + "x" + chr(34), 1)}]}}',
        "too bright": f'{{"inputs": [{blank.replace("0", "256", 1)}]}}',
        "a fraction": f'{{"instances": [{blank.replace("0", "0.5", 1)}]}}',
        "no images": '{"inputs": []}',
        "a table": '{"dataframe_split": {"columns": ["a"], "data": [[1]]}}',
        "a chat": '{"messages": [{"role": "user", "content": "hello"}]}',
        "null alone": "null",
        "no JSON": "no JSON",
        "no text": b"\xff\xfe\x00",
        "nothing": "",
    }
    with served(here.folder, "--name", "served") as port:

        def check_answer() -> None:
            body = json.dumps({"inputs": rows})
            status, said = ask(port, "POST", "/invocations", body, JSON)
            assert status == 200, said
            found = torch.tensor(json.loads(said)["predictions"])
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

        check_answer()
        assert not (here.folder / "MARKER").exists()
        for name, body in bad.items():
            status, said = ask(port, "POST", "/invocations", body, JSON)
            assert 400 <= status < 500, (name, status, said[:500])
            message = json.loads(said)["message"]
            assert len(message) > 10, (name, message)
            assert "Traceback" not in said.decode()
        good = json.dumps({"inputs": rows[:1]})
        for method, path, headers in (
            ("POST", "/invocations", {"Content-Type": "text/csv"}),
            ("POST", "/invocations", {"Content-Type": "text/plain"}),
            ("POST", "/ping", JSON),
            ("GET", "/invocations", {}),
            ("GET", "/", {}),
            ("GET", "/../mlflow.db", {}),
        ):
            assert 400 <= ask(port, method, path, good, headers)[0] < 500
        check_answer()
