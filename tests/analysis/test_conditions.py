"""Conditions and orders on recorded runs, by whatever they have."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_mnist.analysis.details import BARS, sparkline
from fashion_mnist.analysis.lookup import fulfil, ordered
from fashion_mnist.tracking.recorded import RecordedRun

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = RecordedRun(
    run_id="1",
    name="first",
    status="FINISHED",
    experiment="fashion-mnist",
    start=START,
    end=START + timedelta(seconds=90),
    parameters={"optimizer.lr": "0.001", "optimizer.name": "adamw", "betas": "[0.9, 0.999]"},
    metrics={"final/val_accuracy": 0.9, "odd": math.nan},
    tags={"device": "cpu"},
    artifact_uri="",
)
SECOND = replace(
    FIRST,
    run_id="2",
    name="second=2",
    end=None,
    parameters={"optimizer.lr": "1e-2", "optimizer.name": "sgd", "betas": "null"},
    metrics={"final/val_accuracy": 0.85},
    tags={"device": "cuda", "note": "a > b"},
)


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("optimizer.lr=0.0010", "1"),
        ("optimizer.lr=1e-3", "1"),
        ("optimizer.lr>=0.001", "12"),
        ("final/val_accuracy > 0.85", "1"),
        ("final/val_accuracy<=.85", "2"),
        ("optimizer.name==sgd", "2"),
        ("optimizer.name!=sgd", "1"),
        ("optimizer.name<5", ""),
        ("betas=[0.9, 0.999]", "1"),
        ("odd=0", ""),
        ("odd!=0", "12"),
        ("note=a > b", "2"),
        ("note!=a > b", "1"),
        ("device=cpu", "1"),
        ("name=second=2", "2"),
        ("duration<=90", "1"),
        ("started>2026-02-28", "12"),
        ("started<2026-02-28T10:00", ""),
    ],
)
def test_a_condition_compares_numbers_as_numbers(condition: str, ids: str) -> None:
    """Parameters, metrics, tags and facts alike; what a run does not have is unlike anything."""
    assert "".join(run.run_id for run in fulfil([FIRST, SECOND], [condition])) == ids


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("", "must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("optimizer.lr", "got 'optimizer.lr'"),
        ("optimizer.lr>small", "> needs a number, or a date"),
        ("started>99999-01-01", "> needs a number, or a date"),
        ("started>0001-01-01", "> needs a number, or a date"),  # before the calendar of some zones
        ("optimizer.rl=1", r"tag 'optimizer.rl' \(did you mean optimizer.lr\?\)"),
    ],
)
def test_what_is_no_condition_is_refused(condition: str, words: str) -> None:
    """With what is allowed and what came; a key of no run is a mistake too."""
    with pytest.raises(ValueError, match=words):
        fulfil([FIRST, SECOND], [condition])


def test_runs_without_a_value_come_last_in_both_orders() -> None:
    """Numbers by size, also where they are parameters' texts."""
    third = replace(FIRST, run_id="3", end=None, parameters={}, metrics={})
    for key, up in (("optimizer.lr", "123"), ("final/val_accuracy", "213"), ("duration", "132")):
        runs = [third, SECOND, FIRST]
        assert "".join(run.run_id for run in ordered(runs, key, descending=False)) == up
    assert [run.run_id for run in ordered(runs, "optimizer.lr", descending=True)] == [*"213"]


@given(st.lists(st.floats(), max_size=200), st.integers(1, 60))
def test_a_sparkline_is_as_wide_as_it_may_be(values: list[float], width: int) -> None:
    """Whatever the values; the largest has the highest bar, unless it is left out for width."""
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert set(line) <= {*BARS, " "}


def test_a_sparkline_shows_the_course() -> None:
    """By hand; a gap where there is no number."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BARS
    assert sparkline([1, math.nan, 0, 1]) == "█ ▁█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline(list(range(100)), width=3) == "▁▅█"
