"""What MLflow loads a recorded model with: images in, probabilities out.

A copy of this file lies beside the weights, behind one of `models/network.py`
(`packaged_model.loader_source`). So it imports torch, numpy and safetensors alone, and a recorded
model can be used where this package is not installed.

B images, H rows, W columns, C classes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from fashion_mnist.models.network import MLP, Architecture, build_mlp


class ImageClassifier:
    """A trained network behind the interface that MLflow's pyfunc models have."""

    def __init__(self, network: MLP, image_shape: tuple[int, int], mean: float, std: float) -> None:
        """mean and std are of pixels / 255, over the images that it was trained on."""
        self.network, self.image_shape, self.mean, self.std = network, image_shape, mean, std

    def predict(
        self, model_input: NDArray[Any], params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Raw images `[B, H, W]` with pixels from 0 to 255 to probabilities float32 `[B, C]`.

        Raises:
            ValueError: for another shape, and for pixels that are no whole numbers from 0 to 255;
                in a process that has MLflow its MlflowException, which a server answers with 400.
        """
        images = np.asarray(model_input)
        height, width = self.image_shape
        if images.ndim != 3 or images.shape[1:] != self.image_shape or not len(images):
            raise _refusal(f"images must be of shape [B, {height}, {width}], got {images.shape}")
        is_number = images.dtype.kind in "uif"
        # NaN is no number from 0 to 255 either
        if not is_number or not ((images >= 0) & (images <= 255) & (images % 1 == 0)).all():
            raise _refusal("pixels must be whole numbers from 0 to 255 (0 is the background)")
        pixels = torch.from_numpy(images.astype(np.float32)).flatten(1)
        with torch.inference_mode():
            logits = self.network((pixels - 255 * self.mean) * (1 / (255 * self.std)))
            return np.asarray(logits.softmax(-1).numpy(), dtype=np.float32)


def _refusal(words: str) -> Exception:
    try:
        from mlflow.exceptions import MlflowException
    except ImportError:
        return ValueError(words)
    refusal: Exception = MlflowException.invalid_parameter_value(words)
    return refusal


def _load_pyfunc(path: str) -> ImageClassifier:
    """Called by MLflow with the path of the safetensors file, or of the folder that holds it."""
    place = Path(path)
    file = place if place.is_file() else next(place.glob("*.safetensors"))
    with safe_open(file, framework="pt") as opened:
        content = json.loads(opened.metadata()["model"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no dict)
    own = content["architecture"]
    network = build_mlp(Architecture(**own | {"hidden_sizes": tuple(own["hidden_sizes"])}))
    network.load_state_dict(weights)
    height, width = content["image_shape"]
    return ImageClassifier(network.eval(), (height, width), content["mean"], content["std"])
