"""Stacks beside each other: the same bits, and no run lost when a process dies or must stop."""

import os
import signal
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from fashion_mnist.launchers.base import Capacity, Task
from fashion_mnist.launchers.local import (
    LocalLauncher,
    LocalWorkers,
    cpu_capacity,
    gpu_capacity,
    names_of,
)
from fashion_mnist.runs.request import Datasets, Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.stacks import split_data
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.sweeps.grouping import Grouping, JobStack, longest_first, split_evenly
from fashion_mnist.sweeps.jobs import Job, make_jobs
from fashion_mnist.sweeps.training import TrainingSetup
from fashion_mnist.training.device import Machine, physical_cores
from tests.builders import make_config, make_data, train_jobs

SMALL = ("training.epochs=2", "training.threads=1", "model.hidden_sizes=[6]")
TWO = Capacity(number=2, threads=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def make(data: Path, *variants: str) -> list[Job]:
    """A job for each variant."""
    own = [make_config(data, *SMALL, *variant.split()) for variant in variants]
    return make_jobs([Request(config, auto=False) for config in own], Datasets(), first_number=0)


def split(
    jobs: list[Job], max_stack_size: int | None = None, capacity: Capacity = TWO
) -> list[JobStack]:
    """The stacks that these jobs are trained in."""
    return Grouping(capacity, max_stack_size).stacks(jobs)


def numbers(stacks: list[JobStack], *, for_workers: bool) -> list[int]:
    """The jobs of the stacks that workers train, or this process."""
    own = [stack for stack in stacks if stack.is_for_workers == for_workers]
    return [job.number for stack in own for job in stack.jobs]


def open_workers(capacity: Capacity) -> AbstractContextManager[LocalWorkers]:
    """Processes of this machine."""
    return LocalLauncher().open(capacity, Path())


def weights(jobs: list[Job]) -> list[str]:
    """Which networks the runs are."""
    return [job.run_dir.tags()["weights_sha256"] for job in jobs]


def test_workers_give_the_bits_of_one_process(data: Path, tmp_path: Path) -> None:
    """Different shapes, with the same number of threads."""
    variants = [f"seed={k} model.hidden_sizes=[{6 + k % 2}]" for k in range(6)]
    here = make(data, *variants)
    train_jobs(here)
    there = make(data, *(f"{variant} output_dir={tmp_path / 'there'}" for variant in variants))
    with open_workers(TWO) as workers:
        results = train_jobs(there, TrainingSetup(workers=workers))
    assert weights(there) == weights(here)
    assert [results[job.fingerprint].folder.status() for job in there] == ["FINISHED"] * 6
    assert {job.run_dir.tags()["threads"] for job in there} == {"1"}
    assert len({job.run_dir.tags()["mlflow.fmnist.pid"] for job in there} | {str(os.getpid())}) == 3


def test_a_worker_that_dies_loses_nothing(data: Path) -> None:
    """Its stack is trained in this process, from its last checkpoint."""
    jobs = make(data, *(f"seed={k} training.epochs=40" for k in range(4)))
    killed = list[int]()

    def kill_one() -> None:
        running = [job for job in jobs if len(job.run_dir.history()) > 2]
        if running and not killed:
            killed.append(int(running[0].run_dir.tags()["mlflow.fmnist.pid"]))
            os.kill(killed[0], signal.SIGKILL)

    with open_workers(TWO) as workers:
        train_jobs(jobs, TrainingSetup(workers, check_for_stop=kill_one), max_stack_size=2)
    assert killed
    assert killed != [os.getpid()]
    assert {job.run_dir.status() for job in jobs} == {"FINISHED"}
    here = [job for job in jobs if job.run_dir.tags()["mlflow.fmnist.pid"] == str(os.getpid())]
    assert here
    assert [len(job.run_dir.history()) for job in jobs] == [40] * 4


def test_what_workers_left_has_the_threads_of_a_worker_here(data: Path) -> None:
    """Both died before all was begun: the bits of a run do not depend on where it is trained."""
    jobs = make(data, *(f"seed={k} training.epochs=40 training.threads=auto" for k in range(4)))
    killed = set[int]()

    def kill_all() -> None:
        for job in jobs:
            pid = int(job.run_dir.tags().get("mlflow.fmnist.pid", os.getpid()))
            if pid != os.getpid() and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)

    with open_workers(TWO) as workers:
        train_jobs(jobs, TrainingSetup(workers, check_for_stop=kill_all))
    here = [job for job in jobs if job.run_dir.tags()["mlflow.fmnist.pid"] == str(os.getpid())]
    assert len(here) == 4
    assert {job.run_dir.tags()["threads"] for job in jobs} == {"1"}
    assert {job.run_dir.status() for job in jobs} == {"FINISHED"}


def test_the_longest_stack_begins_first(data: Path) -> None:
    """By what was measured; where one is not, by what there is to train, and nothing is mixed."""
    jobs = make(data, *(f"model.hidden_sizes=[{width}]" for width in (8, 64, 16)))
    stacks = split(jobs)
    cost = Benchmark(1, 0.1, 1000)
    measured = [replace(own, benchmark=cost) for own in stacks]
    slow = replace(stacks[2], benchmark=replace(cost, seconds_per_epoch=9))
    assert longest_first([*measured[:2], slow])[0] is slow
    mixed = [measured[0], stacks[1], slow]
    assert longest_first(mixed) == [stacks[1], slow, measured[0]]


def test_a_request_to_stop_saves_every_worker(data: Path) -> None:
    """Their runs are said to be killed, at a whole epoch, and can be gone on with."""
    jobs = make(data, *(f"seed={k} training.epochs=100000" for k in range(2)))

    def stop() -> None:
        if all(len(job.run_dir.history()) > 2 for job in jobs):
            raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested), open_workers(TWO) as workers:
        train_jobs(jobs, TrainingSetup(workers, check_for_stop=stop))
    assert {job.run_dir.status() for job in jobs} == {"KILLED"}
    assert all(job.run_dir.epoch() > 2 for job in jobs)


def test_a_failure_in_a_worker_is_that_of_its_run(data: Path) -> None:
    """The others finish."""
    jobs = make(data, "optimizer=sgd", "optimizer=sgd optimizer.lr=1.0e+30", "seed=3")
    with open_workers(TWO) as workers:
        train_jobs(jobs, TrainingSetup(workers=workers))
    assert [job.run_dir.status() for job in jobs] == ["FINISHED", "FAILED", "FINISHED"]


def test_a_stop_is_heard_while_finished_runs_are_recorded(data: Path) -> None:
    """No step is trained then; ten thousand such runs take most of a minute."""
    train_jobs(make(data, "seed=1"))

    def stop() -> None:
        raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(make(data, "seed=1"), TrainingSetup(check_for_stop=stop))


def test_one_worker_is_no_process_and_trains_nothing() -> None:
    """As where none could be started: all is trained in this process."""
    tasks = [Task(number, [], [], [], "") for number in range(2)]
    with open_workers(Capacity()) as workers:
        assert list(workers.run(tasks)) == []


def test_the_record_says_how_many_threads_computed(data: Path) -> None:
    """A worker's share where the config leaves it open, all cores here, else what is asked for."""
    jobs = make(data, *(f"training.threads=auto seed={seed}" for seed in range(2)))
    with open_workers(TWO) as workers:
        train_jobs(jobs, TrainingSetup(workers=workers))
    assert {job.run_dir.tags()["threads"] for job in jobs} == {"1"}
    alone = make(data, "training.threads=auto seed=2")
    train_jobs(alone)
    assert alone[0].run_dir.tags()["threads"] == str(physical_cores())


def test_runs_that_want_more_threads_than_a_worker_has_are_trained_here(data: Path) -> None:
    """By their config, or by the record of their beginning."""
    wide = make(data, "training.threads=2 seed=1", "training.threads=2 seed=2", "seed=3", "seed=4")
    stacks = split(wide, None, TWO)
    assert numbers(stacks, for_workers=False) == [
        0,
        1,
    ]
    assert numbers(stacks, for_workers=True) == [2, 3]

    begun = make(data, *(f"training.threads=2 training.epochs=99 seed={k}" for k in (5, 6)))

    def stop() -> None:
        if all(job.run_dir.history() for job in begun[:1]):
            raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(begun, TrainingSetup(check_for_stop=stop))
    again = make(data, *(f"training.threads=auto training.epochs=99 seed={k}" for k in (5, 7)))
    stacks = split(again, None, TWO)
    assert numbers(stacks, for_workers=False) == [0]


def test_a_run_begun_alone_takes_no_other_from_the_workers(data: Path) -> None:
    """Stopped in its first epoch, with all threads: the runs beside it have those of a worker."""
    threads = max(2, physical_cores())
    begun = make(data, f"training.threads={threads} seed=5")

    def stop() -> None:
        raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(begun, TrainingSetup(check_for_stop=stop))
    assert begun[0].run_dir.tags()["threads"] == str(threads)
    for seeds in ((5, 6, 7), (6, 7, 5)):
        stacks = split(make(data, *(f"training.threads=auto seed={seed}" for seed in seeds)))
        assert numbers(stacks, for_workers=False) == [seeds.index(5)]
        assert numbers(stacks, for_workers=True) == [seeds.index(6), seeds.index(7)]


def test_workers_have_the_threads_that_runs_ask_for() -> None:
    """As many workers as the cores hold; fewer runs than cores share all cores."""
    cores = physical_cores()
    many = cpu_capacity(1, num_runs=100, wanted="auto", room=100)
    assert (many.number, many.threads) == (cores, 1)
    few = cpu_capacity(1, num_runs=1, wanted="auto", room=100)
    assert (few.number, few.threads) == (1, cores)
    wide = cpu_capacity(cores, num_runs=100, wanted="auto", room=100)
    assert (wide.number, wide.threads) == (1, cores)
    assert cpu_capacity(2 * cores, num_runs=100, wanted="auto", room=100).number == 1


def test_a_gpu_for_each_worker() -> None:
    """Devices are named as the environment names them; one needs no process beside this one."""
    assert names_of(0, None) == []
    assert names_of(2, None) == ["0", "1"]
    assert names_of(2, "2, 5") == ["2", "5"]
    assert names_of(1, "GPU-4e6f,GPU-11aa") == ["GPU-4e6f"]  # the second is not there
    two = gpu_capacity(["2", "5"], num_runs=8, wanted="auto", room=8)
    assert (two.number, two.devices) == (2, ["2", "5"])
    four = gpu_capacity(["2", "5"], num_runs=8, wanted=4, room=8)
    assert [four.device(worker) for worker in range(4)] == ["2", "5", "2", "5"]
    assert TWO.device(1) is None
    # of whose memory each has its share
    assert [each.num_sharing for each in (two, four, TWO, Capacity())] == [1, 2, 2, 1]
    assert gpu_capacity(["2", "5"], num_runs=1, wanted="auto", room=8) == Capacity()
    assert gpu_capacity(["2"], num_runs=8, wanted="auto", room=8) == Capacity()
    assert gpu_capacity([], num_runs=8, wanted=4, room=8) == Capacity()


def test_shapes_whose_stacks_have_an_open_size_are_measured(data: Path) -> None:
    """Where a GPU could hold several of their runs: in each batch of a search, each once."""
    jobs = make(data, *(f"seed={k} model.hidden_sizes=[{size}]" for size in (4, 5) for k in (1, 2)))
    grouping = Grouping(Capacity())
    assert {stack.benchmark for stack in grouping.stacks(jobs)} == {None}
    for job in jobs:
        vars(job)["machine"] = Machine("cuda", "fp32", 1)  # as if there was one
    assert {stack.benchmark for stack in Grouping(Capacity(), 2).stacks(jobs)} == {None}
    assert [stack.benchmark for stack in grouping.stacks(jobs[:1])] == [None]
    first, second = (grouping.stacks(jobs)[0].benchmark for _ in range(2))
    assert first is second is not None
    assert len(grouping.benchmarks) == 2


def test_stacks_are_cut_evenly_and_shared_among_workers(data: Path) -> None:
    """Sizes differ by one at most; four stacks for two workers, where there are so many runs."""
    jobs = make(data, *(f"seed={k}" for k in range(10)))
    assert [len(stack) for stack in split_evenly(jobs, 4)] == [3, 3, 4]
    assert [len(stack) for stack in split_evenly(jobs, 100)] == [10]
    assert [len(stack) for stack in split_evenly(jobs[:2], 100, min_stacks=4)] == [1, 1]
    stacks = split(jobs, None, TWO)
    assert [len(stack.jobs) for stack in stacks] == [1] * 10
    stacks = split(jobs, 8, TWO)
    assert [len(stack.jobs) for stack in stacks] == [2, 3, 2, 3]
    assert numbers(stacks, for_workers=True) == list(range(10))
    assert numbers(split(jobs, None, Capacity()), for_workers=True) == []
    assert split_data(jobs[0].config, jobs[0].dataset) is split_data(
        jobs[1].config, jobs[0].dataset
    )
    assert RunDir(jobs[0].run_dir.path).status() == ""
