"""The table of a network's layers: counted by hand, and as torch counts the whole."""

import pytest

from fashion_mnist.models.network import Architecture, num_parameters
from fashion_mnist.models.summary import summarize


def test_layers_by_hand() -> None:
    """784-4-10 with batch normalisation and dropout: a row for each, in order."""
    architecture = Architecture(784, (4,), 10, normalization="batch")
    rows = [
        (row.name, row.kind, row.num_outputs, row.num_parameters, row.multiply_adds)
        for row in summarize(architecture, (0.2, 0.1))
    ]
    assert rows == [
        ("input_dropout", "Dropout", 784, 0, 0),
        ("hidden1.linear", "Linear", 4, 784 * 4, 784 * 4),
        ("hidden1.normalization", "BatchNorm", 4, 8, 0),
        ("hidden1.activation", "ReLU", 4, 0, 0),
        ("hidden1.dropout", "Dropout", 4, 0, 0),
        ("output", "Linear", 10, 50, 40),
    ]


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(9, (), 3),
        Architecture(9, (9, 9, 5), 3, residual=True, normalization="layer"),
        Architecture(9, (8, 8), 3, activation="swiglu", normalization="rms"),
    ],
)
def test_sums_are_those_of_the_network(architecture: Architecture) -> None:
    """All parameters, and a multiply-add for each weight."""
    rows = summarize(architecture)
    assert sum(row.num_parameters for row in rows) == num_parameters(architecture)
    assert sum(row.multiply_adds for row in rows) == architecture.num_weights
    assert rows[-1].num_outputs == 3
