"""Commands that train, and look after what training needs and leaves."""

import gc
import json
from pathlib import Path
from typing import Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    FINDINGS,
    TRAINING,
    UPKEEP,
    AsJson,
    OutputDir,
    Uri,
    failed,
    told_in_a_line,
)

commands = typer.Typer()


@commands.command(
    rich_help_panel=TRAINING,
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def train(context: typer.Context) -> None:
    """Train a run or a sweep. Takes overrides and Hydra's flags.

    Example: fmnist train model.width=1024 optimizer=sgd optimizer.lr=0.05
    """
    from fashion_mnist.streams import outlast_readers

    outlast_readers()
    from fashion_mnist.train import main as train_main

    gc.freeze()
    gc.enable()
    train_main(context.args)


@commands.command(rich_help_panel=TRAINING)
def fetch(
    folder: Annotated[Path, typer.Option(help="Where it is looked for first.")] = Path(
        "data/fashion_mnist"
    ),
) -> None:
    """Find Fashion-MNIST on this machine, or download it; verify it.

    Example: fmnist fetch
    """
    from fashion_mnist.data.files import load_files
    from fashion_mnist.data.idx import DataError

    try:
        files = load_files(name="fashion_mnist", folder=folder, num_classes=10)
    except DataError as error:
        raise failed(str(error)) from None
    typer.echo(f"Fashion-MNIST is in {files.folder}")


@commands.command(rich_help_panel=FINDINGS)
def ui(
    uri: Uri = DEFAULT_STORE,
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 5000,
) -> None:
    """Show the recorded runs in a browser, to this machine alone.

    From another machine: ssh -L 5000:127.0.0.1:5000 THIS_MACHINE, and open http://127.0.0.1:5000.

    Example: fmnist ui --port 5001
    """
    from fashion_mnist.tracking.ui import ui as serve

    with told_in_a_line():
        serve(uri, port)


@commands.command(rich_help_panel=UPKEEP)
def sync(output_dir: OutputDir = Path("outputs"), as_json: AsJson = False) -> None:
    """Send what was recorded while the store could not be reached.

    Example: fmnist sync
    """
    from fashion_mnist.console import disk_trouble
    from fashion_mnist.tracking.address import without_password
    from fashion_mnist.tracking.sender import sync as send

    try:
        outcome = send(output_dir)
    except OSError as error:
        raise failed(disk_trouble(error)) from None
    rows = [
        {"run": run.run_id, "store": without_password(run.destination.uri), "sent": run.complete}
        for run in outcome.runs
    ]
    if as_json:
        typer.echo(json.dumps({"runs": rows, "reason": outcome.reason}))
    else:
        sent = sum(bool(row["sent"]) for row in rows)
        none = f"there are no runs below {output_dir}"
        typer.echo(f"{sent} of {len(rows)} runs are recorded" if rows else none)
    if outcome.reason:
        raise failed(outcome.reason)


@commands.command(rich_help_panel=UPKEEP)
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

    Never the runs themselves: journals, figures, networks and stores stay.

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
