"""Losses agree with torch's, and their gradients with autograd's."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from fashion_mnist.losses import Loss, brier, cross_entropy, one_hot

LOGITS = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([[0, 1, 2, 3, 3, 1, 0], [2, 2, 2, 2, 0, 1, 3]])
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


def mean_and_gradient(loss: Loss, member: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch's mean for one member of a stack of two, and its gradient."""
    result = loss(LOGITS, one_hot(LABELS, 4))
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


def test_cross_entropy_of_shares_is_torchs() -> None:
    """Targets that are shares of several classes, smoothed, as torch takes them."""
    shares = torch.rand(2, 7, 4, generator=torch.Generator().manual_seed(1)).softmax(-1)
    result = cross_entropy(num_classes=4, label_smoothing=[0.0, 0.2])(LOGITS, shares)
    for member, smoothing in enumerate([0.0, 0.2]):
        logits = LOGITS[member].clone().requires_grad_()
        expected = F.cross_entropy(logits, shares[member], label_smoothing=smoothing)
        expected.backward()  # type: ignore[no-untyped-call]  # torch has no type
        torch.testing.assert_close(result.weighted[member].mean(), expected.detach())
        torch.testing.assert_close(result.gradient[member], logits.grad)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", ["cross_entropy", "brier"])
def test_the_loss_of_a_mixture_lies_between(name: str, weights: Sequence[float] | None) -> None:
    """An example of two classes weighs what each weighs, by its share; so does cross entropy."""
    if name == "brier":
        loss = brier(num_classes=4, class_weights=weights)
    else:
        loss = cross_entropy(num_classes=4, class_weights=weights, label_smoothing=[0.1, 0.1])
    own, other = one_hot(LABELS, 4), one_hot(LABELS.roll(1, 1), 4)
    mixed = loss(LOGITS, 0.7 * own + 0.3 * other)
    first, second = loss(LOGITS, own), loss(LOGITS, other)
    torch.testing.assert_close(mixed.weight, 0.7 * first.weight + 0.3 * second.weight)
    if name == "cross_entropy" and weights is None:
        torch.testing.assert_close(mixed.weighted, 0.7 * first.weighted + 0.3 * second.weighted)


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
