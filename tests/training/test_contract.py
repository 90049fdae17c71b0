"""What a run's numbers depend on: its config, its data and its threads, and not its neighbours.

On a CPU a stack holds one run, which has the same bits at each start, resumed, and in a sweep (see
launchers/test_local). Stacks of several agree with each run alone within a tolerance.
"""

from pathlib import Path

import pytest
import torch

from fashion_mnist.runs.members import Member, Observer
from fashion_mnist.training.device import Machine
from fashion_mnist.training.stack import Stack
from tests.builders import load, make_config, make_data, train_in, train_stack

# Of weights after some fifty steps: the products of a stack round differently.
RTOL, ATOL = 1e-3, 2e-4
# what differs between neighbours in a stack, beside the seed
NEIGHBOURS = (
    "optimizer.lr=0.003 optimizer.weight_decay=0.1 data.fold=1 model.dropout=0.5 "
    "training.clip_grad_norm=5",
    "optimizer.lr=0.0001 data.augment.flip=0.9 model.input_dropout=0.4 loss.label_smoothing=0.3",
    "optimizer.betas=[0.8,0.99] data.augment.shift=2 data.augment.noise=0.3 data.augment.mixup=1.0 "
    "training.ema=0.5",
)
FULL = (
    "model.dropout=0.2",
    "model.input_dropout=0.1",
    "training.ema=0.9",
    "training.clip_grad_norm=0.5",
    "loss.label_smoothing=0.1",
    "data.augment.flip=0.5",
    "data.augment.shift=1",
    "data.augment.erase=0.3",
    "data.augment.noise=0.1",
    "data.augment.mixup=0.5",
)


def final_bits(member: Member) -> tuple[dict[str, list[object]], list[dict[str, float]]]:
    """Weights and history, without the speed and times, which no two runs share."""
    assert member.weights is not None
    weights = {name: tensor.flatten().tolist() for name, tensor in member.weights.items()}
    history = [
        {key: value for key, value in row.items() if key not in ("images_per_second", "time")}
        for row in member.history
    ]
    return weights, history


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "rms"])
@pytest.mark.parametrize("is_full", [False, True])
def test_a_run_of_a_stack_is_the_run_alone_within_a_tolerance(
    is_full: bool, normalization: str, tmp_path: Path
) -> None:
    """Four that differ in all that may differ: weights after fifty steps, and every epoch."""
    folder = make_data(tmp_path / "data")
    words = [
        *(FULL if is_full else ()),
        "model.hidden_sizes=[13,13,7]",
        "model.residual=true",
        "model.activation=gelu",
        f"model.normalization={normalization}",
        "training.epochs=10",
    ]
    on = {word.partition("=")[0] for word in words} | {"optimizer.lr", "data.fold"}
    on |= {"optimizer.weight_decay", "optimizer.betas"}
    neighbours = [
        # whether a part is there at all must agree within a stack
        [word for word in own.split() if word.partition("=")[0] in on]
        for own in NEIGHBOURS
    ]
    configs = [
        make_config(folder, *words, *own, f"seed={seed}")
        for seed, own in enumerate([[], *neighbours])
    ]
    machine, dataset = Machine("cpu", "fp32", 1), load(folder)
    together = train_stack(configs, dataset, machine, tmp_path / "together")
    for k, config in enumerate(configs):
        [alone] = train_stack([config], dataset, machine, tmp_path / f"alone{k}")
        assert_close(together[k], alone)


def assert_close(one: Member, other: Member) -> None:
    """Weights and losses of every epoch agree within the tolerance of stacks."""
    assert one.weights is not None
    assert other.weights is not None
    for name, tensor in one.weights.items():
        torch.testing.assert_close(tensor, other.weights[name], rtol=RTOL, atol=ATOL, msg=name)
    losses = [[row["train/loss"] for row in member.history] for member in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("sizes", ["[512,256]", "[517,261]", "[]"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_has_the_same_bits_at_each_start(
    sizes: str, threads: int, precision: str, tmp_path: Path
) -> None:
    """At sizes whose products threads share out, and that go to either library."""
    folder = make_data(tmp_path / "data", num_train=320, image_shape=(28, 28))
    words = [*FULL, f"model.hidden_sizes={sizes}", "training.batch_size=128", "training.epochs=1"]
    words += ["model.dropout=0"] if sizes == "[]" else []  # acts in hidden layers alone
    dataset, machine = load(folder), Machine("cpu", precision, threads)
    first, second = (
        final_bits(*train_stack([make_config(folder, *words)], dataset, machine, tmp_path / place))
        for place in ("first", "second")
    )
    assert first == second


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adamw", "nadam", "rmsprop", "adagrad", "adafactor", "asgd"]
)
def test_a_run_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    """Stopped after an epoch and loaded from its checkpoint."""
    folder = make_data(tmp_path / "data")
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    words = [*FULL, f"optimizer={optimizer}", "model.hidden_sizes=[9]", "training.epochs=4"]
    words += ["model.normalization=batch", "training.checkpoint_seconds=0"]
    config = make_config(folder, *words)
    [whole] = train_stack([config], dataset, machine, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_stack([config], dataset, machine, tmp_path / "stopped", observer=stop_after(2))
    [resumed] = train_in([tmp_path / "stopped" / "0"], [config], dataset, machine)
    assert resumed.final_epoch == 4
    assert final_bits(resumed) == final_bits(whole)


def test_a_run_leaves_its_stack_and_goes_on(tmp_path: Path) -> None:
    """A stack that was stopped goes on as runs alone, within the tolerance."""
    folder = make_data(tmp_path / "data")
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    words = [*FULL, "model.hidden_sizes=[9]", "training.epochs=4", "model.normalization=batch"]
    words += ["training.checkpoint_seconds=0"]
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(3)]
    whole = train_stack(configs, dataset, machine, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_stack(configs, dataset, machine, tmp_path / "stopped", observer=stop_after(2))
    for k, config in enumerate(configs):
        [resumed] = train_in([tmp_path / "stopped" / str(k)], [config], dataset, machine)
        assert_close(resumed, whole[k])


def stop_after(epoch: int) -> Observer:
    """Interrupt in the middle of the epoch after that one."""

    def on_step(stack: Stack, step: int) -> None:
        if stack.epoch == epoch and step == 1:
            raise InterruptedError

    return Observer(on_step=on_step)


def test_early_stopping_frees_a_member_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    """A run that stops early is its best epoch; its neighbours end as they would have."""
    folder = make_data(tmp_path / "data")
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    words = [
        "model.hidden_sizes=[8]",
        "training.epochs=12",
        "training.early_stopping.metric=val/loss",
        "training.early_stopping.patience=2",
    ]
    configs = [
        make_config(folder, *words, f"optimizer.lr={lr}", f"seed={seed}")
        for seed, lr in enumerate([0.0001, 1.0, 0.03])
    ]
    together = train_stack(configs, dataset, machine, tmp_path / "together")
    assert len({len(member.history) for member in together}) > 1, "all stopped at once"
    for k, member in enumerate(together):
        losses = [row["val/loss"] for row in member.history]
        assert member.final_epoch == 1 + losses.index(min(losses))
        assert len(losses) in (12, member.final_epoch + 2)
        [alone] = train_stack([configs[k]], dataset, machine, tmp_path / f"alone{k}")
        assert alone.final_epoch == member.final_epoch
        assert_close(alone, member)


def test_a_network_that_overflows_after_its_last_step_has_diverged(tmp_path: Path) -> None:
    """Its weights and its loss were finite; its figures are not."""
    folder = make_data(tmp_path / "data")
    words = ["optimizer=sgd", "optimizer.lr=1e20", "model.hidden_sizes=[4]", "training.epochs=1"]
    config = make_config(folder, *words, "training.batch_size=70")
    [member] = train_stack([config], load(folder), Machine("cpu", "fp32", 1), tmp_path / "runs")
    assert member.divergence is not None
    assert member.weights is None


def test_divergence_fails_its_member_alone(tmp_path: Path) -> None:
    """An absurd learning rate fails that run, with the step; its neighbour is untouched."""
    folder = make_data(tmp_path / "data")
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    words = ["optimizer=sgd", "model.hidden_sizes=[8]", "training.epochs=3", "schedule=constant"]
    configs = [make_config(folder, *words, f"optimizer.lr={lr}") for lr in ("1e30", "0.1")]
    broken, sound = train_stack(configs, dataset, machine, tmp_path / "together")
    assert broken.divergence is not None
    assert broken.weights is None
    assert (broken.divergence.epoch, broken.divergence.step) == (1, 2)
    assert 0 < broken.divergence.last_finite_loss < 10
    [alone] = train_stack([configs[1]], dataset, machine, tmp_path / "alone")
    assert_close(alone, sound)
