"""`fmnist leaderboard`, `fmnist compare` and `fmnist diff` on a real store."""

import contextlib
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from scipy import stats

from fashion_mnist.analysis.compare import compare, comparison_page
from fashion_mnist.analysis.stored_leaderboard import build_leaderboard
from fashion_mnist.cli.runs import print_comparison, print_differences
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.recorded import COMPARISON_TAG
from fashion_mnist.tracking.uploader import sync
from tests.builders import QUIET, load, make_config
from tests.recordings import SMALL, Recordings, fmnist, fmnist_json, record_runs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Those of `record_runs`, an experiment `pair` of two single runs and one of a fold, and
    `few`: a run of fewer training images.
    """
    own = record_runs(tmp_path_factory.mktemp("recordings"))
    outputs = own.folder / "outputs"
    where = (f"tracking.uri={own.uri}", "tracking.experiment=pair", f"output_dir={outputs}")
    for name, words in {
        "folded": ("model.width=16", "data.fold=1"),
        "few": ("model.width=16", "data.train_size=40", "tracking.experiment=few"),
        "narrow": ("model.width=1",),
        "broad": ("model.width=16",),
    }.items():
        config = make_config(own.data, *where, *SMALL, *words, "seed=4")
        train([Request(config, name=name)], load(own.data), QUIET)
    assert sync(outputs).is_complete
    return own


@pytest.fixture(scope="module")
def compared(recordings: Recordings) -> dict[str, Any]:
    """What `compare narrow broad 'model.width=8 seed=1'` says and leaves, recorded."""
    with contextlib.chdir(recordings.folder):
        return fmnist_json("compare", "narrow", "broad", "model.width=8 seed=1")


def test_a_sweeps_settings_are_ranked_with_their_intervals(here: Recordings) -> None:
    """Means, t intervals and the paired test are scipy's of the recorded scores."""
    board = fmnist_json("leaderboard", "widths")
    runs = {run.run_id: run for run in here.reader().runs()}
    scores = []
    for row in board["settings"]:
        own = [runs[each] for each in row["runs"]]
        assert {run.parameters["seed"] for run in own} == {"1", "2"}
        by_seed = {run.parameters["seed"]: run.metrics["final/val_accuracy"] for run in own}
        scores.append([by_seed[seed] for seed in ("1", "2")])
        figure = row["val_accuracy"]
        assert figure["mean"] == pytest.approx(sum(scores[-1]) / 2)
        interval = stats.t.interval(0.95, 1, figure["mean"], stats.sem(scores[-1]))
        assert figure["interval"] == pytest.approx(interval, nan_ok=True)
    means = [row["val_accuracy"]["mean"] for row in board["settings"]]
    assert means == sorted(means, reverse=True)
    first, second = board["settings"]
    assert first["result"] == "best"
    p = stats.ttest_rel(*scores).pvalue
    assert second["p"] == (None if second["result"] == "not tested" else pytest.approx(p))


@pytest.mark.usefixtures("here")
def test_an_experiment_counts_each_run_once() -> None:
    """Copies of a second sweep add nothing; the failed run is last; one test score was read."""
    board = fmnist_json("leaderboard", "fashion-mnist")
    assert (board["num_settings"], board["num_runs"]) == (4, 6)
    assert board["test_set_read_by"] == {"num_runs": 1, "num_settings": 1}
    last = board["settings"][-1]
    assert (last["val_accuracy"], last["why"]) == (None, "no score")
    assert [row["setting"]["model.width"] for row in board["settings"] if row["test_accuracy"]] == [
        "6"
    ]
    assert fmnist_json("leaderboard", "wide")["num_runs"] == 2


@pytest.mark.usefixtures("here")
def test_without_a_word_the_newest_experiment_is_ranked() -> None:
    """A fold is a repetition: two runs of one setting stand against one of the other."""
    board = fmnist_json("leaderboard")
    assert board["title"] == "experiment pair"
    by_width = {row["setting"]["model.width"]: row for row in board["settings"]}
    assert by_width["16"]["val_accuracy"]["n"] == 2
    assert "one seed in common" in {row["why"] for row in board["settings"]}


def test_single_networks_are_compared_by_their_images(here: Recordings) -> None:
    """The leaderboard of two single runs has the p-value of their comparison."""
    runs = [here.run(name) for name in ("narrow", "broad")]
    board = build_leaderboard(here.reader(), "two", runs, runs, limit=None)
    best, other = (setting.records[0] for setting in board.settings)
    [contrast] = fmnist_json("compare", best.run_id, other.run_id, "--no-record")[
        "against_the_first"
    ]
    comparison = board.comparisons[1]
    assert (comparison.test, comparison.n) == ("McNemar", 20)
    assert comparison.p == contrast["p"]
    gap = contrast["scores"]["accuracy"]["difference"]
    assert comparison.difference == pytest.approx(gap)


@pytest.mark.usefixtures("here")
def test_the_table_says_what_the_json_says() -> None:
    """A line for each setting; what is cut off, tested and read of the test set stands below."""
    table = fmnist("leaderboard", "fashion-mnist", "--limit", "2").stdout.splitlines()
    assert table[0] == "experiment fashion-mnist: 6 runs, 4 settings, ranked by validation accuracy"
    assert [line[0] for line in table[2:4]] == ["1", "2"]
    assert "and 2 more settings: --limit 0 for all" in table
    assert table[-1].startswith("In this experiment the test set was read for 1 setting (1 run)")
    assert "width=16" in fmnist("leaderboard", "pair").stdout


@pytest.mark.usefixtures("here")
def test_a_leaderboard_can_be_had_as_markdown() -> None:
    """A table that any Markdown reader takes: cells as many as heads, settings as code."""
    lines = fmnist("leaderboard", "widths", "--markdown").stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    assert set(table[1]) <= set("|-: ")
    board = fmnist_json("leaderboard", "widths")["settings"]
    for line, row in zip(table[2:], board, strict=True):
        assert f"`width={row['setting']['model.width']}`" in line
        assert f"{row['val_accuracy']['mean']:.4f}" in line


@pytest.mark.usefixtures("here")
def test_a_word_that_is_nothing_is_the_users_mistake() -> None:
    """Sweeps and experiments are named; a store that is not there is none of it."""
    result = fmnist("leaderboard", "nonsense")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr
    assert "pair" in result.stderr
    missing = fmnist("leaderboard", "--uri", f"sqlite:///{Path('none.db')}")
    assert missing.exit_code == 1
    assert "no store" in missing.stderr


def stored(here: Recordings, name: str, split: str = "validation") -> dict[str, Any]:
    """What the run of this name left of a split."""
    folder = Path(here.run(name).artifact_uri.removeprefix("file://"))
    with np.load(folder / split / "predictions.npz") as file:
        return dict(file)


def test_a_comparison_is_of_the_stored_predictions(
    here: Recordings, compared: dict[str, Any]
) -> None:
    """Scores, disagreements and p-values are those of scipy and of the files."""
    own = [stored(here, name) for name in ("narrow", "broad")]
    labels = own[0]["labels"]
    narrow, broad = (each["probabilities"].argmax(axis=1) for each in own)
    accuracies = [run["scores"]["accuracy"] for run in compared["runs"]]
    assert accuracies[:2] == pytest.approx([(p == labels).mean() for p in (narrow, broad)])
    contrast = compared["against_the_first"][0]
    alone = contrast["first_alone_right"], contrast["other_alone_right"]
    assert alone == (
        ((narrow == labels) & (broad != labels)).sum(),
        ((narrow != labels) & (broad == labels)).sum(),
    )
    assert contrast["num_disagreements"] == (narrow != broad).sum()
    assert contrast["p"] == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)
    gap = contrast["scores"]["accuracy"]
    assert gap["difference"] == pytest.approx(accuracies[1] - accuracies[0])
    assert gap["interval"][0] <= gap["difference"] <= gap["interval"][1]
    p_values = [each["p"] for each in compared["against_the_first"]]
    corrected = [each["p_holm"] for each in compared["against_the_first"]]
    assert min(corrected) == pytest.approx(min(1, 2 * min(p_values)))
    assert [run["letter"] for run in compared["runs"]] == ["A", "B", "C"]


def test_its_page_needs_nothing_beside_it(here: Recordings, compared: dict[str, Any]) -> None:
    """Every picture is in it, and every one is a file; nothing is fetched or run."""
    page, *others = (here.folder / file for file in compared["files"])
    text = page.read_text()
    pictures = [file for file in others if file.suffix == ".png"]
    # two differences, two galleries, three diagrams
    assert len(pictures) == text.count("data:image/png;base64,") == 7
    assert not re.findall(r"https?://|<script|<link|url\(", text)
    for word in ("narrow", "Trouser", "McNemar", "Brier", "bootstrap"):
        assert word in text
    saved = json.loads(next(file for file in others if file.suffix == ".json").read_text())
    assert saved["against_the_first"] == compared["against_the_first"]


def test_it_is_a_run_of_the_store(here: Recordings, compared: dict[str, Any]) -> None:
    """Finished, with the page among its artifacts; it says whom it compares and is no network."""
    client = MlflowClient(here.uri)
    run = client.get_run(compared["run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("compare narrow with broad, ")
    ids = [each["id"] for each in compared["runs"]]
    assert json.loads(run.data.tags[COMPARISON_TAG]) == ids
    assert run.data.metrics["B/p_holm"] == compared["against_the_first"][0]["p_holm"]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {Path(file).name for file in compared["files"]}
    recorded = here.reader().run(compared["run_id"])
    assert recorded is not None
    assert not recorded.is_network


@pytest.mark.usefixtures("here")
def test_the_terminal_shows_result_and_place() -> None:
    """With `--no-record` nothing is recorded, and the page is written all the same."""
    text = fmnist("compare", "narrow", "broad", "--no-record").stdout
    assert "McNemar" in text
    assert "Trouser" in text
    assert "page: outputs/comparisons/" in text
    assert "recorded" not in text


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("narrow", "folded"), 2, "data.fold=1"),
        (("narrow",), 2, "two to 10 runs can be compared, got 1: name the other"),
        (("narrow", "narrow"), 2, "got 1: name the other"),
        (
            ("narrow", "compare narrow with broad, model.width=8 seed=1"),
            2,
            "is not the run of a network",
        ),
        (("narrow", "broad", "--split", "train"), 2, "validation or test"),
        (("narrow", "model.width=8 seed=1", "--split", "test"), 1, "has not read its test set"),
        (("narrow", "diverged"), 2, "has no network: it is FAILED (diverged in epoch 1"),
    ],
)
@pytest.mark.usefixtures("here", "compared")
def test_what_cannot_be_compared_is_refused(
    words: tuple[str, ...], status: int, reason: str
) -> None:
    """One line that says why; nothing is written."""
    before = sorted(Path("outputs/comparisons").glob("*"))
    result = fmnist("compare", *words)
    assert result.exit_code == status
    assert reason in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(Path("outputs/comparisons").glob("*")) == before


@pytest.mark.usefixtures("here")
def test_a_sweep_stands_for_its_networks() -> None:
    """Each of them is compared with the first."""
    found = fmnist_json("compare", "narrow", "widths", "--no-record")
    names = [own["name"] for own in found["runs"]]
    assert names[0] == "narrow"
    assert sorted(names[1:]) == sorted(
        f"model.width={width} seed={seed}" for width in (4, 8) for seed in (1, 2)
    )


@pytest.mark.usefixtures("here")
def test_runs_with_other_training_images_can_be_compared() -> None:
    """`data.train_size` leaves the validation images as they are."""
    assert fmnist_json("compare", "broad", "few")["split"] == "validation"


def test_images_that_are_gone_are_missed_and_no_more(here: Recordings, tmp_path: Path) -> None:
    """The page says why it shows none; those of a comparison before are gone, other files not."""
    for name in ("disagreements_B.png", "mine.png"):
        (tmp_path / name).touch()
    hidden = here.data.rename(here.data.with_name("moved"))
    try:
        result = fmnist("compare", "narrow", "broad", "--no-record", "--output", str(tmp_path))
    finally:
        hidden.rename(here.data)
    assert result.exit_code == 0, result.output
    assert (
        "The images on which they disagree are not shown"
        in (tmp_path / "comparison.html").read_text()
    )


def test_a_store_that_refuses_costs_no_page(here: Recordings, tmp_path: Path) -> None:
    """What was found is told and written; then it is said that it is not recorded."""
    copy = here.folder / "refusing.db"
    shutil.copy(here.folder / "mlflow.db", copy)
    with contextlib.closing(sqlite3.connect(copy)) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    uri = f"sqlite:///{copy}"
    result = fmnist("compare", "narrow", "broad", "--uri", uri, "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "not recorded" in result.stderr
    assert "McNemar" in result.stdout
    assert (tmp_path / "comparison.html").is_file()


def test_names_of_others_stay_names(here: Recordings) -> None:
    """Neither the page nor the terminal takes a run's name for more than text."""
    name = "<script>alert(1)</script>\x1b[2J"
    runs = [replace(here.run(each), name=name) for each in ("narrow", "broad")]
    comparison = compare(here.reader(), runs, "validation")
    assert "<script" not in comparison_page(comparison, [], remark=name)
    assert name not in _printed(
        lambda: print_comparison(comparison, [Path("x")], "", as_json=False)
    )
    assert name not in _printed(lambda: print_differences(runs[0], runs[1], as_json=False))


@pytest.mark.usefixtures("here")
def test_diff_tells_what_differs_and_nothing_else() -> None:
    """Width and results; seed, data and machine are the same."""
    found = fmnist_json("diff", "narrow", "broad")["differences"]
    parts = {each["part"] for each in found}
    assert parts <= {"configuration", "results", "machine"}
    configuration = [each for each in found if each["part"] == "configuration"]
    assert [(each["key"], each["A"], each["B"]) for each in configuration] == [
        ("model.width", "1", "16")
    ]
    table = fmnist("diff", "narrow", "broad").stdout
    assert "model.width" in table
    assert "optimizer.lr" not in table
    assert "nothing differs" in fmnist("diff", "narrow", "narrow").stdout
    assert fmnist("diff", "narrow", "nonsense").exit_code == 2


def _printed(say: Callable[[], None]) -> str:
    """What this prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        say()
    return text.getvalue()
