"""Optimisers: torch's own, with one parameter group for each network of the stack.

R networks in the stack. A network's parameters are views into the stack's, so that every number
that an optimiser takes may differ from network to network.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fashion_mnist.models.network import MLP
from fashion_mnist.training.schedules import Schedule

_REFUSED = {
    "lbfgs": "it wants the loss recomputed within a step",
    "sparseadam": "it takes sparse gradients, and an MLP's are dense",
    "muon": "it takes matrices alone, and a network has biases too",
}
# options of torch that say how to compute, or that the program itself sets
_OWN_OPTIONS = {"params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize"}
_OWN_OPTIONS |= {"initial_accumulator_value"}  # of no group: torch takes one for all members


def optimizer_names() -> list[str]:
    """The names of torch's dense first-order optimisers, in lower case."""
    return sorted(_classes().keys() - _REFUSED.keys())


def refusal(name: str) -> str | None:
    """Why an optimiser that torch has cannot be used here; None where there is no such reason."""
    return _REFUSED.get(name)


def option_defaults(name: str) -> dict[str, Any]:
    """The options that an optimiser takes beside `lr`, with torch's defaults."""
    parameters = inspect.signature(_classes()[name]).parameters
    return {key: p.default for key, p in parameters.items() if key not in _OWN_OPTIONS}


def try_options(name: str, options: Mapping[str, Any]) -> None:
    """Have torch judge an optimiser's options, `lr` among them.

    Raises:
        ValueError: or TypeError or RuntimeError, where torch does not take them.
    """
    # as arguments: torch does not look at the options of a group
    _eager(_classes()[name])([torch.zeros(1)], **options)


def build_torch_optimizer(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Torch's optimiser of that name over parameter groups, in its fastest form."""
    kind = _eager(_classes()[name])
    # fused: one pass over the memory instead of several; torch has it for some optimisers only
    has_fused = "fused" in inspect.signature(kind).parameters
    device = groups[0]["params"][0].device.type
    fused: dict[str, Any] = {"fused": True} if has_fused and device in ("cpu", "cuda") else {}
    return kind(groups, **fused)


class StackOptimizer:
    """One torch optimiser over all networks, with their schedules and clipping."""

    def __init__(
        self,
        model: MLP,
        *,
        name: str,
        options: Sequence[Mapping[str, Any]],
        schedules: Sequence[Schedule],
        clip_grad_norm: Sequence[float] | None = None,
    ) -> None:
        """Set up a parameter group for each network.

        Args:
            name: one of `optimizer_names()`.
            options: for each network `lr` and what else the optimiser takes.
            schedules: one for each network.
            clip_grad_norm: for each network the largest norm of its gradient; None: no clipping.
        """
        self.parameters = dict(model.named_parameters())
        self.rates = [float(own["lr"]) for own in options]
        self.schedules, self.clip_grad_norm = schedules, clip_grad_norm
        # of each network, by name; those of several share the parameters' memory
        self.views: list[dict[str, Tensor]] = [dict(self.parameters)]
        if len(options) > 1:
            self.views = [
                {name: p.detach()[r] for name, p in self.parameters.items()}
                for r in range(len(options))
            ]
        groups = [
            {"params": list(views.values()), **own}
            for views, own in zip(self.views, options, strict=True)
        ]
        self.torch_optimizer = build_torch_optimizer(name, groups)

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Update every network from the gradients of the parameters, which are gone after it.

        Args:
            progress: of training, from 0 to 1, which the schedules take.
        """
        groups = self.torch_optimizer.param_groups
        for r, (views, group) in enumerate(zip(self.views, groups, strict=True)):
            if len(groups) > 1:
                for name, parameter in self.parameters.items():
                    assert parameter.grad is not None
                    views[name].grad = parameter.grad[r]
            group["lr"] = self.rates[r] * self.schedules[r](progress)
            if self.clip_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(group["params"], self.clip_grad_norm[r])
        self.torch_optimizer.step()
        for views in self.views:
            for view in views.values():
                view.grad = None
        for parameter in self.parameters.values():
            parameter.grad = None

    def learning_rates(self) -> list[float]:
        """The learning rate of each network's last step."""
        return [float(group["lr"]) for group in self.torch_optimizer.param_groups]

    def state_dict(self, network: int) -> dict[str, Tensor]:
        """One network's state on the CPU, under `parameter name/state name`."""
        return {
            f"{name}/{key}": torch.as_tensor(value).detach().cpu().clone()
            for name, view in self.views[network].items()
            for key, value in self.torch_optimizer.state[view].items()
            if value is not None
        }

    def load_state_dict(self, network: int, state: Mapping[str, Tensor]) -> None:
        """Set one network's state from what `state_dict` gave."""
        # as torch does: only fused kernels want the count of steps on the device
        is_fused = self.torch_optimizer.param_groups[network].get("fused")
        for name, view in self.views[network].items():
            own = self.torch_optimizer.state[view] = {}
            for full_name, value in state.items():
                parameter, _, key = full_name.rpartition("/")
                if parameter == name:
                    device = "cpu" if key == "step" and not is_fused else view.device
                    own[key] = value.to(device, copy=True)


def view_of(tensor: Tensor, network: int, num_networks: int) -> Tensor:
    """One network's part of a stack's tensor, which is the whole of a stack of one."""
    return tensor if num_networks == 1 else tensor[network]


def _classes() -> dict[str, type[torch.optim.Optimizer]]:
    return {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
    }


def _eager(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """The optimiser without its wrappers for torch.compile: they import it, which takes seconds."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in ("step", "add_param_group")}
    return type(kind.__name__, (kind,), methods)
