"""One MLflow store and the calls a run needs of it; repeating any of them changes nothing.

This file imports mlflow, which takes seconds: nothing that trains may import it.
"""

import contextlib
import getpass
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from filelock import FileLock

# Read when mlflow is imported, or at each request: no usage reports, no bar for each small file,
# no links between what `fmnist sync` prints, and no silent quarter of an hour in front of a server
# that is down. MLflow would repeat any request that was not answered, also the one that makes a
# run: the uploader repeats what can be repeated.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils import get_results_from_paginated_fn

from fashion_mnist.config.store_uri import (
    SQLITE,
    absolute_uri,
    driver_uri,
    sqlite_path,
)
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.signals import ended_by_signals
from fashion_mnist.tracking.artifact_roots import local_path, make_relative, resolved_root
from fashion_mnist.tracking.checks import answering, schema_problem
from fashion_mnist.tracking.packaged_model import save_preview
from fashion_mnist.tracking.recorded import ID_TAG, MODEL_FOLDER, RecordedRun, how_to_restore
from fashion_mnist.tracking.saved_views import VIEW_TAG, experiment_tags

IMAGES_TAG = "mlflow.loggedImages"  # without it the charts do not look for images
LONGEST_NAME = 250  # characters of a run's name: PostgreSQL takes no more
LOCK_SECONDS = 60  # a database is opened, or made, within some seconds
MOST_NAMES = 100  # parameters or tags in one request
MOST_ITEMS = 1000  # in one request, parameters and tags included
PAGE = 1000  # runs or experiments in one request: two seconds of a server's time

T = TypeVar("T")
Point = tuple[str, float, int, int]  # key, value, time in ms, step


class Store:
    """Raises `MlflowException` or OSError where the store does not answer.

    Files go to runs that this object has found or created.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with at_home(uri):
            self._client = MlflowClient(driver_uri(uri))
        self._artifacts: dict[str, ArtifactRepository] = {}

    def experiment(self, name: str) -> str:
        """The id of this experiment, made with our saved views if it is new to us."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # another process may be faster
            with contextlib.suppress(MlflowException), at_home(self.uri):
                self._client.create_experiment(name)
            found = self._client.get_experiment_by_name(name)
        if found is None:
            raise MlflowException(f"the experiment {name!r} cannot be made in this store")
        if found.lifecycle_stage == "deleted":
            raise MlflowException(
                f"the experiment {name!r} was deleted in this store: "
                f"{how_to_restore(found.experiment_id, self.uri)}"
            )
        self._add_views(found)
        return str(found.experiment_id)

    def find_run(self, experiment_id: str, identity: str) -> Run | None:
        """The run that bears this id of ours, also one that was deleted."""
        runs = self._client.search_runs(
            [experiment_id], f"tags.`{ID_TAG}` = '{identity}'", ViewType.ALL, max_results=1
        )
        if runs:
            self._keep_artifacts(runs[0])
            return runs[0]
        return None

    def has_files(self, run: Run) -> bool:
        """Whether the folder of its files is there, where it is one of this machine."""
        folder = local_path(resolved_root(run.info.artifact_uri, self.uri))
        return folder is None or folder.is_dir()

    def steps(self, run_id: str, key: str) -> set[int]:
        """The steps at which the run has a point of this metric."""
        return {point.step for point in self._client.get_metric_history(run_id, key)}

    def last_ms(self, run: Run) -> int:
        """When the run said something last: its newest point, or its start."""
        run_id = run.info.run_id
        points = (self._client.get_metric_history(run_id, key) for key in run.data.metrics)
        times = [point.timestamp for history in points for point in history]
        return max(times, default=run.info.start_time)

    def running_runs(self, experiment_id: str) -> list[Run]:
        """The runs of ours that are not ended, also those of other machines."""
        wanted = f"attributes.status = 'RUNNING' AND tags.`{ID_TAG}` != ''"
        return all_pages(
            lambda number, token: self._client.search_runs(
                [experiment_id], wanted, max_results=number, page_token=token
            )
        )

    def is_deleted(self, run_id: str) -> bool:
        """Whether the user deleted this run."""
        return bool(self._client.get_run(run_id).info.lifecycle_stage == "deleted")

    def create_run(
        self, experiment_id: str, name: str, start_ms: int, tags: Mapping[str, str]
    ) -> str:
        """A new run's id. The one call that must not be repeated: look with `find_run` first."""
        own = origin_tags() | dict(tags)
        run = self._client.create_run(experiment_id, start_ms, own, run_name=name[:LONGEST_NAME])
        self._keep_artifacts(run)
        return str(run.info.run_id)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Point],
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Points, parameters and tags, in few requests; a point that is there already is one."""
        points = [Metric(key, finite(value), ms, step) for key, value, ms, step in metrics]
        names = [Param(key, value) for key, value in params.items()]
        marks = [RunTag(key, value) for key, value in tags.items()]
        while points or names or marks:
            some_names, names = names[:MOST_NAMES], names[MOST_NAMES:]
            some_marks, marks = marks[:MOST_NAMES], marks[MOST_NAMES:]
            room = MOST_ITEMS - len(some_names) - len(some_marks)
            some_points, points = points[:room], points[room:]
            # never asynchronous: a dying server would lose the points without a word
            self._client.log_batch(run_id, some_points, some_names, some_marks, synchronous=True)

    def log_file(self, run_id: str, file: Path, path: str) -> None:
        """A file as the artifact of this path, replacing what is there."""
        folder = str(Path(path).parent).removeprefix(".")
        self._artifacts[run_id].log_artifact(str(file), folder)  # type: ignore[no-untyped-call] # MLflow's are untyped

    def log_folder(self, run_id: str, folder: Path, path: str) -> None:
        """A folder's files as artifacts below this path."""
        self._artifacts[run_id].log_artifacts(str(folder), path)  # type: ignore[no-untyped-call] # the same

    def log_model(self, run_id: str, experiment_id: str, folder: Path) -> None:
        """A model folder, also as the one logged model of the run, which MLflow's pages list."""
        self.log_folder(run_id, folder, MODEL_FOLDER)
        found = self._client.search_logged_models(
            [experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
        )
        model = (
            found[0]
            if found
            else self._client.create_logged_model(experiment_id, MODEL_FOLDER, source_run_id=run_id)
        )
        files = artifact_repository(model.artifact_location, self.uri)
        files.log_artifacts(str(folder))  # type: ignore[no-untyped-call] # MLflow's are untyped
        self._client.finalize_logged_model(model.model_id, "READY")
        outputs = self._client.get_run(run_id).outputs
        if not outputs or not outputs.model_outputs:
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])

    def log_image(self, run_id: str, file: Path, *, key: str, unique: UUID, time_ms: int) -> None:
        """A PNG that the charts show under `key`, at step 0, once the run has the `IMAGES_TAG`.

        The files' names are those of `MlflowClient.log_image`, but with a uuid that stays; and
        our preview is large enough to be read.
        """
        name = f"{key.replace('/', '~')}+step+0+timestamp+{time_ms}+{unique}"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(file, Path(folder, f"{name}.png"))
            save_preview(file, Path(folder, f"{name}+compressed.webp"))
            self.log_folder(run_id, Path(folder), "images")

    def log_datasets(self, run_id: str, contents: Sequence[Mapping[str, Any]]) -> None:
        """The log's datasets as inputs of the run."""
        if contents:
            self._client.log_inputs(run_id, [dataset_input(content) for content in contents])

    def save_view(self, experiment_id: str, key: str, value: str) -> None:
        """A saved view of the experiment, replacing the one with this key."""
        self._client.set_experiment_tag(experiment_id, f"{VIEW_TAG}.{key}", value)

    def set_status(self, run_id: str, status: str, time_ms: int) -> None:
        """RUNNING again, or ended at this time."""
        if status == "RUNNING":
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, time_ms)

    def _keep_artifacts(self, run: Run) -> None:
        # the client would read the whole run once more to learn where its files belong
        self._artifacts[run.info.run_id] = artifact_repository(run.info.artifact_uri, self.uri)

    def _add_views(self, experiment: Experiment) -> None:
        for key, value in experiment_tags(experiment.tags).items():
            try:
                self._client.set_experiment_tag(experiment.experiment_id, key, value)
            except MlflowException:
                now = self._client.get_experiment(experiment.experiment_id)
                if key not in now.tags:  # else another process was faster
                    raise


def origin_tags() -> dict[str, str]:
    """What MLflow's pages show as "Source" and "Created by"."""
    tags = {"mlflow.source.name": "fmnist", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a number without a name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def open_client(uri: str) -> MlflowClient:
    """MLflow's client of a server, which is bounded by the settings above; not of a database."""
    return MlflowClient(uri)


def all_pages(page: Callable[[int, str | None], "PagedList[T]"]) -> list[T]:
    """What a search of MLflow's finds.

    Args:
        page: by the number of results wanted and the token of the page; None: the first.
    """
    found: list[T] = get_results_from_paginated_fn(page, PAGE)  # type: ignore[no-untyped-call] # MLflow's are untyped
    return found


def artifact_repository(root: str, uri: str) -> ArtifactRepository:
    """The files of the run with this artifact address, in the store with that one."""
    return get_artifact_repository(resolved_root(root, uri), tracking_uri=uri)


@contextlib.contextmanager
def at_home(uri: str) -> Iterator[None]:
    """Holds a database file's lock, in its folder, where MLflow will put `mlruns`.

    Without the lock, processes that create one fresh store at once ruin it. A database that is
    not there yet is made. Of one in the current folder the paths that MLflow writes meanwhile are
    made relative: there alone MLflow finds by them what users ask it for.

    Raises:
        OSError: it is another program's, of another version of MLflow, or kept by a process.
    """
    path = sqlite_path(uri)
    if path is None:
        yield
        return
    is_here = path.parent == Path.cwd()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS, fallback_to_soft=False)
    try:
        held = lock.acquire()
    except TimeoutError:
        raise OSError(f"{lock.lock_file} is held by another process, maybe a stopped one") from None
    with held, contextlib.chdir(path.parent):
        if not path.exists():
            create_database(path)
        # MLflow would make its tables beside another program's
        if problem := schema_problem(path):
            raise OSError(": ".join(problem))
        yield
        if is_here:
            make_relative(path)


def create_database(path: Path) -> None:
    """Makes MLflow's database, whole or not at all; hold its lock.

    MLflow migrates it through forty versions. One that is killed on the way, or that finds the
    disk full, leaves tables over which the next try stumbles, for good.
    """
    # takes half a second, and a server's client does without it
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    for left in path.parent.glob(f".{path.stem}.*.part{path.suffix}*"):
        left.unlink()
    with replacing(path) as beside:
        engine = create_sqlalchemy_engine(driver_uri(f"{SQLITE}{beside}"))  # type: ignore[no-untyped-call] # MLflow's are untyped
        try:
            _initialize_tables(engine)  # type: ignore[no-untyped-call] # the same
        finally:
            engine.dispose()


def finite(value: float) -> float:
    """NaN stays; infinity becomes the largest number, as MLflow's own stores do."""
    return max(-sys.float_info.max, min(value, sys.float_info.max)) if value == value else value


def dataset_input(content: Mapping[str, Any]) -> DatasetInput:
    """A dataset of the log as MLflow wants it."""
    shape = [content["num_examples"], *content["image_shape"]]
    dataset = Dataset(
        name=content["name"],
        digest=content["digest"],
        source_type="local",
        source=json.dumps({"uri": content["source"]}),
        profile=json.dumps({"features_shape": shape, "targets_shape": shape[:1]}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", content["context"])])


def record_run(
    uri: str,
    *,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    files: Iterable[Path],
) -> str:
    """The id of a new, finished run with these files as artifacts, beside each other.

    For what is over before it is recorded, a comparison or a report: it needs no event log, nothing
    is tried twice, and called again, this makes another run.

    Raises:
        OSError: the store did not take it all, in one line.
    """
    now = time.time_ns() // 1_000_000
    # a signal would end the program at once, and the run would be RUNNING for good
    with answering(uri, "not recorded in "), ended_by_signals():
        store = Store(absolute_uri(uri))
        own = {ID_TAG: uuid4().hex}  # by which a store's runs are known to be ours
        run_id = store.create_run(store.experiment(experiment), name, now, {**tags, **own})
        try:
            points = [(key, value, now, 0) for key, value in metrics.items()]
            store.log_batch(run_id, points, {}, {})
            for file in files:
                store.log_file(run_id, file, file.name)
        except BaseException:
            store.set_status(run_id, "FAILED", now)
            raise
        store.set_status(run_id, "FINISHED", time.time_ns() // 1_000_000)
    return run_id


def add_to_run(
    uri: str, run: RecordedRun, *, metrics: Mapping[str, float], folders: Mapping[str, Path]
) -> None:
    """Add metrics, at step 0, and the files of folders below a path of an ended run's artifacts.

    Files of the same path are replaced; the metrics come last, so that they say that all is there.

    Args:
        uri: of the store that has the run.
        folders: path below the run's artifacts -> folder.

    Raises:
        OSError: the store does not take it.
    """
    now = time.time_ns() // 1_000_000
    points = [(key, value, now, 0) for key, value in metrics.items()]
    with answering(uri, "not recorded in "):
        store = Store(absolute_uri(uri))
        files = artifact_repository(run.artifact_uri, store.uri)
        for path, folder in folders.items():
            files.log_artifacts(str(folder), path)  # type: ignore[no-untyped-call] # the same
        store.log_batch(run.run_id, points, {}, {})
