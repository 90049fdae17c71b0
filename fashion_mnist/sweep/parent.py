"""The run that stands for a whole sweep: its folder and its journal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.config.schema import Config
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.request import start_sender, wants_sender
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.runs.run_dir import locked
from fashion_mnist.sweep.results import REPLICATE_KEYS
from fashion_mnist.tracking.address import absolute_uri
from fashion_mnist.tracking.outbox import keep_back
from fashion_mnist.training.device import process_tags


@dataclass(frozen=True)
class Parent:
    """A sweep under way: its lock is held, its journal is open."""

    journal: EventLog

    @property
    def folder(self) -> Path:
        """EventLog, artifacts and, of a search, what it has learned."""
        return self.journal.run_dir

    def end(
        self,
        status: str,
        *,
        description: str,
        counts: Mapping[str, int],
        figures: Mapping[str, float],
        artifacts: Sequence[Path],
    ) -> None:
        """Say what came of the sweep so far. It can be begun again, and then goes on.

        Args:
            figures: of the best setting; MLflow shows those of the largest number of runs.
            artifacts: files below the journal's `artifacts`.
        """
        journal = self.journal
        tags = {f"sweep.{name}": str(count) for name, count in counts.items()}
        journal.tags({DESCRIPTION_TAG: description, **tags})
        journal.metrics(counts["finished"], figures)
        for path in artifacts:
            journal.artifact(path.relative_to(journal.artifacts).as_posix())
        journal.status(status)


def sweep_folder(output_dir: Path, identity: str) -> Path:
    """Where the sweep with this id is kept."""
    return output_dir / "sweeps" / identity


def view_key(folder: Path) -> str:
    """What MLflow's saved page of this sweep is found by."""
    return f"sweep-{folder.name}"


@contextmanager
def open_parent(
    folder: Path, config: Config, *, name: str, axes: Mapping[str, Sequence[str]]
) -> Iterator[Parent]:
    """Begin a sweep, or go on with it.

    Args:
        config: of one of its jobs: where they are recorded.
        axes: what is swept, and its values in words.

    Raises:
        RunError: another process is at it.
    """
    with locked(folder, "sweep"), EventLog(folder) as journal:
        tracking = config.tracking
        if tracking.uri is not None:
            keep_back(folder, is_wanted=tracking.offline == "always")
            journal.destination(absolute_uri(tracking.uri), tracking.experiment)
        tags = {"sweep": name, "sweep.axes": json.dumps(axes, ensure_ascii=False)}
        origin = process_tags()
        journal.start(name, {}, {**tags, **origin})
        journal.tags({**tags, **origin})
        parameters = list(_parameters(axes))
        # a repetition is no part of a setting: its lines would hide what the others say
        settings = [key for key in parameters if key not in REPLICATE_KEYS]
        journal.view(view_key(folder), f"Sweep: {name}", columns=parameters, axes=settings)
        journal.status("RUNNING")
        if wants_sender(config):
            start_sender(folder.parents[1])
        yield Parent(journal)


def _parameters(axes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The parameters that differ between the runs: a group's file is not one, its name may be."""
    for name in axes:
        for key in name.split(", "):
            if key == "model":  # whose files have no name in them
                yield from ("model.width", "model.depth")
            else:
                yield key if "." in key or key == "seed" else f"{key}.name"
