"""The same command twice at once: one trains, the other says who does; and death frees the work."""

from pathlib import Path

import pytest

from fashion_mnist.runs.run_dir import RunDir
from tests.builders import data_overrides, make_data
from tests.faults.processes import ForkServer, wait_for

WORDS = (
    "data.validation_size=20",
    "training.batch_size=16",
    "training.threads=1",
    "training.epochs=100000",
    "training.checkpoint_seconds=0",
    "model.width=8",
    "tracking.uri=null",
)
SWEEP = ("-m", "seed=0,1", "sweep.processes=2")


@pytest.mark.parametrize(("what", "words", "number"), [("run", (), 1), ("sweep", SWEEP, 2)])
def test_one_trains_and_its_death_frees_the_work(
    server: ForkServer, tmp_path: Path, what: str, words: tuple[str, ...], number: int
) -> None:
    """The second ends with status 1 and names the first; the third goes on where that died."""
    command = ["train", *data_overrides(make_data(tmp_path / "data")), *WORDS, *words]
    children = [server.start(command, tmp_path) for _ in range(2)]
    wait_for(lambda: any(child.poll() is not None for child in children), "the end of one")
    [refused] = [child for child in children if child.poll() is not None]
    [at_work] = [child for child in children if child.poll() is None]
    assert refused.wait() == 1, refused.text()
    assert f"this {what} is being trained by another process ({at_work.pid} on" in refused.text()
    assert "Traceback" not in refused.text()
    wait_for(lambda: [len(run.checkpoints()) for run in runs()] == [2] * number, "checkpoints")
    at_work.kill()
    again = server.start(command, tmp_path)
    at_work.wait_for_session()  # its workers write until they see that it is gone
    before = [len(run.history()) for run in runs()]
    wait_for(lambda: went_on(before) or again.poll() is not None, "further epochs")
    assert again.poll() is None, again.text()
    again.kill(to_group=True)
    again.wait_for_session()


def went_on(before: list[int]) -> bool:
    """Whether every run has more epochs."""
    return all(len(run.history()) > num for run, num in zip(runs(), before, strict=True))


def runs() -> list[RunDir]:
    """In the test's own folder."""
    return [RunDir(path) for path in sorted(Path("outputs/runs").glob("*"))]
