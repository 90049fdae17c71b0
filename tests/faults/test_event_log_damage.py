"""An event log that a disk or a hand has damaged is noticed, kept and gone on with; a note too."""

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE, SEAL_FILE, make_event, read_events
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking import log_upload
from fashion_mnist.tracking.recorded import STATE_TAG
from fashion_mnist.tracking.upload_state import (
    UploadState,
    read_problems,
    upload_state_path,
    uploads,
)
from fashion_mnist.tracking.uploader import Uploader, sync
from fashion_mnist.training.stack import Stack
from tests.builders import QUIET, load, make_config, make_data
from tests.faults.event_logs import EXPERIMENT, FAULTS, break_log, draw, say_epoch, write_run
from tests.faults.records import assert_recorded_once

FAULTS_OF_A_KIND = 25


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    """What a user was warned of since the last time."""
    said = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    caplog.clear()
    return "\n".join(said)


def find_runs(uri: str) -> dict[str, Run]:
    """The runs of the experiment by name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in runs}


def measured(folder: Path) -> list[dict[str, float]]:
    """The history without its times: what is written again here is written later."""
    rows = RunDir(folder).history()
    return [{key: value for key, value in row.items() if key != "time"} for row in rows]


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_noticed_and_the_good_part_stands(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers stop at the damage; the next life keeps the file as it was, warns, and goes on."""
    random = Random(fault)
    whole = tmp_path / "whole"
    identity = write_run(whole, "sqlite:////nowhere.db")
    original = [(event.kind, event.time_ms, event.content) for event in read_events(whole)]
    for number in range(FAULTS_OF_A_KIND):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        broken = break_log(folder, fault, random)
        read = [(event.kind, event.time_ms, event.content) for event in read_events(folder)]
        assert read == original[: len(read)]
        assert len(read) < len(original)
        RunDir(folder).history()
        warnings(caplog)
        assert write_run(folder, "sqlite:////nowhere.db") == identity
        assert "events.damaged-1.jsonl" in warnings(caplog)
        assert (folder / "events.damaged-1.jsonl").read_bytes() == broken
        assert measured(folder) == measured(whole)
        assert RunDir(folder).status() == "FINISHED"
        EventLog(folder).close()
        assert warnings(caplog) == ""


@pytest.mark.parametrize("number", [10**30, -1, 2**62])
def test_a_note_of_any_number_holds_up_nothing(number: int, output_dir: Path, uri: str) -> None:
    """A seal and an upload state come with archives too: the run goes on, and its like are sent."""
    folders = [output_dir / "runs" / name for name in ("hostile", "other")]
    for folder in folders:
        write_run(folder, uri)
    assert sync(output_dir).is_complete
    [upload] = uploads(folders[0])
    for path in (folders[0] / SEAL_FILE, upload_state_path(upload.destination)):
        content = json.loads(path.read_bytes())
        content |= {key: number for key in ("offset", "time", "requested_ms") if key in content}
        path.write_text(json.dumps(content))
    with run_lock(folders[1]), EventLog(folders[1]) as event_log:
        event_log.tags({"more": "1"})
    sync(output_dir)
    [other] = uploads(folders[1])
    assert other.is_complete
    write_run(folders[0], uri)
    assert sync(output_dir).is_complete


def test_a_database_that_cannot_be_looked_for_counts_as_gone(tmp_path: Path) -> None:
    """Its folder may not be entered: its run has a reason when it is opened, others are sent."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    destination = Destination(f"sqlite:///{closed}/mlflow.db", EXPERIMENT, run_dir=tmp_path)
    UploadState(offset=1).write(destination)
    user = os.geteuid()
    if user == 0:  # whom no folder is closed to
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            Path(closed, "mlflow.db").exists()
        assert UploadState.read(destination) == UploadState()
    finally:
        os.seteuid(user)


def test_half_a_line_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a kill leaves of an event after the last status is cut off without a word."""
    with EventLog(tmp_path) as event_log:
        event_log.start("a run", {}, {})
        event_log.status("RUNNING")
        event_log.metrics(1, {"val/loss": 0.5})
    path = tmp_path / LOG_FILE
    content = path.read_bytes()
    last_line = len(content.splitlines(keepends=True)[-1])
    for length in range(1, last_line):
        path.write_bytes(content[:-length])
        EventLog(tmp_path).close()
        assert path.read_bytes() == content[:-last_line]
    assert warnings(caplog) == ""
    assert not list(tmp_path.glob("*damaged*"))


def test_a_writer_that_was_taken_for_dead_harms_nothing(tmp_path: Path) -> None:
    """It may still write on another host: its lines do not get into the log that was repaired."""
    with EventLog(tmp_path) as first:
        first.start("run", {}, {})
    with (tmp_path / LOG_FILE).open("ab", buffering=0) as other:
        other.write(b'{"kind": "tags", "ti')
        with EventLog(tmp_path) as second:
            other.write(b'me": 1, "values": {}, "crc": "00000000"}\n')
            second.tags({"a": "b"})
        other.write(b"more\n")
    assert EventLog(tmp_path).state.tags == {"a": "b"}
    assert not list(tmp_path.glob("*.damaged*"))


def test_a_writer_that_sleeps_on_another_host_harms_nothing(tmp_path: Path) -> None:
    """Nor where its last line was whole: it wakes, and is told that its file is no log any more."""
    with EventLog(tmp_path) as sleeping:
        sleeping.start("run", {}, {"host": "another"})
        with EventLog(tmp_path) as second:
            second.metrics(1, {"val/loss": 0.5})
            with pytest.raises(OSError, match="another process goes on with it"):
                sleeping.metrics(1, {"val/loss": 0.7})
            second.status("FINISHED")
    state = EventLog(tmp_path).state
    assert (state.status, state.points[1, "val/loss"][0]) == ("FINISHED", 0.5)
    assert not list(tmp_path.glob("*.damaged*"))


def test_damage_that_comes_again_overwrites_nothing(tmp_path: Path) -> None:
    """Each damaged event log is kept under a name of its own."""
    write_run(tmp_path, "sqlite:////nowhere.db")
    kept = []
    for seed in range(3):
        kept.append(break_log(tmp_path, "garbage in the middle", Random(seed)))
        write_run(tmp_path, "sqlite:////nowhere.db")
    names = [f"events.damaged-{number}.jsonl" for number in (1, 2, 3)]
    assert [(tmp_path / name).read_bytes() for name in names] == kept


@pytest.mark.parametrize("seal", ["whole", "damaged", "gone"])
def test_a_log_without_its_header(
    seal: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the same run where the seal says which; else a new one, with a warning."""
    identity = write_run(tmp_path, "sqlite:////nowhere.db")
    (tmp_path / LOG_FILE).write_bytes(b"x" + (tmp_path / LOG_FILE).read_bytes()[1:])
    if seal == "damaged":
        (tmp_path / SEAL_FILE).write_bytes((tmp_path / SEAL_FILE).read_bytes()[:20])
    elif seal == "gone":
        (tmp_path / SEAL_FILE).unlink()
    with EventLog(tmp_path) as event_log:
        assert (event_log.state.id == identity) is (seal == "whole")
        assert "events.damaged-1.jsonl" in warnings(caplog)
    with EventLog(tmp_path) as again:
        assert again.state.id == event_log.state.id


def test_a_log_of_an_earlier_format_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines without checksums are not read, but kept, and the warning says what they are."""
    old = b'{"kind": "journal", "time": 1, "id": "' + b"0" * 32 + b'"}\n'
    (tmp_path / LOG_FILE).write_bytes(old)
    assert list(read_events(tmp_path)) == []
    EventLog(tmp_path).close()
    assert "another format" in warnings(caplog)
    assert (tmp_path / "events.damaged-1.jsonl").read_bytes() == old


def test_uploader_leaves_a_damaged_log_alone(
    output_dir: Path, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The store keeps what it has, others are sent, the user is told; mended, all is there once."""
    hurt, other = output_dir / "runs" / "hurt", output_dir / "runs" / "other"
    write_run(hurt, uri)
    assert sync(output_dir).is_complete
    for number, fault in enumerate(FAULTS):
        broken = break_log(hurt, fault, Random(number))
        with EventLog(other) as event_log:
            event_log.destination(uri, EXPERIMENT)
            event_log.start("other", {}, {})
            say_epoch(event_log, number + 1)
            event_log.status("KILLED")
            event_log.status("RUNNING")
        outcome = sync(output_dir)
        unsent = [run.run_dir.name for run in outcome.uploads if not run.is_complete]
        assert unsent in (["hurt"], [])  # where nothing is left of it, nobody knows where it goes
        assert f"{hurt / LOG_FILE} " in warnings(caplog)
        if "hurt" in unsent:
            assert f"{hurt / LOG_FILE} " in str(outcome.reason)
        assert (hurt / LOG_FILE).read_bytes() == broken
        assert find_runs(uri)["größer"].info.status == "FINISHED"
        write_run(hurt, uri)  # its own command
        outcome = sync(output_dir)
        assert outcome.is_complete, outcome.reason
        assert_recorded_once(uri, output_dir)


@pytest.mark.parametrize("seed", range(12))
def test_a_log_that_grew_again_is_sent_once(seed: int, output_dir: Path, uri: str) -> None:
    """Cut short below what was sent and said again, at any length: nothing lost, nothing twice."""
    random = Random(seed)
    folder = output_dir / "runs" / "a"
    write_run(folder, uri, epochs=random.randint(1, 6), end=random.choice(["KILLED", "FINISHED"]))
    assert sync(output_dir).is_complete
    for epochs in (random.randint(1, 6), 8):
        break_log(folder, "cut at a line's end", random)
        if random.random() < 0.5:
            (folder / SEAL_FILE).unlink()
            # without the seal it is the same run while its first line stands
            if not (folder / LOG_FILE).read_bytes():
                (folder / LOG_FILE).unlink()
                pytest.skip("nothing is left that says which run it was")
        write_run(folder, uri, epochs=epochs)
        if random.random() < 0.5:
            assert sync(output_dir).is_complete
    assert sync(output_dir).is_complete
    assert_recorded_once(uri, output_dir)


def damaged_json(content: bytes) -> Iterator[bytes]:
    """A small JSON file in every way that it may lie on the disk."""
    yield from (content[:length] for length in range(0, len(content), 7))
    yield bytes(len(content))
    yield from (b"[]", b"7", b"null", b'"words"', b"{}", b"\xff\xfe", b"[" * 100_000)
    yield from (b'{"offset": -1}', b'{"offset": 1e99, "crc": 0}', b'{"x": {"reason": 1}}')
    yield content.replace(b'"run_id": "', b'"run_id": 5, "other": "')


def test_damaged_upload_state_counts_as_none(output_dir: Path, uri: str) -> None:
    """Whatever lies there, the run is sent again, and everything is in the store once."""
    folder = output_dir / "runs" / "a"
    write_run(folder, uri)
    assert sync(output_dir).is_complete
    [upload] = uploads(folder)
    state = upload_state_path(upload.destination)
    for content in damaged_json(state.read_bytes()):
        state.write_bytes(content)
        outcome = sync(output_dir)
        assert outcome.is_complete, outcome.reason
    assert_recorded_once(uri, output_dir)


def test_damaged_note_of_problems_counts_as_none(output_dir: Path, uri: str) -> None:
    """The uploader's list of what went wrong may be anything: it sends."""
    (output_dir / "runs").mkdir(parents=True)
    note = {f"{'0' * 16} run": {"reason": "it was so", "time_ms": 1}}
    for number, content in enumerate(damaged_json(json.dumps(note).encode())):
        (output_dir / "uploader.json").write_bytes(content)
        assert isinstance(read_problems(output_dir), dict)
        if number % 8 == 0:
            write_run(output_dir / "runs" / str(number), uri, epochs=1, end="KILLED")
            assert sync(output_dir).is_complete
    assert_recorded_once(uri, output_dir)


def append(folder: Path, **said: object) -> None:
    """A line with a checksum that fits, whatever it says."""
    _, line = make_event({"time": 1, **said}, RunState.read(folder).mark)
    with (folder / LOG_FILE).open("ab") as file:
        file.write(line)


def test_paths_in_a_log_do_not_lead_out_of_its_folder(output_dir: Path, uri: str) -> None:
    """A file outside is not sent, by whatever path; the rest of the run is."""
    folder = output_dir / "runs" / "a"
    write_run(folder, uri, end="KILLED")
    secret = output_dir.parent / "secret.txt"
    secret.write_text("secret")
    artifacts = folder / "artifacts"
    (artifacts / "link.txt").symlink_to(secret)
    (artifacts / "folder").symlink_to(output_dir.parent)
    os.mkfifo(artifacts / "pipe")
    paths = ["../../../../secret.txt", str(secret), "link.txt", "folder/secret.txt", "pipe"]
    paths += ["epochs/../../../../../secret.txt", "epochs/../../events.jsonl"]
    paths += ["", ".", "missing", "a\0b", "x" * 5000]
    for path in paths:
        append(folder, kind="artifact", path=path)
        append(folder, kind="image", key="k", path=path, step=0)
        append(folder, kind="model", path=path)
    append(folder, kind="artifact", path="epochs/1.txt")
    append(folder, kind="status", status="FINISHED")
    assert sync(output_dir).is_complete
    assert find_runs(uri)["größer"].info.status == "FINISHED"
    stored = [path for path in (output_dir.parent / "store").rglob("*") if path.is_file()]
    assert not [path for path in stored if b"secret" in path.read_bytes() and path.suffix != ".db"]
    sent = sorted(path.name for path in stored if path.parent.name not in ("store", "lock"))
    assert sent == [f"{epoch}.txt" for epoch in range(1, 7)]


def test_artifacts_folder_that_is_a_link_out_is_left_out(output_dir: Path, uri: str) -> None:
    """Not even the whole folder of artifacts may lie elsewhere."""
    folder = output_dir / "runs" / "a"
    write_run(folder, uri, epochs=1, end="KILLED")
    elsewhere = output_dir.parent / "elsewhere"
    (folder / "artifacts").rename(elsewhere)
    (folder / "artifacts").symlink_to(elsewhere)
    assert sync(output_dir).is_complete
    assert not list((output_dir.parent / "store").rglob("1.txt"))


def test_files_that_cannot_be_read_are_left_out(output_dir: Path, uri: str) -> None:
    """A damaged picture or network holds up neither its run nor others."""
    folder = output_dir / "runs" / "a"
    with EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("a", {}, {})
        for number, content in enumerate([b"", b"no picture", bytes(500)]):
            draw(event_log, f"{number}.png")
            (event_log.artifacts / f"{number}.png").write_bytes(content)
            (folder / f"{number}.safetensors").write_bytes(content)
            event_log.model(f"{number}.safetensors")
        draw(event_log, "half.png")
        half = (event_log.artifacts / "half.png").read_bytes()
        (event_log.artifacts / "half.png").write_bytes(half[: len(half) // 2])
        event_log.status("FINISHED")
    outcome = sync(output_dir)
    assert outcome.is_complete, outcome.reason
    assert find_runs(uri)["a"].info.status == "FINISHED"


def test_entries_that_make_no_sense_hold_up_their_run_alone(output_dir: Path, uri: str) -> None:
    """An event log that another program wrote, checksums and all, stops no other."""
    hostile: list[dict[str, object]] = [
        {"kind": "metrics", "step": 1, "values": {"val/loss": "<b>"}},
        {"kind": "metrics", "step": 10**30, "values": {"val/loss": 1.0}},
        {"kind": "tags", "values": {"a": None, "../b": {"c": 1}}},
        {"kind": "view", "key": "k", "name": "n", "columns": [1], "axes": [None]},
        {"kind": "status", "status": "nonsense"},
        {"kind": "start", "name": "\n\x1b[2J", "params": {"p": []}, "tags": {}},
        {"kind": "nonsense"},
        {"kind": "log", "format": 2, "id": "' OR '1' = '1"},
        {"kind": "destination", "uri": "nonsense://x", "experiment": "../../x"},
        {"kind": "dataset", "name": "", "digest": "", "context": "", "source": ""},
    ]
    for number, said in enumerate(hostile):
        folder = output_dir / "runs" / f"{number}"
        write_run(folder, uri, epochs=1, end="RUNNING")
        append(folder, **said)
    write_run(output_dir / "runs" / "sound", uri)
    sync(output_dir)
    sound = [run for run in sync(output_dir).uploads if run.run_dir.name == "sound"]
    assert [run.is_complete for run in sound] == [True]


def test_what_is_no_run_is_passed_over(output_dir: Path, uri: str) -> None:
    """Strange files and folders beside the runs are no trouble to whoever sends them."""
    runs = output_dir / "runs"
    write_run(runs / "sound", uri)
    (runs / ".DS_Store").write_text("x")
    (runs / "empty").mkdir()
    (runs / "folder" / LOG_FILE).mkdir(parents=True)
    (runs / "link").symlink_to(runs / "nowhere")
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "notes").mkdir()
    shutil.copytree(runs / "sound", runs / "b", ignore=shutil.ignore_patterns("*.db"))
    [upload] = uploads(runs / "b")
    upload_state_path(upload.destination).mkdir(parents=True)
    (output_dir / "sweeps").write_text("x")
    sound = [run for run in sync(output_dir).uploads if run.run_dir.name == "sound"]
    assert [run.is_complete for run in sound] == [True]


def test_run_that_was_taken_for_dead_is_shown_running_again(output_dir: Path, uri: str) -> None:
    """Whoever ended it in the store was wrong: it goes on, and the store says so."""
    folder = output_dir / "runs" / "a"
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("a", {}, {})
        event_log.status("RUNNING")
        sync(output_dir)
        MlflowClient(uri).set_terminated(find_runs(uri)["a"].info.run_id, "KILLED")
        say_epoch(event_log, 1)
        assert sync(output_dir).is_complete
        assert find_runs(uri)["a"].info.status == "RUNNING"


def test_lost_runs_whose_directory_was_removed_are_ended(
    output_dir: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store shows as running ends as KILLED where this host's directory of it is gone."""

    def leave(name: str, *, is_removed: bool) -> None:
        """A run that the store shows as running, and whose log is not below the output folder."""
        run_dir = output_dir / "runs" / name
        with EventLog(run_dir) as event_log:
            event_log.destination(uri, EXPERIMENT)
            event_log.start(name, {}, {})
            event_log.status("RUNNING")
            say_epoch(event_log, 1)
            Uploader(output_dir).poll()
        if is_removed:
            shutil.rmtree(run_dir)

    leave("removed", is_removed=True)
    leave("here", is_removed=False)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        leave("on another host", is_removed=True)
    with monkeypatch.context() as patch:
        patch.setattr(log_upload, "getnode", lambda: 1)
        leave("on one of the same name", is_removed=True)
    leave("says nothing", is_removed=True)
    client = MlflowClient(uri)
    client.set_tag(find_runs(uri)["says nothing"].info.run_id, STATE_TAG, "x")
    write_run(output_dir / "runs" / "next", uri)
    with run_lock(output_dir / "runs" / "here"):
        assert sync(output_dir).is_complete
    runs = find_runs(uri)
    statuses = {name: runs[name].info.status for name in runs if name != "größer"}
    others = ("on another host", "on one of the same name", "says nothing")
    alive = dict.fromkeys(("here", *others), "RUNNING")
    assert statuses == {"removed": "KILLED", **alive}
    [point] = client.get_metric_history(runs["removed"].info.run_id, "val/loss")
    assert runs["removed"].info.end_time == point.timestamp


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data of a run, and the hash of the weights that it ends with."""
    root = tmp_path_factory.mktemp("undisturbed")
    data = make_data(root / "data")
    folder = train_on(data, root / "outputs", "sqlite:////nowhere.db")
    return data, folder.tags()["weights_sha256"]


def train_on(data: Path, output_dir: Path, uri: str, observer: Observer = QUIET) -> RunDir:
    """The same small run, or the rest of it; sent when somebody asks."""
    words = ["model.hidden_sizes=[6]", "training.epochs=4", "training.checkpoint_seconds=0"]
    words += ["training.threads=1", f"output_dir={output_dir}", f"tracking.uri={uri}"]
    config = make_config(data, *words, "tracking.offline=always", "evaluation.test=never")
    [result] = train([Request(config)], load(data), observer)
    assert result.error is None
    return result.folder


def die_in_epoch_3(stack: Stack, _step: int) -> None:
    """Saves nothing, as kill -9 does."""
    if stack.epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fault", "is_finished"),
    [
        ("a bit flipped", False),
        ("zeros to the end", False),
        ("cut at a line's end", True),
        ("garbage in the middle", True),
    ],
)
def test_run_with_a_damaged_log_ends_as_if_undisturbed(
    fault: str,
    is_finished: bool,
    undisturbed: tuple[Path, str],
    output_dir: Path,
    uri: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same command warns, goes on to the same weights, and all is in the store once."""
    data, weights = undisturbed
    if is_finished:
        folder = train_on(data, output_dir, uri)
    else:
        with pytest.raises(KeyboardInterrupt):
            train_on(data, output_dir, uri, Observer(on_step=die_in_epoch_3))
        [path] = (output_dir / "runs").iterdir()
        folder = RunDir(path)
    assert sync(output_dir).is_complete
    break_log(folder.path, fault, Random(fault))
    warnings(caplog)
    again = train_on(data, output_dir, uri)
    assert again == folder
    assert "events.damaged-1.jsonl" in warnings(caplog)
    assert again.status() == "FINISHED"
    assert again.tags()["weights_sha256"] == weights
    assert [row["epoch"] for row in again.history()] == [1, 2, 3, 4]
    assert sync(output_dir).is_complete
    assert_recorded_once(uri, output_dir)
