"""The live table of a sweep: what it counts, what it says is left, and what a step costs."""

import io
import logging
import sys
import time
from pathlib import Path

import pytest
import torch

from fashion_mnist.machine import Machine
from fashion_mnist.runs.stacks import build_stack, view_data
from fashion_mnist.stack import Stack
from fashion_mnist.sweep.progress import SECONDS_BETWEEN_LINES, Progress, watch
from tests.builders import load, make_config, make_data


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Two runs, 70 images in steps of 7."""
    folder = make_data(tmp_path / "data")
    words = ["model.hidden_sizes=[3]", "training.batch_size=7", "training.epochs=4"]
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(2)]
    dataset = load(folder)
    views = [view_data(config, dataset) for config in configs]
    torch.set_num_threads(1)
    return build_stack(configs, views, dataset, Machine("cpu", "fp32", 1))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_counts_runs_stacks_and_the_best(stack: Stack) -> None:
    """Finished, failed and pruned apart; the best is the highest score of a finished run."""
    clock = Clock()
    progress = Progress(num_stacks=3, num_runs=7, clock=clock)
    progress.begin_stack("lr=0.1, lr=0.3", 4, 5)
    assert progress.figures()["stacks"] == "0 of 3 done, now 4: lr=0.1, lr=0.3"
    assert progress.figures()["epoch"] == "1 of 5"
    stack.epoch = 2
    progress.on_step(stack, 5)
    assert progress.figures()["epoch"] == "3 of 5"
    clock.now += 30
    progress.finish_run("lr=0.1", "FINISHED", 0.8)
    progress.finish_run("lr=0.3", "FINISHED", 0.85)
    progress.finish_run("lr=9", "FAILED", None)
    progress.finish_run("lr=0.01", "KILLED", 0.9)
    progress.end_stack()
    figures = progress.figures()
    assert figures["stacks"] == "1 of 3 done"
    assert figures["runs"] == "2 of 7 finished, 1 failed, 1 pruned"
    assert figures["best so far"] == "0.8500  lr=0.3"
    assert figures["speed"] == "8.0 runs a minute"


def test_the_best_loss_is_the_lowest() -> None:
    """Where the score is to be minimised."""
    progress = Progress(maximize=False)
    for label, score in (("a", 0.5), ("b", 0.3), ("c", 0.4)):
        progress.finish_run(label, "FINISHED", score)
    assert progress.best == (0.3, "b")


def test_time_left_follows_the_estimate_and_then_the_facts(stack: Stack) -> None:
    """At first what was estimated; at the half, of 100 s in 100 s, 0.5 · (50 + 100); then none."""
    clock = Clock()
    progress = Progress(num_stacks=2, num_runs=4, estimated_seconds=100, clock=clock)
    assert progress.seconds_left() == 100
    progress.begin_stack("a", 2, 4)
    progress.on_step(stack, 0)
    clock.now += 100
    stack.epoch = 4
    progress.on_epoch(stack, [])
    assert progress.share() == 0.5
    assert progress.seconds_left() == 75
    progress.end_stack()
    assert progress.share() == 0.5
    progress.begin_stack("b", 2, 4)
    progress.end_stack()
    assert progress.seconds_left() == 0


def test_time_left_without_an_estimate_is_in_proportion(stack: Stack) -> None:
    """A quarter of the runs in 10 s leaves 30 s; of a search without an end, nobody knows."""
    clock = Clock()
    progress = Progress(num_runs=8, clock=clock)
    progress.begin_stack("a", 4, 4)
    assert progress.seconds_left() is None
    progress.on_step(stack, 0)
    stack.epoch = 2
    progress.on_step(stack, 0)
    clock.now += 10
    assert progress.seconds_left() == 30
    assert Progress().seconds_left() is None


def test_runs_that_go_on_count_from_where_they_are(stack: Stack) -> None:
    """Begun at epoch 2 of 4, after one more epoch half of what is to be done is done."""
    progress = Progress(num_runs=2)
    progress.begin_stack("a", 2, 4)
    stack.epoch = 2
    progress.on_step(stack, 0)
    assert progress.share() == 0
    stack.epoch = 3
    progress.on_epoch(stack, [])
    assert progress.share() == 0.5


def test_plain_lines_are_few(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """No terminal: a line every few seconds, and one for each finished stack."""
    clock = Clock()
    with caplog.at_level(logging.INFO, "fashion_mnist"), watch(num_runs=2) as progress:
        progress.clock = clock
        progress.begin_stack("lr=1%d[/]", 2, 4)
        for step in range(100):
            clock.now += SECONDS_BETWEEN_LINES / 40
            progress.on_step(stack, step % 10)
        assert len(caplog.messages) == 2
        progress.finish_run("a", "FINISHED", 0.5)
        progress.end_stack()
    assert len(caplog.messages) == 3
    assert "lr=1%d[/]" in caplog.messages[0]
    assert "best 0.5000  a" in caplog.messages[-1]


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_on_a_terminal_log_lines_stand_above_the_table(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is there while it runs, lines of the log are kept whole, and it goes in the end."""
    terminal, root = Terminal(), logging.getLogger()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "__stdout__", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("fashion_mnist"), "level", logging.INFO)
    with watch(num_stacks=1, num_runs=2) as progress:
        progress.begin_stack("lr=1[/]", 2, 4)
        progress.on_step(stack, 3)
        assert handler.stream is sys.stdout is not terminal
        logging.getLogger("fashion_mnist").info("a line of the log")
        time.sleep(0.7)
    text = terminal.getvalue()
    assert "a line of the log\n" in text.replace("\r", "")
    assert "now 2: lr=1[/]" in text
    assert text.index("a line of the log") < text.rindex("now 2")
    assert handler.stream is terminal
    assert "now 2" not in text[text.rindex("\x1b[2K") :]


def test_a_step_costs_next_to_nothing(stack: Stack) -> None:
    """Less than 20 µs, at a quiet moment."""
    progress = Progress(num_stacks=3, num_runs=6, estimated_seconds=100)
    progress.begin_stack("a", 2, 4)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for step in range(100):
            progress.on_step(stack, step)
        times.append((time.perf_counter() - started) / 100)
    assert min(times) < 20e-6
