"""The run that stands for a whole sweep, and the requests of the runs that belong to it.

`outputs/sweeps/ID` holds its event log, its artifacts and, of a search, Optuna's log.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fashion_mnist.analysis.labels import REPLICATE_KEYS, short_names
from fashion_mnist.config.compose import Composed
from fashion_mnist.config.schema import Config
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.records import record_destination
from fashion_mnist.runs.request import Request, wants_uploader
from fashion_mnist.runs.run_dir import locked
from fashion_mnist.tracking.recorded import OBJECTIVE_TAG, REPETITIONS_TAG, SWEEP_TAG
from fashion_mnist.tracking.uploader_process import begin_uploading
from fashion_mnist.training.device import process_tags


def view_key(folder: Path) -> str:
    """The key of MLflow's saved view of this sweep."""
    return f"sweep-{folder.name}"


@contextmanager
def open_parent(
    folder: Path,
    config: Config,
    *,
    name: str,
    axes: Mapping[str, Sequence[str]],
    num_repetitions: int,
    objective: str,
) -> Iterator[EventLog]:
    """Begin a sweep, or go on with it; its event log, open and under the sweep's lock.

    Args:
        config: of one of its jobs: where they are recorded.
        axes: what is swept, and its values in words.
        num_repetitions: seeds and folds that each setting is to have.
        objective: the metric that settings are ranked by.

    Raises:
        RunError: another process trains it.
    """
    with locked(folder, "sweep"), EventLog(folder) as event_log:
        record_destination(event_log, config.tracking)
        axes_text = json.dumps(axes, ensure_ascii=False)
        tags = {"sweep": name, SWEEP_TAG: axes_text, OBJECTIVE_TAG: objective, **process_tags()}
        tags[REPETITIONS_TAG] = str(num_repetitions)
        event_log.start(name, {}, tags)
        event_log.tags(tags)
        parameters = [key for name in axes for key in name.split(", ")]
        # a repetition is no part of a setting: its lines would hide what the others say
        settings = [key for key in parameters if key not in REPLICATE_KEYS]
        event_log.view(view_key(folder), f"Sweep: {name}", parameters, settings, objective)
        event_log.status("RUNNING")
        if wants_uploader(config):
            begin_uploading(folder.parents[1])
        yield event_log


def child_request(job: Composed, axes: Sequence[str], *, retry_failed: bool) -> Request:
    """A job's run, as one of a sweep.

    Args:
        axes: the keys that may differ between the jobs.
        retry_failed: train again what failed before.
    """
    return Request(
        job.config,
        job.overrides,
        job.choices,
        name=child_name(job.overrides, axes) or None,
        retry_failed=retry_failed,
        auto=False,
    )


def child_name(overrides: Sequence[str], axes: Sequence[str]) -> str:
    """What differs between the runs of a sweep: `width=512 lr=0.003 seed=1`."""
    names = short_names(axes)
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    values = {key: value for key, _, value in pairs if key in names}  # the last of a key counts
    return " ".join(f"{names[key]}={value}" for key, value in values.items())
