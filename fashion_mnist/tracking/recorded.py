"""A run as an MLflow store has it, in plain values. No MLflow here."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fashion_mnist.config.store_uri import without_password
from fashion_mnist.runs.identity import FINGERPRINT_TAG

PARENT_TAG = "mlflow.parentRunId"
COPY_TAG = "copy_of"
# MLflow's pages hide tags that begin so.
ID_TAG = "mlflow.fmnist.id"  # the id of its event log, by which it is found before it is made again
STATE_TAG = "mlflow.fmnist.state"  # where it is written: host, card and directory, in JSON
MODEL_FOLDER = "model"  # of a run's artifacts: its network, where it was recorded
SWEEP_TAG = "sweep.axes"  # of the run that stands for a sweep: its axes, and words on their values
REPETITIONS_TAG = "sweep.repetitions"  # seeds and folds that each setting of a sweep is to have
OBJECTIVE_TAG = "sweep.objective"  # the metric that the settings of a sweep are ranked by
SWEEP_COMMAND_TAG = "sweep.command"  # what starts the sweep, or goes on with it
COMPARISON_TAG = "comparison.runs"  # of the run that stands for a comparison: whose, by id
VALIDATION, TEST = "validation", "test"
SPLITS = (VALIDATION, TEST)  # each with a folder of a run's artifacts
SCORE = "final/val_accuracy"
LOST_FILES = (  # what to do about files of a run that are not in its store
    "fmnist sync sends them again from the folder in which the run was trained, if all are gone; "
    "otherwise restore them from a backup, or train the run again with rerun=true"
)
# each metric that settings can be ranked by, and the direction that is better
DIRECTIONS = {
    "final/val_accuracy": "maximize",
    "final/val_f1_macro": "maximize",
    "final/val_loss": "minimize",
    "parameters": "minimize",
}
TEST_SCORE = "test/accuracy"  # what says that a run has read its test set


@dataclass(frozen=True)
class RecordedExperiment:
    """What the store says of an experiment; `tags` are the names of its tags."""

    id: str
    name: str
    is_deleted: bool  # and can be restored
    tags: frozenset[str]


@dataclass(frozen=True)
class RecordedRun:
    """What the store says; any program may have written it.

    `metrics` are the last values; `status` is RUNNING, FINISHED, KILLED, FAILED or SCHEDULED.
    """

    run_id: str
    name: str
    status: str
    experiment: str
    start: datetime | None  # UTC
    end: datetime | None
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifact_uri: str

    @property
    def parent_id(self) -> str:
        """The run that this one belongs to, a sweep for one; empty for none."""
        return self.tags.get(PARENT_TAG, "")

    @property
    def original_id(self) -> str:
        """The same training, recorded before in this experiment; empty where this is the first."""
        return self.tags.get(COPY_TAG, "")

    @property
    def directory(self) -> str:
        """Where it was written, on the host that trained it; empty where it does not say."""
        try:
            return str(json.loads(self.tags[STATE_TAG])["dir"])
        except (LookupError, TypeError, ValueError, RecursionError):
            return ""

    @property
    def is_network(self) -> bool:
        """Whether it is the training of one network, by this program."""
        return FINGERPRINT_TAG in self.tags

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for a sweep, whose networks have it as `parent_id`."""
        return SWEEP_TAG in self.tags

    @property
    def duration(self) -> timedelta | None:
        """From its first start to its last end, pauses included; None while it is not ended."""
        return self.end - self.start if self.start and self.end else None


@dataclass(frozen=True)
class ArtifactFile:
    """A file of a run, by its path below the run's artifacts."""

    path: str
    num_bytes: int | None  # None where the store does not say


def how_to_restore(experiment_id: str, uri: str) -> str:
    """What to do about an experiment that was deleted in the store of this address."""
    variable = f"MLFLOW_TRACKING_URI={shlex.quote(without_password(uri))}"
    command = f"{shlex.quote(sys.executable)} -m mlflow experiments restore"
    return (
        f"restore it ({variable} {command} --experiment-id {experiment_id}), "
        "or choose another tracking.experiment"
    )


def end_of(status: str, milliseconds: int | None) -> datetime | None:
    """When a run ended. One that goes on still has its earlier end: MLflow cannot take it away."""
    return None if status == "RUNNING" else time_of(milliseconds)


def in_one_line(name: str) -> str:
    """A run's name; one with a line break could be taken for two rows of a table."""
    return " ".join(name.splitlines()).replace("\t", " ")


def time_of(milliseconds: int | None) -> datetime | None:
    """A time of MLflow's, in ms since the epoch; None also for one that no calendar has."""
    try:
        # MLflow's server says 0 of a run that is not ended
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (ValueError, OverflowError, OSError):
        return None
