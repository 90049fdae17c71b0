"""The three answers to whether a run was had again, and what was not the same."""

import math
from typing import Any

import pytest
from scipy.stats import binom

from fashion_mnist.reproduction.verdict import Origin, accuracy_tolerance, compare

RECORDED = {"final/val_accuracy": 0.9, "final/val_loss": 0.3}


def verdict(here: dict[str, float], weights: tuple[str, str] = ("a", "b"), **changes: Any) -> str:
    """Of 400 images, where two standard errors are 3.05 percentage points."""
    tags = tuple({"weights_sha256": sha256} for sha256 in weights)
    words: dict[str, Any] = {"prefix": "final/val_", "num_images": 400} | changes
    recorded = words.pop("recorded", RECORDED)
    return compare(recorded, here, (tags[0], tags[1]), **words).verdict


def test_equal_weights_are_identical() -> None:
    """Unless the recorded figures are not theirs; weights that are not recorded equal none."""
    assert verdict({}, ("a", "a")) == "identical"
    assert verdict(RECORDED, ("a", "a")) == "identical"
    assert verdict(RECORDED | {"final/val_accuracy": 0.7}, ("a", "a")) == "different"
    assert verdict(RECORDED, ("", "")) == "within tolerance"


@pytest.mark.parametrize(
    ("accuracy", "loss", "expected"),
    [
        (0.9, 0.3, "within tolerance"),
        (0.93, 0.3, "within tolerance"),
        (0.87, 0.3, "within tolerance"),
        (0.931, 0.3, "different"),
        (0.869, 0.3, "different"),
        (0.9, 0.3149, "within tolerance"),
        (0.9, 0.2851, "within tolerance"),
        (0.9, 0.3151, "different"),
        (math.nan, 0.3, "different"),
        (0.9, math.inf, "different"),
    ],
)
def test_both_figures_must_be_near(accuracy: float, loss: float, expected: str) -> None:
    """An accuracy within two standard errors, a loss within 5 %."""
    assert verdict({"final/val_accuracy": accuracy, "final/val_loss": loss}) == expected


@pytest.mark.parametrize("recorded", [{}, {"final/val_loss": 0.3}, {"test/accuracy": 0.9}])
def test_without_figures_other_weights_are_different(recorded: dict[str, float]) -> None:
    """A run with no figures of the split can only be had to the bit."""
    assert verdict(RECORDED, recorded=recorded) == "different"


def test_the_tolerance_holds_for_what_chance_does() -> None:
    """About 95 of 100 repetitions of a measurement lie within it, and none is certain."""
    for share in (0.5, 0.9, 0.99):
        room = accuracy_tolerance(share, 1000)
        low, high = math.ceil(1000 * (share - room)), math.floor(1000 * (share + room))
        inside = binom.cdf(high, 1000, share) - binom.cdf(low - 1, 1000, share)
        assert 0.94 < inside < 0.995
    assert accuracy_tolerance(1.0, 1000) > 0


@pytest.mark.parametrize(
    ("recorded", "here", "is_same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "", None),
        ("none", "a", None),
        ("a+", "a", None),
        ("a+", "a+", None),
        ("a+", "b", False),
    ],
)
def test_changed_code_is_not_known_to_be_the_same(
    recorded: str, here: str, is_same: bool | None
) -> None:
    """A commit with changes that were not committed may be anything; another commit is another."""
    assert Origin("code", recorded, here).is_same is is_same
