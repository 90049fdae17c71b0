"""conf/experiment/: the recipes keep what their names promise."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fashion_mnist.config.compose import Composer, check
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.models.network import Architecture, num_parameters
from fashion_mnist.runs.stacks import build_stack, split_data
from fashion_mnist.sweeps.definition import read_sweep
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import train_epoch
from fashion_mnist.training.stack import Stack
from tests.builders import load, make_config, make_data


def size_of(recipe: str) -> int:
    """Parameters of its network, for images of 784 pixels and ten classes."""
    model = check([f"experiment={recipe}"]).model
    return num_parameters(Architecture(784, model.sizes(), 10, normalization=model.normalization))


@pytest.mark.parametrize("name", Composer().options("experiment"))
def test_every_recipe_is_sound(name: str) -> None:
    """It can be chosen, and leaves the test set to whoever asks for it."""
    config = check([f"experiment={name}"])
    assert config.evaluation.test == "auto"
    assert config.training.early_stopping.metric is None


def test_the_small_ones_are_small() -> None:
    """At most 100,000 parameters, and at most 10,000."""
    assert 90_000 < size_of("small") <= 100_000
    assert 9_000 < size_of("tiny") <= 10_000


def test_the_standard_one_is_the_default_network() -> None:
    """784-512-512-10, as without a recipe."""
    assert check(["experiment=standard"]).model.sizes() == check([]).model.sizes() == (512, 512)


def test_permutation_invariant_does_not_know_where_pixels_are(tmp_path: Path) -> None:
    """Shuffled pixels give the same network, its first layer's columns shuffled alike.

    Input dropout drops each pixel by a draw of its own; here it is off, since the draws stay where
    they are when pixels move.
    """
    folder = make_data(tmp_path / "data", num_train=192, image_shape=(5, 7))
    recipe = "experiment=permutation_invariant"
    small = ["model.width=16", "training.epochs=2", "training.batch_size=32"]
    config = make_config(folder, recipe, *small, "model.input_dropout=0")
    dataset, order = load(folder), torch.randperm(35, generator=torch.Generator().manual_seed(0))
    plain, shuffled = stack_of(config, dataset), stack_of(config, shuffle(dataset, order))
    name = "hidden1.linear.weight"
    shuffled.model.state_dict()[name].copy_(plain.model.state_dict()[name][:, order])
    losses = [
        [train_epoch(stack).rows[0]["train/loss"] for _ in range(2)] for stack in (plain, shuffled)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.testing.assert_close(
        shuffled.weights(0)[name],
        plain.weights(0)[name][:, order],
        rtol=1e-3,
        atol=1e-4,
    )


def test_the_ablation_starts_from_the_recipe() -> None:
    """Its first row is the recipe, for fewer epochs."""
    sweep = read_sweep(["sweep=recipes/permutation_invariant_ablation", "seed=0"], Composer())
    first = sweep.compose(sweep.samples()[:1])[0].config
    recipe = check(["experiment=permutation_invariant", "training.epochs=12", "seed=0"])
    for part in ("data", "model", "loss", "optimizer", "schedule", "training"):
        assert getattr(first, part) == getattr(recipe, part)


def stack_of(config: Config, dataset: Dataset) -> Stack:
    """A stack of one at its beginning."""
    return build_stack([config], [split_data(config, dataset)], dataset, Machine("cpu", "fp32", 1))


def shuffle(dataset: Dataset, order: torch.Tensor) -> Dataset:
    """The data set with every image's pixels in another order."""
    return replace(dataset, train_images=dataset.train_images[:, order], sha256="shuffled")
