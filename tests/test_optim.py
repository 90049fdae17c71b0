"""Members of a stack are optimised as torch would optimise each by itself."""

import pytest
import torch
from torch import Tensor

from fashion_mnist.optim import StackedOptimizer, optimizer_names, option_defaults, refusal
from fashion_mnist.parameters import Parameter, Parameters

SHAPES = {"weight": (4, 3), "bias": (1, 4), "scale": (1, 5)}


@pytest.mark.parametrize("name", optimizer_names())
def test_each_member_is_torchs_own(name: str) -> None:
    """With a learning rate and a factor for each member, over some steps."""
    options = [{"lr": 0.01}, {"lr": 0.1}]
    parameters = Parameters({"weight": (4, 3)}, {"bias": 4, "scale": 5}, num_members=2)
    for parameter in parameters.by_name.values():
        parameter.value.copy_(draw(SHAPES[parameter.name], seed=-1))
    stacked = StackedOptimizer(parameters, name=name, options=options)
    alone = [
        {key: p.value[r].clone().requires_grad_() for key, p in parameters.by_name.items()}
        for r in range(2)
    ]
    kind = next(k for n, k in vars(torch.optim).items() if n.lower() == name)
    torchs = [
        kind(own.values(), **own_options) for own, own_options in zip(alone, options, strict=True)
    ]
    for step in range(5):
        for key, parameter in parameters.by_name.items():
            gradient = draw(SHAPES[key], seed=step)
            give(parameter, gradient)
            for r, own in enumerate(alone):
                own[key].grad = gradient[r].clone()
        stacked.step([1.0, 0.5])
        for r, optimizer in enumerate(torchs):
            optimizer.param_groups[0]["lr"] = options[r]["lr"] * [1.0, 0.5][r]
            optimizer.step()
    for r, own in enumerate(alone):
        for key, tensor in own.items():
            torch.testing.assert_close(parameters.by_name[key].value[r], tensor.detach())


def draw(shape: tuple[int, int], *, seed: int) -> Tensor:
    """A normal tensor for each of two members."""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed + 1))


def give(parameter: Parameter, gradient: Tensor) -> None:
    """Be the backward of a parameter of two members."""
    if parameter.gradients:
        for place, part in zip(parameter.gradients, gradient, strict=True):
            place.copy_(part)
    else:
        parameter.gradients = list(gradient)


def test_clipping_bounds_each_members_own_gradient() -> None:
    """A large gradient of one member does not shrink another's."""
    parameters = Parameters({}, {"bias": 2}, num_members=2)
    parameter = parameters.by_name["bias"]
    give(parameter, torch.tensor([[[30.0, 40.0]], [[0.3, 0.4]]]))
    optimizer = StackedOptimizer(
        parameters, name="sgd", options=[{"lr": 1.0}] * 2, clip_grad_norm=[5.0, 5.0]
    )
    optimizer.step([1.0, 1.0])
    assert parameter.value.flatten().tolist() == pytest.approx([-3, -4, -0.3, -0.4], abs=1e-5)


def test_dense_first_order_optimizers_of_torch_are_there() -> None:
    """All but those that are refused with a reason; their options are torch's."""
    assert {"sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad"} < set(optimizer_names())
    assert not {"lbfgs", "sparseadam"} & set(optimizer_names())
    assert refusal("lbfgs")
    assert refusal("sparseadam")
    assert set(option_defaults("sgd")) == {"momentum", "dampening", "weight_decay", "nesterov"}
