"""Trains a recorded run again, beside what is recorded, and compares the two."""

from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.conclusions.images import TEST, VALIDATION
from fashion_mnist.conclusions.network import demand_network
from fashion_mnist.conclusions.predictions import (
    PredictionsError,
    are_comparable,
    read_predictions,
    stored_predictions,
)
from fashion_mnist.metrics.statistics import McNemarTest, mcnemar_test
from fashion_mnist.reproduction.stored import stored_config
from fashion_mnist.reproduction.verdict import FIRST_LOSS, Comparison, compare
from fashion_mnist.runs.request import Request, load_data, outcome_of
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.runs.training import Observer
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE, RecordedRun
from fashion_mnist.tracking.upload_state import begin_uploading


@dataclass(frozen=True)
class Reproduction:
    """A run, and where the second training of it is."""

    run: RecordedRun
    folder: Path
    comparison: Comparison


def reproduce(
    store: Reader,
    run: RecordedRun,
    observer: Observer,
    *,
    output_dir: Path,
    data_dir: Path | None = None,
) -> Reproduction:
    """Train a finished run again below `output_dir`; its store is told nothing.

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
    demand_network(run)
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
    outcome_of(result)
    comparison = _compare(store, run, result.folder, VALIDATION if has_validation else TEST)
    return Reproduction(run, result.folder.path, comparison)


def _compare(store: Reader, run: RecordedRun, again: RunDir, split: str) -> Comparison:
    losses = store.history(run, ["train/loss"]).get("train/loss", {})
    first = {FIRST_LOSS: losses[1]} if 1 in losses else {}
    rows = [row for row in again.history() if row["epoch"] == 1]
    second = {FIRST_LOSS: rows[0]["train/loss"]} if rows else {}
    return compare(
        {**run.metrics, **first},
        {**again.metrics(), **second},
        (run.tags, again.tags()),
        prefix="final/val_" if split == VALIDATION else "test/",
        test=_test(store, run, again, split),
    )


def _test(store: Reader, run: RecordedRun, again: RunDir, split: str) -> McNemarTest | None:
    """McNemar's test of the predictions of both; None where they are not known or comparable."""
    try:
        first = stored_predictions(store, run, split)
        second = read_predictions(again.artifacts / split / "predictions.npz")
    except PredictionsError:
        return None
    if not are_comparable(first, second):
        return None
    return mcnemar_test(first.is_right, second.is_right)
