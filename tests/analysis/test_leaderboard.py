"""Recorded runs as settings and their leaderboard, on runs made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fashion_mnist.analysis.leaderboard import Leaderboard, Setting, rank, split_of
from fashion_mnist.analysis.lookup import ChoiceError
from fashion_mnist.analysis.stored_leaderboard import (
    build_leaderboard,
    recorded_results,
)
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.store import Store
from tests.analysis import boards

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)


def run(
    number: int,
    score: float | None = None,
    *,
    status: str = "FINISHED",
    test: float | None = None,
    data: str = "d" * 64,
    **parameters: object,
) -> RecordedRun:
    """A network's run; `__` in a parameter is a dot."""
    own: dict[str, object] = {
        "seed": 0,
        "data__fold": 0,
        "data__validation_size": 5000,
        **parameters,
    }
    metrics = {"final/val_accuracy": score, "test/accuracy": test}
    return RecordedRun(
        run_id=f"{number:032x}",
        name=f"run {number}",
        status=status,
        experiment="fashion-mnist",
        start=BIRTH + timedelta(minutes=number),
        end=None,
        parameters={key.replace("__", "."): str(value) for key, value in own.items()},
        metrics={key: value for key, value in metrics.items() if value is not None},
        tags={
            "fingerprint": "f",
            "data_sha256": data,
            "split_sha256": f"{own['data__validation_size']} {own['data__fold']}",
        },
        artifact_uri="nowhere",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """An empty store: what is asked of it are predictions alone."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    Store(uri)
    return Reader(uri)


def board_of(store: Reader, runs: Sequence[RecordedRun]) -> Leaderboard:
    return build_leaderboard(store, "experiment x", runs, runs, limit=None)


def ranked(store: Reader, runs: Sequence[RecordedRun]) -> tuple[Setting, ...]:
    return rank(recorded_results(runs, store), score="final/val_accuracy").settings


def test_seeds_and_folds_are_repetitions(store: Reader) -> None:
    """Everything else makes a setting, also the data; where a run is computed does not."""
    runs = [
        run(0, 0.8, width=1),
        run(1, 0.9, width=1, seed=1, training__threads=7, data__dir="elsewhere"),
        run(2, 0.86, width=2),
        run(3, 0.88, width=2, data__fold=1),
        run(4, 0.5, width=2, data="e" * 64),
    ]
    settings = ranked(store, runs)
    assert [[own.replicate for own in each.runs] for each in settings] == [
        [("0", "0"), ("0", "1")],
        [("0", "0"), ("1", "0")],
        [("0", "0")],
    ]
    assert [each.score.mean for each in settings if each.score] == pytest.approx([0.87, 0.85, 0.5])


def test_another_version_of_the_numerics_is_another_setting(store: Reader) -> None:
    """As it is another fingerprint: neither takes the other's place."""
    runs = [run(0, 0.8), run(1, 0.9), run(2, 0.7)]
    marked = [
        replace(own, tags={**own.tags, "numerics": version})
        for own, version in zip(runs, ("1", "2", "2"), strict=True)
    ]
    assert sorted(len(setting.runs) for setting in ranked(store, marked)) == [1, 1]
    scores = [setting.score.mean for setting in ranked(store, marked) if setting.score]
    assert scores == [0.9, 0.8]


def test_a_repetition_counts_once(store: Reader) -> None:
    """Of several runs of one seed the first that finished: trying again does not help."""
    runs = [run(3, 0.99), run(1, status="KILLED"), run(2, 0.8), run(0, status="FAILED")]
    [setting] = ranked(store, runs)
    [only] = setting.records
    assert only.name == "run 2"
    assert setting.score is not None
    assert (setting.score.mean, setting.score.n) == (0.8, 1)


def test_runs_without_a_score_come_last(store: Reader) -> None:
    """Failed runs and scores that are no numbers are no score."""
    runs = [run(0, status="FAILED", width=1), run(1, float("nan"), width=2), run(2, 0.1, width=3)]
    settings = ranked(store, runs)
    assert settings[0].values["width"] == "3"
    assert [setting.score for setting in settings[1:]] == [None, None]


def test_a_lucky_run_does_not_lead(store: Reader) -> None:
    """Two settings have two runs: the one with a single run follows them, as `1 of 2`."""
    runs = [
        *(run(seed, 0.80 + seed / 100, seed=seed, width=1) for seed in range(3)),
        *(run(10 + seed, 0.815 + seed / 100, seed=seed, width=2) for seed in range(2)),
        run(20, 0.9, width=3),
        run(21, float("nan"), seed=1, width=3),
    ]
    board = board_of(store, runs)
    assert [setting.values["width"] for setting in board.settings] == ["2", "1", "3"]
    assert [board.count_text(setting) for setting in board.settings] == ["2", "3", "1 of 2"]
    assert board.as_json()["num_repetitions"] == 2
    assert any("fewer than 2 finished runs" in note for note in board.notes())


def test_a_sweeps_repetitions_are_the_planned_ones(store: Reader) -> None:
    """As its record says; where it does not, the most that a setting has begun."""
    for text, planned in (("6", 6), ("six", 2), ("9" * 5000, 2)):
        sweep = replace(run(9), tags={"sweep.axes": "{}", "sweep.repetitions": text})
        parent = {"mlflow.parentRunId": sweep.run_id, "fingerprint": "f"}
        members = [replace(run(seed, status="RUNNING", seed=seed), tags=parent) for seed in (0, 1)]
        assert board_of(store, [sweep, *members]).num_repetitions == planned


def test_each_metric_has_its_own_interval(store: Reader) -> None:
    """Also where settings are ranked by another one; of a single seed there is none."""
    runs = [
        replace(own, metrics={**own.metrics, "final/val_loss": loss})
        for own, loss in zip(
            [run(0, 0.8), run(1, 0.82, seed=1), run(2, 0.7, width=2)], [0.5, 0.6, 0.9], strict=True
        )
    ]
    board = rank(recorded_results(runs, store), score="final/val_loss")
    first, second = board.as_json()["settings"]
    for key, values in (("val_accuracy", [0.8, 0.82]), ("score", [0.5, 0.6])):
        expected = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
        assert first[key]["interval"] == pytest.approx(expected)
        assert second[key]["interval"] is None


def test_the_leaderboard_names_what_differs(store: Reader) -> None:
    """Not what all have in common; a setting that lacks a key is one without it."""
    board = board_of(store, [run(0, 0.9, model__width=1, lr=1), run(1, 0.8, lr=1)])
    assert board.axes == ["model.width"]
    assert [board.label(setting) for setting in board.settings] == ["width=1", "no width"]


def test_paired_seeds_are_tested_and_hopeless_ones_are_not(store: Reader) -> None:
    """Results in the order of the settings, the unscored last."""
    scores = {1: (0.90, 0.91, 0.90), 2: (0.90, 0.90, 0.91), 3: (0.8, 0.811, 0.80)}
    runs = [
        run(10 * width + seed, score, width=width, seed=seed)
        for width, own in scores.items()
        for seed, score in enumerate(own)
    ]
    board = board_of(store, [*runs, run(99, status="RUNNING", width=4)])
    assert [(comparison.result, comparison.test) for comparison in board.comparisons] == [
        ("best", ""),
        ("not significantly different", "paired t"),
        ("significantly worse", "paired t"),
        ("not tested", ""),
    ]


def test_a_setting_is_named_by_the_file_that_was_chosen(store: Reader) -> None:
    """And by what the file does not imply; without a file the name says which it is."""
    files = {"sgd": 0.1, "adam": 0.001}
    chosen = [
        run(k, 0.8, optimizer=name, optimizer__name=name, optimizer__lr=lr)
        for k, (name, lr) in enumerate(files.items())
    ]
    assert board_of(store, chosen).axes == ["optimizer"]
    typed = run(2, 0.8, optimizer="sgd", optimizer__name="sgd", optimizer__lr=0.3)
    assert board_of(store, [*chosen, typed]).axes == ["optimizer", "optimizer.lr"]
    unnamed = [run(k, 0.8, optimizer__name=name) for k, name in enumerate(files)]
    assert board_of(store, unnamed).axes == ["optimizer.name"]


def test_predictions_that_are_not_there_are_said(store: Reader) -> None:
    """Two single runs would be compared by them."""
    board = board_of(store, [run(0, 0.9, width=1), run(1, 0.8, width=2)])
    assert board.comparisons[1].result == "not tested"
    assert "validation/predictions.npz" in board.comparisons[1].why


def test_reading_the_test_set_is_counted_once_a_network(store: Reader) -> None:
    """Two settings of three networks; a repetition is none more."""
    runs = [
        run(0, 0.9, test=0.8, width=1),
        run(1, 0.9, test=0.8, width=1),
        run(2, 0.9, test=0.8, width=1, seed=1),
        run(3, 0.9, test=0.8, width=2),
        run(4, 0.9, width=3),
    ]
    assert board_of(store, runs).num_tested == (3, 2)


def test_no_networks_no_leaderboard(store: Reader) -> None:
    """It says so."""
    with pytest.raises(ChoiceError, match="no trained networks"):
        board_of(store, [])


def test_two_thousand_runs_are_four_hundred_settings(store: Reader) -> None:
    """Of five seeds each, among sixty parameters that are the same; the best mean is first."""
    filler: dict[str, Any] = {f"key{number}": number for number in range(60)}
    runs = [
        run(number, 0.8 + (number * 7919 % 1000) / 1e5, seed=number % 5, lr=number // 5, **filler)
        for number in range(2000)
    ]
    settings = board_of(store, runs).settings
    assert [len(setting.runs) for setting in settings] == [5] * 400
    means = [setting.score.mean for setting in settings if setting.score]
    assert len(means) == 400
    assert means == pytest.approx(sorted(means, reverse=True))


def test_images_are_known_by_data_and_indices() -> None:
    """Not by what was trained on; unknown where the store does not say both."""
    first = split_of(run(0, data__train_size=10).tags)
    assert first == split_of(run(1, data__train_size=20, seed=3).tags)
    assert first != split_of(run(0, data__fold=1).tags)
    assert first != split_of(run(0, data="e" * 64).tags)
    assert first != split_of(run(0, data__validation_size=400).tags)
    assert split_of(run(0, data="").tags) == ""


def test_a_setting_is_what_it_is_trained_with_however_it_was_chosen(store: Reader) -> None:
    """By a file, or typed: with the same seed the two would be one run."""
    runs = [
        run(0, 0.8, test=0.8, model="small", model__width=128),
        run(1, 0.9, test=0.8, model="mlp", seed=1, model__width=128),
        run(2, 0.7, model="mlp", model__width=64),
    ]
    board = board_of(store, runs)
    assert [len(setting.runs) for setting in board.settings] == [2, 1]
    assert board.num_tested == (2, 1)


def test_who_ranks_behind_for_fewer_runs_may_be_better(store: Reader) -> None:
    """And is said to be; why the larger score is not the first is told too."""
    own = [run(k, 0.900 + k / 1000, width=1, seed=k) for k in range(3)]
    other = [run(3 + k, 0.950 + k * 0.0012, width=2, seed=k) for k in range(2)]
    failed = run(5, status="FAILED", width=2, seed=2)
    board = rank(
        recorded_results([*own, *other, failed], store),
        score="final/val_accuracy",
        num_repetitions=3,
    )
    assert board.comparisons[1].result == "significantly better"
    assert "significantly better by the seeds and folds that both have" in " ".join(board.answer())
    assert "fewer than 3 finished runs rank after" in " ".join(board.notes())


def test_a_rank_by_shared_seeds_is_explained(store: Reader) -> None:
    """Where the means over all seeds are in another order."""
    steady = [run(k, 0.90, width=1, seed=k) for k in range(3)]
    mixed = [
        run(3 + k, score, width=2, seed=k) for k, score in enumerate((0.91, 0.91, 0.91, 0.8, 0.8))
    ]
    board = board_of(store, [*steady, *mixed])
    assert board.settings[0].values["width"] == "2"
    assert "rank by the seeds and folds that all of them share" in " ".join(board.notes())
    same = board_of(store, [*steady, *mixed[:3]])
    assert "that all of them share" not in " ".join(same.notes())


def test_a_size_has_no_interval() -> None:
    """It is the same for every seed."""
    sizes = {"parameters": 5970.0}
    runs = [boards.job(k, 0.8 + k / 100, metrics=sizes, seed=k) for k in range(2)]
    board = rank(runs, score="parameters")
    assert "interval" not in board.answer()[0]
    assert board.rows()[0]["95 % interval"] == "–"


def test_equal_scores_are_ordered_by_what_comes_then() -> None:
    """The first of networks of one size is not one that another beats in the next objective."""
    sizes = {"parameters": 5970.0}
    results = [
        boards.job(number, accuracy, metrics=sizes, lr=number)
        for number, accuracy in enumerate((0.6, 0.7, 0.65))
    ]
    for then in ((), ("final/val_accuracy",)):
        board = rank(results, score="parameters", then=then)
        first = [int(setting.values["lr"]) for setting in board.settings]
        assert first == ([1, 2, 0] if then else [0, 1, 2])


@pytest.mark.parametrize("score", ["parameters", "final/val_accuracy"])
def test_only_what_is_measured_is_biased(score: str) -> None:
    """A size is what it is, whichever setting is chosen by it and with however many seeds."""
    results = [boards.job(number, 0.7 + number / 10, lr=number) for number in range(2)]
    words = " ".join(rank(results, score=score).answer())
    assert ("biased" in words) == ("One seed" in words) == (score != "parameters")
