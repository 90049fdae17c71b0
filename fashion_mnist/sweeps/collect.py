"""What is on the disk of a sweep's jobs, as plain results: the same whatever trained them."""

import shlex
from collections.abc import Sequence
from functools import partial

from fashion_mnist.analysis.leaderboard import RunResult
from fashion_mnist.analysis.predictions import read_predictions
from fashion_mnist.runs.identity import FAILURE_TAG, TRAINING_IMAGES_TAG
from fashion_mnist.runs.request import last_attempt
from fashion_mnist.runs.results import PRUNED_TAG
from fashion_mnist.sweeps.definition import is_sweep
from fashion_mnist.sweeps.plan import Job
from fashion_mnist.tracking.links import program
from fashion_mnist.tracking.recorded import DATA_TAG, SPLIT_TAG


def read_result(job: Job, config_dir: str | None) -> RunResult:
    """What came of the last attempt at a job's run.

    Args:
        config_dir: the user's own YAML, for the command that trains the run alone.
    """
    folder = last_attempt(job.config, job.dataset) or job.folder
    status, tags = folder.status(), folder.tags()
    is_pruned = status == "KILLED" and PRUNED_TAG in tags
    history = folder.history()
    return RunResult(
        number=job.number,
        values=job.values,
        status=status,
        failure=tags.get(FAILURE_TAG, "") if status == "FAILED" else "",
        pruned_at=int(history[-1]["epoch"]) if is_pruned and history else None,
        metrics=folder.metrics(),
        history=history,
        folder=folder.path,
        command=train_command(
            [*job.request.overrides, *(["rerun=true"] if status == "FAILED" else [])], config_dir
        ),
        split=" ".join([tags.get(DATA_TAG, ""), tags.get(SPLIT_TAG, "")]).strip(),
        num_validation=job.config.data.validation_size,
        num_training=int(tags.get(TRAINING_IMAGES_TAG, 0)),
        predictions=partial(read_predictions, folder.artifacts / "validation" / "predictions.npz"),
    )


def train_command(overrides: Sequence[str], config_dir: str | None) -> str:
    """The words that train with these overrides, ready to be copied."""
    flags = ["--config-dir", config_dir] if config_dir is not None else []
    return f"{program('train')} {shlex.join([*flags, *overrides])}".strip()


def sweep_command(overrides: Sequence[str], config_dir: str | None) -> str:
    """The words that start this sweep, or go on with it."""
    return train_command([*([] if is_sweep(overrides) else ["-m"]), *overrides], config_dir)
