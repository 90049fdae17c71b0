"""Trains runs of one stack until each is done: checkpoints, early stopping, divergence, failure."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fashion_mnist.config.messages import first_line_of
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.request import Extra
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.stacks import DataSplit, build_stack, validation_index
from fashion_mnist.training.checkpoint import save_state
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import Divergence, train_epoch
from fashion_mnist.training.stack import HistoryRow, Stack, TrainingState, under

log = logging.getLogger("fashion_mnist")


@dataclass
class Member:
    """A run in training. Done, it has its weights, a divergence or a failure, or was pruned."""

    number: int  # among those that it is trained with
    config: Config
    folder: RunDir
    event_log: EventLog
    machine: Machine  # that it is, or was, begun on
    data_split: DataSplit
    extras: Collection[Extra] = ()  # to be recorded once it is finished
    state: TrainingState | None = None
    weights: dict[str, Tensor] | None = None
    divergence: Divergence | None = None
    failure: Exception | None = None
    is_pruned: bool = False  # by a search, to be gone on with or not
    saved_at: float = field(default_factory=time.monotonic)
    saved_epoch: int = field(init=False)

    def __post_init__(self) -> None:
        self.saved_epoch = self.epoch

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to train."""
        has_ended = self.weights is not None or self.is_pruned
        return has_ended or self.divergence is not None or self.failure is not None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.state.epoch if self.state else 0

    @property
    def history(self) -> list[HistoryRow]:
        """What was measured, a row an epoch."""
        return self.state.history if self.state else []

    @property
    def final_epoch(self) -> int:
        """The epoch whose weights the run is."""
        assert self.state is not None
        return self.state.best_epoch or self.state.epoch

    def finish_epoch(self, stack: Stack, member: int, row: HistoryRow) -> None:
        """Take in an epoch that went well: state, event log, and a checkpoint when one is due.

        An epoch that the event log cannot take is the end: the run fails, as it was before it.
        """
        epoch = stack.epoch
        try:
            time_ms = self.event_log.metrics(epoch, row)
        except OSError as error:
            self.failure = error
            return
        history = [*self.history, {"epoch": epoch, "time": time_ms, **row}]
        tensors = stack.tensors(member)
        best_epoch = self._best_epoch(history)
        if best_epoch == epoch:
            tensors |= {f"best/{key}": t for key, t in stack.weights(member).items()}
        elif best_epoch is not None and self.state is not None:
            tensors |= {f"best/{key}": t for key, t in under("best", self.state.tensors).items()}
        self.state = TrainingState(epoch, tensors, history, best_epoch)
        self.end_if_due(stack, member)
        is_old = time.monotonic() - self.saved_at >= self.config.training.checkpoint_seconds
        if is_old and not self.is_done:
            self.save()

    def end_if_due(self, stack: Stack, member: int) -> None:
        """Take the weights where nothing is left to train; the stack is at the state's epoch."""
        if self.state is None:
            return
        if self.epoch == stack.num_epochs or self._is_out_of_patience():
            weights = under("best", self.state.tensors) or stack.weights(member)
            self.weights = {name: tensor.cpu() for name, tensor in weights.items()}

    def save(self) -> None:
        """Write the state of the last whole epoch, if there is one that is not yet written.

        Where the disk does not take it the old one stays, and training goes on: there may be
        room by the next time, and no run need end for it.
        """
        try:
            if self.state is not None and self.saved_epoch != self.epoch:
                save_state(self.folder.checkpoint, self.state)
                self.saved_epoch = self.epoch
        except OSError as error:
            words = "no checkpoint after epoch %d, training goes on without: %s: %s"
            log.warning(words, self.epoch, error.filename, error.strerror)
        self.saved_at = time.monotonic()

    def _best_epoch(self, history: Sequence[HistoryRow]) -> int | None:
        metric = self.config.training.early_stopping.metric
        if metric is None:
            return None
        sign = -1 if metric.endswith("loss") else 1
        # of equal epochs the first
        return 1 + max(range(len(history)), key=lambda k: (sign * history[k][metric], -k))

    def _is_out_of_patience(self) -> bool:
        state, stopping = self.state, self.config.training.early_stopping
        if state is None or state.best_epoch is None:
            return False
        return state.epoch - state.best_epoch >= stopping.patience


@dataclass(frozen=True)
class Observer:
    """What is called while runs are trained. What it raises ends training between two steps."""

    # before each step, and before a run is evaluated and recorded
    check_for_stop: Callable[[], None] = lambda: None
    on_step: Callable[[Stack, int], None] = lambda _stack, _step: None
    on_epoch: Callable[[Stack, list[HistoryRow]], None] = lambda _stack, _rows: None
    # by a member's number, epoch and metrics
    should_prune: Callable[[int, int, HistoryRow], bool] = lambda _number, _epoch, _row: False


def train_what_can_be(members: Sequence[Member], dataset: Dataset, observer: Observer) -> None:
    """Train members; where that fails, each half by itself, so that only the culprit fails.

    What does not fit the memory becomes smaller stacks in the same way. A full disk
    fails every run of the stack with the same error.
    """
    try:
        train_members(members, dataset, observer)
        return
    except StopRequested:
        raise
    except Exception as error:  # the boundary: here a member fails, and not its neighbours
        left = [member for member in members if not member.is_done]
        if not left:
            raise
        if len(left) == 1 or isinstance(error, OSError):
            for member in left:
                member.failure = error
            return
        log.info("%d runs failed together (%s): trying parts", len(left), first_line_of(error))
    if left[0].machine.device == "cuda":  # only now: the error held the stack's tensors
        torch.cuda.empty_cache()
    for part in _parts(left):
        train_what_can_be(part, dataset, observer)


def _parts(members: Sequence[Member]) -> list[list[Member]]:
    """Two halves; where the failure came in the middle of an epoch's end, those at one epoch."""
    ordered = sorted(members, key=lambda member: member.epoch)
    behind = [member for member in ordered if member.epoch == ordered[0].epoch]
    middle = len(behind) if len(behind) < len(ordered) else len(ordered) // 2
    return [ordered[:middle], ordered[middle:]]


def train_members(members: Sequence[Member], dataset: Dataset, observer: Observer) -> None:
    """Train members of one stack until all are done; dataset is on their machine's device.

    Whenever one is done the rest go on as a smaller stack, from their states.
    """
    while active := [member for member in members if not member.is_done]:
        _train_until_one_is_done(active, dataset, observer)


def _train_until_one_is_done(
    members: Sequence[Member], dataset: Dataset, observer: Observer
) -> None:
    machine, data_splits = members[0].machine, [member.data_split for member in members]
    stack = build_stack([member.config for member in members], data_splits, dataset, machine)
    for r, member in enumerate(members):
        if member.state is not None:
            stack.load(r, member.state)
            member.end_if_due(stack, r)  # where it was stopped before it was evaluated
    index = validation_index(data_splits, machine)

    def on_step(step: int) -> None:
        observer.check_for_stop()
        observer.on_step(stack, step)

    while not any(member.is_done for member in members):
        result = train_epoch(stack, validation_index=index, on_step=on_step)
        for r, member in enumerate(members):
            member.divergence = result.divergences[r]
            if member.divergence is None:
                member.finish_epoch(stack, r, result.rows[r])
                if not member.is_done and observer.should_prune(
                    member.number, stack.epoch, result.rows[r]
                ):
                    member.is_pruned = True
                    member.save()
        observer.on_epoch(stack, result.rows)
