"""What training tells a user: progress of a run, and its scores at the end."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fashion_mnist.analysis.labels import metric_name
from fashion_mnist.config.messages import PrintableFormatter, duration
from fashion_mnist.metrics.classification import SUMMARY_SCORES
from fashion_mnist.metrics.confusions import absent_classes, most_confused, read_confusion
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.results import EARLY_STOPPING_TAG
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.sweeps.progress import lines_above_the_display
from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")


@contextmanager
def observe(check_for_stop: Callable[[], None]) -> Iterator[Observer]:
    """An observer of a run alone that shows progress: a line for each epoch, on a terminal a bar.

    Args:
        check_for_stop: called before each step, and before the charts are drawn.
    """
    began, first_epoch = 0.0, -1  # of this process: the time left counts from there

    def on_plain_step(stack: Stack, _step: int) -> None:
        nonlocal began, first_epoch
        if first_epoch < 0:
            began, first_epoch = time.monotonic(), stack.epoch
            images, steps = f"{stack.loader.num_examples:,}", stack.loader.num_steps
            log.info("training on %s images, %s steps an epoch", images, steps)

    def on_epoch(stack: Stack, rows: list[HistoryRow]) -> None:
        [row] = rows
        seconds = (time.monotonic() - began) / (stack.epoch - first_epoch)
        words = [
            f"epoch {stack.epoch:>{len(str(stack.num_epochs))}}/{stack.num_epochs}",
            f"loss {row['train/loss']:.4f}",
            f"val accuracy {row['val/accuracy']:.4f}" if "val/accuracy" in row else "",
            f"{row['images_per_second']:,.0f} images/s",
            f"{duration(seconds * (stack.num_epochs - stack.epoch))} left",
        ]
        log.info("   ".join(filter(None, words)))

    if not (sys.stdout.isatty() and log.isEnabledFor(logging.INFO)):
        yield Observer(check_for_stop, on_plain_step, on_epoch)
        return

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("epoch {task.fields[epoch]}"), BarColumn(None), TimeRemainingColumn()]
    with Progress(*columns, transient=True) as bar, lines_above_the_display():
        task = bar.add_task("training", total=None, epoch="")

        def on_step(stack: Stack, step: int) -> None:
            on_plain_step(stack, step)
            total = stack.num_epochs * stack.loader.num_steps
            epoch = f"{stack.epoch + 1}/{stack.num_epochs}"
            bar.update(task, total=total, completed=stack.num_steps, epoch=epoch)

        yield Observer(check_for_stop, on_step, on_epoch)


def summarize_run(folder: RunDir, *, note: str, where: Sequence[str]) -> str:
    """The scores of a finished run and the classes that it confuses most.

    Args:
        note: follows the run's name.
        where: lines at the end that say where to look at it.
    """
    metrics = folder.metrics()
    split = "test" if "test/accuracy" in metrics else "validation"
    head = f"{folder.name()} {note}" if note else folder.name()
    prefix = "test/" if split == "test" else "final/val_"
    lines = [f"{head}: {split} {_scores(metrics, prefix)}"]
    if f"{prefix}tta_accuracy" in metrics:
        lines.append(f"  averaged over copies of each image: {_scores(metrics, f'{prefix}tta_')}")
    if early_stopping := folder.tags().get(EARLY_STOPPING_TAG):
        lines.append(f"  {early_stopping}")
    confusion = read_confusion(folder.artifacts, split)
    if confusion is not None:
        lines += [f"  {mistake.words()}" for mistake in most_confused(*confusion)]
        if absent := absent_classes(*confusion):
            lines.append(f"  {absent}")
    return "\n".join([*lines, *where])


def _scores(metrics: dict[str, float], prefix: str) -> str:
    words = [
        f"{metric_name(name)} {metrics[prefix + name]:.4f}"
        for name in SUMMARY_SCORES
        if prefix + name in metrics
    ]
    return ", ".join(words) or "not evaluated: there is no validation split, and no test was asked"


@contextmanager
def lines_on_stdout() -> Iterator[None]:
    """Within, what the program logs is written to the standard output, `printable`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    ours, root = logging.getLogger("fashion_mnist"), logging.getLogger()
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
