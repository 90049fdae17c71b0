"""What recorded runs say, read from any MLflow store, which is never written to or created.

A database is asked itself (`database.py`): 2,000 runs come in a second there, in five through
MLflow. Only servers and files need MLflow, which takes seconds to import: it waits until then.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from fashion_mnist.recorded import ArtifactFile, RecordedRun
from fashion_mnist.tracking.address import (
    absolute_uri,
    check_store,
    demand_no_password,
    sqlite_path,
)
from fashion_mnist.tracking.outbox import ANSWER_SECONDS
from fashion_mnist.tracking.problems import complaint

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MOST_FILES = 10_000  # of one run, listed
History = dict[str, dict[int, float]]  # metric -> step -> value, steps in order


class Backend(Protocol):
    """One kind of store. Each call raises what its library raises."""

    def experiments(self) -> dict[str, str]:
        """Name of each experiment that was not thrown away, by id."""

    def runs(self, experiment_ids: Sequence[str]) -> list[RecordedRun]:
        """Those of these experiments that were not thrown away, newest first."""

    def run(self, run_id: str) -> RecordedRun | None:
        """This one, also if it was thrown away; None if there is none."""

    def history(self, run_id: str, keys: Sequence[str]) -> History:
        """Every point of these metrics; the last one said of a step counts."""


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
            raise OSError(f"there is no store {path}: start in the folder of mlflow.db, or name it")
        problem = check_store(self.uri, ANSWER_SECONDS)
        if problem:
            raise OSError(problem)
        with self._answering():
            self._backend = _backend_of(self.uri)

    def experiments(self) -> list[str]:
        """The names of the experiments, without those that were thrown away."""
        with self._answering():
            return sorted(self._backend.experiments().values())

    def runs(self, experiment: str | None = None) -> list[RecordedRun]:
        """The runs of this experiment, or of all, newest first; without those thrown away.

        Raises:
            ValueError: there is no such experiment.
        """
        with self._answering():
            names = self._backend.experiments()
        wanted = [key for key, name in names.items() if experiment in (None, name)]
        if experiment is not None and not wanted:
            known = ", ".join(sorted(names.values())[:10]) or "none"
            raise ValueError(f"there is no experiment {experiment!r}; there are: {known}")
        with self._answering():
            return self._backend.runs(wanted)

    def run(self, run_id: str) -> RecordedRun | None:
        """The run with this id, also if it was thrown away; None if there is none."""
        with self._answering():
            return self._backend.run(run_id)

    def history(self, run: RecordedRun, keys: Sequence[str] | None = None) -> History:
        """The points of these metrics, or of all that the run has."""
        wanted = [key for key in (run.metrics if keys is None else keys) if key in run.metrics]
        with self._answering():
            return self._backend.history(run.run_id, wanted) if wanted else {}

    def artifacts(self, run: RecordedRun, folder: str = "") -> list[ArtifactFile]:
        """The files below a folder of the run's artifacts, by path; at most `MOST_FILES`."""
        with self._answering():
            repository = self._repository(run)
            return sorted(_walk(repository, folder), key=lambda file: file.path)

    def download(self, run: RecordedRun, path: str, folder: Path) -> Path:
        """The artifact of this path, a file or a folder, in `folder` at the same path.

        Raises:
            ValueError: the path would lead out of the folder.
            OSError: there is no such file, or the store does not give it.
        """
        if not _is_inside(path):
            raise ValueError(f"an artifact's path must lead down from the run's, got {path!r}")
        folder.mkdir(parents=True, exist_ok=True)
        with self._answering():
            repository = self._repository(run)
        try:
            there = Path(repository.download_artifacts(path, str(folder.resolve())))  # type: ignore[no-untyped-call] # MLflow's are untyped
        except Exception as error:  # the boundary, as below: MLflow tells the reason last
            reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
            raise OSError(f"the run {run.name!r} gives no file {path!r}: {reason}") from error
        if not there.resolve().is_relative_to(folder.resolve()):
            raise OSError(f"the store put {path!r} outside of {folder}")
        return there

    def _repository(self, run: RecordedRun) -> "ArtifactRepository":
        from fashion_mnist.tracking.store import artifact_repository

        return artifact_repository(run.artifact_uri, self.uri)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the boundary: every store's library has errors of its own
            raise OSError(complaint(self.uri, error)) from error


def _backend_of(uri: str) -> Backend:
    if uri.startswith(("http", "databricks")):
        from fashion_mnist.tracking.server import Server

        return Server(uri)
    from fashion_mnist.tracking.database import Database

    return Database(uri)


def _walk(repository: "ArtifactRepository", folder: str) -> Iterator[ArtifactFile]:
    folders, room = [folder], MOST_FILES
    while folders and room > 0:
        for item in repository.list_artifacts(folders.pop() or None):
            room -= 1
            if not _is_inside(item.path):
                continue
            if item.is_dir:
                folders.append(item.path)
            else:
                yield ArtifactFile(item.path, item.file_size)


def _is_inside(path: str) -> bool:
    words = PurePosixPath(path)
    return bool(words.parts) and not words.is_absolute() and ".." not in words.parts
