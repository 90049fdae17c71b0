"""Fashion-MNIST on this machine: where it is, and whether it is whole. Nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

from fashion_mnist.data.fashion_mnist import (
    FASHION_MNIST_SHA256,
    NAMES,
    missing_names,
    read_files,
    system_folders,
)
from fashion_mnist.data.idx import DataError
from fashion_mnist.doctor.finding import Finding, note, well, wrong

TOPIC = "data"
NUM_CLASSES = 10


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
            files = read_files(place, num_classes=NUM_CLASSES, expected=FASHION_MNIST_SHA256)
        except DataError as error:
            damaged = True
            yield wrong(TOPIC, str(error), _advice(place, folder))
            continue
        yield well(TOPIC, f"Fashion-MNIST is in {place}, digest {files.sha256[:16]} as published")
        return
    if not damaged:
        yield note(TOPIC, "Fashion-MNIST is not on this machine yet", "fmnist fetch")


def _advice(place: Path, folder: Path) -> str:
    if place == folder:
        return "fmnist fetch: it sets damaged files aside and takes a good copy"
    return "install the package that brought it again; until then another copy is taken"
