"""Sweeps as a user starts them: `fmnist train -m …`, in processes of their own."""

import csv
import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from fashion_mnist.config.compose import Composer
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Capacity, Task, Update, Workers, failure
from fashion_mnist.launchers.local import LocalLauncher
from fashion_mnist.runs import run_state
from fashion_mnist.runs.events import Event, Mark, read_events
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Datasets, Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.sweeps.definition import check_sweep
from fashion_mnist.sweeps.jobs import Job
from fashion_mnist.sweeps.plan import full_text, plan_sweep, short_text
from fashion_mnist.sweeps.runner import run_sweep
from fashion_mnist.sweeps.search import trials_done
from fashion_mnist.training.device import Machine
from tests.builders import QUIET, data_overrides, load, make_config, make_data, train_stack
from tests.faults.processes import FMNIST, fmnist
from tests.sweeps.recorded_jobs import RecordedJobs
from tests.sweeps.test_progress import Terminal
from tests.training.test_contract import ATOL, RTOL

SMALL = (
    "data.validation_size=20",
    "training.batch_size=16",
    "training.epochs=2",
    "training.threads=1",
    "model.width=8",
)
NOWHERE = "tracking.uri=null"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def command(data: Path, *arguments: str) -> list[str]:
    """`fmnist train` on that data."""
    return [str(FMNIST), "train", *data_overrides(data), *SMALL, *arguments]


def sweep(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep to its end, in the test's own folder."""
    return fmnist(*command(data, *arguments)[1:])


def runs() -> list[RunDir]:
    """Every run in the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs/runs").glob("*"))]


def parents() -> list[RunDir]:
    """Every sweep in the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs/sweeps").glob("*"))]


def by_name() -> dict[str, RunDir]:
    """The runs by their names."""
    return {run.name(): run for run in runs()}


def summary() -> list[dict[str, str]]:
    """The one sweep's table of runs."""
    [parent] = parents()
    with (parent.artifacts / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def weights_alone(data: Path, dataset: Dataset, folder: Path, *overrides: str) -> str:
    """Which network a run is that is trained by itself, in this process."""
    own = [word for word in SMALL if word.partition("=")[0] not in dict(map(_split, overrides))]
    config = make_config(data, *own, *overrides, f"output_dir={folder}")
    [result] = train([Request(config)], dataset, QUIET)
    return result.folder.tags()["weights_sha256"]


def train_each(jobs: Sequence[Job]) -> None:
    """What a launcher of Hydra's does, in this process."""
    for job in jobs:
        train([job.request], job.dataset, QUIET)


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key, value


@pytest.mark.long
def test_a_grid_gives_the_bits_of_each_run_alone(data: Path, tmp_path: Path) -> None:
    """Mixed shapes and optimisers, replicates, one winner that was tested, all files there."""
    words = ("seed=range(2)", "model.width=5,8", "optimizer=adamw,sgd")
    done = sweep(data, NOWHERE, "-m", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 jobs: 8 new" in done.stdout
    assert "8 runs to train in 8 stacks" in done.stdout
    dataset = load(data)
    for name, run in by_name().items():
        values = dict(map(_split, name.split()))
        overrides = [
            f"optimizer={values['optimizer']}",
            f"model.width={values['width']}",
            f"seed={values['seed']}",
        ]
        alone = weights_alone(data, dataset, tmp_path / "alone", *overrides)
        assert run.tags()["weights_sha256"] == alone, name
    rows = summary()
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"FINISHED"}
    tested = [name for name, run in by_name().items() if "test/accuracy" in run.metrics()]
    assert len(tested) == 2  # the winner's replicates
    assert len({name.rpartition(" seed=")[0] for name in tested}) == 1
    [folder] = Path("outputs/hydra").glob("*/*")
    assert (folder / "multirun.yaml").exists()
    assert all((folder / str(k) / ".hydra/overrides.yaml").exists() for k in range(8))
    again = sweep(data, NOWHERE, "-m", "optimizer=adamw,sgd", "model.width=5,8", "seed=range(3)")
    assert "12 jobs: 4 new, 8 finished before" in again.stdout
    assert len(parents()) == 1  # the same sweep with more seeds
    assert len(summary()) == 12


def test_stacks_of_a_cpu_are_for_who_asks_for_them(data: Path, tmp_path: Path) -> None:
    """The record says how many were trained together; weights agree within a tolerance."""
    done = sweep(data, NOWHERE, "-m", "seed=range(4)", "sweep.stack_size=2", "sweep.processes=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs to train in 2 stacks of up to 2" in done.stdout
    for name, run in by_name().items():
        assert run.tags()["stack_size"] == "2"
        config = make_config(data, *SMALL, name)
        folder = tmp_path / name
        [alone] = train_stack([config], load(data), Machine("cpu", "fp32", 1), folder)
        assert alone.weights is not None
        for key, tensor in load_file(run.model).items():
            torch.testing.assert_close(tensor, alone.weights[key], rtol=RTOL, atol=ATOL)


def test_a_dry_run_leaves_no_file(data: Path) -> None:
    """It says what would be trained."""
    before = sorted(Path().rglob("*"))
    done = sweep(data, "-m", "model.width=5,5,8", "model.depth=1,2", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs to train" in done.stdout
    assert "30-5-5-3 relu" in done.stdout
    assert sorted(Path().rglob("*")) == before


def test_a_dry_run_of_one_run_shows_its_layers(data: Path) -> None:
    """A row for each, and their sums, which are the network's; of several runs there is none."""
    done = sweep(data, "model.width=5", "model.depth=2", "model.dropout=0.1", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line]
    [head] = [row for row in rows if row[0] == "layer"]
    assert head[:4] == ["layer", "kind", "output", "parameters"]
    table = rows[rows.index(head) + 1 :]
    assert [row[0] for row in table] == [
        *(f"hidden{k}.{part}" for k in (1, 2) for part in ("linear", "activation", "dropout")),
        "output",
        "all",
    ]
    # 30-5-5-3: weights and biases
    assert table[-1] == ["all", str(155 + 30 + 18), str(150 + 25 + 15)]


def test_mistakes_of_all_jobs_come_at_once(data: Path) -> None:
    """Exit status 2, nothing written, whatever job they are in."""
    done = sweep(data, NOWHERE, "-m", "optimizer.lr=0.1,-1", "model.activation=relu,rely")
    words = done.stdout + done.stderr
    assert done.returncode == 2, words
    assert "optimizer.lr must be" in words
    assert "did you mean relu?" in words
    assert "Traceback" not in words
    done = sweep(data, NOWHERE, "-m", "training.batch_size=16,71")
    assert done.returncode == 2
    assert "training.batch_size must be" in done.stdout + done.stderr
    assert not Path("outputs").exists()


def test_a_failing_run_fails_alone(data: Path) -> None:
    """The others finish; exit status 1; the failure is named with the command that repeats it."""
    words = (NOWHERE, "-m", "optimizer=sgd", "optimizer.lr=0.01,1e30", "schedule=constant")
    done = sweep(data, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "diverged in epoch 1 at step 2" in done.stdout
    assert re.search(r"train .*optimizer.lr=1e\+?30", done.stdout)
    assert sorted(run.status() for run in runs()) == ["FAILED", "FINISHED"]
    again = sweep(data, *words)
    assert "1 failed before (sweep.retry_failed=true retries)" in again.stdout
    assert len(runs()) == 2
    retried = sweep(data, *words, "sweep.retry_failed=true")
    assert retried.returncode == 1
    assert len(runs()) == 3


def test_a_repeated_sweep_counts_its_runs(data: Path) -> None:
    """With `rerun=true` every run is trained again, and the counts say so."""
    words = (NOWHERE, "-m", "seed=range(2)", "training.epochs=1")
    assert sweep(data, *words).returncode == 0
    again = sweep(data, *words, "rerun=true")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 jobs: 2 to be trained again (rerun=true)" in again.stdout
    assert "2 runs to train in 2 stacks" in again.stdout
    assert "2 of 2 finished" in again.stdout
    assert len(runs()) == 4


def test_a_summary_is_drawn_again_where_it_says_something_else(data: Path) -> None:
    """The same command again draws nothing; another seed, or a file that is gone, does."""
    words = (NOWHERE, "sweep.name=mine", "training.epochs=1", "-m")
    assert sweep(data, *words, "seed=range(2)").returncode == 0
    [parent] = parents()
    page = parent.path / "artifacts" / "summary.html"
    first = page.stat().st_mtime_ns
    again = sweep(data, *words, "seed=range(2)")
    assert (again.returncode, parent.status()) == (0, "FINISHED")
    assert page.stat().st_mtime_ns == first
    page.unlink()
    assert sweep(data, *words, "seed=range(2)").returncode == 0
    second = page.stat().st_mtime_ns
    assert sweep(data, *words, "seed=range(3)").returncode == 0
    assert page.stat().st_mtime_ns > second
    assert len(summary()) == 3


@pytest.mark.parametrize("error", [DataError("gone"), OSError("gone"), ValueError("gone")])
def test_an_error_in_mid_sweep_leaves_a_summary_of_what_finished(
    data: Path, error: Exception
) -> None:
    """Whatever error it is, it still ends the command, after the leaderboard."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=range(2)"]

    def launch(jobs: Sequence[Job]) -> None:
        train([jobs[0].request], jobs[0].dataset, QUIET)
        raise error

    checked = check_sweep(words, Composer())
    with pytest.raises(type(error), match="gone"):
        run_sweep(checked, RecordedJobs(train=launch), dry_run=False)
    assert sorted(row["status"] for row in summary()) == ["", "FINISHED"]
    [parent] = parents()
    assert parent.status() == "KILLED"


def test_the_log_of_a_finished_run_is_read_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole, and once for its status: sweeps of thousands are started again."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0", "model.width=4,6,8"]
    jobs = RecordedJobs(train=train_each)
    assert run_sweep(check_sweep(words, Composer()), jobs, dry_run=False) == 0
    reads = list[tuple[str, Collection[str]]]()

    def noted(run_dir: Path, after: Mark, *, kinds: Collection[str] = ()) -> Iterator[Event]:
        reads.append((run_dir.name, kinds))
        return read_events(run_dir, after, kinds=kinds)

    monkeypatch.setattr(run_state, "read_events", noted)
    assert run_sweep(check_sweep(words, Composer()), RecordedJobs(), dry_run=False) == 0
    others = [run for run in runs() if "test/accuracy" not in run.metrics()]
    assert len(others) == 2
    for run in others:
        assert reads.count((run.path.name, ("status",))) == 1
        assert reads.count((run.path.name, ())) == 2  # with that of this test


def test_a_launcher_of_hydras_gets_each_run_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes would wait for each other. There is no display: nothing tells it of a run."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0", "model.dropout=0,0.0,0.1"]
    launched, terminal = list[int](), Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(logging.getLogger("fashion_mnist"), "level", logging.INFO)

    def launch(jobs: Sequence[Job]) -> None:
        launched.extend(job.number for job in jobs)

    run_sweep(check_sweep(words, Composer()), RecordedJobs(train=launch), dry_run=False)
    assert launched == [0, 2]
    assert "finished" not in terminal.getvalue()


def test_a_search_estimates_the_trials_that_are_to_go(data: Path) -> None:
    """Also where the runs that stand for them were trained before; nothing where none is to go."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0", "training.threads=auto"]
    sampler = ["sweep.sampler=random", "sweep.n_trials=2"]
    jobs = RecordedJobs(train=train_each)  # on all cores
    grid = check_sweep([*words, "model.width=4,6"], Composer())
    assert run_sweep(grid, jobs, dry_run=False) == 0
    search = check_sweep([*words, *sampler, "model.width=4,6"], Composer())
    plan = plan_sweep(search, LocalLauncher())
    said = short_text(plan.preflight)
    assert "0 of 2 trials done, 2 to go\nin stacks of up to 1, about " in said
    fresh = check_sweep([*words, *sampler, "model.width=8,10"], Composer())
    assert plan.grouping.capacity == plan_sweep(fresh, LocalLauncher()).grouping.capacity
    assert run_sweep(search, jobs, dry_run=False) == 0
    after = plan_sweep(search, LocalLauncher()).preflight
    assert full_text(after).startswith("search (random): 2 of 2 trials done, 0 to go\n\naxes")
    assert after.costs == []


def test_a_run_has_the_threads_of_its_sweep_however_many_are_left(data: Path) -> None:
    """The bits of one that is trained later are those that it would have had at first."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "training.threads=auto", "sweep.processes=2"]
    grid = check_sweep([*words, "seed=range(3)"], Composer())
    fresh = plan_sweep(grid, LocalLauncher()).grouping.capacity
    run_sweep(
        check_sweep([*words, "seed=0,1"], Composer()), RecordedJobs(train=train_each), dry_run=False
    )
    left = plan_sweep(grid, LocalLauncher())
    assert [len(stack.jobs) for stack in left.stacks] == [1]
    assert not left.stacks[0].is_for_workers
    assert (left.grouping.capacity.number, left.grouping.capacity.threads) == (1, fresh.threads)


def test_a_search_is_estimated_with_all_workers_that_it_has(data: Path) -> None:
    """Its examples are two at most, and its trials more."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=range(5)", "sweep.processes=4"]
    search = ["sweep.sampler=random", "sweep.n_trials=6", "model.width=4,6"]
    preflight = plan_sweep(check_sweep([*words, *search], Composer()), LocalLauncher()).preflight
    assert preflight.num_workers == 4


def test_memory_bounds_a_stack_whose_size_was_asked_for(data: Path) -> None:
    """One that holds a run alone is as small as a stack can be."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=range(4)", "sweep.stack_size=4"]
    for memory, size in (("auto", 4), ("1.0e-9", 1)):
        sweep = check_sweep([*words, f"sweep.memory={memory}", "sweep.processes=1"], Composer())
        stacks = plan_sweep(sweep, LocalLauncher()).stacks
        assert {len(stack.jobs) for stack in stacks} == {size}


def test_what_was_asked_for_of_finished_runs_and_failed_is_no_success(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As their test scores, where their networks are damaged: said once for each, and status 1."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0,1"]

    def start(test: str) -> int:
        own = check_sweep([*words, f"evaluation.test={test}"], Composer())
        return run_sweep(own, RecordedJobs(train=train_each), dry_run=False)

    assert start("never") == 0
    for run in runs():
        run.model.write_bytes(b"damaged")
    caplog.clear()
    assert start("always") == 1
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([line for line in said if "rerun=true trains the run again" in line]) == 2


def test_a_trial_that_could_not_be_trained_is_asked_for_again(data: Path) -> None:
    """As where its run directory cannot be made: Optuna learns its score once it has one."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0", "model.width=4,6,8,10"]
    search = ["sweep.sampler=qmc", "sweep.n_trials=3"]

    def train_some(jobs: Sequence[Job]) -> None:
        train_each(jobs[1:])

    def start(train: Callable[[Sequence[Job]], None]) -> int:
        own = check_sweep([*words, *search], Composer())
        return run_sweep(own, RecordedJobs(train=train), dry_run=False)

    assert start(train_some) == 1
    [folder] = (parent.path for parent in parents())
    assert trials_done(folder, retry_failed=False) < 3
    assert start(train_each) == 0
    assert trials_done(folder, retry_failed=True) == 3  # so none has failed
    assert len(runs()) <= 3


def test_what_a_launcher_of_hydras_could_not_train_has_a_reason(data: Path) -> None:
    """As what ours could not: one line that names the file."""
    words = ["-m", "seed=0,1", "hydra/launcher=basic", NOWHERE]
    assert sweep(data, *words).returncode == 0
    blocked = by_name()["seed=1"].path
    shutil.rmtree(blocked)
    blocked.touch()
    again = sweep(data, *words)
    assert again.returncode == 1
    assert re.search(rf"seed=1: {re.escape(str(blocked.absolute()))}: File exists", again.stdout)


def test_what_another_search_pruned_is_trained_to_its_end(data: Path) -> None:
    """Only in its own search is it settled: this one has not compared it with its own runs."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=0"]

    def prune(jobs: Sequence[Job]) -> None:
        for job in jobs:
            train([job.request], job.dataset, Observer(should_prune=lambda *_: True))

    both = check_sweep([*words, "model.width=4,6"], Composer())
    run_sweep(both, RecordedJobs(train=prune), dry_run=False)
    assert ["pruned" in run.tags() for run in runs()] == [True, True]
    search = ["sweep.sampler=random", "sweep.n_trials=4", "model.width=4,6"]
    own = check_sweep([*words, *search], Composer())
    assert run_sweep(own, RecordedJobs(train=train_each), dry_run=False) == 0
    trained = [run for run in runs() if run.status() == "FINISHED"]
    assert trained
    assert not any(run.tags()["pruned"] for run in trained)


@dataclass(frozen=True)
class HalfLauncher:
    """Trains the first stack alone; then a signal comes, too late to stop the training."""

    def problems(self) -> list[str]:
        """None."""
        return []

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """One worker."""
        return Capacity(threads=1, is_here=False)

    def open(self, capacity: Capacity, folder: Path) -> AbstractContextManager[Workers]:
        """The worker."""
        return nullcontext(HalfWorkers(capacity))


@dataclass
class HalfWorkers:
    """The worker of a `HalfLauncher`."""

    capacity: Capacity

    def run(self, tasks: Sequence[Task]) -> Generator[Update | None, None, None]:
        """Train the first task; the others have an error."""
        for task in tasks:
            yield failure(task, "no worker is left")
            if task is tasks[0]:
                train(task.requests, Datasets().of(task.requests[0].config), QUIET)
        signal.raise_signal(signal.SIGINT)


def test_a_stop_is_heard_while_the_winners_runs_are_trained_to_their_end(data: Path) -> None:
    """As where a replicate of the best setting was left unfinished."""
    words = [*data_overrides(data), *SMALL, NOWHERE, "seed=range(2)"]
    checked = check_sweep(words, Composer())
    assert run_sweep(checked, RecordedJobs(HalfLauncher()), dry_run=False) == 130
    assert sorted(run.status() for run in runs()) == ["FINISHED", "KILLED"]
    [parent] = parents()
    assert parent.status() == "KILLED"


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["basic", "submitit_local"])
def test_other_launchers_serve_the_same_sweep(data: Path, launcher: str) -> None:
    """The same parent, the same runs, the same summary; what one trained the other knows."""
    words = (NOWHERE, "-m", "model.width=5,8")
    other = sweep(data, *words, "seed=0", f"hydra/launcher={launcher}")
    assert other.returncode == 0, other.stdout + other.stderr
    assert sorted(by_name()) == ["width=5", "width=8"]
    assert [row["status"] for row in summary()] == ["FINISHED"] * 2
    tested = [run for run in runs() if "test/accuracy" in run.metrics()]
    assert len(tested) == 1
    ours = sweep(data, *words, "seed=range(2)")
    assert "4 jobs: 2 new, 2 finished before" in ours.stdout, ours.stdout + ours.stderr
    assert len(parents()) == 1
    assert len(runs()) == 4


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("-m", "model.width=5,8", "hydra.sweep.subdir=${nope}"), "hydra.sweep.subdir"),
        (("-m", "model.width=5,8", "hydra.sweep.dir=${nope}", "--dry-run"), "hydra.sweep.dir"),
        (("hydra.run.dir=${oc.env:NOPE}",), "hydra.run.dir"),
    ],
)
def test_folders_that_hydra_cannot_name_are_refused(
    data: Path, words: Sequence[str], key: str
) -> None:
    """In a line, before anything is trained or written."""
    refused = sweep(data, NOWHERE, *words)
    told = refused.stdout + refused.stderr
    assert refused.returncode == 2, told
    assert f"{key} names no folder" in told
    assert "Traceback" not in told
    assert not Path("outputs").exists()


def test_a_stopped_sweep_publishes_what_is_finished_and_goes_on(data: Path) -> None:
    """Exit status 130; the same command again trains the rest."""
    words = command(
        data, NOWHERE, "-m", "training.epochs=3,100000", "sweep.stack_size=1", "optimizer.lr=1e-5"
    )
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "stacks 1 of 2 done" in line and "epoch" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "estimated" not in rest  # what was left out took no time
    assert sorted(run.status() for run in runs()) == ["FINISHED", "KILLED"]
    [parent] = parents()
    assert parent.status() == "KILLED"
    assert len(summary()) == 2
    # Hydra's folder of a job is made as soon as the job is done
    assert [path.parent.name for path in Path("outputs/hydra").glob("*/*/*/.hydra")] == ["0"]


@pytest.mark.long
def test_a_search_prunes_weak_runs_and_counts_its_trials(data: Path) -> None:
    """A pruned run ends as killed, with a tag; started again there is nothing left to do.

    Trained to its end by another command it is a run like others.
    """
    words = (
        NOWHERE,
        "sweep.sampler=random",
        "sweep.n_trials=10",
        "sweep.pruner=median",
        "training.epochs=6",
        "optimizer.lr=tag(log,interval(1e-6,1e-1))",
        "sweep.objectives=[final/val_loss]",
        "sweep.stack_size=5",
    )
    done = sweep(data, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    pruned = [run for run in runs() if "pruned" in run.tags()]
    assert pruned
    assert {run.status() for run in pruned} == {"KILLED"}
    assert len(summary()) == 10
    again = sweep(data, *words)
    assert "10 of 10 trials done, 0 to go" in again.stdout, again.stdout + again.stderr
    assert len(summary()) == 10
    more = sweep(data, *words, "sweep.n_trials=12")
    assert more.returncode == 0, more.stdout + more.stderr
    assert len(summary()) == 12
    [weak, *_] = pruned
    rate = weak.state().params["optimizer.lr"]
    alone = sweep(data, NOWHERE, "training.epochs=6", f"optimizer.lr={rate}")
    assert "going on after epoch" in alone.stdout, alone.stdout + alone.stderr
    assert weak.status() == "FINISHED"
    assert not weak.tags()["pruned"]


@pytest.mark.long
def test_a_sweep_in_mlflow_is_one_parent_with_its_runs(data: Path) -> None:
    """A run of before is there as a copy; more seeds go on under the same parent."""
    assert sweep(data, "model.width=5").returncode == 0
    first = sweep(data, "-m", "model.width=5,6")
    assert first.returncode == 0, first.stdout + first.stderr
    second = sweep(data, "-m", "model.width=5,6", "seed=range(2)")
    assert second.returncode == 0, second.stdout + second.stderr
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').resolve()}")
    [experiment] = client.search_experiments(filter_string="name = 'fashion-mnist'")
    everything: Sequence[Run] = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in everything if "sweep" in run.data.tags]
    children = [
        run for run in everything if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    names = sorted(child.info.run_name for child in children)
    assert len(everything) == 6  # with the run of before
    assert names == ["width=5", "width=5 seed=1", "width=6", "width=6 seed=1"]
    copies = [run for run in children if "copy_of" in run.data.tags]
    assert [copy.info.run_name for copy in copies] == ["width=5"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best/val_accuracy"] > 0
    paths = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"summary.csv", "summary.html", "leaderboard.csv", "plots"} <= paths
    assert any(key.startswith("mlflow.sharedViewState.sweep-") for key in experiment.tags)
    assert "viewStateShareKey=sweep-" in second.stdout
    # what was trained before was no work for a launcher: a run alone, and one and two jobs
    assert len(list(Path("outputs/hydra").rglob(".hydra"))) == 4
