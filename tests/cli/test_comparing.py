"""`fmnist leaderboard` on a real store."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from fashion_mnist.cli import app
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.sender import sync
from tests.builders import QUIET, load, make_config
from tests.recordings import SMALL, Recordings, record_runs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Those of `record_runs`, and an experiment `pair` of two single runs."""
    own = record_runs(tmp_path_factory.mktemp("recordings"))
    outputs = own.folder / "outputs"
    where = (f"tracking.uri={own.uri}", "tracking.experiment=pair", f"output_dir={outputs}")
    for width in (1, 16):
        config = make_config(own.data, *where, *SMALL, f"model.width={width}", "seed=4")
        train([Request(config, name=f"of {width}")], load(own.data), QUIET)
    assert sync(outputs).sent
    return own


@pytest.fixture
def here(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """The store of the current folder, which needs no option."""
    monkeypatch.chdir(recordings.folder)
    return recordings


def fmnist(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> dict[str, Any]:
    """What the command says as JSON."""
    result = fmnist(*words, "--json")
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def test_a_sweeps_settings_are_ranked_with_their_intervals(here: Recordings) -> None:
    """Means, t intervals and the paired test are scipy's of the recorded scores."""
    board = said("leaderboard", "widths")
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
    assert first["verdict"] == "best"
    p = stats.ttest_rel(*scores).pvalue
    assert second["p"] == (None if second["verdict"] == "not tested" else pytest.approx(p))


@pytest.mark.usefixtures("here")
def test_an_experiment_counts_each_run_once() -> None:
    """Copies of a second sweep add nothing; the failed run is last; one test score was read."""
    board = said("leaderboard", "fashion-mnist")
    assert (board["num_settings"], board["num_runs"]) == (4, 6)
    assert board["test_set_read_by"] == {"num_runs": 1, "num_settings": 1}
    last = board["settings"][-1]
    assert (last["val_accuracy"], last["why"]) == (None, "no score")
    assert [row["setting"]["model.width"] for row in board["settings"] if row["test_accuracy"]] == [
        "6"
    ]
    assert said("leaderboard", "wide")["num_runs"] == 2


@pytest.mark.usefixtures("here")
def test_single_runs_are_compared_by_their_images() -> None:
    """McNemar's test over the twenty validation images; the newest experiment needs no name."""
    board = said("leaderboard")
    assert board["title"] == "experiment pair"
    _, second = board["settings"]
    assert (second["test"], second["n"]) == ("McNemar", 20)
    assert 0 < second["p"] <= 1
    gap = (
        board["settings"][1]["val_accuracy"]["mean"] - board["settings"][0]["val_accuracy"]["mean"]
    )
    assert second["difference"] == pytest.approx(gap)


@pytest.mark.usefixtures("here")
def test_the_table_says_what_the_json_says() -> None:
    """A line for each setting; what is cut off, tested and read of the test set stands below."""
    table = fmnist("leaderboard", "fashion-mnist", "--limit", "2").stdout.splitlines()
    assert table[0] == "experiment fashion-mnist: 6 runs, 4 settings"
    assert [line[0] for line in table[2:4]] == ["1", "2"]
    assert "and 2 more settings: --limit 0 for all" in table
    assert table[-1].startswith("In this experiment the test set was read for 1 setting (1 run)")
    whole = fmnist("leaderboard", "pair").stdout
    assert "width=16" in whole
    assert "McNemar's exact test" in whole
    assert "flatter" in whole


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
