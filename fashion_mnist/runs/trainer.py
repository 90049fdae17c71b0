"""Trains what was asked for: finds who each run is, goes on where it stopped, records it."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

import torch

from fashion_mnist.checkpoint import CheckpointError, Model
from fashion_mnist.data.dataset import Dataset
from fashion_mnist.journal import Journal
from fashion_mnist.lock import run_lock
from fashion_mnist.machine import Machine, process_tags
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.identity import git_commit
from fashion_mnist.runs.records import record_start, run_name
from fashion_mnist.runs.request import (
    ENDED,
    Request,
    RunError,
    RunResult,
    find_run,
    identify,
    machine_of,
    resolve_machine_of,
)
from fashion_mnist.runs.results import TrainedRun, finish_member
from fashion_mnist.runs.stacks import stack_key, view_data
from fashion_mnist.runs.training import Member, Observer, train_members
from fashion_mnist.signals import StopRequested
from fashion_mnist.tracking.address import absolute_uri
from fashion_mnist.tracking.outbox import spawn

log = logging.getLogger("fashion_mnist")


@dataclass
class _Begun:
    """A request with its open journal and, if there is something to train, its member."""

    request: Request
    journal: Journal
    machine: Machine
    result: RunResult
    member: Member = field(init=False)


def train(
    requests: Sequence[Request],
    dataset: Dataset,
    observer: Observer,
    *,
    threads: int | None = None,
) -> list[RunResult]:
    """Train runs together, or go on with them, or find that they were trained before; record them.

    What cannot be trained has its error in its result, and the others go on without it. Runs of
    different shapes, or at different epochs, are trained one stack after the other.

    Args:
        requests: different runs, on one data set.
        dataset: on the CPU.
        threads: to compute with, where they give the bits of the threads that a run's record
            names; None: as recorded.

    Raises:
        StopRequested: from the observer; what is done is recorded, the rest can be continued.
    """
    results = [RunResult(find_run(request, dataset)) for request in requests]
    origin = {"git_commit": git_commit(Path(__file__).parent) or "none", **process_tags()}
    with ExitStack() as held:
        begun = []
        for number, (request, result) in enumerate(zip(requests, results, strict=True)):
            try:
                run = _open(request, result, held)
                if result.was_known:
                    _extend(run, dataset)
                else:
                    _prepare(run, dataset, origin, number)
                    begun.append(run)
            except (RunError, CheckpointError, OSError) as error:
                result.error = error
        _spawn_senders(requests, results)
        begun.sort(key=_stack_of)
        for _, stack in groupby(begun, key=_stack_of):
            _train_stack(list(stack), dataset, observer, threads)
    return results


def _open(request: Request, result: RunResult, held: ExitStack) -> _Begun:
    """Take the run's lock, open its journal and say where it is to be recorded."""
    config, folder = request.config, result.folder
    machine = resolve_machine_of(config)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = run_lock(folder.path)
    try:
        lock.acquire(timeout=3)
    except TimeoutError:
        raise RunError(f"this run is being trained by another process (in {folder.path})") from None
    held.callback(lock.release)
    journal = held.enter_context(Journal(folder.path))
    if config.tracking.uri is not None:
        uri = absolute_uri(config.tracking.uri)
        journal.destination(
            uri, config.tracking.experiment, parent=request.parent, name=request.name or ""
        )
    result.was_known = folder.status() in ENDED
    if not result.was_known:
        machine = _begun_with(folder, machine)
    return _Begun(request, journal, machine, result)


def _begun_with(folder: RunFolder, machine: Machine) -> Machine:
    before = machine_of(folder, machine)
    if before != machine:
        log.info("going on with %s threads in %s, as begun", before.threads, before.precision)
    return before


def _spawn_senders(requests: Sequence[Request], results: Sequence[RunResult]) -> None:
    """Have somebody carry the journals to their stores while the runs go on."""
    recorded = [
        result.folder.path.parents[1]
        for request, result in zip(requests, results, strict=True)
        if request.config.tracking.uri is not None and request.config.tracking.offline != "always"
    ]
    for output_dir in set(recorded):
        spawn(output_dir)


def _extend(run: _Begun, dataset: Dataset) -> None:
    """Record of a finished run what is asked for now and was not done: its test, its network."""
    folder, config = run.result.folder, run.request.config
    if folder.status() != "FINISHED":
        return
    if run.request.wants_model and not folder.has_recorded_model():
        run.journal.model(folder.model.name)
    if run.request.wants_test and "test/loss" not in folder.figures():
        model = _load_model(folder)
        torch.set_num_threads(run.machine.threads)
        view, device = view_data(config, dataset), run.machine.device
        trained = TrainedRun(config, model, dataset.to(device), view, run.machine)
        trained.record_test(run.journal)


def _load_model(folder: RunFolder) -> Model:
    try:
        return folder.load_model()
    except (CheckpointError, FileNotFoundError) as error:
        raise RunError(f"{error}; rerun=true trains the run again") from error


def _prepare(run: _Begun, dataset: Dataset, origin: Mapping[str, str], number: int) -> None:
    """Read where the run stands, and say that it begins or goes on."""
    config, folder = run.request.config, run.result.folder
    try:
        state = folder.load_state()
    except CheckpointError as error:
        # never quietly from nothing: hours of training may lie in it
        raise RunError(
            f"{error}; move the file away to train this run from its beginning"
        ) from error
    view = view_data(config, dataset)
    tags = {
        "fingerprint": identify(config, dataset),
        "data_sha256": dataset.sha256,
        "split_sha256": view.split.sha256,
        **{key: str(value) for key, value in asdict(run.machine).items()},
        **origin,
    }
    record_start(
        run.journal,
        config,
        name=run.request.name or run_name(config, run.request.overrides),
        overrides=run.request.overrides,
        dataset=dataset,
        view=view,
        tags=tags,
    )
    run.journal.tags(tags)  # of a run that goes on, some are new
    run.journal.status("RUNNING")
    if state is not None:
        log.info("going on after epoch %d of %d", state.epoch, config.training.epochs)
    run.member = Member(number, config, view, run.journal, folder.checkpoint, state)


def _stack_of(run: _Begun) -> tuple[str, int]:
    return stack_key(run.request.config, run.machine), run.member.epoch


def _train_stack(
    runs: Sequence[_Begun], dataset: Dataset, observer: Observer, threads: int | None
) -> None:
    """Train runs of one stack and record what came of each."""
    machine, members = runs[0].machine, [run.member for run in runs]
    torch.set_num_threads(threads or machine.threads)
    dataset = dataset.to(machine.device)
    for member in members:
        member.journal.tags({"stack_size": str(len(members))})
    try:
        _train_what_can_be(members, dataset, machine, observer)
    except StopRequested:
        for run in runs:
            if not run.member.is_done:
                run.member.save()
                run.journal.status("KILLED")
        _finish([run for run in runs if run.member.is_done], dataset)
        raise
    _finish(runs, dataset)


def _train_what_can_be(
    members: Sequence[Member], dataset: Dataset, machine: Machine, observer: Observer
) -> None:
    """Train members; where that fails, each half by itself, so that only the culprit fails.

    What does not fit the memory becomes smaller stacks in the same way.
    """
    try:
        train_members(members, dataset, machine, observer)
        return
    except StopRequested:
        raise
    except Exception as error:  # the boundary: here a member fails, and not its neighbours
        left = [member for member in members if not member.is_done]
        if len(left) == 1:
            left[0].failure = error
            return
        log.info("%d runs failed together (%s): trying parts", len(left), first_line_of(error))
    if machine.device == "cuda":  # only now: the error held the stack's tensors
        torch.cuda.empty_cache()
    for part in _parts(left):
        _train_what_can_be(part, dataset, machine, observer)


def _parts(members: Sequence[Member]) -> list[list[Member]]:
    """Two halves; where the failure came in the middle of an epoch's end, those at one epoch."""
    ordered = sorted(members, key=lambda member: member.epoch)
    behind = [member for member in ordered if member.epoch == ordered[0].epoch]
    middle = len(behind) if len(behind) < len(ordered) else len(ordered) // 2
    return [ordered[:middle], ordered[middle:]]


def _finish(runs: Sequence[_Begun], dataset: Dataset) -> None:
    for run in runs:
        try:
            finish_member(
                run.member,
                run.result.folder,
                dataset,
                run.machine,
                read_test=run.request.wants_test,
                record_model=run.request.wants_model,
            )
        except OSError as error:
            # its network is not recorded whole: the run stays to be gone on with
            log.debug("a run could not be recorded", exc_info=True)
            run.result.error = error
        else:
            run.result.error = run.member.failure


def first_line_of(error: Exception) -> str:
    """What went wrong, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
