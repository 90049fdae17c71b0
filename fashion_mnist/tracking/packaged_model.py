"""A run's files in the forms that MLflow shows: a network without pickle, a small picture.

A recorded model stands by itself: its loader lies beside its weights. The loader is a copy of
`models/network.py` with `model_loader.py` behind it, under a name that carries the format: a
process answers for two loaders of one module name with the first one's code.
"""

import json
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import Schema, TensorSpec
from PIL import Image
from safetensors import SafetensorError, safe_open

PACKAGE = Path(__file__).parents[1]
# Read and not imported: the uploader does without torch, which takes a second and 500 MB.
LOADER_PARTS = (PACKAGE / "models" / "network.py", PACKAGE / "tracking" / "model_loader.py")
PACKAGES = ("mlflow", "numpy", "safetensors", "torch")
PREVIEW_PIXELS = 480  # about, of the larger side, drawn as it is: two fit beside each other
_NETWORK_IMPORT = "from fashion_mnist.models.network import MLP, Architecture, build_mlp\n"


class UnreadableError(Exception):
    """A file that is not what it should be."""


def save_network(weights: Path, folder: Path) -> None:
    """Writes the model folder: images `[N, H, W]` in, float32 probabilities `[N, C]` out.

    The file's metadata holds the keys `format` and `model`: JSON with at least `image_shape` and
    `class_names`. No type of the images is enforced: MLflow's server would make uint8 of NaN and of
    3.7 before the loader, which refuses both, sees them.

    Raises:
        UnreadableError: the file is no such network.
    """
    try:
        with safe_open(weights, framework="numpy") as file:
            metadata = file.metadata()
        content, number = json.loads(metadata["model"]), int(metadata["format"])
        probabilities = TensorSpec(np.dtype("float32"), (-1, len(content["class_names"])))
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise UnreadableError(f"{weights} is no network: {error}") from error
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as code:
        # the loader says what goes in: no example is needed
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        loader = Path(code, f"fashion_mnist_network_{number}.py")
        loader.write_text(loader_source(), encoding="utf-8")
        save_model(
            folder,
            loader_module=loader.stem,
            code_paths=[str(loader)],
            data_path=str(weights),
            signature=ModelSignature(outputs=Schema([probabilities])),
            metadata={"image_shape": content["image_shape"], "pixels": "0 to 255"},
            pip_requirements=requirements(),  # left out, MLflow loads the model to guess them
        )


def loader_source() -> str:
    """One module that needs torch, numpy and safetensors alone."""
    parts = (path.read_text("utf-8") for path in LOADER_PARTS)
    return "\n\n".join(parts).replace(_NETWORK_IMPORT, "")


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
