"""The folder of a store is copied and moved: `fmnist doctor --mend` lets it find its files."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.relocation import find_moves, mend
from tests.recordings import Recordings, record_runs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """With a version of a registered model, and an experiment whose files are in a bucket."""
    recorded = record_runs(tmp_path_factory.mktemp("recordings"))
    client, alone = MlflowClient(recorded.uri), recorded.run("alone")
    client.create_registered_model("model")
    client.create_model_version("model", f"{alone.artifact_uri}/model", alone.run_id)
    client.create_experiment("remote", "s3://bucket/mlruns/1")
    return recorded


def texts(database: Path) -> str:
    """Every text in it."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def check(folder: Path) -> None:
    """Every file of every run is found in this folder."""
    store = Reader(absolute_uri("sqlite:///mlflow.db", folder))
    for run in store.runs():
        assert Path(run.artifact_uri.removeprefix("file://")).is_relative_to(folder)
        own = Path(run.directory)
        assert own.is_dir()
        assert own.is_relative_to(folder)
    alone = next(run for run in store.runs() if run.name == "alone")
    assert store.download(alone, "model/MLmodel", folder / "got").is_file()
    client = MlflowClient(store.uri)
    source = client.get_model_version("model", "1").source
    remote = client.get_experiment_by_name("remote")
    assert source is not None
    assert str(folder) in source
    assert remote is not None
    assert remote.artifact_location == "s3://bucket/mlruns/1"


def test_a_copied_and_then_moved_store_finds_its_files(
    recordings: Recordings, tmp_path: Path
) -> None:
    """While the first is still there, and when it is gone; the database as it was is kept."""
    first, second = tmp_path / "first", tmp_path / "it's the 2nd"
    shutil.copytree(recordings.folder, first)
    before = texts(first / "mlflow.db")
    [move] = find_moves(first / "mlflow.db")
    assert (move.old, move.new) == (recordings.folder / "mlruns", first / "mlruns")
    assert move.num_runs == 8  # a sweep's own run has no files here
    assert texts(mend(first / "mlflow.db", [move])) == before
    check(first)
    assert find_moves(first / "mlflow.db") == []

    first.rename(second)
    [move] = find_moves(second / "mlflow.db")
    assert (move.old, move.new) == (first / "mlruns", second / "mlruns")
    kept = mend(second / "mlflow.db", [move])
    assert kept.name == "mlflow.before-mending-2.db"
    check(second)
    assert f"{recordings.folder}/mlruns" not in texts(second / "mlflow.db")


def test_a_store_in_its_place_is_left_alone(recordings: Recordings, tmp_path: Path) -> None:
    """Also where a link leads to it, and where its files are meant to be elsewhere."""
    assert find_moves(recordings.folder / "mlflow.db") == []
    (tmp_path / "link").symlink_to(recordings.folder)
    assert find_moves(tmp_path / "link" / "mlflow.db") == []
    shutil.copy(recordings.folder / "mlflow.db", tmp_path)  # without the files
    assert find_moves(tmp_path / "mlflow.db") == []


def test_names_that_only_begin_alike_stay(tmp_path: Path) -> None:
    """`/a/mlruns2` is not in `/a/mlruns`; wildcards and quotes in names mean nothing."""
    path = tmp_path / "mlflow.db"
    old, new = Path("/a/100%_'x/mlruns"), tmp_path / "mlruns"
    (new / "1" / "r" / "artifacts").mkdir(parents=True)
    values = [
        f"{old}/1/r/artifacts",
        f"{old}2/1",
        "/a/100%_'xy/mlruns/7",
        str(old),
        "s3://b/mlruns",
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.execute("CREATE TABLE tags (key TEXT, value TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [(value,) for value in values])
        connection.execute("INSERT INTO tags VALUES ('note', ?)", (f"{old}/1",))
        connection.commit()
    mend(path, find_moves(path))
    with closing(sqlite3.connect(path)) as connection:
        found = [value for (value,) in connection.execute("SELECT artifact_uri FROM runs")]
        [[note]] = connection.execute("SELECT value FROM tags")
    assert found == [f"{new}/1/r/artifacts", *values[1:3], str(new), values[4]]
    assert note == f"{old}/1"


def test_a_store_that_is_written_to_is_not_touched(recordings: Recordings, tmp_path: Path) -> None:
    """While another process holds it, nothing is changed, and it is said."""
    shutil.copytree(recordings.folder, tmp_path / "copy")
    path = tmp_path / "copy" / "mlflow.db"
    moves, before = find_moves(path), texts(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            mend(path, moves)
        other.execute("ROLLBACK")
    assert texts(path) == before
