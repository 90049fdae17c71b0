"""`fmnist runs` and `fmnist show` on a real store; the help and the shells' completion."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from fashion_mnist.cli.app import app
from fashion_mnist.tracking.store import record_run
from tests.builders import make_data
from tests.faults.test_hostile_names import ESCAPES, STEERING
from tests.recordings import Recordings, fmnist, fmnist_json

FMNIST = Path(sys.executable).with_name("fmnist")


def rows(*words: str) -> list[dict[str, Any]]:
    """What `fmnist runs` lists."""
    found: list[dict[str, Any]] = fmnist_json("runs", *words)["runs"]
    return found


@pytest.mark.usefixtures("here")
def test_runs_are_listed_newest_first_and_once() -> None:
    """Networks alone; `--all` adds copies and sweeps; the table says what the JSON says."""
    found = rows()
    assert [row["name"] for row in found][:2] == ["alone", "diverged"]
    assert len(found) == 6
    assert len(rows("--all")) == 10
    table = fmnist("runs").stdout.splitlines()
    assert re.split(r"\s{2,}", table[0])[1:4] == ["name", "status", "started"]
    assert [line[:8] for line in table[1:]] == [row["id"][:8] for row in found]
    assert found[0]["test/accuracy"] > 0
    assert [row["sweep"] for row in found] == [None, None, *["widths"] * 4]
    assert not [line for line in table if line != line.rstrip()]


def test_a_run_that_was_deleted_is_found_by_its_id(tmp_path: Path) -> None:
    """By `diff` as by `show`; lists do not have it."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    first, second = (
        record_run(uri, experiment="x", name=name, tags={"device": name}, metrics={}, files=[])
        for name in ("one", "other")
    )
    MlflowClient(uri).delete_run(second)
    assert fmnist("show", second, "--uri", uri).exit_code == 0
    said = fmnist_json("diff", first, second, "--uri", uri)
    assert said["runs"] == {"A": first, "B": second}
    assert fmnist("diff", first, "other", "--uri", uri).exit_code == 2


@pytest.mark.usefixtures("here")
def test_options_choose_order_and_cut() -> None:
    """Sweep, status, conditions and limit each leave fewer; a sweep's list has its copies."""
    assert len(rows("--sweep", "wide")) == 2
    assert len(rows("--sweep", "widths", "--filter", "model.width=4")) == 2
    assert [row["name"] for row in rows("--status", "failed")] == ["diverged"]
    narrow = rows("--filter", "model.width<=6", "--filter", "optimizer.name=adamw")
    assert {row["name"] for row in narrow} == {
        "model.width=4 seed=1",
        "model.width=4 seed=2",
        "alone",
    }
    rising = rows("--sort", "final/val_loss", "--columns", "final/val_loss,model.width")
    losses = [row["final/val_loss"] for row in rising]
    assert losses[-1] is None
    assert losses[:-1] == sorted(losses[:-1])
    falling = rows("--sort", "-final/val_loss", "--columns", "final/val_loss")
    assert [row["final/val_loss"] for row in falling][:-1] == losses[-2::-1]
    assert rows("--limit", "1", "--columns", "name") == rows("--columns", "name")[:1]
    assert "2 of 6; --limit 0 for all" in fmnist("runs", "--limit", "2").stdout
    assert "none of 10 recorded runs" in fmnist("runs", "--filter", "seed=99").stdout


@pytest.mark.usefixtures("here")
def test_a_sweeps_list_has_a_column_for_what_was_swept() -> None:
    """In place of names that say it; as JSON beside all other keys; `--columns` replaces them."""
    head, *lines = fmnist("runs", "--sweep", "widths").stdout.splitlines()
    assert re.split(r"\s{2,}", head)[:4] == ["id", "model.width", "seed", "status"]
    assert sorted(line.split()[1:3] for line in lines) == [
        [width, seed] for width in "48" for seed in "12"
    ]
    assert {"model.width", "seed", "name", "sweep", "started"} <= rows("--sweep", "widths")[
        0
    ].keys()
    named = fmnist("runs", "--sweep", "widths", "--columns", "name").stdout.splitlines()[0]
    assert named.split() == ["id", "name"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["runs", "--filter", "modle.width=3"], 2, "did you mean model.width?"),
        (["runs", "--sort", "final/acuracy"], 2, "no run has a metric"),
        (["runs", "--columns", "nme"], 2, "did you mean name?"),
        (["runs", "--status", "done"], 2, "--status must be one of"),
        (["runs", "--sweep", "width"], 2, "(widths)"),
        (["runs", "--experiment", "x"], 2, "there are: Default, fashion-mnist"),
        (["runs", "--uri", "sqlite:///no.db"], 1, "there is no store"),
        (["runs", "--uri", "ftp://host"], 2, "the store must be"),
        (["show", "aloen"], 2, "(alone)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_one_line(words: list[str], status: int, message: str) -> None:
    """With what was meant; the user's are told from what failed by the exit status."""
    said = fmnist(*words)
    assert (said.exit_code, said.stdout) == (status, "")
    assert message in said.stderr
    assert said.stderr.count("\n") == 1


def test_show_tells_all_of_a_run(here: Recordings) -> None:
    """Configuration, curves, scores, confused classes, files and origin; JSON has them whole."""
    alone = here.run("alone")
    shown = fmnist("show", "alone").stdout
    for part in ("optimizer", "lr=0.001", "val/accuracy", "3 epochs", "taken for", "curves.png"):
        assert part in shown
    assert alone.tags["weights_sha256"] in shown
    assert f"{alone.metrics['test/accuracy']:.4f}" in shown
    said = json.loads(fmnist("show", alone.run_id[:12], "--json").stdout)
    assert (said["id"], said["parameters"], said["tags"]) == (
        alone.run_id,
        alone.parameters,
        alone.tags,
    )
    assert set(said["curves"]) == set(alone.metrics)
    assert list(said["curves"]["train/loss"]) == ["1", "2", "3"]
    confusion = json.loads(
        (
            Path(alone.artifact_uri.removeprefix("file://")) / "validation/confusion_matrix.json"
        ).read_bytes()
    )
    mistakes = sum(sum(row) - row[n] for n, row in enumerate(confusion["counts"]))
    assert sum(pair["count"] for pair in said["most_confused"]["pairs"]) <= mistakes
    assert {file["path"] for file in said["files"]} > {"curves.png", "model/MLmodel"}


@pytest.mark.parametrize("name", ["diverged", "widths"])
@pytest.mark.usefixtures("here")
def test_show_tells_of_runs_without_metrics(name: str) -> None:
    """One that failed says why; a sweep is a run too."""
    said = fmnist("show", name)
    assert said.exit_code == 0
    assert ("diverged in epoch" if name == "diverged" else "best/val_accuracy") in said.stdout


@pytest.mark.usefixtures("here")
def test_files_that_are_gone_hide_nothing_else(tmp_path: Path) -> None:
    """A folder that was moved: what the database has is shown, and the exit status is 0."""
    (tmp_path / "mlflow.db").write_bytes(Path("mlflow.db").read_bytes())
    moved = fmnist("show", "alone", "--uri", f"sqlite:///{tmp_path}/mlflow.db")
    assert moved.exit_code == 0
    assert "val/accuracy" in moved.stdout


def test_words_of_others_are_shown_harmlessly(tmp_path: Path, recordings: Recordings) -> None:
    """Names, tags and parameters from a store steer no terminal, as table or as JSON."""
    path = tmp_path / "mlflow.db"
    path.write_bytes((recordings.folder / "mlflow.db").read_bytes())
    client = MlflowClient(f"sqlite:///{path}")
    for text in (text.encode(errors="replace").decode() for text in ESCAPES.values()):
        tags = {"fingerprint": text, "mlflow.runName": f"x{text}", "mlflow.parentRunId": text}
        run = client.create_run("1", tags=tags)
        client.log_param(run.info.run_id, "model.note", text)
        for words in (["runs"], ["show", run.info.run_id], ["show", f"y{text}"]):
            for form in ([], ["--json"]):
                said = fmnist(*words, *form)
                assert said.exit_code == (2 if f"y{text}" in words else 0)
                assert not STEERING.search(said.output)


def test_fetch_says_a_mistake_in_one_line(tmp_path: Path) -> None:
    """A folder of another data set, with the exit status that every command has for mistakes."""
    said = fmnist("fetch", "--folder", make_data(tmp_path / "data"))
    assert (said.exit_code, said.stdout) == (2, "")
    assert "its own, as in data.name=mine" in said.stderr
    assert said.stderr.count("\n") == 1


def test_the_help_has_panels_and_examples() -> None:
    """Each command's help ends with an example."""
    said = fmnist("--help").stdout
    assert said.index("Training") < said.index("What recorded runs say")
    rooms = [group.typer_instance for group in app.registered_groups if group.typer_instance]
    commands = [each.callback for own in (app, *rooms) for each in own.registered_commands]
    names = [command.__name__.replace("_", "-") for command in commands if command]
    assert {"train", "runs", "show", "clean"} <= set(names)
    for name in set(names) - {"train"}:  # hands --help over to Hydra
        text = fmnist(name, "--help").stdout
        assert f"Example: fmnist {name}" in " ".join(text.split())
        assert "<bool>" not in text
    assert "<bool>" not in said


def test_help_imports_nothing_heavy() -> None:
    """It must come at once."""
    code = "import sys; from fashion_mnist.cli.app import app; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "mlflow", "numpy", "sqlalchemy", "matplotlib", "hydra", "sklearn"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize(
    ("shell", "word"),
    [("bash", "complete -o"), ("zsh", "#compdef fmnist"), ("fish", "complete --command fmnist")],
)
def test_each_shell_gets_its_completion(shell: str, word: str) -> None:
    """The script that `--install-completion` puts in place; and it completes a command."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [FMNIST, "--show-completion", shell], capture_output=True, text=True, env=environment
    )
    assert (script.returncode, word in script.stdout) == (0, True), script.stderr
    asked = {"COMP_WORDS": "fmnist sho", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "fmnist sho"}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_FMNIST_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([FMNIST], capture_output=True, text=True, env={**os.environ, **asked})
    assert "show" in done.stdout
