"""Recorded runs as they are read: what MLflow says of them, and the store is left as it was."""

import hashlib
import math
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fashion_mnist.analysis.lookup import score_of
from fashion_mnist.tracking.artifact_roots import local_path, resolved_root
from fashion_mnist.tracking.reader import Client, Reader
from fashion_mnist.tracking.recorded import SCORE, RecordedRun, time_of
from tests.recordings import Recordings


@pytest.fixture
def reader(recordings: Recordings) -> Reader:
    return recordings.reader()


def state_of(folder: Path) -> dict[str, str]:
    """Every file below the folder and the digest of what is in it."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_database_says_what_mlflows_client_says(recordings: Recordings, reader: Reader) -> None:
    """Every run, with every parameter, metric and tag, time, address and point, in one order."""
    client = Client(recordings.uri)
    assert set(client.experiments()) == set(reader.all_experiments())
    own = reader.runs()
    theirs = [
        with_uri(run, recordings.uri)
        for run in client.runs([each.id for each in client.experiments()])
    ]
    assert len(own) == 10
    # the client says nothing of NaN that compares
    assert repr(sorted_maps(own)) == repr(sorted_maps(theirs))
    run = recordings.run("alone")
    found = client.run(run.run_id)
    assert found is not None
    assert with_uri(found, recordings.uri) == run == reader.run(run.run_id)
    assert client.run("0" * 32) is reader.run("0" * 32) is None
    keys = sorted(run.metrics)
    assert client.history(run.run_id, keys) == reader.history(run, keys)
    assert list(reader.history(run, ["val/loss"])["val/loss"]) == [1, 2, 3]


def with_uri(run: RecordedRun, store: str) -> RecordedRun:
    """The run with the address of its files as a URI, where MLflow's client says a path."""
    return replace(run, artifact_uri=resolved_root(run.artifact_uri, store))


def sorted_maps(runs: list[RecordedRun]) -> list[list[object]]:
    """The runs with what they hold in one order."""
    return [
        [
            sorted(value.items()) if isinstance(value, dict) else value
            for value in vars(run).values()
        ]
        for run in runs
    ]


def test_reading_writes_nothing(recordings: Recordings, reader: Reader) -> None:
    """Not into the database, nor beside it, nor into what the runs have left."""
    before = state_of(recordings.folder)
    for run in reader.runs():
        reader.history(run)
        reader.artifacts(run)
    assert state_of(recordings.folder) == before


def test_an_older_or_foreign_database_is_left_alone(tmp_path: Path, recordings: Recordings) -> None:
    """MLflow would migrate it; what can be read is, what is no store of its is said to be none."""
    older = tmp_path / "older%20#1.db"
    shutil.copy(recordings.folder / "mlflow.db", older)
    with sqlite3.connect(older) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.execute("DROP TABLE logged_model_tags")
    database.close()
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    before = state_of(tmp_path)
    assert len(Reader("sqlite:///older%20#1.db").runs()) == 10
    with pytest.raises(OSError, match="no such table"):
        Reader("sqlite:///foreign.db")
    assert state_of(tmp_path) == before


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Neither the file nor its folder; a server that is down is said to be within seconds."""
    with pytest.raises(OSError, match=r"there is no store .*/no/mlflow\.db"):
        Reader("sqlite:///no/mlflow.db")
    began = time.monotonic()
    with pytest.raises(OSError, match="does not answer"):
        Reader("http://127.0.0.1:9")
    assert time.monotonic() - began < 6
    with pytest.raises(ValueError, match="the store must be sqlite"):
        Reader("file:///tmp/mlruns")
    assert not list(tmp_path.iterdir())


def test_what_a_run_is_to_others(recordings: Recordings, reader: Reader) -> None:
    """Networks, sweeps, their members and copies are distinguished; a failed run has no score."""
    runs = reader.runs("fashion-mnist")
    networks, sweeps = ([r for r in runs if r.is_network], [r for r in runs if r.is_sweep])
    assert sorted(run.name for run in sweeps) == ["wide", "widths"]
    assert len(networks) == 8
    wide, widths = recordings.run("wide"), recordings.run("widths")
    members = [run for run in networks if run.parent_id == wide.run_id]
    originals = {run.run_id for run in networks if run.parent_id == widths.run_id}
    assert len(members) == 2
    assert {run.original_id for run in members} < originals
    assert [score_of(run, SCORE) for run in (wide, widths)] == [0.08, 0.12]
    alone, diverged = recordings.run("alone"), recordings.run("diverged")
    assert (alone.parent_id, score_of(alone, SCORE)) == ("", alone.metrics[SCORE])
    assert (diverged.status, score_of(diverged, SCORE)) == ("FAILED", None)
    assert alone.duration is not None
    assert alone.duration.total_seconds() >= 0
    assert reader.experiments() == ["Default", "fashion-mnist"]
    assert reader.runs("Default") == []
    with pytest.raises(ValueError, match="no experiment 'x'; there are: Default, fashion-mnist"):
        reader.runs("x")


def test_files_are_listed_and_fetched(
    recordings: Recordings, reader: Reader, tmp_path: Path
) -> None:
    """Each with its size, from folders too; a path that leads elsewhere is refused."""
    alone = recordings.run("alone")
    files = {file.path: file.num_bytes for file in reader.artifacts(alone)}
    assert {"config/resolved.yaml", "model/data/model.safetensors", "curves.png"} < set(files)
    fetched = reader.download(alone, "config/resolved.yaml", tmp_path / "here")
    assert fetched == tmp_path / "here/config/resolved.yaml"
    assert fetched.stat().st_size == files["config/resolved.yaml"]
    [network] = reader.artifacts(alone, "model/data")
    assert network.path == "model/data/model.safetensors"
    for path in ("../mlflow.db", "/etc/hostname", "config/../../x", ""):
        with pytest.raises(ValueError, match="must lead down"):
            reader.download(alone, path, tmp_path / "here")
    with pytest.raises(OSError, match=r"gives no file 'nothing'.*; fmnist sync sends"):
        reader.download(alone, "nothing", tmp_path / "here")


def test_links_among_a_runs_files_are_not_followed(
    recordings: Recordings, reader: Reader, tmp_path: Path
) -> None:
    """Neither by its own name nor in a folder: its files may come from elsewhere."""
    (tmp_path / "secret.txt").write_text("secret")
    root = local_path(resolved_root(recordings.run("alone").artifact_uri, reader.uri))
    assert root is not None
    link = root / "config" / "link.txt"
    link.symlink_to(tmp_path / "secret.txt")
    try:
        assert "config/link.txt" not in {x.path for x in reader.artifacts(recordings.run("alone"))}
        with pytest.raises(OSError, match="leads elsewhere"):
            reader.download(recordings.run("alone"), "config/link.txt", tmp_path / "here")
        folder = reader.download(recordings.run("alone"), "config", tmp_path / "here")
        assert {file.name for file in folder.iterdir()} == {"resolved.yaml", "overrides.yaml"}
    finally:
        link.unlink()


def test_a_time_that_no_calendar_has_is_none() -> None:
    """A store of somebody else may hold any number."""
    assert [time_of(value) for value in (None, 0, 2**62, -(2**62))] == [None] * 4
    assert time_of(1000).timestamp() == 1  # type: ignore[union-attr] # it is none of those


def test_not_a_number_is_read_as_it_was_meant(tmp_path: Path, recordings: Recordings) -> None:
    """MLflow keeps it in a column of its own."""
    shutil.copy(recordings.folder / "mlflow.db", tmp_path / "mlflow.db")
    run = recordings.run("alone")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE latest_metrics SET value = 0, is_nan = 1 WHERE key = 'test/loss'")
    database.close()
    again = Reader("sqlite:///mlflow.db").run(run.run_id)
    assert again is not None
    assert math.isnan(again.metrics["test/loss"])


def test_reading_a_database_and_files_of_this_machine_needs_no_mlflow_and_no_torch(
    recordings: Recordings,
) -> None:
    """Nor does `fmnist show`: each import takes more than a thousand runs do."""
    code = "import sys; from pathlib import Path; "
    code += "from fashion_mnist.tracking.reader import Reader; "
    code += f"reader = Reader({recordings.uri!r}); reader.runs(); "
    code += f"run = reader.run({recordings.run('alone').run_id!r}); reader.artifacts(run); "
    code += "reader.download(run, 'config', Path('here')); "
    code += "from fashion_mnist.analysis.details import read_details; "
    code += "assert read_details(reader, run)['most_confused']['pairs']; "
    code += "print(bool({'mlflow', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
