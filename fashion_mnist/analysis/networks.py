"""The network of a recorded run, the images that it is evaluated on, and its predictions.

N images of H × W pixels, C classes.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.lookup import setting
from fashion_mnist.config.messages import first_line_of, shown
from fashion_mnist.data.fashion_mnist import Dataset, load_dataset, missing_names
from fashion_mnist.data.idx import DataError, read_pair
from fashion_mnist.data.images import Inversion, PreprocessedImage, preprocess_file
from fashion_mnist.data.splits import split
from fashion_mnist.runs.identity import DATA_TAG, FAILURE_TAG, WEIGHTS_TAG
from fashion_mnist.runs.records import OVERRIDES_FILE, read_overrides
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.tracking.links import train_command
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import (
    LOST_FILES,
    MODEL_FOLDER,
    SPLITS,
    TEST,
    VALIDATION,
    RecordedRun,
)
from fashion_mnist.training.checkpoint import CheckpointError, Model, load_model, tensors_sha256

OUTPUT_DIR = Path("outputs")  # where the runs of this folder are
SUFFIX = ".safetensors"  # of a recorded network's weights


def require_network(run: RecordedRun) -> RecordedRun:
    """The run itself, if it is one that has become a network. Raises ValueError."""
    if run.is_sweep:
        raise ValueError(
            f"{run.name} is a sweep: name one of its networks (fmnist runs --sweep {run.run_id})"
        )
    if not run.is_network or run.status != "FINISHED":
        why = f" ({run.tags[FAILURE_TAG]})" if run.tags.get(FAILURE_TAG) else ""
        what = f"it is {run.status}{why}" if run.is_network else "it is no training of a network"
        raise ValueError(f"{run.name} ({run.run_id}) has no network: {what}")
    return run


def load_network(store: Reader, run: RecordedRun) -> tuple[Model, str]:
    """The network of a recorded run, on the CPU, and where it was read from, in words.

    From its folder on this machine, else from the store: whichever is first to hold the very
    weights that the run names; no code of a store is run.

    Raises:
        OSError: neither has it.
    """
    for path in _folders(run):
        try:
            model = RunDir(path).load_model()
        except (CheckpointError, OSError):
            continue
        # a folder's name may be taken by another run: without the weights' hash nothing tells
        if tensors_sha256(model.weights) == run.tags.get(WEIGHTS_TAG):
            return model, f"the run's folder {path}"
    return recorded_model(store, run), f"the run's artifact {MODEL_FOLDER}/"


def _folders(run: RecordedRun) -> Iterator[Path]:
    """Where the run's folder may be: below the folder one is in now, or where it was made.

    In this order, for the project may be a copy: it does without the one that it was copied from.
    """
    recorded = run.directory
    if recorded and "\0" not in recorded:
        yield OUTPUT_DIR / "runs" / Path(recorded).name
        yield Path(recorded)


def recorded_model(store: Reader, run: RecordedRun) -> Model:
    """The network as the store has it.

    Raises:
        OSError: it was not recorded, is lost, or is not the one that the run says.
    """
    files = [file.path for file in store.artifacts(run, MODEL_FOLDER)]
    weights = [path for path in files if path.endswith(SUFFIX)]
    if len(weights) != 1:
        raise OSError(_why_missing(store, run))
    with tempfile.TemporaryDirectory() as folder:
        path = store.download(run, weights[0], Path(folder))
        try:
            model = load_model(path)
        except CheckpointError as error:
            raise OSError(f"{_named(run)}: {weights[0]} is no network of ours: {error}") from error
    expected = run.tags.get(WEIGHTS_TAG)
    if expected is not None and tensors_sha256(model.weights) != expected:
        raise OSError(f"{_named(run)}: {weights[0]} holds other weights than the run says")
    return model


def _why_missing(store: Reader, run: RecordedRun) -> str:
    """Why the store does not have the run's network, and what to do about it."""
    weights = run.tags.get(WEIGHTS_TAG)  # a folder may be another run's
    found = [RunDir(path) for path in _folders(run)]
    folders = [folder for folder in found if folder.tags().get(WEIGHTS_TAG) == weights]
    if not store.artifacts(run) or any(folder.has_recorded_model() for folder in folders):
        return f"the files of {_named(run)} are not in {run.artifact_uri}: {LOST_FILES}"
    is_here = any(folder.model.is_file() for folder in folders)
    always, typed = "tracking.model=always", stored_overrides(store, run)
    what = "records it, without training" if is_here else "trains it again"
    gone = "" if is_here else f", and its folder {run.directory} is not here"
    is_known = typed and not isinstance(typed, str)
    command = f": {train_command([*typed, always])}" if is_known else ""
    return (
        f"the network of {_named(run)} was not recorded (tracking.model=auto leaves out those of "
        f"sweeps){gone}: the same command again with {always} {what}{command}"
    )


def stored_overrides(store: Reader, run: RecordedRun) -> list[str] | str:
    """What was typed to have the run; or why that is not known."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return read_overrides(store.download(run, OVERRIDES_FILE, Path(folder)))
        except (OSError, ValueError) as error:
            return f"{OVERRIDES_FILE} of {run.name} cannot be read: {first_line_of(error)}"


def _named(run: RecordedRun) -> str:
    return f"{run.name} ({run.run_id})"


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 `[N, H, W]` with their labels int64 `[N]`."""

    name: str  # of the split: validation, test, or other-… for a folder of other images
    images: Tensor
    labels: Tensor
    sha256: str  # which images they are; empty for other images
    source: str  # the folder they were read from

    @property
    def is_own_test(self) -> bool:
        """Whether they are the test set that belongs to what the run was trained on."""
        return self.name == TEST


def read_images(
    run: RecordedRun,
    class_names: Sequence[str],
    *,
    image_shape: tuple[int, int] | None = None,
    wanted: str | None = None,
    folder: Path | None = None,
) -> LabelledImages:
    """The run's validation split or test set; or the test files of a folder with other data.

    Args:
        image_shape: (H, W) that the network takes; None where there is none to be asked.
        wanted: a name of SPLITS; None for validation, and of other data for its test files.
        folder: of IDX files; None for where the run had its data from.

    Raises:
        DataError: the data is missing, damaged, or not what the run or the network takes.
        ValueError: there is no such split.
    """
    if wanted not in (None, *SPLITS):
        raise ValueError(f"--split must be {' or '.join(SPLITS)}, got {shown(wanted)}")
    own = _own_data(run, class_names, folder)
    if own is not None:
        _check_shape(own.image_shape, image_shape, Path(own.source))
        return _split(run, own, wanted or VALIDATION)
    assert folder is not None
    if wanted == VALIDATION:
        raise ValueError(
            f"{folder} is other data than {run.name} was trained on, and has none of its "
            "validation split: leave --split out, for its t10k files"
        )
    images, labels = map(torch.tensor, read_pair(folder, "t10k", num_classes=len(class_names)))
    _check_shape(tuple(images.shape[1:]), image_shape, folder)
    with suppress(DataError):  # where the run's own data is not here, nothing tells
        own = _own_data(run, class_names, None)
        if own is not None and _is_test_of(own, images, labels):
            return _split(run, own, TEST)
    return LabelledImages(
        name=f"other-{folder.resolve().name or 'data'}",
        images=images,
        labels=labels.long(),
        sha256="",
        source=str(folder),
    )


def read_images_of(
    run: RecordedRun,
    class_names: Sequence[str],
    *,
    wanted: str,
    sha256: str,
    folder: Path | None = None,
) -> tuple[NDArray[np.uint8] | None, str]:
    """The images `[N, H, W]` that predictions are of; or None, and why they cannot be shown.

    Args:
        sha256: of the split that the predictions are of.
        folder: of IDX files; None for where the run had its data from.
    """
    try:
        found = read_images(run, class_names, wanted=wanted, folder=folder)
    except (DataError, ValueError, OSError) as error:
        return None, str(error)
    if found.sha256 != sha256:
        return None, f"{found.source} holds other images"
    return found.images.numpy(), ""


def _own_data(run: RecordedRun, class_names: Sequence[str], folder: Path | None) -> Dataset | None:
    """The data set that the run was trained on; None where the folder holds another one."""
    expected = run.tags.get(DATA_TAG)
    if folder is not None:
        if missing_names(folder):
            return None
        # under a name of no published data: else a system's copy might be taken instead
        found = load_dataset(name="", folder=folder, class_names=class_names)
        return found if found.sha256 == expected else None
    name, place = setting(run, "data.name"), setting(run, "data.dir")
    if not isinstance(name, str) or not isinstance(place, str):
        raise DataError(f"{run.name} does not say what it was trained on: name the folder (--data)")
    try:
        found = load_dataset(name=name, folder=Path(place), class_names=class_names)
    except DataError as error:
        raise DataError(f"{error}; or name the folder of the run's data (--data)") from error
    if found.sha256 != expected:
        raise DataError(
            f"{found.source} has changed since {run.name} was trained: SHA-256 must be "
            f"{expected}, got {found.sha256}"
        )
    return found


def _is_test_of(data: Dataset, images: Tensor, labels: Tensor) -> bool:
    """Whether these are the data set's test images, wherever they were read from."""
    is_same = torch.equal(images.flatten(), data.test_images.flatten())
    return is_same and torch.equal(labels.long(), data.test_labels)


def _split(run: RecordedRun, data: Dataset, name: str) -> LabelledImages:
    images = data.train_images.view(-1, *data.image_shape)
    if name == TEST:
        if not len(data.test_labels):
            raise ValueError(
                f"the test set of {run.name}'s data is empty: there is nothing to score"
            )
        tests = data.test_images.view(-1, *data.image_shape)
        return LabelledImages(TEST, tests, data.test_labels, data.sha256, data.source)
    sizes = {key: setting(run, f"data.{key}") for key in ("validation_size", "fold", "train_size")}
    validation_size, fold, train_size = sizes.values()
    known = (validation_size, fold, 0 if train_size is None else train_size)
    if any(type(size) is not int for size in known):
        raise ValueError(f"{run.name} does not say what it was validated on: {sizes}")
    if validation_size == 0:
        raise ValueError(f"{run.name} has no validation split (data.validation_size=0)")
    own = split(
        data.train_labels,
        num_classes=data.num_classes,
        validation_size=validation_size,
        fold=fold,
        train_size=train_size,
    )
    index = own.validation
    return LabelledImages(
        VALIDATION, images[index], data.train_labels[index], own.validation_sha256, data.source
    )


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, int] | None, folder: Path) -> None:
    if wanted is not None and tuple(shape) != wanted:
        sizes = [" × ".join(map(str, each)) for each in (wanted, shape)]
        raise DataError(
            f"{folder}: images must be {sizes[0]} pixels for this network, got {sizes[1]}"
        )


BATCH = 1000  # images that are asked about at a time


@dataclass(frozen=True)
class Prediction:
    """One picture: what was done to it, and the probability of each class, the likeliest first."""

    image: PreprocessedImage
    ranked: tuple[tuple[str, float], ...]


def predict(
    store: Reader, run: RecordedRun, paths: Sequence[Path], *, invert: str = "auto"
) -> list[Prediction]:
    """The predictions for every picture in the files, brought to the network's form.

    Raises:
        DataError: names every file that holds no pictures.
        ValueError: the run has no network, or `invert` is none of auto, always and never.
        OSError: the network is nowhere to be had.
    """
    allowed: tuple[Inversion, ...] = get_args(Inversion)
    inversion = next((each for each in allowed if each == invert), None)
    if inversion is None:
        raise ValueError(f"--invert must be {', '.join(allowed)}, got {shown(invert)}")
    network, _ = load_network(store, require_network(run))
    taken, problems = list[PreprocessedImage](), list[str]()
    for path in paths:
        try:
            taken += preprocess_file(path, network.image_shape, inversion)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    found: list[Prediction] = []
    for start in range(0, len(taken), BATCH):
        part = taken[start : start + BATCH]
        images = torch.from_numpy(np.stack([one.image for one in part]))
        for one, row in zip(part, network.probabilities(images).tolist(), strict=True):
            # stable: of equally probable classes the first
            ranked = sorted(zip(network.class_names, row, strict=True), key=lambda pair: -pair[1])
            found.append(Prediction(one, tuple(ranked)))
    return found
