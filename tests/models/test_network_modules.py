"""The modules are torch's own, alone and in a stack."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashion_mnist.models import network, onednn
from fashion_mnist.models.network import (
    ACTIVATIONS,
    MLP,
    Architecture,
    BatchNorm,
    Dropout,
    LayerNorm,
    Linear,
    Normalization,
    RMSNorm,
    SwiGLU,
    build_activation,
    build_mlp,
    initialize,
    num_parameters,
    random_bytes,
)
from fashion_mnist.training.rng import make_generators

SEEDS = (3, 4, 5)


def make_stack(architecture: Architecture, *, num_networks: int = 3) -> MLP:
    """Networks with weights of different seeds."""
    model = build_mlp(architecture, num_networks=num_networks)
    initialize(model, "default", make_generators(SEEDS[:num_networks], "weights"))
    return model


def one_of(stack: MLP, architecture: Architecture, number: int) -> MLP:
    """One network of a stack by itself."""
    alone = build_mlp(architecture)
    alone.load_state_dict({name: tensor[number] for name, tensor in stack.state_dict().items()})
    return alone


def test_the_network_imports_torch_alone() -> None:
    """It is shipped with a recorded model, where this package is not installed."""
    tree = ast.parse(Path(network.__file__).read_text(encoding="utf-8"))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names == {"collections", "dataclasses", "functools", "itertools", "torch", "typing"}


@pytest.mark.parametrize("normalization", ["none", "batch", "layer", "rms"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_stack_is_its_networks(activation: str, normalization: Normalization) -> None:
    """Logits, running statistics and gradients of each are those of the network alone.

    In float64: layers that divide by the deviation of a few units enlarge float32's rounding.
    """
    architecture = Architecture(
        num_inputs=6,
        hidden_sizes=(6, 6, 5),
        num_classes=4,
        activation=activation,
        normalization=normalization,
        residual=True,
    )
    stack = make_stack(architecture).double()
    alone = [one_of(stack, architecture, number).double() for number in range(3)]
    x, upstream = torch.randn(3, 9, 6).double(), torch.randn(3, 9, 4).double()
    logits = stack(x)
    logits.backward(upstream)
    gradients = {name: p.grad for name, p in stack.named_parameters()}
    for number, own in enumerate(alone):
        expected = own(x[number : number + 1])
        torch.testing.assert_close(logits[number : number + 1], expected)
        expected.backward(upstream[number : number + 1])
        for name, parameter in own.named_parameters():
            gradient = gradients[name]
            assert gradient is not None
            torch.testing.assert_close(gradient[number], parameter.grad, msg=name)
        torch.testing.assert_close(stack.eval()(x)[number], own.eval()(x[number]))
        stack.train()


def test_a_network_of_a_stack_of_one_is_the_network_alone() -> None:
    """To the bit, with the leading dimension and without."""
    model = make_stack(Architecture(7, (5, 4), 3, normalization="batch"), num_networks=1)
    x = torch.randn(8, 7)
    model.eval()
    assert torch.equal(model(x.unsqueeze(0)), model(x).unsqueeze(0))


NORMALIZATIONS: list[tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = [
    (BatchNorm, nn.BatchNorm1d),
    (LayerNorm, nn.LayerNorm),
    (RMSNorm, nn.RMSNorm),
]


@pytest.mark.parametrize(("ours", "torchs"), NORMALIZATIONS, ids=["batch", "layer", "rms"])
def test_normalizations_are_torchs(
    ours: Callable[[int], nn.Module], torchs: Callable[[int], nn.Module]
) -> None:
    """In training and, with the statistics that came of it, in evaluation."""
    own, expected = ours(5), torchs(5)
    with torch.no_grad():
        for name, parameter in expected.named_parameters():
            parameter.normal_()
            own.get_parameter(name).copy_(parameter)
    for _ in range(3):
        x = torch.randn(8, 5) * 3 + 1
        torch.testing.assert_close(own(x), expected(x))
    torch.testing.assert_close(own.eval()(x), expected.eval()(x))


def test_products_are_in_the_dtype_asked_for_in_training_only() -> None:
    """bf16 rounds the logits of a training step; recorded scores are those of float32."""
    layer = Linear(64, 8, dtype=torch.bfloat16)
    exact = Linear(64, 8)
    with torch.no_grad():
        for name, parameter in exact.named_parameters():
            parameter.normal_()
            layer.get_parameter(name).copy_(parameter)
    x = torch.randn(5, 64)
    rounded = F.linear(*(t.bfloat16() for t in (x, exact.weight, exact.bias))).float()  # type: ignore[union-attr]  # it has a bias
    assert torch.equal(layer(x), rounded)
    assert not torch.equal(layer(x), exact(x))
    assert torch.equal(layer.eval()(x), exact(x))


@pytest.mark.parametrize("width", [784, 6])
def test_a_first_layer_as_wide_as_the_image_can_be_residual(width: int) -> None:
    """It adds the pixels, and needs no gradient for them."""
    architecture = Architecture(width, (width,), 3, residual=True)
    model = make_stack(architecture, num_networks=1)
    x = torch.randn(2, width)
    model(x).sum().backward()
    layer = model.get_submodule("hidden1.linear")
    expected = x + F.relu(layer(x))
    output = model.get_submodule("output")
    torch.testing.assert_close(model(x), output(expected))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("value", [True, False])
def test_inplace_is_no_argument_of_an_activation(name: str, value: bool) -> None:
    """Whatever its value: those of torch that take it would overwrite what a gradient needs."""
    with pytest.raises(TypeError, match="inplace"):
        build_activation(name, {"inplace": value})


def test_swiglu_is_a_gated_unit() -> None:
    """The product of one half and the SiLU of the other; its layer has twice the outputs."""
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]])
    expected = torch.tensor([[1.0 * 0.0, -2.0 * 3.0 * torch.sigmoid(torch.tensor(3.0))]])
    torch.testing.assert_close(SwiGLU()(x), expected)
    architecture = Architecture(10, (4, 3), 2, activation="swiglu", normalization="batch")
    assert architecture.linear_sizes == [(10, 8), (4, 6), (3, 2)]
    weights = 10 * 8 + 4 * 6 + 3 * 2
    assert architecture.num_weights == weights
    assert num_parameters(architecture) == weights + 2 * 8 + 2 * 6 + 2


def test_layers_before_batch_normalization_have_no_bias() -> None:
    """It would be taken away again."""
    for normalization in ("none", "batch", "layer", "rms"):
        model = build_mlp(Architecture(4, (3,), 2, normalization=normalization))
        assert ("hidden1.linear.bias" in model.state_dict()) == (normalization != "batch")


def test_every_byte_position_is_uniform() -> None:
    """Each of the eight bytes of a word drops at the rate asked for, the top one too."""
    count = 8 * 40_000
    [row] = random_bytes(count, make_generators([0], "dropout"))
    kept = (row.view(-1, 8) >= 77).double().mean(0)
    assert kept.tolist() == pytest.approx([179 / 256] * 8, abs=0.01)


@pytest.mark.parametrize("rates", [[0.3, 0.9], [0.3]])
def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask(rates: list[float]) -> None:
    """What is kept is scaled by the exact share that is kept, for each network its own."""
    layer = Dropout(rates, make_generators(range(len(rates)), "dropout"))
    shape = (len(rates), 400, 251) if len(rates) > 1 else (400, 251)
    ones = torch.ones(shape, requires_grad=True)
    out: Tensor = layer(ones)
    out.sum().backward()  # type: ignore[no-untyped-call]  # torch has no type
    assert ones.grad is not None
    assert torch.equal(ones.grad, out)
    first = out[0] if len(rates) > 1 else out
    assert torch.unique(first).tolist() == pytest.approx([0, 256 / (256 - 77)])
    assert out.view(len(rates), -1).mean(1).tolist() == pytest.approx([1] * len(rates), abs=0.02)
    assert layer.eval()(ones) is ones


def test_any_rate_above_0_drops_something() -> None:
    """The smallest is one 256th, for a search may draw less."""
    [generator] = make_generators([0], "dropout")
    shape = torch.Size([400, 256])
    for rate, share in ((1e-9, 1 / 256), (0.0, 0.0)):
        dropped = (Dropout([rate], [generator]).mask(shape) == 0).float().mean()
        assert float(dropped) == pytest.approx(share, abs=1e-3)


@pytest.mark.skipif(not onednn.is_there(), reason="torch was built without oneDNN")
@pytest.mark.parametrize("has_bias", [True, False])
def test_onednn_multiplies_as_torch_does(has_bias: bool) -> None:
    """Result and gradients of a product that is large enough for it, within rounding."""
    x = torch.randn(130, 300, requires_grad=True)
    weight = torch.randn(500, 300, requires_grad=True)
    bias = torch.randn(500, requires_grad=True) if has_bias else None
    assert x.shape[0] * weight.numel() >= onednn.LARGE_PRODUCT
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    upstream = torch.randn(130, 500)
    result = onednn.linear(x, weight, bias)
    expected = F.linear(x, weight, bias)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(result, leaves, upstream)
    for own, torchs in zip(gradients, torch.autograd.grad(expected, leaves, upstream), strict=True):
        torch.testing.assert_close(own, torchs, rtol=1e-4, atol=1e-3)


def test_small_products_and_other_types_stay_with_torch() -> None:
    """To the bit."""
    for x, weight in (
        (torch.randn(8, 30), torch.randn(20, 30)),
        (torch.randn(130, 300).bfloat16(), torch.randn(500, 300).bfloat16()),
    ):
        assert torch.equal(onednn.linear(x, weight, None), F.linear(x, weight))
