"""Training and evaluation of a stack, to be read from top to bottom.

R runs in the stack, n training images, N evaluated images, B batch, C classes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fashion_mnist.batches import Normalizer, gather
from fashion_mnist.losses import Loss, member_sums, one_hot
from fashion_mnist.metrics.classification import confusion_counts, summarize
from fashion_mnist.model import StackedMLP
from fashion_mnist.stack import HistoryRow, Stack

EVALUATION_BATCH_SIZE = 500


@dataclass(frozen=True)
class Evaluation:
    """What R networks say of N images each, on the device."""

    counts: Tensor  # int64 [R, C, C], rows true, columns predicted
    loss: Tensor  # float32 [R]
    probabilities: Tensor  # float32 [R, N, C]
    labels: Tensor  # int64 [R, N]


@dataclass(frozen=True)
class Divergence:
    """A run whose loss or weights are no longer finite."""

    epoch: int
    step: int  # within the epoch, from 1
    last_finite_loss: float  # in this epoch; NaN where its first step had none


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a stack: for each member a row of history, or how it diverged."""

    rows: list[HistoryRow]
    divergences: list[Divergence | None]


def train_epoch(
    stack: Stack,
    *,
    validation_index: Tensor | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> EpochResult:
    """Train every member for one epoch and validate it.

    Args:
        validation_index: int64 `[R, v]` into the same images; None where there is no such split.
        on_step: called before each step with its number from 0; what it raises ends training.
    """
    batches, started = stack.batches, time.perf_counter()
    weighted, weights, hits = list[Tensor](), list[Tensor](), list[Tensor]()

    for step, batch in enumerate(batches.epoch()):
        on_step(step)
        logits = stack.model.forward(batch.pixels, training=True)
        loss = stack.loss(logits, batch.targets)
        stack.model.backward(loss.gradient)
        update(stack, step)
        weighted.append(loss.weighted)
        weights.append(loss.weight)
        hits.append(logits.argmax(-1) == batch.labels)

    stack.epoch += 1
    epoch_weighted, epoch_weights = torch.cat(weighted, 1), torch.cat(weights, 1)
    train_loss = (member_sums(epoch_weighted) / member_sums(epoch_weights)).tolist()
    train_accuracy = (torch.cat(hits, 1).sum(1) / batches.num_examples).tolist()
    seconds = time.perf_counter() - started  # after the host has waited for the device
    validation = None if validation_index is None else validate(stack, validation_index)
    rows = [
        {"train/loss": train_loss[r], "train/accuracy": train_accuracy[r]}
        | ({} if validation is None else _validation_row(validation, r))
        | {
            "lr": stack.optimizer.learning_rates()[r],
            "images_per_second": batches.num_examples / seconds,
        }
        for r in range(stack.num_members)
    ]
    return EpochResult(
        rows,
        [
            None
            if math.isfinite(train_loss[r] + rows[r].get("val/loss", 0.0))
            and _weights_are_finite(stack.model, r)
            else _divergence(stack, epoch_weighted[r], epoch_weights[r])
            for r in range(stack.num_members)
        ],
    )


def update(stack: Stack, step: int) -> None:
    """One step of the optimiser and of the weights' average, from the gradients that are there."""
    num_steps = stack.batches.num_steps
    done = stack.epoch * num_steps + step
    # the progress of a step is that of its middle, so that no schedule wastes a step at rate 0
    progress = (done + 0.5) / (stack.num_epochs * num_steps)
    stack.optimizer.step([schedule(progress) for schedule in stack.schedules])
    if stack.average:
        stack.average.update(done + 1)


def validate(stack: Stack, index: Tensor) -> Evaluation:
    """Evaluate the weights that the runs are on the training images at index int64 `[R, v]`."""

    def run() -> Evaluation:
        return evaluate(
            stack.model,
            stack.batches.images,
            stack.batches.labels,
            index=index,
            normalizer=stack.batches.normalizer,
            loss=stack.loss,
        )

    if stack.average is None:
        return run()
    with stack.average.applied():
        return run()


def evaluate(
    model: StackedMLP,
    images: Tensor,
    labels: Tensor,
    *,
    index: Tensor,
    normalizer: Normalizer,
    loss: Loss,
) -> Evaluation:
    """Every member on its images: uint8 `[M, P]`, int64 `[M]`, at index int64 `[R, N]`."""
    own_labels = labels[index]
    probabilities, weighted, weights = [], [], []
    for start in range(0, index.shape[1], EVALUATION_BATCH_SIZE):
        span = slice(start, start + EVALUATION_BATCH_SIZE)
        logits = model.forward(normalizer(gather(images, index[:, span])), training=False)
        batch_loss = loss(logits, one_hot(own_labels[:, span], logits.shape[-1]))
        weighted.append(batch_loss.weighted)
        weights.append(batch_loss.weight)
        probabilities.append(torch.softmax(logits, -1))
    joined = torch.cat(probabilities, 1)
    return Evaluation(
        counts=confusion_counts(own_labels, joined.argmax(-1), joined.shape[-1]),
        loss=member_sums(torch.cat(weighted, 1)) / member_sums(torch.cat(weights, 1)),
        probabilities=joined,
        labels=own_labels,
    )


def _divergence(stack: Stack, weighted: Tensor, weights: Tensor) -> Divergence:
    """Where one member's loss, from `[n]` each, or else its weights stopped being finite."""
    size = stack.batches.batch_size
    batches = zip(torch.split(weighted, size), torch.split(weights, size), strict=True)
    losses = [float(loss.sum() / weight.sum()) for loss, weight in batches]
    bad = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    last = losses[bad - 1] if bad else math.nan
    return Divergence(stack.epoch, min(bad + 1, len(losses)), last)


def _weights_are_finite(model: StackedMLP, member: int) -> bool:
    return all(bool(tensor.value[member].isfinite().all()) for tensor in model.tensors())


def _validation_row(validation: Evaluation, member: int) -> HistoryRow:
    summary = summarize(validation.counts[member].cpu())
    return {"val/loss": float(validation.loss[member])} | {
        f"val/{name}": float(value) for name, value in summary.items()
    }
