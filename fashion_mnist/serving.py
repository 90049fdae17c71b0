"""What MLflow loads a recorded model with: images in, probabilities out.

B images, H rows, W columns, C classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fashion_mnist.training.checkpoint import Model, load_model


class ImageClassifier:
    """A trained network behind the interface that MLflow's pyfunc models have."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(
        self, model_input: NDArray[Any], params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Raw images `[B, H, W]` with pixels from 0 to 255 to probabilities float32 `[B, C]`.

        Raises:
            ValueError: for another shape, and for pixels that are no numbers from 0 to 255.
        """
        images = np.asarray(model_input)
        if images.ndim != 3 or images.shape[1:] != self.model.image_shape:
            height, width = self.model.image_shape
            raise ValueError(f"images must be of shape [B, {height}, {width}], got {images.shape}")
        if images.dtype.kind not in "uif" or not ((images >= 0) & (images <= 255)).all():
            raise ValueError("pixels must be numbers from 0 to 255 (0 is the background)")
        probabilities = self.model.probabilities(torch.from_numpy(images.astype(np.float32)))
        return np.asarray(probabilities.numpy(), dtype=np.float32)


def _load_pyfunc(path: str) -> ImageClassifier:
    """Called by MLflow with the path of the safetensors file, or of the folder that holds it."""
    place = Path(path)
    return ImageClassifier(
        load_model(place if place.is_file() else next(place.glob("*.safetensors")))
    )
