"""A store, or the event logs on their way to it, on a full disk; and then there is room.

The promise: the store can be read, whenever its disk became full; why nothing is sent is one line;
and with room all is there exactly once.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fashion_mnist.config.messages import disk_trouble
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.uploader import sync
from tests.builders import QUIET, load, make_config, make_data
from tests.faults.disks import MakeDisk
from tests.faults.records import assert_recorded_once

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with two runs that are finished and recorded nowhere."""
    folder = tmp_path_factory.mktemp("finished")
    data = make_data(folder / "data")
    words = ("training.epochs=2", "training.threads=1", "model.width=8")
    place = f"output_dir={folder / 'outputs'}"
    configs = [make_config(data, *words, f"seed={seed}", place) for seed in range(2)]
    results = train([Request(config) for config in configs], load(data), QUIET)
    assert not any(result.error for result in results)
    return folder / "outputs"


def copy_for(uri: str, finished: Path, outputs: Path) -> Path:
    """The finished runs in a new output folder, wanted in a store."""
    shutil.copytree(finished, outputs)
    for folder in (outputs / "runs").iterdir():
        with EventLog(folder) as event_log:
            event_log.destination(uri, "fashion-mnist")
    return outputs


def why_not_sent(outputs: Path) -> str:
    """What `fmnist sync` says where it cannot send all."""
    try:
        outcome = sync(outputs)
    except OSError as error:
        return disk_trouble(error)
    assert not outcome.is_complete
    assert outcome.reason is not None
    return outcome.reason


def assert_readable(database: Path) -> None:
    """The store is whole, as far as it came, or it is not there at all."""
    if not database.exists():
        return
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert MlflowClient(f"sqlite:///{database}").search_experiments()


# of the 1000 kilobytes of a new store to the 1900 of one with two runs and their files
@pytest.mark.parametrize("kilobytes", [8, 600, 950, 1000, 1150, 1500])
def test_a_store_is_readable_wherever_its_disk_ends(
    kilobytes: int, finished: Path, tmp_path: Path, make_disk: MakeDisk
) -> None:
    """At every moment of its creation and of what is sent."""
    disk = make_disk("disk", {"kilobytes": kilobytes})
    database = disk.folder / "mlflow.db"
    outputs = copy_for(f"sqlite:///{database}", finished, tmp_path / "outputs")
    reason = why_not_sent(outputs)
    assert "full" in reason or "No space left" in reason
    assert "\n" not in reason
    assert_readable(database)
    disk.make_room()
    assert sync(outputs).is_complete
    assert_recorded_once(f"sqlite:///{database}", outputs)


@pytest.mark.parametrize("left", [0, 4, 8])
def test_logs_on_a_full_disk_are_sent_once_there_is_room(
    left: int, finished: Path, empty_database: Path, tmp_path: Path, make_disk: MakeDisk
) -> None:
    """Without room for a note of what was sent nothing is sent twice either."""
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_database, database)
    disk = make_disk("disk")
    outputs = copy_for(f"sqlite:///{database}", finished, disk.folder / "outputs")
    disk.fill(leave_kilobytes=left)
    assert "No space left" in why_not_sent(outputs)
    assert_readable(database)
    disk.empty()
    assert sync(outputs).is_complete
    assert_recorded_once(f"sqlite:///{database}", outputs)


@pytest.mark.parametrize("left", [8, 1000, 1300])
def test_logs_and_store_on_one_full_disk(left: int, finished: Path, make_disk: MakeDisk) -> None:
    """The same where both have the same disk, as by default."""
    disk = make_disk("disk")
    database = disk.folder / "mlflow.db"
    outputs = copy_for(f"sqlite:///{database}", finished, disk.folder / "outputs")
    disk.fill(leave_kilobytes=left)
    reason = why_not_sent(outputs)
    assert "full" in reason or "No space left" in reason
    assert_readable(database)
    disk.empty()
    assert sync(outputs).is_complete
    assert_recorded_once(f"sqlite:///{database}", outputs)
