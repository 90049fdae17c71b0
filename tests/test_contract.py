"""A run gives the same bits alone, beside any neighbours, and after it was interrupted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.machine import Machine
from fashion_mnist.network import ACTIVATIONS
from fashion_mnist.runs.training import Member, Observer
from fashion_mnist.stack import Stack
from tests.builders import load, make_config, make_data, train_in, train_stack

THREADS = (1, 2, 3)
# what differs between neighbours in a stack, beside the seed
NEIGHBOURS = (
    "optimizer.lr=0.003 optimizer.weight_decay=0.1 data.fold=1 model.dropout=0.5",
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


def with_neighbours(folder: Path, overrides: Sequence[str]) -> list[Config]:
    """A run and its neighbours, which differ from it in all that neighbours may differ in."""
    on = {word.partition("=")[0] for word in overrides}
    configs = [make_config(folder, *overrides)]
    for seed, words in enumerate(NEIGHBOURS, start=1):
        own = [
            word
            for word in words.split()
            # whether a part is there at all must agree within a stack
            if word.partition("=")[0] in on | {"optimizer.lr", "data.fold", "optimizer.betas"}
        ]
        configs.append(make_config(folder, *overrides, *own, f"seed={seed}"))
    return configs


def assert_same_alone_and_in_a_stack(
    configs: Sequence[Config], dataset: Dataset, threads: int, folder: Path
) -> None:
    """Train all as a stack, then each by itself; weights and figures agree to the bit."""
    machine = Machine("cpu", "fp32", threads)
    together = train_stack(configs, dataset, machine, folder / "together")
    for k, config in enumerate(configs):
        [alone] = train_stack([config], dataset, machine, folder / f"alone{k}")
        assert final_bits(alone) == final_bits(together[k])


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "rms"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_member_equals_its_run_alone(activation: str, normalization: str, tmp_path: Path) -> None:
    """Every activation and normalisation, odd widths, a partial batch, neighbours of all kinds."""
    folder = make_data(tmp_path / "data")
    configs = with_neighbours(
        folder,
        [
            *FULL,
            "model.hidden_sizes=[13,13,7]",
            "model.residual=true",
            f"model.activation={activation}",
            f"model.normalization={normalization}",
            "training.epochs=2",
        ],
    )
    assert_same_alone_and_in_a_stack(configs, load(folder), 1, tmp_path)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("sizes", ["[512,256]", "[517,261]", "[]"])
@pytest.mark.parametrize("extra", [(), (*FULL, "model.normalization=batch")], ids=["plain", "full"])
def test_contract_holds_where_threads_share_the_work(
    sizes: str, threads: int, extra: Sequence[str], tmp_path: Path
) -> None:
    """At sizes that the kernels divide among threads, with one, two and three of them."""
    if sizes == "[]":
        extra = [word for word in extra if "normalization" not in word]
    folder = make_data(tmp_path / "data", num_train=320, image_shape=(28, 28))
    words = [f"model.hidden_sizes={sizes}", "training.batch_size=128", "training.epochs=1"]
    configs = with_neighbours(folder, [*words, "model.activation=silu", *extra])
    assert_same_alone_and_in_a_stack(configs, load(folder), threads, tmp_path)


@pytest.mark.parametrize("last_batch", [1, 6, 7])
@pytest.mark.parametrize("sizes", ["[512,512]", "[1,16]", "[17,64]"])
def test_contract_holds_at_sizes_that_once_broke_it(
    sizes: str, last_batch: int, tmp_path: Path
) -> None:
    """Batched products round differently for one member and for several at these, and others."""
    folder = make_data(tmp_path / "data", num_train=148 + last_batch, image_shape=(28, 28))
    words = [f"model.hidden_sizes={sizes}", "training.batch_size=128", "training.epochs=1"]
    configs = with_neighbours(folder, words)
    assert_same_alone_and_in_a_stack(configs, load(folder), 2, tmp_path)


@pytest.mark.parametrize("optimizer", ["sgd", "nadam", "rmsprop", "adagrad", "adafactor", "asgd"])
def test_member_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    """Stopped after any epoch and loaded from its checkpoint, beside others or alone."""
    folder = make_data(tmp_path / "data")
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    words = [*FULL, f"optimizer={optimizer}", "model.hidden_sizes=[9]", "training.epochs=4"]
    words += ["model.normalization=batch", "training.checkpoint_seconds=0"]
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(3)]
    whole = train_stack(configs, dataset, machine, tmp_path / "whole")

    stopped = tmp_path / "stopped"
    with pytest.raises(InterruptedError):
        train_stack(configs, dataset, machine, stopped, observer=stop_after(2))
    for k, config in enumerate(configs):
        [resumed] = train_in([stopped / str(k)], [config], dataset, machine)
        assert resumed.final_epoch == 4
        assert final_bits(resumed) == final_bits(whole[k])


def stop_after(epoch: int) -> Observer:
    """Interrupt in the middle of the epoch after that one."""

    def on_step(stack: Stack, step: int) -> None:
        if stack.epoch == epoch and step == 1:
            raise InterruptedError

    return Observer(on_step=on_step, on_epoch=lambda _stack, _rows: None)


def test_early_stopping_frees_a_member_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    """A member that stops early is its best epoch; its neighbours end as they would have."""
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
        assert final_bits(alone) == final_bits(member)


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
    assert final_bits(alone) == final_bits(sound)
