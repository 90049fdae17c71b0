"""Golden weights: when they change, the same config means other numbers than it did before."""

from pathlib import Path

import pytest

from fashion_mnist.training.device import Machine
from tests.builders import load, make_config, make_data, train_stack

# Raise NUMERICS_VERSION in runs/identity.py whenever these change for another reason than torch's.
# Sums of absolute values, with a tolerance: processors round differently.
GOLDEN = {
    "hidden1.linear.weight": 19.328702,
    "hidden1.normalization.weight": 6.866186,
    "hidden1.normalization.bias": 0.112969,
    "hidden2.linear.weight": 9.502956,
    "hidden2.normalization.weight": 6.805794,
    "hidden2.normalization.bias": 0.230578,
    "output.weight": 3.408201,
    "output.bias": 0.503181,
    "hidden1.normalization.running_var": 3.785240,
    "hidden2.normalization.running_var": 2.689427,
    "hidden1.normalization.running_mean": 1.847640,
    "hidden2.normalization.running_mean": 0.998099,
}


def test_a_known_config_gives_known_weights(tmp_path: Path) -> None:
    """Everything that draws numbers or computes with them has a part in these."""
    folder = make_data(tmp_path / "data")
    config = make_config(
        folder,
        "model.hidden_sizes=[7,7]",
        "model.activation=gelu",
        "model.normalization=batch",
        "model.residual=true",
        "model.dropout=0.2",
        "model.input_dropout=0.1",
        "data.augment.flip=0.5",
        "data.augment.shift=1",
        "data.augment.erase=0.3",
        "data.augment.noise=0.1",
        "data.augment.mixup=0.5",
        "training.ema=0.9",
        "training.epochs=3",
        "optimizer.lr=0.01",
    )
    [member] = train_stack([config], load(folder), Machine("cpu", "fp32", 1), tmp_path / "runs")
    assert member.weights is not None
    sizes = {name: float(member.weights[name].double().abs().sum()) for name in GOLDEN}
    assert sizes == pytest.approx(GOLDEN, rel=1e-4)
