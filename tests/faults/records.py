"""What a store has of the event logs below an output folder, held against these themselves."""

import contextlib
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from fashion_mnist.config.store_uri import driver_uri
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.tracking.watched_log import WatchedLog

# trained again, for its event log was damaged, an epoch has another; the store keeps the first
MEASURED_SPEED = "images_per_second"
LONGEST_PARAM, LONGEST_TAG = 6000, 8000  # characters that MLflow keeps
Point = tuple[str, int]  # a metric's key and step


@dataclass
class Told:
    """What an event log says, of everything what it says last, read without the reader."""

    run_dir: Path
    id: str = ""
    status: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[Point, float] = field(default_factory=dict)
    datasets: set[tuple[str, str, str]] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)  # keys
    models: set[str] = field(default_factory=set)
    destinations: list[Destination] = field(default_factory=list)

    def add(self, kind: str, content: dict[str, Any]) -> None:
        """Takes in one line of the event log."""
        match kind:
            case "log":
                self.id = content["id"]
            case "destination":
                self.destinations.append(Destination.of(content, self.run_dir))
            case "start":
                self.params, self.tags = content["params"], self.tags | content["tags"]
            case "tags":
                self.tags |= content["values"]
            case "metrics":
                new = {(key, content["step"]): value for key, value in content["values"].items()}
                assert not new.keys() & self.points.keys(), f"said twice: {new}"
                self.points |= new
            case "dataset":
                self.datasets.add((content["name"], content["digest"], content["context"]))
            case "artifact":
                self.artifacts.add(content["path"])
            case "image":
                self.images.add(content["key"])
            case "model":
                self.models.add(content["path"])
            case "status":
                self.status = content["status"]


def read_log(folder: Path) -> Told:
    """All that a run's or a sweep's event log says."""
    told = Told(folder)
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        content = json.loads(line)
        told.add(content["kind"], content)
    return told


def assert_recorded_once(uri: str, output_dir: Path) -> None:
    """Every event log is in the store whole, and nothing of it twice.

    For each destination of an event log at this address (absolute, as event logs name it) there is
    exactly one run, with the event log's status, every point of every metric exactly once, every
    parameter, tag and dataset, every artifact with the same bytes, each image once.

    Raises:
        AssertionError: something is missing, is there twice, or differs; says what, of which run.
    """
    event_logs = sorted(output_dir.absolute().glob("*/*/events.jsonl"))
    assert event_logs, f"no event logs below {output_dir}"
    for event_log in event_logs:
        told = read_log(event_log.parent)
        for destination in told.destinations:
            if destination.address == uri:
                _assert_one_run(event_log.parent, told, destination)


def runs_of(destination: Destination, identity: str) -> list[Run]:
    """The runs that bear this id, thrown away ones too."""
    client = MlflowClient(driver_uri(destination.address))
    experiment = client.get_experiment_by_name(destination.experiment)
    assert experiment is not None, f"no experiment {destination.experiment}"
    return list(
        client.search_runs(
            [experiment.experiment_id], f"tags.`mlflow.fmnist.id` = '{identity}'", ViewType.ALL
        )
    )


def metric_points(uri: str, run: Run) -> list[tuple[str, int, float]]:
    """Every row of the run's metric history: key, step, value."""
    client = MlflowClient(driver_uri(uri))
    return [
        (point.key, point.step, point.value)
        for key in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, key)
    ]


def _assert_one_run(folder: Path, told: Told, destination: Destination) -> None:
    where = f"{folder.parent.name}/{folder.name}"
    watched = WatchedLog(folder)
    watched.state = RunState(id=told.id, destinations=told.destinations)
    runs = runs_of(destination, watched.identity(destination))
    assert len(runs) == 1, f"{where}: {len(runs)} runs in the store"
    run = runs[0]
    assert run.info.lifecycle_stage == "active", f"{where}: thrown away"
    assert run.info.status == (told.status or "RUNNING"), f"{where}: {run.info.status}"
    _assert_points(where, told, metric_points(destination.address, run))
    params = {key: value[:LONGEST_PARAM] for key, value in told.params.items()}
    assert run.data.params == params, f"{where}: parameters"
    for key, value in told.tags.items():
        assert run.data.tags.get(key) == value[:LONGEST_TAG], f"{where}: tag {key}"
    inputs = run.inputs.dataset_inputs if run.inputs else []
    datasets = [(each.dataset.name, each.dataset.digest, each.tags[0].value) for each in inputs]
    assert sorted(datasets) == sorted(told.datasets), f"{where}: datasets {datasets}"
    _assert_files(where, folder, told, destination.address, run)


def _assert_points(where: str, told: Told, rows: list[tuple[str, int, float]]) -> None:
    counts = Counter((key, step) for key, step, _ in rows)
    twice = sorted(point for point, count in counts.items() if count > 1)
    assert not twice, f"{where}: points more than once: {twice}"
    missing = sorted(told.points.keys() - counts.keys())
    assert not missing, f"{where}: points missing: {missing}"
    unknown = sorted(counts.keys() - told.points.keys())
    assert not unknown, f"{where}: points that the event log does not have: {unknown}"
    for key, step, value in rows:
        if key == MEASURED_SPEED:
            continue
        assert _same(value, told.points[key, step]), f"{where}: {key} of step {step} is {value}"


def _same(stored: float, told: float) -> bool:
    """MLflow keeps NaN, and the largest number for infinity."""
    if math.isnan(told):
        return math.isnan(stored)
    return stored == max(-sys.float_info.max, min(told, sys.float_info.max))


@contextlib.contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """Where MLflow looks for logged models, whatever is asked; programs started later do not."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before or "")
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)


def _assert_files(where: str, folder: Path, told: Told, uri: str, run: Run) -> None:
    if not told.artifacts and not told.models:
        return
    database = uri.removeprefix("sqlite:///")
    # the roots of a store in the folder that a command was started in are relative to it
    place = Path(database).absolute().parent if database != uri else Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:
        with contextlib.chdir(place), _tracking_uri(driver_uri(uri)):
            mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id,
                artifact_path="",
                dst_path=temporary,
                tracking_uri=driver_uri(uri),
            )
        root = Path(temporary)
        stored = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        _assert_same_files(where, folder, told, root, stored)
    images = [path.removeprefix("images/") for path in stored if path.startswith("images/")]
    for ending in (".png", "+compressed.webp"):
        shown = [name.split("+") for name in images if name.endswith(ending)]
        assert {words[2] for words in shown} <= {"0"}, f"{where}: steps of {sorted(images)}"
        drawn = Counter(words[0].replace("~", "/") for words in shown)
        assert drawn == Counter(told.images), f"{where}: images {sorted(images)}"


def _assert_same_files(where: str, folder: Path, told: Told, root: Path, stored: set[str]) -> None:
    own = {path for path in stored if not path.startswith(("images/", "model/"))}
    assert own == told.artifacts, f"{where}: artifacts {sorted(own ^ told.artifacts)}"
    pairs = {root / path: folder / "artifacts" / path for path in told.artifacts}
    pairs |= {root / "model" / "data" / Path(path).name: folder / path for path in told.models}
    for copy, original in pairs.items():
        assert copy.is_file(), f"{where}: {copy.name} is missing"
        assert copy.read_bytes() == original.read_bytes(), f"{where}: {copy.name} differs"
