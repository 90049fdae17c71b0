"""Optimisers: torch's own, one parameter group for each member of the stack.

R runs in the stack. A member's parameters are a view into the stack's, so that every number an
optimiser takes may differ from member to member.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fashion_mnist.parameters import Parameter, Parameters
from fashion_mnist.products import member_of

_REFUSED = {
    "lbfgs": "it wants the loss recomputed within a step",
    "sparseadam": "it takes sparse gradients, and an MLP's are dense",
    "muon": "it takes matrices alone, and a network has biases too",
}
# These look at a whole tensor. All others look at each number by itself, and so get the small
# tensors of a network in one piece.
_BY_TENSOR = {"adafactor"}
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


class StackedOptimizer:
    """One torch optimiser over all members; gradients are read where backward wrote them."""

    def __init__(
        self,
        parameters: Parameters,
        *,
        name: str,
        options: Sequence[Mapping[str, Any]],
        clip_grad_norm: Sequence[float] | None = None,
    ) -> None:
        """Set up a parameter group for each member.

        Args:
            name: one of `optimizer_names()`.
            options: for each member `lr` and what else the optimiser takes.
            clip_grad_norm: for each member the largest norm of its gradient; None for no clipping.
        """
        self.base_rates = [float(own["lr"]) for own in options]
        self.clip_grad_norm = clip_grad_norm
        self.parameters = parameters
        by_tensor = name in _BY_TENSOR
        self.pieces = [_pieces(parameters, r, by_tensor=by_tensor) for r in range(len(options))]
        groups = [
            {"params": [piece.numbers for piece in pieces], **own}
            for pieces, own in zip(self.pieces, options, strict=True)
        ]
        self.torch_optimizer = build_torch_optimizer(name, groups)

    def step(self, factors: Sequence[float]) -> None:
        """One step of every member, its learning rate multiplied by its factor.

        The gradients are gone after it.
        """
        for piece in chain(*self.pieces):
            piece.numbers.grad = piece.gradient()
        groups = self.torch_optimizer.param_groups
        for r, (group, rate, factor) in enumerate(
            zip(groups, self.base_rates, factors, strict=True)
        ):
            group["lr"] = rate * factor
            if self.clip_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(group["params"], self.clip_grad_norm[r])
        self.torch_optimizer.step()
        for piece in chain(*self.pieces):
            piece.numbers.grad = None
        self.parameters.forget_gradients()

    def learning_rates(self) -> list[float]:
        """The learning rate of each member's last step."""
        return [float(group["lr"]) for group in self.torch_optimizer.param_groups]

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """One member's state on the CPU, under `parameter name/state name`."""
        return {
            f"{name}/{key}": part.detach().cpu().clone()
            for piece in self.pieces[member]
            for key, value in self.torch_optimizer.state[piece.numbers].items()
            if value is not None
            for name, part in piece.parts_of(torch.as_tensor(value)).items()
        }

    def load_state_dict(self, member: int, state: Mapping[str, Tensor]) -> None:
        """Set one member's state from what `state_dict` gave."""
        # as torch does: only fused kernels want the count of steps on the device
        is_fused = self.torch_optimizer.param_groups[member].get("fused")
        for piece in self.pieces[member]:
            own = self.torch_optimizer.state[piece.numbers] = {}
            shapes = {name: part.shape for name, part in piece.split(piece.numbers).items()}
            name, shape = next(iter(shapes.items()))
            for key in [k.split("/", 1)[1] for k in state if k.split("/", 1)[0] == name]:
                value = state[f"{name}/{key}"]
                if value.shape == shape:
                    own[key] = torch.zeros_like(piece.numbers)
                    for each, place in piece.split(own[key]).items():
                        place.copy_(state[f"{each}/{key}"])
                else:
                    device = "cpu" if key == "step" and not is_fused else piece.numbers.device
                    own[key] = value.to(device, copy=True)


class _Piece(NamedTuple):
    """What torch sees as one parameter."""

    numbers: Tensor
    gradient: Callable[[], Tensor]  # of the last backward
    split: Callable[[Tensor], dict[str, Tensor]]  # numbers of that shape, by parameter's name

    def parts_of(self, value: Tensor) -> dict[str, Tensor]:
        """What torch keeps of a piece, by parameter: its part, or the one value that all share."""
        if value.shape == self.numbers.shape:
            return self.split(value)
        return dict.fromkeys(self.split(self.numbers), value)


def _pieces(parameters: Parameters, member: int, *, by_tensor: bool) -> list[_Piece]:
    """One member's matrices, and its vectors: all at once, or each by itself."""
    alone = [*parameters.matrices, *(parameters.vectors if by_tensor else [])]
    pieces = [_piece(parameter, member) for parameter in alone]
    if by_tensor:
        return pieces
    gradients = parameters.vector_gradients[member]
    numbers = parameters.vectors_in(parameters.values[member])
    return [*pieces, _Piece(numbers, lambda: gradients, parameters.by_name_in_vectors)]


def _piece(parameter: Parameter, member: int) -> _Piece:
    return _Piece(
        parameter.value[member],
        lambda: member_of(parameter.gradients, member),
        lambda numbers: {parameter.name: numbers},
    )


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
