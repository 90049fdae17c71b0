"""What commands have in common: options, panels of the help, errors, tables, JSON, streams."""

from __future__ import annotations  # what takes time to import is imported by each command

import gc
import io
import json
import math
import os
import select
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fashion_mnist.analysis.labels import ABSENT
from fashion_mnist.analysis.text_table import Column, terminal_width, text_table
from fashion_mnist.config.messages import (
    ConfigError,
    RunError,
    disk_trouble,
    duration,
    printable,
)
from fashion_mnist.runs.signals import StopRequested

if TYPE_CHECKING:
    from fashion_mnist.tracking.reader import Reader
    from fashion_mnist.tracking.recorded import RecordedRun

# panels of `fmnist --help`
TRAINING = "Training"
RESULTS = "What recorded runs say"
MODELS = "Trained networks"
MAINTENANCE = "Stores and this machine"

OutputDir = Annotated[Path, typer.Option(help="Where the runs are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Uri = Annotated[str, typer.Option("--uri", help="MLflow's store.", envvar="MLFLOW_TRACKING_URI")]
Experiment = Annotated[
    str | None, typer.Option("--experiment", help="Only of this one; else of all.")
]
Run = Annotated[
    str,
    typer.Argument(
        help="Id, unique beginning of it, name, latest (the network started last) or best.",
        metavar="RUN",
    ),
]
Runs = Annotated[
    list[str],
    typer.Argument(
        help="Runs, sweeps or experiments by name or id; a sweep stands for its networks, and "
        "latest is the newest network or the sweep that it belongs to.",
        metavar="RUN|SWEEP…",
    ),
]


def note(text: str) -> None:
    """Print a remark beside the result, on standard error."""
    typer.echo(printable(text), err=True)


@contextmanager
def errors_in_a_line(
    expected: tuple[type[Exception], ...] = (ValueError, RunError, OSError),
    say: Callable[[str], object] = note,
) -> Iterator[None]:
    """Within, an expected error ends the program with a line and a status.

    The status is 2 for a mistake of the user's, which is a ValueError (ConfigError, DataError), 1
    for a run or the disk that fails, and 128 + signal where the program is asked to stop.
    `HYDRA_FULL_ERROR=1`, Hydra's own variable, lets errors through with their traceback.

    Args:
        expected: errors other than these go through.
        say: gets the line.

    Raises:
        SystemExit: instead of them; no Exception, which Hydra would catch.
    """
    try:
        yield
    except StopRequested as error:
        say(in_words(error))
        raise SystemExit(error.exit_status) from None
    except expected as error:
        # the reader has gone, `| head` for one: the command ends without a message
        is_unread = isinstance(error, BrokenPipeError)
        if is_unread or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        say(in_words(error))
        raise SystemExit(2 if isinstance(error, ValueError) else 1) from None


def in_words(error: BaseException) -> str:
    """What a user reads instead of a traceback, `printable`."""
    return printable(_in_words(error))


def _in_words(error: BaseException) -> str:
    match error:
        case ConfigError(problems=[only]):
            return str(only)
        case ConfigError(problems=problems):
            return "\n".join([f"{len(problems)} mistakes:", *(f"  {each}" for each in problems)])
        case StopRequested():
            return f"stopped by {error}; the same command goes on from the last whole epoch"
        case OSError():
            return disk_trouble(error)
        case _:
            return str(error)


def open_run(uri: str, word: str, experiment: str | None) -> tuple[Reader, RecordedRun]:
    """The store of this address and the run that the word means, see `lookup.find_run`."""
    from fashion_mnist.analysis.lookup import find_run
    from fashion_mnist.tracking.reader import Reader

    store = Reader(uri)
    return store, find_run(store, word, experiment, say=note)


def print_text(text: str) -> None:
    """Print lines as they are, without control characters; the program folds none of them."""
    typer.echo(printable(text))


def print_table(
    rows: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str] | None = None,
    *,
    shrink: Container[str] | None = None,
    drop: Sequence[str] = (),
) -> None:
    """Print the rows as a table that fits the terminal; into a pipe or a file, as wide as it is.

    Numbers stand on the right, also as texts.

    Args:
        titles: of each column, by its key; None for the keys of the rows.
        shrink: columns that may be cut in the middle; None for all texts.
        drop: columns that may be left out where there is no room, the first one first.
    """
    from fashion_mnist.analysis.lookup import as_number

    columns = []
    for key, title in (titles or {key: key for row in rows for key in row}).items():
        values = [row[key] for row in rows if row.get(key) is not None]
        is_number = all(type(own) is not bool and as_number(own) is not None for own in values)
        is_text = not is_number and any(isinstance(own, str) for own in values)
        can_shrink = is_text if shrink is None else key in shrink
        priority = len(drop) - drop.index(key) if key in drop else 0
        columns.append(Column(key, title, is_number, can_shrink, priority))
    cells = [{column.key: cell(row.get(column.key)) for column in columns} for row in rows]
    print_lines(
        text_table(cells, columns, terminal_width()), has_heading=any(c.title for c in columns)
    )


def print_lines(lines: Sequence[str], *, has_heading: bool = True) -> None:
    """Print a table's lines, the heading in bold."""
    for number, line in enumerate(lines):
        typer.echo(typer.style(line, bold=True) if has_heading and number == 0 else line)


def collect_garbage_again() -> None:
    """Have Python look for garbage again, which it does not while a command is imported.

    What is there now stays, and is not looked through any more.
    """
    gc.freeze()
    gc.enable()


def print_json(content: Any) -> None:
    """Print it as JSON: times as ISO 8601, durations in seconds, what is no finite number null."""
    typer.echo(json.dumps(_plain(content), ensure_ascii=True))


def cell(value: Any) -> str:
    """A value in a table: four digits that are worth reading, local time, ABSENT for none."""
    match value:
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case float():
            if value == 0 or 0.001 <= abs(value) < 1000:
                return f"{value:.4f}"
            return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
        case datetime():
            return f"{value.astimezone():%Y-%m-%d %H:%M}"
        case timedelta():
            return duration(value.total_seconds())
    return str(value)


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case str() | bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Sequence():
            return [_plain(inner) for inner in value]
    return str(value)


class LastingFile(io.FileIO):
    """A file that takes whatever is written, also once it cannot be written any more."""

    def write(self, data: Any) -> int:
        """The number of bytes written; all of them where the file is gone or the disk is full."""
        try:
            while (written := super().write(data)) is None:  # full, and of the kind that returns
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return written


def outlast_readers() -> None:
    """Have standard output and error take whatever is written, also where it cannot be written.

    The reader of a pipe may be gone, the disk full, or the stream closed. What training prints is
    in Hydra's log too, so a run does not end because of that.
    """
    _open_what_is_closed()
    if os.name == "posix":  # a console of Windows is no file
        sys.stdout = _lasting(1, sys.stdout)
        sys.stderr = _lasting(2, sys.stderr)


def _open_what_is_closed() -> None:
    # the next file to be opened would get the number of a closed stream, and what is printed
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _lasting(number: int, before: TextIO | None) -> io.TextIOWrapper:
    """A stream on this file descriptor, as the one before; None: that was closed."""
    file = LastingFile(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=before.encoding if before else "utf-8",
        errors=before.errors if before else "backslashreplace",
        line_buffering=number == 2 or file.isatty(),
    )
