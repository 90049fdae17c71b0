"""What came of each job of a sweep, as plain values: what tables, pictures and searches read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.training.stack import HistoryRow

REPLICATE_KEYS = ("seed", "data.fold")  # they repeat a setting; they are none themselves


@dataclass(frozen=True)
class JobResult:
    """One job of a sweep and the run that it stands for."""

    number: int  # of the job, from 0
    values: Mapping[str, str]  # each axis of this job and its value, replicate axes included
    status: str  # FINISHED, FAILED, KILLED (stopped or pruned); empty: never begun
    failure: str  # why it has no result, in one line; empty where it has
    pruned_at: int | None  # the epoch after which a search gave it up
    figures: Mapping[str, float]  # final/…, test/… and parameters
    history: Sequence[HistoryRow]  # a row an epoch
    folder: Path  # of the run: artifacts/, events.jsonl
    command: str  # that trains it alone

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The values without those of the replicate axes: equal for runs of one setting."""
        return tuple((k, v) for k, v in self.values.items() if k not in REPLICATE_KEYS)

    @property
    def replicate(self) -> tuple[str, str]:
        """Its seed and fold; empty where they are no axes."""
        seed, fold = (self.values.get(key, "") for key in REPLICATE_KEYS)
        return seed, fold
