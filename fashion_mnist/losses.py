"""Losses of a stack: each example's loss and, by hand, the gradient of the batch's mean.

R runs in the stack, B batch, C classes. Both losses are `sum(weight · loss) / sum(weight)` over a
batch, with weight 1 unless classes are weighted, as in `torch.nn.CrossEntropyLoss`.
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


Loss = Callable[[Tensor, Tensor], BatchLoss]


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
    weights = _class_weights(class_weights, num_classes, device)
    one_hot = torch.eye(num_classes, device=device)
    # targets of every label: the label keeps 1 - s, and s is spread over all classes
    targets = (one_hot * (1 - smoothing) + smoothing / num_classes) * weights
    rows = torch.arange(len(targets), device=device).view(-1, 1)

    def loss(logits: Tensor, labels: Tensor) -> BatchLoss:
        log_probabilities = torch.log_softmax(logits, -1)
        target = targets[rows, labels]
        weighted = (target * log_probabilities).sum(-1).neg_()
        weight = weights[labels]
        gradient = log_probabilities.exp_()
        if class_weights is not None:  # else a target's sum is 1
            gradient.mul_(target.sum(-1, keepdim=True))
        return BatchLoss(weighted, weight, _of_mean(gradient.sub_(target), weight))

    return loss


def brier(
    *,
    num_classes: int,
    class_weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """Squared error on the probabilities, summed over the classes (Brier, 1950)."""
    weights = _class_weights(class_weights, num_classes, device)
    one_hot = torch.eye(num_classes, device=device)

    def loss(logits: Tensor, labels: Tensor) -> BatchLoss:
        probabilities = torch.softmax(logits, -1)
        error = probabilities - one_hot[labels]
        weight = weights[labels]
        # d/dz_k of sum_c (p_c - y_c)² is 2 p_k ((p_k - y_k) - sum_c (p_c - y_c) p_c)
        inner = (error * probabilities).sum(-1, keepdim=True)
        gradient = 2 * probabilities * (error - inner) * weight.unsqueeze(-1)
        return BatchLoss(error.square().sum(-1) * weight, weight, _of_mean(gradient, weight))

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
) -> Tensor:
    if weights is None:
        return torch.ones(num_classes, device=device)
    return torch.tensor(list(weights), dtype=torch.float32, device=device)


def _of_mean(gradient: Tensor, weight: Tensor) -> Tensor:
    total = member_sums(weight).view(-1, 1, 1)
    return torch.div(gradient, total, out=slab(*gradient.shape, device=gradient.device))
