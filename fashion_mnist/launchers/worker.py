"""Trains a stack that was sent: the same in a process of this machine and on another one."""

import socket
from functools import cache

from fashion_mnist.config.messages import RunError
from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Task
from fashion_mnist.runs.files import SILENT_SECONDS
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import Datasets, RequestResult, identify
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.uploader_process import begin_uploading

# A node that died holds a run's lock until it was silent for long enough.
PATIENCE_SECONDS = SILENT_SECONDS + 30


class RefusalError(Exception):
    """This machine has other data, or another version of the program, than the sweep."""


@cache
def _datasets() -> Datasets:
    """Data sets that stay from one stack to the next, in a process that lives for several."""
    return Datasets()


def train_task(task: Task, observer: Observer, *, is_remote: bool = False) -> list[RequestResult]:
    """Train a stack's runs, or go on with them, or find that it was done before; record them.

    Args:
        is_remote: on another machine than the sweep, whose uploader sends the event logs.

    Raises:
        RefusalError: there is no data here, or other data, or another version of the program.
        StopRequested: from the observer; the runs are saved.
    """
    try:
        dataset = _datasets().of(task.requests[0].config)
    except DataError as error:
        raise RefusalError(f"on {socket.gethostname()}: {error}") from error
    if dataset.sha256 != task.data_sha256:
        raise RefusalError(
            f"data.dir must hold the same data on every machine: {dataset.source} on "
            f"{socket.gethostname()} has the digest {dataset.sha256[:16]}, and where the sweep "
            f"was started it is {task.data_sha256[:16]}"
        )
    own = [identify(request.config, dataset) for request in task.requests]
    if own != list(task.fingerprints):
        raise RefusalError(
            "the program must be the same on every machine: that on "
            f"{socket.gethostname()} makes other runs of this sweep's configs"
        )
    results = train(
        task.requests,
        dataset,
        observer,
        parent=task.parent,
        threads=task.threads,
        machine=task.machine,
        folders=[RunDir(path) for path in task.folders],
        start_uploader=None if is_remote else begin_uploading,
        **({"patience_seconds": PATIENCE_SECONDS} if is_remote else {}),
    )
    for result in results:
        failure = result.error
        if failure is not None and not isinstance(failure, RunError):  # not every error travels
            result.error = RunError(f"{type(failure).__name__}: {failure}")
    return results
