"""What holds for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the checkout, or to a store of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """The number of threads is the whole process's: put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
