"""What the events of a log amount to: the one reducer, for every reader of a log."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from fashion_mnist.config.store_uri import absolute_uri, is_address
from fashion_mnist.runs.events import START, Event, Mark, read_events


@dataclass(frozen=True)
class Destination:
    """A store and an experiment where a run is to be recorded, and as what.

    `uri` is a store's address, of a database below the same folder as the run's directory from
    there; `parent` the id of the sweep's log under which the run is recorded, empty for none;
    `name` the run's name there, empty for the log's own; `run_dir` the run's directory.
    """

    uri: str
    experiment: str
    parent: str = ""
    name: str = field(default="", compare=False)
    run_dir: Path = field(default=Path(), compare=False)

    @classmethod
    def of(cls, content: Mapping[str, Any], run_dir: Path = Path()) -> Self:
        """As an event of this kind holds it."""
        relation = {key: str(content[key]) for key in ("parent", "name") if key in content}
        return cls(content["uri"], content["experiment"], **relation, run_dir=run_dir)

    @cached_property
    def address(self) -> str:
        """The store's absolute address. Raises ValueError for what cannot be one."""
        return absolute_uri(self.uri, self.run_dir)

    @cached_property
    def is_valid(self) -> bool:
        """Whether there can be such a store: a log of another program may hold anything."""
        try:
            return is_address(self.address)
        except (ValueError, OSError):
            return False

    @property
    def place(self) -> str:
        """Sixteen characters for the store and the experiment."""
        return _short_hash(self.address, self.experiment)

    @property
    def id(self) -> str:
        """Sixteen characters that name this destination in file names."""
        return _short_hash(self.uri, self.experiment, *([self.parent] if self.parent else []))


def _short_hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


@dataclass
class RunState:
    """What the events of a log amount to: the one reducer, for every reader of a log.

    The resuming run, the uploader and the commands that show a run read it. Applied to the events
    after a place alone it holds what is new since then.
    """

    mark: Mark = START  # after the last event
    run_dir: Path = field(default=Path(), compare=False)
    time_ms: int = 0  # of the last event
    id: str = ""  # 32 hexadecimal digits, made with the log: the run's id in every store
    created_ms: int = 0
    destinations: list[Destination] = field(default_factory=list)  # that can be stores
    name: str = ""
    started_ms: int = 0  # 0: the run has not begun
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    files: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: str = ""
    status_ms: int = 0

    @classmethod
    def read(cls, run_dir: Path, after: Mark = START, *, kinds: Collection[str] = ()) -> Self:
        """The state by the events after a place; `kinds` as in `read_events`."""
        state = cls(after, run_dir)
        state.read_on(kinds=kinds)
        return state

    def read_on(self, *, kinds: Collection[str]) -> None:
        """Takes in what the log holds beyond what was read."""
        for event in read_events(self.run_dir, self.mark, kinds=kinds):
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Takes in the next event."""
        content, self.mark = event.content, event.mark
        self.time_ms = event.time_ms or self.time_ms
        match event.kind:
            case "log":
                self.id, self.created_ms = content["id"], event.time_ms
            case "destination":
                destination = Destination.of(content, self.run_dir)
                if destination.is_valid:
                    self.destinations.append(destination)
            case "start":
                self.name, self.started_ms = content["name"], event.time_ms
                self.params |= content["params"]
                self.tags |= content["tags"]
            case "metrics":
                step = content["step"]
                for key, value in content["values"].items():
                    self.points[step, key] = (value, event.time_ms)
            case "tags":
                self.tags |= content["values"]
            case "dataset":
                self.datasets.append(content)
            case "artifact" | "model":
                self.files[event.kind, content["path"]] = content
            case "image":
                self.files["image", content["key"]] = content
            case "view":
                self.views[content["key"]] = content
            case "status":
                self.status, self.status_ms = content["status"], event.time_ms

    @property
    def has_model(self) -> bool:
        """Whether the network itself is among what is recorded."""
        return any(kind == "model" for kind, _ in self.files)

    def metrics(self) -> dict[str, float]:
        """The values of the finished run, which are at step 0."""
        return {key: value for (step, key), (value, _) in self.points.items() if step == 0}

    def history(self) -> list[dict[str, float]]:
        """What was measured, a row an epoch, with the keys `epoch` and `time`, in ms."""
        rows: dict[int, dict[str, float]] = {}
        for (step, key), (value, time_ms) in self.points.items():
            if step > 0:
                row = rows.setdefault(step, {"epoch": step, "time": time_ms})
                row[key] = value
        return [rows[step] for step in sorted(rows)]
