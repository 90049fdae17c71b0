"""The network that a recorded run became: found, checked, and asked about images.

`N` images of `H` × `W` pixels, `C` classes.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fashion_mnist.batches import Normalizer
from fashion_mnist.checkpoint import CheckpointError, Model, load_model, tensors_sha256
from fashion_mnist.config.errors import shown
from fashion_mnist.loop import Evaluation, evaluate
from fashion_mnist.losses import Loss, brier, cross_entropy
from fashion_mnist.model import StackedMLP
from fashion_mnist.recorded import FOLDER_TAG, MODEL_FOLDER, WEIGHTS_TAG, RecordedRun
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.tracking.reading import Reader

OUTPUT_DIR = Path("outputs")  # where the runs of this folder are, if theirs was moved here
SUFFIX = ".safetensors"  # of a recorded network's weights
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Network:
    """A trained network, on the CPU, that computes as its training did."""

    run: RecordedRun
    model: Model
    source: str  # where it was read from, in words

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """What it says of images uint8 `[N, H, W]` with labels int64 `[N]`, as a stack of one.

        In the precision that it was trained in, with the loss that it was trained by.
        """
        model = self.model
        return evaluate(
            self._stack,
            images.flatten(1),
            labels,
            index=torch.arange(len(labels)).unsqueeze(0),
            normalizer=Normalizer([model.mean], [model.std]),
            loss=loss_of(self.run, len(model.class_names)),
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Of images uint8 `[N, H, W]`: float32 `[N, C]`, the same as in `evaluate`."""
        return self.evaluate(images, torch.zeros(len(images), dtype=torch.int64)).probabilities[0]

    @cached_property
    def _stack(self) -> StackedMLP:
        precision = self.run.tags.get("precision", "fp32")
        stack = StackedMLP(
            self.model.architecture, seeds=[0], dtype=DTYPES.get(precision, torch.float32)
        )
        stack.load_state_dict(0, self.model.weights)
        return stack


def demand_network(run: RecordedRun) -> RecordedRun:
    """The run itself, if it is one that has become a network. Raises ValueError."""
    if run.is_sweep:
        raise ValueError(
            f"{run.name} is a sweep: name one of its networks (fmnist runs --sweep {run.run_id})"
        )
    if not run.is_network or run.status != "FINISHED":
        what = f"it is {run.status}" if run.is_network else "it is no training of a network"
        raise ValueError(f"{run.name} ({run.run_id}) has no network: {what}")
    return run


def load_network(store: Reader, run: RecordedRun) -> Network:
    """The network of a recorded run: from its folder on this machine, else from the store.

    Whichever is first to hold the very weights that the run names; no code of a store is run.

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
            return Network(run, model, f"the run's folder {path}")
    return Network(run, recorded_model(store, run), f"the run's artifact {MODEL_FOLDER}/")


def loss_of(run: RecordedRun, num_classes: int) -> Loss:
    """The loss that the run was trained by.

    Raises:
        ValueError: names a parameter that is none of ours.
    """
    name, weights = setting(run, "loss.name"), _class_weights(run, num_classes)
    if name == "brier":
        return brier(num_classes=num_classes, class_weights=weights)
    smoothing = setting(run, "loss.label_smoothing")
    if name != "cross_entropy" or not isinstance(smoothing, int | float) or not 0 <= smoothing < 1:
        loss = f"{shown(name)} with label_smoothing {shown(smoothing)}"
        raise ValueError(f"{run.name}: its loss must be cross_entropy or brier, got {loss}")
    return cross_entropy(
        num_classes=num_classes, label_smoothing=[smoothing], class_weights=weights
    )


def setting(run: RecordedRun, key: str) -> object:
    """A parameter's value: what JSON makes of it, else its text; None where the run has none."""
    text = run.parameters.get(key, "null")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _folders(run: RecordedRun) -> Iterator[Path]:
    """Where the run's folder may be: where it was made, or below the folder one is in now."""
    recorded = run.tags.get(FOLDER_TAG, "")
    if recorded and "\0" not in recorded:
        yield Path(recorded)
        yield OUTPUT_DIR / "runs" / Path(recorded).name


def recorded_model(store: Reader, run: RecordedRun) -> Model:
    """The network as the store has it.

    Raises:
        OSError: it was not recorded, or is not the one that the run says.
    """
    files = [file.path for file in store.artifacts(run, MODEL_FOLDER)]
    weights = [path for path in files if path.endswith(SUFFIX)]
    if len(weights) != 1:
        raise OSError(
            f"the network of {_named(run)} cannot be had: it was not recorded "
            "(tracking.model=auto leaves those of sweeps out), and its folder "
            f"{run.tags.get(FOLDER_TAG, '')} is not here; train it again with tracking.model=always"
        )
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


def _named(run: RecordedRun) -> str:
    return f"{run.name} ({run.run_id})"


def _class_weights(run: RecordedRun, num_classes: int) -> list[float] | None:
    values: Any = setting(run, "loss.class_weights")
    if values is None:
        return None
    is_list = isinstance(values, list) and len(values) == num_classes
    if not is_list or not all(map(_is_weight, values)):
        raise ValueError(f"{run.name}: loss.class_weights cannot be {shown(values)}")
    return [float(value) for value in values]


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")
