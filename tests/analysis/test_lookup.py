"""Which run a word means: one, or an error that helps."""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fashion_mnist.analysis.lookup import (
    ChoiceError,
    choose,
    networks_of,
    select_runs,
    short_ids,
    without_copies,
)
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.store import record_run

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make_run(
    run_id: str,
    name: str,
    *,
    day: int = 0,
    score: float | None = None,
    status: str = "FINISHED",
    kind: Mapping[str, str] | None = None,
) -> RecordedRun:
    """A network, unless `kind` gives other tags."""
    start = BEGIN + timedelta(days=day)
    tags = {"fingerprint": "f"} if kind is None else dict(kind)
    key = "best/val_accuracy" if "sweep.axes" in tags else "final/val_accuracy"
    metrics = {} if score is None else {key: score}
    return RecordedRun(
        run_id=run_id.ljust(32, "0"),
        name=name,
        status=status,
        experiment="fashion-mnist",
        start=start,
        end=start,
        parameters={},
        metrics=metrics,
        tags=tags,
        artifact_uri="",
    )


def member(run_id: str, name: str, *, parent: str, original: str = "") -> RecordedRun:
    """A network of a sweep, a copy of another run where there is an original."""
    tags = {"fingerprint": "f", "mlflow.parentRunId": parent.ljust(32, "0")}
    tags |= {"copy_of": original.ljust(32, "0")} if original else {}
    return make_run(run_id, name, kind=tags)


SWEEP = {"sweep.axes": "{}"}
RUNS = [
    make_run("e1", "a comparison", day=9, score=1.0, kind={}),
    make_run("d1", "widths", day=8, score=0.7, kind=SWEEP),
    make_run("abcd12", "twin", day=7, score=0.9, status="KILLED"),
    make_run("abcd34", "twin", day=6, score=0.8),
    make_run("b1", "older best", day=1, score=0.8),
    make_run("b2", "unmeasured", day=2, score=float("nan")),
    make_run("d2", "rates", day=0, score=0.75, kind=SWEEP),
    member("c1", "one", parent="d2"),
    member("c2", "one", parent="d1", original="c1"),
]


@pytest.mark.parametrize(
    ("word", "name", "run_id"),
    [
        ("abcd34".ljust(32, "0"), "twin", "abcd34"),
        ("abcd3", "twin", "abcd34"),
        ("ABCD1", "twin", "abcd12"),
        ("older best", "older best", "b1"),
        ("one", "one", "c1"),
        ("c2", "one", "c2"),
        ("widths", "widths", "d1"),
        ("latest", "twin", "abcd12"),
        ("best", "older best", "b1"),
    ],
)
def test_a_word_means_one_run(word: str, name: str, run_id: str) -> None:
    """Id, beginning, name; of equal scores the older, of copies the original; networks alone."""
    run = choose(RUNS, word)
    assert (run.name, run.run_id) == (name, run_id.ljust(32, "0"))


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("twin", r"'twin' is 2 runs: abcd12\w* \(twin, 2026-01-08 \d\d:\d\d\), abcd34"),
        ("abcd", r"'abcd' is 2 runs: abcd12"),
        ("abce", r"no run 'abce'; near: abcd"),
        ("Older bst", r"near: b1000000 \(older best\)"),
        ("unmeas", r"near: b2000000 \(unmeasured\)"),
        ("bets", r"near: .*best"),
        ("zzzzzz", r"no run 'zzzzzz'; there are 9"),
        ("", r"no run ''; there are 9"),
        ("\x1b[2J", r"no run '\\x1b\[2J'"),
    ],
)
def test_another_word_is_an_error_that_names_near_runs(word: str, words: str) -> None:
    """Also for nonsense, which is written out harmlessly."""
    with pytest.raises(ChoiceError, match=words):
        choose(RUNS, word)


@pytest.mark.parametrize("word", ["latest", "best", "x"])
def test_where_there_is_nothing_nothing_is_chosen(word: str) -> None:
    """And that is said."""
    with pytest.raises(ChoiceError, match="there is no"):
        choose([], word)


def test_a_name_of_hexadecimal_digits_hides_no_run() -> None:
    """Where it is also the beginning of another run's id, both are named."""
    runs = [make_run("0123456789", "one"), make_run("ff", "01234567"), make_run("ee", "decade99")]
    with pytest.raises(ChoiceError, match=r"'01234567' is 2 runs: ff\w* \(01234567, .*\(one, "):
        choose(runs, "01234567")
    assert choose(runs, "decade99").run_id.startswith("ee")


def test_a_sweep_is_found_by_the_same_words() -> None:
    """Only runs that stand for a sweep are; its networks are those that have it as their parent."""
    found = {word: choose(RUNS, word, "sweep").name for word in ("latest", "best", "widths", "d2")}
    assert found == {"latest": "widths", "best": "rates", "widths": "widths", "d2": "rates"}
    newest = replace(RUNS[-2], run_id="f" * 32, start=BEGIN + timedelta(days=20))
    extended = [*RUNS, newest]  # a network of the older sweep, which went on
    assert choose(extended, "latest", "sweep").name == "rates"
    with pytest.raises(ChoiceError, match="no sweep 'twin'"):
        choose(RUNS, "twin", "sweep")
    assert [run.run_id[:2] for run in networks_of(choose(RUNS, "rates", "sweep"), RUNS)] == ["c1"]


def test_a_runs_name_does_not_make_it_an_experiment(tmp_path: Path) -> None:
    """Whatever it begins with."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tags = {"fingerprint": "f"}
    record_run(uri, experiment="mine", name="experiment 1", tags=tags, metrics={}, files=[])
    store = Reader(uri)
    assert not select_runs(store, ["experiment 1"]).has_experiments
    assert select_runs(store, ["experiment 1", "mine"]).has_experiments


def test_a_copy_counts_where_its_original_is_not_listed() -> None:
    """A sweep's own list has every member, a list of all each network once."""
    assert [run.run_id[:2] for run in without_copies(RUNS) if run.name == "one"] == ["c1"]
    assert without_copies(RUNS[-1:]) == RUNS[-1:]
    copies = [member(run_id, "one", parent="d1", original="gone") for run_id in ("c7", "c8")]
    assert without_copies(copies) == copies[:1]


class Stopped:
    """Files, before the first of which the user presses Ctrl-C."""

    def __iter__(self) -> Iterator[Path]:
        os.kill(os.getpid(), signal.SIGINT)
        yield Path("never.html")


def test_a_record_that_is_stopped_has_failed(tmp_path: Path) -> None:
    """A comparison that the user stops while it is recorded does not stay RUNNING."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(KeyboardInterrupt):
        record_run(uri, experiment="x", name="c", tags={}, metrics={}, files=Stopped())
    [run] = Reader(uri).runs()
    assert run.status == "FAILED"


def test_short_ids_are_unique() -> None:
    """They grow until they are; what is equal all the same stays whole."""
    runs = [make_run("0123456789", "a"), make_run("01234567aa", "b")]
    assert list(short_ids(runs).values()) == ["012345678", "01234567a"]
    assert set(short_ids([runs[0], runs[0]]).values()) == {"01234567"}


@pytest.mark.parametrize("score", [float("inf"), float("nan"), -0.1, 1.1])
def test_what_is_no_accuracy_is_not_the_best(score: float) -> None:
    """Anybody may write into a store."""
    runs = [make_run("a", "honest", score=0.8), make_run("b", "odd", score=score)]
    assert choose(runs, "best").name == "honest"
