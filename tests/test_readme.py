"""The README's commands do what it says, on the real images and with the files it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fashion_mnist.data.fashion_mnist import missing_names, system_folders

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
# the same commands, but done in seconds
SHORT = ["training.epochs=2", "data.train_size=512", "data.validation_size=500"]
COMMANDS = [
    line.removeprefix("scripts/train")
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if line.startswith("scripts/train")
]
SWEEPS = [line for line in COMMANDS if re.search(r" (-m|sweep=\w+) ?", line)]
RUNS = [line for line in COMMANDS if line not in SWEEPS]
# but not the README's own sweep, which is trained
GRIDS = [line for line in SWEEPS if "--config-dir" not in line and " runs" in line]


def data_folder() -> Path:
    """Where the real images are on this machine."""
    checkout = Path(__file__).parents[1] / "data" / "fashion_mnist"
    places = [place for place in (checkout, *system_folders()) if not missing_names(place)]
    if not places:
        pytest.skip("Fashion-MNIST is not on this machine: `fmnist fetch` brings it")
    return places[0]


def fmnist(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console script."""
    program = Path(sys.executable).with_name("fmnist")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture
def files() -> None:
    """The YAML files of the README, in the test's own folder."""
    for path, content in re.findall(r"`(mine/[^`]+)`:\n\n```yaml\n(.*?)```", README, re.DOTALL):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)


def said_by(line: str, *overrides: str) -> str:
    """What the command of the README says when it is done in seconds."""
    place = [f"data.dir={data_folder()}", "tracking.uri=null"]
    done = fmnist("train", *shlex.split(line, comments=True), *SHORT, *place, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size_of(line: str) -> int:
    """The number of runs that the comment of a command promises."""
    number = re.search(r"# (\d+) runs", line)
    assert number is not None, line
    return int(number[1])


def short(line: str) -> str:
    """A test's name."""
    return " ".join(line.split()[:2])


def test_it_shows_commands() -> None:
    """Enough of them, so that the next tests test something."""
    assert len(RUNS) >= 6
    assert len(SWEEPS) >= 5


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", RUNS, ids=short)
def test_commands_train_a_run(line: str) -> None:
    """Each with the YAML files of the README beside it."""
    assert "test accuracy" in said_by(line)


@pytest.mark.parametrize("line", GRIDS, ids=short)
def test_sweeps_are_as_large_as_it_says(line: str) -> None:
    """Each is checked to its last run; to train them all would take minutes."""
    flag = [] if "--dry-run" in line else ["--dry-run"]
    assert f"{size_of(line)} jobs: " in said_by(line, *flag)


@pytest.mark.usefixtures("files")
def test_its_own_sweep_is_trained_and_would_go_on_with_more_seeds() -> None:
    """The second line knows the runs of the first."""
    first, second = (line for line in SWEEPS if "--config-dir" in line)
    small, large = size_of(first), size_of(second)
    said = said_by(first, "training.epochs=1")
    assert f"{small} jobs: {small} new" in said
    assert "test accuracy" in said
    more = f"{large} jobs: {large - small} new, {small} finished before"
    assert more in said_by(second, "training.epochs=1", "--dry-run")


def test_its_search_is_made() -> None:
    """With few trials."""
    [line] = (line for line in SWEEPS if "sweep=search" in line)
    said = said_by(line, "sweep.n_trials=2")
    assert "0 of 2 trials done" in said
    assert "test accuracy" in said


def test_mistakes_are_answered_as_shown() -> None:
    """To the letter."""
    block = next(block for _, block in BLOCKS if block.startswith("$ scripts/train"))
    command, _, answer = block.partition("\n")
    done = fmnist("train", *shlex.split(command)[2:])
    assert done.stderr == answer
    assert done.returncode == 2


def test_every_file_it_names_is_there() -> None:
    """Links, pictures and the map of the folders."""
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (root / target).exists(), target
    [plan] = [block for _, block in BLOCKS if block.startswith("conf/ ")]
    for name in re.findall(r"\b\w+\.py\b", plan):
        assert list((root / "fashion_mnist").rglob(name)) or list((root / "scripts").rglob(name)), (
            name
        )
