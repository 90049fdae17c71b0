"""Stacks that are trained on another machine, for the launchers of clusters.

Where that machine shares the sweep's output folder, runs are written there, and a stack whose
machine dies goes on from its checkpoints. Where it does not, run directories are made in a
temporary folder of that machine and sent back as archives.
"""

import io
import logging
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from fashion_mnist.config.messages import RunError
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.launchers.base import Task, Update, failure
from fashion_mnist.launchers.worker import RefusalError, train_task
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import RequestResult, as_run_error
from fashion_mnist.runs.run_dir import RunDir, locked
from fashion_mnist.runs.signals import StopRequested, handling
from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")

# in a run directory, what belongs to a machine: the lock and its holder, the upload state
NOT_ARCHIVED = ("lock", "lock.holder", "uploads")


@dataclass(frozen=True)
class Storage:
    """The folder that a sweep was started in, and how to tell whether a machine shares it."""

    folder: Path  # which relative paths refer to
    marker: Path  # a file in the output folder: a machine that sees it shares that folder

    @property
    def is_shared(self) -> bool:
        """Whether this machine has the sweep's output folder."""
        return self.marker.exists()


@dataclass(frozen=True)
class RemoteResult:
    """What came of a remote task."""

    results: Sequence[RequestResult] | None = None  # None: it was stopped
    archives: Sequence[bytes] = ()  # of the run directories, where storage is not shared
    refusal: str = ""  # why no machine like this one can train it
    warnings: Sequence[str] = ()  # to be logged by the sweep


@contextmanager
def marked_storage(folder: Path) -> Iterator[Storage]:
    """The current folder, with a marker in the output folder while the context lasts.

    Args:
        folder: within the output folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a new name each time: network file systems cache the absence of a name
    marker = folder / f"shared-{uuid4().hex}"
    marker.touch()
    try:
        yield Storage(Path.cwd(), marker)
    finally:
        marker.unlink(missing_ok=True)


def portable(task: Task) -> Task:
    """The task with the address of its store made absolute."""
    requests = []
    for request in task.requests:
        tracking = request.config.tracking
        uri = tracking.uri if tracking.uri is None else absolute_uri(tracking.uri)
        config = replace(request.config, tracking=replace(tracking, uri=uri))
        requests.append(replace(request, config=config))
    return replace(task, requests=requests)


def train_remote_task(
    task: Task,
    storage: Storage,
    observer: Observer,
    known: Callable[[], Sequence[bytes]] = tuple,
) -> RemoteResult:
    """Train a stack on this machine.

    Args:
        storage: of the sweep.
        known: gives an archive of each run directory, where storage is not shared; none where
            no run was begun.
    """
    os.chdir(storage.folder if storage.folder.is_dir() else _cache_folder())
    with _warnings() as lines:
        try:
            if storage.is_shared:
                result = RemoteResult(_train(task, observer))
            else:
                result = _train_in_temporary_folder(task, observer, known())
        except RefusalError as error:
            result = RemoteResult(refusal=str(error))
    return replace(result, warnings=lines)


@contextmanager
def stop_on_signals(
    *numbers: int, on_epoch: Callable[[Stack, list[HistoryRow]], None] = lambda *_: None
) -> Iterator[tuple[Observer, list[int]]]:
    """Within, these signals have the observer stop the training; and which of them arrived."""
    received = list[int]()

    def check_for_stop() -> None:
        if received:
            raise StopRequested(received[0])

    with handling(numbers, lambda number, _frame: received.append(number)):
        yield Observer(check_for_stop, on_epoch=on_epoch), received


def update_of(result: RemoteResult, task: Task) -> Update:
    """The update of a stack that was trained remotely; unpacks its archives."""
    for line in result.warnings:
        log.warning(line)
    if result.archives:
        problems = [_fill(*pair) for pair in zip(task.folders, result.archives, strict=True)]
    else:
        problems = [None] * len(task.folders)
    if result.refusal:
        return Update(task.number, refusal=result.refusal)
    if result.results is None:
        return failure(task, "stopped: the same command again goes on")
    results = [
        replace(run, folder=RunDir(folder), error=problem or run.error)
        for run, folder, problem in zip(result.results, task.folders, problems, strict=True)
    ]
    return Update(task.number, results=results)


def _fill(folder: Path, archive: bytes) -> Exception | None:
    """Unpack a run directory under its lock; the error where that fails."""
    try:
        with locked(folder, "run"):
            unpack_archive(archive, folder)
    except ValueError as error:
        return RunError(str(error))
    except (RunError, OSError) as error:
        return as_run_error(error)
    return None


def _train(task: Task, observer: Observer) -> Sequence[RequestResult] | None:
    try:
        return train_task(task, observer, is_remote=True)
    except StopRequested:
        return None


def _train_in_temporary_folder(
    task: Task, observer: Observer, known: Sequence[bytes]
) -> RemoteResult:
    """Train in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        folders = [Path(temporary, "runs", folder.name) for folder in task.folders]
        for number, archive in enumerate(known):
            unpack_archive(archive, folders[number])
        results = _train(replace(task, folders=folders), observer)
        return RemoteResult(results, [pack_run_dir(folder) for folder in folders])


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Within, warnings are collected: the output of this process is not shown."""
    lines: list[str] = []
    collector = logging.Handler(logging.WARNING)
    collector.emit = lambda record: lines.append(  # type: ignore[method-assign]  # its only method
        f"{socket.gethostname()}: {record.getMessage()}"
    )
    log.addHandler(collector)
    try:
        yield lines
    finally:
        log.removeHandler(collector)


def _cache_folder() -> Path:
    """The folder for downloaded data, on a machine without the sweep's folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "fashion_mnist"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pack_run_dir(folder: Path) -> bytes:
    """A ZIP archive of a run directory; an empty one where there is no directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # weights and pictures do not compress
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            if path.is_file() and inner.parts[0] not in NOT_ARCHIVED:
                archive.write(path, inner.as_posix())
    return buffer.getvalue()


def unpack_archive(content: bytes, folder: Path) -> None:
    """Make a run directory equal to the archive, but for `NOT_ARCHIVED`.

    Each file is replaced as a whole, the event log last, after the files that it names.

    Raises:
        ValueError: a name in the archive leads out of the folder; nothing is written.
        OSError: something cannot be written.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        paths = {name: folder / name for name in archive.namelist()}
        for name, path in paths.items():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name!r} leads out of {folder}")
        for path in sorted(folder.rglob("*")):
            is_the_runs = path.is_file() and path.relative_to(folder).parts[0] not in NOT_ARCHIVED
            if is_the_runs and path not in paths.values():
                path.unlink()  # as a checkpoint, once the run is finished
        for name in sorted(paths, key=lambda name: name.startswith("events")):
            with replacing(paths[name]) as beside:
                beside.write_bytes(archive.read(name))
