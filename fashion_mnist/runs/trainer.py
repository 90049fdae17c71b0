"""Trains what was asked for: finds who each run is, goes on where it stopped, records it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fashion_mnist.checkpoint import CheckpointError, Model
from fashion_mnist.config import Config, ConfigError, flatten
from fashion_mnist.data.dataset import Dataset, load_dataset
from fashion_mnist.journal import Journal, run_lock
from fashion_mnist.machine import Machine, process_tags, resolve_machine
from fashion_mnist.rules import size_problems
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.identity import fingerprint, git_commit, next_folder, run_folders
from fashion_mnist.runs.records import record_start
from fashion_mnist.runs.results import TrainedRun, finish_member
from fashion_mnist.runs.stacks import view_data
from fashion_mnist.runs.training import Member, Observer, train_members
from fashion_mnist.signals import StopRequested
from fashion_mnist.stack import MemberState
from fashion_mnist.tracking.address import absolute_uri, check_store
from fashion_mnist.tracking.outbox import spawn

log = logging.getLogger("fashion_mnist")


class RunError(RuntimeError):
    """A run that cannot be trained now, through no fault of its config."""


@dataclass(frozen=True)
class Request:
    """What a user asks for."""

    config: Config
    overrides: tuple[str, ...] = ()  # as typed on the command line


@dataclass(frozen=True)
class RunResult:
    """What became of a request."""

    folder: RunFolder
    was_known: bool  # finished or failed before: nothing was trained


def train(request: Request, observer: Observer) -> RunResult:
    """Train the run, or go on with it, or find that it was trained before; record it.

    Raises:
        ConfigError: what was asked for does not fit the data.
        DataError: the data is missing or damaged.
        RunError: another process trains this run, or the store must answer and does not.
        StopRequested: from the observer; the run can be continued.
    """
    config = request.config
    machine = _machine(config)
    _demand_store(config)
    dataset = _load_data(config)
    identity = fingerprint(flatten(config), data_sha256=dataset.sha256)
    folder = RunFolder(_choose_folder(config, identity))
    folder.path.mkdir(parents=True, exist_ok=True)
    with _locked(folder.path), Journal(folder.path) as journal:
        _address(journal, config)
        if folder.status() in ("FINISHED", "FAILED"):
            _extend(folder, journal, config, dataset, machine)
            return RunResult(folder, was_known=True)
        machine = _machine_of(folder, machine)
        state = _load_state(folder)
        member = _start(request, identity, journal, folder, dataset, machine, state)
        _train(member, folder, dataset, machine, observer)
    return RunResult(folder, was_known=False)


def _machine(config: Config) -> Machine:
    own = config.training
    return resolve_machine(device=own.device, precision=own.precision, threads=own.threads)


def _demand_store(config: Config) -> None:
    uri = config.tracking.uri
    if uri is not None and config.tracking.offline == "never":
        reason = check_store(absolute_uri(uri), timeout_seconds=8)
        if reason is not None:
            raise RunError(f"{reason} (tracking.offline=never wants a store before training)")


def _load_data(config: Config) -> Dataset:
    data = config.data
    dataset = load_dataset(name=data.name, folder=Path(data.dir), class_names=data.class_names)
    problems = size_problems(config, len(dataset.train_labels))
    if problems:
        raise ConfigError(problems)
    return dataset


def _choose_folder(config: Config, identity: str) -> Path:
    """The last attempt at this run; a new one where there is none, or for `rerun=true`."""
    output_dir = Path(config.output_dir).absolute()
    folders = run_folders(output_dir, identity)
    if not folders:
        return next_folder(output_dir, identity)
    last = folders[-1]
    is_over = RunFolder(last).status() in ("FINISHED", "FAILED")
    return next_folder(output_dir, identity) if config.rerun and is_over else last


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = run_lock(folder)
    try:
        lock.acquire(timeout=3)
    except TimeoutError:
        raise RunError(f"this run is being trained by another process (in {folder})") from None
    try:
        yield
    finally:
        lock.release()


def _address(journal: Journal, config: Config) -> None:
    """Name the store, and have somebody carry the journal there while the run goes on."""
    if config.tracking.uri is not None:
        journal.destination(absolute_uri(config.tracking.uri), config.tracking.experiment)
        if config.tracking.offline != "always":
            spawn(journal.folder.parents[1])


def _extend(
    folder: RunFolder, journal: Journal, config: Config, dataset: Dataset, machine: Machine
) -> None:
    """Record of a finished run what is asked for now and was not done: its test, its network."""
    if folder.status() != "FINISHED":
        return
    if config.tracking.model != "never" and not folder.has_recorded_model():
        journal.model(folder.model.name)
    if config.evaluation.test != "never" and "test/loss" not in folder.figures():
        model = _load_model(folder)
        torch.set_num_threads(machine.threads)
        view = view_data(config, dataset)
        TrainedRun(config, model, dataset.to(machine.device), view, machine).record_test(journal)


def _load_model(folder: RunFolder) -> Model:
    try:
        return folder.load_model()
    except (CheckpointError, FileNotFoundError) as error:
        raise RunError(f"{error}; rerun=true trains the run again") from error


def _load_state(folder: RunFolder) -> MemberState | None:
    try:
        return folder.load_state()
    except CheckpointError as error:
        # never quietly from nothing: hours of training may lie in it
        raise RunError(
            f"{error}; move the file away to train this run from its beginning"
        ) from error


def _machine_of(folder: RunFolder, machine: Machine) -> Machine:
    """The machine that a run was begun with: with another one its numbers would change."""
    tags = folder.tags()
    if not tags:
        return machine
    before = Machine(tags["device"], tags["precision"], int(tags["threads"]))
    if before.device != machine.device:
        raise RunError(
            f"this run was begun on {before.device}, and this is {machine.device}: go on with "
            f"training.device={before.device}"
        )
    if before != machine:
        log.info("going on with %s threads in %s, as begun", before.threads, before.precision)
    return before


def _start(
    request: Request,
    identity: str,
    journal: Journal,
    folder: RunFolder,
    dataset: Dataset,
    machine: Machine,
    state: MemberState | None,
) -> Member:
    """Say that the run begins or goes on, and where."""
    config, view = request.config, view_data(request.config, dataset)
    tags = {
        "fingerprint": identity,
        "data_sha256": dataset.sha256,
        "split_sha256": view.split.sha256,
        "git_commit": git_commit(Path(__file__).parent) or "none",
        "stack_size": "1",
        **{key: str(value) for key, value in asdict(machine).items()},
        **process_tags(),
    }
    record_start(
        journal,
        config,
        overrides=request.overrides,
        dataset=dataset,
        view=view,
        tags=tags,
    )
    journal.tags(tags)  # of a run that goes on, some are new
    journal.status("RUNNING")
    if state is not None:
        log.info("going on after epoch %d of %d", state.epoch, config.training.epochs)
    return Member(config, view, journal, folder.checkpoint, state)


def _train(
    member: Member, folder: RunFolder, dataset: Dataset, machine: Machine, observer: Observer
) -> None:
    torch.set_num_threads(machine.threads)
    dataset = dataset.to(machine.device)
    try:
        train_members([member], dataset, machine, observer)
    except StopRequested:
        member.save()
        member.journal.status("KILLED")
        raise
    read_test = member.config.evaluation.test != "never"
    finish_member(member, folder, dataset, machine, read_test=read_test)
