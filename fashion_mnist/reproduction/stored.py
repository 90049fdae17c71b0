"""The config of a recorded run, made of what its store has of it: anybody may have written that."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fashion_mnist.config.compose import check
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.parse import parse
from fashion_mnist.config.schema import Config, flatten, nested
from fashion_mnist.config.user_files import plain_tree
from fashion_mnist.runs.records import CONFIG_FILE
from fashion_mnist.runs.run_dir import RunError
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

# what a run is made of; where it is kept, recorded and evaluated is not the store's to say
PARTS = ("seed", "data", "model", "loss", "optimizer", "schedule", "training")
MACHINE = ("device", "precision", "threads")  # tags that say what `auto` came to
PUBLISHED = "fashion_mnist"  # this data set is known by its digests, wherever it lies


def stored_config(
    store: Reader,
    run: RecordedRun,
    *,
    output_dir: Path,
    data_dir: Path | None = None,
    reads_test: bool = False,
) -> Config:
    """The config that trains the run again: recorded nowhere, with its device, precision, threads.

    It is plain YAML, read like a user's own: nothing in it is run, and no interpolation resolved.

    Args:
        output_dir: where the second training is kept.
        data_dir: the folder of the data set; None for Fashion-MNIST wherever it is found, and for
            other data the folder that the record names.
        reads_test: whether the second training is measured on the test set too.

    Raises:
        RunError: the store has no config of the run, or none that this program understands.
        OSError: the store does not answer.
    """
    try:
        node = _own_settings() | {k: v for k, v in _stored(store, run).items() if k in PARTS}
        _set(node, "training", {key: _value(run.tags[key]) for key in MACHINE if key in run.tags})
        _set(node, "data", _data_dir(node, data_dir))
        node["output_dir"] = str(output_dir)
        node["evaluation"]["test"] = "always" if reads_test else "never"
        return parse(node)
    except ConfigError as error:
        problems = "; ".join(error.problems)
        raise RunError(f"what is stored of {run.name!r} is no config here: {problems}") from None


def _own_settings() -> dict[str, Any]:
    """The program's defaults of all else: recorded in no store, and trained whatever is there."""
    own = nested(flatten(check([])) | {"tracking.uri": None, "rerun": True})
    return {key: value for key, value in own.items() if key not in PARTS}


def _stored(store: Reader, run: RecordedRun) -> dict[str, Any]:
    """The tree that was recorded as a file; of a run without one, that of its parameters."""
    folder = CONFIG_FILE.partition("/")[0]
    try:
        is_there = any(file.path == CONFIG_FILE for file in store.artifacts(run, folder))
    except OSError:  # a folder that was moved: the parameters say the same
        is_there = False
    return _from_file(store, run) if is_there else _from_parameters(run.parameters)


def _from_file(store: Reader, run: RecordedRun) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = store.download(run, CONFIG_FILE, Path(folder))
        try:
            tree = plain_tree(path)
        except ValueError as error:
            raise ConfigError([str(error)]) from error
    if not isinstance(tree, dict):
        raise ConfigError([f"{CONFIG_FILE} must be a mapping"])
    return tree


def _from_parameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    # a group's own name says which file was chosen, and no value
    keys = [key for key in parameters if key.startswith(PARTS) and key not in PARTS[1:]]
    own = {key: _value(parameters[key]) for key in keys}
    try:
        return nested(own)
    except (AttributeError, TypeError) as error:
        raise ConfigError(["its parameters contradict each other"]) from error


def _value(text: str) -> Any:
    """A parameter's value: JSON, or words as they are."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _set(node: dict[str, Any], part: str, values: Mapping[str, Any]) -> None:
    """Set values in a part of the tree; one that is no mapping is for `parse` to judge."""
    if isinstance(node.get(part), dict):
        node[part] = node[part] | values


def _data_dir(node: Mapping[str, Any], data_dir: Path | None) -> dict[str, Any]:
    if data_dir is not None:
        return {"dir": str(data_dir)}
    data = node.get("data")
    is_published = isinstance(data, dict) and data.get("name") == PUBLISHED
    # a folder of somebody else's is not looked into, still less are damaged files in it set aside
    return {"dir": check([]).data.dir} if is_published else {}
