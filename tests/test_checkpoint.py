"""Checkpoints and models come back whole, or are refused by name."""

from pathlib import Path

import pytest
import torch

from fashion_mnist.checkpoint import (
    CheckpointError,
    Model,
    load_model,
    load_state,
    save_model,
    save_state,
    tensors_sha256,
)
from fashion_mnist.model import StackedMLP
from fashion_mnist.network import Architecture
from fashion_mnist.stack import MemberState

ARCHITECTURE = Architecture(
    num_inputs=6, hidden_sizes=(4, 4), num_classes=3, activation="elu", normalization="rms"
)


def make_model() -> Model:
    """A network as it was initialised."""
    return Model(
        architecture=ARCHITECTURE,
        weights=StackedMLP(ARCHITECTURE, seeds=[0]).state_dict(0),
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
    state = MemberState(3, tensors, [{"epoch": 1, "val/loss": 0.1}], best_epoch=1)
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, state)
    loaded = load_state(path)
    assert (loaded.epoch, loaded.history) == (3, state.history)
    assert loaded.best_epoch == 1
    assert tensors_sha256(loaded.tensors) == tensors_sha256(tensors)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "of another kind"])
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
        case "empty":
            content = bytearray()
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_state(path) if damage == "of another kind" else load_model(path)


def test_hash_of_weights_sees_every_bit_and_name() -> None:
    """Two sets of tensors with the same hash are the same network."""
    tensors = {"a": torch.zeros(2), "b": torch.ones(2)}
    changed = {"a": torch.tensor([0.0, -0.0]), "b": torch.ones(2)}
    renamed = {"a": torch.zeros(2), "c": torch.ones(2)}
    hashes = {tensors_sha256(each) for each in (tensors, changed, renamed)}
    assert len(hashes) == 3
    assert tensors_sha256(dict(reversed(tensors.items()))) == tensors_sha256(tensors)
