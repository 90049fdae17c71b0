"""What `fmnist doctor` finds: nothing where all is well, and what to do where it is not."""

import json
import shlex
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.data.fashion_mnist import NAMES
from fashion_mnist.maintenance.doctor import (
    PACKAGE,
    Finding,
    check_artifacts,
    check_data,
    check_disk,
    check_event_logs,
    check_gpu,
    check_leftovers,
    check_packages,
    check_threads,
    check_tracking,
)
from fashion_mnist.runs.event_log import EventLog, set_offline
from fashion_mnist.runs.events import LOG_FILE
from fashion_mnist.runs.files import replacing, run_lock
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.store import Store
from tests.builders import make_data
from tests.recordings import Recordings, fmnist


def runs_of(uri: str) -> Callable[[], list[RecordedRun]]:
    return lambda: Reader(uri).runs()


def only(check: Iterable[Finding]) -> Finding:
    [finding] = check
    return finding


def test_all_is_well_after_training(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 0; every topic is told of, in the table and in JSON. Nothing is changed."""
    monkeypatch.chdir(recordings.folder)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    said = fmnist("doctor", "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)["findings"]
    topics = ["environment", "store", "paths in the store", "event logs", "leftovers", "disk"]
    assert {each["topic"] for each in found} >= {*topics, "data", "threads", "GPU"}
    states = {each["topic"]: each["state"] for each in found}
    assert {states[topic] for topic in topics} == {"OK"}
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert after == before
    assert "10 runs" in fmnist("doctor").stdout


def test_a_moved_project_is_well(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are found where they are, its runs count as recorded, and nothing is changed."""
    folder = tmp_path / "moved"
    shutil.copytree(recordings.folder, folder)
    monkeypatch.chdir(folder)
    before = (folder / "mlflow.db").read_bytes()
    said = fmnist("doctor")
    assert said.exit_code == 0, said.stdout
    assert "all recorded" in said.stdout
    assert (folder / "mlflow.db").read_bytes() == before


def test_a_first_start_is_well(tmp_path: Path) -> None:
    """Neither store nor outputs are there, and nothing is made."""
    said = fmnist("doctor")
    assert said.exit_code == 0, said.output
    assert "the first run makes it" in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_packages_are_compared_with_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here all fit; one that is missing and one that is too old are named."""
    assert only(check_packages()).state == "OK"
    folder = tmp_path / f"{PACKAGE.replace('-', '_')}-9.dist-info"
    folder.mkdir()
    required = ["numpy>=99", "no-such-package", "another-one; extra == 'notebook'"]
    lines = [f"Name: {PACKAGE}", "Version: 9", "Requires-Python: >=3.99"]
    lines += [f"Requires-Dist: {each}" for each in required]
    (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    python, packages = check_packages()
    assert (python.state, packages.state) == ("error", "error")
    assert ">=3.99 is needed" in python.words
    said = f"numpy {metadata.version('numpy')}, and >=99 is needed; no-such-package is missing"
    assert packages.words == said


def test_damaged_data_is_said_and_left(tmp_path: Path) -> None:
    """Other data in the place of Fashion-MNIST, and files that are missing."""
    folder = make_data(tmp_path / "data")
    before = sorted(folder.iterdir())
    first, *others = check_data(folder)
    assert first.state == "error"
    assert "SHA-256" in first.words
    assert "remove what is changed" in first.advice  # no damage, which fmnist fetch sets aside
    assert all(finding.state != "error" for finding in others)
    assert sorted(folder.iterdir()) == before
    (folder / NAMES[0]).unlink()
    only_finding = only(check_data(folder, systems=[]))
    assert (only_finding.state, NAMES[0] in only_finding.words) == ("error", True)
    assert "fmnist fetch" in only_finding.advice


def test_a_copy_that_is_not_complete_is_passed_over_where_there_is_a_whole_one(
    tmp_path: Path,
) -> None:
    """As training passes it over."""
    whole = make_data(tmp_path / "whole")
    digests = {name: sha256((whole / name).read_bytes()).hexdigest() for name in NAMES}
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    (part / NAMES[0]).unlink()
    finding = only(check_data(part, expected=digests, systems=[whole]))
    assert finding.state == "OK"
    assert str(whole) in finding.words


def test_stores_that_cannot_be_used_are_errors(recordings: Recordings, tmp_path: Path) -> None:
    """No database, another program's, a damaged one, a locked one, a server that is down."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert only(check_tracking(uri, runs_of(uri))).state == "warning"
    path.write_text("no database" * 1000)
    assert "not a database" in only(check_tracking(uri, runs_of(uri))).words
    assert list(check_artifacts(uri, runs_of(uri))) == []  # nor is it said twice
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (x)")
    assert "another program (its tables: mine)" in only(check_tracking(uri, runs_of(uri))).words
    shutil.copy(recordings.folder / "mlflow.db", path)
    assert only(check_tracking(uri, runs_of(uri))).state == "OK"
    for revision, said in (("0123456789ab", "newer MLflow"), ("451aebb31d03", "older MLflow")):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        with pytest.raises(OSError, match=said):
            Store(uri)  # nor is anything recorded there
        found = only(check_tracking(uri, runs_of(uri)))
        assert (found.state, said in found.words) == ("error", True)
        assert ("mlflow db upgrade" in found.advice) is (said == "older MLflow")
    shutil.copy(recordings.folder / "mlflow.db", path)
    content = bytearray(path.read_bytes())
    content[8192:20480] = bytes(12288)
    path.write_bytes(content)
    assert only(check_tracking(uri, runs_of(uri))).state == "error"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = only(check_tracking(f"http://127.0.0.1:{taken.getsockname()[1]}", list))
    assert (down.state, "does not answer" in down.words) == ("error", True)


def test_a_locked_store_is_said_to_be(recordings: Recordings, tmp_path: Path) -> None:
    """Another process writes to it."""
    path = shutil.copy(recordings.folder / "mlflow.db", tmp_path / "mlflow.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        finding = only(check_tracking(f"sqlite:///{path}", runs_of(f"sqlite:///{path}")))
    assert finding.state == "error"
    assert "another program" in finding.advice


def write_run(folder: Path, uri: str) -> None:
    """A finished run that was not sent."""
    with EventLog(folder) as event_log:
        event_log.destination(uri, "experiment")
        event_log.start("a run", {}, {})
        event_log.status("FINISHED")


def test_runs_that_no_store_has_are_told_of(tmp_path: Path) -> None:
    """Not those of a living process; what was held back on purpose is a warning."""
    outputs, uri = tmp_path / "outputs", absolute_uri("sqlite:///mlflow.db", tmp_path)

    def look() -> list[Finding]:
        return list(check_event_logs(outputs, list))

    assert only(look()).state == "OK"
    for name in ("a-1", "b-1"):
        write_run(outputs / "runs" / name, uri)
    assert only(look()).state == "error"
    assert "2 runs are not recorded yet" in only(look()).words  # and not gone: no store had them
    (tmp_path / "mlflow.db").touch()
    assert "2 runs are not recorded yet" in only(look()).words
    with run_lock(outputs / "runs" / "a-1"):
        assert "1 run is not recorded yet" in only(look()).words
    for name in ("a-1", "b-1"):
        set_offline(outputs / "runs" / name, is_offline=True)
    assert only(look()).state == "warning"
    event_log = outputs / "runs" / "a-1" / LOG_FILE
    event_log.write_bytes(event_log.read_bytes().replace(b"a run", b"A run"))
    assert [finding.state for finding in look()] == ["error", "warning"]
    assert "is damaged" in look()[0].words


def test_an_experiment_in_the_trash_is_named(tmp_path: Path) -> None:
    """`fmnist sync` alone cannot help: the command that restores it is said first."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    number = Store(uri).experiment("fashion-mnist")
    MlflowClient(uri).delete_experiment(number)
    with EventLog(tmp_path / "runs" / "a-1") as event_log:
        event_log.destination(uri, "fashion-mnist")
        event_log.start("a run", {}, {})
        event_log.status("FINISHED")
    found = only(check_event_logs(tmp_path, list))
    assert found.state == "error"
    assert "'fashion-mnist' was deleted" in found.words
    assert f"mlflow experiments restore --experiment-id {number}" in found.advice
    assert "fmnist sync" in found.advice


def test_runs_whose_store_is_gone_may_have_moved_with_it(
    recordings: Recordings, tmp_path: Path
) -> None:
    """They are in the store that is here; else they are lost to it."""
    shutil.copytree(recordings.folder / "outputs", tmp_path / "outputs")
    hidden = recordings.folder.rename(tmp_path / "hidden")
    try:
        uri = absolute_uri("sqlite:///mlflow.db", hidden)
        [found] = check_event_logs(tmp_path / "outputs", runs_of(uri))
        [lost] = check_event_logs(tmp_path / "outputs", list)
    finally:
        hidden.rename(recordings.folder)
    assert found.state == "OK"
    assert (lost.state, "which is gone" in lost.words) == ("error", True)


def test_leftovers_and_room_are_told_of(tmp_path: Path) -> None:
    """What `fmnist clean` would free is a warning; a folder that takes nothing is an error."""
    tmp_path = tmp_path / "my runs"
    with EventLog(tmp_path / "runs" / "a-1") as event_log:
        event_log.start("a run", {}, {})
        event_log.status("FINISHED")
    (tmp_path / "runs" / "a-1" / "checkpoint.safetensors").write_bytes(bytes(2_000_000))
    finding = only(check_leftovers(tmp_path))
    assert (finding.state, "2.0 MB" in finding.words) == ("warning", True)
    assert finding.advice == f"fmnist clean --delete --output-dir {shlex.quote(str(tmp_path))}"
    (tmp_path / "runs" / "b-1").mkdir()
    words = only(check_leftovers(tmp_path)).words
    assert words == "1 file and 1 empty folder to clean up, 2.0 MB"
    assert only(check_disk(tmp_path / "to" / "be" / "made")).state in ("OK", "warning")
    with replacing(tmp_path / "file") as path:
        path.write_text("")
    assert only(check_disk(tmp_path / "file" / "below")).state in ("OK", "warning")


def test_the_machine_is_measured_and_left_as_it_was() -> None:
    """A busy one is a warning: it will not stay so."""
    before = torch.get_num_threads()
    assert only(check_threads()).state in ("OK", "warning")
    assert torch.get_num_threads() == before
    assert only(check_gpu()).state in ("OK", "warning")


def test_an_address_that_is_none_is_the_users_mistake() -> None:
    """Exit status 2."""
    said = fmnist("doctor", "--uri", "ftp://host")
    assert (said.exit_code, "--uri must be" in said.stderr) == (2, True)


def test_lost_files_are_noticed(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished network whose folder of files is gone; the store itself is whole."""
    shutil.copytree(recordings.folder, tmp_path / "copy")
    uri = f"sqlite:///{tmp_path}/copy/mlflow.db"
    monkeypatch.chdir(tmp_path / "copy")
    Store(uri)  # as a run that is recorded here opens it: its files are those of the copy
    assert only(check_artifacts(uri, runs_of(uri))).state == "OK"
    run = recordings.run("alone")
    [folder] = (tmp_path / "copy" / "mlruns").glob(f"*/{run.run_id}")
    shutil.rmtree(folder)
    found = only(check_artifacts(uri, runs_of(uri)))
    assert found.state == "error"
    assert run.run_id in found.words
