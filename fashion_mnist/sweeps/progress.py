"""How far a sweep is: a live display on a terminal, elsewhere a line now and then."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fashion_mnist.analysis.labels import lower_is_better, metric_text
from fashion_mnist.config.messages import duration, printable
from fashion_mnist.tracking.recorded import SCORE

if TYPE_CHECKING:
    from rich.console import Group

log = logging.getLogger("fashion_mnist")

SECONDS_BETWEEN_LINES = 5.0  # where there is no terminal
REFRESHES_PER_SECOND = 2  # of the display: drawing it takes some milliseconds from training
MAX_LABEL_LENGTH = 60
MAX_BARS = 16  # stacks under way that have a bar


@dataclass
class _StackProgress:
    """A stack that is under way."""

    label: str
    size: int
    num_epochs: int
    work: float
    first_epoch: int  # runs that go on are not at their beginning
    epochs_done: float = 0.0

    @property
    def share(self) -> float:
        """What is done of its work, in [0, 1]."""
        done, whole = self.epochs_done - self.first_epoch, self.num_epochs - self.first_epoch
        return min(max(done, 0.0) / whole, 1.0) if whole > 0 else 0.0

    @property
    def epoch_text(self) -> str:
        """The epoch under way."""
        return f"{min(int(self.epochs_done) + 1, self.num_epochs)} of {self.num_epochs}"


@dataclass
class Progress:
    """What is done of a sweep and what is left; silent unless `say` is given."""

    num_stacks: int | None = None  # None: not known beforehand, as in a search
    num_runs: int | None = None  # that are to be trained
    estimated_seconds: float | None = None  # of all that is to be trained
    num_workers: int = 1
    score: str = SCORE  # the metric by which the best run is known
    say: Callable[[str], None] = lambda _line: None
    clock: Callable[[], float] = time.monotonic
    counts: dict[str, int] = field(default_factory=dict)  # of runs that ended, by status
    best: tuple[float, str] | None = None  # score and label, also of runs of an earlier command
    trials: tuple[int, int] | None = None  # of a search: done, and in all
    stacks_done: int = 0
    _seconds_per_run: float | None = field(init=False)
    _workers_left: int = field(init=False)
    _started: float | None = None
    _spoken: float = 0.0
    _work_done: float = 0.0  # seconds as estimated where there is an estimate, else runs
    _stacks: dict[int, _StackProgress] = field(default_factory=dict)  # under way, by number

    def __post_init__(self) -> None:
        has_estimate = self.estimated_seconds is not None and self.num_runs
        self._seconds_per_run = (
            (self.estimated_seconds or 0.0) / (self.num_runs or 1) if has_estimate else None
        )
        self._workers_left = self.num_workers

    def begin_trials(self, done: int, total: int, runs_left: int) -> None:
        """The next trials of a search begin.

        Args:
            done: trials that have ended.
            total: trials of the whole search.
            runs_left: that are to be trained for these trials and all later ones.
        """
        self.trials = done, total
        self.num_runs = sum(self.counts.values()) + runs_left

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
            seconds: of the whole sweep's estimate that it is to take.
        """
        now = self.clock()
        if self._started is None:
            self._started = self._spoken = now
        work: float = num_runs
        if self._seconds_per_run is not None:
            work = self._seconds_per_run * num_runs if seconds is None else seconds
        self._stacks[number] = _StackProgress(label, num_runs, num_epochs, work, first_epoch)

    def advance(self, number: int, epochs_done: float) -> None:
        """A stack is that far; called before each step, it costs next to nothing."""
        self._stacks[number].epochs_done = epochs_done
        if self.clock() - self._spoken >= SECONDS_BETWEEN_LINES:
            self._speak()

    def finish_run(self, label: str, status: str, metrics: Mapping[str, float]) -> None:
        """A run ended: FINISHED, FAILED, or KILLED where it was pruned or stopped."""
        self.counts[status] = self.counts.get(status, 0) + 1
        self.compare(label, status, metrics)

    def compare(self, label: str, status: str, metrics: Mapping[str, float]) -> None:
        """Keep the score of a finished run if it is the best, whenever the run was trained."""
        score = metrics.get(self.score)
        if score is None or status != "FINISHED":
            return
        sign = -1 if lower_is_better(self.score) else 1
        if self.best is None or sign * score > sign * self.best[0]:
            self.best = score, label

    def end_stack(self, number: int) -> None:
        """The stack's runs ended."""
        self.stacks_done += 1
        self._work_done += self._stacks.pop(number).work
        self._speak()

    def drop_stack(self, number: int) -> None:
        """The stack's worker died: nothing of it is done, and one worker fewer is left."""
        self._stacks.pop(number, None)
        self._workers_left = max(1, self._workers_left - 1)

    def share(self) -> float | None:
        """What is done of all the work, in [0, 1]; None where its amount is not known."""
        if not self.num_runs:
            return None
        total = self.num_runs * (self._seconds_per_run or 1.0)
        done = self._work_done + sum(stack.work * stack.share for stack in self._under_way())
        return min(done / total, 1.0)

    def seconds_left(self) -> float | None:
        """How long it will take, from the estimate at first and more and more from what was.

        At least a second while a run is left; None where there is nothing to tell it from.
        """
        share = self.share()
        if share is None or self._started is None:
            return self.estimated_seconds
        assert self.num_runs is not None
        elapsed = self.clock() - self._started
        if self._seconds_per_run:
            estimate = self._seconds_per_run * self.num_runs
            left = (1 - share) * (estimate * (1 - share) + elapsed)
        elif share:
            left = elapsed * (1 - share) / share
        else:
            return None
        is_done = sum(self.counts.values()) >= self.num_runs and not self._stacks
        return 0.0 if is_done else max(1.0, left * self.num_workers / self._workers_left)

    def texts(self) -> dict[str, str]:
        """What the display says, a line each."""
        best, left = self.best, self.seconds_left()
        texts = {
            "stacks": self._stacks_text(),
            "runs": self._runs_text(),
            "trials": "{} of {} done".format(*self.trials) if self.trials else "",
            "epoch": ", ".join(stack.epoch_text for stack in self._under_way()),
            "best": f"{metric_text(self.score, best[0])}  {shorten(best[1])}" if best else "",
            "speed": self._speed_text(),
            "time left": "" if left is None else duration(left),
        }
        return {name: text for name, text in texts.items() if text}

    def render(self) -> "Group":
        """The live display: the texts, and a bar for each stack under way."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        texts, bars = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        for name, text in self.texts().items():
            if name != "epoch":  # each bar has its own
                # as text: rich would read square brackets as its markup
                texts.add_row(
                    Text(name, style="dim"), Text(text, no_wrap=True, overflow="ellipsis")
                )
        for stack in self._under_way()[:MAX_BARS]:
            label = Text(shorten(stack.label), no_wrap=True, overflow="ellipsis")
            bar = ProgressBar(total=1.0, completed=stack.share, width=20)
            bars.add_row(label, bar, Text(f"epoch {stack.epoch_text}", no_wrap=True))
        return Group(texts, bars)

    def _speak(self) -> None:
        self._spoken = self.clock()
        self.say("   ".join(f"{name} {text}" for name, text in self.texts().items()))

    def _under_way(self) -> list[_StackProgress]:
        """A copy: the live display is drawn by a thread of its own, while stacks begin and end."""
        return list(self._stacks.values())

    def _stacks_text(self) -> str:
        of = "" if self.num_stacks is None else f" of {self.num_stacks}"
        under_way = self._under_way()
        sizes = " + ".join(str(stack.size) for stack in under_way)
        label = shorten(under_way[0].label) if under_way else ""
        return f"{self.stacks_done}{of} done{f', now {sizes}: {label}' if sizes else ''}"

    def _runs_text(self) -> str:
        of = "" if self.num_runs is None else f" of {self.num_runs}"
        names = {"FAILED": "failed", "KILLED": "stopped early"}
        others = [f", {self.counts[s]} {name}" for s, name in names.items() if s in self.counts]
        return f"{self.counts.get('FINISHED', 0)}{of} finished{''.join(others)}"

    def _speed_text(self) -> str:
        # one that failed may have taken no time
        ended = sum(self.counts.values()) - self.counts.get("FAILED", 0)
        if self._started is None or not ended or (elapsed := self.clock() - self._started) <= 0:
            return ""
        return f"{60 * ended / elapsed:.1f} runs a minute"


@contextmanager
def show(progress: Progress) -> Iterator[None]:
    """Show the progress: on a terminal below the log's lines, elsewhere as lines of the log."""
    if not (sys.stdout.isatty() and log.isEnabledFor(logging.INFO)):
        progress.say = log.info
        yield
        return

    from rich.live import Live

    live = Live(
        get_renderable=progress.render, refresh_per_second=REFRESHES_PER_SECOND, transient=True
    )
    with live, lines_above_the_display():
        yield


@contextmanager
def lines_above_the_display() -> Iterator[None]:
    """Within, logging writes to the live display's standard output, above the display."""
    before = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before
    ]
    for handler in handlers:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(before)


def shorten(label: str) -> str:
    """The label, `printable`; its beginning, if all of it is too long for a line."""
    label = printable(label)
    return label if len(label) <= MAX_LABEL_LENGTH else f"{label[: MAX_LABEL_LENGTH - 1]}…"
