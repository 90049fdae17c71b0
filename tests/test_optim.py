"""Members of a stack are optimised as torch would optimise each by itself."""

import pytest
import torch

from fashion_mnist.optim import StackedOptimizer, optimizer_names, option_defaults, refusal
from fashion_mnist.parameters import Parameters


@pytest.mark.parametrize("name", optimizer_names())
def test_each_member_is_torchs_own(name: str) -> None:
    """With a learning rate and a factor for each member, over some steps."""
    options = [{"lr": 0.01}, {"lr": 0.1}]
    values = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    parameters = Parameters({"weight": (4, 3)}, {}, num_members=2)
    parameter = parameters.by_name["weight"]
    parameter.value.copy_(values)
    stacked = StackedOptimizer(parameters, name=name, options=options)
    alone = [value.clone().requires_grad_() for value in values]
    kind = next(k for n, k in vars(torch.optim).items() if n.lower() == name)
    torchs = [kind([tensor], **own) for tensor, own in zip(alone, options, strict=True)]
    for step in range(5):
        gradient = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(step))
        parameter.gradient.copy_(gradient)
        stacked.step([1.0, 0.5])
        for r, (tensor, optimizer) in enumerate(zip(alone, torchs, strict=True)):
            optimizer.param_groups[0]["lr"] = options[r]["lr"] * [1.0, 0.5][r]
            tensor.grad = gradient[r].clone()
            optimizer.step()
    for own, tensor in zip(parameter.value, alone, strict=True):
        torch.testing.assert_close(own, tensor.detach())


def test_clipping_bounds_each_members_own_gradient() -> None:
    """A large gradient of one member does not shrink another's."""
    parameters = Parameters({}, {"bias": 2}, num_members=2)
    parameter = parameters.by_name["bias"]
    parameter.gradient.copy_(torch.tensor([[[30.0, 40.0]], [[0.3, 0.4]]]))
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
