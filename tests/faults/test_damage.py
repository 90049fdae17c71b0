"""Whatever a disk does to a run's checkpoints, the run ends as it would have, or says why not."""

import ast
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fashion_mnist.config.messages import RunError
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.events import read_events
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Request, RequestResult, validation_accuracy_of
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.training.checkpoint import (
    CheckpointError,
    FormatError,
    load_state,
    previous,
    save_state,
    tensors_sha256,
)
from fashion_mnist.training.stack import Stack, TrainingState
from tests.builders import QUIET, data_overrides, load, make_config, make_data

pytestmark = pytest.mark.long

PACKAGE = Path(__file__).parents[2] / "fashion_mnist"
FMNIST = Path(sys.executable).with_name("fmnist")
SMALL = (
    "data.validation_size=20",
    "training.batch_size=16",
    "training.epochs=4",
    "training.threads=1",
    "training.checkpoint_seconds=0",
    "training.ema=0.9",
    "model.hidden_sizes=[6]",
    "model.dropout=0.2",
    "tracking.uri=null",
)
RANDOM_KINDS = ("truncated", "flipped", "flipped in the header", "zeroed")
DAMAGES = [(kind, seed) for kind in RANDOM_KINDS for seed in (0, 1)]
DAMAGES += [(kind, 0) for kind in ("empty", "garbage", "pickled")]


@dataclass(frozen=True)
class Interrupted:
    """Two runs that died in their fourth epoch, and what they are when nothing disturbs them."""

    data: Path
    outputs: Path
    dataset: Dataset
    configs: list[Config]
    undisturbed: list[RunDir]

    def copy(self, output_dir: Path) -> list[Config]:
        """Configs of the same two runs in a folder of their own."""
        shutil.copytree(self.outputs, output_dir)
        return [replace(config, output_dir=str(output_dir)) for config in self.configs]


def _die_in_epoch_4(stack: Stack, step: int) -> None:
    if stack.epoch == 3 and step == 2:
        raise KeyboardInterrupt  # saves nothing, as kill -9 does


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Trained once for all tests; each takes a copy."""
    root = tmp_path_factory.mktemp("interrupted")
    data = make_data(root / "data")
    dataset = load(data)
    configs = [
        make_config(data, *SMALL, f"seed={seed}", f"output_dir={root / 'outputs'}")
        for seed in (1, 2)
    ]
    with pytest.raises(KeyboardInterrupt):
        train_all(configs, dataset, Observer(on_step=_die_in_epoch_4))
    elsewhere = [replace(config, output_dir=str(root / "undisturbed")) for config in configs]
    undisturbed = [result.folder for result in train_all(elsewhere, dataset)]
    return Interrupted(data, root / "outputs", dataset, configs, undisturbed)


def train_all(
    configs: list[Config], dataset: Dataset, observer: Observer = QUIET
) -> list[RequestResult]:
    """The runs as members of a sweep on a CPU, each by itself; all die where the observer says."""
    results, death = list[RequestResult](), None
    for config in configs:
        try:
            results += train([Request(config, auto=False)], dataset, observer)
        except KeyboardInterrupt as error:
            death = error
    if death is not None:
        raise death
    return results


def run_folders(configs: list[Config], interrupted: Interrupted) -> list[RunDir]:
    """Their folders, in the order of the configs."""
    names = [folder.path.name for folder in interrupted.undisturbed]
    return [
        RunDir(Path(config.output_dir) / "runs" / name)
        for config, name in zip(configs, names, strict=True)
    ]


def damage(path: Path, kind: str, random: Random) -> bytes:
    """Damage a checkpoint; what it holds then."""
    content = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(content[:8], "little")
    match kind:
        case "truncated":
            del content[random.randrange(len(content)) :]
        case "flipped":
            content[random.randrange(header_end, len(content))] ^= 1 << random.randrange(8)
        case "flipped in the header":
            content[random.randrange(header_end)] ^= 1 << random.randrange(8)
        case "zeroed":
            start = random.randrange(len(content))
            content[start:] = bytes(len(content) - start)
        case "empty":
            content.clear()
        case "garbage":
            content[:] = random.randbytes(len(content))
        case "pickled":
            content[:] = pickle.dumps(_Exploit(path.parent / "exploited"))
    assert content != path.read_bytes()
    path.write_bytes(content)
    return bytes(content)


class _Exploit:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def points(folder: RunDir) -> list[tuple[int, str, float]]:
    """Every point as it was said, one said twice twice; but for how fast it was."""
    said = [event.content for event in read_events(folder.path) if event.kind == "metrics"]
    return sorted(
        (each["step"], key, value)
        for each in said
        for key, value in each["values"].items()
        if key not in ("images_per_second", "time")
    )


def assert_as_undisturbed(results: list[RequestResult], interrupted: Interrupted) -> None:
    """The same networks, figures and points, and no checkpoint left."""
    for result, undisturbed in zip(results, interrupted.undisturbed, strict=True):
        assert result.error is None
        assert result.folder.status() == "FINISHED"
        assert result.folder.tags()["weights_sha256"] == undisturbed.tags()["weights_sha256"]
        assert points(result.folder) == points(undisturbed)
        assert result.folder.checkpoints() == []


@pytest.mark.parametrize("which", ["newest", "previous", "both"])
@pytest.mark.parametrize(("kind", "seed"), DAMAGES)
def test_damaged_checkpoint_goes_back_to_the_last_good_one(
    interrupted: Interrupted,
    kind: str,
    which: str,
    seed: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run says so, keeps the file, and ends as undisturbed; its neighbour hears nothing."""
    configs, random = interrupted.copy(tmp_path / "outputs"), Random(f"{kind} {which} {seed}")
    folder, neighbour = run_folders(configs, interrupted)
    newest = folder.checkpoint
    damaged = {"newest": [newest], "previous": [previous(newest)]}.get(
        which
    ) or folder.checkpoints()
    held = {path: damage(path, kind, random) for path in damaged}
    back_to = {"newest": 2, "previous": 3, "both": 0}[which]
    assert (folder.epoch(), neighbour.epoch()) == (back_to, 3)

    results = train_all(configs, interrupted.dataset)
    assert_as_undisturbed(results, interrupted)
    assert not (folder.path / "exploited").exists()
    assert "recovery" not in neighbour.tags()
    if which == "previous":  # nobody needed it
        assert "recovery" not in folder.tags()
        return
    place = "its beginning" if which == "both" else "epoch 2"
    for told in (folder.tags()["recovery"], caplog.text):
        assert f"{newest} is damaged: " in told
        assert f"the run goes back to {place}" in told
    for path, content in held.items():
        assert path.with_name(f"{path.stem}.damaged-1{path.suffix}").read_bytes() == content


def test_damage_that_comes_again_overwrites_nothing(
    interrupted: Interrupted, tmp_path: Path
) -> None:
    """What was set aside before stays, and the next has the next number."""
    configs = interrupted.copy(tmp_path / "outputs")
    folder, _ = run_folders(configs, interrupted)
    held = []
    for seed in range(2):
        held.append(damage(folder.checkpoint, "garbage", Random(seed)))
        with pytest.raises(KeyboardInterrupt):
            train_all(configs, interrupted.dataset, Observer(on_step=_die_in_epoch_4))
        assert folder.epoch() == 3  # it has learned epoch 3 again
    aside = [folder.path / f"checkpoint.damaged-{number}.safetensors" for number in (1, 2)]
    assert [path.read_bytes() for path in aside] == held
    assert_as_undisturbed(train_all(configs, interrupted.dataset), interrupted)


def test_any_changed_bit_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    """Every bit of the header, and each byte of the tensors; none is another format's file."""
    path = tmp_path / "checkpoint.safetensors"
    history = [{"epoch": 1, "val/loss": 0.5}]
    save_state(path, TrainingState(1, {"model/w": torch.randn(40), "x": torch.zeros(0)}, history))
    content = path.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    flips = [(byte, bit) for byte in range(header_end) for bit in range(8)]
    flips += [(byte, byte % 8) for byte in range(header_end, len(content))]
    for byte, bit in flips:
        changed = bytearray(content)
        changed[byte] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match="is damaged") as caught:
            load_state(path)
        assert not isinstance(caught.value, FormatError), (byte, bit)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is damaged"):
            load_state(path)


def rewrite(path: Path, version: str | None) -> None:
    """Make a checkpoint one of another format, whose checksum is as that has it."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    del metadata["format"], metadata["sha256"]
    if version is not None:
        metadata |= {"format": version, "sha256": tensors_sha256(tensors)}
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("version", ["3", "5", None])
def test_checkpoint_of_another_format_is_refused_by_name(
    interrupted: Interrupted, version: str | None, tmp_path: Path
) -> None:
    """Its run is not trained and its files stay, also the older one; the neighbour goes on."""
    configs = interrupted.copy(tmp_path / "outputs")
    folder, _ = run_folders(configs, interrupted)
    rewrite(folder.checkpoint, version)
    before = {path: path.read_bytes() for path in folder.checkpoints()}
    refused, neighbour = train_all(configs, interrupted.dataset)
    found = f"has format {version}" if version else "has no format"
    with pytest.raises(
        RunError, match=f"{folder.checkpoint} {found}, .* reads format 4: "
    ) as error:
        validation_accuracy_of(refused)
    assert "begin again" in str(error.value)
    assert {path: path.read_bytes() for path in folder.checkpoints()} == before
    assert folder.status() != "FAILED"
    assert neighbour.folder.status() == "FINISHED"


@pytest.mark.parametrize("seed", range(8))
def test_a_log_that_lost_its_tail_is_filled_from_the_checkpoint(
    interrupted: Interrupted, seed: int, tmp_path: Path
) -> None:
    """Cut at any byte after its first lines: the points are there again, each once."""
    configs = interrupted.copy(tmp_path / "outputs")
    folder, _ = run_folders(configs, interrupted)
    event_log = folder.path / "events.jsonl"
    content = event_log.read_bytes()
    first_point = content.index(b'{"kind": "metrics"')
    with event_log.open("rb+") as file:
        file.truncate(Random(seed).randrange(first_point, len(content)))
    assert_as_undisturbed(train_all(configs, interrupted.dataset), interrupted)


def test_checkpoints_go_when_a_run_has_ended(interrupted: Interrupted, tmp_path: Path) -> None:
    """Both; also those that a kill between the last word and their removal left."""
    configs = interrupted.copy(tmp_path / "outputs")
    folders = run_folders(configs, interrupted)
    kept = {path: path.read_bytes() for folder in folders for path in folder.checkpoints()}
    assert len(kept) == 4

    def fail(_stack: Stack, _step: int) -> None:
        raise ValueError("wrong")

    train_all(configs[:1], interrupted.dataset, Observer(on_step=fail))
    train_all(configs[1:], interrupted.dataset)
    assert [folder.status() for folder in folders] == ["FAILED", "FINISHED"]
    assert [folder.checkpoints() for folder in folders] == [[], []]
    for path, content in kept.items():
        path.write_bytes(content)
    assert all(result.was_known for result in train_all(configs, interrupted.dataset))
    assert [folder.checkpoints() for folder in folders] == [[], []]


def big_state(epoch: int) -> TrainingState:
    """A state of a size that takes its time to be written."""
    return TrainingState(epoch, {"w": torch.full((20_000,), float(epoch))}, [])


def _save_and_die(path: Path, number: int) -> None:
    """Save a third state; kill -9 comes before that file is opened, renamed or removed."""
    events = count()

    def hook(event: str, _arguments: object) -> None:
        if event in ("open", "os.rename", "os.remove") and next(events) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    save_state(path, big_state(3))


def test_kill_before_any_step_of_saving_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    """Between all its openings, renames and removals, the last that was saved is there."""
    context, path = multiprocessing.get_context("fork"), tmp_path / "checkpoint.safetensors"
    for number in count():
        save_state(path, big_state(1))
        save_state(path, big_state(2))
        process = context.Process(target=_save_and_die, args=(path, number))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert RunDir(tmp_path).epoch() in (2, 3)
    assert number >= 4  # opened, flushed, and renamed twice
    assert RunDir(tmp_path).epoch() == 3


def _save_forever(path: Path, connection: Connection) -> None:
    for epoch in count(1):
        save_state(path, big_state(epoch))
        connection.send(epoch)


@pytest.mark.parametrize("seed", range(10))
def test_kill_while_saving_leaves_a_good_checkpoint(seed: int, tmp_path: Path) -> None:
    """At a random instant one of the two is whole, and no older than the last that was saved."""
    context, path = multiprocessing.get_context("fork"), tmp_path / "checkpoint.safetensors"
    ours, theirs = context.Pipe()
    process = context.Process(target=_save_forever, args=(path, theirs))
    process.start()
    theirs.close()
    random = Random(seed)
    for _ in range(random.randrange(2, 6)):
        saved = ours.recv()
    for _ in range(random.randrange(20_000)):
        pass  # some instant within the next one
    process.kill()
    process.join()
    with suppress(EOFError):
        while True:
            saved = ours.recv()
    assert RunDir(tmp_path).epoch() >= saved


def test_disk_that_takes_no_more_leaves_the_old_checkpoints(tmp_path: Path) -> None:
    """An error in the middle of writing: both are as they were, and no half file is left."""
    path = tmp_path / "checkpoint.safetensors"
    for epoch in (1, 2):
        save_state(path, big_state(epoch))
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))  # the 40,000th byte is an error
    try:
        with pytest.raises(OSError, match="too large"):
            save_state(path, big_state(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def fmnist_train(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script, in the test's own folder."""
    command = [str(FMNIST), "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_sweep_goes_on_from_damaged_checkpoints(interrupted: Interrupted, tmp_path: Path) -> None:
    """As a user starts it: one run goes back, one is refused by name, without a traceback."""
    configs = interrupted.copy(tmp_path / "outputs")
    folder, foreign = run_folders(configs, interrupted)
    damage(folder.checkpoint, "truncated", Random(0))
    rewrite(foreign.checkpoint, "1")
    words = [*data_overrides(interrupted.data), *SMALL, "sweep.processes=1"]
    done = fmnist_train("-m", "seed=1,2", *words)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "the run goes back to epoch 2" in said
    assert "has format 1, and this program reads format 4" in said
    assert "Traceback" not in said
    assert folder.tags()["weights_sha256"] == interrupted.undisturbed[0].tags()["weights_sha256"]
    assert len(foreign.checkpoints()) == 2


def test_damaged_network_of_a_finished_run_is_named(
    interrupted: Interrupted, tmp_path: Path
) -> None:
    """Where it is needed: one line with the file and what to do, and nothing of it recorded."""
    finished = interrupted.undisturbed[0].path
    folder = RunDir(tmp_path / "outputs" / "runs" / finished.name)
    shutil.copytree(finished, folder.path)
    damage(folder.model, "flipped", Random(0))
    done = fmnist_train("seed=1", *data_overrides(interrupted.data), *SMALL)
    assert done.returncode == 1
    said = (done.stdout + done.stderr).strip().splitlines()
    assert "Traceback" not in done.stdout + done.stderr
    assert f"{folder.model} is damaged: " in said[-1]
    assert "rerun=true trains the run again" in said[-1]
    assert not folder.has_recorded_model()


# what reads a file so that its content may run code
LOADERS = {
    "joblib.load",
    "torch.load",
    "torch.jit.load",
    "pandas.read_pickle",
    "mlflow.pyfunc.load_model",
}
MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_file_is_read_as_code(path: Path) -> None:
    """No pickle in any disguise, no eval, in the whole package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            assert not {name.partition(".")[0] for name in names} & MODULES
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in LOADERS | {"eval", "exec", "compile", "yaml.load"}
            if called in ("np.load", "numpy.load"):
                assert "allow_pickle=False" in ast.unparse(node)


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_folder_that_goes_while_a_run_is_trained_is_an_error(
    is_removed: bool, tmp_path: Path
) -> None:
    """What is written to a log that is not at its place is read by nobody: the run begins again."""
    config, outputs = make_config(make_data(tmp_path / "data"), *SMALL), Path("outputs")
    dataset = load(tmp_path / "data")

    def go_in_epoch_2(stack: Stack, step: int) -> None:
        if (stack.epoch, step) == (1, 1):
            if is_removed:
                shutil.rmtree(outputs)
            else:
                outputs.rename("outputs.old")

    [result] = train([Request(config)], dataset, Observer(on_step=go_in_epoch_2))
    assert "goes on with it: bring it back, or the same command begins again" in str(result.error)
    [again] = train([Request(config)], dataset, QUIET)
    assert (again.error, again.folder.status()) == (None, "FINISHED")
