"""Commands that look after stores and this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fashion_mnist.cli.output import (
    DEFAULT_STORE,
    MAINTENANCE,
    AsJson,
    OutputDir,
    Uri,
    errors_in_a_line,
    failed,
)

commands = typer.Typer()


@commands.command(rich_help_panel=MAINTENANCE)
def sync(output_dir: OutputDir = Path("outputs"), as_json: AsJson = False) -> None:
    """Send what was recorded while the store could not be reached.

    Example: fmnist sync
    """
    from fashion_mnist.config.store_uri import without_password
    from fashion_mnist.console import disk_trouble
    from fashion_mnist.tracking.uploader import sync as send

    try:
        outcome = send(output_dir)
    except OSError as error:
        raise failed(disk_trouble(error)) from None
    rows = [
        {
            "run": run.run_id,
            "store": without_password(run.destination.address),
            "sent": run.is_complete,
        }
        for run in outcome.uploads
    ]
    if as_json:
        typer.echo(json.dumps({"runs": rows, "reason": outcome.reason}))
    else:
        sent = sum(bool(row["sent"]) for row in rows)
        none = f"there are no runs below {output_dir}"
        typer.echo(f"{sent} of {len(rows)} runs are recorded" if rows else none)
    if outcome.reason:
        raise failed(outcome.reason)


@commands.command(rich_help_panel=MAINTENANCE)
def clean(
    output_dir: OutputDir = Path("outputs"),
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; else it is shown.")] = False,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished",
            help="The checkpoints of unfinished runs too: their training then begins again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what nobody needs any more of what training has left, or delete it.

    Never the runs themselves: event logs, figures, networks and stores stay.

    Example: fmnist clean --delete
    """
    from fashion_mnist.clean import clean as find
    from fashion_mnist.clean import table_of
    from fashion_mnist.console import disk_trouble, printable

    try:
        found = find(output_dir, unfinished=unfinished, delete=delete)
    except OSError as error:
        raise failed(disk_trouble(error)) from None
    if as_json:
        rows = [
            {"path": str(each.path), "kind": each.kind, "bytes": each.num_bytes} for each in found
        ]
        typer.echo(json.dumps({"leftovers": rows, "deleted": delete}))
    else:
        table = table_of(found, output_dir, unfinished=unfinished, is_deleted=delete)
        typer.echo(printable(table))


@commands.command(rich_help_panel=MAINTENANCE)
def doctor(
    output_dir: OutputDir = Path("outputs"),
    data: Annotated[Path, typer.Option(help="Where Fashion-MNIST is looked for first.")] = Path(
        "data/fashion_mnist"
    ),
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Look at environment, data, store, outputs and machine, and say what to do.

    Nothing is changed or fetched. The exit status is 1 if something is wrong.

    Example: fmnist doctor
    """
    with errors_in_a_line():
        from fashion_mnist.cli.output import print_json, print_table
        from fashion_mnist.console import Column
        from fashion_mnist.doctor.examination import examine

        found = list(examine(uri, output_dir=output_dir, data_dir=data))
        rows = [vars(finding) for finding in found]
        columns = [
            Column("state", ""),
            Column("topic", "what"),
            Column("words", "found"),
            Column("advice", "what to do"),
        ]
        if as_json:
            print_json({"findings": rows})
        else:
            print_table(rows, columns)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)
