"""A run's files in the forms that MLflow shows: a network without pickle, a small picture."""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import Schema, TensorSpec
from PIL import Image
from safetensors import SafetensorError, safe_open

LOADER = "fashion_mnist.serving"
PACKAGES = ("mlflow", "numpy", "safetensors", "torch")
PREVIEW_PIXELS = 480  # about, of the larger side, drawn as it is: two fit beside each other


class UnreadableError(Exception):
    """A file that is not what it should be."""


def save_network(weights: Path, folder: Path) -> None:
    """Writes the model folder: uint8 images `[N, H, W]` in, float32 probabilities `[N, C]` out.

    The file's metadata holds the key `model`: JSON with at least `image_shape` and `class_names`.

    Raises:
        UnreadableError: the file is no such network.
    """
    try:
        with safe_open(weights, framework="numpy") as file:
            network = json.loads(file.metadata()["model"])
        images = TensorSpec(np.dtype("uint8"), (-1, *network["image_shape"]))
        probabilities = TensorSpec(np.dtype("float32"), (-1, len(network["class_names"])))
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise UnreadableError(f"{weights} is no network: {error}") from error
    with warnings.catch_warnings():
        # the signature says what goes in: no example is needed
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        save_model(
            folder,
            loader_module=LOADER,
            data_path=str(weights),
            signature=ModelSignature(Schema([images]), Schema([probabilities])),
            pip_requirements=requirements(),  # left out, MLflow loads the model to guess them
        )


def requirements() -> list[str]:
    """What the loader needs, as it is here; a build's own suffix (2.15.0+cpu) left out."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES]


def save_preview(image_file: Path, preview: Path) -> None:
    """A small WebP of the picture.

    Raises:
        UnreadableError: the file is no picture, or not a whole one.
    """
    try:
        with Image.open(image_file) as image:
            # a whole factor and no alpha channel: a third of the time, and small digits stay sharp
            factor = max(1, round(max(image.size) / PREVIEW_PIXELS))
            small = image.convert("RGB").reduce(factor)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableError(f"{image_file} is no picture: {error}") from error
    small.save(preview, quality=90, method=2)
