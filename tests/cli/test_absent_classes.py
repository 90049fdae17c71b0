"""A class that has no image: no score is made up for it, wherever scores are shown."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fashion_mnist.cli.app import app
from fashion_mnist.cli.console import summarize_run
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.data.fashion_mnist import load_dataset
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.uploader import sync
from tests.builders import CLASS_NAMES, QUIET, make_config, make_data
from tests.recordings import SMALL

NAMES = (*CLASS_NAMES, "Hat")
LINE = f"No image of Hat: macro recall is the mean over the other {len(CLASS_NAMES)} classes"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[RunDir]:
    """Two runs that know a class of which there are no images, recorded in a store."""
    folder = tmp_path_factory.mktemp("absent")
    data, outputs = make_data(folder / "data"), folder / "outputs"
    dataset = load_dataset(name="idx", folder=data, class_names=NAMES)
    words = (
        f"data.class_names=[{','.join(NAMES)}]",
        f"tracking.uri={absolute_uri('sqlite:///mlflow.db', folder)}",
        f"output_dir={outputs}",
        "model.width=16",
        *SMALL,
    )
    requests = [
        Request(make_config(data, *words, f"seed={seed}"), name=f"run {seed}") for seed in (0, 1)
    ]
    results = train(requests, dataset, QUIET)
    assert sync(outputs).is_complete
    return [result.folder for result in results]


@pytest.fixture
def shown(folders: list[RunDir], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Commands in the folder of the store."""
    monkeypatch.chdir(folders[0].path.parents[2])
    return CliRunner()


def test_a_run_records_no_score_for_it(folders: list[RunDir]) -> None:
    """Blank in the table, null in JSON; the run's description and last lines say it."""
    report = folders[0].artifacts / "validation" / "classification_report"
    with report.with_suffix(".csv").open(newline="") as file:
        row = list(csv.DictReader(file))[len(CLASS_NAMES)]
    assert (row["class"], row["recall"], row["support"]) == ("Hat", "", "0")
    assert json.loads(report.with_suffix(".json").read_text())[len(CLASS_NAMES)]["recall"] is None
    assert LINE in folders[0].tags()[DESCRIPTION_TAG]
    assert LINE in summarize_run(folders[0], note="", where=[])


@pytest.mark.long
def test_commands_show_no_score_for_it(shown: CliRunner) -> None:
    """In evaluation, comparison and report, in words, as JSON and on their pages."""
    scored = shown.invoke(app, ["evaluate", "run 0"])
    assert LINE in scored.stdout, scored.output
    content = json.loads(shown.invoke(app, ["evaluate", "run 0", "--json"]).stdout)
    assert content["classes"][-1]["recall"] is None
    assert content["classes"][-1]["recall_low"] is None

    compared = shown.invoke(app, ["compare", "run 0", "run 1"])
    assert LINE in compared.stdout, compared.output
    compared = shown.invoke(app, ["compare", "run 0", "run 1", "--json"])
    assert len(json.loads(compared.stdout)["runs"][0]["f1"]) == len(NAMES)

    reported = shown.invoke(app, ["report", "run 0", "run 1", "-o", "report.html"])
    assert reported.exit_code == 0, reported.output
    page = Path("report.html").read_text(encoding="utf-8")
    assert LINE in page
