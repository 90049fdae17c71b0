"""The recorded network takes raw images and nothing else."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException

from fashion_mnist.tracking.model_loader import ImageClassifier, _load_pyfunc
from fashion_mnist.tracking.packaged_model import loader_source, save_network
from fashion_mnist.training.checkpoint import FORMAT, save_model
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
        np.full((1, 2, 3), 0.5),
        np.zeros((0, 2, 3), np.uint8),
        np.full((1, 2, 3), "a"),
        np.full((1, 2, 3), None),
    ],
    ids=["flat", "turned", "nan", "too bright", "negative", "fraction", "none", "text", "null"],
)
def test_what_is_no_image_is_refused(
    images: np.ndarray[tuple[int, ...], np.dtype[np.generic]], classifier: ImageClassifier
) -> None:
    """MLflow lets NaN and null pass: predict must not."""
    with pytest.raises(MlflowException, match="must be"):
        classifier.predict(images)


LOADED = """
import sys
sys.modules["fashion_mnist"] = None  # as where this package is not installed
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(np.arange(24, dtype=np.uint8).reshape(4, 2, 3)).tolist())
"""


def test_a_recorded_model_loads_where_this_package_is_not_installed(tmp_path: Path) -> None:
    """Its loader lies beside it; the probabilities are the same."""
    save_model(tmp_path / "model.safetensors", make_model())
    save_network(tmp_path / "model.safetensors", tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED, str(tmp_path / "model")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    images = torch.arange(24, dtype=torch.uint8).view(4, 2, 3)
    found = torch.tensor(json.loads(done.stdout))
    torch.testing.assert_close(found, make_model().probabilities(images))


def test_the_loader_imports_what_every_recorded_model_may_need_alone(tmp_path: Path) -> None:
    """torch, numpy, safetensors, and MLflow for what it refuses; its name has its format."""
    tree = ast.parse(loader_source())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names = {alias.name for node in imports for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules = {name.partition(".")[0] for name in names}
    assert modules - set(sys.stdlib_module_names) == {"torch", "numpy", "safetensors", "mlflow"}
    save_model(tmp_path / "model.safetensors", make_model())
    save_network(tmp_path / "model.safetensors", tmp_path / "model")
    assert (tmp_path / f"model/code/fashion_mnist_network_{FORMAT}.py").is_file()
