"""`kill -9` at fifty random moments: the same command goes on, as if nothing had happened."""

import random
from collections.abc import Iterator

import pytest

from tests.builders import data_overrides, make_data
from tests.faults.kills import (
    KilledCommands,
    trainer,
    trainer_and_uploader,
    uploader,
    whole_group,
    worker,
    workers,
)
from tests.faults.processes import kill_uploaders, shared_server, wait_for

pytestmark = pytest.mark.long

SMALL = (
    "data.validation_size=20",
    "training.batch_size=16",
    "training.threads=1",
    "training.epochs=40",
    "training.checkpoint_seconds=0",
    "model.width=8",
)
SWEEP = ("-m", "model.width=5,6", "sweep.processes=2")
SEARCH = (
    "sweep.sampler=tpe",
    "sweep.n_trials=4",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledCommands]:
    """One for all tests: an uploader takes longer to start than many commands to be killed."""
    folder = tmp_path_factory.mktemp("killed")
    words = ["train", *data_overrides(make_data(folder / "data")), *SMALL]
    killed = KilledCommands(folder, words, shared_server().start, random.Random(0))
    yield killed
    kill_uploaders(killed.output_dir)


def test_a_run_is_killed_with_its_uploader(killed: KilledCommands) -> None:
    """Both at once, also while the store is created; and the uploader alone."""
    killed.kill_and_restart([*[trainer_and_uploader] * 3, uploader], first_seed=0)
    killed.check()


def test_a_run_is_killed(killed: KilledCommands) -> None:
    """Wherever it is: it starts, makes a checkpoint, draws its figures, waits for the store."""
    killed.kill_and_restart([trainer] * 34, first_seed=100)
    killed.check()


def test_a_sweep_is_killed(killed: KilledCommands) -> None:
    """With its workers, and so that they are orphans."""
    killed.kill_and_restart([whole_group, trainer] * 2, *SWEEP, first_seed=200)
    killed.check()


def test_workers_of_a_sweep_are_killed(killed: KilledCommands) -> None:
    """The sweep does not even stop for it."""
    words = ("-m", "model.width=5,6,7,8", "sweep.processes=4", "training.epochs=200")
    child = killed.start(*words, "seed=300")
    wait_for(lambda: len(workers(child, killed.output_dir)) == 4, "four workers at work")
    for _ in range(3):
        assert worker(child, killed.output_dir, killed.random), child.text()
    assert child.wait() == 0, child.text()
    assert child.text().count("a process died") == 3
    killed.check()


def test_a_search_is_killed(killed: KilledCommands) -> None:
    """It has as many trials as were wanted, and each is what it would be alone."""
    killed.kill_and_restart([trainer] * 5, *SEARCH, first_seed=400)
    killed.check()
