"""What training changes: trained tensors with their gradients, and running statistics.

R runs in the stack, I inputs and O outputs of a layer, n numbers that one network learns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from fashion_mnist.products import members, slab

# Where one tensor ends, the next starts at a multiple of this: 64 bytes in bfloat16 too.
PADDING = 32
# Threads that share out a member's numbers begin at a multiple of 64 bytes, for most numbers of
# threads: a vectorised loop that ends elsewhere rounds its last numbers differently.
PADDING_IN_ALL = 16 * 48


@dataclass
class Parameter:
    """A trained tensor of all members and the place where backward writes its gradient.

    The operands are what products compute with. In float32 they are the same tensors.
    """

    name: str  # its name in the exported network's state dict
    is_matrix: bool  # [R, I, O] here, [O, I] in the exported network
    value: Tensor  # float32 [R, I, O] of a linear layer's weight, else [R, 1, O]
    gradient: Tensor  # like value
    operand: Tensor  # the value in the products' dtype
    operand_gradient: Tensor  # of a matrix: where its gradient is written in the products' dtype
    values: list[Tensor] = field(init=False)  # of these tensors, the parts that layers work on
    gradients: list[Tensor] = field(init=False)
    operands: list[Tensor] = field(init=False)
    operand_gradients: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.values, self.gradients = members(self.value), members(self.gradient)
        self.operands = members(self.operand)
        self.operand_gradients = members(self.operand_gradient)


@dataclass
class Buffer:
    """A tensor of all members that training updates without a gradient (running statistics)."""

    name: str
    value: Tensor  # [R, 1, O]
    values: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.values = members(self.value)


class Parameters:
    """All that a stack learns, each member's numbers in one piece: one pass updates them all."""

    def __init__(
        self,
        matrices: Mapping[str, tuple[int, int]],
        vectors: Mapping[str, int],
        *,
        num_members: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Make room, all zero.

        Args:
            matrices: I and O of each weight of a linear layer, by name.
            vectors: O of everything else.
            dtype: of the products.
        """
        self.shapes = {**matrices, **{name: (1, size) for name, size in vectors.items()}}
        self.starts, size = dict[str, int](), 0
        for name, shape in self.shapes.items():
            self.starts[name] = size
            size += _padded(prod(shape), PADDING)
        num_numbers = _padded(size, PADDING_IN_ALL)
        self.values = slab(num_members, num_numbers, device=device).zero_()
        self.gradients = torch.zeros_like(self.values)
        self.is_narrow = dtype != torch.float32
        self.operands = self.values.to(dtype)
        self.operand_gradients = self.gradients.to(dtype)
        # matrices come first: biases have their gradients summed in float32
        self.num_in_matrices = sum(_padded(prod(shape), PADDING) for shape in matrices.values())
        flat = (self.values, self.gradients, self.operands, self.operand_gradients)
        named = [self.by_name_in(numbers) for numbers in flat]
        self.by_name = {
            name: Parameter(name, name in matrices, *(own[name] for own in named))
            for name in self.shapes
        }

    def by_name_in(self, numbers: Tensor) -> dict[str, Tensor]:
        """Views of numbers `[…, n]` as tensors `[…, I, O]` and `[…, 1, O]`, by name."""
        return {
            name: numbers[..., start : start + prod(shape)].view(*numbers.shape[:-1], *shape)
            for (name, shape), start in zip(self.shapes.items(), self.starts.values(), strict=True)
        }

    def narrow(self) -> None:
        """Bring the operands up to date with the values."""
        if self.is_narrow:
            self.operands.copy_(self.values)

    def widen_gradients(self) -> None:
        """Bring the matrices' gradients up to date with what the products wrote."""
        if self.is_narrow:
            wide, narrow = self.gradients, self.operand_gradients
            wide[:, : self.num_in_matrices].copy_(narrow[:, : self.num_in_matrices])


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
