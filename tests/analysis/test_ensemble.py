"""Averages of probabilities by hand, and a greedy choice that never does worse than one alone."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fashion_mnist.analysis.ensemble import MOST_STEPS, average, select_greedily, weights_of
from fashion_mnist.metrics.calibration import nll_of_probabilities, num_in_top

LABELS = torch.tensor([0, 0, 1, 1])


def of_first(*shares: float) -> Tensor:
    """Probabilities `[N, 2]` from those of the first class."""
    first = torch.tensor(shares)
    return torch.stack([first, 1 - first], -1)


def test_average_by_hand() -> None:
    """Equal weights, and three to one, in float64."""
    two = [of_first(0.2, 0.8), of_first(0.6, 0.4)]
    assert average(two)[:, 0].tolist() == pytest.approx([0.4, 0.6])
    assert average(two, [3, 1])[:, 0].tolist() == pytest.approx([0.3, 0.7])
    assert average(two, [0, 5]).float().equal(two[1])
    assert average(two).dtype == torch.float64


def test_greedy_choice_of_a_case_worked_by_hand() -> None:
    """The best alone comes first, then whoever mends its mistake; who harms is left out."""
    good = of_first(0.9, 0.9, 0.1, 0.6)  # three right
    mender = of_first(0.45, 0.9, 0.4, 0.1)  # three right too, less sure
    wrong = of_first(0.1, 0.1, 0.9, 0.9)
    steps = select_greedily([wrong, mender, good], LABELS)
    assert [step.added for step in steps[:2]] == [2, 1]
    assert [step.num_right for step in steps[:2]] == [3, 4]
    assert weights_of(steps, 3)[0] == 0
    both = average([good, mender])
    assert steps[1].nll == pytest.approx(nll_of_probabilities(both, LABELS))


def test_a_network_may_be_taken_more_than_once() -> None:
    """The second mends the first's last answer, and spoils its first one unless outweighed."""
    first = of_first(0.9, 0.9, 0.1, 0.6)
    second = of_first(0.12, 0.9, 0.1, 0.0)
    steps = select_greedily([first, second], LABELS)
    assert [step.added for step in steps[:3]] == [0, 1, 0]
    # three to one gives 0.705 and 0.45: -ln 0.705 - ln 0.55 is less than with 2 or 4 of the first
    assert weights_of(steps, 2) == [3, 1]


def test_of_equal_networks_the_first_is_taken_alone() -> None:
    """A copy improves nothing."""
    same = of_first(0.9, 0.6, 0.4, 0.1)
    assert [step.added for step in select_greedily([same, same.clone()], LABELS)] == [0]
    assert len(select_greedily([same], LABELS)) == 1


def random_networks(seed: int, num_networks: int) -> tuple[list[Tensor], Tensor]:
    """Networks that are right more often than not, about 30 images."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (30,), generator=generator)
    logits = torch.randn(num_networks, 30, 3, generator=generator)
    logits += torch.nn.functional.one_hot(labels, 3)
    return list(torch.softmax(logits, -1)), labels


@given(st.integers(0, 200), st.integers(1, 6))
def test_every_step_improves_and_none_is_missing(seed: int, num_networks: int) -> None:
    """The chosen average is no worse than the best alone, and no single addition improves it."""
    networks, labels = random_networks(seed, num_networks)
    steps = select_greedily(networks, labels)
    assert 1 <= len(steps) <= MOST_STEPS
    for earlier, later in pairwise(steps):
        assert later.is_better_than(earlier)
    best = max(num_in_top(each, labels, 1) for each in networks)
    weights = weights_of(steps, num_networks)
    chosen = average(networks, weights)
    right = num_in_top(chosen, labels, 1)
    assert right == steps[-1].num_right
    assert right >= best
    if len(steps) < MOST_STEPS:
        for number in range(num_networks):
            more = [weight + (place == number) for place, weight in enumerate(weights)]
            assert num_in_top(average(networks, more), labels, 1) <= right
