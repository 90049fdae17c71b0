"""Commands that tell what recorded runs say."""

from typing import TYPE_CHECKING, Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    FINDINGS,
    AsJson,
    Experiment,
    Run,
    Uri,
    told_in_a_line,
)

if TYPE_CHECKING:
    from fashion_mnist.cli.tables import Column
    from fashion_mnist.tracking.recorded import RecordedRun

commands = typer.Typer()
COLUMNS = "name,status,started,duration,final/val_accuracy,test/accuracy,sweep"
TITLES = {"final/val_accuracy": "val accuracy", "test/accuracy": "test accuracy"}
STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED", "SCHEDULED")


@commands.command(rich_help_panel=FINDINGS)
def runs(
    experiment: Experiment = None,
    sweep: Annotated[str | None, typer.Option(help="Only this sweep's: id, name, latest.")] = None,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATUSES)}.")] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option("--filter", help="As seed=1, 'final/val_accuracy>0.9'; repeat it."),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="By this metric, parameter or tag; -KEY falling.")
    ] = "-started",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    columns: Annotated[str, typer.Option(help="Keys with commas between.")] = COLUMNS,
    limit: Annotated[int, typer.Option(help="Rows at most; 0 for all.", min=0)] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Copies, sweeps and runs of other programs too.")
    ] = False,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List recorded networks, newest first.

    A run that was recorded under several sweeps counts once.

    Example: fmnist runs --filter optimizer.name=adamw --sort=-final/val_accuracy --limit 10
    """
    with told_in_a_line():
        from fashion_mnist.analysis.lookup import check_key, ordered, short_ids
        from fashion_mnist.cli.tables import print_rows
        from fashion_mnist.tracking.reader import Reader

        found = Reader(uri).runs(experiment)
        chosen = _choose(found, sweep, status, condition or [], everything)
        key = sort.removeprefix("-")
        keys = list(filter(None, (word.strip() for word in columns.split(","))))
        for each in (key, *(k for k in keys if k not in TITLES)):
            check_key(each, found)
        chosen = ordered(chosen, key, descending=sort.startswith("-") != reverse)
        shown = chosen[: limit or None]
        names, ids = {run.run_id: run.name for run in found}, short_ids(found)
        rows = [_row(run, keys, names) for run in shown]
        if not as_json:
            rows = [row | {"id": ids[run.run_id]} for row, run in zip(rows, shown, strict=True)]
        foot = _foot(len(shown), len(chosen), len(found))
        print_rows("runs", rows, _columns(keys, shown), as_json=as_json, foot=foot)


@commands.command(rich_help_panel=FINDINGS)
def show(
    run: Run, experiment: Experiment = None, uri: Uri = DEFAULT_STORE, as_json: AsJson = False
) -> None:
    """Show one run: configuration, curves, scores, most confused classes, files.

    Example: fmnist show best
    """
    with told_in_a_line():
        from fashion_mnist.analysis.details import portray
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.cli.portraits import print_portrait
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        found = find_run(store, run, experiment)
        print_portrait(portray(store, found, every_curve=as_json), as_json=as_json)


def _choose(
    found: list["RecordedRun"],
    sweep: str | None,
    status: str | None,
    conditions: list[str],
    everything: bool,
) -> list["RecordedRun"]:
    """Those of the runs that the options ask for."""
    from fashion_mnist.analysis.lookup import choose_sweep, fulfil, without_copies

    chosen = [run for run in found if everything or run.is_network]
    if sweep is not None:
        parent = choose_sweep(found, sweep)
        chosen = [run for run in chosen if run.parent_id == parent.run_id]
    if status is not None:
        if status.upper() not in STATUSES:
            raise ValueError(f"--status must be one of {', '.join(STATUSES)}, got {status!r}")
        chosen = [run for run in chosen if run.status == status.upper()]
    chosen = fulfil(chosen, conditions)
    return chosen if everything else without_copies(chosen)


def _row(run: "RecordedRun", keys: list[str], names: dict[str, str]) -> dict[str, object]:
    from fashion_mnist.analysis.lookup import value_of

    row: dict[str, object] = {"id": run.run_id}
    row |= {key: value_of(run, key) for key in keys}
    if "sweep" in row:  # by its name, where it is in the list
        row["sweep"] = names.get(run.parent_id, run.parent_id) or None
    return row


def _columns(keys: list[str], shown: list["RecordedRun"]) -> list["Column"]:
    from fashion_mnist.analysis.lookup import as_number, value_of
    from fashion_mnist.cli.tables import Column

    def is_number(key: str) -> bool:
        values = [value for run in shown if (value := value_of(run, key)) is not None]
        return bool(values) and all(as_number(value) is not None for value in values)

    own = [key for key in keys if key != "id"]
    return [Column("id", "id"), *(Column(k, TITLES.get(k, k), is_number(k)) for k in own)]


def _foot(num_shown: int, num_chosen: int, num_found: int) -> str:
    if not num_found:
        return "there are no runs yet: fmnist train"
    if not num_chosen:
        return f"none of {num_found:,} recorded runs is asked for; --all has those of every kind"
    return "" if num_shown == num_chosen else f"{num_shown:,} of {num_chosen:,}; --limit 0 for all"
