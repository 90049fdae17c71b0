"""A comparison as tables and as plain values: what terminal, page and JSON show of it."""

from collections.abc import Sequence
from typing import Any

from fashion_mnist.conclusions.comparison import Comparison, Contrast
from fashion_mnist.conclusions.resampling import SCORES, Difference
from fashion_mnist.metrics.classification import absent_classes
from fashion_mnist.metrics.statistics import Interval
from fashion_mnist.sweep.labels import ABSENT, p_text

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
        for each, settings in zip(comparison.contestants, comparison.settings(), strict=True)
    ]


def score_rows(comparison: Comparison) -> list[Row]:
    """Each score of all, and how the others differ from the first."""
    rows = []
    for key in SCORES:
        own = {each.letter: f"{each.scores[key]:.4f}" for each in comparison.contestants}
        gaps = [contrast.differences.scores[key] for contrast in comparison.contrasts]
        rows.append({"": SCORE_NAMES[key], **own, **_gaps(comparison, gaps)})
    intervals = {
        each.letter: interval_text(each.accuracy_interval) for each in comparison.contestants
    }
    return [rows[0], {"": "accuracy's 95 % interval (Wilson)", **intervals}, *rows[1:]]


def mcnemar_rows(comparison: Comparison) -> list[Row]:
    """McNemar's test of each of the others against the first."""
    first = comparison.first.letter
    return [
        {
            "": f"{contrast.other.letter} and {first}",
            "disagree": f"{num_disagreements(comparison, contrast):,}",
            f"{first} alone right": f"{contrast.test.first_alone:,}",
            "the other alone": f"{contrast.test.second_alone:,}",
            "McNemar": p_text(contrast.test.p),
            "after Holm": p_text(contrast.p_holm),
            "so": verdict(comparison, contrast),
        }
        for contrast in comparison.contrasts
    ]


def class_rows(comparison: Comparison) -> list[Row]:
    """F1 of each class, and how that of the others differs, where both have one."""
    support = comparison.first.counts.sum(1).tolist()
    rows = []
    for index, name in enumerate(comparison.class_names):
        scores = {each.letter: each.f1[index] for each in comparison.contestants}
        own = {key: ABSENT if value is None else f"{value:.4f}" for key, value in scores.items()}
        is_known = {key: value is not None for key, value in scores.items()}
        gaps = [
            contrast.differences.f1[index]
            if is_known[comparison.first.letter] and is_known[contrast.other.letter]
            else None
            for contrast in comparison.contrasts
        ]
        images = f"{support[index]:,}"
        rows.append({"F1 of": name, "images": images, **own, **_gaps(comparison, gaps)})
    return rows


def calibration_rows(comparison: Comparison) -> list[Row]:
    """How far the probabilities of each can be believed."""
    return [
        {"": name, **{e.letter: f"{e.calibration[key]:.4f}" for e in comparison.contestants}}
        for key, name in CALIBRATION_NAMES.items()
    ]


def verdict(comparison: Comparison, contrast: Contrast) -> str:
    """`B is better than A`, where the images show it."""
    other, first = contrast.other.letter, comparison.first.letter
    if not contrast.is_found:
        return f"{other} cannot be told from {first}"
    return f"{other} is {'better' if contrast.test.difference > 0 else 'worse'} than {first}"


def headline(comparison: Comparison) -> list[str]:
    """The verdict on each of the others, with its numbers."""
    return [
        f"{verdict(comparison, contrast)}: accuracy "
        f"{gap_text(contrast.differences.scores['accuracy'])}, {p_text(contrast.p_holm)}"
        for contrast in comparison.contrasts
    ]


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the tables must know."""
    absent = absent_classes(comparison.first.counts, comparison.class_names)
    return [
        f"Over the {len(comparison.labels):,} images of the {comparison.split} split. In brackets: "
        "95 % intervals, paired bootstrap over images, not corrected for their number.",
        "p: McNemar's exact test, after Holm's correction where there are several. It is about "
        "these networks on other images: another seed can turn it (fmnist leaderboard tests that).",
        *([absent] if absent else []),
    ]


def num_disagreements(comparison: Comparison, contrast: Contrast) -> int:
    """Images that the two take for different classes."""
    first, other = comparison.first.predictions, contrast.other.predictions
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
            for each, setting in zip(comparison.contestants, comparison.settings(), strict=True)
        ],
        "against_the_first": [
            {
                "letter": contrast.other.letter,
                "scores": {k: _plain(gap) for k, gap in contrast.differences.scores.items()},
                "f1": [_plain(gap) for gap in contrast.differences.f1],
                "first_alone_right": contrast.test.first_alone,
                "other_alone_right": contrast.test.second_alone,
                "num_disagreements": num_disagreements(comparison, contrast),
                "p": contrast.test.p,
                "p_holm": contrast.p_holm,
                "verdict": verdict(comparison, contrast),
            }
            for contrast in comparison.contrasts
        ],
    }


def gap_text(gap: Difference) -> str:
    """`+0.0100 (+0.0020 to +0.0180)`."""
    low, high = gap.interval
    return f"{gap.value:+.4f} ({low:+.4f} to {high:+.4f})"


def interval_text(interval: Interval) -> str:
    """`0.8860 to 0.8964`."""
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _gaps(comparison: Comparison, gaps: Sequence[Difference | None]) -> Row:
    first = comparison.first.letter
    return {
        f"{contrast.other.letter} less {first}": ABSENT if gap is None else gap_text(gap)
        for contrast, gap in zip(comparison.contrasts, gaps, strict=True)
    }


def _plain(gap: Difference) -> dict[str, Any]:
    return {"difference": gap.value, "interval": gap.interval}
