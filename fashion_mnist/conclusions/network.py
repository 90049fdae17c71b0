"""The network that a recorded run became: found, checked, and asked about images.

`N` images of `H` × `W` pixels, `C` classes.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import MODEL_FOLDER, WEIGHTS_TAG, RecordedRun
from fashion_mnist.training.checkpoint import CheckpointError, Model, load_model, tensors_sha256
from fashion_mnist.training.loop import Evaluation

OUTPUT_DIR = Path("outputs")  # where the runs of this folder are, if theirs was moved here
SUFFIX = ".safetensors"  # of a recorded network's weights


@dataclass(frozen=True)
class Network:
    """A trained network, on the CPU."""

    run: RecordedRun
    model: Model
    source: str  # where it was read from, in words

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """What it says of images uint8 `[N, H, W]` with labels int64 `[N]`, as a stack of one."""
        return self.model.evaluate(images.flatten(1), labels, index=torch.arange(len(labels)))

    def probabilities(self, images: Tensor) -> Tensor:
        """Of images uint8 `[N, H, W]`: float32 `[N, C]`, the same as in `evaluate`."""
        return self.model.probabilities(images)


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


def setting(run: RecordedRun, key: str) -> object:
    """A parameter's value: what JSON makes of it, else its text; None where the run has none."""
    text = run.parameters.get(key, "null")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _folders(run: RecordedRun) -> Iterator[Path]:
    """Where the run's folder may be: where it was made, or below the folder one is in now."""
    recorded = run.directory
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
            f"{run.directory} is not here; train it again with tracking.model=always"
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
