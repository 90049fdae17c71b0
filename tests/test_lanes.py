"""Stacks beside each other: the same bits, and no run lost when a process dies or must stop."""

import os
import signal
from pathlib import Path

import pytest
import torch

from fashion_mnist.config.schema import Config
from fashion_mnist.engines.devices import names_of, pin
from fashion_mnist.engines.engine import Listener, News, Task, Width
from fashion_mnist.engines.lanes import open_lanes
from fashion_mnist.engines.processes import gpu_width
from fashion_mnist.machine import Machine
from fashion_mnist.runs.request import Datasets, Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.stacks import view_data
from fashion_mnist.sweep.arrangement import cut, lay_out
from fashion_mnist.sweep.execution import Orders, train_jobs
from fashion_mnist.sweep.plan import Job, make_jobs
from fashion_mnist.sweep.threads import gives_same_bits
from tests.builders import load, make_config, make_data, train_stack

SMALL = ("training.epochs=2", "training.threads=2", "model.hidden_sizes=[6]")
TWO = Width(number=2, threads=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def make(data: Path, *variants: str) -> list[Job]:
    """A job for each variant."""
    own = [make_config(data, *SMALL, *variant.split()) for variant in variants]
    return make_jobs([Request(config, auto=False) for config in own], Datasets())


def weights(jobs: list[Job]) -> list[str]:
    """Which networks the runs are."""
    return [job.folder.tags()["weights_sha256"] for job in jobs]


def test_lanes_give_the_bits_of_one_process(data: Path, tmp_path: Path) -> None:
    """Different shapes, several stacks a lane; the record names the threads of the run alone."""
    variants = [f"seed={k} model.hidden_sizes=[{6 + k % 2}]" for k in range(6)]
    here = make(data, *variants)
    train_jobs(here, Orders(largest=2))
    there = make(data, *(f"{variant} output_dir={tmp_path / 'there'}" for variant in variants))
    with open_lanes(TWO) as lanes:
        results = train_jobs(there, Orders(largest=2, workers=lanes))
    assert weights(there) == weights(here)
    assert [results[job.identity].folder.status() for job in there] == ["FINISHED"] * 6
    assert {job.folder.tags()["threads"] for job in there} == {"2"}
    assert len({job.folder.tags()["pid"] for job in there} | {str(os.getpid())}) == 3


def test_a_lane_that_dies_loses_nothing(data: Path) -> None:
    """What it was at is trained here, from where it was."""
    jobs = make(data, *(f"seed={k} training.epochs=40" for k in range(4)))
    orders, killed = Orders(largest=2), list[int]()

    def kill_one() -> None:
        running = [job for job in jobs if len(job.folder.history()) > 2]
        if running and not killed:
            killed.append(int(running[0].folder.tags()["pid"]))
            os.kill(killed[0], signal.SIGKILL)

    orders.check_for_stop = kill_one
    with open_lanes(TWO) as orders.workers:
        train_jobs(jobs, orders)
    assert killed
    assert killed != [os.getpid()]
    assert {job.folder.status() for job in jobs} == {"FINISHED"}
    here = [job for job in jobs if job.folder.tags()["pid"] == str(os.getpid())]
    assert here
    assert [len(job.folder.history()) for job in jobs] == [40] * 4


def test_a_request_to_stop_saves_every_lane(data: Path) -> None:
    """Their runs are said to be killed, at a whole epoch, and can be gone on with."""
    jobs = make(data, *(f"seed={k} training.epochs=100000" for k in range(2)))

    def stop() -> None:
        if all(len(job.folder.history()) > 2 for job in jobs):
            raise StopRequested(signal.SIGINT)

    orders = Orders(largest=1, check_for_stop=stop)
    with pytest.raises(StopRequested), open_lanes(TWO) as orders.workers:
        train_jobs(jobs, orders)
    assert {job.folder.status() for job in jobs} == {"KILLED"}
    assert all(job.folder.epoch() > 2 for job in jobs)


def test_a_failure_in_a_lane_is_that_of_its_run(data: Path) -> None:
    """The others finish."""
    jobs = make(data, "optimizer=sgd", "optimizer=sgd optimizer.lr=1.0e+30", "seed=3")
    with open_lanes(TWO) as lanes:
        train_jobs(jobs, Orders(workers=lanes))
    assert [job.folder.status() for job in jobs] == ["FINISHED", "FAILED", "FINISHED"]


def test_lanes_without_processes_hand_everything_back() -> None:
    """As where none could be started."""
    tasks = [Task(number, [], [], [], "") for number in range(2)]

    def ignore(_word: Task | News) -> None:
        pass

    with open_lanes(Width()) as lanes:
        undone = lanes.run(tasks, Listener(ignore, ignore, lambda: None))
    assert undone == tasks


def test_bits_that_depend_on_threads_are_noticed(data: Path, tmp_path: Path) -> None:
    """What the trial says of a shape is what whole runs on one and on two threads show."""
    dataset = load(data)
    two = Machine("cpu", "fp32", 2)

    def differ(config: Config, name: str) -> bool:
        digests = []
        for threads in (1, 2):
            folder = tmp_path / f"{name}-{threads}"
            [member] = train_stack([config], dataset, Machine("cpu", "fp32", threads), folder)
            assert member.weights is not None
            digests.append([t.clone() for t in member.weights.values()])
        return not all(map(torch.equal, *digests))

    for variant in ("model.hidden_sizes=[6]", "model.normalization=batch", "model.activation=silu"):
        config = make_config(data, *SMALL, variant)
        if gives_same_bits(config, dataset, two, threads=1):
            assert not differ(config, variant)
    # a sum over a batch so large that torch shares it out has other bits on two threads
    wide = make_config(data, *SMALL, "model.normalization=batch", "model.hidden_sizes=[2500]")
    assert gives_same_bits(wide, dataset, two, threads=2)
    assert gives_same_bits(wide, dataset, two, threads=1) != differ(wide, "wide")


def test_a_gpu_for_each_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are named as the environment names them; one needs no process beside this one."""
    assert names_of(0, None) == []
    assert names_of(2, None) == ["0", "1"]
    assert names_of(2, "2, 5") == ["2", "5"]
    assert names_of(1, "GPU-4e6f,GPU-11aa") == ["GPU-4e6f"]  # the second is not there
    two = gpu_width(["2", "5"], num_runs=8, wanted="auto", room=8)
    assert (two.number, two.devices) == (2, ["2", "5"])
    four = gpu_width(["2", "5"], num_runs=8, wanted=4, room=8)
    assert [four.device(lane) for lane in range(4)] == ["2", "5", "2", "5"]
    assert TWO.device(1) is None
    assert gpu_width(["2", "5"], num_runs=1, wanted="auto", room=8) == Width()
    assert gpu_width(["2"], num_runs=8, wanted="auto", room=8) == Width()
    assert gpu_width([], num_runs=8, wanted=4, room=8) == Width()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    pin("5")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_stacks_are_cut_evenly_and_shared_among_lanes(data: Path) -> None:
    """Sizes differ by one at most; four stacks for two lanes, where there are so many runs."""
    jobs = make(data, *(f"seed={k}" for k in range(10)))
    assert [len(stack) for stack in cut(jobs, 4)] == [3, 3, 4]
    assert [len(stack) for stack in cut(jobs, 100)] == [10]
    assert [len(stack) for stack in cut(jobs[:2], 100, fewest=4)] == [1, 1]
    layout = lay_out(jobs, trials={}, largest=None, width=TWO)
    assert [len(stack) for stack in layout.beside] == [2, 3, 2, 3]
    assert [job.number for stack in layout.beside for job in stack] == list(range(10))
    assert lay_out(jobs, trials={}, largest=None, width=Width()).beside == []
    assert view_data(jobs[0].config, jobs[0].dataset) is view_data(jobs[1].config, jobs[0].dataset)
    assert RunDir(jobs[0].folder.path).status() == ""
