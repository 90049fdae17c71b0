"""Runs that a tracking server has, read through MLflow's client."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fashion_mnist.recorded import RecordedRun, in_one_line, time_of
from fashion_mnist.tracking.store import open_client

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000  # runs in one request: two seconds of a server's time


class Server:
    """Raises `MlflowException` or OSError where the server does not answer."""

    def __init__(self, uri: str) -> None:
        self._client = open_client(uri)

    def experiments(self) -> dict[str, str]:
        """Name of each experiment that was not thrown away, by id."""
        found: dict[str, str] = {}
        token = None
        while token != "":
            page = self._client.search_experiments(max_results=PAGE, page_token=token)
            found |= {str(each.experiment_id): each.name for each in page}
            token = page.token or ""
        return found

    def runs(self, experiment_ids: Sequence[str]) -> list[RecordedRun]:
        """Those of these experiments that were not thrown away, newest first."""
        names = self.experiments()
        return [_plain(run, names) for run in self._search(experiment_ids)]

    def run(self, run_id: str) -> RecordedRun | None:
        """This one, also if it was thrown away; None if there is none."""
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

    def _search(self, experiment_ids: Sequence[str]) -> Iterator["Run"]:
        token = None if experiment_ids else ""
        while token != "":
            page = self._client.search_runs(
                list(experiment_ids),
                max_results=PAGE,
                order_by=["attributes.start_time DESC", "attributes.run_id"],
                page_token=token,
            )
            yield from page
            token = page.token or ""


def _plain(run: "Run", experiments: dict[str, str]) -> RecordedRun:
    info, data = run.info, run.data
    return RecordedRun(
        run_id=info.run_id,
        name=in_one_line(info.run_name or ""),
        status=info.status,
        experiment=experiments.get(str(info.experiment_id), ""),
        start=time_of(info.start_time),
        end=time_of(info.end_time),
        parameters=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        artifact_uri=info.artifact_uri or "",
    )
