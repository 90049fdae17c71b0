"""What once went wrong when sweeps were used roughly, so that it does not again."""

import shlex
from pathlib import Path

import pytest

from fashion_mnist.config.messages import ConfigError
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.sweeps.jobs import child_name
from fashion_mnist.sweeps.space import read_space
from tests.builders import composer, make_data
from tests.faults.processes import fmnist
from tests.sweeps.test_runner import NOWHERE, parents, runs, summary, sweep

ALONE = "sweep.processes=1"  # quicker for so little
SEARCH = (ALONE, "sweep.sampler=random", "sweep.n_trials=2", "model.width=4,6,8,10")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def test_a_search_with_more_seeds_trains_them_all(data: Path) -> None:
    """Settings that were tried with fewer seeds get the others too, through the launcher."""
    first = sweep(data, NOWHERE, *SEARCH, "seed=range(1)")
    assert first.returncode == 0, first.stdout + first.stderr
    settings = {row["model.width"] for row in summary()}
    again = sweep(data, NOWHERE, *SEARCH, "seed=range(2)")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "not begun" not in again.stdout
    assert len(parents()) == 1
    rows = summary()
    assert {row["model.width"] for row in rows} == settings  # no further trial was asked for
    assert sorted((row["model.width"], row["seed"]) for row in rows) == sorted(
        (width, seed) for width in settings for seed in ("0", "1")
    )
    assert {row["status"] for row in rows} == {"FINISHED"}


def test_a_trial_that_no_run_can_be_fails_and_the_search_goes_on(data: Path) -> None:
    """Preflight tries the ends of a range: a value between them may be none to train with."""
    words = ["model.normalization=batch", "training.batch_size=int(interval(22,24))"]
    search = [NOWHERE, "-m", *words, "sweep.sampler=random", "training.epochs=1"]
    first = sweep(data, *search, "sweep.n_trials=6")
    assert first.returncode == 0, first.stderr
    assert "cannot be trained: training.batch_size must not leave a last" in first.stdout
    more = sweep(data, *search, "sweep.n_trials=8")
    assert more.returncode == 0, more.stderr
    assert {row["training.batch_size"] for row in summary()} == {"22", "24"}


def test_failed_trials_are_trained_again_where_that_is_wanted(data: Path) -> None:
    """Each failed trial counts once; those that have a score are left alone."""
    search = (NOWHERE, ALONE, "sweep.sampler=random", "sweep.n_trials=2")
    words = (*search, "optimizer=sgd", "schedule=constant", "optimizer.lr=1e30,2e30")
    first = sweep(data, *words)
    assert "diverged" in first.stdout, first.stdout + first.stderr
    assert "2 of 2 trials done, 0 to go" in sweep(data, *words).stdout
    before = len(runs())
    again = sweep(data, *words, "sweep.retry_failed=true")
    assert "0 of 2 trials done, 2 to go" in again.stdout, again.stdout + again.stderr
    assert len(runs()) > before
    assert "2 of 2 trials done, 0 to go" in sweep(data, *words).stdout


def test_the_best_so_far_is_the_best_by_the_sweeps_own_metric(data: Path) -> None:
    """Where the loss chooses the winner, the lowest loss is shown while the sweep goes on."""
    done = sweep(
        data, NOWHERE, ALONE, "-m", "model.width=4,16", "sweep.objectives=[final/val_loss]"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [RunDir(run.path).metrics()["final/val_loss"] for run in runs()]
    last = [line for line in done.stdout.splitlines() if line.startswith("stacks ")][-1]
    assert f"best {min(losses):.4f}" in last


def test_another_set_of_data_is_another_sweep(data: Path, tmp_path: Path) -> None:
    """The search does not remember what it learned elsewhere."""
    other = make_data(tmp_path / "other", num_train=91)
    assert sweep(data, NOWHERE, *SEARCH).returncode == 0
    again = sweep(other, NOWHERE, *SEARCH)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "0 of 2 trials done" in again.stdout
    assert len(parents()) == 2


@pytest.mark.parametrize("axis", ["output_dir=a,b", "tracking.experiment=a,b", "rerun=true,false"])
def test_what_makes_no_other_run_is_no_axis(axis: str) -> None:
    """Such jobs would be equal, and all but one of them left out."""
    key = axis.partition("=")[0]
    with pytest.raises(ConfigError, match=f"{key} says where or how"):
        read_space([axis, "model.width=1,2"], axes={}, when={}, composer=composer())


def test_a_key_that_is_given_twice_is_named_once() -> None:
    """With the value that counts, the last."""
    overrides = ["model.width=4", "seed=1", "+model.width=8", "optimizer=sgd"]
    assert child_name(overrides, ["model.width", "seed"]) == "width=8 seed=1"


def test_an_experiment_that_chooses_a_sweep_sweeps(data: Path) -> None:
    """Without -m; the command that trains the winner alone does not, and knows its run."""
    for name, text in {
        "sweep/mine": "defaults: [default, _self_]\naxes: {model.depth: [1, 2]}\n",
        "experiment/paper": "# @package _global_\ndefaults: [override /sweep: mine]\n",
    }.items():
        path = Path("mine", name).with_suffix(".yaml")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    done = sweep(data, NOWHERE, "--config-dir", "mine", "experiment=paper")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["model.depth"] for row in summary()} == {"1", "2"}
    lines = {line.partition(":")[0].strip(): line for line in done.stdout.splitlines()}
    alone = shlex.split(lines["to train it alone"].partition(":")[2])
    again = fmnist("train", *alone[alone.index("--config-dir") :])
    assert again.returncode == 0, again.stdout + again.stderr
    assert "was trained before" in again.stdout
    assert (len(runs()), len(parents())) == (2, 1)


def test_the_command_with_the_test_score_reads_the_test_set(data: Path) -> None:
    """Also where the sweep was told never to; the test set is named once in each command."""
    done = sweep(data, NOWHERE, ALONE, "-m", "model.width=4,6", "evaluation.test=never")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.partition(":")[0].strip(): line for line in done.stdout.splitlines()}
    alone, tested = lines["to train it alone"], lines["with its test score"]
    assert alone.count("evaluation.test=") == 1
    assert alone.endswith("evaluation.test=never")
    assert tested.count("evaluation.test=") == 1
    assert tested.endswith("evaluation.test=always")
