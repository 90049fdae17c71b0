"""Networks and images of recorded runs: the very ones, wherever they are, or an error."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fashion_mnist.analysis.lookup import class_names_of
from fashion_mnist.analysis.networks import (
    load_network,
    read_images,
    recorded_model,
    require_network,
)
from fashion_mnist.data.idx import DataError, read_pair, write_idx
from fashion_mnist.runs.artifacts import SplitResult
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.recorded import STATE_TAG, RecordedRun
from fashion_mnist.tracking.uploader import sync
from fashion_mnist.training.checkpoint import tensors_sha256
from tests.builders import CLASS_NAMES, QUIET, load, make_config, make_data
from tests.recordings import SMALL, Recordings, record_runs

CHILD = "model.width=4 seed=1"  # of a sweep: its network was not recorded


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Those of `record_runs`, and `half`: a network that was trained in bf16."""
    own = record_runs(tmp_path_factory.mktemp("recordings"))
    outputs = own.folder / "outputs"
    where = (f"tracking.uri={own.uri}", f"output_dir={outputs}", *SMALL)
    config = make_config(own.data, *where, "training.precision=bf16", "model.width=32")
    train([Request(config, name="half")], load(own.data), QUIET)
    assert sync(outputs).is_complete
    return own


def state_of(directory: str) -> dict[str, str]:
    """The tag that says where a run is written."""
    return {STATE_TAG: json.dumps({"host": "h", "dir": directory})}


def with_tags(run: RecordedRun, **tags: str) -> RecordedRun:
    """The run with some of its tags changed."""
    return replace(run, tags={**run.tags, **tags})


def with_parameters(run: RecordedRun, parameters: Mapping[str, str]) -> RecordedRun:
    """The run with some of its parameters changed."""
    return replace(run, parameters={**run.parameters, **parameters})


@pytest.mark.parametrize(
    ("name", "split", "prefix"),
    [
        (CHILD, "validation", "final/val_"),
        ("alone", "validation", "final/val_"),
        ("alone", "test", "test/"),
        ("half", "validation", "final/val_"),
    ],
)
def test_scores_are_those_that_training_recorded(
    name: str, split: str, prefix: str, recordings: Recordings
) -> None:
    """Loss, accuracy and F1 of the run's own split, to the last digit that MLflow keeps."""
    run = recordings.run(name)
    model, _ = load_network(recordings.reader(), run)
    images = read_images(run, model.class_names, wanted=split)
    index = torch.arange(len(images.labels))
    pixels = images.images.flatten(1)
    evaluation = model.evaluate(pixels, images.labels, index=index)
    figures = SplitResult.of(split, evaluation, images.images, images.sha256).metrics()
    for key in ("loss", "accuracy", "f1_macro"):
        assert figures[key] == pytest.approx(run.metrics[prefix + key], rel=1e-6)


def test_the_split_is_the_runs_own(recordings: Recordings) -> None:
    """Its digest is the one that training recorded; the test set's is the data's."""
    run = recordings.run(CHILD)
    names = class_names_of(run)
    assert names == list(CLASS_NAMES)
    validation = read_images(run, names)
    assert validation.sha256 == run.tags["split_sha256"]
    assert len(validation.labels) == 20
    test = read_images(run, names, wanted="test")
    assert (len(test.labels), test.sha256) == (30, run.tags["data_sha256"])
    assert test.is_own_test
    assert not validation.is_own_test


def test_a_recorded_network_needs_no_folder(recordings: Recordings) -> None:
    """Where the run's folder is gone, the artifact has the same weights."""
    run, store = recordings.run("alone"), recordings.reader()
    near, source = load_network(store, run)
    far, far_source = load_network(store, with_tags(run, **state_of("/nowhere/at/all")))
    assert "folder" in source
    assert "artifact model/" in far_source
    assert tensors_sha256(near.weights) == tensors_sha256(far.weights)


def test_a_folder_that_was_moved_is_found(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Below `outputs/` of the current folder, also a copy; elsewhere the error says what to do."""
    run, store = recordings.run(CHILD), recordings.reader()
    folder = Path(run.directory)
    moved = with_tags(run, **state_of(f"/nowhere/{folder.name}"))
    with pytest.raises(OSError, match=r"was not recorded.* not here: .*model=always trains it"):
        load_network(store, moved)
    shutil.copytree(folder, tmp_path / "outputs" / "runs" / folder.name)
    monkeypatch.chdir(tmp_path)
    for run_here in (moved, run):
        _, source = load_network(store, run_here)
        assert source == f"the run's folder outputs/runs/{folder.name}"


def test_a_network_that_the_store_has_lost_is_no_unrecorded_one(
    recordings: Recordings, tmp_path: Path
) -> None:
    """Whatever asks for it says how its files come back; of one that was never recorded, how."""
    store, alone, child = recordings.reader(), recordings.run("alone"), recordings.run(CHILD)
    lost = replace(with_tags(alone, **state_of("/nowhere")), artifact_uri=str(tmp_path))
    with pytest.raises(OSError, match=r"are not in .*: fmnist sync sends them again"):
        load_network(store, lost)
    with pytest.raises(OSError, match=r"was not recorded.* records it, without training"):
        recorded_model(store, child)


def test_other_weights_are_refused(recordings: Recordings) -> None:
    """Of a folder they are passed over, of the store they are an error; a damaged file is, too."""
    store = recordings.reader()
    child, alone = recordings.run(CHILD), recordings.run("alone")
    foreign = with_tags(child, **state_of(alone.directory))
    with pytest.raises(OSError, match="was not recorded"):
        load_network(store, foreign)
    with pytest.raises(OSError, match="holds other weights than the run says"):
        load_network(store, with_tags(alone, weights_sha256="0" * 64))


def test_a_stores_damaged_network_is_one_error(recordings: Recordings, tmp_path: Path) -> None:
    """Named, with what it should be; whatever else lies beside it is not looked at."""
    run, store = recordings.run("alone"), recordings.reader()
    artifacts = tmp_path / "artifacts"
    (artifacts / "model" / "data").mkdir(parents=True)
    (artifacts / "model" / "data" / "model.safetensors").write_bytes(b"no network")
    (artifacts / "model" / "loader.py").write_text("raise SystemExit('code of a store was run')")
    hostile = replace(with_tags(run, **state_of("/no\0where")), artifact_uri=str(artifacts))
    with pytest.raises(OSError, match=r"model\.safetensors is no network of ours"):
        load_network(store, hostile)


def test_only_finished_networks_are_asked(recordings: Recordings) -> None:
    """A sweep and a run that failed are named, and what is wrong with them."""
    with pytest.raises(ValueError, match=r"widths is a sweep: .*fmnist runs --sweep \w{32}\)"):
        require_network(recordings.run("widths"))
    with pytest.raises(ValueError, match=r"diverged \(.*\) has no network: it is FAILED"):
        require_network(recordings.run("diverged"))
    run = recordings.run("alone")
    assert require_network(run) is run


def test_data_that_was_moved_is_named_by_its_folder(recordings: Recordings, tmp_path: Path) -> None:
    """The same four files elsewhere have the run's own splits."""
    run = recordings.run(CHILD)
    gone = with_parameters(run, {"data.dir": str(tmp_path / "gone")})
    with pytest.raises(DataError, match=r"is no folder; or name the folder .*--data"):
        read_images(gone, CLASS_NAMES)
    shutil.copytree(recordings.data, tmp_path / "moved")
    found = read_images(gone, CLASS_NAMES, folder=tmp_path / "moved")
    assert found.sha256 == run.tags["split_sha256"]


def test_data_that_has_changed_is_refused(recordings: Recordings, tmp_path: Path) -> None:
    """The digest tells; figures of other images would not be the run's."""
    make_data(tmp_path / "data", num_train=91)
    changed = with_parameters(recordings.run(CHILD), {"data.dir": str(tmp_path / "data")})
    with pytest.raises(DataError, match="has changed since"):
        read_images(changed, CLASS_NAMES)


def test_another_users_folder_has_test_files_alone(recordings: Recordings, tmp_path: Path) -> None:
    """Two files are enough; they are not the run's test set, and have no validation split."""
    run, folder = recordings.run("alone"), tmp_path / "mine"
    folder.mkdir()
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.ones((7, 6, 5), np.uint8))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.array([0, 1, 2, 0, 1, 2, 0], np.uint8))
    found = read_images(run, CLASS_NAMES, image_shape=(6, 5), folder=folder)
    assert (found.name, found.images.shape, found.is_own_test) == ("other-mine", (7, 6, 5), False)
    with pytest.raises(ValueError, match="leave --split out"):
        read_images(run, CLASS_NAMES, wanted="validation", folder=folder)
    with pytest.raises(DataError, match="must be 28 × 28 pixels for this network, got 6 × 5"):
        read_images(run, CLASS_NAMES, image_shape=(28, 28), folder=folder)
    with pytest.raises(DataError, match="labels must be 0 to 1"):
        read_images(run, CLASS_NAMES[:2], folder=folder)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="must be a folder with t10k-images"):
        read_images(run, CLASS_NAMES, folder=folder)


def test_the_runs_own_test_files_are_its_test_set_wherever_they_lie(
    recordings: Recordings, tmp_path: Path
) -> None:
    """Also without the training files: who scores them has read the test set."""
    run = recordings.run("alone")
    for path in recordings.data.glob("t10k*"):
        shutil.copy(path, tmp_path)
    found = read_images(run, CLASS_NAMES, folder=tmp_path)
    assert (found.is_own_test, found.sha256) == (True, run.tags["data_sha256"])
    images, _ = read_pair(tmp_path, "t10k", num_classes=len(CLASS_NAMES))
    changed = images.copy()
    changed[0, 0, 0] ^= 1
    write_idx(tmp_path / "t10k-images-idx3-ubyte", changed)
    assert not read_images(run, CLASS_NAMES, folder=tmp_path).is_own_test


def test_an_empty_test_set_is_said(recordings: Recordings, tmp_path: Path) -> None:
    """It may be, where evaluation.test is never."""
    folder = make_data(tmp_path / "data", num_test=0)
    data = load(folder)
    run = with_parameters(
        with_tags(recordings.run("alone"), data_sha256=data.sha256), {"data.dir": str(folder)}
    )
    with pytest.raises(ValueError, match="test set of alone's data is empty"):
        read_images(run, CLASS_NAMES, wanted="test")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"data.validation_size": "0"}, "has no validation split"),
        ({"data.validation_size": "many"}, "does not say what it was validated on"),
        ({"data.fold": "-1"}, r"data\.fold must be"),
        ({"data.train_size": '"all"'}, "does not say what it was validated on"),
        ({"data.name": "7"}, "does not say what it was trained on"),
    ],
)
def test_parameters_that_make_no_split_are_named(
    parameters: dict[str, str], reason: str, recordings: Recordings
) -> None:
    """They may be anybody's."""
    run = with_parameters(recordings.run("alone"), parameters)
    with pytest.raises(ValueError, match=reason):
        read_images(run, CLASS_NAMES)
