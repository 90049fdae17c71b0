"""Checkpoints and models come back whole, or are refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fashion_mnist.models.network import Architecture, build_mlp, initialize
from fashion_mnist.training.checkpoint import (
    CheckpointError,
    FormatError,
    Model,
    load_model,
    load_state,
    previous,
    save_model,
    save_state,
    saved_epoch,
    tensors_sha256,
)
from fashion_mnist.training.rng import make_generators
from fashion_mnist.training.stack import TrainingState

ARCHITECTURE = Architecture(
    num_inputs=6, hidden_sizes=(4, 4), num_classes=3, activation="elu", normalization="rms"
)


def make_model() -> Model:
    """A network as it was initialised."""
    network = build_mlp(ARCHITECTURE)
    initialize(network, "default", make_generators([0], "weights"))
    return Model(
        architecture=ARCHITECTURE,
        weights=network.state_dict(),
        class_names=("a", "b", "c"),
        image_shape=(2, 3),
        mean=0.25,
        std=0.5,
    )


def test_a_model_comes_back(tmp_path: Path) -> None:
    """Everything that it was saved with, and the same probabilities."""
    model, path = make_model(), tmp_path / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    assert loaded.architecture == ARCHITECTURE
    assert (loaded.class_names, loaded.image_shape) == (model.class_names, model.image_shape)
    images = torch.arange(12, dtype=torch.uint8).view(2, 2, 3)
    assert torch.equal(loaded.probabilities(images), model.probabilities(images))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_state_comes_back(tmp_path: Path) -> None:
    """Tensors of every type, and the history."""
    tensors = {"generator/x": torch.Generator().get_state(), "model/w": torch.randn(2, 3)}
    state = TrainingState(3, tensors, [{"epoch": 1, "val/loss": 0.1}], best_epoch=1)
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, state)
    loaded = load_state(path)
    assert (loaded.epoch, loaded.history) == (3, state.history)
    assert loaded.best_epoch == 1
    assert tensors_sha256(loaded.tensors) == tensors_sha256(tensors)


def test_the_state_before_is_kept(tmp_path: Path) -> None:
    """The last two, each whole; a damaged one says no epoch either, the other does."""
    path = tmp_path / "checkpoint.safetensors"
    for epoch in (1, 2, 3):
        save_state(path, TrainingState(epoch, {"w": torch.full((3,), float(epoch))}, []))
    assert [load_state(each).epoch for each in (path, previous(path))] == [3, 2]
    assert sorted(tmp_path.iterdir()) == sorted([path, previous(path)])
    assert (saved_epoch(path), saved_epoch(previous(path))) == (3, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        saved_epoch(path)
    assert saved_epoch(previous(path)) == 2


@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "flipped in the header", "empty", "of another kind"]
)
def test_damage_is_noticed(damage: str, tmp_path: Path) -> None:
    """Nothing of a damaged file is used, and the message names it."""
    path = tmp_path / "model.safetensors"
    save_model(path, make_model())
    content = bytearray(path.read_bytes())
    match damage:
        case "truncated":
            content = content[:-5]
        case "flipped":
            content[-3] ^= 1
        case "flipped in the header":
            content[content.index(b"image_shape") + 16] ^= 1
        case "empty":
            content = bytearray()
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_state(path) if damage == "of another kind" else load_model(path)


def test_a_file_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    """What it has and what is read is said; it is not called damaged."""
    path = tmp_path / "model.safetensors"
    weights = make_model().weights
    for metadata, words in (
        ({"format": "1", "sha256": tensors_sha256(weights), "model": "{}"}, "has format 1"),
        ({"format": "pt"}, "has format pt"),
        (None, "has no format"),
    ):
        save_file(weights, path, metadata)
        with pytest.raises(FormatError, match=f"{path} {words}, and this program reads format 4"):
            load_model(path)


def test_hash_of_weights_sees_every_bit_and_name() -> None:
    """Two sets of tensors with the same hash are the same network."""
    tensors = {"a": torch.zeros(2), "b": torch.ones(2)}
    changed = {"a": torch.tensor([0.0, -0.0]), "b": torch.ones(2)}
    renamed = {"a": torch.zeros(2), "c": torch.ones(2)}
    hashes = {tensors_sha256(each) for each in (tensors, changed, renamed)}
    assert len(hashes) == 3
    assert tensors_sha256(dict(reversed(tensors.items()))) == tensors_sha256(tensors)
