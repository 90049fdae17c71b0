"""Networks of a stack are optimised as torch would optimise each by itself."""

import pytest
import torch
from torch import Tensor, nn

from fashion_mnist.models.network import MLP, Architecture, build_mlp
from fashion_mnist.training.optim import (
    StackOptimizer,
    optimizer_names,
    option_defaults,
    refusal,
)
from fashion_mnist.training.schedules import constant

ARCHITECTURE = Architecture(3, (4,), 2, normalization="layer")
OPTIONS = [{"lr": 0.01}, {"lr": 0.1}]
FACTORS = [1.0, 0.5]


def make_model(num_networks: int) -> MLP:
    """Networks with normal weights."""
    model = build_mlp(ARCHITECTURE, num_networks=num_networks)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return model


def give_gradients(model: MLP, seed: int) -> dict[str, Tensor]:
    """Be the backward of a model; the gradients, by parameter."""
    draws, gradients = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    for name, parameter in model.named_parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws)
        gradients[name] = parameter.grad.clone()
    return gradients


@pytest.mark.parametrize("num_networks", [1, 2])
@pytest.mark.parametrize("name", optimizer_names())
def test_each_network_is_torchs_own(name: str, num_networks: int) -> None:
    """With a learning rate and a factor for each, over some steps; biases have one dimension."""
    model, options = make_model(num_networks), OPTIONS[:num_networks]
    kind = next(k for n, k in vars(torch.optim).items() if n.lower() == name)
    alone = [
        {
            key: nn.Parameter(p.detach()[r].clone() if num_networks > 1 else p.detach().clone())
            for key, p in model.named_parameters()
        }
        for r in range(num_networks)
    ]
    assert {p.dim() for key, p in alone[0].items() if key.endswith("bias")} == {1}
    torchs = [kind(own.values(), **each) for own, each in zip(alone, options, strict=True)]
    schedules = [lambda _, f=factor: f for factor in FACTORS[:num_networks]]
    stacked = StackOptimizer(model, name=name, options=options, schedules=schedules)
    for step in range(5):
        gradients = give_gradients(model, step)
        stacked.step(0.5)
        assert all(parameter.grad is None for parameter in model.parameters())
        for r, (own, optimizer) in enumerate(zip(alone, torchs, strict=True)):
            for key, gradient in gradients.items():
                own[key].grad = gradient[r].clone() if num_networks > 1 else gradient
            optimizer.param_groups[0]["lr"] = options[r]["lr"] * FACTORS[r]
            optimizer.step()
    for r, own in enumerate(alone):
        for key, parameter in model.named_parameters():
            value = parameter.detach()[r] if num_networks > 1 else parameter.detach()
            torch.testing.assert_close(value, own[key].detach(), msg=key)


@pytest.mark.parametrize("name", optimizer_names())
def test_a_networks_state_goes_on_in_another_stack(name: str) -> None:
    """Saved after some steps and loaded beside other neighbours, it steps as it would have."""
    both, schedules = make_model(2), [constant, constant]
    optimizer = StackOptimizer(both, name=name, options=OPTIONS, schedules=schedules)
    for step in range(3):
        give_gradients(both, step)
        optimizer.step(0.5)
    one = build_mlp(ARCHITECTURE)
    one.load_state_dict({key: tensor[1].clone() for key, tensor in both.state_dict().items()})
    own = StackOptimizer(one, name=name, options=OPTIONS[1:], schedules=schedules[1:])
    own.load_state_dict(0, optimizer.state_dict(1))
    for step in range(3, 5):
        gradients = give_gradients(both, step)
        for key, parameter in one.named_parameters():
            parameter.grad = gradients[key][1].clone()
        optimizer.step(0.5)
        own.step(0.5)
    for key, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, both.state_dict()[key][1], msg=key)


def test_clipping_bounds_each_networks_own_gradient() -> None:
    """A large gradient of one does not shrink another's."""
    model = make_model(2)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimizer = StackOptimizer(
        model,
        name="sgd",
        options=[{"lr": 1.0}] * 2,
        schedules=[constant] * 2,
        clip_grad_norm=[5.0, 5.0],
    )
    for key, parameter in model.named_parameters():
        parameter.grad = torch.zeros_like(parameter)
        if key == "output.bias":
            parameter.grad = torch.tensor([[30.0, 40.0], [0.3, 0.4]])
    optimizer.step(0.5)
    moved = before["output.bias"] - model.get_parameter("output.bias").detach()
    assert moved.flatten().tolist() == pytest.approx([3, 4, 0.3, 0.4], abs=1e-5)


def test_dense_first_order_optimizers_of_torch_are_there() -> None:
    """All but those that are refused with a reason; their options are torch's."""
    assert {"sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad"} < set(optimizer_names())
    assert not {"lbfgs", "sparseadam"} & set(optimizer_names())
    assert refusal("lbfgs")
    assert refusal("sparseadam")
    assert set(option_defaults("sgd")) == {"momentum", "dampening", "weight_decay", "nesterov"}
