"""`fmnist clean`: what is of no further use is deleted on demand; what was recorded stays."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fashion_mnist.cli.app import app
from fashion_mnist.maintenance.clean import (
    DAMAGED,
    EMPTY,
    ENDED_CHECKPOINT,
    PART,
    UNFINISHED,
    clean,
)
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.files import is_abandoned, replacing, run_lock

OUTPUTS = Path("outputs")


def write(path: Path, num_bytes: int = 10) -> Path:
    """A file of that size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(num_bytes))
    return path


def make_run(name: str, status: str, kind: str = "runs") -> Path:
    """A run with an event log, a lock, a network, figures and both checkpoints."""
    folder = OUTPUTS / kind / name
    with EventLog(folder) as event_log:
        event_log.start(name, {}, {})
        event_log.status(status)
    names = ("lock", "model.safetensors", "artifacts/curves.png", "uploads/store.json")
    for own in (*names, "checkpoint.safetensors", "checkpoint.previous.safetensors"):
        write(folder / own)
    return folder


def files() -> set[Path]:
    """All that there is, but for locks."""
    return {path for path in OUTPUTS.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.fixture
def outputs() -> Iterator[dict[str, set[Path]]]:
    """Leftovers of every kind, by kind, among what must stay; one run is being trained."""
    ended = [make_run("finished", "FINISHED"), make_run("failed", "FAILED")]
    unfinished = [make_run("killed", "KILLED"), make_run("zombie", "RUNNING")]
    sweep = make_run("search", "FINISHED", "sweeps")
    for path in sweep.glob("checkpoint*"):
        path.unlink()
    write(sweep / "study.log")
    write(sweep / "events.damaged-1.jsonl")
    write(OUTPUTS / "runs/silent/study.log")  # no event log, and yet not ours
    write(OUTPUTS / "hydra/2026-01-01/0/.hydra/config.yaml")
    busy = make_run("busy", "FINISHED")
    write(busy / ".checkpoint.0123abcd.part.safetensors")
    (OUTPUTS / "runs/begun/artifacts").mkdir(parents=True)
    write(OUTPUTS / "runs/begun/lock", 0)
    write(OUTPUTS / "runs/begun/events.jsonl", 0)
    (OUTPUTS / "sweeps/begun").mkdir()
    being_written = (OUTPUTS / "uploader.json", ended[0] / "uploads/store.json")
    with run_lock(busy), replacing(being_written[0]), replacing(being_written[1]):
        yield {
            PART: {
                write(ended[0] / ".checkpoint.0123abcd.part.safetensors", 100),
                write(ended[1] / "artifacts/test/.curves.0123abcd.part.png"),
                write(OUTPUTS / "hydra/2026-01-01/.sweep.0123abcd.part.json"),
                write(OUTPUTS / ".uploader.0123abcd.part.json"),
            },
            DAMAGED: {
                write(unfinished[0] / "checkpoint.damaged-1.safetensors"),
                write(unfinished[0] / "checkpoint.previous.damaged-12.safetensors"),
            },
            ENDED_CHECKPOINT: {path for run in ended for path in run.glob("checkpoint*")},
            EMPTY: {OUTPUTS / "runs/begun", OUTPUTS / "sweeps/begun"},
            UNFINISHED: {
                run / name
                for run in unfinished
                for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors")
            },
        }


@pytest.mark.parametrize("unfinished", [False, True])
def test_every_kind_is_found_and_nothing_is_touched(
    outputs: dict[str, set[Path]], unfinished: bool
) -> None:
    """Without being asked it deletes nothing; what a living process holds is left out."""
    before = files()
    found = clean(OUTPUTS, unfinished=unfinished, delete=False)
    wanted = {kind: own for kind, own in outputs.items() if unfinished or kind != UNFINISHED}
    by_kind = {kind: {each.path for each in found if each.kind == kind} for kind in wanted}
    assert by_kind == wanted
    assert len(found) == sum(map(len, wanted.values()))
    assert sum(each.num_bytes for each in found if each.kind == PART) == 130
    assert files() == before


def test_looking_writes_nothing() -> None:
    """No lock either: a folder that can only be read can be looked through."""
    folder = make_run("killed", "KILLED")
    (folder / "lock").unlink()

    def tree() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in OUTPUTS.rglob("*")}

    before = tree()
    assert clean(OUTPUTS, unfinished=True, delete=False)
    assert tree() == before


@pytest.mark.parametrize("unfinished", [False, True])
def test_just_what_was_shown_is_deleted(outputs: dict[str, set[Path]], unfinished: bool) -> None:
    """Everything else is as it was, and there is nothing left to free."""
    shown = {each.path for each in clean(OUTPUTS, unfinished=unfinished, delete=False)}
    before = {path: path.read_bytes() for path in files()}
    gone = {each.path for each in clean(OUTPUTS, unfinished=unfinished, delete=True)}
    assert gone == shown
    assert not any(path.exists() for path in gone)
    inside = {path for path in before if shown & {path, *path.parents}}
    assert {path: path.read_bytes() for path in files()} == {
        path: content for path, content in before.items() if path not in inside
    }
    assert clean(OUTPUTS, unfinished=unfinished, delete=True) == []
    assert all(path.exists() for path in outputs[UNFINISHED]) is not unfinished


def test_command_shows_sizes_and_how_to_free_them(outputs: dict[str, set[Path]]) -> None:
    """A table with totals and the command; with --delete what was freed; then nothing."""
    shown = CliRunner().invoke(app, ["clean"])
    assert shown.exit_code == 0
    assert "half-written files of dead processes" in shown.stdout
    assert "130 bytes" in shown.stdout
    assert "to free it: fmnist clean --delete" in shown.stdout
    as_json = json.loads(CliRunner().invoke(app, ["clean", "--json"]).stdout)
    assert as_json["deleted"] is False
    total = sum(each["bytes"] for each in as_json["leftovers"])
    assert f"{total} bytes" in shown.stdout
    assert {each["path"] for each in as_json["leftovers"] if each["kind"] == DAMAGED} == set(
        map(str, outputs[DAMAGED])
    )
    more = CliRunner().invoke(app, ["clean", "--unfinished"])
    assert "fmnist clean --delete --unfinished; unfinished runs then begin again" in more.stdout
    freed = CliRunner().invoke(app, ["clean", "--delete"])
    assert f"deleted, {total} bytes are free" in freed.stdout
    again = CliRunner().invoke(app, ["clean"])
    assert again.stdout == "nothing to clean up below outputs\n"


def test_folder_that_is_not_there_has_nothing_to_free() -> None:
    """Before the first run; it is not made for that."""
    said = CliRunner().invoke(app, ["clean", "--output-dir", "nowhere"])
    assert (said.exit_code, said.stdout) == (0, "nothing to clean up below nowhere\n")
    assert not Path("nowhere").exists()


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """What is linked to from a run's place is not the run's to be freed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    OUTPUTS.joinpath("runs").mkdir(parents=True)
    OUTPUTS.joinpath("runs/linked").symlink_to(elsewhere)
    OUTPUTS.joinpath("archive").symlink_to(elsewhere)
    half_written = elsewhere / ".model.0123abcd.part.safetensors"
    half_written.write_text("")
    assert is_abandoned(half_written)
    assert clean(OUTPUTS, unfinished=True, delete=True) == []
    assert half_written.exists()


def test_half_written_file_is_abandoned_when_its_process_is_dead(tmp_path: Path) -> None:
    """Its lock says so, at once: not the number of a process, nor the file's age."""
    with replacing(tmp_path / "file.json") as beside:
        beside.write_text("{}")
        os.utime(beside, (0, 0))
        assert not is_abandoned(beside)
    assert not is_abandoned(tmp_path / "file.json")
    code = (
        "import os, sys; from pathlib import Path; from fashion_mnist.runs.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as beside: beside.touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file.json")], check=False)
    [left] = tmp_path.glob("*.part*")
    assert is_abandoned(left)
    assert not is_abandoned(tmp_path / ".file.part.json")


@pytest.mark.usefixtures("outputs")
def test_the_table_is_plain_where_colours_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's kernel and some CI want colours in all that is printed; this is text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = CliRunner().invoke(app, ["clean"])
    assert result.exit_code == 0
    assert "x1b" not in result.output
