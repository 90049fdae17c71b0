"""What holds for every test."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fashion_mnist.training.device import physical_cores
from tests.recordings import Recordings, record_runs

STORE = "MLFLOW_TRACKING_URI"


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores: much of a worker's time is waiting for programs, servers and disks."""
    return physical_cores() + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that none is left for one worker at the end.

    `scripts/test` keeps xdist from sorting them by the number of their tests.
    """
    first = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the checkout, or to a store of the user's."""
    monkeypatch.chdir(tmp_path)
    # set first: so it is taken away again after a test whose mlflow.set_tracking_uri sets it
    monkeypatch.setenv(STORE, "")
    monkeypatch.delenv(STORE)


@pytest.fixture(scope="session", autouse=True)
def no_store_of_the_users() -> None:
    """Nor do the fixtures that several tests share, and nobody logs in anywhere."""
    for name in (STORE, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell's background job, as these tests may be, ignores it, and so would what they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def draws_of_a_fixed_seed() -> None:
    """What a test draws without a generator of its own is the same each time."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """The number of threads is the whole process's: put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """A store with real runs, shared by the tests of a file."""
    return record_runs(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def here(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """The same, with its folder as the current one: commands need no option for its store."""
    monkeypatch.chdir(recordings.folder)
    return recordings


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs, to be copied: MLflow takes a second to make one."""
    from fashion_mnist.tracking.store import Store  # imports MLflow, which many tests do without

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path: Path, empty_database: Path) -> str:
    """The address of a store of the test's own, in a file."""
    (tmp_path / "store").mkdir()
    shutil.copy(empty_database, tmp_path / "store" / "mlflow.db")
    return f"sqlite:///{tmp_path}/store/mlflow.db"
