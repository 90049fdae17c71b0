"""How a sweep goes while it is trained: one live table on a terminal, a plain line now and then."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fashion_mnist.console import duration, lines_above_the_display, printable

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger("fashion_mnist")

SECONDS_BETWEEN_LINES = 5.0  # where there is no table
REFRESHES_PER_SECOND = 2  # of the table: drawing it takes some milliseconds from training
LONGEST_LABEL = 60  # letters


def _say_nothing(_line: str) -> None:
    pass


@dataclass
class _Running:
    """A stack that is under way."""

    label: str
    size: int
    num_epochs: int
    work: float
    first_epoch: int  # runs that go on are not at their beginning
    epochs_done: float = 0.0

    def work_done(self) -> float:
        """The part of its work that is done."""
        done, whole = self.epochs_done - self.first_epoch, self.num_epochs - self.first_epoch
        return self.work * max(done, 0.0) / whole if whole > 0 else 0.0

    def epoch_in_words(self) -> str:
        """The epoch under way."""
        return f"{min(int(self.epochs_done) + 1, self.num_epochs)} of {self.num_epochs}"


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
    _running: dict[int, _Running] = field(default_factory=dict)  # by the stack's number

    def begin_stack(
        self,
        number: int,
        label: str,
        num_runs: int,
        num_epochs: int,
        *,
        first_epoch: int = 0,
        seconds: float | None = None,
    ) -> None:
        """A stack of that many runs begins, or goes on after an epoch.

        Args:
            number: that no other stack under way has.
            seconds: what it was estimated to take.
        """
        now = self.clock()
        if self._started is None:
            self._started = self._spoken = now
        work: float = num_runs
        if self.estimated_seconds is not None:
            share = self.estimated_seconds * num_runs / (self.num_runs or num_runs)
            work = share if seconds is None else seconds
        self._running[number] = _Running(label, num_runs, num_epochs, work, first_epoch)

    def advance(self, number: int, epochs_done: float) -> None:
        """A stack is that far; called before each step, it costs next to nothing."""
        self._running[number].epochs_done = epochs_done
        if self.clock() - self._spoken >= SECONDS_BETWEEN_LINES:
            self._speak()

    def finish_run(self, label: str, status: str, score: float | None) -> None:
        """A run ended: FINISHED, FAILED, or KILLED where a search gave it up."""
        self.counts[status] = self.counts.get(status, 0) + 1
        if status == "FINISHED":
            self.compare(label, score)

    def compare(self, label: str, score: float | None) -> None:
        """Keep the score of a finished run if it is the best, whenever the run was trained."""
        if score is None:
            return
        if self.best is None or (score > self.best[0] if self.maximize else score < self.best[0]):
            self.best = score, label

    def end_stack(self, number: int) -> None:
        """The stack's runs ended."""
        self.stacks_done += 1
        self._work_done += self._running.pop(number).work
        self._speak()

    def drop_stack(self, number: int) -> None:
        """The stack's worker died: nothing of it is done, and it begins again elsewhere."""
        self._running.pop(number, None)

    def share(self) -> float | None:
        """What is done of all the work, in [0, 1]; None where nobody knows how much there is."""
        total = self.num_runs if self.estimated_seconds is None else self.estimated_seconds
        if not total:
            return None
        done = self._work_done + sum(stack.work_done() for stack in self._running.values())
        return min(done / total, 1.0)

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
            "epoch": ", ".join(stack.epoch_in_words() for stack in self._running.values()),
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

    def _stacks_in_words(self) -> str:
        of = "" if self.num_stacks is None else f" of {self.num_stacks}"
        sizes = " + ".join(str(stack.size) for stack in self._running.values())
        label = next((shorten(stack.label) for stack in self._running.values()), "")
        return f"{self.stacks_done}{of} done{f', now {sizes}: {label}' if sizes else ''}"

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
    """The label, `printable`; its beginning, if all of it is too long for a line."""
    label = printable(label)
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
