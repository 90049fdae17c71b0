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
    """A trained tensor of all members, and its gradient."""

    name: str  # its name in the exported network's state dict
    value: Tensor  # float32 [R, O, I] of a linear layer's weight, else [R, 1, O]
    operand: Tensor  # what products compute with: the value in their dtype, in float32 itself
    gradients: list[Tensor]  # as parts: of a matrix what backward gave, else where it writes
    values: list[Tensor] = field(init=False)  # the parts of these tensors
    operands: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.values, self.operands = members(self.value), members(self.operand)


@dataclass
class Buffer:
    """A tensor of all members that training updates without a gradient (running statistics)."""

    name: str
    value: Tensor  # [R, 1, O]
    values: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.values = members(self.value)


class Parameters:
    """All that a stack learns: each member's numbers in one piece, matrices before vectors."""

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
            matrices: O and I of each weight of a linear layer, by name.
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
        self.operands = self.values.to(dtype)
        first_vector = min((self.starts[name] for name in vectors), default=num_numbers)
        self.vector_span = slice(first_vector, num_numbers)
        self.vector_gradients = torch.zeros_like(self.vectors_in(self.values))
        values, operands = self.by_name_in(self.values), self.by_name_in(self.operands)
        places = self.by_name_in_vectors(self.vector_gradients)
        self.matrices = [Parameter(name, values[name], operands[name], []) for name in matrices]
        self.vectors = [
            Parameter(name, values[name], operands[name], members(places[name])) for name in vectors
        ]
        self.by_name = {parameter.name: parameter for parameter in (*self.matrices, *self.vectors)}

    def by_name_in(self, numbers: Tensor) -> dict[str, Tensor]:
        """Views of all numbers `[…, n]` as tensors `[…, O, I]` and `[…, 1, O]`, by name."""
        return {name: self._view(name, numbers, start) for name, start in self.starts.items()}

    def by_name_in_vectors(self, numbers: Tensor) -> dict[str, Tensor]:
        """Views of the vectors' numbers, what `vectors_in` gives, by name."""
        first = self.vector_span.start
        starts = {name: start - first for name, start in self.starts.items() if start >= first}
        return {name: self._view(name, numbers, start) for name, start in starts.items()}

    def vectors_in(self, numbers: Tensor) -> Tensor:
        """The vectors' part of all numbers `[…, n]`, in one piece for each member."""
        return numbers[..., self.vector_span]

    def narrow(self) -> None:
        """Bring the operands up to date with the values."""
        if self.operands.dtype != self.values.dtype:
            self.operands.copy_(self.values)

    def forget_gradients(self) -> None:
        """Give back the room of the matrices' gradients: the next ones come into it."""
        for parameter in self.matrices:
            parameter.gradients = []

    def _view(self, name: str, numbers: Tensor, start: int) -> Tensor:
        shape = self.shapes[name]
        return numbers[..., start : start + prod(shape)].view(*numbers.shape[:-1], *shape)


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
