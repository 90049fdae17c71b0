"""The one door from YAML to Python: typed dataclasses, and `parse`, which finds every mistake."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fashion_mnist.config.checks import (
    Reader,
    boolean,
    either,
    list_of,
    mapping,
    number,
    one_of,
    optional,
    tag_names,
    text,
    text_up_to,
    tree,
    whole,
)
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.rules import check_rules
from fashion_mnist.models.network import ACTIVATIONS, INITIALIZATIONS, Normalization
from fashion_mnist.training.schedules import SCHEDULES

VALIDATION_METRICS = [
    f"val/{name}" for name in ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro")
]
_share = number(minimum=0, below=1)
_caption = text_up_to(60)  # that fits beside a picture
_name = text_up_to(250)  # that every store takes


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths of the changes made to training images; 0 is none."""

    flip: Annotated[float, number(minimum=0, maximum=1)]
    shift: Annotated[int, whole(minimum=0, maximum=27)]
    erase: Annotated[float, number(minimum=0, maximum=1)]
    noise: Annotated[float, number(minimum=0, maximum=1)]
    mixup: Annotated[float, number(minimum=0, maximum=1)]


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split."""

    name: Annotated[str, _name]
    dir: Annotated[str, text]
    class_names: Annotated[tuple[str, ...], list_of(_caption, minimum=2)]
    validation_size: Annotated[int, whole(minimum=0)]
    fold: Annotated[int, whole(minimum=0)]
    train_size: Annotated[int | None, optional(whole(minimum=1))]
    normalize: Annotated[bool, boolean]
    augment: AugmentConfig


@dataclass(frozen=True)
class ModelConfig:
    """The network; width and depth are None where hidden_sizes is given."""

    width: Annotated[int | None, optional(whole(minimum=1, maximum=100_000))]
    depth: Annotated[int | None, optional(whole(minimum=0, maximum=1000))]
    hidden_sizes: Annotated[
        tuple[int, ...] | None, optional(list_of(whole(minimum=1, maximum=100_000)))
    ]
    activation: Annotated[str, one_of(ACTIVATIONS)]
    activation_options: Annotated[dict[str, Any], mapping]
    normalization: Annotated[Normalization, one_of(("none", "batch", "layer", "rms"))]
    dropout: Annotated[float, _share]
    input_dropout: Annotated[float, _share]
    residual: Annotated[bool, boolean]
    initialization: Annotated[str, one_of(INITIALIZATIONS)]

    def sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        if self.hidden_sizes is not None:
            return self.hidden_sizes
        return (self.width or 0,) * (self.depth or 0)


@dataclass(frozen=True)
class LossConfig:
    """The loss; label_smoothing is an option of cross entropy alone."""

    name: Annotated[Literal["cross_entropy", "brier"], one_of(("cross_entropy", "brier"))]
    class_weights: Annotated[tuple[float, ...] | None, optional(list_of(number(minimum=1e-6)))]
    options: dict[str, float]


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser of torch; its options are those of torch's signature."""

    name: Annotated[str, text]
    lr: Annotated[float, number(above=0)]
    options: dict[str, Any]


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves."""

    name: Annotated[str, one_of(SCHEDULES)]
    warmup: Annotated[float, _share]
    options: dict[str, float]


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """When a run stops before its last epoch; metric None: never."""

    metric: Annotated[str | None, optional(one_of(VALIDATION_METRICS))]
    patience: Annotated[int, whole(minimum=1)]


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in which steps and on what."""

    epochs: Annotated[int, whole(minimum=1)]
    batch_size: Annotated[int, whole(minimum=1)]
    precision: Annotated[Literal["auto", "fp32", "bf16"], one_of(("auto", "fp32", "bf16"))]
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], one_of(("auto", "cpu", "cuda", "mps"))]
    threads: Annotated[int | Literal["auto"], either("auto", whole(minimum=1, maximum=1024))]
    ema: Annotated[float | None, optional(number(above=0, below=1))]
    clip_grad_norm: Annotated[float | None, optional(number(above=0))]
    early_stopping: EarlyStoppingConfig
    checkpoint_seconds: Annotated[float, number(minimum=0)]


Decision = Literal["auto", "always", "never"]
_decision = one_of(("auto", "always", "never"))


@dataclass(frozen=True)
class EvaluationConfig:
    """When the test set is read."""

    test: Annotated[Decision, _decision]


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded; uri None: in their journals alone."""

    uri: Annotated[str | None, optional(text)]
    experiment: Annotated[str, _name]
    run_name: Annotated[str | None, optional(_name)]
    tags: Annotated[dict[str, Any], tag_names]
    model: Annotated[Decision, _decision]
    offline: Annotated[Decision, _decision]


SAMPLERS = ("grid", "random", "tpe", "cmaes", "qmc")
PRUNERS = ("none", "median", "halving", "hyperband")
SCORES = ("final/val_accuracy", "final/val_f1_macro", "final/val_loss")


@dataclass(frozen=True)
class SweepConfig:
    """Many runs at once; a single run has nothing to do with it."""

    name: Annotated[str | None, optional(_caption)]
    axes: Annotated[dict[str, Any], tree]  # what `sweep.space` reads
    when: Annotated[dict[str, Any], tree]
    limit: Annotated[int | None, optional(whole(minimum=1))]
    sampler: Annotated[str, one_of(SAMPLERS)]
    n_trials: Annotated[int, whole(minimum=1)]
    objectives: Annotated[tuple[str, ...], list_of(one_of([*SCORES, "parameters"]), minimum=1)]
    pruner: Annotated[str, one_of(PRUNERS)]
    retry_failed: Annotated[bool, boolean]
    stack_size: Annotated[int | Literal["auto"], either("auto", whole(minimum=1))]
    processes: Annotated[int | Literal["auto"], either("auto", whole(minimum=1, maximum=1024))]
    memory: Annotated[float | Literal["auto"], either("auto", number(above=0))]


@dataclass(frozen=True)
class Config:
    """Everything a user may say of a run."""

    seed: Annotated[int, whole(minimum=0, maximum=2**63 - 1)]
    rerun: Annotated[bool, boolean]
    output_dir: Annotated[str, text]
    data: DataConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    sweep: SweepConfig


def parse(node: Any, *, overridden: Sequence[str] = ()) -> Config:
    """The config that a composed tree of plain values describes.

    Args:
        node: nested dicts, lists and plain values; interpolations are resolved.
        overridden: the dotted keys that the command line sets.

    Raises:
        ConfigError: with every mistake there is.
    """
    reader = Reader()
    config = reader.dataclass(Config, node)
    check_rules(config, reader, overridden)
    problems = reader.all_problems(flatten(config))
    if problems:
        raise ConfigError(problems)
    if config.model.hidden_sizes is None:
        return config
    model = dataclasses.replace(config.model, width=None, depth=None)
    return dataclasses.replace(config, model=model)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and plain values; the keys of `options` stand beside the others."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        elif field.name == "options":
            flat |= {f"{prefix}{key}": option for key, option in value.items()}
        else:
            flat[f"{prefix}{field.name}"] = list(value) if isinstance(value, tuple) else value
    return flat
