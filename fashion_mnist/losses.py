"""Losses of a stack: each example's loss and, by hand, the gradient of the batch's mean.

R runs in the stack, B batch, C classes. Targets are shares of the classes: 1 for a label, parts of
1 for mixed images. Both losses are `sum(weight · loss) / sum(weight)` over a batch, with weight 1
unless classes are weighted, as in `torch.nn.CrossEntropyLoss`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fashion_mnist.products import members, slab

LONGEST_SUM = 2**14  # torch shares sums of twice that out among threads


class BatchLoss(NamedTuple):
    """What a loss says of one batch."""

    weighted: Tensor  # float32 [R, B]: each example's weight times its loss
    weight: Tensor  # float32 [R, B]
    gradient: Tensor  # float32 [R, B, C]: of the batch's mean, with respect to the logits


Loss = Callable[[Tensor, Tensor], BatchLoss]  # of logits and targets, both [R, B, C]


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """The targets of labels: int64 `[R, B]` to float32 `[R, B, C]`."""
    rows = torch.eye(num_classes, device=labels.device).index_select(0, labels.flatten())
    return rows.view(*labels.shape, num_classes)


def cross_entropy(
    *,
    num_classes: int,
    label_smoothing: Sequence[float],
    class_weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """Cross entropy with a label smoothing for each member (Szegedy et al., 2016).

    The same numbers as `torch.nn.CrossEntropyLoss(weight=…, label_smoothing=…)`.
    """
    smoothing = torch.tensor(list(label_smoothing), device=device).view(-1, 1, 1)
    weights, weight_of = _class_weights(class_weights, num_classes, device)

    def loss(logits: Tensor, targets: Tensor) -> BatchLoss:
        log_probabilities = torch.log_softmax(logits, -1)
        # a label keeps 1 - s, and s is spread over all classes
        target = (targets * (1 - smoothing)).add_(smoothing / num_classes)
        if class_weights is not None:
            target.mul_(weights)
        weighted = (target * log_probabilities).sum(-1).neg_()
        weight, total = weight_of(targets)
        gradient = log_probabilities.exp_()
        if class_weights is not None:  # else a target's sum is 1
            gradient.mul_(target.sum(-1, keepdim=True))
        return BatchLoss(weighted, weight, _divided(gradient.sub_(target), total))

    return loss


def brier(
    *,
    num_classes: int,
    class_weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """Squared error on the probabilities, summed over the classes (Brier, 1950)."""
    _, weight_of = _class_weights(class_weights, num_classes, device)

    def loss(logits: Tensor, targets: Tensor) -> BatchLoss:
        probabilities = torch.softmax(logits, -1)
        error = probabilities - targets
        weight, total = weight_of(targets)
        # d/dz_k of sum_c (p_c - y_c)² is 2 p_k ((p_k - y_k) - sum_c (p_c - y_c) p_c)
        inner = (error * probabilities).sum(-1, keepdim=True)
        gradient = 2 * probabilities * (error - inner) * weight.unsqueeze(-1)
        return BatchLoss(error.square().sum(-1) * weight, weight, _divided(gradient, total))

    return loss


def member_sums(values: Tensor) -> Tensor:
    """Sums over the examples, float32 `[R, N]` to `[R]`, each member's by itself.

    The bits do not depend on the number of threads.
    """
    return torch.stack([_long_sum(part) for part in members(values)]).view(-1)


def _long_sum(values: Tensor) -> Tensor:
    """Sums over the last dimension, in pieces that torch does not share out among threads."""
    if values.shape[-1] <= LONGEST_SUM:
        return values.sum(-1)
    return torch.stack([piece.sum(-1) for piece in torch.split(values, LONGEST_SUM, -1)]).sum(0)


def _class_weights(
    weights: Sequence[float] | None, num_classes: int, device: torch.device | str
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor | int]]]:
    """The weights `[C]`, and what gives those of targets, `[R, B]`, with their sums `[R, 1, 1]`."""
    own = torch.tensor(weights or [1.0] * num_classes, dtype=torch.float32, device=device)
    one = own[:1]

    def weight_of(targets: Tensor) -> tuple[Tensor, Tensor | int]:
        if weights is None:
            return one.expand(targets.shape[:-1]), targets.shape[1]
        weight = (targets * own).sum(-1)
        return weight, member_sums(weight).view(-1, 1, 1)

    return own, weight_of


def _divided(gradient: Tensor, total: Tensor | int) -> Tensor:
    return torch.div(gradient, total, out=slab(*gradient.shape, device=gradient.device))
