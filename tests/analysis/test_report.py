"""What reports are made of, on runs and predictions made by hand."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fashion_mnist.analysis.lookup import SelectedRuns
from fashion_mnist.analysis.predictions import Pooled, paired_counts, worst_pairs
from fashion_mnist.analysis.report import build_report, command_of, content_of
from fashion_mnist.analysis.report_page import check_output, write_report
from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.tracking.links import program
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.store import Store
from tests.analysis.test_leaderboard import BIRTH, run

NAMES = ("Trouser", "Bag", "Shirt")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """An empty store: what is asked of it are files and curves alone."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    Store(uri)
    return Reader(uri)


def said(labels: list[int], predicted: list[int], split: str = "s") -> Predictions:
    """Predictions of these classes, each with confidence 0.8."""
    probabilities = np.full((len(labels), 3), 0.1, dtype=np.float32)
    probabilities[np.arange(len(labels)), predicted] = 0.8
    return Predictions(probabilities, np.array(labels), split)


def pooled(*own: Predictions, seeds: tuple[int, ...] = (0, 1)) -> Pooled:
    runs = tuple(run(seed, 0.5, seed=seed) for seed, _ in zip(seeds, own, strict=False))
    return Pooled("validation", NAMES, runs, own, ())


def test_networks_of_a_setting_are_summed() -> None:
    """Counts over both; scores as mean and spread over the two; all predictions by confidence."""
    both = pooled(said([0, 1, 2, 2], [0, 1, 2, 2]), said([0, 1, 2, 2], [1, 1, 2, 0]))
    assert both.together.counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 3]]
    accuracy = both.metrics["accuracy"]
    assert (accuracy.mean, accuracy.n) == (0.75, 2)
    assert accuracy.std == pytest.approx(np.std([1, 0.5], ddof=1))
    assert len(both.together.labels) == 8
    assert int(both.together.reliability.examples.sum()) == 8
    assert both.on_same_images.shape == (2, 4, 3)
    other = pooled(said([0, 1], [0, 1]), said([0, 1], [0, 1], "other"))
    assert other.on_same_images.shape == (1, 2, 3)


def test_settings_are_set_against_each_other_seed_by_seed() -> None:
    """Only seeds that both have, on the same images; two single networks whatever their seeds."""
    right, wrong = said([0, 1], [0, 1]), said([0, 1], [1, 1])
    first = pooled(right, right)
    counts = paired_counts(first, pooled(wrong, wrong, seeds=(1, 2)))
    assert not isinstance(counts, str)
    assert (counts.first.sum().item(), counts.second.tolist()[0]) == (2, [0, 1, 0])
    assert counts.num_pairs == 1
    single = paired_counts(pooled(right), pooled(wrong, seeds=(5,)))
    assert not isinstance(single, str)
    assert single.num_pairs == 1
    assert paired_counts(first, pooled(wrong, wrong, seeds=(7, 8))) == "they have no seed in common"
    elsewhere = paired_counts(first, pooled(said([0, 1], [0, 0], "other")))
    assert elsewhere == "they were measured on different images"


def test_worst_pairs_count_both_ways() -> None:
    """Three one way and two the other are more than four one way; no mistakes, no pairs."""
    counts = torch.tensor([[5, 3, 0], [2, 5, 4], [0, 0, 6]])
    first, second = worst_pairs(counts)
    assert (first.classes, first.counts, first.support) == ((0, 1), (3, 2), (8, 11))
    assert second.classes == (1, 2)
    assert worst_pairs(torch.eye(3, dtype=torch.int64)) == []


@pytest.mark.parametrize(
    ("overrides", "replicates", "lines"),
    [
        (["a=1", "seed=3"], [("3", "0")], ["a=1 seed=3"]),
        (["a=1", "seed=3"], [("3", "0"), ("4", "0")], ["-m a=1 seed=3,4"]),
        ([], [("0", "0")], ["seed=0"]),
        (["a=1"], [("3", "2")], ["a=1 seed=3 data.fold=2"]),
        (["a=[1,2]"], [("0", "1"), ("0", "2")], ["-m 'a=[1,2]' seed=0 data.fold=1,2"]),
        (
            ["seed=1", "data.fold=1"],
            [("1", "1"), ("2", "2")],
            ["seed=1 data.fold=1", "seed=2 data.fold=2"],
        ),
        (["a='; rm -rf /'"], [("0", "0")], ["'a='\"'\"'; rm -rf /'\"'\"'' seed=0"]),
    ],
)
def test_a_settings_command_trains_all_of_its_runs(
    overrides: list[str], replicates: list[tuple[str, str]], lines: list[str]
) -> None:
    """Seeds and folds as a grid where they are one, else a line for each; words of a shell."""
    commands = [f"{program('train')} {words}" for words in lines]
    assert command_of(overrides, replicates) == "\n".join(commands)


def test_two_thousand_runs_make_a_page_of_the_best(store: Reader, tmp_path: Path) -> None:
    """400 settings of three axes and five seeds; no predictions, which is said."""
    filler: dict[str, Any] = {f"key{number}": number for number in range(60)}
    runs = []
    for number in range(2000):
        kind, seed = divmod(number, 5)
        axes: dict[str, Any] = {"lr": kind % 20, "width": kind // 20 % 5, "depth": kind // 100}
        own = run(number, 0.8 + (number * 7919 % 1000) / 1e4, seed=seed, **axes, **filler)
        runs.append(own)
    subject = SelectedRuns("experiment x", (), tuple(runs), tuple(runs))
    report = build_report(store, subject, limit=20)
    write_report(report, tmp_path / "r.html")
    content = content_of(report)
    page = (tmp_path / "r.html").read_text()
    assert "and 380 more settings" in page
    assert "validation/predictions.npz" in page
    assert len(content["leaderboard"]["settings"]) == 20
    assert content["best"] == []
    assert report.runs[0].start is not None
    assert min(own.start for own in report.runs if own.start) == BIRTH
    assert max(own.start for own in report.runs if own.start) == BIRTH + timedelta(minutes=1999)
    first = content["leaderboard"]["settings"][0]["val_accuracy"]
    assert Statistic(first["mean"], first["std"], first["n"]) == report.board.settings[0].score


def test_a_sweep_and_another_run_differ_in_what_both_have(store: Reader) -> None:
    """Not in the sweep's axes alone; a damaged record of these keeps nothing from being told."""
    runs = tuple(run(k, 0.8, width=w, depth=d) for k, (w, d) in enumerate([(1, 1), (2, 1), (1, 9)]))
    for text in ('{"width": ["1", "2"]}', "no JSON"):
        parent = replace(run(9), tags={"sweep.axes": text})
        report = build_report(store, SelectedRuns("x", (parent,), runs, runs), limit=None)
        assert report.axes == {"width": ["1", "2"], "depth": ["1", "9"]}


def test_times_are_sorted_by_their_length(store: Reader, tmp_path: Path) -> None:
    """Not by the first number of their words."""
    seconds = {"99.0 s": 99, "3 min 20 s": 200, "1 h 01 min": 3660}
    runs = tuple(
        replace(own, end=own.start + timedelta(seconds=length))
        for width, length in enumerate(seconds.values())
        if (own := run(width, 0.8, width=width)).start
    )
    write_report(
        build_report(store, SelectedRuns("x", (), runs, runs), limit=None), tmp_path / "r.html"
    )
    page = (tmp_path / "r.html").read_text()
    for place, words in enumerate(reversed(seconds)):
        [row] = [row for row in page.split("<tr") if f">{words}</td>" in row]
        column = row.split("<td").index(next(c for c in row.split("<td") if f">{words}<" in c))
        assert f"--by-{column}:{place};" in row


def test_a_report_says_how_many_runs_had_what(store: Reader) -> None:
    """Most used all images: not the smallest number, and not a key that all have in common."""
    sizes = [("55000", 20)] * 39 + [("5000", 2)] * 2 + [("5000", 3)] * 2
    runs = tuple(
        replace(
            run(number, 0.8, seed=number, training__epochs=epochs, model__depth=2),
            tags={"fingerprint": "f", "data_sha256": "d", "training_images": size},
        )
        for number, (size, epochs) in enumerate(sizes)
    )
    content = content_of(build_report(store, SelectedRuns("x", (), runs, runs), limit=None))
    text = " ".join(content["question"])
    assert "55,000 (39 runs) or 5,000 (4 runs) training images" in text
    assert "epochs: 20 (39 runs) or 2 (2 runs) or 3 (2 runs)" in text
    assert "depth" not in text


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder that is none, by its name."""
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder that is there"):
        check_output(tmp_path / "file" / "r.html")
    check_output(tmp_path / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
