"""From configs to a stack that can be trained: every part of it is put together here.

R runs in the stack, N images, n of them trained on, v validated on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fashion_mnist.config.schema import Config, DataConfig
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.data.loader import Loader, Normalizer
from fashion_mnist.data.splits import Split, pixel_statistics, split
from fashion_mnist.models import onednn
from fashion_mnist.models.network import MLP, Architecture, build_mlp, initialize
from fashion_mnist.training.device import Machine
from fashion_mnist.training.ema import WeightAverage
from fashion_mnist.training.losses import build_loss
from fashion_mnist.training.optim import BatchedOptimizer, StackOptimizer, build_optimizer
from fashion_mnist.training.rng import make_generators
from fashion_mnist.training.schedules import Schedule
from fashion_mnist.training.stack import Stack


@dataclass(frozen=True)
class DataSplit:
    """The data as one run sees it: its split, and the constants of its training part."""

    split: Split
    mean: float  # of pixels / 255
    std: float


# The runs of a sweep share a few. By the data's hash: a cache with data sets as its keys kept every
# one alive that the jobs of another launcher had loaded.
_data_splits: dict[tuple[object, ...], DataSplit] = {}
MOST_SPLITS = 64


def stack_key(config: Config, machine: Machine) -> str:
    """Runs with the same key can be trained in one stack.

    It holds everything that changes a shape, a number of steps or which operations run.
    """
    data, model, training = config.data, config.model, config.training
    key = {
        "data": [data.name, data.dir, data.class_names, data.validation_size, data.train_size],
        "model": [model.sizes(), model.activation, model.activation_options],
        "layers": [model.normalization, model.residual, model.initialization],
        "loss": [config.loss.name, config.loss.class_weights],
        "optimizer": config.optimizer.name,
        "schedule": config.schedule.name,
        "steps": [training.epochs, training.batch_size],
        "parts": {
            "dropout": model.dropout > 0,
            "input_dropout": model.input_dropout > 0,
            "ema": training.ema is not None,
            "clip_grad_norm": training.clip_grad_norm is not None,
            "early_stopping": training.early_stopping.metric is not None,
            "augment": sorted(_augmentation([config])),
        },
        "machine": [machine.device, machine.precision, machine.threads],
    }
    return json.dumps(key, sort_keys=True)


def split_data(config: Config, dataset: Dataset) -> DataSplit:
    """The split and the pixel statistics of one run. The test images have no say in them."""
    data = config.data
    sizes = (dataset.num_classes, data.validation_size, data.fold, data.train_size)
    key = (dataset.sha256, *sizes, data.normalize)
    if key not in _data_splits:
        _data_splits[key] = _data_split(dataset, data)
    if len(_data_splits) > MOST_SPLITS:
        del _data_splits[next(iter(_data_splits))]
    return _data_splits[key]


def _data_split(dataset: Dataset, data: DataConfig) -> DataSplit:
    own = split(
        dataset.train_labels,
        num_classes=dataset.num_classes,
        validation_size=data.validation_size,
        fold=data.fold,
        train_size=data.train_size,
    )
    if not data.normalize:
        return DataSplit(own, mean=0.0, std=1.0)
    mean, std = pixel_statistics(dataset.train_images, own.train)
    return DataSplit(own, mean, std)


def build_architecture(config: Config, dataset: Dataset) -> Architecture:
    """The shape of the network."""
    return Architecture(
        num_inputs=dataset.train_images.shape[1],
        hidden_sizes=config.model.sizes(),
        num_classes=dataset.num_classes,
        activation=config.model.activation,
        activation_options=config.model.activation_options,
        normalization=config.model.normalization,
        residual=config.model.residual,
    )


def build_stack(
    configs: Sequence[Config], data_splits: Sequence[DataSplit], dataset: Dataset, machine: Machine
) -> Stack:
    """A stack of R runs at its beginning; their keys are the same, dataset is on the device."""
    assert len({stack_key(config, machine) for config in configs}) == 1
    training = configs[0].training
    seeds = [config.seed for config in configs]
    dropout_generators = make_generators(seeds, "dropout", machine.device)
    model = _build_model(configs, dataset, machine, dropout_generators)
    return Stack(
        model=model,
        optimizer=_build_optimizer(configs, model),
        loader=Loader(
            dataset.train_images,
            dataset.train_labels,
            num_classes=dataset.num_classes,
            train_index=torch.stack([each.split.train for each in data_splits]).to(machine.device),
            normalizer=Normalizer(
                [each.mean for each in data_splits],
                [each.std for each in data_splits],
                machine.device,
            ),
            batch_size=training.batch_size,
            image_shape=dataset.image_shape,
            shuffle_generators=make_generators(seeds, "shuffle"),
            augment_generators=make_generators(seeds, "augment", machine.device),
            augmentation=_augmentation(configs),
        ),
        loss=build_loss(
            configs[0].loss.name,
            options={
                key: [config.loss.options[key] for config in configs]
                for key in configs[0].loss.options
            },
            class_weights=configs[0].loss.class_weights,
            device=machine.device,
        ),
        num_epochs=training.epochs,
        dropout_generators=dropout_generators,
        average=_build_average(configs, model),
    )


def validation_index(data_splits: Sequence[DataSplit], machine: Machine) -> Tensor | None:
    """Where the validation images of R runs are: int64 `[R, v]`; None where there are none."""
    index = torch.stack([each.split.validation for each in data_splits])
    return index.to(machine.device) if index.shape[1] else None


def _build_model(
    configs: Sequence[Config],
    dataset: Dataset,
    machine: Machine,
    dropout_generators: Sequence[torch.Generator],
) -> MLP:
    first = configs[0].model
    model = build_mlp(
        build_architecture(configs[0], dataset),
        num_networks=len(configs),
        dropout=[c.model.dropout for c in configs] if first.dropout else None,
        input_dropout=[c.model.input_dropout for c in configs] if first.input_dropout else None,
        dropout_generators=dropout_generators,
        dtype=machine.dtype,
        product=onednn.linear if onednn.is_faster() else torch.nn.functional.linear,
        device=machine.device,
    )
    initialize(model, first.initialization, make_generators([c.seed for c in configs], "weights"))
    return model


def _build_optimizer(configs: Sequence[Config], model: MLP) -> StackOptimizer | BatchedOptimizer:
    norms = [norm for c in configs if (norm := c.training.clip_grad_norm) is not None]
    return build_optimizer(
        model,
        name=configs[0].optimizer.name,
        options=[{"lr": c.optimizer.lr, **c.optimizer.options} for c in configs],
        schedules=[
            Schedule(name=s.name, warmup=s.warmup, options=s.options)
            for s in (config.schedule for config in configs)
        ],
        clip_grad_norm=norms or None,
    )


def _build_average(configs: Sequence[Config], model: MLP) -> WeightAverage | None:
    decays = [decay for c in configs if (decay := c.training.ema) is not None]
    return WeightAverage(model, decays=decays) if decays else None


def _augmentation(configs: Sequence[Config]) -> dict[str, list[float]]:
    """The strengths of each kind of augmentation that is on."""
    kinds = [field.name for field in fields(configs[0].data.augment)]
    strengths = {kind: [getattr(c.data.augment, kind) for c in configs] for kind in kinds}
    return {kind: own for kind, own in strengths.items() if own[0] > 0}
