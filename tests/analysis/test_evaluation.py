"""Every score by hand or by scipy, and the files that it leaves."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from fashion_mnist.analysis.evaluation import (
    Scores,
    content_of,
    result_of,
    robustness_of,
    tables_of,
    write_scores,
)
from fashion_mnist.analysis.networks import LabelledImages
from fashion_mnist.metrics.predictions import Predictions

NAMES = ("Trouser", "Bag", "Shirt")
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0])
PROBABILITIES = torch.tensor(
    [
        [0.9, 0.05, 0.05],  # right
        [0.5, 0.3, 0.2],  # right
        [0.2, 0.7, 0.1],  # right
        [0.5, 0.4, 0.1],  # wrong, and the second guess is right
        [0.1, 0.1, 0.8],  # right
        [0.3, 0.6, 0.1],  # wrong, twice
        [0.0, 0.05, 0.95],  # right
        [0.35, 0.4, 0.25],  # wrong, and the second guess is right
    ]
)
IMAGES = torch.arange(8 * 6 * 5, dtype=torch.int64).to(torch.uint8).view(8, 6, 5)


def scores(*, with_robustness: bool = True) -> Scores:
    """Of eight images, five of them right."""
    images = LabelledImages("test", IMAGES, LABELS, "digest", "here")
    result = result_of(images, Predictions(PROBABILITIES.numpy(), LABELS.numpy(), "digest"))
    robustness = robustness_of(lambda _: PROBABILITIES, IMAGES, LABELS) if with_robustness else {}
    return Scores(result, NAMES, robustness)


def wilson(count: int, total: int) -> tuple[float, float]:
    """As scipy has it."""
    interval = binomtest(count, total).proportion_ci(method="wilson")
    return interval.low, interval.high


def test_single_scores_by_hand() -> None:
    """Five right at once, seven with the second guess; shares alone have intervals."""
    rows = {row["figure"]: row for row in tables_of(scores())["figures"]}
    assert rows["accuracy"]["value"] == 5 / 8
    assert (rows["accuracy"]["low"], rows["accuracy"]["high"]) == pytest.approx(wilson(5, 8))
    assert rows["top_2_accuracy"]["value"] == 7 / 8
    assert rows["top_2_accuracy"]["high"] == pytest.approx(wilson(7, 8)[1])
    assert rows["loss"]["value"] == pytest.approx(rows["nll"]["value"])
    assert rows["brier"]["low"] is None
    assert rows["nll"]["value"] == pytest.approx(
        -torch.tensor([0.9, 0.5, 0.7, 0.4, 0.8, 0.1, 0.95, 0.35]).log().mean().item()
    )


def test_classes_by_hand() -> None:
    """Three trousers of which two are found; three are called so, of which two are some."""
    trouser, bag, shirt = tables_of(scores())["classes"]
    assert trouser["class"] == "Trouser"
    assert (trouser["precision"], trouser["recall"], trouser["f1"]) == pytest.approx([2 / 3] * 3)
    assert (trouser["recall_low"], trouser["recall_high"]) == pytest.approx(wilson(2, 3))
    assert (bag["precision"], bag["recall"], bag["support"]) == (1 / 3, 1 / 2, 2)
    assert (shirt["precision"], shirt["precision_low"]) == pytest.approx((1, wilson(2, 2)[0]))


def test_coverage_by_hand() -> None:
    """The surest four of eight are right; all are five of eight, from 0.4 on."""
    rows = {row["coverage"]: row for row in tables_of(scores())["coverage"]}
    assert rows[1.0]["accuracy"] == 5 / 8
    assert rows[1.0]["from"] == pytest.approx(0.4)
    half = rows[0.5]
    assert (half["answered"], half["accuracy"]) == (4, 1)
    assert half["from"] == pytest.approx(0.7)
    assert half["accuracy_low"] == pytest.approx(wilson(4, 4)[0])


def test_bins_say_where_they_are() -> None:
    """Fifteen of them, from 0 to 1; an empty one has the widest interval."""
    rows = tables_of(scores())["reliability"]
    assert [rows[0]["above"], rows[-1]["up_to"]] == [0, 1]
    assert sum(row["examples"] for row in rows) == 8
    assert (rows[0]["accuracy_low"], rows[0]["accuracy_high"]) == (0, 1)
    last = rows[-1]
    assert (last["examples"], last["accuracy"]) == (1, 1)
    assert last["confidence"] == pytest.approx(0.95)


def test_robustness_is_the_accuracy_on_what_was_disturbed() -> None:
    """A network that asks one pixel: undisturbed all right, and wrong where that is hidden."""
    images = torch.zeros(200, 7, 7, dtype=torch.uint8)
    labels = torch.arange(200) % 2
    images[labels == 1, 3, 3] = 255

    def by_pixel(pictures: torch.Tensor) -> torch.Tensor:
        is_lit = (pictures[:, 3, 3] > 127).float()
        return torch.stack([1 - is_lit, is_lit], -1)

    found = robustness_of(by_pixel, images, labels)
    assert list(found) == ["shift", "noise", "occlusion"]
    for _, levels in found.values():
        assert (levels[0].strength, levels[0].accuracy) == (0, 1)
        assert (levels[0].low, levels[0].high) == pytest.approx(wilson(200, 200))
    assert [level.accuracy for level in found["shift"][1][1:]] == [0.5] * 4
    assert [level.accuracy for level in found["occlusion"][1][2:]] == [0.5] * 3
    assert found["noise"][1][1].accuracy == 1


def test_everything_is_json() -> None:
    """All of it goes through JSON and back, NaN nowhere."""
    content = json.loads(json.dumps(content_of(scores()), allow_nan=False))
    assert content["images"] == 8
    assert content["confusion_matrix"]["counts"] == [[2, 1, 0], [1, 1, 0], [0, 1, 2]]
    assert content["most_confused"][0]["count"] == 1
    assert len(content["robustness"]) == len(tables_of(scores())["robustness"]) == 16


def test_files_are_written_and_whole(tmp_path: Path) -> None:
    """Tables hold the rows, pictures can be opened; without robustness there are none of it."""
    files = write_scores(tmp_path, scores())
    assert all(file.parent == tmp_path / "test" for file in files)
    assert {file.name for file in files} == {file.name for file in (tmp_path / "test").iterdir()}
    names = {file.name for file in files}
    for name in ("reliability", "coverage", "robustness", "confusion_matrix", "mistakes"):
        with Image.open(tmp_path / "test" / f"{name}.png") as picture:
            assert picture.size[0] >= 600
    with (tmp_path / "test" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(NAMES)
    assert float(rows[0]["recall"]) == pytest.approx(2 / 3)
    assert json.loads((tmp_path / "test" / "scores.json").read_text())["images"] == 8
    fewer = {file.name for file in write_scores(tmp_path / "b", scores(with_robustness=False))}
    assert names - fewer == {"robustness.png", "robustness.csv", "robustness.json"}
