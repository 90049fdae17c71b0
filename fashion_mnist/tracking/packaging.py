"""A trained network's safetensors file as an MLflow model that holds no pickle."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import Schema, TensorSpec
from safetensors import safe_open

LOADER = "fashion_mnist.serving"
PACKAGES = ("mlflow", "numpy", "safetensors", "torch")


def save_network(weights: Path, folder: Path) -> None:
    """Writes the model folder: uint8 images `[N, H, W]` in, float32 probabilities `[N, C]` out.

    The file's metadata holds the key `model`: JSON with at least `image_shape` and `class_names`.
    """
    with safe_open(weights, framework="numpy") as file:
        network = json.loads(file.metadata()["model"])
    images = TensorSpec(np.dtype("uint8"), (-1, *network["image_shape"]))
    probabilities = TensorSpec(np.dtype("float32"), (-1, len(network["class_names"])))
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
