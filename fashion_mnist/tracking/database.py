"""Runs in a database of MLflow's, read with selects of our own. No MLflow here.

MLflow's own client migrates an older database as it opens it, makes what is missing, and builds
objects for each parameter of each run: two milliseconds a run. These tables have been the same
since MLflow 1; a test compares with what the client says.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, Select, column, create_engine, select, table
from sqlalchemy.pool import NullPool

from fashion_mnist.recorded import RecordedRun, in_one_line, time_of
from fashion_mnist.tracking.address import sqlite_path

BUSY_SECONDS = 20  # a writer holds the file for a moment, as MLflow's client allows too
EXPERIMENTS = table(
    "experiments",
    *map(column, ("experiment_id", "name", "lifecycle_stage", "artifact_location")),
)
RUNS = table(
    "runs",
    *map(column, ("run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage")),
    *map(column, ("experiment_id", "artifact_uri")),
)
PARAMETERS, TAGS = (
    table(name, *map(column, ("run_uuid", "key", "value"))) for name in ("params", "tags")
)
LAST, POINTS = (
    table(name, *map(column, ("run_uuid", "key", "value", "is_nan", "step", "timestamp")))
    for name in ("latest_metrics", "metrics")
)
ACTIVE = "active"


class Database:
    """Raises SQLAlchemy's errors where the database does not answer, or is not MLflow's."""

    def __init__(self, uri: str) -> None:
        self._engine = _engine(uri)
        self.experiments()  # an error at once if it is something else

    def experiments(self) -> dict[str, str]:
        """Name of each experiment that was not thrown away, by id."""
        query = select(EXPERIMENTS.c.experiment_id, EXPERIMENTS.c.name)
        rows = self._rows(query.where(EXPERIMENTS.c.lifecycle_stage == ACTIVE))
        return {str(number): str(name) for number, name in rows}

    def artifact_roots(self) -> dict[str, str]:
        """Where the files of new runs go, by the name of the experiment."""
        query = select(EXPERIMENTS.c.name, EXPERIMENTS.c.artifact_location)
        rows = self._rows(query.where(EXPERIMENTS.c.lifecycle_stage == ACTIVE))
        return {str(name): str(root or "") for name, root in rows}

    def runs(self, experiment_ids: Sequence[str]) -> list[RecordedRun]:
        """Those of these experiments that were not thrown away, newest first."""
        numbers = [int(each) for each in experiment_ids]
        inside = RUNS.c.experiment_id.in_(numbers) & (RUNS.c.lifecycle_stage == ACTIVE)
        return self._read(inside)

    def run(self, run_id: str) -> RecordedRun | None:
        """This one, also if it was thrown away; None if there is none."""
        return next(iter(self._read(RUNS.c.run_uuid == run_id)), None)

    def history(self, run_id: str, keys: Sequence[str]) -> dict[str, dict[int, float]]:
        """Every point of these metrics; the last one said of a step counts."""
        c = POINTS.c
        query = select(c.key, c.step, c.value, c.is_nan).where(c.run_uuid == run_id)
        query = query.where(c.key.in_(keys)).order_by(c.key, c.step, c.timestamp)
        found: dict[str, dict[int, float]] = {key: {} for key in keys}
        for key, step, value, is_nan in self._rows(query):
            found[key][int(step)] = _number(value, is_nan)
        return found

    def _read(self, condition: Any) -> list[RecordedRun]:
        c = RUNS.c
        columns = (c.run_uuid, c.name, c.status, c.start_time, c.end_time, c.artifact_uri)
        source = RUNS.join(EXPERIMENTS, c.experiment_id == EXPERIMENTS.c.experiment_id)
        query = select(*columns, EXPERIMENTS.c.name).select_from(source).where(condition)
        rows = self._rows(query.order_by(c.start_time.desc(), c.run_uuid))
        parameters, tags = (self._texts(each, condition) for each in (PARAMETERS, TAGS))
        metrics = self._metrics(condition)
        return [
            RecordedRun(
                run_id=run_id,
                name=in_one_line(name or tags.get(run_id, {}).get("mlflow.runName", "")),
                status=status or "",
                experiment=experiment,
                start=time_of(start),
                end=time_of(end),
                parameters=parameters.get(run_id, {}),
                metrics=metrics.get(run_id, {}),
                tags=tags.get(run_id, {}),
                artifact_uri=root or "",
            )
            for run_id, name, status, start, end, root, experiment in rows
        ]

    def _texts(self, source: Any, condition: Any) -> dict[str, dict[str, str]]:
        """Run id -> key -> text."""
        c = source.c
        query = select(c.run_uuid, c.key, c.value).join(RUNS, RUNS.c.run_uuid == c.run_uuid)
        found: dict[str, dict[str, str]] = {}
        for run_id, key, value in self._rows(query.where(condition)):
            found.setdefault(run_id, {})[key] = value or ""
        return found

    def _metrics(self, condition: Any) -> dict[str, dict[str, float]]:
        """Run id -> key -> last value."""
        c = LAST.c
        query = select(c.run_uuid, c.key, c.value, c.is_nan)
        query = query.join(RUNS, RUNS.c.run_uuid == c.run_uuid)
        found: dict[str, dict[str, float]] = {}
        for run_id, key, value, is_nan in self._rows(query.where(condition)):
            found.setdefault(run_id, {})[key] = _number(value, is_nan)
        return found

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def _engine(uri: str) -> Engine:
    path = sqlite_path(uri)
    if path is None:
        return create_engine(uri, poolclass=NullPool)
    # rw makes no file, and lets sqlite put right what a writer that was killed has left half done
    name = f"file:{quote(str(path))}?mode=rw"
    connect = partial(sqlite3.connect, name, uri=True, timeout=BUSY_SECONDS)

    def only_reading() -> sqlite3.Connection:
        connection = connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine("sqlite://", creator=only_reading, poolclass=NullPool)


def _number(value: float | None, is_nan: object) -> float:
    return float("nan") if is_nan or value is None else float(value)
