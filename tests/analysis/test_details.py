"""What differs between two runs is shown, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fashion_mnist.analysis.details import differences, in_short
from fashion_mnist.analysis.labels import short_value
from fashion_mnist.tracking.recorded import RecordedRun

RUN = RecordedRun(
    run_id="1" * 32,
    name="one",
    status="FINISHED",
    experiment="x",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=None,
    parameters={"seed": "0", "optimizer.lr": "0.1", "training.threads": "2"},
    metrics={"val/loss": 0.5, "final/val_loss": float("nan"), "final/val_accuracy": 0.9},
    tags={
        "code_sha256": "a" * 64,
        "data_sha256": "d" * 64,
        "torch": "2.15.0",
        "host": "here",
        "cpu": "a processor",
        "mlflow.fmnist.pid": "12",
        "weights_sha256": "e" * 64,
    },
    artifact_uri="",
)


def test_a_run_does_not_differ_from_itself() -> None:
    """Nor from a run that only began at another time, under another name and number."""
    other = replace(
        RUN, run_id="2" * 32, name="two", start=None, tags={**RUN.tags, "mlflow.fmnist.pid": "13"}
    )
    assert differences(RUN, other) == []
    assert in_short(RUN, other) == "nothing differs"


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("code_sha256", "code"),
        ("data_sha256", "data"),
        ("torch", "versions"),
        ("python", "versions"),
        ("host", "machine"),
        ("threads", "machine"),
        ("precision", "machine"),
        ("weights_sha256", "results"),
    ],
)
def test_each_origin_is_told_of(key: str, part: str) -> None:
    """Under its part; what a run does not say differs from what the other says."""
    other = replace(RUN, tags={**RUN.tags, key: "other"})
    [found] = differences(RUN, other)
    assert found == {"part": part, "key": key, "A": RUN.tags.get(key), "B": "other"}


def test_configuration_and_results_are_told_of() -> None:
    """Parameters that one lacks too; final figures, and no curves."""
    other = replace(
        RUN,
        status="KILLED",
        parameters={"seed": "0", "optimizer.lr": "0.2"},
        metrics={**RUN.metrics, "val/loss": 0.6, "final/val_accuracy": 0.8},
    )
    assert [tuple(each.values()) for each in differences(RUN, other)] == [
        ("configuration", "optimizer.lr", "0.1", "0.2"),
        ("configuration", "training.threads", "2", None),
        ("results", "final/val_accuracy", 0.9, 0.8),
        ("results", "status", "FINISHED", "KILLED"),
    ]


def test_the_same_network_is_said_to_be() -> None:
    """By the hash of its weights; runs that do not name theirs are not the same."""
    moved = replace(RUN, tags={**RUN.tags, "host": "there"})
    assert in_short(RUN, moved) == "the same weights, to the bit; what differs: machine"
    other = replace(RUN, tags={**RUN.tags, "weights_sha256": "f" * 64})
    assert in_short(RUN, other) == "other weights; what differs: nothing but results"
    nameless = replace(RUN, tags={"host": "here"})
    assert in_short(nameless, replace(nameless, tags={"host": "there"})).startswith("no weights")
    assert in_short(RUN, nameless).startswith("the weights of one of them are not known")


def test_hashes_are_short_in_tables_and_nothing_else_is() -> None:
    """A commit with changed files keeps its plus."""
    assert short_value("a" * 40 + "+") == "aaaaaaaaaaaa…+"
    assert short_value("d" * 64) == "dddddddddddd…"
    assert short_value("decade") == "decade"
