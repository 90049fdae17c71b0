"""How far a sweep is: what is counted, what is left, and how it is shown."""

import io
import logging
import sys
import time

import pytest
from rich.console import Console

from fashion_mnist.sweeps.progress import MAX_BARS, SECONDS_BETWEEN_LINES, Progress, show

SCORE = "final/val_accuracy"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rendered(progress: Progress) -> str:
    """The live display as text."""
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get()


def test_counts_runs_stacks_and_the_best() -> None:
    """Finished, failed and pruned apart; the best is the highest score of a finished run."""
    clock = Clock()
    progress = Progress(num_stacks=3, num_runs=7, clock=clock)
    progress.begin_stack(0, "lr=0.1, lr=0.3", 4, 5)
    assert progress.texts()["stacks"] == "0 of 3 done, now 4: lr=0.1, lr=0.3"
    assert progress.texts()["epoch"] == "1 of 5"
    progress.advance(0, 2.5)
    assert progress.texts()["epoch"] == "3 of 5"
    clock.now += 30
    progress.finish_run("lr=0.1", "FINISHED", {SCORE: 0.8})
    progress.finish_run("lr=0.3", "FINISHED", {SCORE: 0.85})
    progress.finish_run("lr=9", "FAILED", {})
    progress.finish_run("lr=0.01", "KILLED", {SCORE: 0.9})
    progress.end_stack(0)
    texts = progress.texts()
    assert texts["stacks"] == "1 of 3 done"
    assert texts["runs"] == "2 of 7 finished, 1 failed, 1 stopped early"
    assert texts["best"] == "0.8500  lr=0.3"
    assert texts["speed"] == "6.0 runs a minute"


def test_the_best_size_is_a_whole_number() -> None:
    """Where a sweep ranks by parameters, the fewest are the best."""
    progress = Progress(score="parameters")
    for number in (25_450, 12_730):
        progress.finish_run(f"of {number}", "FINISHED", {"parameters": number})
    assert progress.texts()["best"] == "12,730  of 12730"


def test_each_stack_under_way_has_its_epoch_and_its_share() -> None:
    """Half of one and a quarter of the other are three eighths of both."""
    progress = Progress(num_stacks=2, num_runs=8)
    progress.begin_stack(0, "a", 4, 2)
    progress.begin_stack(1, "b", 4, 4)
    progress.advance(0, 1)
    progress.advance(1, 1)
    texts = progress.texts()
    assert texts["stacks"] == "0 of 2 done, now 4 + 4: a"
    assert texts["epoch"] == "2 of 2, 2 of 4"
    assert progress.share() == 0.375
    progress.end_stack(0)
    assert progress.texts()["stacks"] == "1 of 2 done, now 4: b"


def test_the_display_says_what_each_worker_trains() -> None:
    """A line for each stack under way, up to a limit; labels are text, and no markup."""
    progress = Progress(num_stacks=40, num_runs=40)
    for number in range(40):
        progress.begin_stack(number, f"seed={number}[/]", 1, 5)
    progress.advance(1, 3)
    lines = rendered(progress).splitlines()
    [own] = [line for line in lines if line.startswith("seed=1[/]")]
    assert "epoch 4 of 5" in own
    assert sum("epoch" in line for line in lines) == MAX_BARS
    assert any(line.startswith("runs") and "0 of 40 finished" in line for line in lines)


def test_a_stack_whose_worker_died_is_not_shown() -> None:
    """Nothing of it counts as done: it is trained again, by one worker fewer."""
    clock = Clock()
    progress = Progress(num_stacks=2, num_runs=2, estimated_seconds=100, num_workers=2, clock=clock)
    progress.begin_stack(0, "a", 1, 4)
    progress.begin_stack(1, "b", 1, 4)
    clock.now += 50
    progress.advance(0, 2)
    progress.advance(1, 2)
    assert progress.share() == 0.5
    assert progress.seconds_left() == 50  # 0.5 · (0.5 · 100 + 50)
    progress.drop_stack(0)
    assert progress.texts()["stacks"] == "0 of 2 done, now 1: b"
    assert progress.share() == 0.25
    assert progress.seconds_left() == 187.5  # 0.75 · (0.75 · 100 + 50), by half of the workers


def test_the_best_so_far_knows_runs_that_were_trained_before() -> None:
    """They are not counted as runs of this command."""
    progress = Progress()
    progress.compare("old", "FINISHED", {SCORE: 0.9})
    progress.compare("without a score", "FINISHED", {})
    progress.compare("pruned", "KILLED", {SCORE: 1.0})
    progress.finish_run("new", "FINISHED", {SCORE: 0.8})
    assert progress.best == (0.9, "old")
    assert progress.counts == {"FINISHED": 1}


def test_the_best_loss_is_the_lowest() -> None:
    """Where the score is to be minimised."""
    progress = Progress(score="final/val_loss")
    for label, score in (("a", 0.5), ("b", 0.3), ("c", 0.4)):
        progress.finish_run(label, "FINISHED", {"final/val_loss": score})
    assert progress.best == (0.3, "b")


def test_time_left_follows_the_estimate_and_then_the_facts() -> None:
    """At first what was estimated; at the half, of 100 s in 100 s, 0.5 · (50 + 100); then none."""
    clock = Clock()
    progress = Progress(num_stacks=2, num_runs=4, estimated_seconds=100, clock=clock)
    assert progress.seconds_left() == 100
    progress.begin_stack(0, "a", 2, 4)
    progress.advance(0, 0)
    clock.now += 100
    progress.advance(0, 4)
    assert progress.share() == 0.5
    assert progress.seconds_left() == 75
    for label in ("a", "b"):
        progress.finish_run(label, "FINISHED", {})
    progress.end_stack(0)
    assert progress.share() == 0.5
    progress.begin_stack(0, "b", 2, 4)
    progress.advance(0, 4)
    assert progress.seconds_left() == 1  # they are evaluated and recorded yet
    for label in ("c", "d"):
        progress.finish_run(label, "FINISHED", {})
    progress.end_stack(0)
    assert progress.seconds_left() == 0


def test_time_left_is_that_of_all_trials() -> None:
    """Also where the first ones took as long as was estimated for all, or a trial was repeated."""
    clock = Clock()
    progress = Progress(num_runs=4, estimated_seconds=40, clock=clock)
    progress.begin_trials(0, 4, 4)
    progress.begin_stack(0, "a, b", 2, 4)
    clock.now += 40
    for label in ("a", "b"):
        progress.finish_run(label, "FINISHED", {})
    progress.end_stack(0)
    assert progress.seconds_left() == 0.5 * (0.5 * 40 + 40)
    progress.begin_trials(2, 4, 1)  # of the last two one is the same as another
    assert progress.texts()["trials"] == "2 of 4 done"
    assert progress.texts()["runs"] == "2 of 3 finished"
    assert progress.share() == pytest.approx(2 / 3)
    progress.begin_stack(0, "c", 1, 4)
    progress.advance(0, 4)
    assert progress.seconds_left() == 1
    progress.finish_run("c", "KILLED", {})
    progress.end_stack(0)
    assert progress.seconds_left() == 0


def test_time_left_without_an_estimate_is_in_proportion() -> None:
    """A quarter of the runs in 10 s leaves 30 s; without a number of runs it is not known."""
    clock = Clock()
    progress = Progress(num_runs=8, clock=clock)
    progress.begin_stack(0, "a", 4, 4)
    assert progress.seconds_left() is None
    progress.advance(0, 0)
    progress.advance(0, 2)
    clock.now += 10
    assert progress.seconds_left() == 30
    assert Progress().seconds_left() is None


def test_runs_that_go_on_count_from_where_they_are() -> None:
    """Begun at epoch 2 of 4, after one more epoch half of what is to be done is done."""
    progress = Progress(num_runs=2)
    progress.begin_stack(0, "a", 2, 4, first_epoch=2)
    assert progress.share() == 0
    progress.advance(0, 3)
    assert progress.share() == 0.5


def test_plain_lines_are_few(caplog: pytest.LogCaptureFixture) -> None:
    """No terminal: a line every few seconds, and one for each finished stack."""
    clock = Clock()
    progress = Progress(num_runs=2, clock=clock)
    with caplog.at_level(logging.INFO, "fashion_mnist"), show(progress):
        progress.begin_stack(0, "lr=1%d[/]", 2, 4)
        for step in range(100):
            clock.now += SECONDS_BETWEEN_LINES / 40
            progress.advance(0, step % 10 / 10)
        assert len(caplog.messages) == 2
        progress.finish_run("a", "FINISHED", {SCORE: 0.5})
        progress.end_stack(0)
    assert len(caplog.messages) == 3
    assert "lr=1%d[/]" in caplog.messages[0]
    assert "best 0.5000  a" in caplog.messages[-1]


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_on_a_terminal_log_lines_stand_above_the_display(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is there while the sweep runs, lines of the log are kept whole, and it goes at the end."""
    terminal, root = Terminal(), logging.getLogger()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("fashion_mnist"), "level", logging.INFO)
    progress = Progress(num_stacks=1, num_runs=2)
    with show(progress):
        progress.begin_stack(0, "lr=1[/]", 2, 4)
        progress.advance(0, 0.3)
        assert handler.stream is sys.stdout is not terminal
        logging.getLogger("fashion_mnist").info("a line of the log")
        time.sleep(0.7)
    text = terminal.getvalue()
    assert "a line of the log\n" in text.replace("\r", "")
    assert "now 2: lr=1[/]" in text
    assert text.index("a line of the log") < text.rindex("now 2")
    assert handler.stream is terminal
    assert "now 2" not in text[text.rindex("\x1b[2K") :]
