"""How near a second training of a run comes to the first, and what was not the same for both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fashion_mnist.runs.identity import NUMERICS_TAG

Verdict = Literal["identical", "within tolerance", "different"]
LOSS_SHARE = 0.05  # of the recorded loss
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
    """A final figure, then and now, and by how much they may differ."""

    name: str
    recorded: float
    here: float
    allowed: float

    @property
    def is_near(self) -> bool:
        """Whether the two differ by no more than that."""
        return abs(self.here - self.recorded) <= self.allowed  # false of NaN


@dataclass(frozen=True)
class Comparison:
    """A run, and the same trained again."""

    weights: tuple[str, str]  # their SHA-256, recorded and here
    figures: tuple[Figure, ...]  # on one split; none where the run has none
    origins: tuple[Origin, ...]

    @property
    def verdict(self) -> Verdict:
        """Identical: the same weights to the bit. Within tolerance: all figures are near.

        Figures that are not near are different also where the weights are the same.
        """
        are_near = all(figure.is_near for figure in self.figures)
        if self.has_same_weights and are_near:
            return "identical"
        return "within tolerance" if self.figures and are_near else "different"

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
    num_images: int,
) -> Comparison:
    """Compare a run with a second training of it.

    Args:
        recorded, here: their final figures; `prefix` begins the names of the split's.
        tags: of the first and of the second.
        num_images: in that split.
    """
    names = (f"{prefix}accuracy", f"{prefix}loss")
    is_there = all(name in recorded and name in here for name in names)
    allowed = (
        (accuracy_tolerance(recorded[names[0]], num_images), LOSS_SHARE * recorded[names[1]])
        if is_there
        else ()
    )
    first, second = tags
    return Comparison(
        weights=(first.get("weights_sha256", ""), second.get("weights_sha256", "")),
        figures=tuple(
            Figure(name, recorded[name], here[name], room)
            for name, room in zip(names, allowed, strict=False)
        ),
        origins=tuple(
            Origin(name, first.get(tag, ""), second.get(tag, "")) for name, tag in ORIGINS.items()
        ),
    )


def accuracy_tolerance(accuracy: float, num_images: int) -> float:
    """Two binomial standard errors of an accuracy measured on N ≥ 1 images.

    Of the proportion with two right and two wrong answers added, which is not 0 at either end.

    Source: Agresti and Coull 1998, "Approximate is better than 'exact' for interval estimation of
    binomial proportions".
    """
    share = (accuracy * num_images + 2) / (num_images + 4)
    return 2 * math.sqrt(max(share * (1 - share), 0) / num_images)
