"""One event log on its way to one store."""

import json
import logging
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, getnode, uuid5

from mlflow.entities import Run
from mlflow.exceptions import RestException

from fashion_mnist.runs.events import START, holds, log_size
from fashion_mnist.runs.files import file_in
from fashion_mnist.runs.identity import NO_COMMIT
from fashion_mnist.runs.run_state import Destination, RunState
from fashion_mnist.tracking.packaged_model import UnreadableError, save_network
from fashion_mnist.tracking.recorded import COPY_TAG, ID_TAG, PARENT_TAG, SCORE, STATE_TAG
from fashion_mnist.tracking.saved_views import sweep_view
from fashion_mnist.tracking.store import IMAGES_TAG, Point, Store
from fashion_mnist.tracking.upload_state import UploadState
from fashion_mnist.tracking.watched_log import WatchedLog

SERVER_ERRORS = 500  # and above: the server does not say what it has done
CREATE_SECONDS = 60  # a server that was asked to make a run may be at it for so long

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Relatives:
    """What a run is to others in its store, by their run ids; empty where it is nothing."""

    parent: str = ""  # the sweep that it belongs to
    original: str = ""  # the same run, which was in this experiment first
    is_parent_deleted: bool = False

    def tags(self) -> dict[str, str]:
        """The tags that say so."""
        tags = {PARENT_TAG: self.parent, COPY_TAG: self.original}
        return {key: run_id for key, run_id in tags.items() if run_id}


class LogUpload:
    """One log on its way to one destination.

    Raises `MlflowException` or OSError where the store does not take something; the upload state
    then stands before it, and the next `send` goes on there.
    """

    def __init__(
        self, watched: WatchedLog, destination: Destination, store: Store, relatives: Relatives
    ) -> None:
        self.run_dir = watched.run_dir
        self.destination = destination
        self.store = store
        self.identity = watched.identity(destination)
        self._created_ms = watched.state.created_ms
        self._steps: dict[str, set[int]] | None = None  # that the store has, where it is asked
        self.state = UploadState.read(destination)
        self._open(watched, relatives)

    def send(self) -> bool:
        """Sends all that the log holds beyond the upload state; whether that is anything.

        Nothing but the status depends on the order of events: the last value counts.
        """
        if self.state.is_deleted:
            return False
        if not holds(self.run_dir, self.state.mark):
            log.warning("%s: the log is not the one that was sent: from its start", self.run_dir)
            self._note(offset=0, crc=0)
            self._steps = {}
        news = RunState.read(self.run_dir, self.state.mark)
        if news.mark == self.state.mark:
            return False
        run_id = self.state.run_id
        if any(kind == "image" for kind, _ in news.files):
            news.tags[IMAGES_TAG] = "True"
        self.store.log_batch(run_id, list(self._unknown(news)), news.params, news.tags)
        self.store.log_datasets(run_id, news.datasets)
        for kind, content, file in self._existing(news):
            try:
                self._send_file(kind, content, file)
            except UnreadableError as error:
                log.warning("%s: left out", error)
        for view in news.views.values():
            score = str(view.get("score", SCORE))  # older logs have none
            page = sweep_view(view["name"], view["columns"], view["axes"], score, run_id)
            self.store.save_view(self.state.experiment_id, view["key"], page)
        # last of all: a reader that sees a run ended may read what it left
        if news.status:
            self.store.set_status(run_id, news.status, news.status_ms)
        self._note(offset=news.mark.offset, crc=news.mark.crc)
        return True

    def _unknown(self, news: RunState) -> Iterator[Point]:
        """The points that the store may not have.

        A point that is sent twice is the same one. Only a log that was sent before and repaired may
        hold points that were measured again, at another time: the store is asked for each metric.
        """
        for (step, key), (value, time_ms) in news.points.items():
            if self._steps is not None:
                if key not in self._steps:
                    self._steps[key] = self.store.steps(self.state.run_id, key)
                if step in self._steps[key]:
                    continue
            yield key, value, time_ms, step

    def _open(self, watched: WatchedLog, relatives: Relatives) -> None:
        """Find the run that the store has, or make it."""
        experiment_id = self.store.experiment(self.destination.experiment)
        run = self.store.find_run(experiment_id, self.identity)
        if run is None and relatives.is_parent_deleted:
            log.info("%s: its sweep was deleted in the store: not sent", self.run_dir.name)
            self._note(deleted_at=log_size(self.run_dir), experiment_id=experiment_id)
        elif run is None:
            self._create(watched.state, experiment_id, relatives)
        elif run.info.lifecycle_stage == "deleted":
            log.info("%s: deleted in the store, not sent again", self.run_dir.name)
            run_id, size = str(run.info.run_id), log_size(self.run_dir)
            self._note(run_id=run_id, experiment_id=experiment_id, deleted_at=size)
        else:
            self._adopt(run, watched.state, experiment_id, relatives)

    def _create(self, state: RunState, experiment_id: str, relatives: Relatives) -> None:
        waited = time.time() - self.state.requested_ms / 1000
        if 0 <= waited < CREATE_SECONDS:  # also in the life of another uploader
            raise OSError("the store did not answer when the run was made; it may still make it")
        self.state = UploadState(experiment_id=experiment_id)
        if self.destination.address.startswith("http"):
            self._note(requested_ms=time.time_ns() // 1_000_000)
        name = self.destination.name or state.name
        tags = {ID_TAG: self.identity, STATE_TAG: place_of(self.run_dir), **relatives.tags()}
        tags["mlflow.source.name"] = "fmnist train"
        if (commit := state.tags.get("git_commit", NO_COMMIT)) != NO_COMMIT:
            tags["mlflow.source.git.commit"] = commit
        try:
            run_id = self.store.create_run(experiment_id, name, state.started_ms, tags)
        except RestException as error:
            status = error.get_http_status_code()  # type: ignore[no-untyped-call] # MLflow's is untyped
            if status < SERVER_ERRORS:  # refused: no run was made
                self._note(requested_ms=0)
            raise
        self._note(run_id=run_id, requested_ms=0)

    def _adopt(self, run: Run, state: RunState, experiment_id: str, relatives: Relatives) -> None:
        run_id = str(run.info.run_id)
        # a parent that was sent anew, to a store that had lost it, has another run id
        tags = relatives.tags() | {STATE_TAG: place_of(self.run_dir)}
        wrong = {key: value for key, value in tags.items() if run.data.tags.get(key) != value}
        if wrong:
            self.store.log_batch(run_id, [], {}, wrong)
        if state.status == "RUNNING" and run.info.status != "RUNNING":  # it was taken for dead
            self.store.set_status(run_id, "RUNNING", state.started_ms)
        if self.state.run_id != run_id or not self.store.has_files(run):
            self.state = UploadState()  # all of it again: what is there already stays
        if self.state.mark == START:
            self._steps = {}
        self._note(run_id=run_id, experiment_id=experiment_id, requested_ms=0, deleted_at=-1)

    def _note(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        state.write(self.destination)
        self.state = state

    def _existing(self, news: RunState) -> Iterator[tuple[str, dict[str, Any], Path]]:
        """The files that are there, below the run's directory: kind and content of the event."""
        for (kind, _), content in news.files.items():
            root = self.run_dir if kind == "model" else self.run_dir / "artifacts"
            file = file_in(self.run_dir, root, content["path"])
            if file is not None:
                yield kind, content, file
            else:
                log.warning("%s: no file %r in it: left out", self.run_dir, content["path"])

    def _send_file(self, kind: str, content: dict[str, Any], file: Path) -> None:
        run_id = self.state.run_id
        if kind == "artifact":
            self.store.log_file(run_id, file, content["path"])
        elif kind == "image":
            key = content["key"]
            # drawn anew, it would be one image more
            unique = uuid5(UUID(self.identity), key)
            self.store.log_image(run_id, file, key=key, unique=unique, time_ms=self._created_ms)
        else:
            with tempfile.TemporaryDirectory() as folder:
                save_network(file, Path(folder, "model"))
                self.store.log_model(run_id, self.state.experiment_id, Path(folder, "model"))


def place_of(run_dir: Path) -> str:
    """Where the run is written: the host and its directory, in JSON."""
    return json.dumps({**_host(), "dir": str(run_dir)})


def _host() -> dict[str, Any]:
    """This host, by its name and, for several may have one name, by its network card.

    Without a card the number is another one in each process.
    """
    return {"host": socket.gethostname(), "card": getnode()}


def end_lost_runs(store: Store, experiment_id: str, known: Iterable[str]) -> None:
    """Ends the runs that the store shows as running and whose directory on this host is gone.

    No process can go on with them. A dead run whose log is here is ended there, and sent.

    Args:
        known: ids of the runs whose logs are here.
    """
    here = set(known)
    for run in store.running_runs(experiment_id):
        try:
            place = json.loads(run.data.tags[STATE_TAG])
            is_here = {key: place[key] for key in ("host", "card")} == _host()
            is_gone = is_here and not Path(place["dir"]).exists()
        except (ValueError, LookupError, TypeError, OSError):
            continue
        if is_gone and run.data.tags[ID_TAG] not in here:
            store.set_status(run.info.run_id, "KILLED", store.last_ms(run))
            log.info("%s: its directory is gone: ended", run.info.run_name)
