"""The leaderboard of stored runs: which of them are one setting, and how often each was trained."""

from __future__ import annotations  # the reader imports sqlalchemy

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from fashion_mnist.analysis.leaderboard import SPEED, Leaderboard, begun_repetitions, rank, split_of
from fashion_mnist.analysis.lookup import (
    ChoiceError,
    choose,
    networks_of,
    objective_of,
)
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.analysis.significance import MOST_READ, RunResult
from fashion_mnist.runs.identity import (
    DATA_TAG,
    FAILURE_TAG,
    NUMERICS_TAG,
    TRAINING_IMAGES_TAG,
    is_identity,
)
from fashion_mnist.tracking.recorded import REPETITIONS_TAG, TEST_SCORE, RecordedRun

if TYPE_CHECKING:
    from fashion_mnist.tracking.reader import Reader


def leaderboard(
    store: Reader, word: str | None = None, *, experiment: str | None = None, limit: int | None
) -> Leaderboard:
    """The settings of a sweep or an experiment; without a word, of the experiment used last.

    They are ranked by the sweep's first objective, see `objective_of`.

    Args:
        word: an experiment's name, or what `lookup.choose` takes for a sweep.
        experiment: the sweep is looked for in this one.
        limit: how many settings are shown; None for all.

    Raises:
        ChoiceError: there is no such thing, or no network in it.
        ValueError: there is no such experiment.
        OSError: the store does not answer.
    """
    names = store.experiments()
    is_experiment = experiment is None and word in names
    runs = store.runs(word if is_experiment else experiment)
    if word is None or is_experiment:
        newest = next((run.experiment for run in runs if run.is_network), None)
        own = [run for run in runs if word or run.experiment == newest]
        title = f"experiment {word or newest}" if word or newest else "the store"
        return build_leaderboard(store, title, own, own, limit=limit)
    try:
        sweep = choose(runs, word, "sweep")
    except ChoiceError as error:
        raise ChoiceError(f"{error}; experiments: {', '.join(names)}") from None
    own = [run for run in runs if run.experiment == sweep.experiment]
    members = [sweep, *networks_of(sweep, own)]
    return build_leaderboard(store, f"sweep {sweep.name}", members, own, limit=limit)


def build_leaderboard(
    store: Reader,
    title: str,
    runs: Sequence[RecordedRun],
    all_runs: Sequence[RecordedRun],
    *,
    limit: int | None,
) -> Leaderboard:
    """The settings of the networks among these runs.

    Args:
        runs: sweeps among them say the objective; a single sweep says how many seeds and folds
            each setting is to have.
        all_runs: of the experiment: they say how often the test set was read.

    Raises:
        ChoiceError: there is no network among the runs.
    """
    networks = [run for run in runs if run.is_network]
    if not networks:
        raise ChoiceError(f"{title} has no trained networks")
    score, sweeps = objective_of(runs), [run for run in runs if run.is_sweep]
    results = recorded_results(networks, store)
    planned = None
    if len(sweeps) == 1 and all(run.parent_id == sweeps[0].run_id for run in networks):
        planned = _number(sweeps[0].tags.get(REPETITIONS_TAG, ""))
        planned = max(planned, begun_repetitions(results))
    readers = [run for run in all_runs if run.is_network and TEST_SCORE in run.metrics]
    read = {(run.setting_key, run.replicate) for run in recorded_results(readers, store)}
    return replace(
        rank(results, score=score, num_repetitions=planned, title=title),
        limit=limit,
        most_read=max(limit or len(results), MOST_READ),
        num_tested=(len(read), len({settings for settings, _ in read})),
    )


def recorded_results(runs: Sequence[RecordedRun], store: Reader) -> list[RunResult]:
    """Stored runs as `rank` takes them, the oldest first."""
    return [_result(number, run, store) for number, run in enumerate(sorted(runs, key=_start))]


def identity_of(run: RecordedRun) -> dict[str, str]:
    """What makes the run, seed and fold too, by key in alphabetical order.

    The data's hash and the version of the numerics are part of it, as they are of a fingerprint.
    """
    own = {key: value for key, value in run.parameters.items() if is_identity(key)}
    own |= {tag: run.tags[tag] for tag in (DATA_TAG, NUMERICS_TAG) if run.tags.get(tag)}
    return {key: own[key] for key in sorted(own)}


def _result(number: int, run: RecordedRun, store: Reader) -> RunResult:
    sizes = (
        run.parameters.get("data.validation_size", ""),
        run.tags.get(TRAINING_IMAGES_TAG) or run.parameters.get("data.train_size", ""),
    )
    num_validation, num_training = map(_number, sizes)
    return RunResult(
        number=number,
        values=identity_of(run),
        status=run.status,
        metrics={
            key: value
            for key, value in run.metrics.items()
            if key.startswith(("final/", "test/")) or key in ("parameters", SPEED)
        },
        failure=run.tags.get(FAILURE_TAG, ""),
        split=split_of(run.tags),
        num_validation=num_validation,
        num_training=num_training,
        predictions=partial(stored_predictions, store, run, "validation"),
        record=run,
    )


def _number(text: str) -> int:
    """A recorded number; 0 where the text is none that there can be."""
    return int(text) if text.isdecimal() and len(text) < 16 else 0


def _start(run: RecordedRun) -> datetime:
    return run.start or datetime.max.replace(tzinfo=UTC)
