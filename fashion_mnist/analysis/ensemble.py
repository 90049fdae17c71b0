"""Ensembles: the mean of several networks' probabilities, and which networks are chosen.

M networks, N images, C classes. Probabilities are `[N, C]`, labels int64 `[N]`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fashion_mnist.analysis.evaluation import (
    Robustness,
    Scores,
    record_first_test,
    result_of,
    robustness_of,
)
from fashion_mnist.analysis.lookup import (
    Say,
    class_names_of,
    score_of,
    select_runs,
    without_copies,
)
from fashion_mnist.analysis.networks import (
    LabelledImages,
    load_network,
    read_images,
    require_network,
)
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.metrics.calibration import nll_of_probabilities, num_in_top
from fashion_mnist.metrics.predictions import Predictions, PredictionsError
from fashion_mnist.metrics.statistics import McNemarTest, mcnemar_test
from fashion_mnist.runs.identity import DATA_TAG, SPLIT_TAG
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE, SPLITS, TEST_SCORE, VALIDATION, RecordedRun

MOST_STEPS = 100  # of the greedy selection
SMALLEST_GAIN = 1e-4  # nats of likelihood: less is no improvement


@dataclass(frozen=True)
class Step:
    """One step of the greedy selection: who was added, and how good the average is then."""

    added: int  # which of the M
    num_right: int  # of N
    nll: float

    def is_better_than(self, other: "Step") -> bool:
        """More right answers; of equally many, clearly likelier labels."""
        if self.num_right != other.num_right:
            return self.num_right > other.num_right
        return self.nll < other.nll - SMALLEST_GAIN


def average(probabilities: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """The weighted mean float64 `[N, C]`; equal weights where none are given."""
    own = torch.ones(len(probabilities)) if weights is None else torch.tensor(list(weights))
    shares = (own.double() / own.double().sum()).tolist()
    total = torch.zeros_like(probabilities[0], dtype=torch.float64)
    for share, each in zip(shares, probabilities, strict=True):
        total += share * each.double()
    return total


def select_greedily(probabilities: Sequence[Tensor], labels: Tensor) -> list[Step]:
    """Who is taken, step by step, some perhaps more than once; at least one.

    From nothing on, the network is added whose probabilities improve the average most, until none
    does, or `MOST_STEPS` are taken. Of equal ones the first counts.

    Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models", section 2: forward
    selection with replacement.
    """
    steps: list[Step] = []
    total = torch.zeros_like(probabilities[0], dtype=torch.float64)
    while len(steps) < MOST_STEPS:
        candidates = [
            _step(number, (total + each) / (len(steps) + 1), labels)
            for number, each in enumerate(probabilities)
        ]
        best = candidates[0]
        for candidate in candidates[1:]:
            if candidate.is_better_than(best):
                best = candidate
        if steps and not best.is_better_than(steps[-1]):
            break
        steps.append(best)
        total += probabilities[best.added]
    return steps


def weights_of(steps: Sequence[Step], num_networks: int) -> list[int]:
    """How often each of the M was taken."""
    taken = Counter(step.added for step in steps)
    return [taken[number] for number in range(num_networks)]


def _step(number: int, probabilities: Tensor, labels: Tensor) -> Step:
    right = num_in_top(probabilities, labels, 1)
    return Step(number, right, nll_of_probabilities(probabilities, labels))


@dataclass(frozen=True)
class ScoredEnsemble:
    """Networks that answered together about the same images."""

    runs: tuple[RecordedRun, ...]
    weights: tuple[int, ...]  # how often each counts; 0: not chosen
    steps: tuple[Step, ...]  # of the greedy selection; empty where all count once
    images: LabelledImages
    alone: tuple[Predictions, ...]  # of each run
    scores: Scores  # on all together

    @property
    def id(self) -> str:
        """Short and the same for the same runs with the same weights."""
        words = [f"{run.run_id}×{n}" for run, n in zip(self.runs, self.weights, strict=True) if n]
        return sha256(" ".join(sorted(words)).encode()).hexdigest()[:8]

    @cached_property
    def best(self) -> int:
        """Which run has the best validation accuracy: chosen on no image of the test set."""
        scores = [score_of(run, SCORE) for run in self.runs]
        known = [-math.inf if score is None else score for score in scores]
        return max(range(len(self.runs)), key=known.__getitem__)

    @property
    def newly_tested(self) -> list[int]:
        """The runs whose own test set was read here, and was left alone before."""
        numbers = range(len(self.runs)) if self.images.is_own_test else ()
        return [number for number in numbers if TEST_SCORE not in self.runs[number].metrics]

    def vs_best(self) -> McNemarTest:
        """The best alone, first, and all together, second."""
        return mcnemar_test(self.alone[self.best].is_right, self.scores.predictions.is_right)


def find_members(
    store: Reader, words: Sequence[str], experiment: str | None = None, *, say: Say | None = None
) -> list[RecordedRun]:
    """The finished networks that the words name, see `select_runs`, each once.

    Raises:
        ValueError: a word means no run, or one without a network.
    """
    selected = select_runs(store, words, experiment, say=say)
    ids = {sweep.run_id for sweep in selected.sweeps}
    named = [run for run in selected.networks if run.parent_id not in ids]
    for run in named if not selected.has_experiments else ():
        require_network(run)
    return without_copies([run for run in selected.networks if run.status == "FINISHED"])


def score_ensemble(
    store: Reader,
    runs: Sequence[RecordedRun],
    *,
    greedy: bool = False,
    wanted: str | None = None,
    folder: Path | None = None,
    with_robustness: bool = False,
) -> ScoredEnsemble:
    """What the average of the runs' probabilities says of a split of their data.

    Probabilities are those that were stored with the runs, where they are of these images; else
    the network is asked.

    Args:
        greedy: choose runs, and how often each counts, on the validation split of their own data.
        wanted: `validation` or `test`; None for validation.
        folder: of IDX files; None for where the first run had its data from.

    Raises:
        DataError: the data is missing, damaged, or not what the runs were trained on.
        ValueError: fewer than two runs, or they have not the same split.
        OSError: a network is nowhere to be had.
    """
    if len(runs) < 2:
        raise ValueError(
            f"an ensemble needs two networks at least, got {len(runs)}: name several, or a sweep"
        )
    names = class_names_of(runs[0])
    shape = None if folder is None else load_network(store, runs[0])[0].image_shape
    images = read_images(runs[0], names, image_shape=shape, wanted=wanted, folder=folder)
    if greedy or images.name == VALIDATION:
        _check_same(runs, SPLIT_TAG, "were validated on")
    _check_same(runs, DATA_TAG, "were trained on")
    alone = [_predictions(store, run, images) for run in runs]
    steps: list[Step] = []
    if greedy and images.name == VALIDATION:
        steps = select_greedily(_probabilities(alone), images.labels)
    elif greedy:
        # of other data in the folder it has no part: members are chosen on their own data
        place = folder if images.name in SPLITS else None
        chosen_on = read_images(runs[0], names, wanted=VALIDATION, folder=place)
        predictions = [_predictions(store, run, chosen_on) for run in runs]
        steps = select_greedily(_probabilities(predictions), chosen_on.labels)
    weights = weights_of(steps, len(runs)) if greedy else [1] * len(runs)
    if {each.probabilities.shape[1] for each in alone} != {len(names)}:
        raise ValueError(f"an ensemble's networks must know the same {len(names)} classes")
    mean = average(_probabilities(alone), weights).float()
    together = Predictions(mean.numpy(), images.labels.numpy(), images.sha256)
    robustness = _robustness(store, runs, weights, images) if with_robustness else {}
    scores = Scores(result_of(images, together), tuple(names), robustness)
    return ScoredEnsemble(tuple(runs), tuple(weights), tuple(steps), images, tuple(alone), scores)


def record_readings(store: Reader, ensemble: ScoredEnsemble) -> None:
    """Record the test scores of each run that had left its test set alone: they were seen here.

    Raises:
        OSError: the store does not take it.
    """
    for number in ensemble.newly_tested:
        result = result_of(ensemble.images, ensemble.alone[number])
        record_first_test(store, ensemble.runs[number], result, ensemble.scores.class_names)


def _predictions(store: Reader, run: RecordedRun, images: LabelledImages) -> Predictions:
    """What the run says of the images: as stored, if that is of these images."""
    labels = images.labels.numpy()
    if images.sha256:
        with suppress(PredictionsError):
            stored = stored_predictions(store, run, images.name)
            if stored.split_sha256 == images.sha256 and np.array_equal(stored.labels, labels):
                return stored
    model, _ = load_network(store, run)
    probabilities = model.probabilities(images.images)
    return Predictions(probabilities.numpy(), labels, images.sha256)


def _probabilities(predictions: Sequence[Predictions]) -> list[Tensor]:
    return [torch.from_numpy(own.probabilities) for own in predictions]


def _robustness(
    store: Reader, runs: Sequence[RecordedRun], weights: Sequence[int], images: LabelledImages
) -> Robustness:
    counts = [n for n in weights if n]
    models = [load_network(store, r)[0] for r, n in zip(runs, weights, strict=True) if n]

    def probabilities_of(pictures: Tensor) -> Tensor:
        return average([model.probabilities(pictures) for model in models], counts)

    return robustness_of(probabilities_of, images.images, images.labels)


def _check_same(runs: Sequence[RecordedRun], tag: str, what: str) -> None:
    """Raise ValueError unless the runs agree in a tag."""
    first = runs[0]
    others = [run for run in runs[1:] if run.tags.get(tag) != first.tags.get(tag)]
    if others:
        raise ValueError(
            f"an ensemble's runs must be scored on the same images: {first.name} and "
            f"{others[0].name} {what} different ones"
        )
