"""Nobody reads what a run says, or nobody can: it goes on, is recorded once, and ends well."""

import fcntl
import os
import shlex
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from fashion_mnist.runs.run_dir import RunDir
from tests.builders import data_overrides, make_data
from tests.faults.processes import (
    FMNIST,
    OUTPUT,
    ForkServer,
    kill_uploaders,
    wait_for,
)
from tests.faults.records import assert_recorded_once

pytestmark = pytest.mark.long

EPOCHS = 50
SMALL = ("data.validation_size=20", "training.batch_size=16", "training.threads=1", "model.width=8")
WORDS = (*SMALL, f"training.epochs={EPOCHS}")
NOWHERE = "tracking.uri=null"
SWEEP = ("sweep.processes=1", "-m", "seed=0,1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def runs() -> list[RunDir]:
    """In the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs/runs").glob("*"))]


def assert_all_is_there(number: int = 1) -> None:
    """So many runs, finished, with every epoch."""
    assert [run.status() for run in runs()] == ["FINISHED"] * number
    assert [len(run.history()) for run in runs()] == [EPOCHS] * number


def pipe_to_head(words: Sequence[str], pipe: str) -> subprocess.CompletedProcess[str]:
    """`fmnist WORDS PIPE head -n 1`, with the exit status of fmnist."""
    line = f"{shlex.join([str(FMNIST), *words])} {pipe} head -n 1; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=240)


def test_head_reads_the_first_line_alone(data: Path, tmp_path: Path) -> None:
    """The run goes on, to its place in the store; all that was said is in Hydra's log."""
    try:
        done = pipe_to_head(["train", *data_overrides(data), *WORDS], "|")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("training on 70 images")
        assert done.stderr == ""
        assert_all_is_there()
        [log] = Path("outputs/hydra").rglob("train.log")
        assert f"epoch {EPOCHS}/{EPOCHS}" in log.read_text()
        assert_recorded_once(f"sqlite:///{tmp_path / 'mlflow.db'}", Path("outputs"))
    finally:
        kill_uploaders(tmp_path / "outputs")


def test_head_reads_the_first_line_of_a_mistake(data: Path) -> None:
    """On standard error; it is a mistake all the same."""
    words = ["train", *data_overrides(data), "optimizer.lr=-1", "model.widht=3"]
    done = pipe_to_head(words, "2>&1 |")
    assert done.returncode == 2
    assert done.stdout == "2 mistakes:\n"


CLOSED, FULL = None, "/dev/full"
STREAMS = [
    pytest.param(CLOSED, CLOSED, (), id="both closed"),
    pytest.param(FULL, FULL, (), id="both full"),
    pytest.param(CLOSED, OUTPUT, (), id="output closed"),
    pytest.param(FULL, OUTPUT, (), id="output full"),
    pytest.param(CLOSED, CLOSED, SWEEP, id="a sweep, both closed"),
    pytest.param(FULL, OUTPUT, SWEEP, id="a sweep, output full"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.parametrize(("stdout", "stderr", "sweep"), STREAMS)
def test_streams_that_take_nothing(
    server: ForkServer,
    data: Path,
    tmp_path: Path,
    stdout: str | None,
    stderr: str | None,
    sweep: tuple[str, ...],
) -> None:
    """Standard output is closed or on a full disk, and standard error too or not."""
    words = ["train", *data_overrides(data), *WORDS, NOWHERE, *sweep]
    child = server.start(words, tmp_path, stdout=stdout, stderr=stderr)
    assert child.wait() == 0, child.text()
    assert child.text() == ""
    assert_all_is_there(2 if sweep else 1)


def test_a_reader_that_goes_ends_no_sweep(server: ForkServer, data: Path, tmp_path: Path) -> None:
    """Its lines come from the parent, and from nowhere else."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ["train", *data_overrides(data), *WORDS, NOWHERE, "sweep.processes=2", "-m", "seed=0,1"]
    child = server.start(words, tmp_path, stdout=str(pipe))
    with pipe.open() as reader:
        assert "2 jobs" in reader.readline()
    assert child.wait() == 0, child.text()
    assert child.text() == ""
    assert_all_is_there(2)


def test_a_reader_that_is_late_is_waited_for(
    server: ForkServer, data: Path, tmp_path: Path
) -> None:
    """A pipe that is full holds the run up, and no longer than until somebody reads."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ["train", *data_overrides(data), *SMALL, NOWHERE, "training.epochs=200"]
    child = server.start(words, tmp_path, stdout=str(pipe))
    with pipe.open("rb", buffering=0) as reader:
        capacity = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        wait_for(lambda: waiting_in(reader.fileno()) > capacity - 100, "the full pipe")
        assert child.poll() is None
        text = b"".join(iter(lambda: reader.read(65536), b"")).decode()
    assert child.wait() == 0, child.text()
    assert [line.split()[1] for line in text.splitlines() if line.startswith("epoch")] == [
        f"{epoch}/200" for epoch in range(1, 201)
    ]
    assert child.text() == ""
    assert len(runs()[0].history()) == 200


def waiting_in(pipe: int) -> int:
    """Bytes that nobody has read yet."""
    answer = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, "little")
