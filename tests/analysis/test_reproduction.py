"""The three results of training a run again, and what was not the same."""

import math
from typing import Any

import numpy as np
import pytest

from fashion_mnist.analysis.reproduce import FIRST_LOSS, compare
from fashion_mnist.metrics.statistics import McNemarTest, mcnemar_test

RECORDED = {"final/val_accuracy": 0.9, "final/val_loss": 0.3, FIRST_LOSS: 0.5}
SAME = McNemarTest(10, 12, 5000, 0.83)


def result(here: dict[str, float], weights: tuple[str, str] = ("a", "b"), **changes: Any) -> str:
    """Of figures that are RECORDED's but for these."""
    tags = tuple({"weights_sha256": sha256} for sha256 in weights)
    words: dict[str, Any] = {"prefix": "final/val_", "test": SAME, "recorded": RECORDED} | changes
    recorded = words.pop("recorded")
    return compare(recorded, RECORDED | here, (tags[0], tags[1]), **words).result


def test_equal_weights_are_identical() -> None:
    """Unless the recorded figures are not theirs; weights that are not recorded equal none."""
    assert result({}, ("a", "a")) == "identical"
    assert result({}, ("a", "a"), test=None, recorded={}) == "identical"
    assert result({"final/val_accuracy": 0.7}, ("a", "a")) == "different"
    assert result({}, ("", "")) == "within tolerance"


@pytest.mark.parametrize(
    ("loss", "p", "expected"),
    [
        (0.5, 0.051, "within tolerance"),
        (0.5, 0.05, "different"),
        (0.5099, 0.8, "within tolerance"),
        (0.4901, 0.8, "within tolerance"),
        (0.5101, 0.8, "different"),
        (0.4899, 0.8, "different"),
        (math.nan, 0.8, "different"),
    ],
)
def test_predictions_and_the_first_loss_decide(loss: float, p: float, expected: str) -> None:
    """McNemar's p above 0.05, and the first epoch's loss within 2 %."""
    assert result({FIRST_LOSS: loss}, test=McNemarTest(10, 30, 5000, p)) == expected


def test_half_a_point_of_5000_images_may_be_different() -> None:
    """The same 25 images gained and none lost are: the accuracy alone would not show it."""
    test = mcnemar_test(np.arange(5000) < 4475, np.arange(5000) < 4500)
    assert result({"final/val_accuracy": 0.9 - 0.005}, test=test) == "different"


def test_a_loss_that_is_no_longer_finite_is_different() -> None:
    """Whatever the predictions are."""
    assert result({"final/val_loss": math.inf}) == "different"


def test_a_loss_near_nothing_may_round() -> None:
    """Of the same weights: what is relative to 0 would allow nothing."""
    for here, expected in ((1e-9, "identical"), (1e-3, "different")):
        said = result(
            {"final/val_loss": here}, ("a", "a"), recorded=RECORDED | {"final/val_loss": 0.0}
        )
        assert said == expected


@pytest.mark.parametrize("recorded", [{}, {"final/val_loss": 0.3}, {"test/accuracy": 0.9}])
def test_without_evidence_other_weights_are_different(recorded: dict[str, float]) -> None:
    """A run without predictions and a first loss can only be had to the bit."""
    assert result({}, recorded=recorded, test=None) == "different"
    assert result({}, recorded=recorded) == "within tolerance"


@pytest.mark.parametrize(
    ("recorded", "here", "is_same"),
    [("a", "a", True), ("a", "b", False), ("a", "", None), ("", "a", None), ("", "", None)],
)
def test_what_is_not_known_is_not_called_the_same(
    recorded: str, here: str, is_same: bool | None
) -> None:
    """Nor called different."""
    tags = {"code_sha256": recorded}, {"code_sha256": here}
    first, *_ = compare({}, {}, tags, prefix="test/", test=None).origins
    expected = {"recorded": recorded or None, "here": here or None, "same": is_same}
    assert first == {"name": "code", **expected}


def test_the_size_of_its_stack_is_named_where_it_differs() -> None:
    """A stack of several costs the bits."""
    tags = tuple({"weights_sha256": size, "stack_size": size} for size in ("4", "1"))
    found = compare(RECORDED, RECORDED, (tags[0], tags[1]), prefix="final/val_", test=SAME)
    assert "what differs: runs in its stack;" in found.words()
