"""A run's folder: what is known of a run on this disk."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.checkpoint import (
    CheckpointError,
    FormatError,
    Model,
    load_model,
    previous,
    saved_epoch,
)
from fashion_mnist.entries import Entry, read_entries
from fashion_mnist.stack import HistoryRow


@dataclass(frozen=True)
class RunFolder:
    """Reads a run's journal, checkpoint and network."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The newest state; gone once the run is finished."""
        return self.path / "checkpoint.safetensors"

    def checkpoints(self) -> list[Path]:
        """The states that are there, the newest first."""
        paths = (self.checkpoint, previous(self.checkpoint))
        return [path for path in paths if path.exists()]

    def remove_checkpoints(self) -> None:
        """Free the room of the states: the run has ended. Raises OSError."""
        for path in self.checkpoints():
            path.unlink()

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.path / "model.safetensors"

    @property
    def artifacts(self) -> Path:
        """The run's files as MLflow shows them."""
        return self.path / "artifacts"

    def status(self) -> str:
        """The last status that was said: FINISHED, FAILED …; empty where nothing ever was."""
        said = [str(entry.content["status"]) for entry in self._entries("status")]
        return said[-1] if said else ""

    def name(self) -> str:
        """The run's name."""
        return next((str(entry.content["name"]) for entry in self._entries("start")), "")

    def tags(self) -> dict[str, str]:
        """The run's tags as they stand."""
        tags: dict[str, str] = {}
        for entry in self._entries("start", "tags"):
            tags |= entry.content["tags" if entry.kind == "start" else "values"]
        return tags

    def figures(self) -> dict[str, float]:
        """The figures of the finished run, which were said once, at step 0."""
        figures: dict[str, float] = {}
        for entry in self._entries("metrics"):
            if entry.content["step"] == 0:
                figures |= entry.content["values"]
        return figures

    def epoch(self) -> int:
        """The epoch of the newest whole state; 0 to begin. Raises FormatError."""
        for path in self.checkpoints():
            try:
                return saved_epoch(path)
            except FormatError:
                raise
            except CheckpointError:
                continue  # the run goes back to the one before
        return 0

    def history(self) -> list[HistoryRow]:
        """What was measured, a row an epoch, as in `MemberState`."""
        rows: dict[int, HistoryRow] = {}
        for entry in self._entries("metrics"):
            step = entry.content["step"]
            if step > 0:
                rows.setdefault(step, {"epoch": step}).update(entry.content["values"])
        return [rows[step] for step in sorted(rows)]

    def has_recorded_model(self) -> bool:
        """Whether the network itself is among what is recorded."""
        return any(True for _ in self._entries("model"))

    def load_model(self) -> Model:
        """The trained network. Raises CheckpointError where the file is damaged."""
        return load_model(self.model)

    def _entries(self, *kinds: str) -> Iterable[Entry]:
        return read_entries(self.path, kinds=kinds)
