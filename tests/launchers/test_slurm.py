"""Stacks as jobs: on submitit's local executor as on Slurm, whatever becomes of a job."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fashion_mnist.launchers.base import Capacity
from fashion_mnist.launchers.slurm import SlurmLauncher, SlurmWorkers
from fashion_mnist.runs.request import Datasets, Request
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.sweeps.jobs import Job, make_jobs
from fashion_mnist.sweeps.training import TrainingSetup
from tests.builders import data_overrides, make_config, make_data, train_jobs
from tests.faults.processes import end_session, start_console_script, wait_for
from tests.training.test_contract import ATOL, RTOL

pytestmark = pytest.mark.long

pytest.importorskip("submitit")

SMALL = ("training.threads=2", "model.hidden_sizes=[6]", "training.checkpoint_seconds=0")
LOCAL = SlurmLauncher(
    cluster="local",
    cpus=1,
    gpus=0,
    minutes=60,
    array_parallelism=2,
    retries=3,
    requeues=3,
    signal_seconds=120,
)


@pytest.fixture
def workers() -> Iterator[SlurmWorkers]:
    """The launcher, for two jobs at a time."""
    two = Capacity(2, 1, is_here=False, is_filled=False)
    with LOCAL.open(two, Path("outputs/sweeps/some").absolute()) as workers:
        yield workers


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def make(data: Path, *variants: str, output_dir: str = "outputs") -> list[Job]:
    """A job for each variant."""
    words = (*SMALL, f"output_dir={output_dir}")
    configs = [make_config(data, *words, *variant.split()) for variant in variants]
    return make_jobs(
        [Request(config, auto=False) for config in configs], Datasets(), first_number=0
    )


def test_jobs_that_die_make_way_or_are_stopped_lose_nothing(
    data: Path, workers: SlurmWorkers, caplog: pytest.LogCaptureFixture
) -> None:
    """One is killed and sent again; one is told that its time is over, requeued, and stopped."""
    short = [f"seed={seed} training.epochs=60" for seed in range(2)]
    jobs = make(data, *short, *(f"seed={seed} training.epochs=100000" for seed in range(2)))
    killed, requeued = jobs[0].run_dir, jobs[2].run_dir
    hit = dict[signal.Signals, int]()  # how many epochs it had done then

    def disturb() -> None:
        for number, run in ((signal.SIGKILL, killed), (signal.SIGUSR2, requeued)):
            if number not in hit and len(run.history()) > 2:
                hit[number] = len(run.history())
                os.kill(int(run.tags()["mlflow.fmnist.pid"]), number)
        is_on_again = "Requeued" in said() and len(requeued.history()) > 2 * hit[signal.SIGUSR2]
        # both runs of the stack: the second is recorded after the first
        is_over = all(job.run_dir.status() == "FINISHED" for job in jobs[:2])
        if is_on_again and requeued.status() == "RUNNING" and is_over:
            raise StopRequested(signal.SIGINT)

    def said() -> str:
        return "".join(path.read_text() for path in workers.folder.glob("*/*_log.out"))

    setup = TrainingSetup(workers, check_for_stop=disturb)
    with pytest.raises(StopRequested):
        train_jobs(jobs, setup, max_stack_size=2)
    assert caplog.text.count("its runs go on in another") == 1
    assert said().count("Requeued job") == 1
    assert [job.run_dir.status() for job in jobs] == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert [job.run_dir.epoch() for job in jobs[2:]] == [len(requeued.history())] * 2
    assert {job.run_dir.tags()["threads"] for job in jobs} == {"2"}
    here = make(data, *short, output_dir="here")
    train_jobs(here)
    for job, alone in zip(jobs, here, strict=False):  # a stack of two went on as it was
        expected = load_file(alone.run_dir.model)
        for name, tensor in load_file(job.run_dir.model).items():
            torch.testing.assert_close(tensor, expected[name], rtol=RTOL, atol=ATOL)


def test_ctrl_c_is_one_line(data: Path, tmp_path: Path) -> None:
    """A terminal sends it to submitit's processes too: they end without a traceback, runs saved."""
    words = ["train", "-m", "hydra/launcher=stacked_submitit", "hydra.launcher.cluster=local"]
    words += ["hydra.launcher.cpus=1", *data_overrides(data), *SMALL, "tracking.uri=null"]
    words += ["data.validation_size=20", "training.batch_size=16", "training.epochs=1000000"]
    words += ["seed=0,1"]
    child = start_console_script(words, tmp_path)
    try:
        logs = tmp_path / "outputs" / "runs"
        wait_for(lambda: child.poll() is not None or list(logs.glob("*/checkpoint.*")), "a state")
        assert child.poll() is None, child.text()
        child.send(signal.SIGINT, to_group=True)
        assert child.wait() == 128 + signal.SIGINT, child.text()
        assert "Traceback" not in child.text()
        statuses = {RunDir(path).status() for path in logs.iterdir() if RunDir(path).checkpoints()}
        assert statuses == {"KILLED"}
        child.wait_for_session()
    finally:
        end_session(child.pid)


def test_options_reach_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file that is given to sbatch; what was not said is not there."""
    from fashion_mnist.launchers.slurm import build_executor

    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    slurm = replace(LOCAL, cluster="slurm", cpus=3, gpus=1, minutes=90)
    slurm = replace(slurm, partition="short", memory=4, setup=["ml cuda"])
    assert slurm.problems() == []
    executor = build_executor(slurm, tmp_path)._executor
    text = executor._make_submission_file_text(executor._submitit_command_str, "id")
    for line in (
        "partition=short",
        "mem=4GB",
        "cpus-per-task=3",
        "gpus-per-node=1",
        "time=90",
        "signal=USR2@120",
    ):
        assert f"#SBATCH --{line}\n" in text
    assert "ml cuda" in text
    assert "qos" not in text


def test_options_are_checked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what is allowed and what came; Slurm must be there."""
    monkeypatch.setenv("PATH", "")
    problems = replace(LOCAL, cluster="slurm", cpus=0, retries=-1).problems()
    assert [problem.partition(" must ")[0] for problem in problems] == [
        "hydra.launcher.cpus",
        "hydra.launcher.retries",
        "hydra.launcher.cluster",
    ]
    assert "slurm or local" in replace(LOCAL, cluster="slrm").problems()[0]
