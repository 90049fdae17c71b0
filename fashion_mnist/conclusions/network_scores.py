"""A recorded run's network is scored, and what is found is added to its record."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.conclusions.images import TEST, LabelledImages, read_images
from fashion_mnist.conclusions.network import Network, demand_network, load_network
from fashion_mnist.conclusions.scores import Scores, robustness_of
from fashion_mnist.runs.artifacts import SplitResult, write_split
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun

FOLDER = "evaluation"  # of a run's artifacts


@dataclass(frozen=True)
class ScoredNetwork:
    """A network, the images that it was asked about, and the scores."""

    network: Network
    images: LabelledImages
    scores: Scores

    @property
    def run(self) -> RecordedRun:
        """The run that became the network."""
        return self.network.run

    @property
    def is_first_test(self) -> bool:
        """Whether the test set was read that the run had left alone."""
        return self.images.is_own_test and TEST_SCORE not in self.run.metrics


def score_network(
    store: Reader,
    run: RecordedRun,
    *,
    wanted: str | None = None,
    folder: Path | None = None,
    with_robustness: bool = True,
) -> ScoredNetwork:
    """Every figure of the run's network on a split of its data, or on somebody's folder.

    Args:
        wanted: `validation` or `test`; None for validation.
        folder: of IDX files; None for where the run had its data from.

    Raises:
        DataError: the data is missing, damaged, or not what the run or the network takes.
        ValueError: the run has no network, or no such split.
        OSError: the network is nowhere to be had.
    """
    network = load_network(store, demand_network(run))
    model = network.model
    images = read_images(
        run, model.class_names, image_shape=model.image_shape, wanted=wanted, folder=folder
    )
    evaluation = network.evaluate(images.images, images.labels)
    result = SplitResult.of(images.name, evaluation, images.images, images.sha256)
    robustness = (
        robustness_of(network.probabilities, images.images, images.labels)
        if with_robustness
        else {}
    )
    return ScoredNetwork(network, images, Scores(result, model.class_names, robustness))


def record_first_test(
    store: Reader, run: RecordedRun, result: SplitResult, class_names: Sequence[str]
) -> None:
    """Add a test set's result to the run that had left it alone: it counts as read from now on.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import add_to_run  # imports mlflow, which takes seconds

    figures = {f"{TEST}/{key}": value for key, value in result.figures().items()}
    with tempfile.TemporaryDirectory() as place:
        list(write_split(Path(place), result, class_names))
        add_to_run(store.uri, run, metrics=figures, folders={TEST: Path(place, TEST)})


def record_scores(store: Reader, scored: ScoredNetwork, files: Sequence[Path]) -> list[str]:
    """Add the scores to the run's record; returns where in its artifacts it is.

    Below `evaluation/`; and where the run had left its test set alone, as what a run records that
    reads it: files below `test/`, figures `test/…`. Then it counts as read.

    Args:
        files: that `write_scores` wrote.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import add_to_run  # imports mlflow, which takes seconds

    folder = f"{FOLDER}/{scored.images.name}"
    with tempfile.TemporaryDirectory() as place:
        for file in files:
            shutil.copyfile(file, Path(place, file.name))
        add_to_run(store.uri, scored.run, metrics={}, folders={folder: Path(place)})
    if not scored.is_first_test:
        return [folder]
    record_first_test(store, scored.run, scored.scores.result, scored.scores.class_names)
    return [folder, TEST]
