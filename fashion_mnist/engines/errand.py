"""A stack that is sent to another machine, and what is done with it there.

Where that machine sees the sweep's output folder, all that is written is written there, and a
stack whose machine dies goes on from the checkpoints. Where it does not, its runs live in a folder
of the other machine while they are trained, and come back as parcels.
"""

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.engines.engine import News, Task
from fashion_mnist.engines.parcel import pack, unpack
from fashion_mnist.engines.workbench import RefusalError, datasets_of_process, train_task
from fashion_mnist.runs.request import RunResult, as_run_error
from fashion_mnist.runs.run_dir import RunDir, RunError, locked
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.training import Observer

log = logging.getLogger("fashion_mnist")


@dataclass(frozen=True)
class Home:
    """Where a sweep was started."""

    folder: Path  # of which relative names are meant
    proof: Path  # a file in its output folder: who sees it shares that folder

    @property
    def is_shared(self) -> bool:
        """Whether this machine has the sweep's output folder."""
        return self.proof.exists()


@dataclass(frozen=True)
class Errand:
    """A stack with what another machine must know to train it."""

    task: Task
    home: Home


@dataclass(frozen=True)
class Answer:
    """What became of an errand."""

    results: Sequence[RunResult] | None = None  # None: it was stopped
    parcels: Sequence[bytes] = ()  # the runs' folders, where these are not shared
    refusal: str = ""  # why no machine like this one can train it
    warnings: Sequence[str] = ()  # lines for whoever looks at the sweep


@contextmanager
def at_home(folder: Path) -> Iterator[Home]:
    """The folder that this process is in, with a proof for as long as the context lasts.

    Args:
        folder: within the output folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a new name each time: network folders remember for a while which names are not there
    proof = folder / f"shared-{uuid4().hex}"
    proof.touch()
    try:
        yield Home(Path.cwd(), proof)
    finally:
        proof.unlink(missing_ok=True)


def errand_of(task: Task, home: Home) -> Errand:
    """The stack as it travels: its store is the one that is meant here."""
    requests = []
    for request in task.requests:
        tracking = request.config.tracking
        uri = tracking.uri if tracking.uri is None else absolute_uri(tracking.uri)
        config = replace(request.config, tracking=replace(tracking, uri=uri))
        requests.append(replace(request, config=config))
    return Errand(replace(task, requests=requests), home)


def do_errand(
    errand: Errand, observer: Observer, known: Callable[[], Sequence[bytes]] = tuple
) -> Answer:
    """Train a stack on this machine.

    Args:
        known: gives what is there of its runs where folders are not shared: a parcel each, or
            none where nothing was begun.
    """
    os.chdir(errand.home.folder if errand.home.folder.is_dir() else _cache_folder())
    with _warnings() as lines:
        try:
            if errand.home.is_shared:
                answer = Answer(_train(errand.task, observer))
            else:
                answer = _train_apart(errand.task, observer, known())
        except RefusalError as error:
            answer = Answer(refusal=str(error))
    return replace(answer, warnings=lines)


def deliver(answer: Answer, task: Task) -> News:
    """What an answer says of the stack, whose folders are filled where they came as parcels."""
    for line in answer.warnings:
        log.warning(line)
    if answer.parcels:
        failures = [_fill(*pair) for pair in zip(task.folders, answer.parcels, strict=True)]
    else:
        failures = [None] * len(task.folders)
    results = answer.results and [
        replace(result, folder=RunDir(folder), error=failure or result.error)
        for result, folder, failure in zip(answer.results, task.folders, failures, strict=True)
    ]
    return News(task.number, results=results, refusal=answer.refusal)


def _fill(folder: Path, parcel: bytes) -> RunError | None:
    """Put a run where it belongs; why that cannot be done."""
    try:
        with locked(folder, "run"):
            unpack(parcel, folder)
    except RunError as error:
        return error
    except ValueError as error:
        return RunError(str(error))
    except OSError as error:
        return as_run_error(error)
    return None


def _train(task: Task, observer: Observer) -> Sequence[RunResult] | None:
    try:
        return train_task(task, datasets_of_process(), observer, is_away=True)
    except StopRequested:
        return None


def _train_apart(task: Task, observer: Observer, known: Sequence[bytes]) -> Answer:
    """In a folder that nobody else has."""
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as apart:
        folders = [Path(apart, "runs", folder.name) for folder in task.folders]
        for number, parcel in enumerate(known):
            unpack(parcel, folders[number])
        results = _train(replace(task, folders=folders), observer)
        return Answer(results, [pack(folder) for folder in folders])


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Within, what the program warns of is kept: nobody reads this process's own output."""
    lines: list[str] = []
    keeper = logging.Handler(logging.WARNING)
    keeper.emit = lambda record: lines.append(  # type: ignore[method-assign]  # all that it does
        f"{socket.gethostname()}: {record.getMessage()}"
    )
    log.addHandler(keeper)
    try:
        yield lines
    finally:
        log.removeHandler(keeper)


def _cache_folder() -> Path:
    """Where a machine without the sweep's folder keeps the data that it fetches."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache) / "fashion_mnist"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
