"""A disk that takes no more: full, out of files, read only, closed to us; and then there is room.

The promise in all of these: one line that names a file and what to do, exit status 1, never a
traceback; what was learned and recorded is kept; and the same command, given room, goes on to the
weights and the record of a run that was never disturbed.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fashion_mnist.config.messages import RunError
from fashion_mnist.config.schema import Config
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Request, find_run, identify
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.uploader import sync
from fashion_mnist.training.stack import HistoryRow, Stack
from tests.builders import QUIET, data_overrides, load, make_config, make_data
from tests.faults.disks import MakeDisk
from tests.faults.processes import FMNIST, Child, ForkServer, fork_server, kill_uploaders
from tests.faults.records import assert_recorded_once, read_log
from tests.training.test_contract import ATOL, RTOL

pytestmark = pytest.mark.long

SMALL = (
    *("data.validation_size=20", "training.batch_size=16", "model.width=32", "training.epochs=3"),
    *("training.threads=1", "training.checkpoint_seconds=0", "evaluation.test=never"),
    *("tracking.offline=always", "tracking.model=never"),
)
GOES_ON = "the same command goes on"
# root may write anywhere, but for this privilege
AS_ANYBODY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@pytest.fixture(scope="module")
def server(private_mounts: None) -> Iterator[ForkServer]:  # noqa: ARG001 (comes first)
    """One whose children see our disks."""
    with fork_server() as server:
        yield server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return load(data)


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    """A store of the test's own, on a disk with room."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return absolute_uri("sqlite:///mlflow.db", tmp_path)


@dataclass(frozen=True)
class Trainer:
    """Trains small runs in any output folder, by the command line or here."""

    server: ForkServer
    data: Path
    dataset: Dataset
    folder: Path
    uri: str

    def command(self, outputs: Path, *words: str) -> list[str]:
        """The words of `fmnist` that train."""
        return ["train", *data_overrides(self.data), *self._words(outputs), *words]

    def start(self, outputs: Path, *words: str) -> Child:
        """The same in a process of its own."""
        return self.server.start(self.command(outputs, *words), self.folder)

    def config(self, outputs: Path, *words: str) -> Config:
        """The same as a config."""
        return make_config(self.data, *self._words(outputs), *words)

    def train(self, configs: Sequence[Config], observer: Observer = QUIET) -> list[str]:
        """Train as one stack, here; what went wrong with each, in the words of the program."""
        results = train([Request(config) for config in configs], self.dataset, observer)
        assert all(isinstance(each.error, RunError | None) for each in results)
        return [str(each.error or "") for each in results]

    def weights(self, *configs: Config) -> dict[str, str]:
        """What the runs become, each alone, that nothing disturbs, by fingerprint."""
        outputs = self.folder / "undisturbed"
        for config in configs:
            assert self.train([replace(config, output_dir=str(outputs))]) == [""]
        return weights_in(outputs)

    def _words(self, outputs: Path) -> list[str]:
        return [*SMALL, f"output_dir={outputs}", f"tracking.uri={self.uri}"]


@pytest.fixture
def trainer(server: ForkServer, data: Path, dataset: Dataset, tmp_path: Path, uri: str) -> Trainer:
    return Trainer(server, data, dataset, tmp_path, uri)


def weights_in(outputs: Path) -> dict[str, str]:
    """The weights of the runs in an output folder, by fingerprint; all of them are finished."""
    folders = [RunDir(path) for path in (outputs / "runs").iterdir()]
    assert {folder.status() for folder in folders} == {"FINISHED"}
    return {folder.tags()["fingerprint"]: folder.tags()["weights_sha256"] for folder in folders}


def assert_close_to_undisturbed(trainer: Trainer, configs: Sequence[Config], outputs: Path) -> None:
    """Every network is, within the tolerance of stacks, what it becomes undisturbed."""
    assert weights_in(outputs).keys() == trainer.weights(*configs).keys()
    for run_dir in (outputs / "runs").iterdir():
        undisturbed = trainer.folder / "undisturbed" / "runs" / run_dir.name
        own, expected = (load_file(path / "model.safetensors") for path in (run_dir, undisturbed))
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, expected[name], rtol=RTOL, atol=ATOL)


def assert_told_in_a_line(child: Child, folder: Path) -> None:
    """It ends with status 1, and says in one line which file, why and what to do; no traceback."""
    assert child.wait() == 1, child.text()
    words = child.text()
    assert "Traceback" not in words, words
    assert "Logging error" not in words, words
    told = [line for line in words.splitlines() if GOES_ON in line]
    assert len(told) == 1, words
    assert str(folder) in told[0] or "output_dir, or the folder" in told[0], words


# A run takes 200 kB in 28 files and folders, and as much again on the way: from a disk that takes
# not even Hydra's folder to one that takes all but the last picture.
COMMANDS = [{"kilobytes": 4}, {"kilobytes": 16}, {"kilobytes": 80}, {"files": 14}]
SIZES = [*range(4, 40, 8), *range(40, 220, 30)]
NUMBERS = [2, 4, 6, 8, 10, 12, 15, 18]


def test_a_command_without_room_goes_on_when_there_is(
    trainer: Trainer, make_disk: MakeDisk
) -> None:
    """Whenever room or files run out: one line, and the same command ends as undisturbed."""
    expected = trainer.weights(trainer.config(Path()))
    for number, limits in enumerate(COMMANDS):
        disk = make_disk(f"disk{number}", limits)
        outputs = disk.folder / "outputs"
        assert_told_in_a_line(trainer.start(outputs), disk.folder)
        disk.make_room()
        again = trainer.start(outputs)
        assert again.wait() == 0, again.text()
        assert weights_in(outputs) == expected
        assert sync(outputs).is_complete
        assert_recorded_once(trainer.uri, outputs)


@pytest.mark.parametrize("kind", ["kilobytes", "files"])
def test_wherever_the_disk_ends_nothing_is_lost(
    kind: str, trainer: Trainer, make_disk: MakeDisk
) -> None:
    """At every few kilobytes and files of what a run writes; each is recorded as one run."""
    expected = trainer.weights(trainer.config(Path()))
    for limit in SIZES if kind == "kilobytes" else NUMBERS:
        disk = make_disk(f"disk{limit}", {kind: limit})
        config = trainer.config(disk.folder / "outputs")
        [problem] = trainer.train([config])
        assert str(disk.folder) in problem
        assert GOES_ON in problem
        disk.make_room()
        assert trainer.train([config]) == [""]
        assert weights_in(disk.folder / "outputs") == expected
        assert sync(disk.folder / "outputs").is_complete
        assert_recorded_once(trainer.uri, disk.folder / "outputs")


def test_a_checkpoint_that_cannot_be_written_is_left_out(
    trainer: Trainer, make_disk: MakeDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on with the old one and a warning, and finishes as if nothing had been."""
    disk = make_disk("disk")
    config = trainer.config(disk.folder / "outputs", "training.epochs=8")
    folder = find_run(Request(config), identify(config, trainer.dataset))
    kept: dict[int, int] = {}  # the epoch of the checkpoint, after each epoch

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        kept[stack.epoch] = folder.epoch()
        if stack.epoch == 3:
            disk.fill(leave_kilobytes=12)  # for the event log
        if stack.epoch == 6:
            disk.empty()

    with caplog.at_level(logging.WARNING):
        assert trainer.train([config], Observer(on_epoch=on_epoch)) == [""]
    assert kept == {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3, 7: 7, 8: 7}
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert all("training goes on" in warning for warning in warnings)
    assert weights_in(disk.folder / "outputs") == trainer.weights(config)


def test_an_epoch_that_cannot_be_recorded_ends_its_run_alone(
    trainer: Trainer, make_disk: MakeDisk
) -> None:
    """Of three runs in a stack, one has no room for its event log: the others finish without it."""
    outputs = trainer.folder / "outputs"
    configs = [
        trainer.config(outputs, f"seed={seed}", "training.epochs=40", "model.width=8")
        for seed in range(3)
    ]
    folders = [find_run(Request(config), identify(config, trainer.dataset)) for config in configs]
    disk = make_disk(folders[1].path.relative_to(trainer.folder))

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        if stack.epoch == 3:
            disk.fill()

    problems = trainer.train(configs, Observer(on_epoch=on_epoch))
    assert [bool(problem) for problem in problems] == [False, True, False]
    assert f"{folders[1].path / 'events.jsonl'}: No space left on device" in problems[1]
    assert [folder.status() for folder in folders[::2]] == ["FINISHED", "FINISHED"]
    told = len(folders[1].history())
    assert 3 <= told < 40
    disk.empty()
    assert trainer.train(configs) == ["", "", ""]
    epochs = [row["epoch"] for row in folders[1].history()]
    assert epochs == list(range(1, 41))
    assert_close_to_undisturbed(trainer, configs, outputs)
    assert sync(outputs).is_complete
    assert_recorded_once(trainer.uri, outputs)


def test_a_full_disk_leaves_the_log_whole(make_disk: MakeDisk) -> None:
    """What was said before the disk was full and after it had room is there, and nothing else."""
    disk = make_disk("disk", {"kilobytes": 64})
    with EventLog(disk.folder / "run") as event_log:
        disk.fill()
        refused: dict[int, str] = {}
        for step in range(1, 60):
            try:
                event_log.metrics(step, {"val/loss": 0.1})
            except OSError as error:
                refused[step] = error.filename
                if len(refused) == 3:
                    disk.empty()
    assert list(refused.values()) == [str(disk.folder / "run" / "events.jsonl")] * 3
    told = read_log(disk.folder / "run")
    assert {step for _, step in told.points} == set(range(1, 60)) - set(refused)


def test_a_sweep_without_room_goes_on_when_there_is(trainer: Trainer, make_disk: MakeDisk) -> None:
    """What was trained by then is kept; the same sweep trains the rest, and is recorded once."""
    disk = make_disk("disk", {"kilobytes": 700})
    outputs = disk.folder / "outputs"
    sweep = ("-m", "seed=range(6)")
    short = trainer.start(outputs, *sweep)
    assert short.wait() == 1, short.text()
    assert "Traceback" not in short.text()
    assert "Logging error" not in short.text()
    told = [line for line in short.text().splitlines() if GOES_ON in line]
    assert any(f"{disk.folder}/outputs" in line for line in told), short.text()
    disk.make_room()
    again = trainer.start(outputs, *sweep)
    assert again.wait() == 0, again.text()
    seeds = [trainer.config(outputs, f"seed={seed}") for seed in range(6)]
    assert weights_in(outputs) == trainer.weights(*seeds)
    assert sync(outputs).is_complete
    assert_recorded_once(trainer.uri, outputs)


def test_a_run_that_cannot_be_kept_does_not_hold_up_its_sweep(
    trainer: Trainer, make_disk: MakeDisk
) -> None:
    """The others are finished and summed up; of this one a line says why."""
    outputs = trainer.folder / "outputs"
    widths = (8, 16, 32)
    configs = [trainer.config(outputs, f"model.width={width}") for width in widths]
    blocked = find_run(Request(configs[1]), identify(configs[1], trainer.dataset)).path
    disk = make_disk(blocked.relative_to(trainer.folder))
    disk.set_writable(False)
    sweep = ("-m", f"model.width={','.join(map(str, widths))}")
    first = trainer.start(outputs, *sweep)
    assert first.wait() == 1, first.text()
    assert "Traceback" not in first.text()
    [line] = [line for line in first.text().splitlines() if str(blocked) in line]
    assert line.startswith("width=16: ")
    assert GOES_ON in line
    assert "1 without a result" in first.text()
    assert len(list(outputs.glob("sweeps/*/artifacts/summary.html"))) == 1
    disk.set_writable(True)
    again = trainer.start(outputs, *sweep)
    assert again.wait() == 0, again.text()
    assert weights_in(outputs) == trainer.weights(*configs)


def test_a_folder_that_became_read_only_is_left_as_it_is(
    trainer: Trainer, make_disk: MakeDisk
) -> None:
    """Training, sending and showing say so in a line each; written again, the run goes on."""
    disk = make_disk("disk", {"kilobytes": 150})
    outputs = disk.folder / "outputs"
    trainer.train([config := trainer.config(outputs)])  # ends half-way for want of room
    disk.set_writable(False)
    before = contents(disk.folder)
    store = f"sqlite:///{disk.folder}/new/mlflow.db"
    for words in (
        trainer.command(outputs),
        ["sync", "--output-dir", str(outputs)],
        ["ui", "--uri", store],
    ):
        child = trainer.server.start(words, trainer.folder)
        assert child.wait() in (1, 2), child.text()
        [line] = child.text().splitlines()
        assert str(disk.folder) in line
        assert "Read-only file system" in line or "can be written to" in line
    assert contents(disk.folder) == before
    disk.set_writable(True)
    disk.make_room()
    again = trainer.start(outputs)
    assert again.wait() == 0, again.text()
    assert weights_in(outputs) == trainer.weights(config)


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_ours_is_named(trainer: Trainer) -> None:
    """Without the right to write there nothing is begun; with it, the same command trains."""
    outputs = trainer.folder / "outputs"
    (outputs / "runs").mkdir(parents=True)
    (outputs / "runs").chmod(0o555)
    command = [*AS_ANYBODY, str(FMNIST), *trainer.command(outputs)]
    refused = subprocess.run(command, cwd=trainer.folder, capture_output=True, text=True)
    assert refused.returncode == 1, refused.stderr
    [line] = (refused.stdout + refused.stderr).splitlines()
    assert str(outputs / "runs") in line
    assert "Permission denied: let it be written" in line
    (outputs / "runs").chmod(0o755)
    assert trainer.start(outputs).wait() == 0
    assert len(weights_in(outputs)) == 1


def test_a_store_without_room_keeps_no_run_from_training(
    trainer: Trainer, make_disk: MakeDisk
) -> None:
    """The run is trained and says that it is not sent and why; `fmnist sync` sends it, once."""
    disk = make_disk("disk", {"kilobytes": 600})
    outputs, uri = trainer.folder / "outputs", f"sqlite:///{disk.folder}/mlflow.db"
    words = (f"tracking.uri={uri}", "tracking.offline=auto")
    child = trainer.start(outputs, *words)
    assert child.wait() == 0, child.text()
    assert "not sent yet" in child.text()
    assert "disk is full" in child.text()
    assert "Traceback" not in child.text()
    kill_uploaders(outputs)
    disk.make_room()
    sent = trainer.server.start(["sync", "--output-dir", str(outputs)], trainer.folder)
    assert sent.wait() == 0, sent.text()
    assert_recorded_once(uri, outputs)
