"""Stored predictions are read with care."""

from pathlib import Path

import numpy as np
import pytest

from fashion_mnist.metrics.predictions import Predictions, PredictionsError, read_predictions


def write(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # objects too: that is what is refused
    return path


def test_predictions_come_back(tmp_path: Path) -> None:
    """Classes and right answers follow from the probabilities."""
    probabilities = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]], np.float32)
    content = {"probabilities": probabilities, "labels": np.array([1, 1, 1])}
    read = read_predictions(write(tmp_path / "p.npz", **content, split_sha256=np.array("ab")))
    assert read.predicted.tolist() == [1, 0, 1]
    assert read.is_right.tolist() == [True, False, True]
    assert read.split_sha256 == "ab"


def test_predictions_are_written_and_read(tmp_path: Path) -> None:
    """To the bit."""
    probabilities = np.array([[0.1, 0.9], [1 / 3, 2 / 3]], np.float32)
    Predictions(probabilities, np.array([1, 0]), "ab").write(tmp_path / "p.npz")
    read = read_predictions(tmp_path / "p.npz")
    assert np.array_equal(read.probabilities, probabilities)
    assert (read.labels.tolist(), read.split_sha256) == ([1, 0], "ab")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([0])},
        {"labels": np.array([0, 2])},
        {"labels": np.array([0, -1])},
        {"labels": np.array([[0], [1]])},
        {"labels": np.array(["shirt", "bag"])},
        {"labels": np.array([object(), None])},  # would be unpickled
        {"probabilities": np.ones(2, np.float32)},
        {"probabilities": np.full((2, 2), np.nan, np.float32)},
        {"probabilities": np.ones((0, 2), np.float32), "labels": np.ones(0, np.int64)},
    ],
)
def test_anything_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Wrong shapes, labels that are no classes, objects, NaN, nothing."""
    whole = {"probabilities": np.eye(2, dtype=np.float32), "labels": np.array([0, 1])}
    path = write(tmp_path / "p.npz", **{**whole, "split_sha256": np.array(""), **change})
    with pytest.raises(PredictionsError, match=r"p\.npz"):
        read_predictions(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Cut short, another kind of file, not there."""
    path = write(tmp_path / "p.npz", labels=np.zeros(100))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK", whole[:200] + b"\0" * 100 + whole[300:]):
        path.write_bytes(content)
        with pytest.raises(PredictionsError):
            read_predictions(path)
    with pytest.raises(PredictionsError):
        read_predictions(tmp_path / "none.npz")
