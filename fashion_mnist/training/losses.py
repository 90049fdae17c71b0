"""Losses: a batch's mean for each network of a stack. A new loss is one entry of `LOSSES`.

R networks in the stack, B batch, C classes. Targets are the classes' indices int64 `[R, B]`, or
shares of the classes float32 `[R, B, C]` where images are mixed. A mean over a batch is
`sum(weight · loss) / sum(weight)`, with weight 1 unless classes are weighted, as in
`torch.nn.CrossEntropyLoss`; a mixed image weighs what its classes weigh, by their shares.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]  # of logits [R, B, C] and targets: [R]


def cross_entropy(
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    *,
    label_smoothing: Annotated[Tensor, Interval(ge=0, lt=1)],
) -> Tensor:
    """Cross entropy with label smoothing (Szegedy et al., 2016), as torch's, for each network.

    Args:
        logits: float32 `[R, B, C]`.
        targets: indices or shares.
        class_weights: float32 `[C]`.
        label_smoothing: float32 `[R]`, or `[1]` on the CPU for all: a label keeps 1 - s, and s is
            spread over all classes.

    Returns:
        float32 `[R]`.
    """
    if targets.dim() == 2 and len(label_smoothing) == 1:  # torch's own takes half the time
        one = partial(F.cross_entropy, weight=class_weights, label_smoothing=float(label_smoothing))
        if len(logits) == 1:
            return one(logits.squeeze(0), targets.squeeze(0)).unsqueeze(0)
        each = one(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        if class_weights is None:
            return each.mean(1)
        return each.sum(1) / class_weights[targets].sum(1)
    shares = as_shares(targets, logits.shape[-1])
    smoothing = label_smoothing.to(logits.device).view(-1, 1, 1)
    smoothed = shares * (1 - smoothing) + smoothing / logits.shape[-1]
    if class_weights is not None:
        smoothed = smoothed * class_weights
    each = -(smoothed * torch.log_softmax(logits, -1)).sum(-1)
    return _mean(each, shares, class_weights)


def brier(logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Squared error on the probabilities, summed over the classes (Brier, 1950).

    Args:
        logits: float32 `[R, B, C]`.
        targets: indices or shares.
        class_weights: float32 `[C]`.

    Returns:
        float32 `[R]`.
    """
    shares = as_shares(targets, logits.shape[-1])
    each = (torch.softmax(logits, -1) - shares).square().sum(-1)
    if class_weights is not None:
        each = each * (shares * class_weights).sum(-1)
    return _mean(each, shares, class_weights)


# Keyword-only parameters are a loss's options, one number for each network, with their ranges.
LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy, "brier": brier}


def build_loss(
    name: str,
    *,
    options: Mapping[str, Sequence[float]],
    class_weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """The loss of that name.

    Args:
        options: of the loss, each a number for each network.
        class_weights: one for each class; None: all are 1.
    """
    own = {
        key: torch.tensor(values, device=device)
        if len(set(values)) > 1
        else torch.tensor(values[:1])
        for key, values in options.items()
    }
    weights = None if class_weights is None else torch.tensor(class_weights, device=device)
    return partial(LOSSES[name], class_weights=weights, **own)


def as_shares(targets: Tensor, num_classes: int) -> Tensor:
    """Targets as shares of the classes, float32 `[R, B, C]`: 1 for the class of an index."""
    if targets.dim() == 3:
        return targets
    return F.one_hot(targets, num_classes).float()


def _mean(each: Tensor, shares: Tensor, class_weights: Tensor | None) -> Tensor:
    """Means `[R]` of weighted losses `[R, B]`."""
    if class_weights is None:
        return each.mean(1)
    return each.sum(1) / (shares * class_weights).sum((1, 2))
