"""Fashion-MNIST on this machine: where it is, and whether it is whole. Nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

from fashion_mnist.data.fashion_mnist import (
    CLASS_NAMES,
    FASHION_MNIST,
    FASHION_MNIST_SHA256,
    NAMES,
    missing_names,
    read_dataset,
    system_folders,
)
from fashion_mnist.data.idx import DataError
from fashion_mnist.doctor.finding import Finding, note, well, wrong

TOPIC = "data"


def look_at_data(folder: Path) -> Iterator[Finding]:
    """The copies in the order in which training looks for them; the first whole one is enough.

    Args:
        folder: of `data.dir`.
    """
    damaged = False
    for place in dict.fromkeys((folder, *system_folders())):
        missing = missing_names(place)
        if len(missing) == len(NAMES):
            continue
        try:
            dataset = read_dataset(
                place, name=FASHION_MNIST, class_names=CLASS_NAMES, expected=FASHION_MNIST_SHA256
            )
        except DataError as error:
            damaged = True
            yield wrong(TOPIC, str(error), _advice(place, folder))
            continue
        yield well(TOPIC, f"Fashion-MNIST is in {place}, digest {dataset.sha256[:16]} as published")
        return
    if not damaged:
        yield note(TOPIC, "Fashion-MNIST is not on this machine yet", "fmnist fetch")


def _advice(place: Path, folder: Path) -> str:
    if place == folder:
        return "fmnist fetch: it sets damaged files aside and takes a good copy"
    return "install the package that brought it again; until then another copy is taken"
