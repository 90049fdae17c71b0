"""The end of a run: its network is saved, evaluated and recorded."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from fashion_mnist.config.messages import first_line_of
from fashion_mnist.config.schema import Config
from fashion_mnist.data.augment import copies
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics.confusions import absent_classes, most_confused
from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.models.network import num_parameters
from fashion_mnist.runs.artifacts import SplitResult, record_split, record_training
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.identity import FAILURE_TAG, PRUNED_TAG, WEIGHTS_TAG
from fashion_mnist.runs.markdown import plain
from fashion_mnist.runs.members import Member
from fashion_mnist.runs.records import record_dataset
from fashion_mnist.runs.request import Extra
from fashion_mnist.runs.stacks import DataSplit, build_architecture
from fashion_mnist.training.checkpoint import Model, save_model, tensors_sha256
from fashion_mnist.training.device import Machine
from fashion_mnist.training.stack import HistoryRow

DESCRIPTION_TAG = "mlflow.note.content"  # MLflow shows it as Markdown on the run's page
EARLY_STOPPING_TAG = "early_stopping"
MOST_SHIFT = 1  # pixels, of the copies that test-time augmentation averages over


@dataclass(frozen=True)
class TrainedRun:
    """A network with the data it was made from, ready to be evaluated."""

    config: Config
    model: Model
    dataset: Dataset  # on the machine's device
    data_split: DataSplit
    machine: Machine

    def record_validation(self, event_log: EventLog) -> None:
        """Record the metrics on the validation split, if there is one."""
        if not len(self.data_split.split.validation):
            return
        result = self._evaluate("validation")
        metrics = result.metrics()
        named = {f"final/val_{key}": metrics[key] for key in ("loss", "accuracy", "f1_macro")}
        event_log.metrics(0, named)
        self._record(event_log, result)

    def _record_test(self, event_log: EventLog) -> None:
        """Record the metrics on the test set: it counts as read from here on."""
        result = self._evaluate("test")
        record_dataset(
            event_log, self.dataset, "test", len(result.predictions.labels), self.dataset.sha256
        )
        self._record(event_log, result)
        # last: these metrics are what says that the test set was read and recorded
        event_log.metrics(0, {f"test/{key}": value for key, value in result.metrics().items()})

    def _record_copies(self, event_log: EventLog, name: str) -> None:
        """Record the metrics on a split by test-time augmentation: its plain ones stay."""
        result = self._evaluate(name, over_copies=True)
        record_split(event_log, result, self.dataset.class_names)
        prefix = {"validation": "final/val_tta_", "test": "test/tta_"}[name]
        event_log.metrics(0, {f"{prefix}{key}": own for key, own in result.metrics().items()})

    def record_extras(
        self,
        event_log: EventLog,
        extras: Collection[Extra],
        history: Sequence[HistoryRow],
        network: str,
    ) -> None:
        """Record these of a finished run.

        Args:
            network: its file, by its path from the run's directory.
        """
        if "test" in extras:
            self._record_test(event_log)
        for split in ("validation", "test"):
            if f"{split}_tta" in extras:
                self._record_copies(event_log, split)
        if "pictures" in extras:
            self._record_pictures(event_log, history)
        if "model" in extras:
            event_log.model(network)

    def _record_pictures(self, event_log: EventLog, history: Sequence[HistoryRow]) -> None:
        first_weight = next(weight for weight in self.model.weights.values() if weight.dim() == 2)
        record_training(event_log, history, self.dataset, self.data_split, first_weight)

    def _record(self, event_log: EventLog, result: SplitResult) -> None:
        record_split(event_log, result, self.dataset.class_names)
        event_log.tags({DESCRIPTION_TAG: describe(result, self.dataset.class_names)})

    def _evaluate(self, name: str, *, over_copies: bool = False) -> SplitResult:
        """Evaluate on the `validation` split or the `test` set.

        Args:
            over_copies: average the probabilities over copies of each image: mirrored where
                training mirrors some, moved by up to a pixel where training moves them.
        """
        data, device = self.dataset, self.machine.device
        if name == "test":
            images, labels, sha256 = data.test_images, data.test_labels, data.sha256
            index = torch.arange(len(labels), device=device)
        else:
            images, labels, split = data.train_images, data.train_labels, self.data_split.split
            index, sha256 = split.validation.to(device), split.validation_sha256
        pictures = images[index].view(-1, *data.image_shape)
        if not over_copies:
            evaluation = self.model.evaluate(images, labels, index=index)
            return SplitResult.of(name, evaluation, pictures, sha256)
        augmentation = self.config.data.augment
        probabilities = self.model.mean_probabilities(
            copies(
                images[index],
                image_shape=data.image_shape,
                flip=augmentation.flip > 0,
                shift=min(augmentation.shift, MOST_SHIFT),
            )
        )
        predictions = Predictions(probabilities.cpu().numpy(), labels[index].cpu().numpy(), sha256)
        loss = predictions.metrics["nll"]  # there are no logits of a mean
        return SplitResult(f"{name}_tta", predictions, loss, pictures.cpu())


def describe(result: SplitResult, class_names: Sequence[str]) -> str:
    """The run in words, in Markdown: its scores, and what it takes for what."""
    scores, counts = result.metrics(), result.predictions.counts.tolist()
    absent = absent_classes(counts, class_names)
    lines = [
        f"**{result.name.capitalize()}: accuracy {scores['accuracy']:.2%}, "
        f"macro F1 {scores['f1_macro']:.4f}.** Most confused:",
        "",
        *(f"- {plain(mistake.words())}" for mistake in most_confused(counts, class_names)),
        "",
        *([f"{plain(absent)}.", ""] if absent else []),
        f"The whole matrix: Artifacts, `{result.name}/confusion_matrix.png`.",
    ]
    return "\n".join(lines)


def finish_member(member: Member, dataset: Dataset) -> None:
    """Record what became of a run that is done.

    Its checkpoints are given up last, and kept where a search pruned the run: it can be gone on
    with.
    """
    event_log = member.event_log
    if member.is_pruned:
        event_log.tags(
            {PRUNED_TAG: f"after epoch {member.epoch} of {member.config.training.epochs}"}
        )
        event_log.status("KILLED")
        return
    if member.weights is not None:
        trained = _save(member, member.weights, dataset)
        trained.record_validation(event_log)
        trained.record_extras(event_log, member.extras, member.history, member.folder.model.name)
        event_log.status("FINISHED")
    else:
        event_log.tags({FAILURE_TAG: _why(member)})
        event_log.status("FAILED")
    member.folder.remove_checkpoints()


def _save(member: Member, weights: dict[str, torch.Tensor], dataset: Dataset) -> TrainedRun:
    """Write the network to its file, and say whose weights these are."""
    model = Model(
        architecture=build_architecture(member.config, dataset),
        weights=weights,
        class_names=dataset.class_names,
        image_shape=dataset.image_shape,
        mean=member.data_split.mean,
        std=member.data_split.std,
    )
    save_model(member.folder.model, model)
    member.event_log.tags({WEIGHTS_TAG: tensors_sha256(weights)})
    if member.config.training.early_stopping.metric is not None:
        member.event_log.tags({EARLY_STOPPING_TAG: _which_epoch(member)})
    size = num_parameters(model.architecture)
    member.event_log.metrics(0, {"final/epoch": member.final_epoch, "parameters": size})
    return TrainedRun(member.config, model, dataset, member.data_split, member.machine)


def _which_epoch(member: Member) -> str:
    """Where early stopping ended the run, if it did, and which epoch's network was kept."""
    training = member.config.training
    kept = f"network of epoch {member.final_epoch}, the best by {training.early_stopping.metric}"
    if member.epoch == training.epochs:
        return kept
    return f"stopped early after epoch {member.epoch} of {training.epochs}; {kept}"


def _why(member: Member) -> str:
    """Why a run has no result, in one line."""
    lost = member.divergence
    if lost is None:
        assert member.failure is not None
        return f"{type(member.failure).__name__}: {first_line_of(member.failure)}"
    losses = [row["train/loss"] for row in member.history] + [lost.last_finite_loss]
    finite = [loss for loss in losses if math.isfinite(loss)]
    last = f"the last finite loss was {finite[-1]:g}" if finite else "no loss was finite"
    return f"diverged in epoch {lost.epoch} at step {lost.step}; {last}"
