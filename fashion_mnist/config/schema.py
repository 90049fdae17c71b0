"""What a config is: every key with its range beside it. `parse` makes one of a tree of values.

The dataclasses are plain ones, which pydantic reads: a field's type is what it holds, its metadata
(`annotated_types`) what is allowed. The options of a loss, an optimizer, a schedule and an
activation have their types and ranges where those are defined.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    Strict,
    StringConstraints,
)
from pydantic_core import CoreSchema, core_schema

from fashion_mnist.models.network import ACTIVATIONS, INITIALIZATIONS, Normalization
from fashion_mnist.training.losses import LOSSES
from fashion_mnist.training.schedules import SCHEDULES

MOST = 2**63 - 1  # of a whole number that has no other bound
VALIDATION_METRICS = (
    "val/loss",
    "val/accuracy",
    "val/precision_macro",
    "val/recall_macro",
    "val/f1_macro",
)
SWEEP_SCORES = ("final/val_accuracy", "final/val_f1_macro", "final/val_loss")


@dataclass(frozen=True)
class OneOf:
    """Metadata of a text that is a word of a table."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic checks it."""
        return core_schema.literal_schema(list(self.words))


@dataclass(frozen=True)
class InWords:
    """Metadata of a mapping: what it must be."""

    words: str


@dataclass(frozen=True)
class OtherThan:
    """Metadata of a text that is none of these words."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic checks it."""
        return core_schema.no_info_after_validator_function(self._check, handler(kind))

    def _check(self, text: str) -> str:
        if text in self.words:
            raise ValueError
        return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError
    return text


# tags by which runs are found, compared and gone on with, and how others of these begin
OWN_TAGS = (
    *("code_sha256", "copy_of", "cpu", "data_sha256", "device", "early_stopping", "failure"),
    *("fingerprint", "git_commit", "host", "numerics", "precision", "pruned", "python"),
    *("recovery", "split_sha256", "stack_size", "sweep", "threads", "torch", "training_images"),
    "weights_sha256",
)
OWN_PREFIXES = ("mlflow.", "sweep.", "comparison.", "fashion_mnist.")


def _not_a_tag_of_ours(name: str) -> str:
    if name in OWN_TAGS or name.startswith(OWN_PREFIXES):
        raise ValueError("a tag of ours")
    return name


NOT_RESERVED = OtherThan(("latest", "best"))  # by which commands find runs
Whole = Annotated[int, Strict(), Le(MOST)]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), AfterValidator(_line)]
Caption = Annotated[Text, MaxLen(60)]  # fits beside a picture
Name = Annotated[Text, MaxLen(250)]  # fits every store
OwnName = Annotated[Name, NOT_RESERVED]  # of a run, a sweep, an experiment
Folder = Annotated[Text, AfterValidator(os.path.expanduser)]
Share = Annotated[Number, Interval(ge=0, le=1)]
Rate = Annotated[Number, Interval(ge=0, lt=1)]
TagName = Annotated[
    str,
    BeforeValidator(str),
    StringConstraints(pattern=r"^\w[\w. -]{0,200}$"),
    AfterValidator(_not_a_tag_of_ours),
]
Units = Annotated[Whole, Interval(ge=1, le=100_000)]
_Plain = Annotated[str, Strict()] | Flag | Whole | Number
Decision = Literal["auto", "always", "never"]


class Group:
    """A dataclass that takes no other keys than its fields."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class AugmentConfig(Group):
    """Strengths of the changes made to training images; 0 is none."""

    flip: Share
    shift: Annotated[Whole, Interval(ge=0, le=27)]
    erase: Share
    noise: Share
    mixup: Share


@dataclass(frozen=True)
class DataConfig(Group):
    """Which images, and how they are split."""

    name: Name
    dir: Folder
    class_names: Annotated[tuple[Caption, ...], MinLen(2)]
    validation_size: Annotated[Whole, Ge(0)]
    fold: Annotated[Whole, Ge(0)]
    train_size: Annotated[Whole, Ge(1)] | None
    normalize: Flag
    augment: AugmentConfig


@dataclass(frozen=True)
class ModelConfig(Group):
    """The network; width and depth are None where hidden_sizes is given."""

    width: Units | None
    depth: Annotated[Whole, Interval(ge=0, le=1000)] | None
    hidden_sizes: tuple[Units, ...] | None
    activation: Annotated[str, OneOf((*ACTIVATIONS,))]
    activation_options: Annotated[
        dict[str, _Plain], InWords("a mapping of names to numbers, words, true or false")
    ]
    normalization: Normalization
    dropout: Rate
    input_dropout: Rate
    residual: Flag
    initialization: Annotated[str, OneOf((*INITIALIZATIONS,))]

    def sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        if self.hidden_sizes is not None:
            return self.hidden_sizes
        return (self.width or 0,) * (self.depth or 0)


@dataclass(frozen=True)
class LossConfig(Group):
    """The loss, with the options of its function."""

    name: Annotated[str, OneOf((*LOSSES,))]
    class_weights: tuple[Annotated[Number, Interval(ge=1e-6, le=1_000_000)], ...] | None
    options: dict[str, Any]


@dataclass(frozen=True)
class OptimizerConfig(Group):
    """An optimizer of torch, with the options of torch's signature."""

    name: Text
    lr: Annotated[Number, Gt(0)]
    options: dict[str, Any]


@dataclass(frozen=True)
class ScheduleConfig(Group):
    """How the learning rate moves, with the options of the schedule's function."""

    name: Annotated[str, OneOf((*SCHEDULES,))]
    warmup: Annotated[Number, Interval(ge=0, lt=1)]
    options: dict[str, Any]


@dataclass(frozen=True)
class EarlyStoppingConfig(Group):
    """When a run stops before its last epoch; metric None: never."""

    metric: Annotated[str, OneOf(VALIDATION_METRICS)] | None
    patience: Annotated[Whole, Ge(1)]


@dataclass(frozen=True)
class TrainingConfig(Group):
    """How long, in which steps and on what."""

    epochs: Annotated[Whole, Ge(1)]
    batch_size: Annotated[Whole, Ge(1)]
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: Literal["auto"] | Annotated[Whole, Interval(ge=1, le=1024)]
    ema: Annotated[Number, Interval(gt=0, lt=1)] | None
    clip_grad_norm: Annotated[Number, Gt(0)] | None
    early_stopping: EarlyStoppingConfig
    checkpoint_seconds: Annotated[Number, Ge(0)]


@dataclass(frozen=True)
class EvaluationConfig(Group):
    """When the test set is read, and how a trained network is asked."""

    test: Decision
    tta: Flag


@dataclass(frozen=True)
class TrackingConfig(Group):
    """Where runs are recorded; uri None: in their own folders alone."""

    uri: Text | None  # auto is resolved: see `parse`
    experiment: OwnName
    run_name: OwnName | None
    tags: Annotated[
        dict[TagName, _Plain],
        InWords(
            "a mapping whose names have letters, digits, spaces and _ . - only, and are none that "
            "a run has anyway (mlflow.…, fingerprint, host, pruned …)"
        ),
    ]
    model: Decision
    offline: Decision


@dataclass(frozen=True)
class SweepConfig(Group):
    """Many runs at once; a single run has nothing to do with it."""

    name: Annotated[Caption, NOT_RESERVED] | None
    # what `sweeps.space` reads
    axes: Annotated[dict[str, Any], InWords("a mapping of keys to lists or ranges")]
    when: Annotated[dict[str, Any], InWords("a mapping of axes to conditions")]
    limit: Annotated[Whole, Ge(1)] | None
    sampler: Literal["grid", "random", "tpe", "qmc"]
    n_trials: Annotated[Whole, Ge(1)]
    objectives: Annotated[
        tuple[Annotated[str, OneOf((*SWEEP_SCORES, "parameters"))], ...], MinLen(1)
    ]
    pruner: Literal["none", "median", "halving", "hyperband"]
    retry_failed: Flag
    stack_size: Literal["auto"] | Annotated[Whole, Ge(1)]
    processes: Literal["auto"] | Annotated[Whole, Interval(ge=1, le=1024)]
    memory: Literal["auto"] | Annotated[Number, Gt(0)]


@dataclass(frozen=True)
class Config(Group):
    """Everything a user may say of a run."""

    seed: Annotated[Whole, Ge(0)]
    rerun: Flag
    output_dir: Folder
    data: DataConfig
    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    sweep: SweepConfig


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and plain values; the keys of `options` stand beside the others."""
    flat: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, Group):
            flat |= flatten(value, f"{prefix}{name}.")
        elif name == "options":
            flat |= {f"{prefix}{key}": _as_list(option) for key, option in value.items()}
        else:
            flat[f"{prefix}{name}"] = _as_list(value)
    return flat


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as the tree they came from.

    Raises:
        AttributeError: or TypeError, where a key stands for a value and for a part of the tree.
    """
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, name = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return tree
