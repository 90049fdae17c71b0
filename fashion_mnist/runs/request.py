"""What is asked for: a run, who it is and where it is kept, on what it is trained."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fashion_mnist.config.messages import ConfigError, RunError, disk_trouble
from fashion_mnist.config.rules import size_problems
from fashion_mnist.config.schema import Config, flatten
from fashion_mnist.data.fashion_mnist import Dataset, load_dataset
from fashion_mnist.runs.identity import (
    FAILURE_TAG,
    PRUNED_TAG,
    fingerprint,
    next_folder,
    run_folders,
)
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.stacks import build_architecture
from fashion_mnist.training.checkpoint import FormatError
from fashion_mnist.training.device import Machine, physical_cores, resolve_machine

log = logging.getLogger("fashion_mnist")

ENDED = ("FINISHED", "FAILED")  # trained to the end, good or bad
# what is to be done of a run: repeated with rerun=true, retried with retry_failed
Kind = Literal["new", "resumed", "repeated", "retried", "finished", "failed", "pruned"]
SETTLED = ("finished", "failed", "pruned")  # nothing is to be trained


def as_run_error(error: Exception) -> Exception:
    """What the disk, or whatever holds a run's files, says: in one line, with what to do."""
    return RunError(disk_trouble(error)) if isinstance(error, OSError) else error


# of a finished run: the test set's scores; curves, samples and weights; the network itself; scores
# by test-time augmentation
Extra = Literal["test", "pictures", "model", "validation_tta", "test_tta"]


@dataclass(frozen=True)
class Request:
    """What a user asks for: a run, alone or as one of a sweep."""

    config: Config
    overrides: tuple[str, ...] = ()  # of the command line
    choices: Mapping[str, str] = field(default_factory=dict)  # group -> the file that was chosen
    name: str | None = None  # of the run; None: made from the config
    retry_failed: bool = False  # train again what failed before
    # What `auto` means for the test set and for recording the network: yes for a single run and
    # for the winner of a sweep.
    auto: bool = True

    @property
    def extras(self) -> set[Extra]:
        """What is to be recorded of the finished run beside its validation."""
        config = self.config
        test = _decide(config.evaluation.test, self.auto)
        wanted: dict[Extra, bool] = {
            "test": test,
            "pictures": self.auto,
            "model": _decide(config.tracking.model, self.auto),
            "validation_tta": config.evaluation.tta and config.data.validation_size > 0,
            "test_tta": config.evaluation.tta and test,
        }
        return {extra for extra, is_wanted in wanted.items() if is_wanted}


@dataclass
class RequestResult:
    """What became of a request. Where there is an error, the run is to be gone on with."""

    folder: RunDir
    was_known: bool = False  # finished or failed before: nothing was trained
    error: Exception | None = None


def validation_accuracy_of(result: RequestResult) -> float | None:
    """The validation accuracy of what became of a request, if there is one.

    Raises:
        Exception: why there is no result; RunError for a run that failed.
    """
    if result.error is not None:
        raise result.error
    folder = result.folder
    if folder.status() == "FAILED":
        reason = folder.tags().get(FAILURE_TAG, "it failed")
        again = "; rerun=true trains it again" if result.was_known else ""
        raise RunError(f"{folder.name()} has no result: {reason}{again}")
    return folder.metrics().get("final/val_accuracy")


def _decide(decision: str, auto: bool) -> bool:
    return auto if decision == "auto" else decision == "always"


def resolve_machine_of(config: Config, dataset: Dataset, *, threads: int | None = None) -> Machine:
    """What this machine trains the run on.

    Args:
        threads: what `training.threads: auto` means; None: all physical cores.
    """
    own = config.training
    return resolve_machine(
        device=own.device,
        precision=own.precision,
        threads=(threads or physical_cores()) if own.threads == "auto" else own.threads,
        batch_size=own.batch_size,
        num_weights=build_architecture(config, dataset).num_weights,
    )


def wants_uploader(config: Config) -> bool:
    """Whether what is recorded goes to a store while training goes on."""
    return config.tracking.uri is not None and config.tracking.offline != "always"


def load_data(config: Config) -> Dataset:
    """The run's data set, on the CPU.

    Raises:
        ConfigError: the sizes asked for do not fit it.
        DataError: it is missing or damaged.
    """
    dataset = Datasets().of(config)
    problems = size_problems(config, len(dataset.train_labels), len(dataset.test_labels))
    if problems:
        raise ConfigError(problems)
    return dataset


class Datasets:
    """The data sets of many runs: each is loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, tuple[str, ...]], Dataset] = {}

    def of(self, config: Config) -> Dataset:
        """The run's data set, on the CPU. Raises DataError where it is missing or damaged."""
        data = config.data
        key = (data.name, data.dir, data.class_names)
        if key not in self._loaded:
            self._loaded[key] = load_dataset(
                name=data.name, folder=Path(data.dir), class_names=data.class_names
            )
        return self._loaded[key]


def identify(config: Config, dataset: Dataset) -> str:
    """The run's fingerprint."""
    return fingerprint(flatten(config), data_sha256=dataset.sha256)


def last_attempt(config: Config, dataset: Dataset) -> RunDir | None:
    """The folder of the last attempt at this run; None where there is none."""
    folders = run_folders(Path(config.output_dir).absolute(), identify(config, dataset))
    return RunDir(folders[-1]) if folders else None


@dataclass(frozen=True)
class Attempts:
    """What is there of a request's run, and the attempt that the request is for."""

    kind: Kind
    run_dir: RunDir  # that is shown, gone on with or to be begun
    last: RunDir | None = None  # that is there; another one than `run_dir` is to be begun
    epoch: int = 0  # after which the run is resumed


def find_attempts(request: Request, fingerprint: str, *, keeps_pruned: bool = False) -> Attempts:
    """The last attempt at a run, and a new folder if there is none or another one is wanted.

    Args:
        keeps_pruned: whether a run that a search pruned stays as it is; else it is resumed.
    """
    output_dir = Path(request.config.output_dir).absolute()
    folders = run_folders(output_dir, fingerprint)
    if not folders:
        return Attempts("new", RunDir(next_folder(output_dir, fingerprint)))
    last = RunDir(folders[-1])
    status = last.status()
    if status in ENDED and request.config.rerun:
        return Attempts("repeated", RunDir(next_folder(output_dir, fingerprint)), last)
    if status == "FAILED" and request.retry_failed:
        return Attempts("retried", RunDir(next_folder(output_dir, fingerprint)), last)
    if status in ENDED:
        return Attempts("failed" if status == "FAILED" else "finished", last, last)
    if keeps_pruned and last.tags().get(PRUNED_TAG):
        return Attempts("pruned", last, last)
    try:
        epoch = last.epoch()
    except FormatError:  # which shows when it is tried
        epoch = 0
    return Attempts("resumed" if epoch else "new", last, last, epoch)


def find_run(request: Request, fingerprint: str) -> RunDir:
    """The last attempt at this run; a new folder where there is none, or another one is wanted."""
    return find_attempts(request, fingerprint).run_dir


def machine_of(folder: RunDir, machine: Machine) -> Machine:
    """The machine that a run was begun with: with another one its numbers would change.

    Raises:
        RunError: this machine is of another kind, or the event log names none.
    """
    tags = folder.tags()
    if not tags:
        return machine
    try:
        before = Machine(tags["device"], tags["precision"], int(tags["threads"]))
    except (KeyError, ValueError) as error:
        raise RunError(
            f"the event log in {folder.path} does not say what begun it: {error}"
        ) from None
    if before.device != machine.device:
        raise RunError(
            f"this run was begun on {before.device}, and this is {machine.device}: go on with "
            f"training.device={before.device}"
        )
    return before
