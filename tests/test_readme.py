"""The README's commands do what it says, on the real images and with the files it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fashion_mnist.data.files import missing_names, system_folders

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
# the same commands, but done in seconds
SHORT = ["training.epochs=2", "data.train_size=512", "data.validation_size=500"]
COMMANDS = [
    shlex.split(line, comments=True)
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if line.startswith("scripts/train")
]


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


def test_it_shows_commands() -> None:
    """Enough of them, so that the next test tests something."""
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[1:3]))
def test_commands_train_a_run(words: list[str]) -> None:
    """Each with the YAML files of the README beside it."""
    for path, content in re.findall(r"`(mine/[^`]+)`:\n\n```yaml\n(.*?)```", README, re.DOTALL):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
    place = [f"data.dir={data_folder()}", "tracking.uri=null"]
    done = fmnist("train", *words[1:], *SHORT, *place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test accuracy" in done.stdout


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
        assert list((root / "fashion_mnist").rglob(name)) or (root / "scripts" / name).exists(), (
            name
        )
