"""What is kept of a run on disk: the state to go on from, and the network it became.

Both are safetensors with JSON in the header: reading them runs no code. P pixels, C classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fashion_mnist.data.loader import Normalizer
from fashion_mnist.models.network import MLP, Architecture, build_mlp
from fashion_mnist.runs.files import flush_names, replacing
from fashion_mnist.training.loop import Evaluation, evaluate
from fashion_mnist.training.stack import TrainingState

FORMAT = "4"
# what Python and torch raise for a description of something else
_NO_NETWORK = (
    AttributeError,
    AssertionError,
    KeyError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
KINDS = ("state", "model")


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint or model of this format."""


class FormatError(CheckpointError):
    """A file of another format: not damaged, but what another program wrote."""


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to use it."""

    architecture: Architecture
    weights: dict[str, Tensor]  # state dict of `build_mlp(architecture)`
    class_names: tuple[str, ...]
    image_shape: tuple[int, int]
    mean: float  # of pixels / 255, over the images it was trained on
    std: float

    def network(self) -> MLP:
        """The network in evaluation mode: normalised pixels `[B, P]` to logits `[B, C]`."""
        network = build_mlp(self.architecture)
        network.load_state_dict(self.weights)
        return network.eval()

    def evaluate(self, images: Tensor, labels: Tensor, *, index: Tensor) -> Evaluation:
        """As a stack of one, in float32, on the images' device.

        Args:
            images: uint8 `[M, P]`. labels: int64 `[M]`. index: int64 `[N]`, which of them.
        """
        return evaluate(
            self.network().to(images.device),
            images,
            labels,
            index=index.unsqueeze(0),
            normalizer=Normalizer([self.mean], [self.std], images.device),
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Raw pixels uint8 `[N, H, W]` or `[N, P]` to probabilities float32 `[N, C]`."""
        index = torch.arange(len(images), device=images.device)
        return self.evaluate(images.flatten(1), torch.zeros_like(index), index=index).probabilities[
            0
        ]

    def mean_probabilities(self, copies: Sequence[Tensor]) -> Tensor:
        """The mean of what it says of several copies of the same images, float32 `[N, C]`."""
        probabilities = torch.stack([self.probabilities(each) for each in copies])
        return probabilities.double().mean(0).float()


def save_state(path: Path, state: TrainingState) -> None:
    """Write a run's state; the one before is kept at `previous(path)`.

    Raises:
        OSError: where that is impossible; the old files then stay.
    """
    header = vars(state) | {"tensors": None}
    tensors = {name: tensor.cpu() for name, tensor in state.tensors.items()}
    _save(path, tensors, "state", header, keep_at=previous(path))


def previous(path: Path) -> Path:
    """Where `save_state` keeps the state before the one at `path`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote.

    Raises:
        FormatError: another program wrote it.
        CheckpointError: it is damaged.
    """
    tensors, words = _load(path, "state")
    try:
        state = TrainingState(**json.loads(words) | {"tensors": tensors})
        _check_state(state)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is no state of a run") from error
    return state


def saved_epoch(path: Path) -> int:
    """The epoch of what `load_state` gives. Raises what it raises."""
    file = path.stat()
    return _saved_epoch(path, file.st_ino, file.st_mtime_ns, file.st_size)


@lru_cache(maxsize=4096)  # a plan asks often, and to be sure the whole file must be read
def _saved_epoch(path: Path, *_version: int) -> int:
    return load_state(path).epoch


def save_model(path: Path, model: Model) -> None:
    """Write a trained network."""
    header = asdict(model)
    del header["weights"]
    _save(path, model.weights, "model", header)


def load_model(path: Path) -> Model:
    """Read what `save_model` wrote.

    Raises:
        FormatError: another program wrote it.
        CheckpointError: it is damaged.
    """
    weights, words = _load(path, "model")
    try:
        header = json.loads(words)
        shape = header.pop("architecture")
        shape["hidden_sizes"] = tuple(shape["hidden_sizes"])
        height, width = header.pop("image_shape")
        model = Model(
            architecture=Architecture(**shape),
            weights=weights,
            class_names=tuple(header.pop("class_names")),
            image_shape=(height, width),
            **header,
        )
        _check_model(model)
    except _NO_NETWORK as error:
        raise CheckpointError(f"{path} is damaged: it describes no network") from error
    return model


def _check_state(state: TrainingState) -> None:
    """Raise TypeError unless it is what its types say: any program may have written the file."""
    whole = [state.epoch, *([] if state.best_epoch is None else [state.best_epoch])]
    if not all(type(number) is int and number >= 0 for number in whole):
        raise TypeError(f"epochs must be whole numbers, got {whole}")
    rows = state.history
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("a history is a list of rows")
    if not all(isinstance(value, int | float) for row in rows for value in row.values()):
        raise TypeError("a row holds numbers by name")


def _check_model(model: Model) -> None:
    """Raise ValueError unless the network can be built, and takes the weights and the images."""
    shape, (height, width) = model.architecture, model.image_shape
    sizes = [height, width, shape.num_inputs, shape.num_classes, *shape.hidden_sizes]
    are_sizes = all(type(size) is int and 0 < size < 2**31 for size in sizes)
    # before one is built: a list of a million layers is a short text
    are_few = len(shape.hidden_sizes) < len(model.weights)
    if not are_sizes or not are_few or height * width != shape.num_inputs:
        raise ValueError(f"no network has sizes {sizes[:8]}")
    names = model.class_names
    if len(names) != shape.num_classes or not all(isinstance(name, str) for name in names):
        raise ValueError("there must be a name for each class")
    if not (0 <= model.mean <= 1 and 0 < model.std <= 1):
        raise ValueError("pixels between 0 and 1 have another mean and deviation")
    expected = build_mlp(shape, device="meta").state_dict()
    if _kinds(expected) != _kinds(model.weights):
        raise ValueError("the weights are of another network")


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _save(
    path: Path,
    tensors: dict[str, Tensor],
    kind: str,
    header: Mapping[str, Any],
    keep_at: Path | None = None,
) -> None:
    content = {kind: json.dumps(header)}
    metadata = {"format": FORMAT, "sha256": _sha256(content, tensors), **content}
    with replacing(path, previous=keep_at) as beside:
        # not by safetensors' own hand: a full disk is an OSError here, with its number
        beside.write_bytes(save(tensors, metadata))
    flush_names(path.parent)


def _load(path: Path, kind: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a whole file, and what its header says, in JSON."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    content = {key: metadata[key] for key in KINDS if key in metadata}
    found, is_whole = metadata.get("format"), metadata.get("sha256") == _sha256(content, tensors)
    # a whole file of another format is one of ours, whose format was damaged
    if found != FORMAT and not is_whole:
        version = f"format {found}" if found else "no format"
        raise FormatError(f"{path} has {version}, and this program reads format {FORMAT}")
    if found != FORMAT or not is_whole:
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content")
    if kind not in content:
        raise FormatError(f"{path} must hold a {kind}, got a {', '.join(content)}")
    return tensors, content[kind]


def _sha256(content: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Over what the header says as well as the tensors."""
    words = json.dumps(content, sort_keys=True)
    return hashlib.sha256(f"{words} {tensors_sha256(tensors)}".encode()).hexdigest()
