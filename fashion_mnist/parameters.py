"""What training changes: trained tensors with their gradients, and running statistics."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Parameter:
    """A trained tensor of all members and the place where backward writes its gradient."""

    name: str  # its name in the exported network's state dict
    value: Tensor  # [R, …]; [R, I, O] for the weight of a linear layer
    gradient: Tensor  # like value
    is_matrix: bool = False  # [R, I, O] here, [O, I] in the exported network


@dataclass
class Buffer:
    """A tensor of all members that training updates without a gradient (running statistics)."""

    name: str
    value: Tensor  # [R, …]
