"""Stacks in a Ray cluster of several nodes: the bits of this machine, whatever happens to a node.

The nodes are processes on this machine. Each has a home folder of its own, and else shares the
disk; where a test says that nothing is shared, the nodes believe it.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fashion_mnist.config.compose import Composer
from fashion_mnist.config.messages import RunError
from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers import ray as ray_launcher
from fashion_mnist.launchers.base import Capacity
from fashion_mnist.launchers.ray import RayLauncher, RayWorkers
from fashion_mnist.launchers.remote import Storage
from fashion_mnist.runs.request import Datasets, Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.sweeps.definition import read_sweep
from fashion_mnist.sweeps.jobs import Job, make_jobs
from fashion_mnist.sweeps.runner import run_sweep
from fashion_mnist.sweeps.training import TrainingSetup
from fashion_mnist.training.device import Machine
from tests.builders import data_overrides, make_config, make_data, train_jobs
from tests.sweeps.recorded_jobs import RecordedJobs

pytestmark = pytest.mark.long

pytest.importorskip("ray")

SMALL = ("training.epochs=2", "training.threads=2", "model.hidden_sizes=[6]")
NOWHERE = Path("/nowhere")
FMNIST = Path(sys.executable).with_name("fmnist")


class Nodes:
    """A cluster on this machine: a head and another node, each with room for one stack."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster(
            initialize_head=True, head_node_args=self._words("head") | {"include_dashboard": False}
        )
        self.others = [self.cluster.add_node(**self._words("other"))]

    def _words(self, name: str) -> dict[str, Any]:
        """Of a node whose home folder has that name."""
        (self.folder / name).mkdir()
        return {"num_cpus": 1, "env_vars": {"HOME": str(self.folder / name)}}

    def kill_one(self) -> None:
        """A power cut."""
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """One cluster for all tests here: it takes some seconds to start."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.cluster.shutdown()  # type: ignore[no-untyped-call]  # as Ray has it


@pytest.fixture(scope="module")
def workers(nodes: Nodes) -> Iterator[RayWorkers]:
    """The launcher, connected once: each connection starts processes anew."""
    launcher = RayLauncher(nodes.cluster.address, cpus=1, gpus=0, retries=3)
    with launcher.open(launcher.capacity([], 8, "auto"), nodes.folder / "outputs") as workers:
        yield workers


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def make(data: Path, *variants: str, output_dir: str = "outputs") -> list[Job]:
    """A job for each variant."""
    own = [
        make_config(data, *SMALL, f"output_dir={output_dir}", *variant.split())
        for variant in variants
    ]
    return make_jobs([Request(config, auto=False) for config in own], Datasets(), first_number=0)


def weights(jobs: Sequence[Job]) -> list[str]:
    """Which networks the runs are."""
    return [job.run_dir.tags()["weights_sha256"] for job in jobs]


def weights_here(data: Path, *variants: str) -> list[str]:
    """Which networks the same runs are in this process."""
    jobs = make(data, *variants, output_dir="here")
    train_jobs(jobs)
    return weights(jobs)


def statuses(jobs: Sequence[Job]) -> set[str]:
    """What became of runs."""
    return {job.run_dir.status() for job in jobs}


def when(condition: Callable[[], bool], act: Callable[[], None]) -> Callable[[], None]:
    """Something that is asked again and again, and acts once, when the condition holds."""
    done = list[bool]()

    def check() -> None:
        if not done and condition():
            done.append(True)
            act()

    return check


@dataclass(frozen=True)
class OpenLauncher:
    """A launcher whose workers are open already."""

    workers: RayWorkers

    def problems(self) -> list[str]:
        """None."""
        return []

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """That of the workers."""
        return self.workers.capacity

    def open(self, capacity: Capacity, folder: Path) -> AbstractContextManager[RayWorkers]:
        """The workers, which stay open."""
        return nullcontext(self.workers)


def test_the_bits_are_those_of_this_machine(data: Path, workers: RayWorkers) -> None:
    """Different shapes, both nodes, threads as asked for; Ray itself would have them at one."""
    variants = [f"seed={k} model.hidden_sizes=[{6 + k % 2}]" for k in range(8)]
    # a sum over a batch so large that torch shares it out has other bits on one thread
    variants += ["model.normalization=batch model.hidden_sizes=[2500] training.epochs=1"]
    jobs = make(data, *variants)
    results = train_jobs(jobs, TrainingSetup(workers=workers))
    assert [results[job.fingerprint].error for job in jobs] == [None] * 9
    assert weights(jobs) == weights_here(data, *variants)
    assert {job.run_dir.tags()["threads"] for job in jobs} == {"2"}
    assert len({job.run_dir.tags()["mlflow.fmnist.pid"] for job in jobs} - {str(os.getpid())}) == 2
    assert (workers.capacity.number, workers.capacity.threads) == (2, 1)


def test_runs_come_back_where_nothing_is_shared(data: Path, workers: RayWorkers) -> None:
    """Whole, also those that were begun here and go on there; a failure is that of its run."""
    variants = ["seed=0 training.epochs=4", "optimizer=sgd optimizer.lr=1.0e+30", "seed=2"]
    jobs = make(data, *variants)

    def stop() -> None:
        if jobs[0].run_dir.history():
            raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(jobs[:1], TrainingSetup(check_for_stop=stop))
    assert jobs[0].run_dir.epoch() > 0
    begun = jobs[0].run_dir.history()
    shared, workers._storage = workers._storage, Storage(NOWHERE, NOWHERE / "marker")
    try:
        train_jobs(jobs, TrainingSetup(workers=workers))
    finally:
        workers._storage = shared
    assert [job.run_dir.status() for job in jobs] == ["FINISHED", "FAILED", "FINISHED"]
    assert jobs[0].run_dir.history()[: len(begun)] == begun
    assert not jobs[0].run_dir.checkpoints()
    assert (jobs[0].run_dir.artifacts / "validation" / "confusion_matrix.png").exists()
    here = weights_here(data, variants[0], variants[2])
    assert weights([jobs[0], jobs[2]]) == here


def test_no_archive_is_made_for_a_cluster_of_this_machine(
    data: Path, workers: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks see the run directories; to pack thousands before the first step takes long."""
    jobs = make(data, "seed=0 training.epochs=4")

    def stop() -> None:
        if jobs[0].run_dir.history():
            raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(jobs, TrainingSetup(check_for_stop=stop))
    assert jobs[0].run_dir.epoch() > 0

    def pack(folder: Path) -> bytes:
        raise AssertionError(folder)

    monkeypatch.setattr(ray_launcher, "pack_run_dir", pack)
    workers._begin()
    here = replace(workers, _launcher=RayLauncher())
    train_jobs(jobs, TrainingSetup(workers=here))
    assert jobs[0].run_dir.status() == "FINISHED"
    assert jobs[0].run_dir.tags()["mlflow.fmnist.pid"] != str(os.getpid())


def test_a_search_tries_several_settings_at_once(data: Path, workers: RayWorkers) -> None:
    """As many trials as are wanted, told to the search, with the bits of this machine."""
    words = [
        *data_overrides(data),
        *SMALL,
        "data.validation_size=20",
        "training.batch_size=16",
        "tracking.uri=null",
        "sweep.sampler=random",
        "sweep.n_trials=6",
        "model.dropout=choice(0.0,0.1,0.2)",
        "optimizer.lr=interval(1e-4,1e-2)",
    ]
    sweep = read_sweep(words, Composer())
    assert run_sweep(sweep, RecordedJobs(OpenLauncher(workers)), dry_run=False) == 0
    runs = [RunDir(path) for path in Path("outputs/runs").glob("*")]
    assert len(runs) == 6
    assert {run.status() for run in runs} == {"FINISHED"}
    trained_by = {run.tags()["mlflow.fmnist.pid"] for run in runs}
    assert trained_by - {str(os.getpid())}


def test_other_data_on_a_node_ends_the_sweep(
    data: Path, workers: RayWorkers, tmp_path: Path
) -> None:
    """With the folder that is meant and both digests; nothing is trained on it."""
    own = tmp_path / "own"
    own.symlink_to(data)
    jobs = make(own, *(f"seed={k} training.epochs=2000" for k in range(4)))
    own.unlink()
    own.symlink_to(make_data(tmp_path / "other", num_train=91))  # is what the nodes find there
    with pytest.raises(DataError, match=r"data.dir must hold the same data") as caught:
        train_jobs(jobs, TrainingSetup(workers))
    assert str(own) in str(caught.value)
    assert jobs[0].dataset.sha256[:16] in str(caught.value)
    assert "FINISHED" not in statuses(jobs)


def test_a_request_to_stop_saves_every_node(data: Path, workers: RayWorkers) -> None:
    """Runs are killed at a whole epoch, those that wait are not begun; the cluster works on."""
    jobs = make(data, *(f"seed={k} training.epochs=100000" for k in range(4)))

    def stop() -> None:
        if sum(len(job.run_dir.history()) > 2 for job in jobs) == 2:
            raise StopRequested(signal.SIGINT)

    with pytest.raises(StopRequested):
        train_jobs(jobs, TrainingSetup(workers, check_for_stop=stop))
    begun = [job for job in jobs if job.run_dir.status()]
    assert len(begun) == 2
    assert statuses(begun) == {"KILLED"}
    assert all(job.run_dir.epoch() > 2 for job in begun)


def test_a_node_that_dies_loses_nothing(
    data: Path, workers: RayWorkers, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its stack goes on at the other one, from its checkpoint, to the same bits."""
    variants = [f"seed={k} training.epochs=150 training.checkpoint_seconds=0" for k in range(4)]
    jobs = make(data, *variants)

    def both_are_at_work() -> bool:
        begun = [job.run_dir for job in jobs if job.run_dir.status() == "RUNNING"]
        return sum(len(folder.history()) > 2 for folder in begun) == 2

    kill_one = when(both_are_at_work, nodes.kill_one)
    setup = TrainingSetup(workers, check_for_stop=kill_one)
    results = train_jobs(jobs, setup)
    assert not nodes.others
    assert [results[job.fingerprint].error for job in jobs] == [None] * 4
    assert [len(job.run_dir.history()) for job in jobs] == [150] * 4
    assert "a worker died" in caplog.text
    assert weights(jobs) == weights_here(data, *variants)


def test_an_address_without_a_cluster_is_named(data: Path) -> None:
    """At once, by the command; Ray itself would try for minutes."""
    own = [*data_overrides(data), "data.validation_size=20", "training.batch_size=16"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = [
            "-m",
            "seed=0,1",
            "hydra/launcher=stacked_ray",
            f"hydra.launcher.address={address}",
        ]
        command = [str(FMNIST), "train", *own, *SMALL, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stderr
    assert done.stdout + done.stderr == f"no Ray cluster at {address}: Connection refused\n"
    assert not Path("outputs").exists()


def test_a_cluster_of_this_machine_that_does_not_start_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With Ray's reason."""
    import ray

    def fail(**_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(RunError) as caught:
        RayLauncher(address=None, cpus=1, gpus=0, retries=3).connect()
    assert str(caught.value) == "Ray does not start on this machine: No space left on device"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words that install it."""
    launcher = RayLauncher(address=None, cpus=1, gpus=0, retries=3)
    assert launcher.problems() == []
    monkeypatch.setitem(sys.modules, "ray", None)
    assert launcher.problems() == [
        "hydra/launcher=stacked_ray needs the package ray: pip install -e '.[ray]'"
    ]


def test_options_are_checked_together() -> None:
    """Each with what is allowed and what came."""
    problems = RayLauncher(address=None, cpus=1000, gpus=1.5, retries=-2).problems()
    assert [problem.partition(" must ")[0] for problem in problems] == [
        "hydra.launcher.gpus",
        "hydra.launcher.retries",
        "hydra.launcher.cpus",
    ]
