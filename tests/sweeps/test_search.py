"""Searches: real Optuna on tiny functions, killed, gone on with, pruned."""

import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from fashion_mnist.config.compose import Composer
from fashion_mnist.sweeps.axes import Axis
from fashion_mnist.sweeps.definition import read_sweep, search_problems
from fashion_mnist.sweeps.search import (
    LOG_FILE,
    Search,
    Trial,
    distribution,
    override_texts,
    trials_done,
)
from fashion_mnist.sweeps.space import read_space
from tests.builders import make_config

SAMPLERS = ("random", "tpe", "qmc")
RATE = Axis(keys=("optimizer.lr",), low=1e-4, high=1e-1, log=True)
DEPTH = Axis(keys=("model.depth",), low=1, high=4)
WIDTH = Axis(keys=("model.width",), low=64, high=300, step=64)
DROPOUT = Axis(keys=("model.dropout",), low=0.0, high=0.35, step=0.1)
ZIPPED = Axis(keys=("model.width", "optimizer.lr"), choices=(("64", "1e-2"), ("512", "1e-3")))

# a search that is killed where it stands: 3 told, 3 asked for and not told
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.sweeps.test_search import SAMPLERS, open_search, score
for sampler in SAMPLERS:
    search = open_search(Path(sys.argv[1]) / sampler, sampler=sampler, pruner="median")
    for trial in search.ask(3):
        search.report(trial.number, 1, score(trial))
        search.tell(trial.number, [score(trial)])
        print(sampler, trial.values["optimizer.lr"], flush=True)
    for trial in search.ask(3):
        search.report(trial.number, 1, 0.25)
        print(sampler, trial.values["optimizer.lr"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def open_search(folder: Path, **changed: Any) -> Search:
    """A search over the learning rate and the depth for the best accuracy."""
    options: dict[str, Any] = {
        "axes": [RATE, DEPTH],
        "sampler": "random",
        "objectives": ["final/val_accuracy"],
        "pruner": "none",
        "seed": 0,
        "n_trials": 10,
        "num_epochs": 9,
    }
    return Search(folder, **options | changed)


def score(trial: Trial) -> float:
    """Best at a learning rate of 0.01 and three layers."""
    rate, depth = float(trial.values["optimizer.lr"]), int(trial.values["model.depth"])
    return 1 - abs(rate - 0.01) - 0.1 * abs(depth - 3)


def finish(search: Search, count: int = 3) -> list[Trial]:
    """Ask and tell until nothing remains."""
    trials = []
    while search.remaining:
        for trial in search.ask(count):
            search.tell(trial.number, [score(trial)])
            trials.append(trial)
    return trials


def scores(search: Search) -> list[list[float] | None]:
    """What was told of each trial that ended; None: it failed or was pruned."""
    return [search._trials()[trial.number].values for trial in search.known()]


def states(search: Search) -> list[TrialState]:
    """Of every trial in the study, those closed after a kill included."""
    return [trial.state for trial in search._trials()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_stays_within_the_ranges(
    sampler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Integers, steps, logarithms and lists, in batches; no warning, no chatter, no trial more."""
    norm = Axis(keys=("model.normalization",), choices=(("none",), ("batch",)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes = [RATE, DEPTH, WIDTH, DROPOUT, norm]
        search = open_search(tmp_path, axes=axes, sampler=sampler, n_trials=22)
        trials = finish(search, count=5)
    assert len(trials) == 22
    assert search.ask(5) == []
    for trial in trials:
        assert 1e-4 <= float(trial.values["optimizer.lr"]) <= 1e-1
        assert trial.values["model.depth"] in {"1", "2", "3", "4"}
        assert trial.values["model.width"] in {"64", "128", "192", "256"}
        assert trial.values["model.dropout"] in {"0.0", "0.1", "0.2", "0.3"}
        assert trial.values["model.normalization"] in {"none", "batch"}
    assert len({trial.values["optimizer.lr"] for trial in trials}) == 22
    assert scores(search) == [[score(trial)] for trial in trials]
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """Searches of a process that was killed: their folder, and the rates proposed, by sampler."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return folder, {name: [r for s, r in lines if s == name] for name in SAMPLERS}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_search_goes_on(sampler: str, killed: tuple[Path, dict[str, list[str]]]) -> None:
    """The same values first, in order; the total stays true; no proposal comes a second time."""
    folder, rates = killed[0] / sampler, killed[1][sampler]
    with (folder / LOG_FILE).open("ab") as file:
        file.write(b'{"op_code":4,"wor')  # what a kill in the middle of writing leaves
    search = open_search(folder, sampler=sampler, pruner="median")
    assert search.remaining == 7
    assert [trial.values["optimizer.lr"] for trial in search.known()] == rates[:3]
    assert scores(search) == [[score(trial)] for trial in search.known()]
    again = search.ask(3)
    assert [trial.values["optimizer.lr"] for trial in again] == rates[3:]
    for trial in again:
        assert search._trials()[trial.number].intermediate_values == {1: 0.25}
        search.report(trial.number, 1, 0.25)  # said again by a run that goes on
        search.tell(trial.number, [score(trial)])
    new = finish(search)
    assert len(new) == 4
    assert len({*rates, *(trial.values["optimizer.lr"] for trial in new)}) == 10
    assert states(search).count(TrialState.COMPLETE) == 10
    assert states(search).count(TrialState.FAIL) == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_choices_in_another_order_are_the_same_search(tmp_path: Path, sampler: str) -> None:
    """A sweep keeps its id then: its trials keep their values, and their scores."""
    texts = ("relu", "gelu", "silu", "10", "9.0")
    axes = [
        Axis(keys=("model.activation",), choices=tuple((text,) for text in order))
        for order in (texts, texts[::-1])
    ]
    search = open_search(tmp_path, axes=axes[:1], sampler=sampler)
    trials = search.ask(6)
    for trial in trials:
        search.tell(trial.number, [float(len(trial.values["model.activation"]))])
    again = open_search(tmp_path, axes=axes[1:], sampler=sampler)
    assert [trial.values for trial in again.known()] == [trial.values for trial in trials]
    assert scores(again) == [[len(t.values["model.activation"])] for t in again.known()]


@pytest.mark.parametrize(
    ("low", "high", "step", "last"),
    [(0, 1, 0.3, 0.9), (0.1, 1, 0.2, 0.9), (0, 9, 4, 8), (0.0, 0.3, 0.1, 0.3)],
)
def test_a_step_that_misses_the_end_of_its_range(
    low: float, high: float, step: float, last: float
) -> None:
    """Also where YAML writes a fraction and a whole number: the last value is that of a grid."""
    axis = Axis(keys=("model.dropout",), low=low, high=high, step=step)
    assert axis.last == last
    assert float(axis.values()[-1][0]) == last
    drawn = distribution(axis)
    assert (drawn.low, drawn.high) == (low, last)  # type: ignore[attr-defined]  # of a range


def test_kill_while_mending_doubles_nothing(tmp_path: Path) -> None:
    """A trial that was enqueued again and not yet closed is asked for once."""
    search = open_search(tmp_path)
    (trial,) = search.ask(1)
    params = search._trials()[0].params
    search._study.enqueue_trial(params, {"continues": trial.number})
    search = open_search(tmp_path)
    assert states(search) == [TrialState.FAIL, TrialState.WAITING]
    assert search.remaining == 10
    assert [t.values for t in search.ask(1)] == [trial.values]
    assert search.remaining == 9
    search = open_search(tmp_path)  # and killed again
    assert search.remaining == 10
    trials = finish(search)
    assert len(trials) == 10
    assert trials[0].values == trial.values


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_kill_between_two_writes_of_a_proposal_is_no_damage(sampler: str, tmp_path: Path) -> None:
    """Optuna writes a line for each parameter: the search goes on, however often it is opened."""
    path = tmp_path / LOG_FILE
    search = open_search(tmp_path, sampler=sampler)
    before = path.read_bytes()
    search.ask(1)
    lines = path.read_bytes().removeprefix(before).splitlines(keepends=True)
    assert len(lines) > 2
    for count in range(1, len(lines)):
        path.write_bytes(before + b"".join(lines[:count]))
        for _ in range(3):
            search = open_search(tmp_path, sampler=sampler)
        assert search.known() == []
        assert len(finish(search)) == 10
        assert len(scores(open_search(tmp_path, sampler=sampler))) == 10


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_restarts_repeat_nothing(sampler: str, tmp_path: Path) -> None:
    """A search opened anew for every batch proposes ten different learning rates."""
    rates = []
    for _ in range(5):
        search = open_search(tmp_path, sampler=sampler)
        for trial in search.ask(2):
            rates.append(trial.values["optimizer.lr"])
            search.tell(trial.number, [score(trial)])
    assert len(set(rates)) == 10


def test_sequence_goes_on_after_a_restart(tmp_path: Path) -> None:
    """qmc: the points after the first are those of a search that never stopped."""
    search = open_search(tmp_path / "whole", sampler="qmc")
    whole = [trial.values for trial in finish(search)]
    search = open_search(tmp_path / "parts", sampler="qmc")
    parts = [trial.values for trial in search.ask(4)]
    for number in range(4):
        search.tell(number, [0.5])
    search = open_search(tmp_path / "parts", sampler="qmc")
    parts += [trial.values for trial in finish(search)]
    assert parts == whole


def test_same_seed_same_search(tmp_path: Path) -> None:
    """Proposals depend on the seed and the scores, on nothing else."""
    proposals = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        search = open_search(tmp_path / name, sampler="tpe", seed=seed)
        proposals.append([trial.values for trial in finish(search)])
    assert proposals[0] == proposals[1] != proposals[2]


def test_zipped_keys_move_together(tmp_path: Path) -> None:
    """Every proposal is one of the listed pairs, whole."""
    search = open_search(tmp_path, axes=[ZIPPED])
    pairs = {tuple(trial.values.items()) for trial in search.ask(10)}
    assert pairs == {
        (("model.width", "64"), ("optimizer.lr", "1e-2")),
        (("model.width", "512"), ("optimizer.lr", "1e-3")),
    }


@pytest.mark.parametrize(
    ("axis", "value", "text"),
    [
        (RATE, 0.0031622776601683795, "0.00316228"),
        (DROPOUT, 0.30000000000000004, "0.3"),
        (DEPTH, 3, "3"),
        # 0.123457 would be above the range
        (Axis(keys=("optimizer.lr",), low=0.1, high=0.1234567), 0.1234566, "0.1234566"),
    ],
)
def test_texts_are_short_and_within_the_range(axis: Axis, value: float, text: str) -> None:
    """Six digits, all of them where six would leave the range."""
    assert override_texts(axis, value) == (text,)


def test_range_ends_on_a_step() -> None:
    """The last step is reached, in decimals: 0.3 belongs to 0 to 0.3 by 0.1."""
    ending = Axis(keys=("model.dropout",), low=0.0, high=0.3, step=0.1)
    assert distribution(ending)._asdict()["high"] == 0.3
    assert distribution(WIDTH)._asdict()["high"] == 256


def test_several_objectives_are_all_kept(tmp_path: Path) -> None:
    """Accuracy against parameters, with every sampler that takes two."""
    objectives = ["final/val_accuracy", "parameters"]
    axes = [Axis(keys=("model.width",), choices=(("1",), ("2",), ("3",), ("4",)))]
    by_width = {"1": (0.7, 10), "2": (0.8, 20), "3": (0.75, 30), "4": (0.9, 40)}
    for sampler in ("random", "tpe", "qmc"):
        search = open_search(
            tmp_path / sampler, axes=axes, sampler=sampler, objectives=objectives, n_trials=12
        )
        while search.remaining:
            for trial in search.ask(5):
                search.tell(trial.number, by_width[trial.values["model.width"]])
        told = [list(by_width[trial.values["model.width"]]) for trial in search.known()]
        assert scores(search) == told


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
@pytest.mark.parametrize("objective", ["final/val_accuracy", "final/val_loss"])
def test_pruner_stops_a_clearly_worse_trial(pruner: str, objective: str, tmp_path: Path) -> None:
    """After six that end well, one far from them is pruned, a better one is not."""
    better, good, bad = (0.9, 0.8, 0.1) if objective == "final/val_accuracy" else (0.1, 0.2, 0.9)
    search = open_search(tmp_path, objectives=[objective], pruner=pruner)
    for number in range(6):  # ever better, so that none of these is pruned
        search.ask(1)
        assert not any(
            search.report(number, e, good + number * (better - good) / 10) for e in range(1, 10)
        )
        search.tell(number, [good])
    search.ask(2)
    assert any(search.report(6, epoch, bad) for epoch in range(1, 9))
    search.tell(6, None, is_pruned=True)
    assert not any(search.report(7, epoch, better) for epoch in range(1, 9))
    search.tell(7, [better])
    assert states(search)[6:] == [TrialState.PRUNED, TrialState.COMPLETE]


def test_failures_count(tmp_path: Path) -> None:
    """A failed trial, and one whose score is no number, are part of the total."""
    search = open_search(tmp_path, n_trials=3)
    search.ask(9)
    search.tell(0, None)
    search.tell(1, [float("nan")])
    search.tell(2, [0.5])
    assert search.remaining == 0
    assert scores(search) == [None, None, [0.5]]


@pytest.mark.parametrize("content", [b"", b'{"op_code": 0, "wor'])
def test_a_log_whose_first_line_is_missing_is_no_damage(content: bytes, tmp_path: Path) -> None:
    """As after a kill between the creation of the file and its first write, or within that."""
    (tmp_path / LOG_FILE).write_bytes(content)
    assert trials_done(tmp_path, retry_failed=False) == 0
    search = open_search(tmp_path)
    [trial] = search.ask(1)
    search.tell(trial.number, [0.5])
    assert trials_done(tmp_path, retry_failed=False) == 1


def test_failed_trials_are_asked_for_again_where_that_is_wanted(tmp_path: Path) -> None:
    """With the same values; each counts once, and none that has a score comes back."""
    search = open_search(tmp_path, n_trials=2)
    failed, scored = search.ask(2)
    search.tell(failed.number, None)
    search.tell(scored.number, [0.5])
    assert trials_done(tmp_path, retry_failed=True) == 1
    search = open_search(tmp_path, n_trials=2)
    search.retry_failed()
    assert [trial.number for trial in search.known()] == [scored.number]
    [again] = search.ask(9)
    assert again.values == failed.values
    search.tell(again.number, [0.7])
    assert search.remaining == 0
    assert sorted(scores(search), key=str) == [[0.5], [0.7]]
    assert trials_done(tmp_path, retry_failed=False) == 2


def test_problems_come_at_once() -> None:
    """Every reason against a search is named with what came."""
    overrides = [
        "sweep.sampler=tpe",
        "sweep.objectives=[parameters,parameters]",
        "sweep.pruner=median",
        "seed=0,1",
    ]
    sweep = read_sweep(overrides, Composer())
    config = make_config(Path("data"), "training.epochs=1", "rerun=true")
    problems = search_problems(sweep, config, can_prune=False)
    text = "\n".join(problems)
    assert len(problems) == 8
    for words in (
        "name a key for tpe",
        "must differ",
        "rerun must be false",
        "median and 2",
        "where parameters is wanted",
        "seed or data.fold",
        "hydra/launcher is stacked",
        "training.epochs is 1",
    ):
        assert words in text


def test_sound_search_has_no_problem() -> None:
    """Pruning by one objective with our launcher is fine, and so is a grid without."""
    search = ["sweep.sampler=tpe", "sweep.objectives=[final/val_loss]", "sweep.pruner=hyperband"]
    sweep = read_sweep([*search, "model.width=4,8"], Composer())
    config = make_config(Path("data"), "training.epochs=5")
    assert search_problems(sweep, config, can_prune=True) == []
    grid = read_sweep(["sweep.limit=1", "seed=0,1"], Composer())
    once = make_config(Path("data"), "training.epochs=1", "rerun=true")
    assert search_problems(grid, once, can_prune=False) == []
    assert sweep.prunes
    assert not grid.prunes


def test_what_a_sweep_would_ignore_is_refused() -> None:
    """A pruner of a grid, the limit of a search."""
    config = make_config(Path("data"))
    for words, key in (
        (["sweep.pruner=median"], "sweep.pruner"),
        (["sweep.sampler=tpe", "sweep.limit=3"], "sweep.limit"),
    ):
        sweep = read_sweep([*words, "model.width=4,8"], Composer())
        [problem] = search_problems(sweep, config, can_prune=True)
        assert problem.startswith(f"{key} must be")


def test_a_search_wants_what_it_compares() -> None:
    """Without a validation split nothing is measured on one; sizes can be compared."""
    config = make_config(Path("data"), "data.validation_size=0")
    for objective, number in (("final/val_loss", 1), ("parameters", 0)):
        words = ["sweep.sampler=tpe", f"sweep.objectives=[{objective}]", "model.width=4,8"]
        sweep = read_sweep(words, Composer())
        problems = search_problems(sweep, config, can_prune=True)
        assert len(problems) == number
        assert "data.validation_size is 0, got final/val_loss" in "".join(problems) or not number


def test_as_many_trials_at_once_as_can_be_trained() -> None:
    """On other machines; here the cores decide nothing of what a search that learns proposes."""

    def batch_size(sampler: str, num_workers: int, *, is_here: bool, stack_size: str) -> int:
        words = [f"sweep.sampler={sampler}", "sweep.n_trials=80", f"sweep.stack_size={stack_size}"]
        sweep = read_sweep([*words, "model.width=4,8"], Composer())
        return sweep.batch_size(num_workers, is_here=is_here)

    assert batch_size("tpe", 64, is_here=True, stack_size="auto") == 4
    assert batch_size("tpe", 64, is_here=True, stack_size="8") == 8
    assert batch_size("tpe", 64, is_here=False, stack_size="1") == 20  # it learns three times
    assert batch_size("random", 64, is_here=True, stack_size="auto") == 64
    assert batch_size("random", 640, is_here=False, stack_size="auto") == 80
    assert batch_size("tpe", 1, is_here=False, stack_size="auto") == 4


def test_what_is_checked_of_a_search_has_both_ends_of_every_range() -> None:
    """Also of an axis that counts only under a condition, which another one may be under too."""
    space = read_space(
        [],
        axes={
            "optimizer": ["adamw", "adadelta", "adam"],
            "optimizer.rho": {"low": 0.5, "high": 1.5},
            "optimizer.eps, optimizer.lr": [[1e-7, 0.1], [1e-6, 0.2]],
            "model.depth": {"low": 1, "high": 3},
            "model.dropout": [0.1, 0.2],
            "seed": [3, 4],
        },
        when={
            "optimizer.rho": {"optimizer": ["adadelta", "adam"]},
            "optimizer.eps, optimizer.lr": {"optimizer.rho": 1.5},
            "model.dropout": {"optimizer.lr": 0.2, "model.depth": [2, 3]},
        },
        composer=Composer(),
    )
    sweep = replace(read_sweep(["sweep.sampler=random"], Composer()), space=space)
    samples = sweep.samples()
    for axis in space.searched:
        ends = axis.choices or ((str(axis.low),), (str(axis.last),))
        seen = {tuple(each[key] for key in axis.keys) for each in samples if axis.keys[0] in each}
        assert seen >= set(ends), axis.name
    for sample in samples:  # and none has an axis that does not count
        assert ("optimizer.rho" in sample) == (sample["optimizer"] != "adamw")


def test_many_choices_are_said_in_short() -> None:
    """The number of them, and the first and the last."""
    values = ",".join(map(str, range(1, 61)))
    sweep = read_sweep([f"model.width={values}"], Composer())
    assert sweep.words() == {"model.width": ["60 values, 1 to 60"]}
