"""The config of a recorded run, as a store of somebody else may have it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fashion_mnist.analysis.reproduce import stored_config
from fashion_mnist.config.messages import RunError
from fashion_mnist.config.schema import Config, flatten
from fashion_mnist.runs.records import CONFIG_FILE
from fashion_mnist.tracking.recorded import RecordedRun
from tests.recordings import Recordings

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
)


@pytest.fixture
def alone(recordings: Recordings) -> RecordedRun:
    return recordings.run("alone")


@pytest.fixture
def write(alone: RecordedRun) -> Iterator[Callable[[str | dict[str, Any]], None]]:
    """Puts something else in the place of the run's config; it is put back."""
    path = file_of(alone)
    before = path.read_text()

    def put(content: str | dict[str, Any]) -> None:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    yield put
    path.write_text(before)


def file_of(run: RecordedRun) -> Path:
    return Path(run.artifact_uri.removeprefix("file://")) / CONFIG_FILE


def read(recordings: Recordings, run: RecordedRun, data: Path | None = None) -> Config:
    return stored_config(recordings.reader(), run, output_dir=Path("again"), data_dir=data)


def test_file_and_parameters_give_the_run(recordings: Recordings, alone: RecordedRun) -> None:
    """Both say what it was trained by, with what `auto` came to; nothing says where it goes."""
    configs = [read(recordings, alone), read(recordings, replace(alone, artifact_uri="/nowhere"))]
    for config in configs:
        own = {key: value for key, value in flatten(config).items() if key in alone.parameters}
        assert set(own) == set(alone.parameters)
        assert (own["model.width"], own["model.depth"], own["training.epochs"]) == (6, 2, 3)
        assert own["data.dir"] == str(recordings.data)
        assert config.training.precision == alone.tags["precision"]
        assert (config.training.device, config.training.threads) == ("cpu", 1)
        assert (config.tracking.uri, config.evaluation.test) == (None, "never")
        assert config.output_dir == "again"
    assert configs[0] == configs[1]


def test_what_is_wrong_with_this_machines_settings_is_not_the_runs(
    recordings: Recordings, alone: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second training is recorded nowhere, whatever address is set here."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///nowhere")
    assert read(recordings, alone).tracking.uri is None


def test_the_store_does_not_say_where_things_go(
    recordings: Recordings,
    alone: RecordedRun,
    write: Callable[[dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    """Another output folder, store or tags in it are nothing to us; the published data is found."""
    tree = yaml.safe_load(file_of(alone).read_text())
    evil = str(tmp_path / "evil")
    tree |= {"output_dir": evil, "rerun": False, "sweep": {"limit": evil}, "hydra": {"run": evil}}
    tree |= {"tracking": {"uri": f"sqlite:///{evil}"}, "evaluation": {"test": "always"}}
    tree["data"]["name"], tree["data"]["dir"] = "fashion_mnist", evil
    tree["data"] |= {"class_names": list("abcdefghij"), "validation_size": 5000}
    write(tree)
    config = read(recordings, alone)
    assert evil not in str(flatten(config))
    assert config.data.dir == "data/fashion_mnist"
    assert read(recordings, alone, tmp_path).data.dir == str(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [MARKER]",
        "seed: !!python/name:os.system",
        "training: ${oc.env:HOME}",
        "seed: ${oc.env:HOME}",
        "seed: 0\nmodel: {_target_: os.mkdir, path: MARKER}",
        "data: [1, 2]",
        "[1, 2]",
        "a: b: c",
        "\x00",
        "seed: 1" + "0" * 5000,
        "{" * 5000,
        "x: " + "y" * 300_000,
        BOMB,
        "",
    ],
    ids=lambda text: text[:20].replace("\x00", "0"),
)
def test_a_hostile_config_is_one_error(
    text: str, recordings: Recordings, alone: RecordedRun, write: Callable[[str], None]
) -> None:
    """Nothing in it is run, nothing is resolved, and it is told in one line."""
    write(text)
    with pytest.raises(RunError, match="is no config here") as caught:
        read(recordings, alone)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 3000
    assert os.environ["HOME"] not in str(caught.value)
    assert not Path("MARKER").exists()


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": "1", "model.width": "2"},
        {"model.width": "2", "model.width.x": "2"},
        {"seed": "9" * 5000},
        {"data.dir": "[" * 5000},
        {},
    ],
    ids=["twice", "deeper", "digits", "nested", "none"],
)
def test_hostile_parameters_are_one_error(
    parameters: dict[str, str], recordings: Recordings, alone: RecordedRun
) -> None:
    """Of a run whose config is not among its files."""
    hostile = replace(alone, artifact_uri="/nowhere", parameters=parameters)
    with pytest.raises(RunError, match="is no config here"):
        read(recordings, hostile)


def test_a_device_that_is_not_here_is_said(recordings: Recordings, alone: RecordedRun) -> None:
    """And threads that no machine has."""
    for tag, value, message in (("device", "mps", "training.device"), ("threads", "0", "threads")):
        changed = replace(alone, tags={**alone.tags, tag: value})
        with pytest.raises(RunError, match=message):
            read(recordings, changed)
