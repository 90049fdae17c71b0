"""SIGINT, SIGTERM and SIGHUP at every stage of a run and a sweep: saved, said, and gone on with."""

import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fashion_mnist.maintenance.clean import PART, clean
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import STOPPING
from fashion_mnist.tracking.upload_state import uploads
from tests.builders import data_overrides, make_data
from tests.faults.processes import (
    Child,
    ForkServer,
    kill_uploaders,
    start_console_script,
    wait_for,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc"),
]
NAMES = [signal.Signals(number).name for number in STOPPING]
EVERY_SIGNAL = pytest.mark.parametrize("number", STOPPING, ids=NAMES)
NOWHERE = "tracking.uri=null"
SMALL = ("data.validation_size=20", "training.batch_size=16", "training.threads=1", "model.width=8")
ENDLESS = "training.epochs=100000"
GRACE_SECONDS = 30  # that Kubernetes and Slurm give


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many pictures that an epoch takes its time."""
    folder = tmp_path_factory.mktemp("large") / "data"
    return make_data(folder, num_train=20_000, image_shape=(28, 28))


def command(data: Path, *overrides: str) -> list[str]:
    """`fmnist` is to train on that data."""
    return ["train", *data_overrides(data), *SMALL, *overrides]


def runs(kind: str = "runs") -> list[RunDir]:
    """In the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs", kind).glob("*"))]


def is_at(status: str) -> bool:
    """Whether a run stands there."""
    return status in [run.status() for run in runs()]


def assert_stopped(child: Child, number: signal.Signals) -> None:
    """It ended in time, with the signal's status, without a traceback, and left nobody behind."""
    status = child.wait(GRACE_SECONDS)
    assert status == 128 + number, child.text()
    assert f"stopped by {number.name}" in child.text()
    assert "Traceback" not in child.text()
    child.wait_for_session(GRACE_SECONDS)


def assert_saved() -> None:
    """Every run that was not finished is killed, and its last whole epoch is on the disk."""
    for run in runs():
        assert run.status() in ("KILLED", "FINISHED")
        if run.status() == "KILLED":
            assert run.epoch() == len(run.history())


@EVERY_SIGNAL
def test_at_the_start_nothing_is_left(number: signal.Signals, data: Path, tmp_path: Path) -> None:
    """While libraries are imported a signal is one line."""
    child = start_console_script(command(data, NOWHERE), tmp_path)
    wait_for(lambda: hears(child.pid) or child.poll() is not None, "the first handler")
    child.send(number)
    assert_stopped(child, number)
    assert child.text() == f"stopped by {number.name}\n"
    assert not Path("outputs").exists()


def hears(pid: int) -> bool:
    """Whether the last of the handlers is there; SIGINT is Python's own from the start."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (STOPPING[-1] - 1) & 1)


def reads_pictures(child: Child) -> bool:
    """Whether the training images are open; or were, for that moment is short."""
    names = set()
    for path in Path(f"/proc/{child.pid}/fd").glob("*"):
        with suppress(FileNotFoundError):  # closed since
            names.add(path.readlink().name)
    return "train-images-idx3-ubyte" in names or "training on" in child.text()


PHASES: dict[str, Callable[[Child], bool]] = {
    "while data is read": reads_pictures,
    "before the first step": lambda _: is_at("RUNNING"),
    "in the middle of an epoch": lambda child: "training on" in child.text(),
}


@EVERY_SIGNAL
@pytest.mark.parametrize("phase", PHASES)
def test_before_the_first_epoch_ends(
    server: ForkServer, large: Path, tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    """There is no epoch to save; what was begun is killed."""
    child = server.start(command(large, NOWHERE, "training.batch_size=1"), tmp_path)
    wait_for(lambda: PHASES[phase](child) or child.poll() is not None, phase)
    child.send(number)
    assert_stopped(child, number)
    assert "epoch 1/" not in child.text()
    assert_saved()


@EVERY_SIGNAL
def test_between_epochs_the_last_one_is_saved(
    server: ForkServer, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The run is killed, and how to go on is said."""
    child = server.start(command(data, NOWHERE, ENDLESS), tmp_path)
    child.wait_for_text("epoch      9/")
    child.send(number)
    assert_stopped(child, number)
    assert "the same command goes on" in child.text()
    assert_saved()
    assert is_at("KILLED")
    assert runs()[0].epoch() >= 9


@EVERY_SIGNAL
def test_while_pictures_are_drawn_the_run_is_finished(
    server: ForkServer, data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """That takes a second or two; the status tells of the signal all the same."""
    child = server.start(command(data, NOWHERE, "training.epochs=2"), tmp_path)
    wait_for(lambda: any(run.model.exists() for run in runs()), "the network")
    child.send(number)
    assert_stopped(child, number)
    assert "the run is finished" in child.text()
    assert is_at("FINISHED")
    assert server.start(command(data, NOWHERE, "training.epochs=2"), tmp_path).wait() == 0


def test_a_second_signal_ends_a_run_that_saves(
    server: ForkServer, data: Path, tmp_path: Path
) -> None:
    """At once, with its own status; the same command goes on from the checkpoint before."""
    wide = command(data, NOWHERE, "training.epochs=4", "model.width=1500", "model.depth=3")
    child = server.start(wide, tmp_path)
    child.wait_for_text("epoch 2/")
    child.send(signal.SIGTERM)
    wait_for(lambda: list(Path("outputs/runs").glob("*/.checkpoint*.part*")), "the saving")
    child.send(signal.SIGINT)
    assert_stopped(child, signal.SIGINT)
    assert "the same command goes on" not in child.text()
    again = server.start(wide, tmp_path)
    assert again.wait() == 0, again.text()
    assert is_at("FINISHED")
    assert [left.kind for left in clean(Path("outputs"), unfinished=False, delete=False)] == [PART]


def test_what_nohup_ignores_stays_ignored(server: ForkServer, data: Path, tmp_path: Path) -> None:
    """The end of the terminal does not end the run."""
    words = command(data, NOWHERE, "training.epochs=300")
    child = server.start(words, tmp_path, ignored=[signal.SIGHUP])
    child.wait_for_text("epoch   3/")
    child.send(signal.SIGHUP)
    assert child.wait() == 0, child.text()
    assert is_at("FINISHED")


LAUNCHERS = {
    "one process": ["sweep.processes=1"],
    "two processes": ["sweep.processes=2"],
    "basic": ["hydra/launcher=basic"],
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_is_stopped_whole(
    server: ForkServer, data: Path, tmp_path: Path, launcher: str, number: signal.Signals
) -> None:
    """The terminal and Slurm send a signal to every process; the parent hears it for all."""
    sweep = command(data, NOWHERE, ENDLESS, *LAUNCHERS[launcher], "-m", "model.width=5,6")
    child = server.start(sweep, tmp_path)
    wait_for(lambda: any(len(run.history()) > 3 for run in runs()), "some epochs")
    child.send(number, to_group=True)
    assert_stopped(child, number)
    assert_saved()
    assert [sweep.status() for sweep in runs("sweeps")] == ["KILLED"]
    assert is_at("KILLED")


def test_between_two_jobs_a_signal_is_not_lost(
    server: ForkServer, data: Path, tmp_path: Path
) -> None:
    """Hydra's own launcher would begin the next."""
    sweep = command(data, NOWHERE, "training.epochs=1", "hydra/launcher=basic", "-m")
    child = server.start([*sweep, "seed=range(30)"], tmp_path)
    child.wait_for_text("#1 :")
    child.send(signal.SIGHUP)
    assert_stopped(child, signal.SIGHUP)
    assert len(runs()) < 10
    assert_saved()


def test_while_a_sweep_is_summed_up_it_is_finished(
    server: ForkServer, data: Path, tmp_path: Path
) -> None:
    """The runs are all there; so are the summary and the parent's last word."""
    words = ("training.epochs=2", "sweep.processes=1", "-m", "model.width=5,6")
    child = server.start(command(data, NOWHERE, *words), tmp_path)
    wait_for(lambda: [run.status() for run in runs()] == ["FINISHED"] * 2, "the end of training")
    child.send(signal.SIGTERM)
    assert_stopped(child, signal.SIGTERM)
    assert [sweep.status() for sweep in runs("sweeps")] == ["FINISHED"]
    assert (runs("sweeps")[0].artifacts / "summary.html").exists()


def test_the_store_is_told_before_the_program_ends(
    server: ForkServer, large: Path, tmp_path: Path
) -> None:
    """A container takes the uploader with it: the run must not stand there as running."""
    child = server.start(command(large, ENDLESS), tmp_path)
    try:
        wait_for(lambda: any(run_ids()), "the run in the store")
        child.send(signal.SIGTERM)
        assert_stopped(child, signal.SIGTERM)
        [run_id] = run_ids()
        run = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_run(run_id)
        assert run.info.status == "KILLED", child.text()
    finally:
        kill_uploaders(tmp_path / "outputs")


def run_ids() -> list[str]:
    """What the store calls the runs, where it has them."""
    return [
        known.state.run_id for run in runs() for known in uploads(run.path) if known.state.run_id
    ]


@pytest.mark.parametrize("sent", [[signal.SIGHUP], [signal.SIGINT, signal.SIGTERM]], ids=str)
def test_while_it_waits_for_the_store_it_leaves_soon(
    server: ForkServer, data: Path, tmp_path: Path, sent: list[signal.Signals]
) -> None:
    """Within the grace, and at a second signal at once; trained, and said to be not yet sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"tracking.uri=http://127.0.0.1:{silent.getsockname()[1]}"
        child = server.start(command(data, uri, "training.epochs=2"), tmp_path)
        try:
            wait_for(lambda: is_at("FINISHED"), "the end of training")
            for number in sent:
                child.send(number)
            assert_stopped(child, sent[-1])
        finally:
            kill_uploaders(tmp_path / "outputs")
    if len(sent) == 1:
        assert "`fmnist sync` will send it" in child.text()
        assert "the run is finished" in child.text()
