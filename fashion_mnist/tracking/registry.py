"""MLflow's model registry: names, their numbered versions, aliases that point to a version."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fashion_mnist.config.store_uri import absolute_uri, driver_uri
from fashion_mnist.tracking.checks import answering, root_cause
from fashion_mnist.tracking.recorded import MODEL_FOLDER, SCORE, TEST_SCORE, RecordedRun
from fashion_mnist.tracking.store import at_home

_NAME = re.compile(r"[\w. -]{1,100}")  # what filters of MLflow's take, in quotes
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Version:
    """A version of a registered model, and the run that it is of; empty where it names none."""

    name: str
    number: str
    run_id: str


class Registry:
    """Every method raises OSError where the store does not answer, ValueError for a bad name."""

    def __init__(self, uri: str) -> None:
        """Args:
        uri: of the store, as `Reader` takes it.
        """
        self.uri = absolute_uri(uri, name="the store")
        own = driver_uri(self.uri)
        with self._answering(), at_home(self.uri):
            self._client = MlflowClient(own, own)

    def with_alias(self, name: str, alias: str) -> Version | None:
        """The version that bears the alias; None if none does."""
        with self._answering():
            try:
                return _plain(self._client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                if error.error_code in _NOT_THERE:
                    return None
                raise

    def register(self, name: str, run: RecordedRun) -> Version:
        """The version of this name that is the run's recorded network, made if it is not there."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"a model's name takes letters, digits, space and _.-, got {name!r}")
        with self._answering():
            with contextlib.suppress(MlflowException):  # it is there, or the search says why not
                self._client.create_registered_model(name)
            self._client.get_registered_model(name)
            for version in self._client.search_model_versions(f"name='{name}'"):
                if version.run_id == run.run_id:
                    return _plain(version)
            source = f"{run.artifact_uri}/{MODEL_FOLDER}"
            version = self._client.create_model_version(
                name, source, run.run_id, description=_describe(run)
            )
            return _plain(version)

    def give_alias(self, version: Version, alias: str) -> None:
        """Let the alias point to this version, and to no other."""
        with self._answering():
            self._client.set_registered_model_alias(version.name, alias, version.number)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            with answering(self.uri):
                yield
        except OSError as error:
            cause = error.__cause__
            if isinstance(cause, MlflowException) and cause.error_code == "INVALID_PARAMETER_VALUE":
                raise ValueError(root_cause(cause)) from cause
            raise


def _describe(run: RecordedRun) -> str:
    """The version in words: which run it is, and its scores."""
    scores = {"validation": run.metrics.get(SCORE), "test": run.metrics.get(TEST_SCORE)}
    words = [
        f"{split} accuracy {score:.4f}" for split, score in scores.items() if score is not None
    ]
    return f"The network of the run {run.name}: {', '.join(words) or 'it was not evaluated'}."


def _plain(version: ModelVersion) -> Version:
    return Version(version.name, str(version.version), version.run_id or "")
