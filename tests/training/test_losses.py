"""Losses agree with torch's, and their gradients with autograd's, for each network of a stack."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fashion_mnist.training.losses import Loss, as_shares, build_loss

LOGITS = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.tensor([[0, 1, 2, 3, 3, 1, 0], [2, 2, 2, 2, 0, 1, 3]])
SHARES = torch.rand(2, 7, 4, generator=torch.Generator().manual_seed(1)).softmax(-1)
WEIGHTS = (1.0, 2.0, 0.5, 3.0)
SMOOTHING = [0.0, 0.2]


def build(name: str, weights: Sequence[float] | None, smoothing: Sequence[float]) -> Loss:
    """A loss; only cross entropy has an option."""
    options = {"label_smoothing": smoothing} if name == "cross_entropy" else {}
    return build_loss(name, options=options, class_weights=weights)


def mean_and_gradient(loss: Loss, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The means `[R]` and the gradients of the logits."""
    leaf = logits.clone().requires_grad_()
    mean = loss(leaf, targets)
    mean.sum().backward()  # type: ignore[no-untyped-call]  # torch has no type
    assert leaf.grad is not None
    return mean.detach(), leaf.grad


@pytest.mark.parametrize("targets", [LABELS, SHARES], ids=["indices", "shares"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize("smoothing", [SMOOTHING, [0.1, 0.1]])
def test_cross_entropy_is_torchs(
    targets: Tensor,
    weights: Sequence[float] | None,
    number: int,
    is_alone: bool,
    smoothing: Sequence[float],
) -> None:
    """With a smoothing for each network, alone and in a stack, for labels and mixed images."""
    own = slice(number, number + 1) if is_alone else slice(0, 2)
    loss = build("cross_entropy", weights, smoothing[own])
    means, gradients = mean_and_gradient(loss, LOGITS[own], targets[own])
    logits = LOGITS[number].clone().requires_grad_()
    class_weights = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(
        logits, targets[number], weight=class_weights, label_smoothing=smoothing[number]
    )
    if weights is not None and targets is SHARES:  # torch divides by the number of examples then
        expected = expected * 7 / (SHARES[number] * torch.tensor(weights)).sum()
    expected.backward()  # type: ignore[no-untyped-call]  # torch has no type
    place = 0 if is_alone else number
    torch.testing.assert_close(means[place], expected.detach())
    torch.testing.assert_close(gradients[place], logits.grad)


@pytest.mark.parametrize("targets", [LABELS, SHARES], ids=["indices", "shares"])
@pytest.mark.parametrize("smoothing", [[0.1], [0.1, 0.1], SMOOTHING])
def test_losses_stay_on_their_device(targets: Tensor, smoothing: Sequence[float]) -> None:
    """No number of an option is left on the CPU where the logits are elsewhere."""
    own = slice(0, len(smoothing))
    options = {"label_smoothing": smoothing}
    loss = build_loss("cross_entropy", options=options, class_weights=WEIGHTS, device="meta")
    means = loss(LOGITS[own].to("meta"), targets[own].to("meta"))
    assert means.device.type == "meta"
    assert means.shape == (len(smoothing),)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", ["cross_entropy", "brier"])
def test_labels_are_shares_of_one(name: str, weights: Sequence[float] | None) -> None:
    """The same means and gradients, whichever way they are given."""
    loss = build(name, weights, SMOOTHING)
    of_labels = mean_and_gradient(loss, LOGITS, LABELS)
    of_shares = mean_and_gradient(loss, LOGITS, as_shares(LABELS, 4))
    torch.testing.assert_close(of_labels, of_shares)


def test_cross_entropy_of_a_mixture_lies_between() -> None:
    """A mixture's loss is the mixture of the losses."""
    loss = build("cross_entropy", None, [0.1, 0.1])
    own, other = as_shares(LABELS, 4), as_shares(LABELS.roll(1, 1), 4)
    mixed = loss(LOGITS, 0.7 * own + 0.3 * other)
    torch.testing.assert_close(mixed, 0.7 * loss(LOGITS, own) + 0.3 * loss(LOGITS, other))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_brier_is_the_squared_error_on_probabilities(weights: Sequence[float] | None) -> None:
    """The mean over examples of the sum over classes, by autograd from its definition."""
    means, gradients = mean_and_gradient(build("brier", weights, []), LOGITS, LABELS)
    logits = LOGITS[1].clone().requires_grad_()
    own = torch.tensor(weights or [1.0] * 4)[LABELS[1]]
    errors = (logits.softmax(-1) - F.one_hot(LABELS[1], 4)).square().sum(-1)
    expected = (errors * own).sum() / own.sum()
    expected.backward()  # type: ignore[no-untyped-call]  # torch has no type
    torch.testing.assert_close(means[1], expected.detach())
    torch.testing.assert_close(gradients[1], logits.grad)
