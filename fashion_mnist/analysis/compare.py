"""Networks compared with a first one by their predictions of the same images.

N images of a split, C classes; counts `[C, C]` have rows true, columns predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.labels import ABSENT, interval_text, naming_axes, p_text, values_text
from fashion_mnist.analysis.networks import (
    SPLITS,
    TEST,
    VALIDATION,
    class_names_of,
    require_network,
)
from fashion_mnist.analysis.pooled import counts_of
from fashion_mnist.analysis.predictions import (
    Predictions,
    PredictionsError,
    are_comparable,
    stored_predictions,
)
from fashion_mnist.analysis.significance import OTHER_IMAGES
from fashion_mnist.analysis.stored_leaderboard import identity_of
from fashion_mnist.config.messages import shown
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.bootstrap import SCORES, Difference, Differences, bootstrap
from fashion_mnist.metrics.calibration import (
    Reliability,
    brier_score,
    expected_calibration_error,
    nll_of_probabilities,
    reliability,
)
from fashion_mnist.metrics.classification import absent_classes
from fashion_mnist.metrics.statistics import (
    ALPHA,
    Interval,
    McNemarTest,
    holm,
    mcnemar_test,
    wilson_interval,
)
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

MOST_RUNS = 10


@dataclass(frozen=True)
class ComparedRun:
    """One network."""

    letter: str  # A for the first: what tables and pictures call it
    run: RecordedRun
    predictions: Predictions
    counts: Tensor  # int64 [C, C]

    @property
    def scores(self) -> dict[str, float]:
        """Those of `classification.summarize`."""
        return {key: float(value) for key, value in classification.summarize(self.counts).items()}

    @property
    def f1(self) -> list[float | None]:
        """Of each class; None for a class neither true nor predicted."""
        return classification.class_f1(self.counts)

    @property
    def accuracy_interval(self) -> Interval:
        """Wilson's, over images."""
        right = self.predictions.is_right
        return wilson_interval(int(right.sum()), len(right))

    @property
    def reliability(self) -> Reliability:
        """How far its confidence is from its accuracy, in bins."""
        return reliability(self._probabilities, self._labels)

    @property
    def calibration(self) -> dict[str, float]:
        """How far its probabilities can be believed; the lower the better."""
        return {
            "ece": expected_calibration_error(self.reliability),
            "brier": brier_score(self._probabilities, self._labels),
            "nll": nll_of_probabilities(self._probabilities, self._labels),
        }

    @property
    def _probabilities(self) -> Tensor:
        return torch.from_numpy(self.predictions.probabilities)

    @property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.predictions.labels)


@dataclass(frozen=True)
class Pair:
    """One of the others against the first."""

    other: ComparedRun
    differences: Differences  # other less first
    test: McNemarTest  # first and second are the first and the other
    p_holm: float  # corrected for all others

    @property
    def is_significant(self) -> bool:
        """Whether the two are significantly different."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Comparison:
    """All of them, on one split."""

    split: str
    class_names: tuple[str, ...]
    compared: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]  # of all but the first

    @property
    def first(self) -> ComparedRun:
        """The one that the others are compared with."""
        return self.compared[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The images' own classes, int64 `[N]`."""
        return self.first.predictions.labels

    @property
    def title(self) -> str:
        """`compare 512-512 relu adamw lr=0.001 seed=0 with …`."""
        first, *others = (own_run.run.name for own_run in self.compared)
        return f"compare {first} with {', '.join(others)}"

    def settings(self) -> list[str]:
        """What each run's parameters are where they differ, in one line each."""
        values = [identity_of(each.run) for each in self.compared]
        axes = naming_axes(values)
        return [values_text(own, axes) or "the same settings" for own in values]


def compare(store: Reader, runs: Sequence[RecordedRun], split: str) -> Comparison:
    """The runs' networks by their stored predictions of a split; the others against the first.

    Raises:
        ValueError: names runs that cannot be compared: too few, no networks, other images.
        PredictionsError: a run's predictions cannot be had.
    """
    _check(runs, split)
    stored = [stored_predictions(store, run, split) for run in runs]
    _check_images(runs, stored, split)
    num_classes = stored[0].probabilities.shape[1]
    names = class_names_of(runs[0])
    if len(names) != num_classes:
        raise ValueError(f"{runs[0].name} names {len(names)} classes and predicts {num_classes}")
    compared = tuple(
        ComparedRun(letter, run, own, counts_of(own))
        for letter, run, own in zip(ascii_uppercase, runs, stored, strict=False)
    )
    return Comparison(split, tuple(names), compared, _pairs(compared, split))


def _pairs(compared: Sequence[ComparedRun], split: str) -> tuple[Pair, ...]:
    first, *others = (own_run.predictions for own_run in compared)
    num_classes = first.probabilities.shape[1]
    tests = [mcnemar_test(first.is_right, other.is_right) for other in others]
    # a test set is stratified where its classes are equally large, as Fashion-MNIST's are
    sizes = np.bincount(first.labels, minlength=num_classes)
    is_stratified = split == VALIDATION or bool((sizes == sizes[0]).all())
    corrected = holm([test.p for test in tests])
    return tuple(
        Pair(
            own_run,
            bootstrap(
                first.labels,
                first.predicted,
                other.predicted,
                num_classes=num_classes,
                is_stratified=is_stratified,
            ),
            test,
            p,
        )
        for own_run, other, test, p in zip(compared[1:], others, tests, corrected, strict=True)
    )


def _check(runs: Sequence[RecordedRun], split: str) -> None:
    """Raises a ValueError unless these runs can have left something to compare."""
    if split not in SPLITS:
        raise ValueError(f"--split must be {' or '.join(SPLITS)}, got {shown(split)}")
    if not 2 <= len(runs) <= MOST_RUNS:
        raise ValueError(
            f"two to {MOST_RUNS} runs can be compared, got {len(runs)}"
            + (": name the other, or a sweep for all of its networks" if len(runs) == 1 else "")
        )
    for run in runs:
        require_network(run)
    ids = [run.run_id for run in runs]
    for run in runs:
        if ids.count(run.run_id) > 1:
            raise ValueError(f"{run.name} ({run.run_id}) was named twice")


def _check_images(runs: Sequence[RecordedRun], stored: Sequence[Predictions], split: str) -> None:
    """Raises a ValueError unless all are of the images of the first, in as many classes."""
    for run, own in zip(runs[1:], stored[1:], strict=True):
        if not are_comparable(stored[0], own):
            raise ValueError(
                f"{runs[0].name} and {run.name} cannot be compared: their {split} splits are "
                f"different images ({_split_in_words(runs[0], stored[0])}; "
                f"{_split_in_words(run, own)})"
            )


def _split_in_words(run: RecordedRun, stored: Predictions) -> str:
    keys = ("data.name", "data.validation_size", "data.fold")
    words = [f"{key}={run.parameters[key]}" for key in keys if key in run.parameters]
    return " ".join([*words, f"SHA-256 {stored.split_sha256[:12]}…"])


Row = dict[str, str]
SCORE_NAMES = {
    "accuracy": "accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro F1",
}
CALIBRATION_NAMES = {
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
}


def run_rows(comparison: Comparison) -> list[Row]:
    """Which letter is which run, and what makes it differ from the others."""
    return [
        {"": each.letter, "run": each.run.name, "id": each.run.run_id, "settings": settings}
        for each, settings in zip(comparison.compared, comparison.settings(), strict=True)
    ]


def score_rows(comparison: Comparison) -> list[Row]:
    """Each score of all, and how the others differ from the first."""
    rows = []
    for key in SCORES:
        own = {each.letter: f"{each.scores[key]:.4f}" for each in comparison.compared}
        gaps = [pair.differences.scores[key] for pair in comparison.pairs]
        rows.append({"": SCORE_NAMES[key], **own, **_gaps(comparison, gaps)})
    intervals = {each.letter: interval_text(each.accuracy_interval) for each in comparison.compared}
    return [rows[0], {"": "accuracy's 95 % interval (Wilson)", **intervals}, *rows[1:]]


def mcnemar_rows(comparison: Comparison) -> list[Row]:
    """McNemar's test of each of the others against the first."""
    first = comparison.first.letter
    return [
        {
            "": f"{pair.other.letter} and {first}",
            "disagree": f"{num_disagreements(comparison, pair):,}",
            f"{first} alone right": f"{pair.test.first_alone:,}",
            "the other alone": f"{pair.test.second_alone:,}",
            "McNemar": p_text(pair.test.p),
            "Holm-adjusted": p_text(pair.p_holm),
            "result": result_text(comparison, pair),
        }
        for pair in comparison.pairs
    ]


def class_rows(comparison: Comparison) -> list[Row]:
    """F1 of each class, and how that of the others differs, where both have one."""
    support = comparison.first.counts.sum(1).tolist()
    rows = []
    for index, name in enumerate(comparison.class_names):
        scores = {each.letter: each.f1[index] for each in comparison.compared}
        own = {key: ABSENT if value is None else f"{value:.4f}" for key, value in scores.items()}
        is_known = {key: value is not None for key, value in scores.items()}
        gaps = [
            pair.differences.f1[index]
            if is_known[comparison.first.letter] and is_known[pair.other.letter]
            else None
            for pair in comparison.pairs
        ]
        images = f"{support[index]:,}"
        rows.append({"F1 of": name, "images": images, **own, **_gaps(comparison, gaps)})
    return rows


def calibration_rows(comparison: Comparison) -> list[Row]:
    """How far the probabilities of each can be believed."""
    return [
        {"": name, **{e.letter: f"{e.calibration[key]:.4f}" for e in comparison.compared}}
        for key, name in CALIBRATION_NAMES.items()
    ]


def result_text(comparison: Comparison, pair: Pair) -> str:
    """`B is significantly better than A`."""
    other, first = pair.other.letter, comparison.first.letter
    if not pair.is_significant:
        return f"{other} is not significantly different from {first}"
    better = "better" if pair.test.difference > 0 else "worse"
    return f"{other} is significantly {better} than {first}"


def headline(comparison: Comparison) -> list[str]:
    """The result for each of the others, with its numbers."""
    return [
        f"{result_text(comparison, pair)}: accuracy "
        f"{gap_text(pair.differences.scores['accuracy'])}, Holm-adjusted {p_text(pair.p_holm)}"
        for pair in comparison.pairs
    ]


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the tables must know."""
    absent = absent_classes(comparison.first.counts, comparison.class_names)
    return [
        f"Over the {len(comparison.labels):,} images of the {comparison.split} split. In "
        "brackets: 95 % intervals, paired bootstrap over images, not corrected for their number.",
        "p: McNemar's exact test, Holm-adjusted where there are several. It is about these "
        "networks on other images and says nothing of other seeds, which fmnist leaderboard tests.",
        *([absent] if absent else []),
    ]


def num_disagreements(comparison: Comparison, pair: Pair) -> int:
    """Images that the two take for different classes."""
    first, other = comparison.first.predictions, pair.other.predictions
    return int((first.predicted != other.predicted).sum())


def content_of(comparison: Comparison) -> dict[str, Any]:
    """All of it as plain values."""
    return {
        "split": comparison.split,
        "num_images": len(comparison.labels),
        "class_names": comparison.class_names,
        "runs": [
            {
                "letter": each.letter,
                "id": each.run.run_id,
                "name": each.run.name,
                "setting": setting,
                "scores": each.scores,
                "accuracy_interval": each.accuracy_interval,
                "calibration": each.calibration,
                "f1": each.f1,
                "confusion": each.counts.tolist(),
            }
            for each, setting in zip(comparison.compared, comparison.settings(), strict=True)
        ],
        "against_the_first": [
            {
                "letter": pair.other.letter,
                "scores": {k: _plain(gap) for k, gap in pair.differences.scores.items()},
                "f1": [_plain(gap) for gap in pair.differences.f1],
                "first_alone_right": pair.test.first_alone,
                "other_alone_right": pair.test.second_alone,
                "num_disagreements": num_disagreements(comparison, pair),
                "p": pair.test.p,
                "p_holm": pair.p_holm,
                "verdict": result_text(comparison, pair),
            }
            for pair in comparison.pairs
        ],
    }


def gap_text(gap: Difference) -> str:
    """`+0.0100 (+0.0020 to +0.0180)`."""
    low, high = gap.interval
    return f"{gap.value:+.4f} ({low:+.4f} to {high:+.4f})"


def _gaps(comparison: Comparison, gaps: Sequence[Difference | None]) -> Row:
    first = comparison.first.letter
    return {
        f"{pair.other.letter} − {first}": ABSENT if gap is None else gap_text(gap)
        for pair, gap in zip(comparison.pairs, gaps, strict=True)
    }


def _plain(gap: Difference) -> dict[str, Any]:
    return {"difference": gap.value, "interval": gap.interval}


REGISTRY_SPLITS = (TEST, VALIDATION)  # the first one whose predictions both have stored


@dataclass(frozen=True)
class RegisteredComparison:
    """What the images of a split say of the registered network so far and of the next one."""

    registered: RecordedRun
    test: McNemarTest | None  # the registered one comes first
    why_untested: str = ""
    split: str = VALIDATION  # that was compared on

    @property
    def result(self) -> str:
        """Of the next one: significantly better or worse, not significantly different, untested."""
        if self.test is None:
            return "not tested"
        if self.test.p > ALPHA:
            return "not significantly different"
        return "significantly better" if self.test.difference > 0 else "significantly worse"

    def words(self) -> str:
        """In a sentence, with what it rests on."""
        name = f"the registered model so far, {self.registered.name}"
        if self.test is None:
            return f"it cannot be compared with {name}: {self.why_untested}"
        relation = {
            "not significantly different": "not significantly different from",
            "significantly better": "significantly better than",
            "significantly worse": "significantly worse than",
        }
        bias = (
            "; a network that was chosen by its validation accuracy is optimistically biased here"
            if self.split == VALIDATION
            else ""
        )
        return (
            f"it is {relation[self.result]} {name}: of {self.test.num_images:,} {self.split} "
            f"images it alone has {self.test.second_alone:,} right and the other alone "
            f"{self.test.first_alone:,} (McNemar's exact test, p = {self.test.p:.2g}){bias}"
        )


def compare_registered(
    store: Reader, registered: RecordedRun, run: RecordedRun
) -> RegisteredComparison:
    """Compare two networks by what is stored of their predictions; one test, not adjusted.

    On the test set where both have read it: the validation split, which is used else, is what
    networks are chosen by, and its scores of a chosen one are optimistically biased. The test is
    of these two networks on other images of the kind, and not of what another seed would do.

    Raises:
        OSError: the store does not answer.
    """
    why = OTHER_IMAGES
    for split in REGISTRY_SPLITS:
        try:
            first, second = (stored_predictions(store, each, split) for each in (registered, run))
        except PredictionsError as error:
            why = str(error)
            continue
        if are_comparable(first, second):
            return RegisteredComparison(
                registered, mcnemar_test(first.is_right, second.is_right), split=split
            )
        why = OTHER_IMAGES
    return RegisteredComparison(registered, None, why)
