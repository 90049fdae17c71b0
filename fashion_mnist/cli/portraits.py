"""One run on the terminal: what `fmnist show` prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from fashion_mnist.analysis.details import Portrait, grouped, sparkline
from fashion_mnist.cli.tables import (
    Column,
    cell,
    print_json,
    print_on_terminal,
    print_text,
    table_of,
)
from fashion_mnist.console import plural
from fashion_mnist.tracking.recorded import RecordedRun

# the tags that say what a run is and where it came from, under the names that people read
TAGS = {
    "failure": "why it failed",
    "pruned": "pruned",
    "early_stopping": "early stopping",
    "sweep.axes": "swept",
    "copy_of": "copy of",
    "fingerprint": "fingerprint",
    "weights_sha256": "weights",
    "data_sha256": "data",
    "git_commit": "code",
    "device": "device",
    "precision": "precision",
    "threads": "threads",
    "stack_size": "stack size",
    "torch": "torch",
    "python": "Python",
    "numerics": "numerics",
    "cpu": "processor",
    "host": "host",
}
SCORES = ("final/", "test/", "best/")  # how metrics begin that are no curves
Rows = list[list[str]]


def print_portrait(portrait: Portrait, *, as_json: bool) -> None:
    """Print all of it; as JSON also what a person would not read."""
    if as_json:
        print_json(content_of(portrait))
        return
    print_text(headline(portrait.run))
    for title, rows in sections(portrait):
        if rows:
            print_text(f"\n{title}")
            columns = [Column(str(place), "") for place in range(len(rows[0]))]
            named = [dict(zip(map(str, range(len(row))), row, strict=True)) for row in rows]
            print_on_terminal(table_of(named, columns))
    if portrait.files_missing:
        print_text(f"\nits files cannot be listed: {portrait.files_missing}")


def headline(run: RecordedRun) -> str:
    """Which run it is, and what became of it."""
    words = [run.status, f"started {cell(run.start)}"]
    words += [f"took {cell(run.duration)}"] if run.duration else []
    words += [f"experiment {run.experiment}"]
    words += [f"part of {run.parent_id}"] if run.parent_id else []
    return f"{run.name}\n{run.run_id}\n{', '.join(words)}"


def sections(portrait: Portrait) -> Iterator[tuple[str, Rows]]:
    """Title and rows of each part; the rows of a part are of one length."""
    run = portrait.run
    yield "configuration", grouped(run.parameters)
    yield "curves", [curve_row(key, points) for key, points in portrait.curves.items() if points]
    yield (
        "scores",
        [[key, cell(value)] for key, value in run.metrics.items() if key.startswith(SCORES)],
    )
    yield (
        f"most confused ({portrait.confused_split})",
        [
            [f"{each['true']} taken for {each['predicted']}", f"{each['count']}/{each['support']}"]
            for each in portrait.confused
        ],
    )
    # images/ holds copies of the pictures, with long names, for MLflow's charts
    own = [file for file in portrait.files if not file.path.startswith("images/")]
    yield "files", [[file.path, size(file.num_bytes)] for file in own]
    yield "origin", [[name, run.tags[tag]] for tag, name in TAGS.items() if run.tags.get(tag)]


def curve_row(key: str, points: Mapping[int, float]) -> list[str]:
    """A metric's course in a line, from where to where."""
    values = list(points.values())
    course = f"{cell(float(values[0]))} to {cell(float(values[-1]))}"
    return [key, sparkline(values), f"{course}, {plural(len(values), 'epoch')}"]


def score(key: str, value: float) -> str:
    """A final figure; an epoch is a whole number."""
    return f"{value:.0f}" if key.endswith("epoch") else cell(float(value))


def size(num_bytes: int | None) -> str:
    """A file's size as people read it."""
    from rich.filesize import decimal

    return cell(None) if num_bytes is None else decimal(num_bytes)


def content_of(portrait: Portrait) -> dict[str, Any]:
    """Everything, as JSON takes it."""
    run = portrait.run
    return {
        "id": run.run_id,
        "name": run.name,
        "status": run.status,
        "experiment": run.experiment,
        "started": run.start,
        "ended": run.end,
        "duration": run.duration,
        "parent": run.parent_id or None,
        "parameters": run.parameters,
        "metrics": run.metrics,
        "tags": run.tags,
        "artifact_uri": run.artifact_uri,
        "curves": portrait.curves,
        "most_confused": {"split": portrait.confused_split or None, "pairs": portrait.confused},
        "files": [{"path": file.path, "bytes": file.num_bytes} for file in portrait.files],
        "files_missing": portrait.files_missing or None,
    }
