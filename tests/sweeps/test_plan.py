"""What a sweep says before it starts: every count, the stacks, the time and what is not known."""

import math
import re
from dataclasses import replace

import pytest

from fashion_mnist.config.messages import duration
from fashion_mnist.runs.request import SETTLED
from fashion_mnist.sweeps.plan import (
    ArchitectureCost,
    Preflight,
    estimate_error,
    full_text,
    grid_headline,
    search_headline,
    short_text,
)

WIDE = ArchitectureCost("784-512-256-10 relu", 20, 3, 7, 535_818, 3 * 2**20, seconds=100)
SMALL = ArchitectureCost("784-64-10 gelu", 9, 1, 9, 50_890, 1.5 * 2**20, seconds=10, spread=2)
COUNTS = {"new": 30, "resumed": 2, "finished": 4, "failed": 3}
SWEEP = Preflight(
    grid_headline(COUNTS, num_duplicates=2),
    num_to_train=32,
    costs=[WIDE, SMALL],
    num_workers=1,
    seconds_to_start=0,
    resumed_epochs=[(2, 5), (7, 12)],
    axes={"model.width": ["64", "512"], "optimizer.lr": ["0.001", "0.003"]},
)


def numbers(text: str) -> list[str]:
    """Every number of a text, in order."""
    return re.findall(r"\d[\d,.]*\d|\d", text)


def test_short_form_counts_every_job_once() -> None:
    """41 jobs = 30 new + 2 + 4 + 3 + 2; what is nought is not spoken of."""
    first = short_text(SWEEP).splitlines()[0]
    assert first.startswith("41 jobs: 30 new, 2 to be resumed, 4 finished before, 3 failed before")
    assert first.endswith("2 duplicates")
    assert grid_headline({"new": 1}, 0) == "1 job: 1 new"


def test_failed_runs_are_trained_only_where_that_is_asked() -> None:
    """Without retry_failed the key is named that would; with it they are among those to train."""
    assert "3 failed before (sweep.retry_failed=true retries)" in short_text(SWEEP)
    assert "32 runs to train" in short_text(SWEEP)
    again = grid_headline({"new": 30, "retried": 3}, 0)
    assert again == "33 jobs: 30 new, 3 failed before (to be retried)"
    assert "retried" not in SETTLED
    assert "failed" in SETTLED


def test_time_is_said_with_its_uncertainty() -> None:
    """110 s; a factor of 1.3 for 100 of them, 2 for 10: from 76.9 + 5 to 130 + 20."""
    assert "about 1 min 50 s (1 min 22 s to 2 min 30 s)" in short_text(SWEEP)


def test_what_was_not_measured_is_said_to_be_unknown() -> None:
    """One of two architectures, or all."""
    unknown = replace(WIDE, seconds=math.nan, num_bytes=math.nan)
    some = replace(SWEEP, costs=[unknown, SMALL])
    assert "about 10 s (5 s to 20 s) and 1 architecture not measured" in short_text(some)
    assert "1.5 MiB" in short_text(some)
    none = replace(SWEEP, costs=[unknown])
    assert "how long is not known" in short_text(none)
    assert "MiB" not in short_text(none)
    assert "?" in full_text(none)
    assert "nan" not in full_text(none)


def test_full_form_has_a_row_for_each_architecture() -> None:
    """20 runs in stacks of at most 8 are three of up to 7; 9 that fit one stack are one."""
    wide, small = full_text(SWEEP).splitlines()[-2:]
    assert wide.startswith(WIDE.architecture)
    assert small.startswith(SMALL.architecture)
    wide_numbers = numbers(wide.removeprefix(WIDE.architecture))
    assert wide_numbers == ["20", "3", "7", "535,818", "3.0", "1", "40"]
    assert numbers(small.removeprefix(SMALL.architecture)) == ["9", "1", "9", "50,890", "1.5", "10"]
    assert len(wide.rstrip()) == len(small.rstrip())


def test_full_form_names_axes_and_resumed_epochs() -> None:
    """All that the short form says, and these."""
    text = full_text(SWEEP)
    assert text.startswith(short_text(SWEEP))
    assert "model.width   64, 512\n" in text
    assert "optimizer.lr  0.001, 0.003\n" in text
    assert "2 of 5, 7 of 12" in text


def test_search_says_how_far_it_is() -> None:
    """Trials done, in all and to go."""
    assert search_headline("tpe", 12, 40) == "search (tpe): 12 of 40 trials done, 28 to go"


def test_a_search_with_more_trials_than_are_asked_for_has_none_to_go() -> None:
    """As where `sweep.n_trials` is lowered."""
    assert search_headline("tpe", 24, 12) == "search (tpe): 24 of 12 trials done, 0 to go"


def test_repeated_runs_are_counted_as_runs_to_train() -> None:
    """Those of `rerun=true` are neither new nor finished; every job is counted once."""
    assert grid_headline({"new": 1, "repeated": 3, "finished": 1}, 0) == (
        "5 jobs: 1 new, 3 to be trained again (rerun=true), 1 finished before"
    )
    assert "repeated" not in SETTLED


@pytest.mark.parametrize(
    ("estimated", "actual", "words"),
    [
        (190, 211, "estimated 3 min 10 s, took 3 min 31 s (+11 %)"),
        (100, 75, "estimated 1 min 40 s, took 1 min 15 s (-25 %)"),
        (60, 60, "estimated 1 min 00 s, took 1 min 00 s (+0 %)"),
    ],
)
def test_error_of_the_estimate(estimated: float, actual: float, words: str) -> None:
    """In per cent of the estimate."""
    assert estimate_error(estimated, actual) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """Rounded once, so that there is never a minute of sixty seconds."""
    assert duration(seconds) == words
