"""The first words of a run's event log: its name, parameters, tags, data and config."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fashion_mnist.config.schema import Config, TrackingConfig, flatten, nested
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.config.user_files import plain_tree
from fashion_mnist.data.fashion_mnist import FASHION_MNIST, Dataset
from fashion_mnist.runs.event_log import EventLog, set_offline
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.identity import CHOSEN, is_parameter
from fashion_mnist.runs.stacks import DataSplit

OVERRIDES_FILE = "config/overrides.yaml"  # what was typed
CONFIG_FILE = "config/resolved.yaml"  # the whole config, among the run's artifacts
MOST_SIZES_NAMED = 6
UNNAMED = "idx"  # data.name of conf/data/idx.yaml
# What a run's name says anyway, or need not say, of its parameters.
_NAMED = (
    "model.width",
    "model.depth",
    "model.hidden_sizes",
    "model.activation",
    "optimizer.lr",
    "optimizer=",
    "seed",
    "data=",
    "data.name",
    "data.dir",
    "data.class_names",
    "hydra",
)


def run_name(config: Config, overrides: Sequence[str]) -> str:
    """The user's name for the run, or one made of what people compare and what they changed."""
    if config.tracking.run_name is not None:
        return config.tracking.run_name
    sizes, model = config.model.sizes(), config.model
    words = [_shape(sizes), model.activation if sizes else "", config.optimizer.name]
    words += [f"lr={config.optimizer.lr:g}", f"seed={config.seed}"]
    words += [_data(config)]
    last = {text.lstrip("+~").partition("=")[0]: text.lstrip("+") for text in overrides}
    # what is taken away, as in ~optimizer.weight_decay, has its default
    own = [text for key, text in last.items() if is_parameter(key)]
    changed = [text for text in own if not text.startswith(("~", *_NAMED))]
    words += [re.sub(r"^[^=]*\.", "", text) for text in changed]
    return " ".join(filter(None, words))


def _data(config: Config) -> str:
    """Which data set it is, where it is not Fashion-MNIST; one without a name by its folder."""
    name = config.data.name
    if name == FASHION_MNIST:
        return ""
    return f"data={Path(config.data.dir).name if name == UNNAMED else name}"


def _shape(sizes: Sequence[int]) -> str:
    """The hidden layers in one word: 512-256, four of 256 as 256x4."""
    if not sizes:
        return "linear"
    if len(sizes) > 3 and len(set(sizes)) == 1:
        return f"{sizes[0]}x{len(sizes)}"
    if len(sizes) > MOST_SIZES_NAMED:
        return f"{sizes[0]}-…-{sizes[-1]} ({len(sizes)} layers)"
    return "-".join(map(str, sizes))


def record_start(
    event_log: EventLog,
    config: Config,
    *,
    name: str,
    overrides: Sequence[str],
    choices: Mapping[str, str],
    dataset: Dataset,
    data_split: DataSplit,
    tags: Mapping[str, str],
) -> None:
    """Say what the run is, before it is trained.

    Args:
        choices: group -> the file that was chosen, recorded as the group's own name.
    """
    files = {group: file for group, file in choices.items() if group in CHOSEN}
    own_tags = {key: _text(value) for key, value in config.tracking.tags.items()}
    event_log.start(name, {**files, **parameters_of(config)}, {**own_tags, **tags})
    split = data_split.split
    for context, index, sha256 in (
        ("train", split.train, split.train_sha256),
        ("validation", split.validation, split.validation_sha256),
    ):
        if len(index):
            record_dataset(event_log, dataset, context, len(index), sha256)
    _write_yaml(event_log, CONFIG_FILE, nested(flatten(config)))
    _write_yaml(event_log, OVERRIDES_FILE, list(overrides))


def read_overrides(path: Path) -> list[str]:
    """What was typed to have a run, from the file that holds it.

    Raises:
        ValueError: it cannot be read, or holds no overrides.
    """
    words = plain_tree(path)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{path.name} is no list of overrides")
    return words


def parameters_of(config: Config) -> dict[str, str]:
    """What a run's parameters are: its dotted keys; values that are no text are JSON."""
    return {key: _text(value) for key, value in flatten(config).items() if is_parameter(key)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def record_destination(
    event_log: EventLog, tracking: TrackingConfig, *, parent: str = "", name: str = ""
) -> None:
    """Say where the run or sweep is to be recorded, and whether it is sent yet.

    Args:
        parent: the id of the sweep's log under which it is recorded; empty for none.
        name: its name there; empty for the log's own.
    """
    if tracking.uri is not None:
        set_offline(event_log.run_dir, is_offline=tracking.offline == "always")
        uri = absolute_uri(tracking.uri)
        event_log.destination(uri, tracking.experiment, parent=parent, name=name)


def record_dataset(
    event_log: EventLog, dataset: Dataset, context: str, num_examples: int, sha256: str
) -> None:
    """Say which images the run has seen, as what."""
    event_log.dataset(
        dataset.name,
        digest=f"{context}-{sha256[:24]}",
        context=context,
        source=dataset.source,
        num_examples=num_examples,
        image_shape=dataset.image_shape,
    )


def _write_yaml(event_log: EventLog, path: str, content: Any) -> None:
    with replacing(event_log.artifacts / path) as file:
        file.write_text(
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    event_log.artifact(path)
