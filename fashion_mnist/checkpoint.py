"""What is kept of a run on disk: the state to go on from, and the network it became.

Both are safetensors with JSON in the header: reading them runs no code. P pixels, C classes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fashion_mnist.atomic import replacing
from fashion_mnist.network import Architecture, build_network
from fashion_mnist.stack import MemberState

FORMAT = "1"


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint or model of this format."""


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to use it."""

    architecture: Architecture
    weights: dict[str, Tensor]  # state dict of `build_network(architecture)`
    class_names: tuple[str, ...]
    image_shape: tuple[int, int]
    mean: float  # of pixels / 255, over the images it was trained on
    std: float

    def network(self) -> nn.Sequential:
        """The plain network in evaluation mode: normalised pixels `[B, P]` to logits `[B, C]`."""
        network = build_network(self.architecture)
        network.load_state_dict(self.weights)
        return network.eval()

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Raw pixels uint8 `[B, H, W]` or `[B, P]` to probabilities float32 `[B, C]`."""
        pixels = (images.flatten(1) - 255 * self.mean) * (1 / (255 * self.std))
        return torch.softmax(self.network()(pixels.float()), -1)


def save_state(path: Path, state: MemberState) -> None:
    """Write a run's state. Raises OSError where that is impossible; the old file then stays."""
    header = vars(state) | {"tensors": None}
    _save(path, state.tensors, "state", header)


def load_state(path: Path) -> MemberState:
    """Read what `save_state` wrote. Raises CheckpointError where the file is not whole."""
    tensors, header = _load(path, "state")
    return MemberState(**header | {"tensors": tensors})


def saved_epoch(path: Path) -> int:
    """The epoch of what `save_state` wrote, without its tensors. Raises CheckpointError."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads((file.metadata() or {})["state"])["epoch"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def save_model(path: Path, model: Model) -> None:
    """Write a trained network."""
    header = asdict(model)
    del header["weights"]
    _save(path, model.weights, "model", header)


def load_model(path: Path) -> Model:
    """Read what `save_model` wrote. Raises CheckpointError where the file is not whole."""
    weights, header = _load(path, "model")
    shape = header.pop("architecture")
    shape["hidden_sizes"] = tuple(shape["hidden_sizes"])
    height, width = header.pop("image_shape")
    return Model(
        architecture=Architecture(**shape),
        weights=weights,
        class_names=tuple(header.pop("class_names")),
        image_shape=(height, width),
        **header,
    )


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _save(path: Path, tensors: dict[str, Tensor], kind: str, header: Mapping[str, Any]) -> None:
    metadata = {
        "format": FORMAT,
        "sha256": tensors_sha256(tensors),
        kind: json.dumps(header),
    }
    with replacing(path) as beside:
        save_file(tensors, beside, metadata)


def _load(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if metadata.get("format") != FORMAT or kind not in metadata:
        found = metadata.get("format", "none")
        raise CheckpointError(f"{path} must be a {kind} of format {FORMAT}, got format {found}")
    if metadata.get("sha256") != tensors_sha256(tensors):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content")
    return tensors, json.loads(metadata[kind])
