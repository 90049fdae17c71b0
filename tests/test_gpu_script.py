"""The script for a GPU, rehearsed on the CPU: all of its parts, at a small size."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import data_overrides, make_data

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmarks" / "gpu.py"


def test_every_part_runs_on_a_cpu(tmp_path: Path) -> None:
    """Its checks hold, and each part says what it measured."""
    data = [*data_overrides(make_data(tmp_path / "data")), "data.validation_size=20"]
    words = ["--device", "cpu", "--small", *data, "training.batch_size=16"]
    command = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert said.count("ok: ") == 4
    for words_of_a_part in ("ms a step", "test accuracy", "2 runs:", "3 runs:", "a search of 4"):
        assert words_of_a_part in said
