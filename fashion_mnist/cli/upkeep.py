"""Commands that look after stores and this machine."""

from pathlib import Path
from typing import Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    UPKEEP,
    AsJson,
    OutputDir,
    Uri,
    told_in_a_line,
)

commands = typer.Typer()


@commands.command(rich_help_panel=UPKEEP)
def doctor(
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Put right the paths of a store whose folder was moved."),
    ] = False,
    output_dir: OutputDir = Path("outputs"),
    data: Annotated[Path, typer.Option(help="Where Fashion-MNIST is looked for first.")] = Path(
        "data/fashion_mnist"
    ),
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Look at environment, data, store, outputs and machine, and say what to do.

    Nothing is changed or fetched. `--mend` makes a backup of the database, and then lets it look
    for its files where they are now. The exit status is 1 if something is wrong.

    Example: fmnist doctor
    """
    with told_in_a_line():
        from fashion_mnist.cli.tables import Column, print_rows
        from fashion_mnist.doctor.examination import examine

        found = list(examine(uri, output_dir=output_dir, data_dir=data, mends=mend))
        rows = [vars(finding) for finding in found]
        columns = [
            Column("state", ""),
            Column("topic", "what"),
            Column("words", "found"),
            Column("advice", "what to do"),
        ]
        print_rows("findings", rows, columns, as_json=as_json)
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(1)
