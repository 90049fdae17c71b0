"""A run's directory: its state on this disk, its lock, and what an earlier process left in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fashion_mnist.config.messages import RunError
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.files import run_lock, set_aside
from fashion_mnist.runs.run_state import RunState
from fashion_mnist.training.checkpoint import (
    CheckpointError,
    FormatError,
    Model,
    load_model,
    load_state,
    previous,
    saved_epoch,
)
from fashion_mnist.training.stack import HistoryRow, TrainingState

PATIENCE_SECONDS = 3  # with an uploader that looks, or a dead sweep's worker, about to end
RECOVERY_TAG = "recovery"
log = logging.getLogger("fashion_mnist")


@dataclass(frozen=True)
class RunDir:
    """Reads a run's event log, checkpoint and network."""

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

    def state(self) -> RunState:
        """All that the event log holds."""
        return RunState.read(self.path)

    # Of thousands of runs one thing each: without the lines of their epochs, which are most.

    def status(self) -> str:
        """The last status: FINISHED, FAILED …; empty where there is none."""
        return RunState.read(self.path, kinds=("status",)).status

    def name(self) -> str:
        """The run's name."""
        return RunState.read(self.path, kinds=("start",)).name

    def tags(self) -> dict[str, str]:
        """The run's tags as they stand."""
        return RunState.read(self.path, kinds=("start", "tags")).tags

    def metrics(self) -> dict[str, float]:
        """The metrics of the finished run, which are recorded once, at step 0."""
        return self.state().metrics()

    def history(self) -> list[HistoryRow]:
        """What was measured, a row an epoch, as in `TrainingState`."""
        return self.state().history()

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

    def has_recorded_model(self) -> bool:
        """Whether the network itself is among what is recorded."""
        return RunState.read(self.path, kinds=("model",)).has_model

    def load_model(self) -> Model:
        """The trained network. Raises CheckpointError where the file is damaged."""
        return load_model(self.model)


@contextmanager
def locked(path: Path, what: str, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock of a run's or a sweep's directory, which is made where it is not there.

    Args:
        what: the directory is of: run or sweep.
        patience_seconds: with another process that has it.

    Raises:
        RunError: another process has it.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = run_lock(path)
    if not lock.acquire(patience_seconds):
        place = ", ".join(filter(None, [lock.holder_in_words(), f"in {path}"]))
        raise RunError(f"this {what} is being trained by another process ({place})")
    try:
        yield
    finally:
        lock.release()


def recover(run_dir: RunDir, event_log: EventLog) -> TrainingState | None:
    """The state to go on from; None to begin.

    What is damaged is set aside, and the user and the run's record are told. What the event log
    lost of the history is recorded again.

    Raises:
        RunError: a checkpoint that another program wrote.
        OSError: nothing can be written.
    """
    state, damages = None, []
    for path in run_dir.checkpoints():
        try:
            state = load_state(path)
            break
        except FormatError as error:
            advice = "go on with that program, or move the file away to begin again"
            raise RunError(f"{error}: {advice}") from error
        except CheckpointError as error:
            damages.append(f"{error} (kept as {set_aside(path).name})")
    if damages:
        place = f"epoch {state.epoch}" if state else "its beginning"
        words = f"{'; '.join(damages)}; the run goes back to {place}"
        log.warning(words)
        event_log.tags({RECOVERY_TAG: words})
    elif state is None and event_log.state.history():
        log.info("there is no checkpoint of this run: it begins again")
    for row in state.history if state else ():
        values = {key: value for key, value in row.items() if key not in ("epoch", "time")}
        event_log.metrics(int(row["epoch"]), values, int(row["time"]))
    return state


def load_network(run_dir: RunDir) -> Model:
    """What a finished run has become. Raises RunError where the file is damaged or gone."""
    try:
        return run_dir.load_model()
    except (CheckpointError, FileNotFoundError) as error:
        raise RunError(f"{error}; rerun=true trains the run again") from error
