"""What an epoch says of itself, and what an evaluation computes."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fashion_mnist.runs.stacks import build_stack, split_data, validation_index
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import train_epoch, validate
from fashion_mnist.training.stack import Stack
from tests.builders import load, make_config, make_data

MACHINE = Machine("cpu", "fp32", 1)


def make_stack(folder: Path, *words: str, machine: Machine = MACHINE) -> tuple[Stack, torch.Tensor]:
    """A stack of one, and its validation images."""
    make_data(folder)
    config, dataset = make_config(folder, "model.hidden_sizes=[9]", *words), load(folder)
    data_splits = [split_data(config, dataset)]
    index = validation_index(data_splits, machine)
    assert index is not None
    return build_stack([config], data_splits, dataset, machine), index


@pytest.mark.parametrize(
    "words",
    [
        ["loss=cross_entropy", "loss.label_smoothing=0.3", "loss.class_weights=[1,5,0.2]"],
        ["loss=brier"],
        ["data.augment.mixup=1.0", "training.ema=0.5", "model.normalization=batch"],
    ],
)
def test_validation_loss_is_the_negative_log_likelihood(words: list[str], tmp_path: Path) -> None:
    """Whatever is minimised: runs with other losses can be compared by it."""
    stack, index = make_stack(tmp_path / "data", *words)
    [row] = train_epoch(stack, validation_index=index).rows
    evaluation = validate(stack, index)
    own = evaluation.probabilities[0].gather(1, evaluation.labels[0].unsqueeze(1))
    expected = float(-own.double().log().mean())
    assert row["val/loss"] == pytest.approx(expected, rel=1e-5)
    assert float(evaluation.loss[0]) == pytest.approx(expected, rel=1e-5)


def test_training_loss_is_the_mean_over_images_of_what_is_minimised(tmp_path: Path) -> None:
    """With a learning rate that changes nothing it is the loss of all images; accuracy alike."""
    words = ["loss.label_smoothing=0.2", "optimizer=sgd", "optimizer.lr=1e-30"]
    stack, _ = make_stack(tmp_path / "data", *words)
    [row] = train_epoch(stack).rows
    index, loader = stack.loader.train_index, stack.loader
    pixels = loader.normalizer(loader.images[index[0]].unsqueeze(0))
    with torch.no_grad():
        logits, labels = stack.model(pixels)[0], loader.labels[index[0]]
    expected = F.cross_entropy(logits, labels, label_smoothing=0.2)
    assert loader.num_examples % loader.batch_size  # the last batch is smaller
    assert row["train/loss"] == pytest.approx(float(expected), rel=1e-5)
    assert row["train/accuracy"] == pytest.approx(
        float((logits.argmax(1) == labels).float().mean())
    )


def test_evaluation_is_in_float32_whatever_training_multiplies_in(tmp_path: Path) -> None:
    """Scores are those of the recorded network, which computes in float32."""
    bf16 = Machine("cpu", "bf16", 1)
    stack, index = make_stack(tmp_path / "data", machine=bf16)
    train_epoch(stack)
    exact, exact_index = make_stack(tmp_path / "same")
    exact.model.load_state_dict(stack.model.state_dict())
    one, other = validate(stack, index), validate(exact, exact_index)
    assert torch.equal(one.probabilities, other.probabilities)
    assert torch.equal(one.loss, other.loss)


def test_progress_is_that_of_the_middle_of_a_step(tmp_path: Path) -> None:
    """So no step has a learning rate of 0, with a schedule that ends there or a warm-up."""
    words = ["training.epochs=1", "schedule=linear", "schedule.warmup=0"]
    stack, _ = make_stack(tmp_path / "data", *words)
    rates = []

    def note(step: int) -> None:
        rates.append(stack.progress)
        assert stack.num_steps == step

    train_epoch(stack, on_step=note)
    steps = stack.loader.num_steps
    assert rates == pytest.approx([(k + 0.5) / steps for k in range(steps)])
    assert stack.epoch == 1
    assert math.isclose(stack.optimizer.learning_rates()[0], 0.001 * 0.5 / steps, rel_tol=1e-6)
