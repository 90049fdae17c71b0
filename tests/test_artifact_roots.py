"""A project that was moved or copied, store and all: what it has is found, what follows is here."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.tracking.artifact_roots import local_path, make_relative, resolved_root
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.store import Store
from fashion_mnist.tracking.uploader import sync
from tests.builders import data_overrides, make_data
from tests.faults.event_logs import write_run
from tests.faults.processes import fmnist
from tests.faults.records import assert_recorded_once
from tests.recordings import Recordings, record_runs

NAMES = ["it's #1", "100% or 50%41", "é", 'a"b&c', "mlruns", "why?", "a?b=1&c=2"]
NASTY = "a b#c?d=1&e 50%41 é's"  # MLflow itself fails where a path has both quotes


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """With a version of a registered model, and an experiment whose files are in a bucket."""
    recorded = record_runs(tmp_path_factory.mktemp("recordings"))
    client, alone = MlflowClient(recorded.uri), recorded.run("alone")
    client.create_registered_model("model")
    client.create_model_version("model", f"{alone.artifact_uri}/model", alone.run_id)
    client.create_experiment("remote", "s3://bucket/mlruns/1")
    return recorded


def roots(database: Path) -> set[str]:
    """Every address of files in it."""
    queries = (
        "SELECT artifact_location FROM experiments",
        "SELECT artifact_uri FROM runs",
        "SELECT artifact_location FROM logged_models",
        "SELECT source FROM model_versions",
    )
    with closing(sqlite3.connect(database)) as connection:
        return {value for query in queries for (value,) in connection.execute(query)}


def record(folder: Path, name: str) -> None:
    """A finished run, recorded as a program that was started in the folder does it."""
    uri = absolute_uri("sqlite:///mlflow.db", folder)
    write_run(folder / "outputs/runs" / name, uri)
    outcome = sync(folder / "outputs")
    assert outcome.is_complete, outcome.reason


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_moved_project_goes_on_where_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written at the old place; old and new files are found, by any plain name."""
    first, second = tmp_path / "first", tmp_path / name
    first.mkdir()
    monkeypatch.chdir(first)
    record(first, "a")
    assert all(root.startswith("mlruns/") for root in roots(first / "mlflow.db"))
    monkeypatch.chdir(tmp_path)
    first.rename(second)
    monkeypatch.chdir(second)
    record(second, "b")
    assert not first.exists()
    assert_recorded_once(absolute_uri("sqlite:///mlflow.db"), second / "outputs")
    store = Reader("sqlite:///mlflow.db")
    for run in store.runs():
        assert str(local_path(run.artifact_uri)).startswith(f"{second}/")
        assert store.artifacts(run)


def test_a_copy_writes_to_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original stays as it is, to the byte."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    monkeypatch.chdir(first)
    record(first, "a")
    shutil.copytree(first, copy)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    monkeypatch.chdir(copy)
    record(copy, "b")
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    assert len(Reader("sqlite:///mlflow.db").runs()) == 2


def test_outputs_may_move_to_another_disk_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent from there goes to the store that is here, and no other is made there."""
    project, disk = tmp_path / "project", tmp_path / "disk"
    project.mkdir()
    disk.mkdir()
    monkeypatch.chdir(project)
    record(project, "a")
    (project / "outputs").rename(disk / "outputs")
    (project / "outputs").symlink_to(disk / "outputs")
    assert sync(Path("outputs")).is_complete
    record(project, "b")
    assert [path.name for path in disk.iterdir()] == ["outputs"]
    runs = Reader("sqlite:///mlflow.db").runs()
    assert [Path(run.directory) for run in runs] == [
        project / "outputs/runs" / name for name in ("b", "a")
    ]


LOADED = """
import sys, mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///mlflow.db")
for name in sys.argv[1:]:
    print(mlflow.pyfunc.load_model(name).predict(np.zeros((2, 6, 5), np.uint8)).shape)
"""


def test_a_store_with_absolute_paths_finds_its_files_where_it_was_moved(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where they are read, and for MLflow itself from the first opening on."""
    copy = tmp_path / "copy"
    shutil.copytree(recordings.folder, copy)
    monkeypatch.chdir(copy)
    store = Reader("sqlite:///mlflow.db")
    alone = next(run for run in store.runs() if run.name == "alone")
    assert store.download(alone, "model/MLmodel", tmp_path / "got").is_file()
    before = roots(recordings.folder / "mlflow.db")
    assert roots(copy / "mlflow.db") == before
    Store(absolute_uri("sqlite:///mlflow.db"))
    after = roots(copy / "mlflow.db")
    assert "s3://bucket/mlruns/1" in after
    assert not [root for root in after if str(recordings.folder) in root]
    assert roots(recordings.folder / "mlflow.db") == before
    names = [f"runs:/{alone.run_id}/model", "models:/model/1"]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *names], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["(2, 3)", "(2, 3)"], done.stderr


@pytest.mark.long
def test_commands_work_in_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lands beside it, and what was recorded there is found."""
    data, folder = make_data(tmp_path / "data"), tmp_path / "here" / NASTY
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    run = [*data_overrides(data), "data.validation_size=20", "training.batch_size=16"]
    for words in (
        ["train", *run, "training.epochs=2", "tracking.model=always", "tracking.run_name=first"],
        ["train", "-m", *run, "training.epochs=2", "seed=1,2"],
        ["runs"],
        ["evaluate", "first"],
        ["register", "first"],
        ["compare", "first", "latest"],
        ["report", "latest"],
        ["doctor"],
        ["clean", "--delete"],
    ):
        done = fmnist(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert [path.name for path in folder.parent.iterdir()] == [NASTY]
    assert {"mlflow.db", "mlruns", "outputs"} <= {path.name for path in folder.iterdir()}
    recorded = Reader(absolute_uri("sqlite:///mlflow.db", folder)).runs()
    assert len([run for run in recorded if run.metrics]) >= 3


def test_a_folder_with_a_line_break_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, before anything is written there."""
    folder = tmp_path / "two\nlines"
    folder.mkdir()
    monkeypatch.chdir(folder)
    done = fmnist("train", "data.validation_size=5000", "training.epochs=1")
    assert done.returncode == 2
    assert "tracking.uri must be a path on one line" in done.stderr
    assert not list(folder.iterdir())


def test_what_leads_elsewhere_stays(tmp_path: Path) -> None:
    """Folders that only begin alike, other folders of that name, and what is no path."""
    (tmp_path / "mlruns/1/r").mkdir(parents=True)
    values = ["/old/mlruns/1/r", "/old/mlruns2/1/r", "/other/mlruns/7/r", "s3://b/mlruns/1/r", ""]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [(value,) for value in values])
        connection.commit()
    make_relative(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        found = [value for (value,) in connection.execute("SELECT artifact_uri FROM runs")]
    assert found == ["mlruns/1/r", *values[1:]]
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    here, there = f"file://{tmp_path}/mlruns/1/r", f"file://{values[1]}"
    wanted = {values[0]: here, values[1]: there, "mlruns/1/r": here}
    assert {value: resolved_root(value, uri) for value in wanted} == wanted
    assert resolved_root("mlflow-artifacts:/1/r", uri) == "mlflow-artifacts:/1/r"
