"""Training and evaluation of a stack, to be read from top to bottom.

R runs in the stack, n training images, N evaluated images, B batch, P pixels, C classes.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fashion_mnist.data.loader import Batch, Normalizer, gather
from fashion_mnist.metrics.calibration import nll
from fashion_mnist.metrics.classification import confusion_counts, summarize
from fashion_mnist.training.stack import HistoryRow, Stack

EVALUATION_BATCH_SIZE = 500


@dataclass(frozen=True)
class Evaluation:
    """What R networks say of N images each, on the device."""

    counts: Tensor  # int64 [R, C, C], rows true, columns predicted
    loss: Tensor  # float32 [R]: mean negative log-likelihood, whatever was minimised
    probabilities: Tensor  # float32 [R, N, C]
    labels: Tensor  # int64 [R, N]


@dataclass(frozen=True)
class Divergence:
    """A run whose loss or weights are no longer finite."""

    epoch: int  # from 1
    step: int  # within the epoch, from 1
    last_finite_loss: float  # in this epoch; NaN where its first step had none


@dataclass(frozen=True)
class EpochResult:
    """One epoch of a stack: for each run a row of history, or how it diverged."""

    rows: list[HistoryRow]
    divergences: list[Divergence | None]


def train_step(stack: Stack, batch: Batch) -> tuple[Tensor, Tensor]:
    """One step of every run; its logits `[R, B, C]` and losses `[R]` from before the update."""
    logits = stack.model(batch.pixels)
    loss = stack.loss(logits, batch.targets)
    loss.sum().backward()  # type: ignore[no-untyped-call]  # runs do not share parameters
    stack.optimizer.step(stack.progress)
    stack.num_steps += 1
    if stack.average is not None:
        stack.average.update(stack.num_steps)
    return logits.detach(), loss.detach()


def train_epoch(
    stack: Stack,
    *,
    validation_index: Tensor | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> EpochResult:
    """Train every run for one epoch and validate it.

    Args:
        validation_index: int64 `[R, v]` into the same images; None where there is no such split.
        on_step: called before each step with its number from 0; what it raises ends training.
    """
    loader, started = stack.loader, time.perf_counter()
    losses, hits = list[Tensor](), list[Tensor]()
    stack.model.train()
    for step, batch in enumerate(loader.epoch()):
        on_step(step)
        logits, loss = train_step(stack, batch)
        losses.append(loss)
        hits.append(logits.argmax(-1) == batch.labels)

    step_losses = torch.stack(losses).cpu().double()  # [steps, R]
    sizes = torch.tensor([hit.shape[1] for hit in hits]).unsqueeze(1)
    train_loss = ((step_losses * sizes).sum(0) / loader.num_examples).tolist()
    train_accuracy = [hit / loader.num_examples for hit in torch.cat(hits, 1).sum(1).tolist()]
    seconds = time.perf_counter() - started  # after the host has waited for the device
    validation = None if validation_index is None else validate(stack, validation_index)
    rows = [
        {"train/loss": train_loss[r], "train/accuracy": train_accuracy[r]}
        | ({} if validation is None else _validation_row(validation, r))
        | {
            "lr": stack.optimizer.learning_rates()[r],
            "images_per_second": loader.num_examples / seconds,
        }
        for r in range(stack.num_runs)
    ]
    are_finite = _finite_weights(stack)
    return EpochResult(
        rows,
        [
            None
            if math.isfinite(train_loss[r] + rows[r].get("val/loss", 0.0)) and are_finite[r]
            else _divergence(stack.epoch, step_losses[:, r].tolist())
            for r in range(stack.num_runs)
        ],
    )


def validate(stack: Stack, index: Tensor) -> Evaluation:
    """Evaluate the weights that the runs are on the training images at index int64 `[R, v]`."""
    stack.model.eval()
    loader = stack.loader
    return evaluate(
        stack.predict, loader.images, loader.labels, index=index, normalizer=loader.normalizer
    )


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    index: Tensor,
    normalizer: Normalizer,
) -> Evaluation:
    """Every network on its images: uint8 `[M, P]`, int64 `[M]`, at index int64 `[R, N]`.

    Args:
        predict: normalised pixels `[R, B, P]` to logits `[R, B, C]`: a model in evaluation mode.
    """
    own_labels = labels[index]
    parts = torch.split(index, EVALUATION_BATCH_SIZE, 1)
    logits = torch.cat([predict(normalizer(gather(images, part))) for part in parts], 1)
    return Evaluation(
        counts=confusion_counts(own_labels, logits.argmax(-1), logits.shape[-1]),
        loss=nll(logits, own_labels),
        probabilities=torch.softmax(logits, -1),
        labels=own_labels,
    )


def _divergence(epoch: int, losses: list[float]) -> Divergence:
    """Where one run's loss, from that of each step, or else its weights stopped being finite."""
    bad = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    return Divergence(epoch, min(bad + 1, len(losses)), losses[bad - 1] if bad else math.nan)


def _finite_weights(stack: Stack) -> list[bool]:
    """Whether all weights of each run are finite."""
    tensors = stack.model.state_dict().values()
    each = [t.isfinite().view(stack.num_runs, -1).all(1) for t in tensors]
    flags: list[bool] = torch.stack(each).all(0).tolist()
    return flags


def _validation_row(validation: Evaluation, run: int) -> HistoryRow:
    summary = summarize(validation.counts[run].cpu())
    return {"val/loss": float(validation.loss[run])} | {
        f"val/{name}": float(value) for name, value in summary.items()
    }
