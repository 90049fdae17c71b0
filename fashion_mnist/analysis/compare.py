"""Networks compared with a first one by their predictions of the same images; the page of that.

N images of a split, C classes; counts `[C, C]` have rows true, columns predicted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.analysis.labels import (
    ABSENT,
    CALIBRATION,
    compared_to,
    difference_result,
    interval_text,
    metric_name,
    naming_axes,
    p_text,
    values_text,
)
from fashion_mnist.analysis.lookup import class_names_of
from fashion_mnist.analysis.networks import read_images_of, require_network
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.analysis.stored_leaderboard import identity_of
from fashion_mnist.config.messages import shown
from fashion_mnist.metrics.bootstrap import Difference, Differences, bootstrap
from fashion_mnist.metrics.classification import SUMMARY_SCORES, class_f1
from fashion_mnist.metrics.confusions import absent_classes
from fashion_mnist.metrics.predictions import Predictions, are_comparable
from fashion_mnist.metrics.statistics import (
    McNemarTest,
    holm,
    mcnemar_test,
)
from fashion_mnist.plots.confusion import difference_figure
from fashion_mnist.plots.image_grid import disagreements_figure
from fashion_mnist.plots.png import Picture, write_png
from fashion_mnist.plots.run_charts import reliability_figure
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.markdown import plain
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.templates import PagePicture, render, table
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import COMPARISON_TAG, SPLITS, VALIDATION, RecordedRun

MOST_RUNS = 10
PAGE = "comparison.html"
KINDS = ("differences", "disagreements", "reliability")  # of pictures
TEXT = {"", "run", "id", "settings", "F1 of", "result"}  # columns that stand on the left
Row = dict[str, str]


@dataclass(frozen=True)
class ComparedRun:
    """One network."""

    letter: str  # A for the first: what tables and pictures call it
    run: RecordedRun
    predictions: Predictions

    @property
    def f1(self) -> list[float | None]:
        """Of each class; None for a class neither true nor predicted."""
        return class_f1(self.predictions.counts)


@dataclass(frozen=True)
class Pair:
    """One of the others against the first."""

    other: ComparedRun
    differences: Differences  # other less first
    num_disagreements: int  # images that the two take for different classes
    test: McNemarTest  # first and second are the first and the other
    p_holm: float  # corrected for all others


@dataclass(frozen=True)
class ComparedNetworks:
    """All of them, on one split."""

    split: str
    class_names: tuple[str, ...]
    compared: tuple[ComparedRun, ...]  # the others are compared with the first
    pairs: tuple[Pair, ...]  # of all but the first

    @property
    def first(self) -> ComparedRun:
        """The one that the others are compared with."""
        return self.compared[0]

    @property
    def name(self) -> str:
        """Of its folder: the same runs on the same split take each other's place."""
        return "-".join([*(each.run.run_id[:8] for each in self.compared), self.split])

    def settings(self) -> list[str]:
        """What each run's parameters are where they differ, in one line each."""
        values = [identity_of(each.run) for each in self.compared]
        axes = naming_axes(values)
        return [values_text(own, axes) or "the same settings" for own in values]

    def result(self, pair: Pair) -> str:
        """`B is significantly better than A`."""
        result = difference_result(pair.test.difference, pair.p_holm)
        return f"{pair.other.letter} is {compared_to(result, self.first.letter)}"

    def headline(self) -> list[str]:
        """The result for each of the others, with its numbers."""
        return [
            f"{self.result(pair)}: accuracy {_gap_text(pair.differences.scores['accuracy'])}, "
            f"Holm-adjusted {p_text(pair.p_holm)}"
            for pair in self.pairs
        ]

    def notes(self) -> list[str]:
        """What a reader of the tables must know."""
        own = self.first.predictions
        absent = absent_classes(own.counts.tolist(), self.class_names)
        return [
            f"Over the {len(own.labels):,} images of the {self.split} split. In "
            "brackets: 95 % intervals, paired bootstrap over images, not corrected for their "
            "number.",
            "p: McNemar's exact test, Holm-adjusted where there are several. It is about these "
            "networks on other images and says nothing of other seeds, which fmnist leaderboard "
            "tests.",
            *([absent] if absent else []),
        ]

    def tables(self) -> dict[str, list[Row]]:
        """The runs; their scores, and how the others' differ from the first's; tests; classes."""
        first, compared = self.first.letter, self.compared
        gaps = [
            {key: pair.differences.scores[key] for key in SUMMARY_SCORES} for pair in self.pairs
        ]
        scores = [
            {"": metric_name(key)}
            | {each.letter: f"{each.predictions.metrics[key]:.4f}" for each in compared}
            | self._gaps([own[key] for own in gaps])
            for key in SUMMARY_SCORES
        ]
        interval = {
            each.letter: interval_text(each.predictions.accuracy_interval) for each in compared
        }
        scores.insert(1, {"": "accuracy's 95 % interval (Wilson)"} | interval)
        return {
            "runs": [
                {"": each.letter, "run": each.run.name, "id": each.run.run_id, "settings": settings}
                for each, settings in zip(compared, self.settings(), strict=True)
            ],
            "scores": scores,
            "tests": [
                {
                    "": f"{pair.other.letter} and {first}",
                    "disagree": f"{pair.num_disagreements:,}",
                    f"{first} alone right": f"{pair.test.first_alone:,}",
                    "the other alone": f"{pair.test.second_alone:,}",
                    "McNemar": p_text(pair.test.p),
                    "Holm-adjusted": p_text(pair.p_holm),
                    "result": self.result(pair),
                }
                for pair in self.pairs
            ],
            "classes": self._class_rows(),
            "calibration": [
                {"": metric_name(key)}
                | {each.letter: f"{each.predictions.metrics[key]:.4f}" for each in compared}
                for key in CALIBRATION
            ],
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "split": self.split,
            "num_images": len(self.first.predictions.labels),
            "class_names": self.class_names,
            "runs": [
                {
                    "letter": each.letter,
                    "id": each.run.run_id,
                    "name": each.run.name,
                    "setting": setting,
                    "scores": {key: each.predictions.metrics[key] for key in SUMMARY_SCORES},
                    "accuracy_interval": each.predictions.accuracy_interval,
                    "calibration": {k: each.predictions.metrics[k] for k in CALIBRATION},
                    "f1": each.f1,
                    "confusion": each.predictions.counts.tolist(),
                }
                for each, setting in zip(self.compared, self.settings(), strict=True)
            ],
            "against_the_first": [
                {
                    "letter": pair.other.letter,
                    "scores": {k: _plain(gap) for k, gap in pair.differences.scores.items()},
                    "f1": [_plain(gap) if gap else None for gap in self._f1_gaps(pair)],
                    "first_alone_right": pair.test.first_alone,
                    "other_alone_right": pair.test.second_alone,
                    "num_disagreements": pair.num_disagreements,
                    "p": pair.test.p,
                    "p_holm": pair.p_holm,
                    "result": self.result(pair),
                }
                for pair in self.pairs
            ],
        }

    def _class_rows(self) -> list[Row]:
        """F1 of each class, and how that of the others differs, where both have one."""
        support = self.first.predictions.counts.sum(1).tolist()
        columns = {each.letter: each.f1 for each in self.compared}
        gaps = [self._f1_gaps(pair) for pair in self.pairs]
        rows = []
        for k, name in enumerate(self.class_names):
            f1 = {letter: own[k] for letter, own in columns.items()}
            own = {key: ABSENT if value is None else f"{value:.4f}" for key, value in f1.items()}
            differences = self._gaps([of_pair[k] for of_pair in gaps])
            rows.append({"F1 of": name, "images": f"{support[k]:,}"} | own | differences)
        return rows

    def _f1_gaps(self, pair: Pair) -> list[Difference | None]:
        """Of each class; None where one of the two has no F1."""
        both = zip(self.first.f1, pair.other.f1, pair.differences.f1, strict=True)
        return [None if None in (own, other) else gap for own, other, gap in both]

    def _gaps(self, gaps: Sequence[Difference | None]) -> Row:
        return {
            f"{pair.other.letter} − {self.first.letter}": _gap_text(gap) if gap else ABSENT
            for pair, gap in zip(self.pairs, gaps, strict=True)
        }


def compare(store: Reader, runs: Sequence[RecordedRun], split: str) -> ComparedNetworks:
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
        ComparedRun(letter, run, own)
        for letter, run, own in zip(ascii_uppercase, runs, stored, strict=False)
    )
    return ComparedNetworks(split, tuple(names), compared, _pairs(compared, split))


def _pairs(compared: Sequence[ComparedRun], split: str) -> tuple[Pair, ...]:
    first, *others = (each.predictions for each in compared)
    num_classes = first.probabilities.shape[1]
    tests = [mcnemar_test(first.is_right, other.is_right) for other in others]
    # a test set is stratified where its classes are equally large, as Fashion-MNIST's are
    sizes = np.bincount(first.labels, minlength=num_classes)
    is_stratified = split == VALIDATION or bool((sizes == sizes[0]).all())
    differences = [
        bootstrap(
            first.labels,
            first.predicted,
            other.predicted,
            num_classes=num_classes,
            is_stratified=is_stratified,
        )
        for other in others
    ]
    disagree = [int((first.predicted != other.predicted).sum()) for other in others]
    adjusted = holm([test.p for test in tests])
    columns = (compared[1:], differences, disagree, tests, adjusted)
    return tuple(Pair(*own) for own in zip(*columns, strict=True))


def _check(runs: Sequence[RecordedRun], split: str) -> None:
    """Raises a ValueError unless these runs can have left something to compare."""
    if split not in SPLITS:
        raise ValueError(f"--split must be {' or '.join(SPLITS)}, got {shown(split)}")
    if not 2 <= len(runs) <= MOST_RUNS:
        one = "name the other, or a sweep for all of its networks"
        many = "a sweep stands for all of its networks, and fmnist runs --sweep lists them"
        raise ValueError(
            f"two to {MOST_RUNS} runs can be compared, got {len(runs)}: "
            f"{one if len(runs) == 1 else many}"
        )
    for run in runs:
        require_network(run)


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


def _gap_text(gap: Difference) -> str:
    """`+0.0100 (+0.0020 to +0.0180)`."""
    low, high = gap.interval
    return f"{gap.value:+.4f} ({low:+.4f} to {high:+.4f})"


def _plain(gap: Difference) -> dict[str, Any]:
    return {"difference": gap.value, "interval": gap.interval}


def read_pictured(comparison: ComparedNetworks) -> tuple[NDArray[np.uint8] | None, str]:
    """The split's images `[N, H, W]`; or None, and why they cannot be shown."""
    first = comparison.first
    images, why = read_images_of(
        first.run,
        comparison.class_names,
        wanted=comparison.split,
        sha256=first.predictions.split_sha256,
    )
    return images, f"The images on which they disagree are not shown: {why}" if why else ""


def write_comparison(
    comparison: ComparedNetworks,
    folder: Path,
    images: NDArray[np.uint8] | None,
    *,
    remark: str = "",
) -> list[Path]:
    """Write page, pictures and JSON into the folder, in place of a comparison before; the files.

    Args:
        images: of the split, `[N, H, W]`; None where they cannot be had.
        remark: why.

    Raises:
        OSError: a file cannot be written.
    """
    for kind in KINDS:  # and nothing else: the folder may be the user's own
        for left in folder.glob(f"{kind}_[A-Z].png"):
            left.unlink()
    pictures = {folder / f"{name}.png": own for name, own in _draw(comparison, images).items()}
    for path, drawn in pictures.items():
        write_png(drawn, path)
    page, content = folder / PAGE, folder / "comparison.json"
    with replacing(page) as beside:
        beside.write_text(comparison_page(comparison, list(pictures), remark), encoding="utf-8")
    with replacing(content) as beside:
        beside.write_text(json.dumps(comparison.as_json(), indent=1), encoding="utf-8")
    return [page, content, *pictures]


def comparison_page(comparison: ComparedNetworks, pictures: Sequence[Path], remark: str) -> str:
    """The page: results, tables, pictures.

    Args:
        pictures: PNG files, whose names begin with one of `KINDS`.
        remark: why pictures are missing; empty where none is.
    """
    ids = " ".join(each.run.run_id for each in comparison.compared)
    shown = {
        kind: [
            PagePicture(file.read_bytes(), file.stem.replace("_", " "))
            for file in pictures
            if file.name.startswith(kind)
        ]
        for kind in KINDS
    }
    return render(
        PAGE,
        title=f"{len(comparison.compared)} networks on the {comparison.split} split",
        headline=comparison.headline(),
        command=f"fmnist compare {ids} --split {comparison.split}",
        notes=comparison.notes(),
        remark=remark,
        **{name: table(rows, text=TEXT) for name, rows in comparison.tables().items()},
        **shown,
    )


def record_comparison(uri: str, comparison: ComparedNetworks, files: Sequence[Path]) -> str:
    """Make it a run of the first run's experiment, with its files as artifacts; the run's id.

    Raises:
        OSError: the store did not take it.
    """
    from fashion_mnist.tracking.store import record_run  # imports mlflow, which takes seconds

    first, *others = (each.run.name for each in comparison.compared)
    metrics: dict[str, float] = {}
    for pair in comparison.pairs:
        letter, gap = pair.other.letter, pair.differences.scores["accuracy"]
        metrics |= {f"{letter}/accuracy_difference": gap.value, f"{letter}/p_holm": pair.p_holm}
    lines = [f"**{plain(words)}**" for words in comparison.headline()]
    lines += ["", f"On the {comparison.split} split:", ""]
    lines += [f"- {each.letter}: {plain(each.run.name)}" for each in comparison.compared]
    return record_run(
        uri,
        experiment=comparison.first.run.experiment,
        name=f"compare {first} with {', '.join(others)}",
        tags={
            COMPARISON_TAG: json.dumps([each.run.run_id for each in comparison.compared]),
            "comparison.split": comparison.split,
            DESCRIPTION_TAG: "\n".join(lines),
        },
        metrics=metrics,
        files=files,
    )


def _draw(comparison: ComparedNetworks, images: NDArray[np.uint8] | None) -> dict[str, Picture]:
    """Every picture, by its kind and the letter of its run."""
    first, names = comparison.first, comparison.class_names
    own, pictures = first.predictions, dict[str, Picture]()
    for pair in comparison.pairs:
        other, letters = pair.other.predictions, (first.letter, pair.other.letter)
        pictures[f"differences_{letters[1]}"] = difference_figure(
            own.counts.numpy(), other.counts.numpy(), names, letters
        )
        if images is not None:
            probabilities = own.probabilities, other.probabilities
            pictures[f"disagreements_{letters[1]}"] = disagreements_figure(
                images, own.labels, probabilities, names, letters
            )
    for each in comparison.compared:
        pictures[f"reliability_{each.letter}"] = reliability_figure(
            *each.predictions.reliability,
            title=f"{each.letter}: calibration error {each.predictions.metrics['ece']:.4f}",
            caption=each.run.name,
        )
    return pictures
