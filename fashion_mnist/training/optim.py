"""Optimisers: torch's own, with a parameter group for all networks of a stack, or one for each.

R networks in the stack. Where their options differ, a network's parameters are views into the
stack's, in a group of their own. A GPU is called for each group by itself, whatever its size: there
AdamW and SGD update a whole stack at once.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from fashion_mnist.models.network import MLP

# of progress from 0 to 1; that two are the same their `==` says
LearningRateFactor = Callable[[float], float]

_REFUSED = {
    "lbfgs": "it wants the loss recomputed within a step",
    "sparseadam": "it takes sparse gradients, and an MLP's are dense",
    "muon": "it takes matrices alone, and a network has biases too",
}
_NOT_ELEMENTWISE = {"adafactor"}  # its state has a number for each row and each column
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
    smallest, largest = options.get("step_sizes", (0, 0))  # of rprop: torch does not look at them
    if not 0 <= smallest <= largest:
        raise ValueError(f"Invalid step sizes: {smallest}, {largest}")


def build_torch_optimizer(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Torch's optimiser of that name over parameter groups, in its fastest form."""
    kind = _eager(_classes()[name])
    # fused: one pass over the memory instead of several; torch has it for some optimisers only
    has_fused = "fused" in inspect.signature(kind).parameters
    device = groups[0]["params"][0].device.type
    fused: dict[str, Any] = {"fused": True} if has_fused and device in ("cpu", "cuda") else {}
    return kind(groups, **fused)


def build_optimizer(
    model: MLP,
    *,
    name: str,
    options: Sequence[Mapping[str, Any]],
    schedules: Sequence[LearningRateFactor],
    clip_grad_norm: Sequence[float] | None = None,
) -> "StackOptimizer | BatchedOptimizer":
    """The optimiser of a stack; the arguments are those of `StackOptimizer`."""
    is_on_gpu = next(model.parameters()).device.type == "cuda"
    is_batched = is_on_gpu and len(options) > 1 and can_batch(name, options)
    kind = BatchedOptimizer if is_batched else StackOptimizer
    return kind(
        model, name=name, options=options, schedules=schedules, clip_grad_norm=clip_grad_norm
    )


def can_batch(name: str, options: Sequence[Mapping[str, Any]]) -> bool:
    """Whether `BatchedOptimizer` has this optimiser with these options."""
    own = [{key: value for key, value in each.items() if type(value) is bool} for each in options]
    is_alike = all(each == own[0] for each in own)
    return name in ("adamw", "sgd") and is_alike and not own[0].get("amsgrad", False)


class StackOptimizer:
    """One torch optimiser over all networks, with their schedules and clipping.

    Networks of the same settings are updated as one: torch is given the parameters `[R, …]`, for
    each tensor and each group cost time. Others are a parameter group each, of views.
    """

    def __init__(
        self,
        model: MLP,
        *,
        name: str,
        options: Sequence[Mapping[str, Any]],
        schedules: Sequence[LearningRateFactor],
        clip_grad_norm: Sequence[float] | None = None,
    ) -> None:
        """Set up the groups.

        Args:
            name: one of `optimizer_names()`.
            options: for each network `lr` and what else the optimiser takes.
            schedules: one for each network.
            clip_grad_norm: for each network the largest norm of its gradient; None: no clipping.
        """
        self.parameters = dict(model.named_parameters())
        self.num_networks = len(options)
        self.settings = list(zip(options, schedules, strict=True))
        self.clip_grad_norm = clip_grad_norm
        # of each network, by name; those of several share the parameters' memory
        self.views: list[dict[str, Tensor]] = [
            {name: self._part(p, r) for name, p in self.parameters.items()}
            for r in range(self.num_networks)
        ]
        is_alike = all(own == self.settings[0] for own in self.settings)
        self.is_one_group = self.num_networks > 1 and is_alike and name not in _NOT_ELEMENTWISE
        # what each group of torch's has
        self.updated = [dict[str, Tensor](self.parameters)] if self.is_one_group else self.views
        groups = [
            {"params": list(tensors.values()), **own}
            for tensors, own in zip(self.updated, options, strict=False)
        ]
        self.torch_optimizer = build_torch_optimizer(name, groups)

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Update every network from the gradients of the parameters, which are gone after it.

        Args:
            progress: of training, from 0 to 1, which the schedules take.
        """
        if self.num_networks > 1 and (self.clip_grad_norm is not None or not self.is_one_group):
            for name, parameter in self.parameters.items():
                assert parameter.grad is not None
                for r, views in enumerate(self.views):
                    views[name].grad = self._part(parameter.grad, r)
        if self.clip_grad_norm is not None:
            for views, norm in zip(self.views, self.clip_grad_norm, strict=True):
                torch.nn.utils.clip_grad_norm_(views.values(), norm)
        groups = self.torch_optimizer.param_groups
        for group, (options, schedule) in zip(groups, self.settings, strict=False):
            group["lr"] = options["lr"] * schedule(progress)
        self.torch_optimizer.step()
        for parameter in self.parameters.values():
            parameter.grad = None
        for views in self.views:
            for view in views.values():
                view.grad = None

    def _part(self, tensor: Tensor, network: int) -> Tensor:
        return part_of(tensor, network, self.num_networks)

    def _updated_with(self, network: int) -> dict[str, Tensor]:
        """What torch updates one network by, by name: its own tensors, or those of all."""
        return self.updated[0 if self.is_one_group else network]

    def learning_rates(self) -> list[float]:
        """The learning rate of each network's last step."""
        rates = [float(group["lr"]) for group in self.torch_optimizer.param_groups]
        return rates * self.num_networks if self.is_one_group else rates

    def state_tensors(self) -> list[Tensor]:
        """All that is kept between steps, for whoever counts the memory."""
        states = self.torch_optimizer.state.values()
        return [each for state in states for each in state.values() if isinstance(each, Tensor)]

    def state_dict(self, network: int) -> dict[str, Tensor]:
        """A copy of one network's state, under `parameter name/state name`."""
        found = {}
        for name, tensor in self._updated_with(network).items():
            for key, value in self.torch_optimizer.state[tensor].items():
                if value is not None:
                    own = torch.as_tensor(value)
                    is_of_all = self.is_one_group and own.dim() > 0  # a count of steps is no array
                    part = self._part(own, network) if is_of_all else own
                    found[f"{name}/{key}"] = part.detach().clone()
        return found

    def load_state_dict(self, network: int, state: Mapping[str, Tensor]) -> None:
        """Set one network's state from what `state_dict` gave; all have done as many steps."""
        # as torch does: only fused kernels want the count of steps on the device
        is_fused = self.torch_optimizer.param_groups[0].get("fused")
        for name, tensor in self._updated_with(network).items():
            own = self.torch_optimizer.state[tensor]
            for full_name, value in state.items():
                parameter, _, key = full_name.rpartition("/")
                if parameter != name:
                    continue
                if self.is_one_group and value.dim() > 0:
                    whole = own.setdefault(key, torch.zeros_like(tensor, dtype=value.dtype))
                    self._part(whole, network).copy_(value)
                else:
                    device = "cpu" if key == "step" and not is_fused else tensor.device
                    own[key] = value.to(device, copy=True)


class BatchedOptimizer:
    """AdamW or SGD over a stack's parameters `[R, …]` at once, R > 1: some kernels for each step.

    What `StackOptimizer` computes, to the rounding of float32, with the same states under the same
    names: a run goes on in either.
    """

    def __init__(
        self,
        model: MLP,
        *,
        name: str,
        options: Sequence[Mapping[str, Any]],
        schedules: Sequence[LearningRateFactor],
        clip_grad_norm: Sequence[float] | None = None,
    ) -> None:
        """As `StackOptimizer`, where `can_batch` says so."""
        assert can_batch(name, options)
        self.parameters = dict(model.named_parameters())
        self.schedules = schedules
        self.num_steps = 0
        self._rates = torch.tensor([float(own["lr"]) for own in options], dtype=torch.float64)
        self._last_rates = self._rates
        defaults = option_defaults(name)
        whole = [{**defaults, **own} for own in options]
        if name == "adamw":
            self._update, states = self._adamw, ["exp_avg", "exp_avg_sq"]
            betas = torch.tensor([own["betas"] for own in whole], dtype=torch.float64)
            self._beta1, self._beta2 = betas.T
            self._options = {key: _numbers(whole, key) for key in ("eps", "weight_decay")}
        else:
            self._update, states = self._sgd, ["momentum_buffer"]
            keys = ("momentum", "dampening", "weight_decay")
            self._options = {key: _numbers(whole, key) for key in keys}
            # torch keeps no buffer, and ignores dampening, where there is no momentum
            self._options["dampening"] *= self._options["momentum"] != 0
            self._is_nesterov = bool(whole[0]["nesterov"])
        self._largest_norms = None if clip_grad_norm is None else torch.tensor(clip_grad_norm)
        self._state = {
            name: {key: torch.zeros_like(p) for key in states}
            for name, p in self.parameters.items()
        }

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Update every network from the gradients of the parameters, which are gone after it.

        Args:
            progress: of training, from 0 to 1, which the schedules take.
        """
        factors = [schedule(progress) for schedule in self.schedules]
        self._last_rates = self._rates * torch.tensor(factors, dtype=torch.float64)
        gradients = {name: self._gradient(name) for name in self.parameters}
        if self._largest_norms is not None:
            self._clip(list(gradients.values()))
        self._update(gradients)
        self.num_steps += 1
        for parameter in self.parameters.values():
            parameter.grad = None

    def _gradient(self, name: str) -> Tensor:
        gradient = self.parameters[name].grad
        assert gradient is not None
        return gradient

    def _clip(self, gradients: Sequence[Tensor]) -> None:
        """As `torch.nn.utils.clip_grad_norm_` for each network."""
        assert self._largest_norms is not None
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        factors = (self._largest_norms.to(norms.device) / (norms + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(_along(factors, gradient))

    def _adamw(self, gradients: Mapping[str, Tensor]) -> None:
        """Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019), Algorithm 2."""
        step = self.num_steps + 1
        rates, decay = self._last_rates, self._options["weight_decay"]
        numbers = [
            1 - rates * decay,
            1 - self._beta1,
            1 - self._beta2,
            (1 - self._beta2**step).sqrt(),
            self._options["eps"],
            -rates / (1 - self._beta1**step),
        ]
        for name, parameter, own in self._each(numbers):
            keep, new1, new2, correction, eps, minus_rate = own
            gradient, state = gradients[name], self._state[name]
            parameter.mul_(keep)
            mean = state["exp_avg"].lerp_(gradient, new1.expand_as(gradient))
            square = state["exp_avg_sq"].lerp_(gradient.square(), new2.expand_as(gradient))
            parameter.addcdiv_(mean * minus_rate, (square.sqrt() / correction).add_(eps))

    def _sgd(self, gradients: Mapping[str, Tensor]) -> None:
        """With momentum, dampening and Nesterov's look ahead as torch.optim.SGD has them."""
        momentum = self._options["momentum"]
        # torch's first buffer is the gradient itself
        new = 1 - self._options["dampening"] * (self.num_steps > 0)
        numbers = [self._options["weight_decay"], momentum, new, -self._last_rates]
        for name, parameter, (decay, momentum_, new_, minus_rate) in self._each(numbers):
            gradient = gradients[name] + parameter * decay
            buffer = self._state[name]["momentum_buffer"].mul_(momentum_).add_(gradient * new_)
            update = gradient + buffer * momentum_ if self._is_nesterov else buffer
            parameter.add_(update * minus_rate)

    def _each(
        self, numbers: Sequence[Tensor]
    ) -> Iterator[tuple[str, nn.Parameter, Sequence[Tensor]]]:
        """Each parameter, with numbers `[R]` of the networks along it; one copy to the device."""
        device = next(iter(self.parameters.values())).device
        rows = torch.stack(list(numbers)).to(torch.float32).to(device)
        for name, parameter in self.parameters.items():
            yield name, parameter, [_along(row, parameter) for row in rows]

    def learning_rates(self) -> list[float]:
        """The learning rate of each network's last step."""
        return [float(rate) for rate in self._last_rates]

    def state_tensors(self) -> list[Tensor]:
        """All that is kept between steps, for whoever counts the memory."""
        return [tensor for state in self._state.values() for tensor in state.values()]

    def state_dict(self, network: int) -> dict[str, Tensor]:
        """A copy of one network's state, under `parameter name/state name`."""
        if self.num_steps == 0:
            return {}
        if self._update == self._sgd and self._options["momentum"][network] == 0:
            return {}
        found = {
            f"{name}/{key}": tensor[network].clone()
            for name, state in self._state.items()
            for key, tensor in state.items()
        }
        if self._update == self._adamw:
            step = torch.tensor(float(self.num_steps))
            found |= {f"{name}/step": step.clone() for name in self.parameters}
        return found

    def load_state_dict(self, network: int, state: Mapping[str, Tensor]) -> None:
        """Set one network's state from what `state_dict` gave; all have done as many steps."""
        for full_name, value in state.items():
            name, _, key = full_name.rpartition("/")
            if key == "step":
                self.num_steps = int(value)
            else:
                self._state[name][key][network].copy_(value)
                self.num_steps = max(self.num_steps, 1)


def _numbers(options: Sequence[Mapping[str, Any]], key: str) -> Tensor:
    """An option of R networks: float64 `[R]`, for what is computed from it is then rounded once."""
    return torch.tensor([float(own[key]) for own in options], dtype=torch.float64)


def _along(row: Tensor, tensor: Tensor) -> Tensor:
    """Numbers `[R]` in a shape that goes with a tensor `[R, …]`."""
    return row.view(-1, *[1] * (tensor.dim() - 1))


def part_of(tensor: Tensor, network: int, num_networks: int) -> Tensor:
    """One network's part of a stack's tensor, in the same memory; of a stack of one the tensor."""
    return tensor if num_networks == 1 else tensor.detach()[network]


@cache
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
