"""The event log: nothing is said twice, nothing is lost but a half-written line."""

import errno
import json
import math
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE, SEAL_FILE, log_size, read_events
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.run_state import RunState


def kinds(folder: Path) -> list[str]:
    return [entry.kind for entry in read_events(folder)]


def test_id_stays_when_reopened(tmp_path: Path) -> None:
    """An event log keeps the id that it was made with; two event logs have different ones."""
    with EventLog(tmp_path / "a") as first, EventLog(tmp_path / "b") as other:
        first_id = first.state.id
        assert other.state.id != first_id
    with EventLog(tmp_path / "a") as again:
        assert again.state.id == first_id
    assert kinds(tmp_path / "a") == ["log"]


def test_points_are_written_once(tmp_path: Path) -> None:
    """A (step, key) that is in the event log is never written again, also after reopening."""
    with EventLog(tmp_path) as event_log:
        event_log.metrics(1, {"val/loss": 0.5})
        event_log.metrics(1, {"val/loss": 0.4, "val/accuracy": 0.75})
    with EventLog(tmp_path) as event_log:
        event_log.metrics(1, {"val/loss": 0.3, "val/accuracy": 0.1})
        event_log.metrics(2, {"val/loss": 0.25})
    points = [entry.content for entry in read_events(tmp_path) if entry.kind == "metrics"]
    assert points == [
        {"step": 1, "values": {"val/loss": 0.5}},
        {"step": 1, "values": {"val/accuracy": 0.75}},
        {"step": 2, "values": {"val/loss": 0.25}},
    ]


def test_repeating_a_run_s_beginning_writes_nothing(tmp_path: Path) -> None:
    """A resumed run may say destination, start, dataset, tags and status again."""
    for _ in range(2):
        with EventLog(tmp_path) as event_log:
            event_log.destination("sqlite:////x.db", "e")
            event_log.start("name", {"model.width": "512"}, {"host": "a"})
            event_log.dataset(
                "d", digest="1", context="train", source="f", num_examples=3, image_shape=[2, 2]
            )
            event_log.tags({"host": "a"})
            event_log.status("RUNNING")
    assert kinds(tmp_path) == ["log", "destination", "start", "dataset", "status"]


def test_changed_tags_and_status_are_written(tmp_path: Path) -> None:
    """Only what changed is said again."""
    with EventLog(tmp_path) as event_log:
        event_log.start("name", {}, {"host": "a", "threads": "2"})
        event_log.status("RUNNING")
        event_log.status("KILLED")
        event_log.tags({"host": "b", "threads": "2"})
        event_log.status("RUNNING")
        assert event_log.state.status == "RUNNING"
    contents = [entry.content for entry in read_events(tmp_path)][2:]
    assert contents[2] == {"values": {"host": "b"}}
    assert [contents[i]["status"] for i in (0, 1, 3)] == ["RUNNING", "KILLED", "RUNNING"]


def test_values_that_are_no_plain_numbers_survive(tmp_path: Path) -> None:
    """NaN and both infinities are read back as they were."""
    values = {"nan": math.nan, "up": math.inf, "down": -math.inf}
    with EventLog(tmp_path) as event_log:
        event_log.metrics(1, values)
    *_, entry = read_events(tmp_path)
    assert math.isnan(entry.content["values"]["nan"])
    assert (entry.content["values"]["up"], entry.content["values"]["down"]) == (math.inf, -math.inf)


@settings(deadline=None)  # files take their time on a busy machine
@given(cut=st.integers(min_value=0, max_value=400))
def test_torn_last_line_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Cut at any byte, the event log reads as its whole lines, and goes on after them."""
    folder = tmp_path_factory.mktemp("run")
    with EventLog(folder) as event_log:
        event_log.start("größer", {"model.width": "512"}, {})
        event_log.metrics(1, {"val/loss": 0.5})
    path = folder / LOG_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    assert len(kinds(folder)) == lines
    with EventLog(folder) as event_log:
        event_log.metrics(1, {"val/loss": 0.5})
        assert kinds(folder).count("metrics") == 1
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_reading_from_each_end_gives_the_rest(tmp_path: Path) -> None:
    """Reading on from an entry's end yields exactly the entries after it."""
    with EventLog(tmp_path) as event_log:
        event_log.start("name", {}, {})
        event_log.metrics(1, {"é": 1.0})
        event_log.metrics(2, {"é": 1.0})
    entries = list(read_events(tmp_path))
    for number, entry in enumerate(entries, start=1):
        assert list(read_events(tmp_path, entry.mark)) == entries[number:]
    assert entries[-1].mark.offset == log_size(tmp_path)


def test_some_kinds_are_what_all_entries_have_of_them(tmp_path: Path) -> None:
    """Also up to damage in a line of another kind."""
    with EventLog(tmp_path) as event_log:
        event_log.start("name", {}, {})
        for step in range(1, 5):
            event_log.metrics(step, {"val/loss": 0.5})
            event_log.tags({"step": str(step)})
        event_log.status("FINISHED")
    path = tmp_path / LOG_FILE
    whole = path.read_bytes()
    for kinds in (("tags",), ("metrics", "status")):
        for content in (whole, whole.replace(b'"step": 3, ', b'"step": 7, '), whole[:-20]):
            path.write_bytes(content)
            wanted = [entry for entry in read_events(tmp_path) if entry.kind in kinds]
            read = list(read_events(tmp_path, kinds=kinds))
            assert [entry for entry in read if entry.kind] == wanted


def test_lines_bear_a_running_checksum(tmp_path: Path) -> None:
    """Each line is JSON whose last word is the CRC-32 of all lines up to it."""
    with EventLog(tmp_path) as event_log:
        event_log.start("größer", {"model.width": "512"}, {})
        event_log.metrics(1, {"val/loss": 0.5})
    running = 0
    for line in (tmp_path / LOG_FILE).read_bytes().splitlines():
        assert list(json.loads(line))[-1] == "crc"
        words, _, crc = line.rpartition(b', "crc": ')
        running = zlib.crc32(words, running)
        assert crc == b'"%08x"}' % running


@pytest.mark.parametrize("line", ["[1]", "", "{}", '{"kind": "status", "status": "FINISHED"}'])
def test_reading_ends_at_a_line_that_is_no_entry(tmp_path: Path, line: str) -> None:
    """Nothing after it can be told from what is wrong."""
    with EventLog(tmp_path) as event_log:
        event_log.metrics(1, {"val/loss": 0.5})
    whole = (tmp_path / LOG_FILE).read_bytes()
    with EventLog(tmp_path) as event_log:
        event_log.metrics(2, {"val/loss": 0.25})
    rest = (tmp_path / LOG_FILE).read_bytes().removeprefix(whole)
    (tmp_path / LOG_FILE).write_bytes(whole + line.encode() + b"\n" + rest)
    assert kinds(tmp_path) == ["log", "metrics"]


@pytest.mark.parametrize("name", ["a(b)", "", "a//b", "../a", "/a", "a/", "x" * 251])
def test_names_that_mlflow_rejects_are_refused(tmp_path: Path, name: str) -> None:
    """A bad name is an error here, where it can be seen, and leaves no entry."""
    with EventLog(tmp_path) as event_log:
        with pytest.raises(ValueError, match="names of metrics"):
            event_log.metrics(1, {name: 1.0})
        with pytest.raises(ValueError, match="names of metrics"):
            event_log.start("run", {name: "1"}, {})
    assert kinds(tmp_path) == ["log"]


AXES = ["model.width"]


def test_view_is_written_when_it_changes(tmp_path: Path) -> None:
    """Saying the same view again writes nothing; other axes under its key do; keys are plain."""
    for _ in range(2):
        with EventLog(tmp_path) as event_log:
            event_log.view("sweep-1", "a sweep", AXES, AXES, "parameters")
    with EventLog(tmp_path) as event_log:
        event_log.view("sweep-1", "a sweep", [*AXES, "seed"], AXES, "parameters")
        with pytest.raises(ValueError, match="view's key"):
            event_log.view("sweep/1", "a sweep", [], [], "final/val_accuracy")
    assert kinds(tmp_path) == ["log", "view", "view"]


@pytest.mark.parametrize("path", ["missing.txt", "../events.jsonl", "/etc/hostname"])
def test_artifacts_must_be_files_in_the_tree(tmp_path: Path, path: str) -> None:
    """An artifact that is not there, or not below `artifacts/`, is an error at once."""
    with EventLog(tmp_path) as event_log, pytest.raises(ValueError, match="is no file below"):
        event_log.artifact(path)


def test_what_mlflow_would_refuse_is_refused_at_once(tmp_path: Path) -> None:
    """A digest or a key that it does not take would hold up the whole log."""
    with EventLog(tmp_path) as event_log:
        (event_log.artifacts / "a.png").touch()
        for digest in ("", "0" * 37):
            with pytest.raises(ValueError, match="a dataset's digest must have 1 to 36 characters"):
                event_log.dataset(
                    "a", digest=digest, context="train", source="", num_examples=1, image_shape=()
                )
        for key in ("", "a+b", "a~b"):
            with pytest.raises(ValueError, match="an image key takes letters"):
                event_log.image(key, "a.png")
    assert kinds(tmp_path) == ["log"]


def test_lock_tells_whether_a_process_lives(tmp_path: Path) -> None:
    """A run has a writer while a process holds its lock, and none after a SIGKILL."""
    code = "import sys; from pathlib import Path; from fashion_mnist.runs.files import run_lock;"
    code += "lock = run_lock(Path(sys.argv[1])); lock.acquire();"
    code += "print('held', flush=True); sys.stdin.read()"
    assert not run_lock(tmp_path).is_held()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        assert run_lock(tmp_path).is_held()
        process.kill()
    assert not run_lock(tmp_path).is_held()
    with run_lock(tmp_path):
        assert run_lock(tmp_path).is_held()


def test_an_append_writes_one_line_whatever_is_there(tmp_path: Path) -> None:
    """It is in the file at once, and what was there stays: no epoch costs more than another."""
    values = {f"metric/{number}": float(number) for number in range(9)}
    path = tmp_path / LOG_FILE
    with EventLog(tmp_path) as event_log:
        event_log.metrics(0, values)
        for epoch in range(1, 50):
            before = path.read_bytes()
            event_log.metrics(epoch, values)
            after = path.read_bytes()
            assert after.startswith(before)
            assert after[len(before) :].count(b"\n") == 1


def test_a_status_that_is_not_safe_on_the_disk_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses to keep it, nothing of it is there, and it can be said again."""

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with EventLog(tmp_path) as event_log:
        event_log.status("RUNNING")
        before = (tmp_path / LOG_FILE).read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(OSError, match=r"events\.jsonl"):
                event_log.status("FINISHED")
        assert event_log.state.status == "RUNNING"
        assert (tmp_path / LOG_FILE).read_bytes() == before
        event_log.status("FINISHED")
    assert RunState.read(tmp_path).status == "FINISHED"


def test_a_status_stands_where_its_seal_has_no_room(tmp_path: Path) -> None:
    """A run that has ended is not said to be killed for want of a file that shows damage."""
    with EventLog(tmp_path) as event_log:
        event_log.status("RUNNING")
        (tmp_path / SEAL_FILE).unlink()
        (tmp_path / SEAL_FILE).mkdir()
        event_log.status("FINISHED")
        assert event_log.state.status == "FINISHED"
    assert RunState.read(tmp_path).status == "FINISHED"


def test_one_reducer_says_the_same_of_a_whole_log_and_of_its_parts(tmp_path: Path) -> None:
    """Read at once, event by event, or of some kinds; a row of the history keeps its time."""
    with EventLog(tmp_path) as event_log:
        event_log.start("name", {"p": "1"}, {"t": "1"})
        times = [event_log.metrics(step, {"val/loss": 1 / step}) for step in (1, 2)]
        event_log.metrics(0, {"final/val_loss": 0.5})
        event_log.tags({"t": "2"})
        event_log.status("FINISHED")
        written = event_log.state
    state = RunState()
    for event in read_events(tmp_path):
        state.apply(event)
    assert state == written == RunState.read(tmp_path)
    assert (state.name, state.tags, state.metrics()) == (
        "name",
        {"t": "2"},
        {"final/val_loss": 0.5},
    )
    assert state.history() == [
        {"epoch": step, "time": times[step - 1], "val/loss": 1 / step} for step in (1, 2)
    ]
    some = RunState.read(tmp_path, kinds=("status",))
    assert (some.status, some.mark, some.points) == ("FINISHED", state.mark, {})
