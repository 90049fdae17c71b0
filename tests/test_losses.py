"""Losses agree with torch's, and their gradients with autograd's."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from fashion_mnist.losses import Loss, brier, cross_entropy

LOGITS = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([[0, 1, 2, 3, 3, 1, 0], [2, 2, 2, 2, 0, 1, 3]])
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


def mean_and_gradient(loss: Loss, member: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch's mean for one member of a stack of two, and its gradient."""
    result = loss(LOGITS, LABELS)
    mean = result.weighted[member].sum() / result.weight[member].sum()
    return mean, result.gradient[member]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("member", [0, 1])
def test_cross_entropy_is_torchs(weights: Sequence[float] | None, member: int) -> None:
    """With a smoothing for each member, with and without weights of the classes."""
    smoothing = [0.0, 0.2]
    loss = cross_entropy(num_classes=4, label_smoothing=smoothing, class_weights=weights)
    mean, gradient = mean_and_gradient(loss, member)
    logits = LOGITS[member].clone().requires_grad_()
    expected = F.cross_entropy(
        logits,
        LABELS[member],
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=smoothing[member],
    )
    expected.backward()  # type: ignore[no-untyped-call]  # torch has no type
    torch.testing.assert_close(mean, expected.detach())
    torch.testing.assert_close(gradient, logits.grad)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_brier_is_the_squared_error_on_probabilities(weights: Sequence[float] | None) -> None:
    """The mean over examples of the sum over classes, by autograd from its definition."""
    mean, gradient = mean_and_gradient(brier(num_classes=4, class_weights=weights), 1)
    logits = LOGITS[1].clone().requires_grad_()
    own = torch.tensor(weights or [1.0] * 4)[LABELS[1]]
    errors = (logits.softmax(-1) - F.one_hot(LABELS[1], 4)).square().sum(-1)
    expected = (errors * own).sum() / own.sum()
    expected.backward()  # type: ignore[no-untyped-call]  # torch has no type
    torch.testing.assert_close(mean, expected.detach())
    torch.testing.assert_close(gradient, logits.grad)
