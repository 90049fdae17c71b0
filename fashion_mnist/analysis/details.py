"""Everything that a store has of one run: curves, scores, confused classes, files."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import ArtifactFile, RecordedRun

CURVES = ("train/loss", "val/loss", "val/accuracy")
SPLITS = ("validation", "test")  # the first that was recorded is told of


@dataclass(frozen=True)
class RunDetails:
    """A run and what belongs to it."""

    run: RecordedRun
    curves: Mapping[str, Mapping[int, float]]  # metric -> epoch -> value
    confused_split: str  # whose mistakes are told; empty for none
    confused: Sequence[Mapping[str, str | int]]  # true, predicted, count, support
    files: Sequence[ArtifactFile]
    files_missing: str  # why the files could not be listed; empty if they were

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        run = self.run
        return {
            "id": run.run_id,
            "name": run.name,
            "status": run.status,
            "experiment": run.experiment,
            "started": run.start,
            "ended": run.end,
            "duration": run.duration,
            "parent": run.parent_id or None,
            "parameters": run.parameters,
            "metrics": run.metrics,
            "tags": run.tags,
            "artifact_uri": run.artifact_uri,
            "curves": self.curves,
            "most_confused": {"split": self.confused_split or None, "pairs": self.confused},
            "files": [{"path": file.path, "bytes": file.num_bytes} for file in self.files],
            "files_missing": self.files_missing or None,
        }


def read_details(store: Reader, run: RecordedRun, *, every_curve: bool = False) -> RunDetails:
    """Read what the store has of the run; files that are gone are said to be.

    Raises:
        OSError: the store does not answer.
    """
    curves = store.history(run, None if every_curve else CURVES)
    try:
        files, reason = store.artifacts(run), ""
    except OSError as error:  # a folder that was moved: the rest is worth telling
        files, reason = [], str(error)
    split, confused = _confused(store, run, files)
    return RunDetails(run, curves, split, confused, files, reason)


def grouped(parameters: Mapping[str, str]) -> list[list[str]]:
    """A row for each group of the config, with its settings; those of no group come first."""
    groups: dict[str, list[str]] = {"": []}
    for key in sorted(parameters):
        group, _, name = key.partition(".") if "." in key else ("", "", key)
        groups.setdefault(group, []).append(f"{name}={parameters[key]}")
    return [[group, "  ".join(words)] for group, words in groups.items() if words]


def _confused(
    store: Reader, run: RecordedRun, files: Sequence[ArtifactFile]
) -> tuple[str, list[dict[str, str | int]]]:
    """The split, and its most frequent mistakes."""
    there = {file.path for file in files}
    for split in SPLITS:
        path = f"{split}/confusion_matrix.json"
        if path not in there:
            continue
        # takes a second: a run without the file is told of without
        import torch

        from fashion_mnist.metrics import classification
        from fashion_mnist.runs.artifacts import read_confusion

        with tempfile.TemporaryDirectory() as folder:
            store.download(run, path, Path(folder))
            confusion = read_confusion(Path(folder), split)
        if confusion is not None:
            worst = classification.most_confused(torch.tensor(confusion[0]), confusion[1])
            return split, [each._asdict() for each in worst]
    return "", []


BARS = "▁▂▃▄▅▆▇█"
GAP = " "  # where a value is no finite number


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values from the lowest to the highest bar; of more than `width`, evenly chosen ones."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return GAP * min(len(values), width)
    low, high = min(finite), max(finite)
    return "".join(_bar(value, low, high) for value in _chosen(values, width))


def _chosen(values: Sequence[float], width: int) -> list[float]:
    """At most `width` of the values, the first and the last among them."""
    if len(values) <= width:
        return list(values)
    last, places = len(values) - 1, max(width - 1, 1)
    return [values[round(place * last / places)] for place in range(width)]


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    # halves, for the range may exceed the largest number
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]
