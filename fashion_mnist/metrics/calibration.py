"""How reliable a network's probabilities are: calibration, proper scores, abstaining.

`N` examples, at least one, `C` classes, `K` bins. Every function but `nll` takes probabilities
`[N, C]` and labels int64 `[N]` on the CPU, and computes in float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

# what a probability of 0 counts as in a logarithm: float32, in which networks give them, has none
# that is smaller and as precise; one sure mistake then costs 87 nats, and not infinity
SMALLEST = torch.finfo(torch.float32).tiny


class Reliability(NamedTuple):
    """Examples in bins of equal width by their top probability; an empty bin has zeros."""

    examples: Tensor  # int64 [K]: how many
    confidence: Tensor  # float64 [K]: mean top probability
    accuracy: Tensor  # float64 [K]: share of right predictions


class Selection(NamedTuple):
    """The n most confident examples, for n from 1 to N, answered, and the others not."""

    threshold: Tensor  # float64 [N]: top probability of the least confident one answered
    accuracy: Tensor  # float64 [N]: of those answered


def reliability(probabilities: Tensor, labels: Tensor, num_bins: int = 15) -> Reliability:
    """The examples in `num_bins` bins, each closed on the right: (0, 1/K], …, (1 - 1/K, 1].

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    confidence, right = _top(probabilities, labels)
    inner_edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidence, inner_edges)
    examples = torch.bincount(bins, minlength=num_bins)
    means = [
        torch.bincount(bins, weights=values, minlength=num_bins) / examples.clamp(min=1)
        for values in (confidence, right)
    ]
    return Reliability(examples, *means)


def expected_calibration_error(bins: Reliability) -> float:
    """How far confidence is from accuracy, in `[0, 1]`: 0 is calibrated.

    Each bin's |accuracy - confidence| weighs by its examples.

    Source: Guo et al. 2017, equation 3.
    """
    gaps = (bins.accuracy - bins.confidence).abs()
    return float((gaps * bins.examples).sum() / bins.examples.sum())


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean squared error of the probabilities, summed over the classes: from 0, sure and right, to
    2, sure and wrong.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability", equation 2.
    """
    true = one_hot(labels, probabilities.shape[-1])
    return float((probabilities.double() - true).square().sum(-1).mean())


def nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood of the true classes, nats, `[...]` on the logits' device.

    Computed from logits, so that no probability is rounded to 0 or 1.

    Args:
        logits: float32 `[..., N, C]`.
        labels: int64 `[..., N]`, in [0, C).
    """
    own = log_softmax(logits, -1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return own.mean(-1).neg()


def nll_of_probabilities(probabilities: Tensor, labels: Tensor) -> float:
    """The same of probabilities, where there are no logits: of averages, or of stored predictions.

    A probability of 0 counts as `SMALLEST`.
    """
    own = probabilities.double().gather(-1, labels.unsqueeze(-1))
    return float(own.clamp(min=SMALLEST).log().mean().neg())


def num_in_top(probabilities: Tensor, labels: Tensor, k: int = 2) -> int:
    """For how many examples the true class is among the k most probable.

    Of equal probabilities the first class comes first, as in `argmax`: k = 1 is the accuracy.
    """
    own = probabilities.gather(-1, labels.unsqueeze(-1))
    is_before = torch.arange(probabilities.shape[-1]) < labels.unsqueeze(-1)
    beaten_by = (probabilities > own) | ((probabilities == own) & is_before)
    return int((beaten_by.sum(-1) < k).sum())


def select(probabilities: Tensor, labels: Tensor) -> Selection:
    """What is answered with what accuracy by a network that abstains where it is least sure.

    Equally confident examples count as in a random order.

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks", with
    the top probability as confidence.
    """
    confidence, right = _top(probabilities, labels)
    levels, level_of = torch.unique(confidence, return_inverse=True)
    share_of_level = torch.bincount(level_of, weights=right) / torch.bincount(level_of)
    order = level_of.argsort(descending=True)
    num_right = share_of_level[level_of[order]].cumsum(0)
    num_answered = torch.arange(1, len(labels) + 1)
    return Selection(levels[level_of[order]], num_right / num_answered)


def area_under_risk(selection: Selection) -> float:
    """Mean share of mistakes over all coverages, in `[0, 1]`: 0 where every answer is right.

    Source: Geifman, Uziel and El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers", section 2 (AURC).
    """
    return float((1 - selection.accuracy).mean())


def _top(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of each example the top probability and whether it is the label's, float64 `[N]` each."""
    confidence, predictions = probabilities.double().max(-1)
    return confidence, (predictions == labels).double()
