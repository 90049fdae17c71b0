"""`fmnist report` on a real store."""

import re
from pathlib import Path

import numpy as np
import pytest

from fashion_mnist.analysis.predictions import stored_predictions
from tests.builders import CLASS_NAMES, make_data
from tests.recordings import Recordings, fmnist, fmnist_json
from tests.sweeps.test_runner import sweep

PICTURE = re.compile(r'<img alt="([^"]*)"[^>]* src="([^"]{20})')


def headings(page: str) -> list[str]:
    return re.findall("<h2[^>]*>([^<]*)</h2>", page)


def test_a_sweeps_page_has_every_part(here: Recordings, tmp_path: Path) -> None:
    """All pictures are in the file, nothing is fetched, the best setting's counts are summed."""
    page_file = tmp_path / "a page.html"
    report = fmnist_json("report", "widths", "-o", str(page_file))
    page = page_file.read_text()
    assert headings(page) == [
        "The question",
        "Leaderboard",
        "Main effects",
        "Confusion of the best setting",
        "The best setting and the second",
        "Most confused classes",
        "Calibration of the best setting",
        "Costs",
        "How to repeat it",
    ]
    pictures = PICTURE.findall(page)
    assert "Confusion matrix, validation" in {caption for caption, _ in pictures}
    assert "Difference of the confusion matrices" in {caption for caption, _ in pictures}
    assert {source for _, source in pictures} == {"data:image/png;base6"}
    assert not re.search(r"(src|href|url)\W{0,3}https?:", page)
    assert "@media print" in page
    [best] = report["best"]
    reader = here.reader()
    runs = {run.run_id: run for run in reader.runs()}
    counts = np.zeros((3, 3), dtype=int)
    for run_id in best["runs"]:
        own = stored_predictions(reader, runs[run_id], "validation")
        np.add.at(counts, (own.labels, own.predicted), 1)
    assert best["confusion_matrix"] == {"labels": list(CLASS_NAMES), "counts": counts.tolist()}
    assert counts.sum() == 40
    assert report["leaderboard"]["settings"][0]["runs"] == best["runs"]
    assert report["axes"] == {"model.width": ["4", "8"], "seed": ["1", "2"]}
    assert report["best_less_second"]["num_pairs"] == 2
    assert set(report["main_effects"]["model.width"]) == {"4", "8"}


def test_a_search_of_axes_that_move_together_is_told_of(tmp_path: Path) -> None:
    """Each swept key is a column and an axis, with the values that were trained, not a range."""
    own = tmp_path / "my/sweep/rates.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        "{defaults: [default, _self_], name: rates, sampler: random, n_trials: 4, processes: 1, "
        "axes: {'optimizer, optimizer.lr': [[sgd, 0.1], [adam, 0.001]], "
        "model.dropout: {low: 0.0, high: 0.5}, seed: [1, 2]}}\n"
    )
    words = (
        "--config-dir",
        str(tmp_path / "my"),
        "sweep=rates",
        "tracking.uri=sqlite:///mlflow.db",
    )
    done = sweep(make_data(tmp_path / "data"), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = fmnist_json("runs", "--sweep", "rates")["runs"]
    keys = ("optimizer", "optimizer.lr", "model.dropout", "seed")
    values = {key: {row[key] for row in rows} for key in keys}
    assert values["seed"] == {"1", "2"}
    assert values["optimizer"] == {"sgd", "adam"}
    report = fmnist_json("report", "rates", "-o", str(tmp_path / "r.html"))
    assert {key: set(own) for key, own in report["axes"].items()} == values
    assert list(map(float, report["axes"]["model.dropout"])) == sorted(
        map(float, values["model.dropout"])
    )
    board = fmnist_json("leaderboard", "rates")
    assert board["num_repetitions"] == 2
    assert all("optimizer" in row["setting"] for row in board["settings"])


@pytest.mark.usefixtures("here")
def test_a_single_run_has_a_page_without_a_leaderboard(tmp_path: Path) -> None:
    """Its test set was read: that stands beside its validation split, with images of mistakes."""
    page_file = tmp_path / "one.html"
    report = fmnist_json("report", "alone", "-o", str(page_file))
    page = page_file.read_text()
    assert "Leaderboard" not in headings(page)
    assert headings(page)[1:3] == ["Scores", "Confusion"]
    assert [own["split"] for own in report["best"]] == ["validation", "test"]
    assert "Learning curves" in dict(PICTURE.findall(page))
    for split in ("validation", "test"):
        assert f"Reliability diagram, {split}" in dict(PICTURE.findall(page))
    pairs = report["best"][0]["worst_pairs"]
    assert pairs
    assert " and ".join(pairs[0]["classes"]) in dict(PICTURE.findall(page))


@pytest.mark.usefixtures("here")
def test_several_words_make_one_report(tmp_path: Path) -> None:
    """Runs and sweeps together; a copy counts once; an experiment is all of its networks."""
    where = ("-o", str(tmp_path / "r.html"))
    both = fmnist_json("report", "wide", "alone", "diverged", *where)
    assert both["leaderboard"]["num_settings"] == 3
    assert "<h3>Failed</h3>" in (tmp_path / "r.html").read_text()
    assert fmnist_json("report", "fashion-mnist", *where)["leaderboard"]["num_runs"] == 6
    assert fmnist_json("report", "fashion-mnist", "alone", *where)["leaderboard"]["num_runs"] == 6


@pytest.mark.usefixtures("here")
def test_a_run_without_a_result_has_a_page_too(tmp_path: Path) -> None:
    """It says why there is nothing."""
    told = fmnist("report", "diverged", "-o", str(tmp_path / "r.html"))
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("No run has finished with a validation accuracy.")
    page = (tmp_path / "r.html").read_text()
    assert "diverged in epoch 1" in page
    assert "Calibration" not in headings(page)


def test_images_come_from_where_the_data_is(here: Recordings, tmp_path: Path) -> None:
    """Where it was moved, the page says so, and `--data` names the folder."""
    page_file, moved = tmp_path / "r.html", here.data.rename(here.folder / "moved")
    try:
        fmnist_json("report", "widths", "-o", str(page_file))
        without = page_file.read_text()
        fmnist_json("report", "widths", "-o", str(page_file), "--data", str(moved))
    finally:
        moved.rename(here.data)
    assert "The images are not shown" in without
    assert "--data" in without
    assert "The images are not shown" not in page_file.read_text()


@pytest.mark.usefixtures("here")
def test_where_the_page_cannot_be_is_said_before_the_work(tmp_path: Path) -> None:
    """A folder that is not there, a folder for a file: mistakes, whatever the store is."""
    for path, why in ((tmp_path / "no/r.html", "that is there"), (tmp_path, "got the folder")):
        told = fmnist("report", "nonsense", "-o", str(path), "--uri", "sqlite:///no.db")
        assert told.exit_code == 2
        assert why in told.stderr
        assert str(path) in told.stderr
    unknown = fmnist("report", "wids", "-o", str(tmp_path / "r.html"))
    assert unknown.exit_code == 2
    assert "wids" in unknown.stderr
    assert not list(tmp_path.iterdir())
