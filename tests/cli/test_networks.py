"""`fmnist evaluate`, `predict` and `ensemble` on a real store with real pictures."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from fashion_mnist.analysis.lookup import score_of
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.data.idx import write_idx
from fashion_mnist.tracking.recorded import SCORE, RecordedRun
from tests.builders import CLASS_NAMES, load
from tests.recordings import Recordings, fmnist, fmnist_json

CHILD, SIBLING = "model.width=4 seed=1", "model.width=8 seed=2"  # of a sweep: test set left alone


def figures(content: dict[str, Any]) -> dict[str, float]:
    """Name -> value."""
    return {row["figure"]: row["value"] for row in content["figures"]}


def files_of(here: Recordings, name: str, folder: str) -> set[str]:
    """The names of a run's artifacts in a folder."""
    run = here.run(name)
    return {file.path.removeprefix(f"{folder}/") for file in here.reader().artifacts(run, folder)}


@pytest.mark.long
def test_evaluation_says_what_training_recorded_and_more(here: Recordings) -> None:
    """The scores are the run's own; all kinds of tables are there, and files in a folder."""
    run = here.run(CHILD)
    content = fmnist_json("evaluate", CHILD)
    assert content["run"] == {"id": run.run_id, "name": CHILD}
    assert content["split"] == "validation"
    assert content["images"] == 20
    assert figures(content)["accuracy"] == pytest.approx(run.metrics["final/val_accuracy"])
    assert figures(content)["loss"] == pytest.approx(run.metrics["final/val_loss"], rel=1e-6)
    assert len(content["classes"]) == 3
    assert len(content["robustness"]) == 16
    assert np.sum(content["confusion_matrix"]["counts"]) == 20
    places = [Path(file) for file in content["files"]]
    assert all(place.is_file() for place in places)
    assert {place.parent for place in places} == {
        Path("outputs/evaluations", run.run_id[:8], "validation")
    }


def test_evaluation_is_recorded_with_the_run(here: Recordings) -> None:
    """Below evaluation/; a second time replaces; nothing else of the run changes."""
    before = here.run(CHILD)
    for _ in range(2):
        content = fmnist_json("evaluate", CHILD, "--no-robustness")
        assert content["recorded_below"] == ["evaluation/validation"]
    names = files_of(here, CHILD, "evaluation/validation")
    assert {"reliability.png", "coverage.png", "classes.csv", "scores.json"} <= names
    after = here.run(CHILD)
    assert (before.metrics, before.tags, before.status) == (
        after.metrics,
        after.tags,
        after.status,
    )


def test_the_test_set_is_read_aloud_and_counted_once(here: Recordings) -> None:
    """Not by validation, not with --no-record; then as test/… of the run, and once."""
    quiet = fmnist("evaluate", SIBLING, "--no-record", "--no-robustness")
    assert "test set" not in quiet.stderr
    unrecorded = fmnist("evaluate", SIBLING, "--split", "test", "--no-record", "--no-robustness")
    assert f"the test set of {SIBLING} is read: no record counts it" in unrecorded.stderr
    assert "test/accuracy" not in here.run(SIBLING).metrics
    first = fmnist("evaluate", SIBLING, "--split", "test", "--no-robustness", "--json")
    assert "the first time: it counts from now on" in first.stderr
    content = json.loads(first.stdout)
    assert content["recorded_below"] == ["evaluation/test", "test"]
    run = here.run(SIBLING)
    for key in ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro", "ece"):
        assert run.metrics[f"test/{key}"] == pytest.approx(figures(content)[key])
    again = fmnist("evaluate", SIBLING, "--split", "test", "--no-robustness")
    assert "it was read before, and counts" in again.stderr
    points = MlflowClient(here.uri).get_metric_history(run.run_id, "test/accuracy")
    assert [point.step for point in points] == [0]
    # as a run that reads its test set when it is trained
    assert files_of(here, SIBLING, "test") == files_of(here, "alone", "test")


@pytest.mark.usefixtures("here")
def test_evaluation_as_a_table() -> None:
    """Scores with intervals, classes, matrix, the worst pairs, abstaining, robustness, files."""
    table = fmnist("evaluate", "alone", "--no-record").stdout
    for words in (
        "validation: 20 images",
        "top-2 accuracy",
        "calibration error (ECE)",
        "2 Shirt",
        "the most confident predictions first",
        "occlusion (pixels a side)",
        "files in outputs/evaluations/",
    ):
        assert words in table
    assert "recorded" not in table


def test_other_images_are_judged_and_not_counted(here: Recordings, tmp_path: Path) -> None:
    """A folder of somebody's: recorded under its name, not as the run's test set."""
    images = load(here.data).test_images.view(-1, 6, 5).numpy()[:10]
    folder, run = tmp_path / "mine", here.run(CHILD)
    folder.mkdir()
    write_idx(folder / "t10k-images-idx3-ubyte", images)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.zeros(10, np.uint8))
    result = fmnist("evaluate", CHILD, "--data", folder, "--output", tmp_path / "out", "--json")
    assert "test set" not in result.stderr
    content = json.loads(result.stdout)
    assert (content["split"], content["images"]) == ("other-mine", 10)
    assert (tmp_path / "out" / "other-mine" / "confusion_matrix.png").is_file()
    assert content["recorded_below"] == ["evaluation/other-mine"]
    assert here.run(CHILD).metrics == run.metrics


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["evaluate", "model.width=4 seed=7"], 2, "there is no run"),
        (["evaluate", "widths"], 2, "widths is a sweep"),
        (["evaluate", "diverged"], 2, "diverged .* has no network: it is FAILED"),
        (["evaluate", "alone", "--split", "train"], 2, "--split must be validation or test"),
        (["evaluate", "alone", "--data", "nowhere"], 2, "nowhere: must be a folder"),
        (["evaluate", "alone", "--uri", "sqlite:///no.db"], 1, "there is no store"),
        (["predict", "alone", "mlflow.db"], 2, "mlflow.db: must be PNG, JPEG"),
        (["predict", "alone", "absent.png"], 2, "absent.png: must be a file"),
        (["predict", "alone", "absent.png", "--invert", "yes"], 2, "--invert must be auto, alw"),
        (["ensemble", "alone"], 2, "an ensemble needs two networks at least, got 1"),
        (["ensemble", "alone", "alone"], 2, "an ensemble needs two networks at least, got 1"),
        (["ensemble", "widths", "diverged"], 2, "diverged .* has no network"),
    ],
)
def test_mistakes_are_one_line(words: list[str], status: int, reason: str) -> None:
    """What is wrong, on standard error, and the exit status; nothing is printed beside."""
    result = fmnist(*words)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert re.search(reason, result.stderr)


@pytest.mark.usefixtures("here")
def test_every_file_without_pictures_is_named() -> None:
    """A line each, and nothing is said of the others."""
    result = fmnist("predict", "alone", "absent.png", "mlflow.db")
    assert result.exit_code == 2
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("absent.png: must be a file")
    assert second.startswith("mlflow.db: must be PNG, JPEG")


def test_pictures_are_named_whatever_their_files_are(here: Recordings, tmp_path: Path) -> None:
    """PNG, JPEG, .npy, .npz and IDX of the same image: one class, and what was done to each."""
    images = load(here.data).test_images.view(-1, 6, 5).numpy()
    image = images[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image).save(tmp_path / "b.jpg", quality=100)
    np.save(tmp_path / "c.npy", image / 255)
    np.savez(tmp_path / "d.npz", images=images[:3])
    write_idx(tmp_path / "e.gz", images[:2])
    files = [tmp_path / name for name in ("a.png", "b.jpg", "c.npy", "d.npz", "e.gz")]
    content = fmnist_json("predict", "alone", *files, "--invert", "never")
    rows = content["images"]
    assert [row["image"] for row in rows] == [
        *(str(file) for file in files[:3]),
        *(f"{files[3]}[{k}]" for k in range(3)),
        *(f"{files[4]}[{k}]" for k in range(2)),
    ]
    same = [rows[k] for k in (0, 1, 2, 3, 6)]
    assert {row["class"] for row in same} == {same[0]["class"]}
    assert rows[0]["probabilities"] == pytest.approx(rows[6]["probabilities"])
    assert rows[2]["done"] == ["pixels from 0 to 1 multiplied by 255"]
    for row in rows:
        assert set(row["probabilities"]) == set(CLASS_NAMES)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == max(row["probabilities"].values())


def test_predictions_are_those_of_the_recorded_network(here: Recordings, tmp_path: Path) -> None:
    """The test images as an IDX file: the classes are those that the run recorded of them."""
    data, run = load(here.data), here.run("alone")
    write_idx(tmp_path / "images", data.test_images.view(-1, 6, 5).numpy())
    rows = fmnist_json("predict", "alone", tmp_path / "images", "--invert", "never")["images"]
    right = [
        row["class"] == CLASS_NAMES[label]
        for row, label in zip(rows, data.test_labels.tolist(), strict=True)
    ]
    assert sum(right) / len(right) == pytest.approx(run.metrics["test/accuracy"])


def test_predictions_as_a_table(here: Recordings, tmp_path: Path) -> None:
    """The likeliest classes, as many as are asked for, and what was done; long ones are cut."""
    write_idx(tmp_path / "images", load(here.data).test_images.view(-1, 6, 5).numpy())
    Image.fromarray(np.full((60, 80, 3), 255, np.uint8)).save(tmp_path / "blank.png")
    table = fmnist("predict", "alone", tmp_path / "blank.png", tmp_path / "images").stdout
    assert "empty: of one colour" in table
    assert "unchanged" in table or "inverted" in table
    cut = fmnist("predict", "alone", tmp_path / "images", "--limit", "4", "--top", "1").stdout
    assert "4 of 30; --limit 0 for all" in cut
    assert len(cut.splitlines()) == 6
    assert "or" not in cut.splitlines()[0].split()


def test_ensemble_of_a_sweep(here: Recordings) -> None:
    """All its networks count once; the scores are those of the mean of stored probabilities."""
    content = fmnist_json("ensemble", "widths")
    assert len(content["runs"]) == 4
    assert {row["weight"] for row in content["runs"]} == {1}
    store, stored = here.reader(), []
    for row in content["runs"]:
        run: RecordedRun | None = store.run(row["id"])
        assert run is not None
        assert row["accuracy"] == pytest.approx(run.metrics["final/val_accuracy"])
        file = store.download(run, "validation/predictions.npz", here.folder / row["id"])
        stored.append(np.load(file))
    mean = np.mean([each["probabilities"].astype(float) for each in stored], axis=0)
    labels = stored[0]["labels"]
    assert figures(content)["accuracy"] == pytest.approx((mean.argmax(1) == labels).mean())
    assert figures(content)["nll"] == pytest.approx(
        -np.log(mean[np.arange(len(labels)), labels]).mean(), rel=1e-5
    )
    assert content["robustness"] == []
    assert Path(content["files"][0]).is_file()


@pytest.mark.usefixtures("here")
def test_greedy_ensemble_is_chosen_on_validation_and_judged_on_test() -> None:
    """Its steps never get worse; the test set is read only where that is asked for, aloud."""
    chosen = fmnist("ensemble", "widths", "alone", "--greedy", "--json")
    assert "test set" not in chosen.stderr
    content = json.loads(chosen.stdout)
    counts = [step["num_right"] for step in content["steps"]]
    assert counts == sorted(counts)
    assert counts[0] == max(round(20 * row["accuracy"]) for row in content["runs"])
    assert sum(row["weight"] for row in content["runs"]) == len(counts)
    tested = fmnist(
        "ensemble", "widths", "alone", "--greedy", "--split", "test", "--robustness", "--json"
    )
    assert "the test set is read, for an ensemble" in tested.stderr
    assert "of 5 networks the first time, counts from now on" in tested.stderr
    scored = json.loads(tested.stdout)
    assert (scored["split"], scored["images"]) == ("test", 30)
    assert [row["weight"] for row in scored["runs"]] == [row["weight"] for row in content["runs"]]
    levels = {(row["disturbance"], row["strength"]): row for row in scored["robustness"]}
    assert levels["noise", 0]["accuracy"] == pytest.approx(figures(scored)["accuracy"])


def test_an_ensemble_is_chosen_on_its_own_data_and_scored_on_other(
    here: Recordings, tmp_path: Path
) -> None:
    """`--greedy --data FOLDER` of other images; images of another size are refused in one line."""
    images = load(here.data).test_images.view(-1, 6, 5).numpy()[:10]
    for name, own in (("mine", images), ("larger", np.zeros((10, 7, 5), np.uint8))):
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name / "t10k-images-idx3-ubyte", own)
        write_idx(tmp_path / name / "t10k-labels-idx1-ubyte", np.zeros(10, np.uint8))
    chosen = fmnist_json("ensemble", "widths", "--greedy")
    other = fmnist_json("ensemble", "widths", "--greedy", "--data", tmp_path / "mine")
    assert (other["split"], other["images"]) == ("other-mine", 10)
    weights = [[row["weight"] for row in content["runs"]] for content in (chosen, other)]
    assert weights[0] == weights[1]
    larger = fmnist("ensemble", "widths", "--greedy", "--data", tmp_path / "larger")
    assert larger.exit_code == 2
    assert "images must be 6 × 5 pixels for this network, got 7 × 5" in larger.stderr
    assert len(larger.stderr.splitlines()) == 1


def test_latest_stands_for_its_sweep_where_networks_are_wanted(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the newest network belongs to one; which it is, is said beside the answer."""
    shutil.copytree(recordings.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    client = MlflowClient(absolute_uri("sqlite:///mlflow.db"))
    for name in ("alone", "diverged"):
        client.delete_run(recordings.run(name).run_id)
    told = fmnist("ensemble", "latest", "--json")
    assert told.exit_code == 0, told.output
    assert "latest sweep: wide (" in told.stderr
    names = [row["name"] for row in json.loads(told.stdout)["runs"]]
    assert sorted(names) == ["model.width=8 seed=1", "model.width=8 seed=2"]


@pytest.mark.usefixtures("here")
def test_ensemble_as_a_table() -> None:
    """Who is in it and how often, the scores, and how it stands beside the best alone."""
    table = fmnist("ensemble", CHILD, SIBLING, "--greedy").stdout
    assert CHILD in table
    assert "on the validation split, so its scores are optimistically biased" in table
    assert "vs. best on validation" in table
    assert "validation: 20 images" in table


def test_an_ensembles_readings_of_the_test_set_are_counted(here: Recordings) -> None:
    """What is printed of each member is recorded with it; the best one is chosen on validation."""
    content = fmnist_json("ensemble", CHILD, SIBLING, "--split", "test")
    members = [here.reader().run(row["id"]) for row in content["runs"]]
    for row, run in zip(content["runs"], members, strict=True):
        assert run is not None
        assert run.metrics["test/accuracy"] == pytest.approx(row["accuracy"])
    best = max(members, key=lambda run: (run and score_of(run, SCORE)) or 0)
    assert best is not None
    assert content["beside_the_best_alone"]["run"] == best.run_id
    again = fmnist("ensemble", CHILD, SIBLING, "--split", "test")
    assert "for 0 of 2 networks the first time" in again.stderr
