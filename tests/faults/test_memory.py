"""What a long life costs: memory after many runs in one process, and in the course of one stack."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import make_data

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
LARGEST_GROWTH = 1.02

MANY_RUNS = """
import sys
from pathlib import Path

import psutil

from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from tests.builders import QUIET, load, make_config

folder, process = Path(sys.argv[1]), psutil.Process()
dataset = load(folder)
SMALL = ("training.epochs=1", "training.threads=1", "model.width=8")
for number in range(1000):
    is_drawn = number % 10 == 0  # pictures take most of a run's time
    seen = () if is_drawn else ("data.validation_size=0",)
    config = make_config(folder, f"seed={number}", *SMALL, *seen)
    [result] = train([Request(config, auto=is_drawn)], dataset, QUIET)
    assert result.error is None
    if number == 199:  # pictures have taken what they keep
        early = process.memory_info().rss
print(process.memory_info().rss / early)
"""

LONG_STACK = """
import sys
from pathlib import Path

import psutil

from fashion_mnist.training.device import Machine
from fashion_mnist.runs.members import Observer
from tests.builders import load, make_config, train_stack

folder, process = Path(sys.argv[1]), psutil.Process()
sizes = {}


def on_epoch(stack, _rows):
    sizes[stack.epoch] = process.memory_info().rss


words = ("training.epochs=200", "model.width=64", "model.dropout=0.1", "training.ema=0.9")
configs = [
    make_config(folder, f"seed={seed}", *words, "training.checkpoint_seconds=0")
    for seed in range(4)
]
machine, observer = Machine("cpu", "fp32", 1), Observer(on_epoch=on_epoch)
train_stack(configs, load(folder), machine, Path("runs"), observer)
print(sizes[200] / sizes[20])
"""


@pytest.mark.parametrize("script", [MANY_RUNS, LONG_STACK], ids=["1,000 runs", "200 epochs"])
def test_memory_does_not_grow(script: str, tmp_path: Path) -> None:
    """Neither runs one after another nor the epochs of a stack make the process grow by 2 %."""
    data = make_data(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-c", script, str(data)],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < LARGEST_GROWTH
