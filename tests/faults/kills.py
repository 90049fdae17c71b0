"""Commands that are killed at random moments, and started again until they end by themselves.

Afterwards everything must be as if no process had been killed: `assert_undisturbed`.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil
import yaml
from mlflow import MlflowClient

from fashion_mnist.config.compose import check
from fashion_mnist.maintenance.clean import PART, clean
from fashion_mnist.runs.request import Request, load_data
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.trainer import train
from fashion_mnist.tracking.upload_state import uploads
from tests.builders import QUIET
from tests.faults.processes import Child, kill_uploaders, wait_for
from tests.faults.records import assert_recorded_once

# kills a process, and says whether there was one
Victim = Callable[[Child, Path, random.Random], bool]


def trainer(child: Child, _output_dir: Path, _random: random.Random) -> bool:
    """The process that was started; its workers are orphans."""
    return child.kill()


def whole_group(child: Child, _output_dir: Path, _random: random.Random) -> bool:
    """The process with its workers."""
    return child.kill(to_group=True)


def trainer_and_uploader(child: Child, output_dir: Path, _random: random.Random) -> bool:
    """Both, as when a container is ended."""
    child.kill()
    return kill_uploaders(output_dir) > 0


def uploader(_child: Child, output_dir: Path, _random: random.Random) -> bool:
    """The uploader alone."""
    return kill_uploaders(output_dir) > 0


def worker(child: Child, output_dir: Path, random: random.Random) -> bool:
    """One of the processes that train a sweep's stacks, when they are at it."""
    wait_for(lambda: workers(child, output_dir) or child.poll() is not None, "a worker")
    child.wait_until(child.age() + random.uniform(0, 0.5))
    living = workers(child, output_dir)
    if not living:
        return False
    victim = random.choice(living)
    victim.kill()
    psutil.wait_procs([victim])
    return True


def workers(child: Child, output_dir: Path) -> list[psutil.Process]:
    """The processes of a sweep that train something, by number."""
    pids = {
        run.tags().get("mlflow.fmnist.pid")
        for run in runs_in(output_dir)
        if run.status() == "RUNNING"
    }
    living = [each for each in child.session() if str(each.pid) in pids - {str(child.pid)}]
    return sorted(living, key=lambda process: process.pid)


@dataclass(frozen=True)
class Kill:
    """A process that was killed."""

    victim: str
    seconds: float  # after the start of the command
    phase: str  # that the command was in, by what is on the disk


@dataclass
class KilledCommands:
    """Starts commands in one folder, and kills each at a moment of its life, drawn uniformly."""

    folder: Path
    words: Sequence[str]  # of all its commands
    starter: Callable[[Sequence[str], Path], Child]
    random: random.Random
    kills: list[Kill] = field(default_factory=list)
    life_seconds: float = 8.0  # of a command, until one that was left alone has shown it

    @property
    def output_dir(self) -> Path:
        """Where its runs are."""
        return self.folder / "outputs"

    def start(self, *words: str) -> Child:
        """A command."""
        return self.starter([*self.words, *words], self.folder)

    def kill_and_restart(self, plan: Sequence[Victim], *words: str, first_seed: int) -> None:
        """Kill as planned: one command until it ends in spite of it, then one with the next seed.

        Raises:
            AssertionError: a command did not end well.
        """
        left = list(plan)
        for seed in count(first_seed):
            if not left:
                return
            child = self._restart(left, [*words, f"seed={seed}"])
            assert child.wait() == 0, child.text()
            assert "Traceback" not in child.text(), child.text()
            child.wait_for_session()

    def _restart(self, left: list[Victim], words: Sequence[str]) -> Child:
        """Start a command until it ends without being killed; that process."""
        is_whole = True  # and does not go on with what an earlier one began
        while True:
            child = self.start(*words)
            if left:
                child.wait_until(self.random.uniform(0, self.life_seconds))
                is_whole = not self._kill(child, left) and is_whole
            if child.wait() >= 0:
                if is_whole:
                    self.life_seconds = child.age()
                return child

    def _kill(self, child: Child, left: list[Victim]) -> bool:
        """Kill the next process of the list and remove it; False if it is not there any more."""
        victim, seconds, before = left[0], child.age(), phase(self.output_dir, child)
        if child.poll() is not None or not victim(child, self.output_dir, self.random):
            return False
        self.kills.append(Kill(left.pop(0).__name__, seconds, before))
        return True

    def check(self) -> None:
        """Nothing is lost, nothing is there twice: raises AssertionError."""
        wait_until_sent(self.output_dir)
        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        assert_undisturbed(self.output_dir, self.folder / "reference", uri)


def runs_in(output_dir: Path, kind: str = "runs") -> list[RunDir]:
    """The runs, or the sweeps, of an output folder."""
    return [RunDir(path) for path in sorted((output_dir / kind).glob("*"))]


def phase(output_dir: Path, child: Child) -> str:
    """Where a command stands, by the run or the sweep that it said something of last."""
    everything = [*runs_in(output_dir), *runs_in(output_dir, "sweeps")]
    event_logs = {run: run.path / "events.jsonl" for run in everything}
    changed = {run: path.stat().st_mtime for run, path in event_logs.items() if path.exists()}
    last = max(changed, key=lambda run: changed[run], default=None)
    if last is None or changed[last] < time.time() - child.age():
        return "start"
    if last.status() in ("FINISHED", "FAILED"):
        return "end" if all(known.is_complete for known in uploads(last.path)) else "publishing"
    if list(last.path.glob(".*.part*")):
        return "writing a file"
    if last.model.exists():
        return "finishing"
    return "training" if last.checkpoints() else "first epoch"


def assert_undisturbed(output_dir: Path, reference_dir: Path, uri: str) -> None:
    """Weights and figures are those of the same runs trained here, and the store has all once.

    Args:
        reference_dir: for these runs.
        uri: of the store, an sqlite database.
    """
    runs = runs_in(output_dir)
    train_again(runs, reference_dir)
    for run in runs:
        reference = RunDir(reference_dir / "runs" / run.path.name)
        assert run.status() == reference.status() == "FINISHED", run.path
        assert run.tags()["weights_sha256"] == reference.tags()["weights_sha256"], run.path
        assert _rows(run) == _rows(reference), run.path
        figures, expected = run.metrics(), reference.metrics()
        assert "final/val_accuracy" in figures, run.path
        assert figures == {key: expected[key] for key in figures}, run.path
        assert not run.checkpoints(), run.path
    assert_recorded_once(uri, output_dir)
    _assert_sound(uri, len(runs) + len(runs_in(output_dir, "sweeps")))
    kinds = {left.kind for left in clean(output_dir, unfinished=False, delete=True)}
    assert kinds <= {PART}
    assert not list(output_dir.rglob("*.part*"))


# what the same run has of its own where it is trained again
NOT_REPEATED = ("tracking.uri=", "output_dir=", "training.threads=")


def train_again(runs: Iterable[RunDir], output_dir: Path) -> None:
    """Train the same in this process, undisturbed, and record it in no store."""
    requests = []
    for run in runs:
        overrides = yaml.safe_load((run.artifacts / "config/overrides.yaml").read_text())
        own = [word for word in overrides if not word.startswith(NOT_REPEATED)]
        own += ["tracking.uri=null", f"output_dir={output_dir}", "rerun=false"]
        threads = f"training.threads={run.tags()['threads']}"
        requests.append(Request(check([*own, threads, "training.checkpoint_seconds=1000"])))
    dataset = load_data(requests[0].config)
    for request in requests:
        train([request], dataset, QUIET)


def _rows(run: RunDir) -> list[dict[str, float]]:
    """The history, but for how fast it was."""
    return [
        {key: value for key, value in row.items() if key not in ("images_per_second", "time")}
        for row in run.history()
    ]


def _assert_sound(uri: str, num_runs: int) -> None:
    """The database is whole, and holds these runs alone."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    client = MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert len(client.search_runs(experiments)) == num_runs


def wait_until_sent(output_dir: Path) -> None:
    """Wait until the store has all events."""
    folders = [run.path for kind in ("runs", "sweeps") for run in runs_in(output_dir, kind)]
    wait_for(
        lambda: all(known.is_complete for folder in folders for known in uploads(folder)),
        "everything in the store",
    )
