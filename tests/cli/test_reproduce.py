"""`fmnist reproduce` on real runs: its three answers, and that nothing else changes."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from fashion_mnist.runs.records import CONFIG_FILE
from tests.builders import make_data
from tests.recordings import Recordings, fmnist, fmnist_json, record_runs


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """The store alone: what training left beside it is gone."""
    recorded = record_runs(tmp_path_factory.mktemp("recordings"))
    (recorded.folder / "outputs").rename(recorded.folder / "elsewhere")
    return recorded


@pytest.fixture
def here(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recordings]:
    """The store of the current folder; it has the same runs afterwards."""
    monkeypatch.chdir(recordings.folder)
    before = recordings.reader().runs()
    yield recordings
    assert recordings.reader().runs() == before


def reproduce(*words: str, status: int = 0) -> dict[str, Any]:
    return fmnist_json("reproduce", *words, status=status)


@pytest.mark.usefixtures("here")
def test_the_same_machine_gives_the_same_bits() -> None:
    """Alone, a run of a sweep; the table and the JSON say so; asked again it is trained again."""
    gc.disable()  # as the program does while it imports a command
    said = reproduce("model.width=4 seed=1")
    assert gc.isenabled()
    assert said["result"] == "identical"
    assert said["weights_sha256"]["recorded"] == said["weights_sha256"]["here"]
    assert all(figure["recorded"] == figure["here"] for figure in said["figures"])
    assert len(said["figures"]) == 3
    assert (said["test"]["first_alone"], said["test"]["second_alone"]) == (0, 0)
    assert [each["name"] for each in said["origins"] if each["same"] is False] == []
    assert Path(said["folder"]).is_relative_to(Path("outputs/reproductions").absolute())
    shown = fmnist("reproduce", "model.width=4 seed=1")
    assert shown.exit_code == 0
    assert "epoch 3/3" in shown.stdout
    assert "identical to the bit" in shown.stdout
    assert reproduce("model.width=4 seed=1")["folder"] != said["folder"]


def test_another_precision_is_within_tolerance(here: Recordings) -> None:
    """Other bits, near figures; of what the record does not name it says that."""
    run = here.run("model.width=4 seed=2")
    other = {"fp32": "bf16", "bf16": "fp32"}[run.tags["precision"]]
    client = MlflowClient(here.uri)
    client.set_tag(run.run_id, "precision", other)
    client.set_tag(run.run_id, "torch", "1.0")
    client.delete_tag(run.run_id, "code_sha256")
    try:
        said = reproduce(run.run_id)
        shown = fmnist("reproduce", run.run_id).stdout
    finally:
        for key in ("precision", "torch", "code_sha256"):
            client.set_tag(run.run_id, key, run.tags[key])
    assert said["result"] == "within tolerance"
    assert said["weights_sha256"]["recorded"] != said["weights_sha256"]["here"]
    same = {each["name"]: each["same"] for each in said["origins"]}
    assert (same["torch"], same["code"], same["data"]) == (False, None, True)
    assert "what differs: torch; not known of: code" in shown


def test_another_training_is_different(here: Recordings, tmp_path: Path) -> None:
    """Of another learning rate: the exit status is 1. Other data is named."""
    run = here.run("model.width=8 seed=1")
    file = Path(run.artifact_uri.removeprefix("file://")) / CONFIG_FILE
    before = file.read_text()
    file.write_text(before.replace("lr: 0.001", "lr: 0.05"))
    try:
        assert reproduce(run.run_id, status=1)["result"] == "different"
    finally:
        file.write_text(before)
    data = make_data(tmp_path / "other", num_train=89)
    said = reproduce(run.run_id, "--data", str(data))
    assert {each["name"]: each["same"] for each in said["origins"]}["data"] is False
    assert said["result"] == "within tolerance"  # by the first loss, of images that are alike
    assert said["test"] is None


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["diverged"], 2, "has no network: it is FAILED"),
        (["widths"], 2, "is a sweep"),
        (["alone", "--data", "nowhere"], 2, "data.dir must be a folder"),
        (["aloen"], 2, "(alone)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_reproduced_is_one_line(words: list[str], status: int, message: str) -> None:
    """What came of a run that failed, of a sweep, of data that is gone."""
    said = fmnist("reproduce", *words)
    assert said.exit_code == status
    assert message in said.stderr
    assert said.stderr.count("\n") == 1
