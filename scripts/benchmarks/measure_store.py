"""What recording a run costs: its pictures, and sending it to a store."""

import tempfile
import time
from pathlib import Path

import torch
from measuring import FMNIST, Table, core_seconds, ratio, real_dataset, spread, whole_command
from mlflow import MlflowClient

from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.plots.confusion import confusion_figure
from fashion_mnist.plots.image_grid import mistakes_figure
from fashion_mnist.plots.png import write_png
from fashion_mnist.runs.artifacts import SplitResult, write_split

NUM_EPOCHS = 20
FIGURES = ["train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "images_per_second"]
NUM_PARAMETERS = 60  # about as many as a config has keys
NUM_VALIDATED = 5000
NUM_SENT = 16  # runs of the sweep that is sent


def measure_publishing(rounds: int) -> Table:
    """Seconds of a core for a run of 20 epochs: sent by this program, and call by call."""
    sent, by_calls, starts = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            train_a_sweep(folder)
            sync = whole_command(folder, [FMNIST, "sync"])
            began = core_seconds()
            sync()
            middle = core_seconds()
            sync()  # imports, opens the store, finds nothing to send
            starts.append(core_seconds() - middle)
            sent.append((middle - began - starts[-1]) / (NUM_SENT + 1))  # and the sweep's own run
            by_calls.append(seconds_call_by_call(Path(folder)))
    rows = [
        ["by this program, its start left out", spread(sent), "1"],
        ["by the fluent API, call by call", spread(by_calls), ratio(by_calls, sent)],
        ["the start of the program that sends, once", spread(starts), ratio(starts, sent)],
    ]
    return Table(["publishing a run, 20 epochs, its files, sqlite", "s of a core", "ratio"], rows)


def measure_pictures(rounds: int) -> Table:
    """Seconds of a core for what is drawn and written of a sweep's member: its validation split."""
    data = real_dataset()
    images = data.test_images[:NUM_VALIDATED].view(-1, *data.image_shape)
    labels = data.test_labels[:NUM_VALIDATED]
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(len(labels), data.num_classes, generator=draws)
    logits[torch.arange(len(labels)), labels] += 4  # most are right
    probabilities = logits.softmax(1)
    names = data.class_names

    def asked() -> Predictions:
        return Predictions(probabilities.numpy(), labels.numpy(), "")

    def pictures(folder: Path) -> None:
        own = asked()
        matrix = confusion_figure(own.counts.numpy(), names, "Validation")
        write_png(matrix, folder / "counts.png")
        mistakes = mistakes_figure(images.numpy(), own.labels, own.probabilities, names)
        write_png(mistakes, folder / "mistakes.png")

    def everything(folder: Path) -> None:
        list(write_split(folder, SplitResult("validation", asked(), 0.0, images), names))

    rows = []
    for what, subject in {"its two pictures": pictures, "these and its tables": everything}.items():
        with tempfile.TemporaryDirectory() as folder:
            subject(Path(folder))  # imports, fonts
            own = []
            for _ in range(rounds):
                began = time.process_time()
                subject(Path(folder))
                own.append(time.process_time() - began)
        rows.append([what, spread(own, 3)])
    return Table([f"a split of {NUM_VALIDATED} images", "s of a core"], rows)


def train_a_sweep(folder: str) -> None:
    """Runs that are not sent yet, each with all its files."""
    words = ["data.train_size=2000", "model.width=32", f"training.epochs={NUM_EPOCHS}"]
    axes = [f"seed=range({NUM_SENT})", "tracking.offline=always"]
    whole_command(folder, [FMNIST, "train", "-m", *words, *axes])()


def seconds_call_by_call(folder: Path) -> float:
    """A run as MLflow's documentation shows it, with the files of a run of ours."""
    artifacts = next(folder.glob("outputs/runs/*/artifacts"))
    own = [path for path in artifacts.rglob("*") if path.is_file()]
    client = MlflowClient(f"sqlite:///{folder}/calls.db")
    experiment = client.create_experiment("calls", f"{folder}/calls")
    began = time.process_time()
    run_id = client.create_run(experiment).info.run_id
    for number in range(NUM_PARAMETERS):
        client.log_param(run_id, f"key{number}", str(number))
    for epoch in range(1, NUM_EPOCHS + 1):
        for figure in FIGURES:
            client.log_metric(run_id, figure, 0.5, step=epoch)
    for path in own:
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    return time.process_time() - began
