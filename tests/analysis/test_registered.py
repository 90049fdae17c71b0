"""A network vs. the registered one so far: what is said rests on the test alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.analysis.registered import RegisteredComparison, compare_registered
from fashion_mnist.metrics.statistics import McNemarTest
from fashion_mnist.tracking.recorded import RecordedRun
from tests.recordings import Recordings


@pytest.fixture
def registered(recordings: Recordings) -> RecordedRun:
    return recordings.run("alone")


def test_stored_predictions_are_compared(recordings: Recordings, registered: RecordedRun) -> None:
    """The registered network comes first; the p-value is that of the binomial test."""
    store, run = recordings.reader(), recordings.run("model.width=4 seed=1")
    found = compare_registered(store, registered, run)
    first, second = (stored_predictions(store, each, "validation") for each in (registered, run))
    alone = [int((a.is_right & ~b.is_right).sum()) for a, b in ((first, second), (second, first))]
    assert found.test is not None
    assert [found.test.first_alone, found.test.second_alone] == alone
    assert found.test.p == pytest.approx(binomtest(alone[0], sum(alone), 0.5).pvalue)
    assert compare_registered(store, registered, registered).result == "not significantly different"


@pytest.mark.parametrize(
    ("test", "result"),
    [
        (McNemarTest(50, 80, 5000, 0.01), "significantly better"),
        (McNemarTest(80, 50, 5000, 0.01), "significantly worse"),
        (McNemarTest(80, 60, 5000, 0.06), "not significantly different"),
    ],
)
def test_the_result_is_said_with_its_numbers(
    test: McNemarTest, result: str, registered: RecordedRun
) -> None:
    """Better and worse only where chance is unlikely to make such a difference."""
    made = RegisteredComparison(registered, test)
    assert made.result == result
    assert result in made.words()
    assert "optimistically biased" in made.words()
    assert "optimistically biased" not in replace(made, split="test").words()
    assert f"{test.second_alone} right and the other alone {test.first_alone}" in made.words()


def test_what_cannot_be_compared_is_said(
    recordings: Recordings, registered: RecordedRun, tmp_path: Path
) -> None:
    """A registered network whose files are gone."""
    gone = replace(registered, artifact_uri=str(tmp_path))
    made = compare_registered(recordings.reader(), gone, recordings.run("model.width=4 seed=1"))
    assert made.result == "not tested"
    assert "cannot be compared" in made.words()
