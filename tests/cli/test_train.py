"""The main job as a user runs it: `fmnist train`, in a process of its own, on small real files."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import read_events
from fashion_mnist.runs.files import run_lock
from fashion_mnist.runs.records import parameters_of
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.training.checkpoint import load_model
from tests.builders import CLASS_NAMES, composer, data_overrides, make_data
from tests.faults.processes import FMNIST, fmnist

SMALL = ("data.validation_size=20", "training.batch_size=16", "training.epochs=2", "model.width=8")


def command(data: Path, *overrides: str) -> list[str]:
    """`fmnist train` on that data."""
    return [str(FMNIST), "train", *data_overrides(data), *SMALL, "tracking.uri=null", *overrides]


def run(
    arguments: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in the test's own folder."""
    program, *words = arguments
    if program == str(FMNIST):
        return fmnist(*words, **(environment or {}))
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300)


def folders() -> list[RunDir]:
    """The runs in the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs/runs").glob("*"))]


def test_a_run_leaves_all_that_it_promises(tmp_path: Path) -> None:
    """Files, figures, parameters and tags, in the event log alone."""
    data = make_data(tmp_path / "data")
    done = run(command(data, "optimizer.lr=0.01", "model.activation=gelu"))
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stdout
    assert "macro" in done.stdout
    [folder] = folders()
    assert folder.status() == "FINISHED"
    figures = folder.metrics()
    assert {"final/epoch", "final/val_accuracy", "test/accuracy", "test/ece"} < set(figures)
    start = next(event for event in read_events(folder.path) if event.kind == "start")
    parameters = start.content["params"]
    assert (parameters["optimizer.lr"], parameters["model.activation"]) == ("0.01", "gelu")
    assert {
        "fingerprint",
        "weights_sha256",
        "data_sha256",
        "host",
        "mlflow.fmnist.pid",
        "threads",
    } < set(folder.tags())
    artifacts = folder.artifacts
    for split in ("validation", "test"):
        content = json.loads((artifacts / split / "confusion_matrix.json").read_text())
        assert content["labels"] == list(CLASS_NAMES)
        counts = np.array(content["counts"])
        predictions = np.load(artifacts / split / "predictions.npz", allow_pickle=False)
        predicted = predictions["probabilities"].argmax(-1)
        for true, row in enumerate(counts):
            own = predicted[predictions["labels"] == true]
            assert row.tolist() == np.bincount(own, minlength=3).tolist()
        for name in ("confusion_matrix.png", "confusion_matrix.csv", "mistakes.png"):
            assert (artifacts / split / name).stat().st_size > 0
        for name in ("classification_report.json", "classification_report.csv"):
            assert (artifacts / split / name).stat().st_size > 0
    assert figures["test/accuracy"] == pytest.approx(counts.trace() / counts.sum())
    resolved = yaml.safe_load((artifacts / "config/resolved.yaml").read_text())
    assert resolved["optimizer"]["lr"] == 0.01
    assert "optimizer.lr=0.01" in yaml.safe_load((artifacts / "config/overrides.yaml").read_text())
    model = load_model(folder.model)
    images = torch.randint(0, 256, (4, 6, 5), dtype=torch.uint8)
    assert model.probabilities(images).sum(-1).tolist() == pytest.approx([1] * 4)
    assert not folder.checkpoint.exists()


def test_the_same_command_again_trains_nothing(tmp_path: Path) -> None:
    """It shows the run; `rerun=true` trains another with the same weights; a test is added."""
    data = make_data(tmp_path / "data")
    first = run(command(data, "evaluation.test=never"))
    again = run(command(data, "evaluation.test=never"))
    assert "trained before" not in first.stdout
    assert "trained before" in again.stdout
    assert "epoch 1/2" not in again.stdout
    assert "test/accuracy" not in folders()[0].metrics()
    run(command(data, "evaluation.test=always"))
    assert "test/accuracy" in folders()[0].metrics()
    anew = run(command(data, "rerun=true"))
    assert "epoch 2/2" in anew.stdout
    before, after = folders()
    assert before.tags()["weights_sha256"] == after.tags()["weights_sha256"]


def test_training_imports_neither_mlflow_nor_other_slow_libraries(tmp_path: Path) -> None:
    """They take seconds, and none is needed: also not scikit-learn for a few ratios of counts."""
    data = make_data(tmp_path / "data")
    script = """
import logging, sys
from fashion_mnist.cli.train import main
heavy = "mlflow torchvision sklearn pandas matplotlib.pyplot torch._dynamo triton"
slow = set(heavy.split())
class Look(logging.Handler):
    def emit(self, record):
        if "training on" in record.getMessage():
            print("at the first step:", sorted(slow & set(sys.modules)))
logging.getLogger("fashion_mnist").addHandler(Look())
main(sys.argv[1:])
print("at the end:", sorted(slow & set(sys.modules)))
"""
    done = run([sys.executable, "-c", script, *command(data)[2:]])
    assert "at the first step: []" in done.stdout, done.stdout + done.stderr
    assert "at the end: []" in done.stdout, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_killed_and_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """Exit status 128 + signal; the same command ends with the weights of an undisturbed run."""
    data = make_data(tmp_path / "data")
    long = ("training.epochs=400", "training.threads=1")
    with subprocess.Popen(
        command(data, *long), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   3"):
                process.send_signal(number)
                break
        rest = process.stdout.read()
    assert process.returncode == 128 + number, rest
    assert "the same command goes on" in rest
    [folder] = folders()
    assert folder.status() == "KILLED"
    again = run(command(data, *long))
    assert "going on after epoch" in again.stdout, again.stdout + again.stderr
    assert folder.status() == "FINISHED"
    epochs = [e.content["step"] for e in read_events(folder.path) if e.kind == "metrics"]
    assert [step for step in epochs if step] == list(range(1, 401))
    run(command(data, *long, "rerun=true"))
    undisturbed = folders()[1]
    assert undisturbed.tags()["weights_sha256"] == folder.tags()["weights_sha256"]


@pytest.mark.long
def test_an_interrupted_run_of_another_length_is_mentioned(tmp_path: Path) -> None:
    """It is another run: a line says that it is there, and how it goes on."""
    data = make_data(tmp_path / "data")
    with subprocess.Popen(
        command(data, "training.epochs=400"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   3"):
                process.send_signal(signal.SIGINT)
                break
    [interrupted] = folders()
    own_yaml = tmp_path / "my files"
    own_yaml.mkdir()
    other = run(command(data, "--config-dir", str(own_yaml), "optimizer.lr=0.01"))
    assert f"train --config-dir '{own_yaml}' " in other.stderr
    epoch = interrupted.epoch()
    assert f"was interrupted after {epoch} of 400 epochs, and this is another" in other.stderr
    assert "optimizer.lr and training.epochs differs" in other.stderr
    assert "training.epochs=400" in other.stderr
    assert "was interrupted" not in run(command(data, "model.width=9")).stderr


def test_no_other_run_keeps_one_from_training(tmp_path: Path) -> None:
    """Of interrupted runs those that cannot be read, and one that is being trained, are left out.

    A checkpoint of another format, a run killed before its files, a link that leads nowhere.
    """
    data = make_data(tmp_path / "data")
    words = (*data_overrides(data), *SMALL, "tracking.uri=null", "training.epochs=400")
    config = composer().job(words).config
    names = ("readable", "killed early", "other format", "being trained")
    for age, name in enumerate(reversed(names)):
        folder = Path("outputs/runs", name)
        with EventLog(folder) as event_log:
            event_log.start(name, parameters_of(config), {})
            event_log.status("RUNNING")
            overrides = event_log.artifacts / "config/overrides.yaml"
            overrides.parent.mkdir(parents=True)
            overrides.write_text(json.dumps(words))
        os.utime(folder, (1e9 - age, 1e9 - age))
    Path("outputs/runs/killed early/artifacts/config/overrides.yaml").unlink()
    save_file({"x": torch.ones(1)}, "outputs/runs/other format/checkpoint.safetensors")
    Path("outputs/runs/gone").symlink_to("nowhere")
    with run_lock(Path("outputs/runs/being trained")):
        done = run(command(data))
    assert done.returncode == 0, done.stderr
    hints = [line for line in done.stderr.splitlines() if "was interrupted" in line]
    assert [hint.partition(" was interrupted")[0] for hint in hints] == ["readable"]
    assert "after 0 of 400 epochs" in hints[0]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    """Variables of MLflow's that name an experiment, and a launcher where no sweep is made."""
    data = make_data(tmp_path / "data")
    words = ["training.epochs=1", "hydra/launcher=basic", "~optimizer.weight_decay"]
    done = run(command(data, *words), {"MLFLOW_EXPERIMENT_NAME": "mine"})
    assert done.returncode == 0, done.stderr
    assert "MLFLOW_EXPERIMENT_NAME is not read: tracking.experiment" in done.stderr
    assert "hydra/launcher=basic is for sweeps (-m): this run is trained here" in done.stderr
    [folder] = folders()
    assert "weight_decay" not in folder.name()
    parameters = folder.state().params
    assert parameters["optimizer.weight_decay"] == "0.01"
    assert parameters["optimizer.amsgrad"] == "false"
    assert (parameters["model"], parameters["data"]) == ("mlp", "idx")
    many = run(command(data, "-m", "seed=1,2", "tracking.run_name=mine", "--dry-run"))
    assert "tracking.run_name names no run of a sweep" in many.stderr
    twice = run(command(data, "--config-dir", "a", "--config-dir", "b"))
    assert twice.returncode == 2
    assert "--config-dir names one folder, got a and b" in twice.stderr


WITHOUT_HOME = """
import os, pwd, sys
os.environ.pop("HOME", None)
def getpwuid(number):
    raise KeyError(number)
pwd.getpwuid = getpwuid
from fashion_mnist.__main__ import main
main()
"""


@pytest.mark.long
def test_a_user_without_a_home_records_runs(tmp_path: Path) -> None:
    """A container's user id need have no name: MLflow, which wants a home, gets one."""
    data = make_data(tmp_path / "data")
    words = command(data, "tracking.uri=sqlite:///mlflow.db")[1:]
    done = run([sys.executable, "-c", WITHOUT_HOME, *words])
    assert done.returncode == 0, done.stderr
    assert "not sent yet" not in done.stdout
    assert "in the browser: " in done.stdout
    assert "http://127.0.0.1:5000/#/experiments/" in done.stdout


def test_a_finished_run_says_how_to_look_at_it(tmp_path: Path) -> None:
    """The commands that it prints can be typed as they are: the network is shown.

    The last time the run was trained before, and is not the latest.
    """
    data = make_data(tmp_path / "data")
    for seed in ("1", "2", "1"):
        done = run(command(data, "tracking.uri=sqlite:///mlflow.db", f"seed={seed}"))
        assert done.returncode == 0, done.stderr
    assert "was trained before" in done.stdout
    [line] = [text for text in done.stdout.splitlines() if "in the terminal: " in text]
    shown = run(shlex.split(line.partition(": ")[2]))
    assert shown.returncode == 0, shown.stderr
    assert "configuration" in shown.stdout
    assert "seed=1" in shown.stdout.splitlines()[0]


def test_a_run_that_is_being_trained_is_not_trained_twice(tmp_path: Path) -> None:
    """The second process is told so and ends; the first goes on."""
    data = make_data(tmp_path / "data")
    long = ("training.epochs=100000", "training.threads=1")
    with subprocess.Popen(command(data, *long), stdout=subprocess.DEVNULL) as process:
        while not any(folder.status() == "RUNNING" for folder in folders()):
            time.sleep(0.05)
        second = run(command(data, *long))
        assert second.returncode == 1
        assert "being trained by another process" in second.stdout + second.stderr
        assert process.poll() is None
        process.kill()


def test_a_mistake_costs_nothing(tmp_path: Path) -> None:
    """Exit status 2, the words on standard error, no traceback, nothing written."""
    data = make_data(tmp_path / "data")
    done = run(command(data, "optimizer.lr=-1", "model.widht=3"))
    assert done.returncode == 2
    assert "optimizer.lr must be" in done.stderr
    assert "did you mean model.width?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("outputs").exists()
    shown = run(command(data, "optimizer.lr=-1"), {"HYDRA_FULL_ERROR": "1"})
    assert "Traceback" in shown.stderr


def test_mistakes_that_only_the_data_shows_leave_no_run(tmp_path: Path) -> None:
    """Sizes that do not fit, and files that are damaged."""
    data = make_data(tmp_path / "data")
    done = run(command(data, "training.batch_size=71"))
    assert done.returncode == 2
    assert "training.batch_size must be" in done.stdout + done.stderr
    (data / "t10k-labels-idx1-ubyte").write_bytes(b"\0")
    done = run(command(data))
    assert done.returncode == 2
    assert "t10k-labels-idx1-ubyte" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert folders() == []


def test_a_diverging_run_fails_with_its_step(tmp_path: Path) -> None:
    """Exit status 1 and the reason; it is not trained again unless asked for."""
    data = make_data(tmp_path / "data")
    words = ("optimizer=sgd", "optimizer.lr=1e30", "schedule=constant")
    done = run(command(data, *words))
    assert done.returncode == 1
    assert "diverged in epoch 1 at step 2" in done.stdout + done.stderr
    assert folders()[0].status() == "FAILED"
    assert "rerun=true" in run(command(data, *words)).stdout


def test_a_store_that_must_answer_and_does_not_is_one_line(tmp_path: Path) -> None:
    """With tracking.offline=never, before anything is trained."""
    data = make_data(tmp_path / "data")
    words = ("tracking.uri=http://127.0.0.1:9", "tracking.offline=never")
    done = run(command(data, *words))
    assert done.returncode == 1
    assert "does not answer" in done.stdout + done.stderr
    assert "epoch" not in done.stdout
    assert folders() == []


def test_an_empty_test_set_is_enough_where_it_is_never_read(tmp_path: Path) -> None:
    """Otherwise the key is named, before anything is trained."""
    data = make_data(tmp_path / "data", num_test=0)
    refused = run(command(data))
    message = "evaluation.test must be never where the test set is empty, got auto"
    assert (refused.returncode, message in refused.stdout + refused.stderr) == (2, True)
    assert folders() == []
    trained = run(command(data, "evaluation.test=never"))
    assert trained.returncode == 0, trained.stderr
    assert "validation accuracy" in trained.stdout + trained.stderr
