"""What recorded runs say, read from any MLflow store, which is never written to or created.

A database is asked itself: 2,000 runs come in a second there, in five through MLflow, whose client
also migrates an older database as it opens it and makes what is missing. The tables have been the
same since MLflow 1; a test compares with what the client says. Only servers and files need MLflow,
which takes seconds to import: it waits until then.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Select, column, create_engine, select, table
from sqlalchemy.pool import NullPool

from fashion_mnist.config.store_uri import absolute_uri, demand_no_password, sqlite_path
from fashion_mnist.runs.files import is_inside, leads_down
from fashion_mnist.tracking.artifact_roots import local_path, resolved_root
from fashion_mnist.tracking.checks import (
    ANSWER_SECONDS,
    BUSY_SECONDS,
    answering,
    check_store,
    open_to_read,
)
from fashion_mnist.tracking.recorded import (
    LOST_FILES,
    ArtifactFile,
    RecordedExperiment,
    RecordedRun,
    end_of,
    in_one_line,
    time_of,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MOST_FILES = 10_000  # of one run, listed
History = dict[str, dict[int, float]]  # metric -> step -> value, steps in order


class Reader:
    """A store that is read.

    Every method raises OSError, in one line, where the store does not answer.
    """

    def __init__(self, uri: str) -> None:
        """Args:
            uri: its address; a relative sqlite path is taken from the current folder.

        Raises:
            ValueError: this cannot be the address of a store.
            OSError: there is no store, or it does not answer within seconds.
        """
        self.uri = absolute_uri(uri, name="the store")
        if self.uri.startswith("http"):
            demand_no_password(self.uri, "the store")
        path = sqlite_path(self.uri)
        if path is not None and not path.is_file():
            raise OSError(
                f"there is no store {path}: start in the folder of mlflow.db, or name it; what is "
                "kept offline is sent by fmnist sync"
            )
        problem = check_store(self.uri, ANSWER_SECONDS)
        if problem:
            raise OSError(problem)
        with answering(self.uri):
            remote = self.uri.startswith("http")
            self._backend = Client(self.uri) if remote else Database(self.uri)

    def experiments(self) -> list[str]:
        """The names of the experiments, without the deleted ones."""
        return sorted(each.name for each in self.all_experiments() if not each.is_deleted)

    def all_experiments(self) -> list[RecordedExperiment]:
        """The experiments, the deleted ones too."""
        with answering(self.uri):
            return self._backend.experiments()

    def runs(self, experiment: str | None = None) -> list[RecordedRun]:
        """The runs of this experiment, or of all, newest first; without the deleted ones.

        Raises:
            ValueError: there is no such experiment.
        """
        names = {each.id: each.name for each in self.all_experiments() if not each.is_deleted}
        wanted = [key for key, name in names.items() if experiment in (None, name)]
        if experiment is not None and not wanted:
            known = ", ".join(sorted(names.values())[:10]) or "none"
            raise ValueError(f"there is no experiment {experiment!r}; there are: {known}")
        with answering(self.uri):
            return self._backend.runs(wanted)

    def run(self, run_id: str) -> RecordedRun | None:
        """The run with this id, also if it was deleted; None if there is none."""
        with answering(self.uri):
            return self._backend.run(run_id)

    def history(self, run: RecordedRun, keys: Sequence[str] | None = None) -> History:
        """The points of these metrics, or of all that the run has."""
        wanted = [key for key in (run.metrics if keys is None else keys) if key in run.metrics]
        with answering(self.uri):
            return self._backend.history(run.run_id, wanted) if wanted else {}

    def artifacts(self, run: RecordedRun, folder: str = "") -> list[ArtifactFile]:
        """The files below a folder of the run's artifacts, by path; at most `MOST_FILES`."""
        root = self._local_folder(run)
        with answering(self.uri):
            found = _files_in(root, folder) if root else _walk(self._repository(run), folder)
            return sorted(found, key=lambda file: file.path)

    def download(self, run: RecordedRun, path: str, folder: Path) -> Path:
        """The artifact of this path, a file or a folder, in `folder` at the same path.

        Raises:
            ValueError: the path would lead out of the folder.
            OSError: there is no such file, or the store does not give it.
        """
        if not leads_down(path):
            raise ValueError(f"an artifact's path must lead down from the run's, got {path!r}")
        folder.mkdir(parents=True, exist_ok=True)
        if (root := self._local_folder(run)) is None:
            with answering(self.uri):
                repository = self._repository(run)
        try:
            if root is not None:
                return _copy(root, path, folder.resolve())
            there = Path(repository.download_artifacts(path, str(folder.resolve())))  # type: ignore[no-untyped-call] # MLflow's are untyped
        except Exception as error:  # the boundary to MLflow, which tells the reason last
            reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
            words = f"the run {run.name!r} gives no file {path!r}: {reason}; {LOST_FILES}"
            raise OSError(words) from error
        if not is_inside(there, folder):
            raise OSError(f"the store put {path!r} outside of {folder}")
        return there

    def _local_folder(self, run: RecordedRun) -> Path | None:
        """Where the run's files are on this machine; None where MLflow must fetch them."""
        return local_path(resolved_root(run.artifact_uri, self.uri))

    def _repository(self, run: RecordedRun) -> "ArtifactRepository":
        from fashion_mnist.tracking.store import artifact_repository

        return artifact_repository(run.artifact_uri, self.uri)


EXPERIMENTS = table(
    "experiments",
    *map(column, ("experiment_id", "name", "lifecycle_stage", "artifact_location")),
)
RUNS = table(
    "runs",
    *map(column, ("run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage")),
    *map(column, ("experiment_id", "artifact_uri")),
)
EXPERIMENT_TAGS = table("experiment_tags", *map(column, ("experiment_id", "key", "value")))
PARAMETERS, TAGS = (
    table(name, *map(column, ("run_uuid", "key", "value"))) for name in ("params", "tags")
)
LAST, POINTS = (
    table(name, *map(column, ("run_uuid", "key", "value", "is_nan", "step", "timestamp")))
    for name in ("latest_metrics", "metrics")
)
ACTIVE, DELETED = "active", "deleted"  # stages of life, as MLflow calls them


class Database:
    """Raises SQLAlchemy's errors where the database does not answer, or is not MLflow's."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._engine = _engine(uri)
        self.experiments()  # an error at once if it is something else

    def experiments(self) -> list[RecordedExperiment]:
        """All of them."""
        c = EXPERIMENT_TAGS.c
        tags: defaultdict[int, set[str]] = defaultdict(set)
        for number, key in self._rows(select(c.experiment_id, c.key)):
            tags[number].add(key)
        c = EXPERIMENTS.c
        rows = self._rows(select(c.experiment_id, c.name, c.lifecycle_stage))
        return [
            RecordedExperiment(str(number), str(name), stage == DELETED, frozenset(tags[number]))
            for number, name, stage in rows
        ]

    def runs(self, experiment_ids: Sequence[str]) -> list[RecordedRun]:
        """Those of these experiments that were not deleted, newest first."""
        numbers = [int(each) for each in experiment_ids]
        inside = RUNS.c.experiment_id.in_(numbers) & (RUNS.c.lifecycle_stage == ACTIVE)
        return self._read(inside)

    def run(self, run_id: str) -> RecordedRun | None:
        """This one, also if it was deleted; None if there is none."""
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
                end=end_of(status, end),
                parameters=parameters.get(run_id, {}),
                metrics=metrics.get(run_id, {}),
                tags=tags.get(run_id, {}),
                artifact_uri=resolved_root(root or "", self._uri),
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
    creator = partial(open_to_read, path, BUSY_SECONDS)
    return create_engine("sqlite://", creator=creator, poolclass=NullPool)


def _number(value: float | None, is_nan: object) -> float:
    return float("nan") if is_nan or value is None else float(value)


class Client:
    """A server's runs, read through MLflow's client.

    Raises `MlflowException` or OSError where the server does not answer.
    """

    def __init__(self, uri: str) -> None:
        from fashion_mnist.tracking.store import all_pages, open_client

        self._client, self._all_pages = open_client(uri), all_pages

    def experiments(self) -> list[RecordedExperiment]:
        """All of them."""
        from mlflow.entities import ViewType

        found = self._all_pages(
            lambda number, token: self._client.search_experiments(
                ViewType.ALL, max_results=number, page_token=token
            )
        )
        return [
            RecordedExperiment(
                str(each.experiment_id),
                each.name,
                each.lifecycle_stage == DELETED,
                frozenset(each.tags),
            )
            for each in found
        ]

    def runs(self, experiment_ids: Sequence[str]) -> list[RecordedRun]:
        """Those of these experiments that were not deleted, newest first."""
        if not experiment_ids:
            return []
        names = {each.id: each.name for each in self.experiments()}
        found = self._all_pages(
            lambda number, token: self._client.search_runs(
                list(experiment_ids),
                max_results=number,
                order_by=["attributes.start_time DESC", "attributes.run_id"],
                page_token=token,
            )
        )
        return [_plain(run, names) for run in found]

    def run(self, run_id: str) -> RecordedRun | None:
        """This one, also if it was deleted; None if there is none."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        experiment = self._client.get_experiment(run.info.experiment_id)
        return _plain(run, {str(experiment.experiment_id): experiment.name})

    def history(self, run_id: str, keys: Sequence[str]) -> dict[str, dict[int, float]]:
        """Every point of these metrics; the last one said of a step counts."""
        found = {}
        for key in keys:
            points = self._client.get_metric_history(run_id, key)
            points = sorted(points, key=lambda point: (point.step, point.timestamp))
            found[key] = {point.step: point.value for point in points}
        return found


def _plain(run: "Run", experiments: dict[str, str]) -> RecordedRun:
    info, data = run.info, run.data
    return RecordedRun(
        run_id=info.run_id,
        name=in_one_line(info.run_name or ""),
        status=info.status,
        experiment=experiments.get(str(info.experiment_id), ""),
        start=time_of(info.start_time),
        end=end_of(info.status, info.end_time),
        parameters=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        artifact_uri=info.artifact_uri or "",
    )


def _files_in(root: Path, folder: str) -> Iterator[ArtifactFile]:
    for file in islice((root / folder).rglob("*"), MOST_FILES):
        if file.is_file() and not file.is_symlink():
            yield ArtifactFile(file.relative_to(root).as_posix(), file.stat().st_size)


def _copy(root: Path, path: str, folder: Path) -> Path:
    """A file or a folder of a run, copied; a link in it leads nowhere else."""
    source, target = root / path, folder / path
    if not is_inside(source, root):
        raise OSError("it is a link that leads elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        return Path(shutil.copytree(source, target, ignore=_links, dirs_exist_ok=True))
    return shutil.copyfile(source, target)


def _links(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_symlink()]


def _walk(repository: "ArtifactRepository", folder: str) -> Iterator[ArtifactFile]:
    """The files among the first `MOST_FILES` things that are listed, for a server may go on."""
    folders, room = [folder], MOST_FILES
    while folders and room > 0:
        listed = repository.list_artifacts(folders.pop() or None)[:room]
        room -= len(listed)
        for item in listed:
            if not leads_down(item.path):
                continue
            if item.is_dir:
                folders.append(item.path)
            else:
                yield ArtifactFile(item.path, item.file_size)
