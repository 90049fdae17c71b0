"""What a recorded run's network says of pictures that somebody has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from fashion_mnist.conclusions.network import Network, demand_network, load_network
from fashion_mnist.config.errors import shown
from fashion_mnist.data.idx import DataError
from fashion_mnist.data.images import Inversion, PreprocessedImage, preprocess_file
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

BATCH = 1000  # images that are asked about at a time


@dataclass(frozen=True)
class Answer:
    """One picture: what was done to it, and the probability of each class, the likeliest first."""

    taken: PreprocessedImage
    ranked: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Answers:
    """A network's answers about all pictures."""

    network: Network
    answers: tuple[Answer, ...]


def answer(
    store: Reader, run: RecordedRun, paths: Sequence[Path], *, invert: str = "auto"
) -> Answers:
    """Every picture in the files, brought to the network's form and named.

    Raises:
        DataError: names every file that holds no pictures.
        ValueError: the run has no network, or `invert` is none of auto, always and never.
        OSError: the network is nowhere to be had.
    """
    allowed: tuple[Inversion, ...] = get_args(Inversion)
    inversion = next((each for each in allowed if each == invert), None)
    if inversion is None:
        raise ValueError(f"--invert must be {', '.join(allowed)}, got {shown(invert)}")
    network = load_network(store, demand_network(run))
    taken = _preprocess_all(paths, network.model.image_shape, inversion)
    found: list[Answer] = []
    for start in range(0, len(taken), BATCH):
        part = taken[start : start + BATCH]
        images = np.stack([one.image for one in part])
        rows = network.model.probabilities(torch.from_numpy(images)).numpy()
        found += [Answer(one, _ranked(network, row)) for one, row in zip(part, rows, strict=True)]
    return Answers(network, tuple(found))


def _preprocess_all(
    paths: Sequence[Path], image_shape: tuple[int, int], inversion: Inversion
) -> list[PreprocessedImage]:
    taken, problems = list[PreprocessedImage](), list[str]()
    for path in paths:
        try:
            taken += preprocess_file(path, image_shape, inversion)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return taken


def _ranked(network: Network, row: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
    names, order = network.model.class_names, np.argsort(-row, kind="stable")
    return tuple((names[place], float(row[place])) for place in order)
