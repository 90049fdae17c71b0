"""Two runs' differences on the terminal: what `fmnist diff` prints."""

from fashion_mnist.analysis.diff import differences, in_short, shortened
from fashion_mnist.cli.tables import Column, print_json, print_rows, print_text
from fashion_mnist.tracking.recorded import RecordedRun


def print_differences(first: RecordedRun, second: RecordedRun, *, as_json: bool) -> None:
    """Print in what two runs differ."""
    runs, found = {"A": first, "B": second}, differences(first, second)
    if as_json:
        content = {
            "runs": {letter: run.run_id for letter, run in runs.items()},
            "in_short": in_short(first, second),
            "differences": [
                {"part": each.part, "key": each.key, "A": each.first, "B": each.second}
                for each in found
            ],
        }
        print_json(content)
        return
    for letter, run in runs.items():
        print_text(f"{letter}: {run.name} ({run.run_id})")
    rows = []
    for each, before in zip(found, [None, *found], strict=False):
        part = each.part if before is None or before.part != each.part else ""
        values = {"A": shortened(each.first), "B": shortened(each.second)}
        rows.append({"part": part, "key": each.key, **values})
    columns = [Column("part", ""), Column("key", ""), Column("A", "A"), Column("B", "B")]
    print_rows("", rows, columns, as_json=False, foot=in_short(first, second))
