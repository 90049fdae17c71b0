"""Event logs in real MLflow stores: everything arrives, once, whoever is killed on the way."""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from threading import Thread
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from PIL import Image

from fashion_mnist.config.store_uri import absolute_uri, without_password
from fashion_mnist.models.network import Architecture, build_mlp
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.tracking.checks import check_store, root_cause, schema_problem
from fashion_mnist.tracking.links import HOW_TO_RESTORE, pages, run_link, show_command
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE
from fashion_mnist.tracking.saved_views import sweep_view, view_links
from fashion_mnist.tracking.server import wait_for_end
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.upload_state import (
    Outcome,
    Problems,
    Upload,
    UploadState,
    read_problems,
    uploads,
)
from fashion_mnist.tracking.uploader import Uploader, sync
from fashion_mnist.tracking.uploader_process import (
    MODULE,
    start_uploader,
    uploader_lock,
    wait_until_uploaded,
)
from fashion_mnist.tracking.watched_log import WatchedLog, end_abandoned
from fashion_mnist.training.checkpoint import Model, save_model

EXPERIMENT = "fashion-mnist"


@pytest.fixture
def output_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "outputs"
    signal_uploader(tmp_path / "outputs", signal.SIGKILL)


def make_folder(output_dir: Path, name: str = "run") -> Path:
    folder = output_dir / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def begin(folder: Path, uri: str, experiment: str = EXPERIMENT) -> EventLog:
    """An event log of a run that is under way."""
    event_log = EventLog(folder)
    event_log.destination(uri, experiment)
    event_log.start("a run", {"model.width": "512"}, {"fingerprint": "f0"})
    event_log.status("RUNNING")
    return event_log


def write_whole_run(folder: Path, uri: str) -> str:
    """An event log with an event of every kind; returns its id."""
    with run_lock(folder), begin(folder, uri) as event_log:
        for name in ("train", "test"):
            event_log.dataset(
                "fashion-mnist",
                digest=f"{name}-1",
                context=name,
                source="data",
                num_examples=3,
                image_shape=[2, 2],
            )
        for epoch in (1, 2, 3):
            event_log.metrics(
                epoch, {"val/loss": 1 / epoch, "odd": (math.nan, math.inf, 0)[epoch - 1]}
            )
        event_log.tags({"weights_sha256": "w0"})
        picture = event_log.artifacts / "validation" / "confusion_matrix.png"
        picture.parent.mkdir()
        Image.new("RGB", (900, 800), "red").save(picture)
        event_log.artifact("validation/confusion_matrix.png")
        event_log.image("validation/confusion_matrix", "validation/confusion_matrix.png")
        save_model(folder / "model.safetensors", small_model())
        event_log.model("model.safetensors")
        event_log.status("FINISHED")
        return event_log.state.id


def small_model() -> Model:
    weights = {"0.weight": torch.eye(3, 4), "0.bias": torch.zeros(3)}
    architecture = Architecture(num_inputs=4, hidden_sizes=(), num_classes=3)
    names = dict(zip(architecture_keys(architecture), weights.values(), strict=True))
    return Model(architecture, names, ("a", "b", "c"), (2, 2), mean=0.0, std=1.0)


def architecture_keys(architecture: Architecture) -> list[str]:
    return list(build_mlp(architecture).state_dict())


def find_runs(uri: str, experiment: str = EXPERIMENT) -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], run_view_type=ViewType.ALL))


def find_only_run(uri: str, experiment: str = EXPERIMENT) -> Run:
    (run,) = find_runs(uri, experiment)
    return run


def list_artifacts(uri: str, run_id: str, folder: str = "") -> list[str]:
    """Every file below the folder, by path."""
    mlflow.set_tracking_uri(uri)  # where MLflow's client looks for logged models, whatever it is of
    found = []
    for item in MlflowClient(uri).list_artifacts(run_id, folder or None):
        found += list_artifacts(uri, run_id, item.path) if item.is_dir else [item.path]
    return sorted(found)


def history(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    return [
        (point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, key)
    ]


def assert_whole_once(uri: str, log_id: str) -> None:
    """What `write_whole_run` said is in the store, each thing once."""
    run = find_only_run(uri)
    run_id = run.info.run_id
    assert run.data.tags["mlflow.fmnist.id"] == log_id
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    assert run.data.params == {"model.width": "512"}
    assert (run.data.tags["fingerprint"], run.data.tags["weights_sha256"]) == ("f0", "w0")
    assert history(uri, run_id, "val/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    (_, nan), infinity, zero = history(uri, run_id, "odd")
    assert math.isnan(nan)
    assert (infinity, zero) == ((2, sys.float_info.max), (3, 0.0))
    assert run.inputs is not None
    inputs = [(each.dataset.digest, each.tags[0].value) for each in run.inputs.dataset_inputs]
    assert sorted(inputs) == [("test-1", "test"), ("train-1", "train")]
    files = list_artifacts(uri, run_id)
    assert "validation/confusion_matrix.png" in files
    assert len([file for file in files if file.startswith("images/")]) == 2
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert "model/MLmodel" in files
    assert not [file for file in files if file.endswith((".pkl", ".pt", ".pth", ".pt2"))]
    [model] = MlflowClient(uri).search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, model.status) == (run_id, "READY")
    assert run.outputs is not None
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert run.data.tags["mlflow.source.name"].startswith("fmnist")
    assert run.data.tags["mlflow.user"]


def test_everything_arrives_and_repeating_it_all_adds_nothing(output_dir: Path, uri: str) -> None:
    """A run of every kind of event is complete in the store, also when all is sent again."""
    folder = make_folder(output_dir)
    log_id = write_whole_run(folder, uri)
    assert sync(output_dir).is_complete
    assert_whole_once(uri, log_id)
    for path in (folder / "uploads").iterdir():
        path.unlink()
    assert not is_sent(folder)
    outcome = sync(output_dir)
    assert outcome.is_complete
    assert outcome.reason is None
    assert_whole_once(uri, log_id)
    assert outcome.uploads[0].state.run_id == find_only_run(uri).info.run_id


def test_model_loads_from_the_store_without_pickle(
    output_dir: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runs:/RUN_ID/model` takes raw uint8 images and gives probabilities; other shapes fail."""
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    write_whole_run(make_folder(output_dir), uri)
    sync(output_dir)
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"runs:/{find_only_run(uri).info.run_id}/model")
    images = np.array([[[0, 255], [0, 0]], [[0, 0], [0, 255]]], dtype=np.uint8)
    probabilities = model.predict(images)
    # weights are the first three rows of the 4 x 4 identity: logits (0, 1, 0) and (0, 0, 0)
    first = np.exp([0, 1, 0]) / np.exp([0, 1, 0]).sum()
    np.testing.assert_allclose(probabilities, [first, [1 / 3] * 3], atol=1e-6)
    assert probabilities.dtype == np.float32
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(np.zeros((1, 3, 3), dtype=np.uint8))


def processes() -> ForkServerContext:
    """Processes that start with mlflow imported, and without this one's locks and stores."""
    context = get_context("forkserver")
    slow = ["mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"]
    context.set_forkserver_preload(["fashion_mnist.tracking.uploader", *slow])
    return context


class DyingStore(Store):
    """Ends its process in the given way when the nth thing is there, before that is noted down."""

    def __init__(self, uri: str, nth: int, end: Callable[[], None]) -> None:
        super().__init__(uri)
        self.until_death = nth
        self.end = end

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith(("create_", "log", "set_", "save_")):
            return found

        def call(*args: Any, **options: Any) -> Any:
            result = found(*args, **options)
            self.until_death -= 1
            if self.until_death == 0:
                self.end()
            return result

        return call


def kill_this() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def send_and_die(output_dir: Path, uri: str, nth: int) -> None:
    uploader = Uploader(output_dir)
    uploader._stores[uri] = DyingStore(uri, nth, kill_this)
    uploader.poll()


@pytest.mark.long
def test_uploader_killed_anywhere_and_restarted_sends_each_thing_once(
    output_dir: Path, uri: str
) -> None:
    """SIGKILL after a write, again and again: the next uploader goes on, nothing is there twice."""
    folder = make_folder(output_dir)
    log_id = write_whole_run(folder, uri)
    context = processes()
    for nth in (1, 2, 4, 5, 7):  # of the writes that a life makes
        process = context.Process(target=send_and_die, args=(output_dir, uri, nth))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        forget_upload_states(output_dir)
    assert sync(output_dir).is_complete
    assert_whole_once(uri, log_id)


def forget_upload_states(output_dir: Path) -> None:
    for path in output_dir.glob("*/*/uploads/*.json"):
        path.unlink()


def write_sweep(output_dir: Path, name: str, uri: str) -> str:
    """A finished sweep with a view; returns its event log's id."""
    folder = output_dir / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start(name, {}, {"sweep": name})
        event_log.view(f"sweep-{name}", name, ["model.width"], ["model.width"], SCORE)
        event_log.status("FINISHED")
        return event_log.state.id


def write_child(output_dir: Path, name: str, uri: str, *parents: str) -> str:
    """A finished run wanted under each of these sweeps in turn; returns its event log's id."""
    folder = make_folder(output_dir, name)
    with run_lock(folder), EventLog(folder) as event_log:
        for number, parent in enumerate(parents):
            event_log.destination(uri, EXPERIMENT, parent=parent, name=f"{name}{number}")
        event_log.start(name, {"model.width": "8"}, {})
        event_log.metrics(1, {"val/loss": 0.5})
        event_log.metrics(0, {"final/val_accuracy": 0.75})
        event_log.status("FINISHED")
        return event_log.state.id


def runs_by_name(uri: str) -> dict[str, Run]:
    """Every run by its name; a name that two runs bear is an error."""
    runs = find_runs(uri)
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def assert_family(uri: str, log_id: str) -> None:
    """Two sweeps, two children of the first, a copy of one of them under the second; each once."""
    runs = runs_by_name(uri)
    assert sorted(runs) == ["a0", "a1", "b0", "first", "second"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    ids = {name: run.info.run_id for name, run in runs.items()}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    first, second = ids["first"], ids["second"]
    assert parents == {"first": None, "second": None, "a0": first, "b0": first, "a1": second}
    assert runs["a0"].data.tags["mlflow.fmnist.id"] == log_id
    assert runs["a1"].data.tags["mlflow.fmnist.id"] != log_id
    copies = {name: run.data.tags.get("copy_of") for name, run in runs.items()}
    assert copies == dict.fromkeys(["first", "second", "a0", "b0"]) | {"a1": ids["a0"]}
    for name in ("a0", "a1", "b0"):
        assert history(uri, ids[name], "val/loss") == [(1, 0.5)]
    experiment = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert first in experiment.tags["mlflow.sharedViewState.sweep-first"]
    assert second in experiment.tags["mlflow.sharedViewState.sweep-second"]


class Ended(BaseException):
    """What nothing catches, as good as a kill."""


def end_here() -> None:
    raise Ended


@pytest.mark.parametrize("forgetful", [False, True])
def test_sweep_is_sent_once_by_uploaders_that_end_anywhere(
    output_dir: Path, uri: str, forgetful: bool
) -> None:
    """Sweeps, children and a copy survive an end at every write, with upload states or without."""
    sweeps = [write_sweep(output_dir, name, uri) for name in ("first", "second")]
    log_id = write_child(output_dir, "a", uri, *sweeps)
    write_child(output_dir, "b", uri, sweeps[0])
    store = DyingStore(uri, 0, end_here)
    lives = 0
    for lives in range(1, 50):
        uploader = Uploader(output_dir)
        uploader._stores[uri] = store
        store.until_death = lives if forgetful else lives % 5 + 1
        try:
            uploader.poll()
        except Ended:
            if forgetful:
                forget_upload_states(output_dir)
        else:
            break
    assert 4 < lives < 49  # some ended early, and then all was sent
    assert sync(output_dir).is_complete
    assert_family(uri, log_id)


def test_run_wanted_without_parent_is_content_with_any(output_dir: Path, uri: str) -> None:
    """No parent asked for adds nothing where the run is; another parent, or experiment, does."""
    with EventLog(make_folder(output_dir)) as event_log:
        under = event_log.destination(uri, EXPERIMENT, parent="1" * 32, name="width=8")
        assert event_log.destination(uri, EXPERIMENT) == under
        assert event_log.destination(uri, EXPERIMENT, parent="1" * 32, name="other") == under
        assert event_log.destination(uri, EXPERIMENT, parent="2" * 32) != under
        event_log.destination(uri, "another")
    places = RunState.read(make_folder(output_dir)).destinations
    assert [place.parent[:1] for place in places] == ["1", "2", ""]
    assert [place.name for place in places] == ["width=8", "", ""]
    assert len({place.id for place in places}) == 3
    # what names the upload states that are on the disks of users
    assert Destination("sqlite:////x.db", "e").id == "209d10a72b3ae300"


def test_child_waits_for_its_sweep(output_dir: Path, uri: str) -> None:
    """Before its sweep has begun a child is not sent, nor is anything wrong; then both are."""
    folder = output_dir / "sweeps" / "s"
    folder.mkdir(parents=True)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        write_child(output_dir, "a", uri, event_log.state.id)
        outcome = sync(output_dir)
        assert not outcome.is_complete
        assert read_problems(output_dir) == {}
        event_log.start("s", {}, {})
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    runs = runs_by_name(uri)
    assert runs["a0"].data.tags["mlflow.parentRunId"] == runs["s"].info.run_id


def test_child_of_a_sweep_that_is_gone_is_recorded_by_itself(
    output_dir: Path, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By a `sync`; an uploader waits and says why; others are sent, what was sent is not missed."""
    sweep = write_sweep(output_dir, "s", uri)
    write_child(output_dir, "early", uri, sweep)
    assert sync(output_dir).is_complete
    shutil.rmtree(output_dir / "sweeps")
    write_child(output_dir, "late", uri, sweep)
    other = write_sweep(output_dir, "t", uri)
    write_child(output_dir, "other", uri, other)
    write_child(output_dir, "late", uri, other)
    Uploader(output_dir).poll()
    [problem] = read_problems(output_dir).values()
    assert f"its sweep is gone: {output_dir / 'sweeps'} has no log {sweep}" in problem.reason
    assert "`fmnist sync`" in problem.reason
    assert {"early0", "other0", "late0"} <= set(runs_by_name(uri))

    assert sync(output_dir).is_complete
    assert read_problems(output_dir) == {}
    assert "recorded by itself" in caplog.text
    late = [run for run in find_runs(uri) if run.info.run_name.startswith("late")]
    assert ["mlflow.parentRunId" in run.data.tags for run in late].count(False) == 1
    assert len(late) == 2


def test_children_of_a_sweep_that_was_thrown_away_stay_away(output_dir: Path, uri: str) -> None:
    """Deleted in MLflow, a sweep gets no more children, a deleted child none back; others do."""
    sweep = write_sweep(output_dir, "s", uri)
    write_child(output_dir, "early", uri, sweep)
    sync(output_dir)
    runs = runs_by_name(uri)
    for name in ("early0", "s"):
        MlflowClient(uri).delete_run(runs[name].info.run_id)
    write_child(output_dir, "late", uri, sweep)
    write_child(output_dir, "other", uri, write_sweep(output_dir, "t", uri))
    for _ in range(2):
        assert sync(output_dir).is_complete
        after = runs_by_name(uri)
        assert sorted(after) == ["early0", "other0", "s", "t"]
        assert after["early0"].info.lifecycle_stage == "deleted"
    [late] = uploads(output_dir / "runs" / "late")
    said = [*pages(Outcome([late], None), run_link), *show_command(Outcome([late], None))]
    assert said == [f"not in {uri}: {HOW_TO_RESTORE}"]
    fmnist = Path(sys.executable).with_name("fmnist")
    done = subprocess.run([fmnist, "sync"], cwd=output_dir.parent, capture_output=True, text=True)
    assert done.stdout.startswith("2 of 5 runs are recorded\n3 not: it, or its sweep, "), (
        done.stdout
    )


def test_a_database_whose_writer_was_killed_in_a_commit_is_checked(
    empty_database: Path, tmp_path: Path
) -> None:
    """sqlite puts it right where it is opened: nothing is wrong with it."""
    database, left = tmp_path / "mlflow.db", tmp_path / "left.db"
    shutil.copy(empty_database, database)
    with contextlib.closing(sqlite3.connect(database)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # so that the file is written to before the end
        writer.execute("CREATE TABLE more (content BLOB)")
        writer.executemany("INSERT INTO more VALUES (?)", [(bytes(10_000),)] * 50)
        shutil.copy(database, left)
        shutil.copy(f"{database}-journal", f"{left}-journal")
        writer.rollback()
    assert schema_problem(left) is None
    assert not Path(f"{left}-journal").exists()


def test_what_is_printed_finds_the_store_of_a_run(tmp_path: Path) -> None:
    """Pages and commands of another store than the default one name it, and another folder."""
    uri = f"sqlite:///{tmp_path}/a b.db"
    run_dir = tmp_path / "other runs" / "runs" / "a"
    state = UploadState(run_id="1", experiment_id="1")
    sent = Upload(Destination(uri, EXPERIMENT, run_dir=run_dir), state, is_complete=True)
    option = f"--uri '{uri}'"
    assert option in pages(Outcome([sent], None), run_link)[0]
    assert option in show_command(Outcome([sent], None))[0]
    unsent = Outcome([replace(sent, is_complete=False)], "late")
    assert "sync --output-dir 'other runs'` will send it" in pages(unsent, run_link)[0]


def test_a_server_that_dies_is_an_error() -> None:
    """And one that ends by itself is none."""
    wait_for_end(subprocess.Popen([sys.executable, "-c", ""]))
    with pytest.raises(OSError, match="ended with status 3"):
        wait_for_end(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]))


def test_a_reason_is_that_of_what_is_not_sent(output_dir: Path, uri: str) -> None:
    """Not of a run that is gone, nor one that was mended since."""
    write_whole_run(make_folder(output_dir, "gone"), "http://127.0.0.1:9")
    assert "127.0.0.1:9" in str(sync(output_dir).reason)
    shutil.rmtree(output_dir / "runs" / "gone")
    write_whole_run(make_folder(output_dir, "b"), uri)
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(EXPERIMENT))
    assert "was deleted" in str(sync(output_dir).reason)
    problems = Problems(output_dir)
    for key in ("place", "run"):
        problems.report(key, "late")
    problems.forget("place", "run")
    assert not {"place", "run"} & read_problems(output_dir).keys()


def test_a_run_that_has_not_begun_is_nothing_to_send(output_dir: Path, uri: str) -> None:
    """As a kill between the first two lines of its log leaves it: there is nothing to wait for."""
    with EventLog(make_folder(output_dir)) as event_log:
        event_log.destination(uri, EXPERIMENT)
    write_whole_run(make_folder(output_dir, "b"), uri)
    outcome = sync(output_dir)
    assert outcome.is_complete
    assert len(outcome.uploads) == 1


@pytest.mark.parametrize(
    ("score", "is_ascending"), [("final/val_f1_macro", False), ("final/val_loss", True)]
)
def test_the_view_of_a_sweep_has_its_own_best_first(score: str, is_ascending: bool) -> None:
    """Table and charts are by the metric that its settings are ranked by."""
    state = json.loads(json.loads(sweep_view("s", AXES, AXES, score, "0"))["state"])
    assert (state["orderByKey"], state["orderByAsc"]) == (f"metrics.`{score}`", is_ascending)
    assert state["selectedColumns"][1] == f"metrics.`{score}`"
    [parallel, bars, _] = state["compareRunCharts"]
    assert (parallel["selectedMetrics"], bars["metricKey"]) == ([score], score)


AXES = ["model.width"]


def test_view_changed_again_is_replaced(output_dir: Path, uri: str) -> None:
    """The last word of the event log is the view that the experiment has."""
    write_sweep(output_dir, "s", uri)
    sync(output_dir)
    folder = output_dir / "sweeps" / "s"
    with run_lock(folder), EventLog(folder) as event_log:
        axes = ["model.width", "optimizer.lr"]
        event_log.view("sweep-s", "more", [*axes, "seed"], axes, SCORE)
    assert sync(output_dir).is_complete
    experiment = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    view = json.loads(experiment.tags["mlflow.sharedViewState.sweep-s"])
    assert view["name"] == "more"
    state = json.loads(view["state"])
    (parallel,) = [chart for chart in state["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert parallel["selectedParams"] == ["model.width", "optimizer.lr"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE alembic_version SET version_num = '0123456789ab'",
            "newer MLflow .* choose another",
        ),
        ("UPDATE alembic_version SET version_num = '451aebb31d03'", "older MLflow: .* db upgrade"),
        ("DROP TABLE experiments", "database of another program"),
    ],
    ids=["newer", "older", "foreign"],
)
def test_a_database_that_mlflow_must_not_have_is_left_as_it_is(
    output_dir: Path, uri: str, tmp_path: Path, change: str, reason: str
) -> None:
    """One line says why, and what mends it; what was recorded waits."""
    write_whole_run(make_folder(output_dir), uri)
    file = tmp_path / "store" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(change)
    before = file.read_bytes()
    outcome = sync(output_dir)
    assert not outcome.is_complete
    assert outcome.reason is not None
    assert re.search(reason, outcome.reason)
    assert re.search(reason, str(check_store(uri, for_writing=True)))
    assert file.read_bytes() == before


def test_more_than_a_request_holds_is_sent_in_several(output_dir: Path, uri: str) -> None:
    """250 parameters, 120 tags and 2100 points of one run all arrive."""
    folder = make_folder(output_dir)
    params = {f"p{number}": str(number) for number in range(250)}
    tags = {f"t{number}": str(number) for number in range(120)}
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("long", params, tags)
        for epoch in range(1, 701):
            event_log.metrics(epoch, {f"m{number}": float(epoch) for number in range(3)})
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    run = find_only_run(uri)
    assert run.data.params == params
    assert tags.items() <= run.data.tags.items()
    for number in range(3):
        assert len(history(uri, run.info.run_id, f"m{number}")) == 700


def test_removed_folder_is_forgotten(output_dir: Path, uri: str) -> None:
    """An uploader that saw a folder which is gone by now has nothing left to do with it."""
    folder = make_folder(output_dir)
    with begin(folder, uri):
        pass
    uploader = Uploader(output_dir)
    assert uploader.poll()
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.status("FINISHED")
    shutil.rmtree(folder)
    assert not uploader.poll()
    assert not uploader.writer_lives()


def test_upload_state_of_another_run_does_not_count(output_dir: Path, uri: str) -> None:
    """It speaks for the run that it names: a store that has another one gets everything."""
    folder = make_folder(output_dir)
    log_id = write_whole_run(folder, uri)
    [upload] = uploads(folder)
    store = Store(uri)
    store.create_run(store.experiment(EXPERIMENT), "a run", 1, {"mlflow.fmnist.id": log_id})
    mark = RunState.read(folder).mark
    UploadState(mark.offset, mark.crc, "0" * 32, "1").write(upload.destination)
    assert sync(output_dir).is_complete
    assert_whole_once(uri, log_id)


def send_all(output_dir: Path) -> None:
    assert sync(output_dir).is_complete


def test_uploaders_that_create_one_store_at_once_do_not_ruin_it(tmp_path: Path) -> None:
    """Four uploaders of four folders meet at a database that does not exist: four whole runs."""
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    context = processes()
    folders = [tmp_path / f"outputs{number}" for number in range(4)]
    for folder in folders:
        with run_lock(make_folder(folder)), begin(folder / "runs" / "run", uri) as event_log:
            event_log.status("FINISHED")
    uploaders = [context.Process(target=send_all, args=(folder,)) for folder in folders]
    for uploader in uploaders:
        uploader.start()
    for uploader in uploaders:
        uploader.join()
    assert [uploader.exitcode for uploader in uploaders] == [0] * 4
    assert [run.info.status for run in find_runs(uri)] == ["FINISHED"] * 4


def test_half_written_line_waits_for_its_other_half(output_dir: Path, uri: str) -> None:
    """A torn line is not sent; what the reopened event log says instead is."""
    folder = make_folder(output_dir)
    with run_lock(folder):
        begin(folder, uri).close()
        with (folder / LOG_FILE).open("ab") as file:
            file.write(b'{"kind": "metrics", "time": 1, "step": 1, "values": {"val/loss": 0.')
        sync(output_dir)
        run_id = find_only_run(uri).info.run_id
        assert history(uri, run_id, "val/loss") == []
        with EventLog(folder) as event_log:
            event_log.metrics(1, {"val/loss": 0.75})
        assert sync(output_dir).is_complete
    assert history(uri, run_id, "val/loss") == [(1, 0.75)]


def test_another_destination_gets_everything_too(output_dir: Path, uri: str) -> None:
    """A second experiment wanted later has the run whole; the first keeps its own."""
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    sync(output_dir)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, "another")
    assert sync(output_dir).is_complete
    first, second = find_only_run(uri), find_only_run(uri, "another")
    assert first.info.run_id != second.info.run_id
    assert second.data.metrics["val/loss"] == first.data.metrics["val/loss"] == 1 / 3
    assert second.info.status == "FINISHED"
    assert list_artifacts(uri, first.info.run_id) == list_artifacts(uri, second.info.run_id)


def test_dead_run_ends_as_killed_and_resumes_as_itself(output_dir: Path, uri: str) -> None:
    """A run without a living process is KILLED at its last word; resumed, it is the same run."""
    folder = make_folder(output_dir)
    with begin(folder, uri) as event_log:
        event_log.metrics(1, {"val/loss": 0.5})
    sync(output_dir)
    dead = find_only_run(uri)
    last_point = MlflowClient(uri).get_metric_history(dead.info.run_id, "val/loss")[-1]
    assert dead.info.status == "KILLED"
    assert dead.info.end_time == last_point.timestamp
    with run_lock(folder), begin(folder, uri) as event_log:
        sync(output_dir)
        assert find_only_run(uri).info.status == "RUNNING"
        [going_on] = Reader(uri).runs()
        assert (going_on.end, going_on.duration) == (None, None)
        event_log.metrics(1, {"val/loss": 9.0})
        event_log.metrics(2, {"val/loss": 0.25})
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    resumed = find_only_run(uri)
    assert (resumed.info.run_id, resumed.info.status) == (dead.info.run_id, "FINISHED")
    assert history(uri, resumed.info.run_id, "val/loss") == [(1, 0.5), (2, 0.25)]


def test_run_is_sent_again_to_a_store_that_was_removed(
    output_dir: Path, uri: str, empty_database: Path
) -> None:
    """Without its database a run is pending; a database made anew by another run gets it too."""
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    database = Path(uri.removeprefix("sqlite:///"))
    context = processes()
    for _ in range(2):
        # a process of its own, for this one's client would keep the removed file open
        uploader = context.Process(target=send_all, args=(output_dir,))
        uploader.start()
        uploader.join()
        assert uploader.exitcode == 0
        assert is_sent(folder)
        database.rename(database.with_name("old.db"))
        assert not is_sent(folder)
        shutil.copy(empty_database, database)
    database.with_name("old.db").replace(database)
    assert find_only_run(uri).info.status == "FINISHED"


def test_run_thrown_away_in_the_store_stays_there(output_dir: Path, uri: str) -> None:
    """A run deleted by the user is neither revived nor made anew, nor does it hold up others."""
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    sync(output_dir)
    MlflowClient(uri).delete_run(find_only_run(uri).info.run_id)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.tags({"later": "1"})
    assert sync(output_dir).is_complete
    run = find_only_run(uri)
    assert run.info.lifecycle_stage == "deleted"
    assert "later" not in run.data.tags


def test_artifact_that_is_gone_is_left_out(output_dir: Path, uri: str) -> None:
    """A file removed before it was sent does not hold up the rest of its run."""
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    (folder / "artifacts" / "validation" / "confusion_matrix.png").unlink()
    assert sync(output_dir).is_complete
    run = find_only_run(uri)
    assert run.info.status == "FINISHED"
    assert not [file for file in list_artifacts(uri, run.info.run_id) if file.endswith(".png")]


def test_artifacts_lie_beside_the_database(output_dir: Path, uri: str) -> None:
    """Artifacts go to `mlruns` in the database's folder, wherever the uploader was started."""
    write_whole_run(make_folder(output_dir), uri)
    sync(output_dir)
    database = Path(uri.removeprefix("sqlite:///"))
    assert list((database.parent / "mlruns").glob("*/*/artifacts/model/MLmodel"))
    assert not Path("mlruns").exists()


TRAINING = """
import sys, time
from pathlib import Path
from threading import Thread
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.files import run_lock
from fashion_mnist.tracking.uploader_process import start_uploader
folder, uri = Path(sys.argv[1]), sys.argv[2]
lock = run_lock(folder)
assert lock.acquire(2)
event_log = EventLog(folder)
event_log.destination(uri, "fashion-mnist")
event_log.start("a run", {}, {})
event_log.status("RUNNING")
start_uploader(folder.parents[1])
for epoch in range(1, 1000):
    event_log.metrics(epoch, {"val/loss": 1 / epoch})
    if (folder / "enough").exists():
        break
    time.sleep(0.2)
event_log.status("FINISHED")
assert "mlflow" not in sys.modules
print("trained")
"""


def is_sent(folder: Path) -> bool:
    """Whether the stores have all that the run's log says."""
    return all(upload.is_complete for upload in uploads(folder))


def wait_for(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def loss_points(uri: str, folder: Path) -> int:
    """How many points the store shows; 0 as long as it has no run."""
    if not list(folder.glob("*.json")):
        return 0
    return len(history(uri, find_only_run(uri).info.run_id, "val/loss"))


@pytest.mark.long
def test_page_fills_while_training_and_a_killed_uploader_is_replaced(
    output_dir: Path, uri: str
) -> None:
    """Points show up while the run lives; its output ends with it, not with the uploader; and a
    uploader killed with SIGKILL is replaced by the wait, with every point there once."""
    folder = make_folder(output_dir)
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), uri], stdout=subprocess.PIPE, text=True
    ) as training:
        wait_for(lambda: loss_points(uri, folder / "uploads") >= 3)
        assert find_only_run(uri).info.status == "RUNNING"
        signal_uploader(output_dir, signal.SIGSTOP)
        (folder / "enough").touch()
        said, _ = training.communicate(timeout=20)
    assert (said, training.returncode) == ("trained\n", 0)
    signal_uploader(output_dir, signal.SIGKILL)
    wait_for(lambda: not uploader_lock(output_dir).is_held())
    assert not is_sent(folder)
    outcome = wait_until_uploaded([folder], timeout_seconds=120)
    assert outcome.is_complete, outcome.reason
    # the replacement lives on for some seconds with nobody waiting, and then leaves
    assert uploader_lock(output_dir).is_held()
    run = find_only_run(uri)
    assert (run.info.run_id, run.info.status) == (outcome.uploads[0].state.run_id, "FINISHED")
    steps = [step for step, _ in history(uri, run.info.run_id, "val/loss")]
    assert steps == list(range(1, len(steps) + 1))
    wait_for(lambda: not uploader_lock(output_dir).is_held())


def signal_uploader(output_dir: Path, number: signal.Signals) -> None:
    """To the uploader of exactly this folder; one that has just ended is none any more."""
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[-2:] == [MODULE, str(output_dir)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def test_waiting_for_a_store_that_is_down_ends_with_the_reason(output_dir: Path) -> None:
    """Nobody listens at the port: the wait comes back within its bound and says why."""
    folder = make_folder(output_dir)
    with run_lock(folder), begin(folder, "http://127.0.0.1:9") as event_log:
        event_log.status("FINISHED")
    began = time.monotonic()
    outcome = wait_until_uploaded([folder], timeout_seconds=90)
    assert time.monotonic() - began < 95
    assert not outcome.is_complete
    assert outcome.reason is not None
    assert outcome.reason.startswith("http://127.0.0.1:9")
    assert "Connection refused" in outcome.reason
    assert not is_sent(folder)


def test_a_store_of_an_earlier_command_is_not_waited_for(output_dir: Path, uri: str) -> None:
    """It may be gone for good: what is asked for now is sent, and said to be."""
    folder = make_folder(output_dir)
    with run_lock(folder), begin(folder, "http://127.0.0.1:9") as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.status("FINISHED")
        outcome = wait_until_uploaded([folder], timeout_seconds=90, uri=uri)
    assert outcome.reason is None
    assert [upload.destination.address for upload in outcome.uploads] == [uri]


def test_waiting_keeps_its_bound(output_dir: Path, uri: str) -> None:
    """A time-out shorter than the uploader's start is kept, with a reason."""
    folder = make_folder(output_dir)
    with run_lock(folder), begin(folder, uri) as event_log:
        event_log.status("FINISHED")
        began = time.monotonic()
        outcome = wait_until_uploaded([folder], timeout_seconds=0.2)
        assert time.monotonic() - began < 5
    assert outcome == Outcome(outcome.uploads, "not everything was sent within 0.2 s")


def test_wait_ends_where_no_uploader_lives_for_long(
    output_dir: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends at once, for MLflow is broken, is started three times; its log says why."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mlflow.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    outcome = wait_until_uploaded([folder], timeout_seconds=240)
    assert outcome.reason == f"the uploader stops: see {output_dir / 'uploader.log'}"
    assert (output_dir / "uploader.log").read_text().count("ImportError: broken") == 3


def test_one_uploader_for_a_folder(output_dir: Path) -> None:
    """While one uploader has the folder none is started, and one started anyway leaves."""
    make_folder(output_dir)
    with uploader_lock(output_dir):
        assert start_uploader(output_dir) is None
        command = [sys.executable, "-m", MODULE, str(output_dir)]
        assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_training_side_imports_no_mlflow() -> None:
    """Neither the event log nor what training calls of tracking brings mlflow or torch in."""
    names = ("checks", "upload_state", "uploader_process", "server", "saved_views", "reader")
    modules = ("runs.event_log", *(f"tracking.{name}" for name in names))
    imports = ";".join(f"import fashion_mnist.{module}" for module in modules)
    code = f"import sys; {imports}; sys.exit(bool({{'mlflow', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_uploader_imports_no_torch(output_dir: Path, uri: str) -> None:
    """It sends a network too without it, and with a third of the memory, beside each training."""
    write_whole_run(make_folder(output_dir), uri)
    code = (
        "import sys; from pathlib import Path; from fashion_mnist.tracking.uploader import sync\n"
        f"assert sync(Path({str(output_dir)!r})).is_complete; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    outputs = find_only_run(uri).outputs
    assert outputs is not None
    assert len(outputs.model_outputs) == 1


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("sqlite:///../a b.db?timeout=3", "sqlite:////home/a b.db?timeout=3"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("sqlite:///~/runs/mlflow.db", "sqlite:////srv/me/runs/mlflow.db"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://me:secret@host/db"),
    ],
)
def test_addresses_are_made_absolute(
    uri: str, absolute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative sqlite paths are taken from the given folder, `~` is the home; others stay."""
    monkeypatch.setenv("HOME", "/srv/me")
    assert absolute_uri(uri, Path("/home/me")) == absolute


NO_ADDRESSES = """
databricks databricks://profile
mlruns file:///mlruns ftp://a/b sqlite:// sqlite:/// sqlite:///:memory: http:// http://host:99999
http://host:port http://[::1 postgresql:///db
"""


@pytest.mark.parametrize("uri", ["", *NO_ADDRESSES.split()])
def test_what_cannot_be_an_address_is_refused(uri: str) -> None:
    """An error that names the key and the value, for each kind of nonsense."""
    with pytest.raises(ValueError, match=r"tracking\.uri must be"):
        absolute_uri(uri)


def test_passwords_are_not_printed() -> None:
    """The printed form keeps the user and hides the password."""
    hidden = without_password("postgresql://me:secret@host:5432/db")
    assert hidden == "postgresql://me:***@host:5432/db"


def test_check_store_tells_whether_one_can_be_used(tmp_path: Path) -> None:
    """A new or real database passes; a text file, a file for a folder and a shut port do not."""
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be looked at " * 100)
    assert check_store(f"sqlite:///{tmp_path}/new/mlflow.db") is None
    assert not (tmp_path / "new").exists()
    assert list(tmp_path.iterdir()) == [text]
    assert "not a database" in str(check_store(f"sqlite:///{text}"))
    assert "text.db" in str(check_store(f"sqlite:///{text}/mlflow.db"))
    assert "refused" in str(check_store("http://127.0.0.1:9", timeout_seconds=5))
    assert "refused" in str(check_store("postgresql://me:secret@127.0.0.1:9/db"))
    assert "secret" not in str(check_store("postgresql://me:secret@127.0.0.1:9/db"))


def test_views_are_made_once_and_left_to_the_user(output_dir: Path, uri: str) -> None:
    """An experiment gets both views when first seen; a view that the user changed stays."""
    folder = make_folder(output_dir)
    write_whole_run(folder, uri)
    sync(output_dir)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    for link in view_links("", experiment.experiment_id).values():
        key = link.partition("viewStateShareKey=")[2].partition("&")[0]
        assert f"mlflow.sharedViewState.{key}" in experiment.tags
    assert "mlflow.note.content" in experiment.tags
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.results", "mine")
    write_whole_run(make_folder(output_dir, "second"), uri)
    sync(output_dir)
    again = client.get_experiment_by_name(EXPERIMENT)
    assert again is not None
    assert again.tags["mlflow.sharedViewState.results"] == "mine"


def test_run_that_ends_before_the_uploaders_look_is_not_killed(tmp_path: Path) -> None:
    """Seen at work, then ended and left before the uploader holds its lock."""
    with EventLog(tmp_path / "runs/a") as event_log:
        event_log.start("a", {}, {})
        event_log.status("RUNNING")
        watch = WatchedLog(tmp_path / "runs/a")
        watch.look()
        event_log.status("FINISHED")
    end_abandoned(watch)
    with EventLog(tmp_path / "runs/a") as event_log:
        assert event_log.state.status == "FINISHED"


class Api(SimpleHTTPRequestHandler):
    """Answers as MLflow does."""

    def do_GET(self) -> None:
        """What is asked for is not there."""
        content = b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def web_server(
    handler: type[SimpleHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def test_a_login_in_the_address_is_no_part_of_the_host() -> None:
    """A server that is there answers, whoever asks; one that is not MLflow's does not."""
    with web_server(SimpleHTTPRequestHandler) as port:
        assert "not as MLflow answers" in str(check_store(f"http://127.0.0.1:{port}"))
    with web_server(Api) as port:
        assert check_store(f"http://somebody:secret@127.0.0.1:{port}") is None


def make_certificate(path: Path) -> None:
    """Of 127.0.0.1, signed by itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of a lab")])
    place = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1)).add_extension(place, critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate + plain)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", "server.pem"),
        ("REQUESTS_CA_BUNDLE", "server.pem"),
        ("MLFLOW_TRACKING_INSECURE_TLS", "true"),
    ],
)
def test_a_server_with_a_certificate_of_its_own_is_asked_as_mlflow_asks_it(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same variables; without, the reason is the certificate."""
    monkeypatch.chdir(tmp_path)
    make_certificate(Path("server.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("server.pem")
    with web_server(Api, tls) as port:
        uri = f"https://127.0.0.1:{port}"
        assert "certificate verify failed" in str(check_store(uri))
        monkeypatch.setenv(variable, value)
        assert check_store(uri) is None


def test_a_run_that_is_restored_in_the_store_gets_the_rest(output_dir: Path, uri: str) -> None:
    """Deleted while it ran and restored later, it has every point and its status after a sync."""
    folder = make_folder(output_dir)
    with run_lock(folder), begin(folder, uri) as event_log:
        event_log.metrics(1, {"val/loss": 0.5})
        Uploader(output_dir).poll()
        run_id = find_only_run(uri).info.run_id
        MlflowClient(uri).delete_run(run_id)
        event_log.metrics(2, {"val/loss": 0.25})
        Uploader(output_dir).poll()
        event_log.status("FINISHED")
    assert sync(output_dir).is_complete
    assert find_only_run(uri).info.lifecycle_stage == "deleted"
    MlflowClient(uri).restore_run(run_id)
    assert sync(output_dir).is_complete
    assert find_only_run(uri).info.status == "FINISHED"
    assert history(uri, run_id, "val/loss") == [(1, 0.5), (2, 0.25)]


def test_a_deleted_experiment_says_how_it_is_restored(output_dir: Path, uri: str) -> None:
    """`fmnist sync` alone could not help; afterwards it does."""
    write_whole_run(make_folder(output_dir), uri)
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(EXPERIMENT))
    reason = sync(output_dir).reason
    assert reason is not None
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert f"mlflow experiments restore --experiment-id {experiment.experiment_id}" in reason
    client.restore_experiment(experiment.experiment_id)
    assert sync(output_dir).is_complete


@pytest.mark.long
def test_sync_says_one_line_of_a_store_that_is_down(output_dir: Path) -> None:
    """Without a traceback, for however many runs."""
    for name in ("a", "b"):
        with run_lock(make_folder(output_dir, name)):
            begin(make_folder(output_dir, name), "http://127.0.0.1:9").close()
    fmnist = Path(sys.executable).with_name("fmnist")
    done = subprocess.run([fmnist, "sync"], cwd=output_dir.parent, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Connection refused" in done.stderr


@pytest.mark.long
def test_sync_leaves_an_uploader_to_a_run_that_was_begun_meanwhile(
    output_dir: Path, uri: str
) -> None:
    """It found sync at work and started none: its curves come all the same."""
    folder = make_folder(output_dir)
    with run_lock(folder), begin(folder, uri) as event_log:
        assert sync(output_dir).is_complete
        wait_for(lambda: uploader_lock(output_dir).is_held())
        event_log.metrics(1, {"val/loss": 0.5})
        wait_for(lambda: is_sent(folder))
        event_log.status("FINISHED")


@pytest.mark.long
def test_sync_after_training_asks_the_store_too(
    output_dir: Path, uri: str, empty_database: Path
) -> None:
    """The uploader lingers for a while, and does not look: sync waits until it has left."""
    folder = make_folder(output_dir)
    log_id = write_whole_run(folder, uri)
    start_uploader(output_dir)
    wait_for(lambda: is_sent(folder))
    shutil.copy(empty_database, uri.removeprefix("sqlite:///"))
    assert uploader_lock(output_dir).is_held()
    assert sync(output_dir).is_complete
    assert_whole_once(uri, log_id)


def test_reasons_end_at_a_word() -> None:
    """A long one is cut there, and shows that it was."""
    reason = root_cause(OSError("a reason " * 100))
    assert reason.endswith("reason …") or reason.endswith("a …")
    assert len(reason) < 310
