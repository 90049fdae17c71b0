"""What a sweep came to: means over replicates, honest counts, whole files for any sweep."""

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fashion_mnist.analysis.effects import importances, main_effects, pareto_front
from fashion_mnist.analysis.labels import short_names
from fashion_mnist.analysis.setting_charts import history_chart, pareto_chart
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.analysis.sweep_summary import (
    best_metrics,
    describe,
    sweep_charts,
    write_summary,
)
from fashion_mnist.metrics.statistics import Statistic
from tests.analysis.boards import SCORE, job, ranked

LONG = "a value of a length that no column has room for " * 4


def write(folder: Path, results: Sequence[RunResult], title: str = "widths") -> str:
    """Write the summary with two objectives; the page."""
    files = write_summary(
        folder,
        ranked(results, title=title),
        objectives=[SCORE, "parameters"],
        command="fmnist train -m model.width=1,2",
    )
    written = {path for path in folder.rglob("*") if path.is_file()}
    assert set(files) == written
    return (folder / "summary.html").read_text()


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_settings_are_ranked_by_mean_over_replicates() -> None:
    """The one lucky seed does not win; std is with n - 1, and of one run there is none."""
    results = [
        job(0, 0.70, model__width=1, seed=0),
        job(1, 0.90, model__width=1, seed=1),
        job(2, 0.84, model__width=2, seed=0),
        job(3, 0.86, model__width=2, seed=1),
        job(4, 0.60, model__width=3, seed=0),
    ]
    board = ranked(results)
    assert [setting.values["model.width"] for setting in board.settings] == ["2", "1", "3"]
    scores = [setting.score for setting in board.scored]
    assert [(round(s.mean, 9), s.n) for s in scores if s] == [(0.85, 2), (0.8, 2), (0.6, 1)]
    stds = [s.std for s in scores if s]
    assert stds == [pytest.approx(math.sqrt(0.0002)), pytest.approx(math.sqrt(0.02)), None]


def test_a_lower_loss_wins() -> None:
    """Where the score is a loss the smallest mean is the best."""
    losses = [job(k, 0.5, metrics={"final/val_loss": x}, w=k) for k, x in enumerate([0.4, 0.2, 1])]
    winner = ranked(losses, "final/val_loss").winner
    assert winner is not None
    assert winner.values == {"w": "1"}


def test_failed_replicates_are_said_and_settings_without_a_score_come_last() -> None:
    """A setting ranks by the runs that it has; what has none, or no finite one, comes last."""
    results = [
        job(0, None, w=1, seed=0),
        job(1, 0.9, w=2, seed=0),
        job(2, None, w=2, seed=1),
        job(3, math.nan, w=3, seed=0),
        job(4, None, w=4, seed=0, pruned_at=2, metrics={SCORE: 0.99}),
    ]
    board = ranked(results)
    assert [setting.values["w"] for setting in board.settings] == ["2", "1", "3", "4"]
    assert board.settings[0].is_partial
    assert [run.outcome for run in board.settings[0].runs] == ["finished", "failed"]
    assert [run.outcome for run in board.settings[3].runs] == ["pruned"]
    assert len(board.scored) == 1
    metrics = best_metrics(board)
    assert metrics["failed_runs"] == 2
    assert metrics["best/runs"] == 1
    assert "best/val_accuracy_std" not in metrics


def test_a_setting_with_fewer_seeds_than_planned_does_not_win() -> None:
    """One lucky run, whose other seed failed, follows the settings that have both."""
    results = [job(0, 0.99, w=1, seed=0), job(1, None, w=1, seed=1)]
    results += [job(2, 0.7, w=2, seed=0), job(3, 0.8, w=2, seed=1)]
    board = ranked(results)
    assert board.winner is not None
    assert board.winner.values == {"w": "2"}
    assert [board.count_text(setting) for setting in board.settings] == ["2", "1 of 2"]


def test_a_run_counts_once() -> None:
    """Two jobs that are the same run are one; jobs that never had a folder are not."""
    results = [job(0, 0.8, folder="a-1", w=1, seed=0), job(1, 0.8, folder="a-1", w=1, seed=0)]
    board = ranked(results)
    assert board.size() == "1 run, 1 setting"
    assert board.settings[0].score == Statistic(0.8, None, 1)
    assert "1 finished; 1 job the same as another" in describe(board, {}, "again")


def test_main_effect_is_the_mean_over_settings() -> None:
    """Three seeds of one setting weigh no more than one seed of another."""
    results = [job(k, 0.9, w=1, a="x", seed=k) for k in range(3)]
    results += [job(3, 0.7, w=1, a="y", seed=0), job(4, 0.6, w=2, a="x", seed=0)]
    effects = main_effects(ranked(results))
    assert list(effects) == ["w", "a"]
    first = effects["w"]["1"]
    assert first.mean == pytest.approx(0.8)
    assert first.std == pytest.approx(math.sqrt(0.02))
    assert first.n == 2
    assert effects["w"]["2"] == Statistic(0.6, None, 1)


def test_best_metrics_are_means_of_the_winner() -> None:
    """The parent shows what the winner's replicates have on average, never the best seed."""
    tested = {"test/accuracy": 0.7}
    results = [job(k, x, w=1, seed=k, metrics=tested) for k, x in enumerate([0.8, 0.9])]
    metrics = best_metrics(ranked([*results, job(2, 0.1, w=2, seed=0)]))
    assert metrics["best/val_accuracy"] == pytest.approx(0.85)
    assert metrics["best/val_accuracy_std"] == pytest.approx(math.sqrt(0.005))
    assert metrics["best/test_accuracy"] == pytest.approx(0.7)
    assert metrics["finished_runs"] == 3


def test_axes_have_short_names() -> None:
    """The last word of a key; the whole key where two share one, the group of a `name`."""
    assert short_names(["a.lr", "b.lr", "c.width"]) == {
        "a.lr": "a.lr",
        "b.lr": "b.lr",
        "c.width": "width",
    }
    assert short_names(["optimizer.name", "optimizer.lr"]) == {
        "optimizer.name": "optimizer",
        "optimizer.lr": "lr",
    }


def test_importance_finds_the_axis_that_matters() -> None:
    """An axis that makes all the difference has nearly all of the shares, which sum to 1."""
    rates = [f"1e-{power}" for power in range(1, 11)]
    values = [(lr, text) for lr in rates for text in ("x", "y", "z")]
    results = [
        job(k, 0.5 + 0.05 * abs(math.log10(float(lr))) + 0.001 * (k % 2), lr=lr, text=text)
        for k, (lr, text) in enumerate(values)
    ]
    shares = importances(ranked(results))
    assert shares["lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(ranked(results)) == shares
    assert importances(ranked(results[:19])) == {}
    assert importances(ranked([job(k, 0.5, lr=k) for k in range(30)])) == {}


def test_importance_is_of_axes_that_all_settings_have() -> None:
    """Dropout of one architecture alone has no share, however much its values differ."""
    results = [job(k, 0.5 + 0.01 * k, model="plain", lr=k, width=k % 3) for k in range(15)]
    results += [
        job(15 + k, 0.8 + 0.01 * k, model="pyramid", lr=k, width=k % 3, dropout=k / 20)
        for k in range(15)
    ]
    assert set(importances(ranked(results))) == {"model", "lr", "width"}


def test_no_other_setting_beats_one_on_the_front() -> None:
    """The front holds what is best at its cost; equals stay, a worse and larger one does not."""
    points = [(0.9, 300.0), (0.8, 100.0), (0.8, 200.0), (0.7, 100.0), (0.9, 300.0)]
    results = [job(k, x, metrics={"parameters": size}, w=k) for k, (x, size) in enumerate(points)]
    board = ranked(results)
    front = pareto_front(board.scored, [SCORE, "parameters"])
    assert [setting.values["w"] for setting in front] == ["1", "0", "4"]


def test_a_front_of_three_objectives_is_ordered_as_it_is_drawn() -> None:
    """By the second, along the axis; the third is written and not drawn, and no line joins it."""
    objectives = [SCORE, "parameters", "final/val_loss"]
    points = [(0.9, 300.0, 0.5), (0.8, 100.0, 0.4), (0.7, 200.0, 0.3), (0.6, 400.0, 0.6)]
    results = [
        job(k, x, metrics={"parameters": size, "final/val_loss": loss}, w=k)
        for k, (x, size, loss) in enumerate(points)
    ]
    board = ranked(results)
    front = pareto_front(board.scored, objectives)
    assert [setting.values["w"] for setting in front] == ["1", "2", "0"]
    figure = pareto_chart(board, objectives)
    assert isinstance(figure, Figure)
    assert not [line for line in figure.axes[0].lines if len(np.atleast_1d(line.get_xdata())) > 3]
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any("validation loss 0.3000" in text for text in texts)
    assert any(
        "better in one of the 3 objectives and as good in the rest" in text for text in texts
    )


@pytest.mark.parametrize("score", [SCORE, "final/val_loss"])
def test_the_history_of_a_search_is_its_best_so_far(score: str) -> None:
    """Trials in the order in which they were asked for; a failed one is counted and not drawn."""
    values = [0.5, None, 0.4, 0.7, 0.6]
    results = [
        job(k, x, w=k, metrics={} if x is None else {score: x}) for k, x in enumerate(values)
    ]
    figure = history_chart(ranked(results, score))
    assert isinstance(figure, Figure)
    dots, line = figure.axes[0].lines
    assert np.array_equal(dots.get_xdata(), [1, 3, 4, 5])
    best = [0.5, 0.5, 0.7, 0.7] if score == SCORE else [0.5, 0.4, 0.4, 0.4]
    assert line.get_ydata() == pytest.approx(best)
    assert "optimization_history" not in sweep_charts(
        ranked(results, score), shares={}, objectives=[score]
    )


@pytest.mark.parametrize(
    "results",
    [
        [],
        [job(0, 0.8, w=1)],
        [job(k, None, w=k) for k in range(3)],
        [job(k, 0.5, seed=k) for k in range(3)],
        [job(k, 0.5 + k % 7 / 50, lr=10 ** (-1 - k / 25), w=2 ** (k % 3)) for k in range(100)],
        [job(k, k / 9, a=f"{LONG}{k}", b__c=f"{k % 2}{LONG}", c__c=f"$x_{k}") for k in range(8)],
        [job(0, 0.5, w=1), job(1, 0.6, w=2, momentum="0.9"), job(2, 0.7, w=3, momentum="0.8")],
    ],
    ids=["none", "one", "failed", "seeds", "hundred", "long", "conditional"],
)
def test_every_sweep_has_a_whole_summary(tmp_path: Path, results: list[RunResult]) -> None:
    """One run, none that finished, a hundred, long texts: files, a row for each run, pictures."""
    page = write(tmp_path, results)
    runs = rows_of(tmp_path / "summary.csv")
    assert [row["number"] for row in runs] == [str(result.number) for result in results]
    num_scored = sum(SCORE in result.metrics for result in results)
    assert (tmp_path / "plots" / "leaderboard.png").exists() == (num_scored > 0)
    assert page.count("data:image/png") == len(list((tmp_path / "plots").glob("*.png")))
    axes = {f"axis{number}": [LONG] * 300 for number in range(9)}
    text = describe(ranked(results), axes, "c" * 500)
    assert len(text) < 8000  # a longer one MLflow would cut


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """What users wrote stays text, and no address is asked for."""
    attack = "<script>alert(1)</script>"
    results = [job(0, 0.5, w=attack), job(1, 0.6, w="2"), job(2, None, w="3&")]
    page = write(tmp_path, results, attack)
    parsed = Tags(page)
    assert not {"script", "i", "link", "iframe"} & set(parsed.tags)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in parsed.links)
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "fmnist train number=2 &#39;&lt;i&gt;&#39;" in page


def test_pictures_that_no_longer_hold_are_removed(tmp_path: Path) -> None:
    """A summary written again leaves no picture of the earlier one."""
    write(tmp_path, [job(k, k / 9, w=k, a=k % 2) for k in range(6)])
    assert (tmp_path / "plots" / "heat_map.png").exists()
    write(tmp_path, [job(0, 0.5, w=1)])
    assert not (tmp_path / "plots" / "heat_map.png").exists()


def test_the_tables_give_mean_std_and_n(tmp_path: Path) -> None:
    """Spreadsheet and terminal say the same, with the number of runs."""
    results = [job(0, 0.8, w="[1]", seed=0), job(1, 0.9, w="[1]", seed=1), job(2, 0.1, w="[2]")]
    results.append(job(3, None, w="[1]", seed=2))
    write(tmp_path, results)
    first = rows_of(tmp_path / "leaderboard.csv")[0]
    assert float(first[f"{SCORE}_mean"]) == pytest.approx(0.85)
    assert float(first[f"{SCORE}_std"]) == pytest.approx(math.sqrt(0.005))
    assert (first["w"], first[f"{SCORE}_n"], first["runs"], first["finished"]) == (
        ("[1]", "2", "3", "2")
    )
    board = replace(ranked(results), limit=1)
    words = " ".join([*board.text(100), *board.notes()])
    assert {"w=[1]", "0.8500", "0.0707", "2", "of", "3"} <= set(words.split())
    assert "and 1 more setting" in words


def test_the_description_says_n_and_what_failed() -> None:
    """Best setting with mean ± std and n, or that one seed tells little; the failures' reasons."""
    results = [job(k, 0.8 + k / 10, w=1, seed=k) for k in range(2)]
    axes = {"w": ["1", "2"], "seed": ["0", "1"]}
    text = describe(ranked([*results, job(2, None, w=2, seed=0)]), axes, "again")
    assert "3 runs, 2 settings: 2 finished, 1 failed." in text
    assert text.endswith("    again")
    assert text.startswith(
        "**w=1 is best: validation accuracy 0.8500 ± 0.0707 (mean ± std over 2 runs;"
    )
    assert "ValueError: &lt;b&gt;why" in text
    assert "tells little" not in text
    assert "One seed tells little" in describe(ranked(results[:1]), axes, "again")
