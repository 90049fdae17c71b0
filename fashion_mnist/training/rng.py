"""A run's random numbers: one generator for each purpose, so that no draw moves another."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch

Purpose = Literal["weights", "shuffle", "dropout", "augment"]


def make_generator(
    seed: int, purpose: Purpose, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator that depends on the run's seed and the purpose of the draws alone."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def make_generators(
    seeds: Sequence[int], purpose: Purpose, device: torch.device | str = "cpu"
) -> list[torch.Generator]:
    """One generator for each member of a stack."""
    return [make_generator(seed, purpose, device) for seed in seeds]
