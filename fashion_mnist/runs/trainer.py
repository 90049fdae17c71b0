"""Trains what was asked for: finds who each run is, goes on where it stopped, records it."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import torch

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.artifacts import PICTURES
from fashion_mnist.runs.event_log import EventLog, is_offline
from fashion_mnist.runs.identity import (
    DATA_TAG,
    FINGERPRINT_TAG,
    NUMERICS_TAG,
    NUMERICS_VERSION,
    PRUNED_TAG,
    SPLIT_TAG,
    TRAINING_IMAGES_TAG,
    code_tags,
)
from fashion_mnist.runs.members import Member, Observer, train_what_can_be
from fashion_mnist.runs.records import record_destination, record_start, run_name
from fashion_mnist.runs.request import (
    ENDED,
    Extra,
    Request,
    RequestResult,
    as_run_error,
    find_run,
    identify,
    machine_of,
    resolve_machine_of,
    wants_uploader,
)
from fashion_mnist.runs.results import TrainedRun, finish_member
from fashion_mnist.runs.run_dir import (
    PATIENCE_SECONDS,
    RunDir,
    load_network,
    locked,
    recover,
)
from fashion_mnist.runs.run_state import RunState
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.stacks import split_data, stack_key
from fashion_mnist.training.device import Machine, process_tags

log = logging.getLogger("fashion_mnist")


def train(
    requests: Sequence[Request],
    dataset: Dataset,
    observer: Observer,
    *,
    parent: str = "",
    threads: int | None = None,
    machine: Machine | None = None,
    folders: Sequence[RunDir] | None = None,
    start_uploader: Callable[[Path], None] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[RequestResult]:
    """Train runs together, or go on with them, or find that they were trained before; record them.

    What cannot be trained has its error in its result, and the others go on without it. Runs of
    different shapes, or at different epochs, are trained one stack after the other.

    Args:
        requests: different runs, on one data set.
        dataset: on the CPU.
        parent: the id of the event log of the sweep that they are recorded under; empty: of none.
        threads: what `training.threads: auto` means for new runs; None: all physical cores.
        machine: that new runs are trained on; None: as this machine does it.
        folders: of the runs, where whoever asks has found them; None: to be found.
        start_uploader: has what is recorded below an output folder sent to its store while the
            runs go on; None: nothing is sent from here.
        patience_seconds: with another process that is at one of the runs.

    Raises:
        StopRequested: from the observer; what is done is recorded, the rest can be continued.
    """
    found = folders or [find_run(each, identify(each.config, dataset)) for each in requests]
    results = [RequestResult(folder) for folder in found]
    with ExitStack() as held:
        members = []
        for number, (request, result) in enumerate(zip(requests, results, strict=True)):
            try:
                if is_recorded(request, result.folder, result.folder.state(), parent):
                    result.was_known = True
                    continue
                held.enter_context(locked(result.folder.path, "run", patience_seconds))
                own = machine or resolve_machine_of(request.config, dataset, threads=threads)
                event_log, own = _open(request, result, own, parent, held)
                if result.was_known:
                    _extend(request, result.folder, event_log, own, dataset)
                else:
                    member = _prepare(number, request, result.folder, event_log, own, dataset)
                    members.append(member)
            except Exception as error:  # the boundary, as where a run ends: the others go on
                log.debug("a run could not be begun, or recorded further", exc_info=True)
                result.error = as_run_error(error)
        if start_uploader is not None:
            for output_dir in _output_dirs(requests, results):
                start_uploader(output_dir)
        _train_stacks(members, dataset, observer)
        for member in members:
            results[member.number].error = member.failure
    return results


def is_recorded(request: Request, folder: RunDir, state: RunState, parent: str) -> bool:
    """Whether the run has ended and its log holds all that is asked for.

    Such a run needs no lock, and its log need not be opened, which repairs and seals it: that takes
    most of the time of a sweep that is started again.

    Args:
        state: by the event log in the folder.
        parent: the id of the sweep's event log; empty: of none.
    """
    if state.status not in ENDED or folder.checkpoints() or _missing(request, state):
        return False
    tracking = request.config.tracking
    if tracking.uri is None:
        return True
    uri = absolute_uri(tracking.uri)
    return is_offline(folder.path) == (tracking.offline == "always") and any(
        known.address == uri
        and known.experiment == tracking.experiment
        and parent in ("", known.parent)
        for known in state.destinations
    )


def _missing(request: Request, state: RunState) -> set[Extra]:
    """What is asked for of a finished run and was not done."""
    if state.status != "FINISHED":
        return set()
    metrics = state.metrics()
    there: dict[Extra, bool] = {
        "model": state.has_model,
        "test": "test/loss" in metrics,
        "validation_tta": "final/val_tta_loss" in metrics,
        "test_tta": "test/tta_loss" in metrics,
        "pictures": all(("artifact", name) in state.files for name in PICTURES),
    }
    return {extra for extra in request.extras if not there[extra]}


def _open(
    request: Request, result: RequestResult, machine: Machine, parent: str, held: ExitStack
) -> tuple[EventLog, Machine]:
    """Open the event log of a run that is ours, and say where it is to be recorded.

    Returns:
        The log, and what the run was begun on.
    """
    config, folder = request.config, result.folder
    event_log = held.enter_context(EventLog(folder.path))
    record_destination(event_log, config.tracking, parent=parent, name=request.name or "")
    result.was_known = event_log.state.status in ENDED
    if result.was_known:
        folder.remove_checkpoints()  # a kill may have come between the final status and this
        threads = event_log.state.tags.get("threads", "")  # on which its scores were computed
        machine = replace(machine, threads=int(threads)) if threads.isdigit() else machine
    else:
        before, machine = machine, machine_of(folder, machine)
        if before != machine:
            log.info("going on with %s threads in %s, as begun", machine.threads, machine.precision)
    return event_log, machine


def _output_dirs(requests: Sequence[Request], results: Sequence[RequestResult]) -> set[Path]:
    """The output folders in which something is to be sent while the runs go on."""
    return {
        result.folder.path.parents[1]
        for request, result in zip(requests, results, strict=True)
        if wants_uploader(request.config)
    }


def _extend(
    request: Request, folder: RunDir, event_log: EventLog, machine: Machine, dataset: Dataset
) -> None:
    """Record of a finished run what is asked for now and was not done."""
    config, missing = request.config, _missing(request, event_log.state)
    if not missing:
        return
    torch.set_num_threads(machine.threads)
    data, data_split = dataset.to(machine.device), split_data(config, dataset)
    trained = TrainedRun(config, load_network(folder), data, data_split, machine)
    trained.record_extras(event_log, missing, event_log.state.history(), folder.model.name)


def _prepare(
    number: int,
    request: Request,
    folder: RunDir,
    event_log: EventLog,
    machine: Machine,
    dataset: Dataset,
) -> Member:
    """Read where the run stands, and say that it begins or goes on."""
    config = request.config
    data_split = split_data(config, dataset)
    tags = {
        FINGERPRINT_TAG: identify(config, dataset),
        DATA_TAG: dataset.sha256,
        SPLIT_TAG: data_split.split.validation_sha256,
        TRAINING_IMAGES_TAG: str(len(data_split.split.train)),
        NUMERICS_TAG: str(NUMERICS_VERSION),
        **{key: str(value) for key, value in asdict(machine).items()},
        **code_tags(),
        **process_tags(),
    }
    record_start(
        event_log,
        config,
        name=request.name or run_name(config, request.overrides),
        overrides=request.overrides,
        choices=request.choices,
        dataset=dataset,
        data_split=data_split,
        tags=tags,
    )
    state = recover(folder, event_log)
    if PRUNED_TAG in event_log.state.tags:  # by a search, of which it is no part now
        tags[PRUNED_TAG] = ""
    event_log.tags(tags)  # of a run that goes on, some are new
    event_log.status("RUNNING")
    if state is not None:
        log.info("going on after epoch %d of %d", state.epoch, config.training.epochs)
    return Member(number, config, folder, event_log, machine, data_split, request.extras, state)


def _train_stacks(members: Sequence[Member], dataset: Dataset, observer: Observer) -> None:
    """Train one stack after the other; a request to stop saves what is to be gone on with."""
    ordered = sorted(members, key=_stack_of)
    try:
        for _, stack in groupby(ordered, key=_stack_of):
            _train_stack(list(stack), dataset, observer)
    except StopRequested:
        for member in ordered:
            if member.event_log.state.status == "RUNNING":
                _keep(member)
        raise


def _stack_of(member: Member) -> tuple[str, int]:
    return stack_key(member.config, member.machine), member.epoch


def _train_stack(members: Sequence[Member], dataset: Dataset, observer: Observer) -> None:
    """Train runs of one stack and record what came of each."""
    machine = members[0].machine
    torch.set_num_threads(machine.threads)
    dataset = dataset.to(machine.device)
    for member in members:
        try:
            member.event_log.tags({"stack_size": str(len(members))})
        except OSError as error:
            member.failure = error
    try:
        train_what_can_be(members, dataset, observer)
    except StopRequested:
        # those that are to be evaluated, and drawn, keep their state for the next time
        ended = [member for member in members if member.is_done and member.weights is None]
        _finish(ended, dataset, observer)
        raise
    _finish(members, dataset, observer)


def _keep(member: Member) -> None:
    """Save a run that is to be gone on with."""
    try:
        member.save()
        member.event_log.status("KILLED")
    except OSError as error:
        log.error("%s", as_run_error(error))


def _finish(members: Sequence[Member], dataset: Dataset, observer: Observer) -> None:
    for member in members:
        if member.weights is not None:
            observer.check_for_stop()  # for its pictures take their time
        try:
            if isinstance(member.failure, OSError):  # what it learned before that may yet be kept
                member.save()
                raise member.failure
            finish_member(member, dataset)
        except Exception as error:  # the boundary: a run that cannot be recorded, or drawn
            # nothing is wrong with its training: it stays to be gone on with
            log.debug("a run could not be recorded", exc_info=True)
            member.failure = as_run_error(error)
            if member.event_log.state.status == "RUNNING":  # else what follows an end has failed
                with suppress(OSError):
                    member.event_log.status("KILLED")
