"""A comparison on the terminal: what `fmnist compare` prints."""

from collections.abc import Sequence
from pathlib import Path

from fashion_mnist.analysis.compare import (
    Comparison,
    Row,
    calibration_rows,
    class_rows,
    content_of,
    headline,
    mcnemar_rows,
    notes,
    run_rows,
    score_rows,
)
from fashion_mnist.cli.tables import (
    Column,
    print_json,
    print_on_terminal,
    print_text,
    table_of,
)
from fashion_mnist.tracking.links import short_path


def print_comparison(
    comparison: Comparison, files: Sequence[Path], run_id: str, *, as_json: bool
) -> None:
    """Print all its tables, and where it is kept.

    Args:
        files: the page first.
        run_id: of the run that it was recorded as; empty for none.
    """
    if as_json:
        places = {"files": list(map(str, files)), "run_id": run_id or None}
        print_json({**content_of(comparison), **places})
        return
    tables = (run_rows, score_rows, mcnemar_rows, class_rows, calibration_rows)
    for rows_of in tables:
        _print(rows_of(comparison))
        print_text("")
    for line in (*notes(comparison), "", *headline(comparison), f"page: {short_path(files[0])}"):
        print_text(line)
    if run_id:
        print_text(f"recorded as the run {run_id}")


def _print(rows: Sequence[Row]) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    whole = [{key: row.get(key, "") for key in keys} for row in rows]
    print_on_terminal(table_of(whole, [Column(key, key) for key in keys]))
