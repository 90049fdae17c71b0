"""What a confusion matrix says in words, without torch: `fmnist show` does without its import.

Counts `[C][C]` are lists of whole numbers, rows true, columns predicted, of C classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Counts = Sequence[Sequence[int]]
MOST_NAMED = 5


class Confusion(NamedTuple):
    """One kind of mistake: `count` of the `support` examples of `true` were called `predicted`."""

    true: str
    predicted: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which this type does not need
    support: int

    def words(self) -> str:
        """In words: "Shirt taken for T-shirt/top: 112 of 1000"."""
        return f"{self.true} taken for {self.predicted}: {self.count} of {self.support}"


def most_confused(
    counts: Counts, class_names: Sequence[str], limit: int = MOST_NAMED
) -> list[Confusion]:
    """The most frequent mistakes, at most `limit`, in falling order of count, then of classes."""
    mistakes = [
        Confusion(true, predicted, count, sum(row))
        for k, (true, row) in enumerate(zip(class_names, counts, strict=True))
        for j, (predicted, count) in enumerate(zip(class_names, row, strict=True))
        if j != k and count
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.count)[:limit]


def absent_classes(counts: Counts, class_names: Sequence[str]) -> str:
    """Which classes have no image, in one line; empty where all have some."""
    absent = [name for name, row in zip(class_names, counts, strict=True) if not any(row)]
    if not absent:
        return ""
    return (
        f"No image of {', '.join(absent)}: macro recall is the mean over the other "
        f"{len(class_names) - len(absent)} classes"
    )


def read_confusion(artifacts: Path, split: str) -> tuple[list[list[int]], list[str]] | None:
    """Counts and class names as a run's artifacts have them of a split; None for anything else."""
    try:
        content = json.loads((artifacts / split / "confusion_matrix.json").read_bytes())
        names = [str(name) for name in content["labels"]]
        counts = [[int(count) for count in row] for row in content["counts"]]
    except (OSError, LookupError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    is_square = len(counts) == len(names) > 0 and all(len(row) == len(names) for row in counts)
    are_counts = all(0 <= count < 2**62 for row in counts for count in row)
    return (counts, names) if is_square and are_counts else None
