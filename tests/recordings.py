"""A real MLflow store with real runs in it, and the commands that read it."""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from fashion_mnist.cli.app import app
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.sweeps.runner import open_parent
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE, RecordedRun
from fashion_mnist.tracking.uploader import sync
from tests.builders import QUIET, load, make_config, make_data

SMALL = ("training.epochs=3", "training.threads=1", "tracking.offline=always")


@dataclass(frozen=True)
class Recordings:
    """Where they are: `uri` is the store's address, `data` holds what the runs were trained on."""

    folder: Path
    uri: str
    data: Path

    def reader(self) -> Reader:
        """The store, opened."""
        return Reader(self.uri)

    def run(self, name: str) -> RecordedRun:
        """The run of this name that is no copy."""
        [only] = [run for run in self.reader().runs() if run.name == name and not run.original_id]
        return only


def fmnist(*words: str | Path) -> Result:
    """A command of the console script, run in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def fmnist_json(*words: str | Path, status: int = 0) -> dict[str, Any]:
    """What a command says as JSON, which is all that it prints."""
    result = fmnist(*words, "--json")
    assert result.exit_code == status, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def record_runs(folder: Path) -> Recordings:
    """Train six networks and record them; takes some seconds.

    A sweep `widths` has four, of two widths and two seeds, and a sweep `wide` two of these as
    copies; `alone` has its test set read and its network recorded; `diverged` failed.
    """
    uri = absolute_uri("sqlite:///mlflow.db", folder)
    data, outputs = make_data(folder / "data"), folder / "outputs"
    where = (f"tracking.uri={uri}", f"output_dir={outputs}", *SMALL)
    dataset = load(data)

    def record(name: str, *words: str, parent: str = "", auto: bool = False) -> None:
        config = make_config(data, *where, *words)
        train([Request(config, name=name, auto=auto)], dataset, QUIET, parent=parent)

    for sweep, widths in (("widths", (4, 8)), ("wide", (8,))):
        axes = {"model.width": [str(width) for width in widths], "seed": ["1", "2"]}
        config = make_config(data, *where)
        place = outputs / "sweeps" / sweep
        with open_parent(
            place, config, name=sweep, axes=axes, num_repetitions=2, objective=SCORE
        ) as parent:
            for width, seed in product(widths, (1, 2)):
                words = (f"model.width={width}", f"seed={seed}")
                record(" ".join(words), *words, parent=parent.state.id)
            num_runs = 2 * len(widths)
            parent.tags({"sweep.finished": str(num_runs), "sweep.failed": "0"})
            parent.metrics(num_runs, {"best/val_accuracy": sum(widths) / 100})
            parent.status("FINISHED")
    record("diverged", "optimizer=sgd", "optimizer.lr=1.0e+30")
    record("alone", "model.width=6", auto=True)
    outcome = sync(outputs)
    assert outcome.is_complete, outcome.reason
    return Recordings(folder, uri, data)
