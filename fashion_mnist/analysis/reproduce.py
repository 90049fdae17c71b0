"""Trains a recorded run again from what its store has, and compares the two."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fashion_mnist.analysis.lookup import parsed
from fashion_mnist.analysis.networks import require_network
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.config.compose import check
from fashion_mnist.config.messages import ConfigError, RunError
from fashion_mnist.config.parse import parse
from fashion_mnist.config.schema import Config, flatten, nested
from fashion_mnist.config.user_files import plain_tree
from fashion_mnist.metrics.predictions import (
    PREDICTIONS_FILE,
    PredictionsError,
    compare_predictions,
    read_predictions,
)
from fashion_mnist.metrics.statistics import ALPHA, McNemarTest
from fashion_mnist.runs.identity import NUMERICS_TAG
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.records import CONFIG_FILE
from fashion_mnist.runs.request import Request, load_data, validation_accuracy_of
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE, TEST, VALIDATION, RecordedRun
from fashion_mnist.tracking.uploader_process import begin_uploading

Row = dict[str, Any]  # of a table, and in JSON
Result = Literal["identical", "within tolerance", "different"]
RESULTS: dict[Result, str] = {
    "identical": "identical to the bit: the weights are the same",
    "within tolerance": "within tolerance, but not to the bit",
    "different": "different",
}
FIRST_LOSS = "train/loss after epoch 1"
# relative: of the defaults, one epoch, another seed moved the loss by 0.4 and 1.1 %, pixels without
# normalisation by 14 %
LOSS_TOLERANCE = 0.02
NOTHING = 1e-7  # a loss near 0 is no more than float32's rounding
ROUNDING = 1e-3  # relative: final metrics of the same weights, computed on another machine
# what decides a run's numbers beside its config, and the tag that records it
ORIGINS = {
    "code": "code_sha256",
    "data": "data_sha256",
    "torch": "torch",
    "Python": "python",
    "numerics of this package": NUMERICS_TAG,
    "machine": "cpu",
    "device": "device",
    "threads": "threads",
    "precision": "precision",
    "runs in its stack": "stack_size",
}


@dataclass(frozen=True)
class TrainingComparison:
    """A run, and the same trained again."""

    weights: tuple[str, str]  # their SHA-256, recorded and here
    metrics: list[Row]  # final ones of one split, and the first epoch's loss, if known
    test: McNemarTest | None  # of the split's predictions, recorded and here; None: not known
    origins: list[Row]  # what decides a run's numbers, see `ORIGINS`

    @property
    def result(self) -> Result:
        """Identical: the same weights to the bit. Within tolerance: nothing is different.

        Different: McNemar's p of the predictions is 0.05 at most, or a metric is not near. Other
        weights of which neither the predictions nor the first loss are known are different too.
        """
        is_different = not all(metric["is_near"] for metric in self.metrics)
        is_different |= self.test is not None and self.test.p <= ALPHA
        if is_different:
            return "different"
        if self.has_same_weights:
            return "identical"
        return "within tolerance" if self.is_tested else "different"

    def words(self) -> str:
        """Which of the three it is, and what may be why."""
        words = [RESULTS[self.result]]
        if self.result == "different" and self.has_same_weights:
            words.append("the weights are the same, but the recorded metrics are not theirs")
        elif self.result == "different" and not self.is_tested:
            words.append("other weights, and neither predictions nor a first loss to compare")
        if self.result != "identical":
            different, unknown = (
                ", ".join(each["name"] for each in self.origins if each["same"] is same)
                for same in (False, None)
            )
            words.append(f"what differs: {different or 'nothing that is recorded'}")
            words += [f"not known of: {unknown}"] if unknown else []
        return "; ".join(words)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values; None for what is not known."""
        recorded, here = self.weights
        return {
            "result": self.result,
            "weights_sha256": {"recorded": recorded or None, "here": here or None},
            "figures": self.metrics,
            "test": vars(self.test) if self.test else None,
            "origins": self.origins,
        }

    @property
    def is_tested(self) -> bool:
        """Whether predictions or the first epoch's loss are known of both."""
        return self.test is not None or any(each["name"] == FIRST_LOSS for each in self.metrics)

    @property
    def has_same_weights(self) -> bool:
        """To the bit."""
        return bool(self.weights[0]) and self.weights[0] == self.weights[1]


def compare(
    recorded: Mapping[str, float],
    here: Mapping[str, float],
    tags: tuple[Mapping[str, str], Mapping[str, str]],
    *,
    prefix: str,
    test: McNemarTest | None,
) -> TrainingComparison:
    """Compare a run with a second training of it.

    Args:
        recorded, here: their final metrics, of which `prefix` begins the names of the split's, and
            `FIRST_LOSS`.
        tags: of the first and of the second.
        test: of the predictions, recorded and here.
    """
    first, second = tags
    weights = (first.get("weights_sha256", ""), second.get("weights_sha256", ""))
    is_same = bool(weights[0]) and weights[0] == weights[1]
    final = ROUNDING if is_same else None
    tolerances = {f"{prefix}accuracy": final, f"{prefix}loss": final, FIRST_LOSS: LOSS_TOLERANCE}
    return TrainingComparison(
        weights,
        metrics=[
            _metric_row(name, recorded[name], here[name], share)
            for name, share in tolerances.items()
            if name in recorded and name in here
        ],
        test=test,
        origins=[
            _origin_row(name, first.get(tag) or None, second.get(tag) or None)
            for name, tag in ORIGINS.items()
        ],
    )


def _metric_row(name: str, recorded: float, here: float, tolerance: float | None) -> Row:
    """A metric, then and now, and whether the two differ by no more than is allowed.

    Args:
        tolerance: relative; None where the difference is not judged: a finite metric must stay
            finite.
    """
    if tolerance is None:
        allowed, is_near = None, math.isfinite(here) or not math.isfinite(recorded)
    else:
        allowed = max(tolerance * abs(recorded), NOTHING)
        is_near = abs(here - recorded) <= allowed  # false of NaN
    row = {"name": name, "recorded": recorded, "here": here}
    return {**row, "allowed": allowed, "is_near": is_near}


def _origin_row(name: str, recorded: str | None, here: str | None) -> Row:
    """One thing that decides a run's numbers, then and now; None where that is not known."""
    same = recorded == here if recorded and here else None
    return {"name": name, "recorded": recorded, "here": here, "same": same}


# what a run is made of; where it is kept, recorded and evaluated is not the store's to say
PARTS = ("seed", "data", "model", "loss", "optimizer", "schedule", "training")
MACHINE = ("device", "precision", "threads")  # tags that say what `auto` came to
PUBLISHED = "fashion_mnist"  # this data set is known by its digests, wherever it lies


def stored_config(
    store: Reader,
    run: RecordedRun,
    *,
    output_dir: Path,
    data_dir: Path | None = None,
    reads_test: bool = False,
) -> Config:
    """The config that trains the run again: recorded nowhere, with its device, precision, threads.

    It is plain YAML, read like a user's own: nothing in it is run, and no interpolation resolved.

    Args:
        output_dir: where the second training is kept.
        data_dir: the folder of the data set; None for Fashion-MNIST wherever it is found, and for
            other data the folder that the record names.
        reads_test: whether the second training is measured on the test set too.

    Raises:
        RunError: the store has no config of the run, or none that this program understands.
        OSError: the store does not answer.
    """
    defaults = check(["tracking.uri=null"])  # what is wrong with these is not the store's
    own = nested(flatten(defaults) | {"rerun": True})
    try:
        node = {key: value for key, value in own.items() if key not in PARTS}
        node |= {key: value for key, value in _stored(store, run).items() if key in PARTS}
        _set(node, "training", {key: parsed(run.tags[key]) for key in MACHINE if key in run.tags})
        _set(node, "data", _data_dir(node, data_dir, defaults.data.dir))
        node["output_dir"] = str(output_dir)
        node["evaluation"]["test"] = "always" if reads_test else "never"
        return parse(node)
    except ConfigError as error:
        problems = "; ".join(error.problems)
        raise RunError(f"what is stored of {run.name!r} is no config here: {problems}") from None


def _stored(store: Reader, run: RecordedRun) -> dict[str, Any]:
    """The tree that was recorded as a file; where that is gone, that of the run's parameters."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = store.download(run, CONFIG_FILE, Path(folder))
        except OSError:
            return _from_parameters(run.parameters)
        try:
            tree = plain_tree(path)
        except ValueError as error:
            raise ConfigError([str(error)]) from error
    if not isinstance(tree, dict):
        raise ConfigError([f"{CONFIG_FILE} must be a mapping"])
    return tree


def _from_parameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    # a group's own name says which file was chosen, and no value
    keys = [key for key in parameters if key.startswith(PARTS) and key not in PARTS[1:]]
    own = {key: parsed(parameters[key]) for key in keys}
    try:
        return nested(own)
    except (AttributeError, TypeError) as error:
        raise ConfigError(["its parameters contradict each other"]) from error


def _set(node: dict[str, Any], part: str, values: Mapping[str, Any]) -> None:
    """Set values in a part of the tree; one that is no mapping is for `parse` to judge."""
    if isinstance(node.get(part), dict):
        node[part] = node[part] | values


def _data_dir(node: Mapping[str, Any], data_dir: Path | None, default: str) -> dict[str, Any]:
    if data_dir is not None:
        return {"dir": str(data_dir)}
    data = node.get("data")
    is_published = isinstance(data, dict) and data.get("name") == PUBLISHED
    # another machine's folder is not looked into, and no damaged files in it are set aside
    return {"dir": default} if is_published else {}


def reproduce(
    store: Reader,
    run: RecordedRun,
    observer: Observer,
    *,
    output_dir: Path,
    data_dir: Path | None = None,
) -> tuple[Path, TrainingComparison]:
    """Train a finished run again below `output_dir`; its store is told nothing.

    Returns the folder of the second training, and what the two have in common.

    Where this was begun and stopped before, it goes on. The test set is left alone, unless it is
    all that the run was measured on.

    Args:
        data_dir: where its data set is; None: see `stored_config`.

    Raises:
        ValueError: it has not become a network.
        RunError: its config is not understood, or it fails.
        DataError: its data set is not to be had.
        OSError: the store does not answer, or the disk takes no more.
        StopRequested: from the observer.
    """
    require_network(run)
    has_validation = SCORE in run.metrics
    config = stored_config(
        store,
        run,
        output_dir=output_dir,
        data_dir=data_dir,
        reads_test=not has_validation and "test/accuracy" in run.metrics,
    )
    dataset = load_data(config)
    request = Request(config, name=f"again: {run.name}")
    [result] = train([request], dataset, observer, start_uploader=begin_uploading)
    validation_accuracy_of(result)
    again, split = result.folder, VALIDATION if has_validation else TEST
    losses = store.history(run, ["train/loss"]).get("train/loss", {})
    first = {FIRST_LOSS: losses[1]} if 1 in losses else {}
    rows = [row for row in again.history() if row["epoch"] == 1]
    second = {FIRST_LOSS: rows[0]["train/loss"]} if rows else {}
    comparison = compare(
        {**run.metrics, **first},
        {**again.metrics(), **second},
        (run.tags, again.tags()),
        prefix="final/val_" if has_validation else "test/",
        test=_test(store, run, again, split),
    )
    return again.path, comparison


def _test(store: Reader, run: RecordedRun, again: RunDir, split: str) -> McNemarTest | None:
    """McNemar's test of the predictions of both; None where they are not known or comparable."""
    try:
        first = stored_predictions(store, run, split)
        second = read_predictions(again.artifacts / split / PREDICTIONS_FILE)
    except PredictionsError:
        return None
    return compare_predictions(first, second)
