"""Networks of a stack are optimised as torch would optimise each by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fashion_mnist.models.network import MLP, Architecture, build_mlp
from fashion_mnist.training.optim import (
    BatchedOptimizer,
    StackOptimizer,
    build_optimizer,
    can_batch,
    optimizer_names,
    option_defaults,
    refusal,
)
from fashion_mnist.training.schedules import constant

ARCHITECTURE = Architecture(3, (4,), 2, normalization="layer")
OPTIONS = [{"lr": 0.01}, {"lr": 0.1}]
ALIKE = [{"lr": 0.1}, {"lr": 0.1}]  # torch is given both in one tensor
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


@pytest.mark.parametrize("options", [OPTIONS[:1], OPTIONS, ALIKE])
@pytest.mark.parametrize("name", optimizer_names())
def test_each_network_is_torchs_own(name: str, options: list[dict[str, float]]) -> None:
    """With a learning rate and a factor for each, or one for all; biases have one dimension."""
    num_networks, factors = len(options), [0.5, 0.5] if options is ALIKE else FACTORS
    model = make_model(num_networks)
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
    functions = {factor: (lambda _, f=factor: f) for factor in factors}
    schedules = [functions[factor] for factor in factors[:num_networks]]
    stacked = StackOptimizer(model, name=name, options=options, schedules=schedules)
    for step in range(5):
        gradients = give_gradients(model, step)
        stacked.step(0.5)
        assert all(parameter.grad is None for parameter in model.parameters())
        for r, (own, optimizer) in enumerate(zip(alone, torchs, strict=True)):
            for key, gradient in gradients.items():
                own[key].grad = gradient[r].clone() if num_networks > 1 else gradient
            optimizer.param_groups[0]["lr"] = options[r]["lr"] * factors[r]
            optimizer.step()
    for r, own in enumerate(alone):
        for key, parameter in model.named_parameters():
            value = parameter.detach()[r] if num_networks > 1 else parameter.detach()
            torch.testing.assert_close(value, own[key].detach(), msg=key)


@pytest.mark.parametrize("options", [OPTIONS, ALIKE])
@pytest.mark.parametrize("name", optimizer_names())
def test_a_networks_state_goes_on_in_another_stack(
    name: str, options: list[dict[str, float]]
) -> None:
    """Saved after some steps and loaded alone and in a stack, it steps as it would have."""
    both, schedules = make_model(2), [constant, constant]
    optimizer = StackOptimizer(both, name=name, options=options, schedules=schedules)
    for step in range(3):
        give_gradients(both, step)
        optimizer.step(0.5)
    one = build_mlp(ARCHITECTURE)
    one.load_state_dict({key: tensor[1].clone() for key, tensor in both.state_dict().items()})
    own = StackOptimizer(one, name=name, options=options[1:], schedules=schedules[1:])
    own.load_state_dict(0, optimizer.state_dict(1))
    others = make_model(2)
    others.load_state_dict(both.state_dict())
    again = StackOptimizer(others, name=name, options=options, schedules=schedules)
    for network in range(2):
        again.load_state_dict(network, optimizer.state_dict(network))
    for step in range(3, 5):
        gradients = give_gradients(both, step)
        give_gradients(others, step)
        for key, parameter in one.named_parameters():
            parameter.grad = gradients[key][1].clone()
        for each in (optimizer, own, again):
            each.step(0.5)
    for key, tensor in both.state_dict().items():
        torch.testing.assert_close(one.state_dict()[key], tensor[1], msg=key)
        torch.testing.assert_close(others.state_dict()[key], tensor, msg=key)


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


BATCHED: dict[str, list[dict[str, Any]]] = {
    "adamw": [
        {"lr": 0.01},
        {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.3, "eps": 1e-3},
        {"lr": 0.003, "betas": (0.0, 0.99), "weight_decay": 0.0},
    ],
    "sgd": [
        {"lr": 0.1},
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.3},
        {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.01},
    ],
    "sgd, nesterov": [
        {"lr": 0.1, "momentum": 0.3, "nesterov": True},
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        {"lr": 0.3, "momentum": 0.5, "nesterov": True},
    ],
}


def assert_close(model: MLP, other: MLP) -> None:
    """Every parameter, to the rounding of float32 over some steps."""
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, other.get_parameter(key), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("clip_grad_norm", [None, [0.5, 2.0, 1e6]])
@pytest.mark.parametrize("case", BATCHED)
def test_a_batched_optimizer_is_torchs_own(case: str, clip_grad_norm: list[float] | None) -> None:
    """Numbers of each network's own; one of three leaves on the way; states are torch's too."""
    name, options = case.partition(",")[0], BATCHED[case]
    factors: list[Callable[[float], float]] = [
        lambda progress: 1 - progress,
        constant,
        lambda _: 0.5,
    ]
    models = make_model(3), make_model(3)
    kinds: list[type[BatchedOptimizer] | type[StackOptimizer]] = [BatchedOptimizer, StackOptimizer]
    first, second = (
        kind(model, name=name, options=options, schedules=factors, clip_grad_norm=clip_grad_norm)
        for kind, model in zip(kinds, models, strict=True)
    )
    for step in range(6):
        for model, optimizer in zip(models, (first, second), strict=True):
            give_gradients(model, step)
            optimizer.step(step / 10)
        assert first.learning_rates() == pytest.approx(second.learning_rates())
    assert_close(*models)
    kept = [0, 2]
    for network in range(3):
        torch.testing.assert_close(first.state_dict(network), second.state_dict(network))
    rests = make_model(2), make_model(2)
    for rest, model in zip(rests, models, strict=True):
        rest.load_state_dict({key: tensor[kept] for key, tensor in model.state_dict().items()})
    norms = clip_grad_norm and [clip_grad_norm[r] for r in kept]
    own = [options[r] for r in kept]
    others = [
        kind(rest, name=name, options=own, schedules=factors[:2], clip_grad_norm=norms)
        for kind, rest in zip(kinds, rests, strict=True)
    ]
    # each goes on with the states of the other
    for optimizer, before in zip(others, (second, first), strict=True):
        for network, r in enumerate(kept):
            optimizer.load_state_dict(network, before.state_dict(r))
    for step in range(6, 10):
        for rest, optimizer in zip(rests, others, strict=True):
            give_gradients(rest, step)
            optimizer.step(step / 10)
    assert_close(*rests)


def test_only_stacks_on_a_gpu_are_batched() -> None:
    """The CPU keeps torch's own, to the bit; so do options that the batched one does not have."""
    model = make_model(2)
    optimizer = build_optimizer(model, name="adamw", options=OPTIONS, schedules=[constant] * 2)
    assert isinstance(optimizer, StackOptimizer)
    assert can_batch("adamw", OPTIONS)
    assert not can_batch("rmsprop", OPTIONS)
    assert not can_batch("adamw", [{"lr": 0.1, "amsgrad": True}] * 2)
    assert not can_batch("sgd", [{"lr": 0.1, "nesterov": flag} for flag in (True, False)])


def test_dense_first_order_optimizers_of_torch_are_there() -> None:
    """All but those that are refused with a reason; their options are torch's."""
    assert {"sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad"} < set(optimizer_names())
    assert not {"lbfgs", "sparseadam"} & set(optimizer_names())
    assert refusal("lbfgs")
    assert refusal("sparseadam")
    assert set(option_defaults("sgd")) == {"momentum", "dampening", "weight_decay", "nesterov"}
