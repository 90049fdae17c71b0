"""What a job must know of the sweep that it belongs to; a file tells it, whatever launches it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fashion_mnist.analysis.labels import short_names
from fashion_mnist.config.compose import Composed
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.request import Request
from fashion_mnist.runs.run_dir import RunError

CONTEXT_FILE = "sweep.json"  # in Hydra's folder of the sweep


@dataclass(frozen=True)
class SweepContext:
    """The sweep of a job."""

    parent: str  # the id of its event log
    axes: tuple[str, ...]  # the keys that may differ between the jobs
    retry_failed: bool

    def request(self, job: Composed) -> Request:
        """The job's run, as one of the sweep."""
        return Request(
            job.config,
            job.overrides,
            job.choices,
            name=child_name(job.overrides, self.axes) or None,
            parent=self.parent,
            retry_failed=self.retry_failed,
            auto=False,
        )


def child_name(overrides: Sequence[str], axes: Sequence[str]) -> str:
    """What differs between the runs of a sweep: `width=512 lr=0.003 seed=1`."""
    names = short_names(axes)
    pairs = [override.lstrip("+").partition("=") for override in overrides]
    values = {key: value for key, _, value in pairs if key in names}  # the last of a key counts
    return " ".join(f"{names[key]}={value}" for key, value in values.items())


def write_context(sweep_dir: Path, context: SweepContext) -> None:
    """Leave word for the jobs whose folders are made in `sweep_dir`."""
    with replacing(sweep_dir / CONTEXT_FILE) as path:
        path.write_text(json.dumps(asdict(context)), encoding="utf-8")


def read_context(sweep_dir: Path) -> SweepContext | None:
    """What `write_context` left; None where no sweep of ours is under way.

    Raises:
        RunError: the file is damaged.
    """
    path = sweep_dir / CONTEXT_FILE
    try:
        content = json.loads(path.read_bytes())
        axes = tuple(str(axis) for axis in content["axes"])
        return SweepContext(str(content["parent"]), axes, bool(content["retry_failed"]))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is damaged: start the sweep again") from error
