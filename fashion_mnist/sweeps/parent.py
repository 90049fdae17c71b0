"""The run that stands for a whole sweep: its folder and its event log."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.analysis.labels import REPLICATE_KEYS
from fashion_mnist.config.schema import Config
from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.runs.event_log import EventLog, set_offline
from fashion_mnist.runs.request import wants_uploader
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.runs.run_dir import locked
from fashion_mnist.tracking.recorded import OBJECTIVE_TAG, SCORE, SWEEP_TAG
from fashion_mnist.tracking.upload_state import begin_uploading
from fashion_mnist.training.device import process_tags


@dataclass(frozen=True)
class Parent:
    """A sweep under way: its lock is held, its event log is open."""

    event_log: EventLog

    @property
    def folder(self) -> Path:
        """EventLog, artifacts and, of a search, what it has learned."""
        return self.event_log.run_dir

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
            artifacts: files below the event log's `artifacts`.
        """
        event_log = self.event_log
        tags = {f"sweep.{name}": str(count) for name, count in counts.items()}
        event_log.tags({DESCRIPTION_TAG: description, **tags})
        event_log.metrics(counts["finished"], figures)
        for path in artifacts:
            event_log.artifact(path.relative_to(event_log.artifacts).as_posix())
        event_log.status(status)


def sweep_folder(output_dir: Path, identity: str) -> Path:
    """Where the sweep with this id is kept."""
    return output_dir / "sweeps" / identity


def view_key(folder: Path) -> str:
    """What MLflow's saved page of this sweep is found by."""
    return f"sweep-{folder.name}"


@contextmanager
def open_parent(
    folder: Path,
    config: Config,
    *,
    name: str,
    axes: Mapping[str, Sequence[str]],
    objective: str = SCORE,
) -> Iterator[Parent]:
    """Begin a sweep, or go on with it.

    Args:
        config: of one of its jobs: where they are recorded.
        axes: what is swept, and its values in words.
        objective: the metric that settings are ranked by.

    Raises:
        RunError: another process is at it.
    """
    with locked(folder, "sweep"), EventLog(folder) as event_log:
        tracking = config.tracking
        if tracking.uri is not None:
            set_offline(folder, is_offline=tracking.offline == "always")
            event_log.destination(absolute_uri(tracking.uri), tracking.experiment)
        said = json.dumps(axes, ensure_ascii=False)
        tags = {"sweep": name, SWEEP_TAG: said, OBJECTIVE_TAG: objective}
        origin = process_tags()
        event_log.start(name, {}, {**tags, **origin})
        event_log.tags({**tags, **origin})
        parameters = list(_parameters(axes))
        # a repetition is no part of a setting: its lines would hide what the others say
        settings = [key for key in parameters if key not in REPLICATE_KEYS]
        event_log.view(view_key(folder), f"Sweep: {name}", columns=parameters, axes=settings)
        event_log.status("RUNNING")
        if wants_uploader(config):
            begin_uploading(folder.parents[1])
        yield Parent(event_log)


def _parameters(axes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The parameters that differ between the runs: a group's file is not one, its name may be."""
    for name in axes:
        for key in name.split(", "):
            if key == "model":  # whose files have no name in them
                yield from ("model.width", "model.depth")
            else:
                yield key if "." in key or key == "seed" else f"{key}.name"
