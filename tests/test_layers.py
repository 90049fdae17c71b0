"""Random bytes and the gradients that are written by hand."""

import pytest
import torch
from torch import Tensor

from fashion_mnist.layers import Dropout, random_bytes
from fashion_mnist.model import StackedMLP
from fashion_mnist.network import Architecture, Normalization, build_activation, build_network
from fashion_mnist.products import ALIGNMENT_BYTES, slab
from fashion_mnist.randomness import make_generators
from fashion_mnist.rowwise import DERIVATIVES, Elementwise


def test_every_byte_position_is_uniform() -> None:
    """Each of the eight bytes of a word drops at the rate asked for, the top one too."""
    count = 8 * 40_000
    [row] = random_bytes(count, make_generators([0], "dropout"))
    kept = (row.view(-1, 8) >= 77).double().mean(0)
    assert kept.tolist() == pytest.approx([179 / 256] * 8, abs=0.01)


@pytest.mark.parametrize("shape", [(3,), (5, 7), (16, 4), (1, 1)])
def test_members_start_at_multiples_of_the_alignment(shape: tuple[int, ...]) -> None:
    """Whatever the size of a member, and members do not overlap."""
    tensor = slab(3, *shape)
    tensor.copy_(torch.arange(tensor.numel()).view(3, *shape))
    assert tensor.flatten().tolist() == list(range(tensor.numel()))
    assert all(member.data_ptr() % ALIGNMENT_BYTES == 0 for member in tensor)


def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask() -> None:
    """What is kept is scaled by the exact share that is kept."""
    layer = Dropout([0.3, 0.9], make_generators([1, 2], "dropout"))
    ones = [torch.ones(400, 250), torch.ones(400, 250)]
    out = layer.forward(ones, training=True)
    assert [float(part.mean()) for part in out] == pytest.approx([1, 1], abs=0.02)
    assert torch.unique(out[0]).tolist() == pytest.approx([0, 256 / (256 - 77)])
    assert torch.equal(torch.stack(layer.backward(ones)), torch.stack(out))
    assert layer.forward(ones, training=False) is ones


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_those_of_autograd_to_the_bit(name: str) -> None:
    """torch's own operation for a derivative, called without autograd, gives autograd's bits."""
    function = build_activation(name, {})
    x = torch.cat([torch.linspace(-30, 30, 1001), torch.tensor([0.0, -0.0])]).view(17, 59)
    upstream = torch.randn(x.shape)
    layer = Elementwise(function, DERIVATIVES[name])
    leaf = x.clone().requires_grad_()
    function(leaf).backward(upstream)
    [out] = layer.forward([x], training=True)
    assert torch.equal(out, function(x))
    assert leaf.grad is not None
    [gradient] = layer.backward([upstream])
    assert torch.equal(gradient, leaf.grad)


@pytest.mark.parametrize("options", [{"approximate": "tanh"}, {"negative_slope": 0.3}], ids=str)
def test_derivatives_take_the_options_of_their_function(options: dict[str, float | str]) -> None:
    """What a config sets on an activation holds for its derivative too."""
    name = "gelu" if "approximate" in options else "leaky_relu"
    architecture = Architecture(5, (6,), 3, activation=name, activation_options=options)
    model, upstream = StackedMLP(architecture, seeds=[0]), torch.randn(1, 4, 3)
    x = torch.randn(1, 4, 5)
    model.forward(x, training=True)
    model.backward(upstream)
    network = build_network(architecture)
    network.load_state_dict(model.state_dict(0))
    network(x[0]).backward(upstream[0])
    own = model.parameters.by_name["hidden1.linear.weight"]
    expected = dict(network.named_parameters())["hidden1.linear.weight"].grad
    assert expected is not None
    assert torch.allclose(own.gradients[0], expected, atol=1e-6)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "rms"])
@pytest.mark.parametrize("residual", [False, True])
def test_gradients_are_those_of_autograd(normalization: Normalization, residual: bool) -> None:
    """Backward by hand and autograd through the exported network agree for every member."""
    architecture = Architecture(
        num_inputs=11,
        hidden_sizes=(6, 6, 5),
        num_classes=4,
        activation="gelu",
        normalization=normalization,
        residual=residual,
    )
    model = StackedMLP(architecture, seeds=[3, 4])
    x, upstream = torch.randn(2, 9, 11), torch.randn(2, 9, 4)
    states = [model.state_dict(member) for member in range(2)]  # before running statistics move
    logits = model.forward(x, training=True)
    model.backward(upstream)
    for member, state in enumerate(states):
        network = build_network(architecture)
        network.load_state_dict(state)
        expected = network(x[member])
        expected.backward(upstream[member])
        torch.testing.assert_close(logits[member], expected)
        for name, parameter in network.named_parameters():
            gradient = model.parameters.by_name[name].gradients[member]
            assert parameter.grad is not None
            torch.testing.assert_close(gradient.view_as(parameter), parameter.grad, msg=name)


def test_running_statistics_are_torchs() -> None:
    """After some steps the exported network evaluates as the member does."""
    architecture = Architecture(
        num_inputs=6, hidden_sizes=(5,), num_classes=3, normalization="batch"
    )
    model = StackedMLP(architecture, seeds=[0, 1])
    network = build_network(architecture)
    network.load_state_dict(model.state_dict(1))
    for _ in range(3):
        x: Tensor = torch.randn(2, 8, 6) * 3 + 1
        model.forward(x, training=True)
        network(x[1])
    network.eval()
    torch.testing.assert_close(model.forward(x, training=False)[1], network(x[1]))
