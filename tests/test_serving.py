"""The recorded network takes raw images and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from fashion_mnist.serving import ImageClassifier, _load_pyfunc
from fashion_mnist.training.checkpoint import save_model
from tests.training.test_checkpoint import make_model


@pytest.fixture
def classifier(tmp_path: Path) -> ImageClassifier:
    """A small one, loaded as MLflow loads it."""
    save_model(tmp_path / "model.safetensors", make_model())
    return _load_pyfunc(str(tmp_path))


def test_probabilities_are_those_of_the_network(classifier: ImageClassifier) -> None:
    """Normalisation is inside; integers and floats of the same pixels agree."""
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    probabilities = classifier.predict(images)
    assert probabilities.shape == (4, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(-1) == pytest.approx(np.ones(4))
    assert (classifier.predict(images.astype(np.float64)) == probabilities).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3), np.uint8),
        np.zeros((1, 3, 2), np.uint8),
        np.full((1, 2, 3), np.nan),
        np.full((1, 2, 3), 256.0),
        np.full((1, 2, 3), -1),
        np.full((1, 2, 3), "a"),
        np.full((1, 2, 3), None),
    ],
    ids=["flat", "turned", "nan", "too bright", "negative", "text", "null"],
)
def test_what_is_no_image_is_refused(
    images: np.ndarray[tuple[int, ...], np.dtype[np.generic]], classifier: ImageClassifier
) -> None:
    """MLflow lets NaN and null pass: predict must not."""
    with pytest.raises(ValueError, match="must be"):
        classifier.predict(images)
