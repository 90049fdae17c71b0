"""How near a second training of a run comes to the first, and what was not the same for both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fashion_mnist.metrics.statistics import ALPHA, McNemarTest
from fashion_mnist.runs.identity import NUMERICS_TAG

Verdict = Literal["identical", "within tolerance", "different"]
FIRST_LOSS = "train/loss after epoch 1"
# relative: of the defaults, one epoch, another seed moved the loss by 0.4 and 1.1 %, pixels without
# normalisation by 14 %
LOSS_TOLERANCE = 0.02
ROUNDING = 1e-3  # relative: final figures of the same weights, computed on another machine
# what decides a run's numbers beside its config, and the tag that records it
ORIGINS = {
    "code": "git_commit",
    "data": "data_sha256",
    "torch": "torch",
    "Python": "python",
    "numerics of this package": NUMERICS_TAG,
    "machine": "cpu",
    "device": "device",
    "threads": "threads",
    "precision": "precision",
}
UNKNOWN = ("", "none")


@dataclass(frozen=True)
class Origin:
    """One thing that decides a run's numbers, then and now; empty where it is not known."""

    name: str
    recorded: str
    here: str

    @property
    def is_same(self) -> bool | None:
        """None where that cannot be said: one is not known, or code was changed and not committed.

        A commit's `+` stands for such changes.
        """
        if self.recorded in UNKNOWN or self.here in UNKNOWN:
            return None
        if self.recorded.rstrip("+") != self.here.rstrip("+"):
            return False
        return None if "+" in (self.recorded[-1], self.here[-1]) else True


@dataclass(frozen=True)
class Figure:
    """A figure, then and now, and by how much they may differ; None where that is not judged."""

    name: str
    recorded: float
    here: float
    allowed: float | None

    @property
    def is_near(self) -> bool:
        """Whether the two differ by no more than that; a finite figure must stay finite."""
        if self.allowed is None:
            return math.isfinite(self.here) or not math.isfinite(self.recorded)
        return abs(self.here - self.recorded) <= self.allowed  # false of NaN


@dataclass(frozen=True)
class Comparison:
    """A run, and the same trained again."""

    weights: tuple[str, str]  # their SHA-256, recorded and here
    figures: tuple[Figure, ...]  # final ones of one split, and the first epoch's loss, if known
    test: McNemarTest | None  # of the split's predictions, recorded and here; None: not known
    origins: tuple[Origin, ...]

    @property
    def verdict(self) -> Verdict:
        """Identical: the same weights to the bit. Within tolerance: nothing is different.

        Different: McNemar's p of the predictions is 0.05 at most, or a figure is not near. Other
        weights of which neither the predictions nor the first loss are known are different too.
        """
        is_different = not all(figure.is_near for figure in self.figures)
        is_different |= self.test is not None and self.test.p <= ALPHA
        if is_different:
            return "different"
        if self.has_same_weights:
            return "identical"
        return "within tolerance" if self.is_tested else "different"

    @property
    def is_tested(self) -> bool:
        """Whether predictions or the first epoch's loss are known of both."""
        return self.test is not None or any(each.name == FIRST_LOSS for each in self.figures)

    @property
    def has_same_weights(self) -> bool:
        """To the bit."""
        return bool(self.weights[0]) and self.weights[0] == self.weights[1]


def compare(
    recorded: Mapping[str, float],
    here: Mapping[str, float],
    tags: tuple[Mapping[str, str], Mapping[str, str]],
    *,
    prefix: str,
    test: McNemarTest | None,
) -> Comparison:
    """Compare a run with a second training of it.

    Args:
        recorded, here: their final figures, of which `prefix` begins the names of the split's, and
            `FIRST_LOSS`.
        tags: of the first and of the second.
        test: of the predictions, recorded and here.
    """
    first, second = tags
    weights = (first.get("weights_sha256", ""), second.get("weights_sha256", ""))
    is_same = bool(weights[0]) and weights[0] == weights[1]
    final = ROUNDING if is_same else None
    tolerances = {f"{prefix}accuracy": final, f"{prefix}loss": final, FIRST_LOSS: LOSS_TOLERANCE}
    return Comparison(
        weights,
        figures=tuple(
            Figure(
                name,
                recorded[name],
                here[name],
                None if share is None else share * abs(recorded[name]),
            )
            for name, share in tolerances.items()
            if name in recorded and name in here
        ),
        test=test,
        origins=tuple(
            Origin(name, first.get(tag, ""), second.get(tag, "")) for name, tag in ORIGINS.items()
        ),
    )
