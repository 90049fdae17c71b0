"""How a sweep goes while it is trained: one live table on a terminal, a plain line now and then."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fashion_mnist.console import duration, lines_above_the_display
from fashion_mnist.stack import HistoryRow, Stack

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger("fashion_mnist")

SECONDS_BETWEEN_LINES = 5.0  # where there is no table
REFRESHES_PER_SECOND = 2  # of the table: drawing it takes some milliseconds from training
LONGEST_LABEL = 60  # letters


def _say_nothing(_line: str) -> None:
    pass


@dataclass
class Progress:
    """What is done of a sweep and what is left; silent unless it is given a place to speak."""

    num_stacks: int | None = None  # None: not known beforehand, as in a search
    num_runs: int | None = None
    estimated_seconds: float | None = None  # of all that is to be trained
    maximize: bool = True  # whether the highest score is the best
    say: Callable[[str], None] = _say_nothing
    clock: Callable[[], float] = time.monotonic
    counts: dict[str, int] = field(default_factory=dict)  # of runs that ended, by status
    best: tuple[float, str] | None = None  # score and label
    stacks_done: int = 0
    _started: float | None = None
    _spoken: float = 0.0
    _work_done: float = 0.0  # seconds as estimated where there is an estimate, else runs
    # of the stack that is under way
    _label: str = ""
    _size: int = 0
    _work: float = 0.0
    _num_epochs: int = 0
    _first_epoch: int | None = None
    _epochs_done: float = 0.0

    def begin_stack(
        self, label: str, num_runs: int, num_epochs: int, seconds: float | None = None
    ) -> None:
        """A stack of that many runs begins; seconds: what it was estimated to take."""
        now = self.clock()
        if self._started is None:
            self._started = self._spoken = now
        self._label, self._size, self._num_epochs = label, num_runs, num_epochs
        self._first_epoch, self._epochs_done = None, 0.0
        if self.estimated_seconds is None:
            self._work = num_runs
        elif seconds is not None:
            self._work = seconds
        else:
            self._work = self.estimated_seconds * num_runs / (self.num_runs or num_runs)

    def on_step(self, stack: Stack, step: int) -> None:
        """Called before each step with its number from 0: it costs next to nothing."""
        if self._first_epoch is None:
            self._first_epoch = stack.epoch
        self._epochs_done = stack.epoch + step / stack.batches.num_steps
        if self.clock() - self._spoken >= SECONDS_BETWEEN_LINES:
            self._speak()

    def on_epoch(self, stack: Stack, rows: Sequence[HistoryRow]) -> None:
        """Called after each epoch with the rows of the members that are trained still."""
        self._epochs_done = float(stack.epoch)

    def finish_run(self, label: str, status: str, score: float | None) -> None:
        """A run ended: FINISHED, FAILED, or KILLED where a search gave it up."""
        self.counts[status] = self.counts.get(status, 0) + 1
        if status != "FINISHED" or score is None:
            return
        if self.best is None or (score > self.best[0] if self.maximize else score < self.best[0]):
            self.best = score, label

    def end_stack(self) -> None:
        """The stack's runs ended."""
        self.stacks_done += 1
        self._work_done += self._work
        self._work, self._label, self._size, self._num_epochs = 0.0, "", 0, 0
        self._speak()

    def share(self) -> float | None:
        """What is done of all the work, in [0, 1]; None where nobody knows how much there is."""
        total = self.num_runs if self.estimated_seconds is None else self.estimated_seconds
        if not total:
            return None
        return min((self._work_done + self._work * self._share_of_stack()) / total, 1.0)

    def seconds_left(self) -> float | None:
        """How long it will take, from the estimate at first and more and more from what was."""
        share = self.share()
        if share is None or self._started is None:
            return self.estimated_seconds
        elapsed = self.clock() - self._started
        if self.estimated_seconds is not None:
            return (1 - share) * (self.estimated_seconds * (1 - share) + elapsed)
        return elapsed * (1 - share) / share if share else None

    def figures(self) -> dict[str, str]:
        """What the table says, a line each."""
        figures = {
            "stacks": self._stacks_in_words(),
            "runs": self._runs_in_words(),
            "epoch": f"{min(int(self._epochs_done) + 1, self._num_epochs)} of {self._num_epochs}"
            if self._num_epochs
            else "",
            "best so far": f"{self.best[0]:.4f}  {shorten(self.best[1])}" if self.best else "",
            "speed": self._speed_in_words(),
            "time left": "" if (left := self.seconds_left()) is None else duration(left),
        }
        return {name: words for name, words in figures.items() if words}

    def line(self) -> str:
        """The same in one line."""
        figures = self.figures()
        forms = {
            "stacks": "stacks {}",
            "runs": "runs {}",
            "epoch": "epoch {}",
            "best so far": "best {}",
            "speed": "{}",
            "time left": "{} left",
        }
        return "   ".join(form.format(figures[k]) for k, form in forms.items() if k in figures)

    def _speak(self) -> None:
        self._spoken = self.clock()
        self.say(self.line())

    def _share_of_stack(self) -> float:
        first = self._first_epoch or 0  # runs that go on are not at their beginning
        if self._first_epoch is None or self._num_epochs <= first:
            return 0.0
        return max(self._epochs_done - first, 0.0) / (self._num_epochs - first)

    def _stacks_in_words(self) -> str:
        of = "" if self.num_stacks is None else f" of {self.num_stacks}"
        now = f", now {self._size}: {shorten(self._label)}" if self._size else ""
        return f"{self.stacks_done}{of} done{now}"

    def _runs_in_words(self) -> str:
        of = "" if self.num_runs is None else f" of {self.num_runs}"
        names = {"FAILED": "failed", "KILLED": "pruned"}
        others = [f", {self.counts[s]} {name}" for s, name in names.items() if s in self.counts]
        return f"{self.counts.get('FINISHED', 0)}{of} finished{''.join(others)}"

    def _speed_in_words(self) -> str:
        ended = sum(self.counts.values())
        if self._started is None or not ended or (elapsed := self.clock() - self._started) <= 0:
            return ""
        return f"{60 * ended / elapsed:.1f} runs a minute"


@contextmanager
def watch(
    *,
    num_stacks: int | None = None,
    num_runs: int | None = None,
    estimated_seconds: float | None = None,
    maximize: bool = True,
) -> Iterator[Progress]:
    """Watch a sweep; on a terminal with a table below the log's lines, elsewhere with plain lines.

    Args:
        num_stacks: all that will be trained; None where that is not known.
        num_runs: the same of runs.
        estimated_seconds: of all the training.
        maximize: whether the highest score is the best.
    """
    progress = Progress(num_stacks, num_runs, estimated_seconds, maximize)
    if not (sys.stdout.isatty() and log.isEnabledFor(logging.INFO)):
        progress.say = log.info
        yield progress
        return

    from rich.live import Live

    with (
        Live(
            get_renderable=lambda: table(progress),
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        ),
        lines_above_the_display(),
    ):
        yield progress


def table(progress: Progress) -> "Table":
    """The live table."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, words in progress.figures().items():
        # as text: rich would read square brackets as its markup
        grid.add_row(Text(name, style="dim"), Text(words, no_wrap=True, overflow="ellipsis"))
    return grid


def shorten(label: str) -> str:
    """The label's beginning, if all of it is too long for a line."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
