"""Commands that look after stores and this machine."""

from pathlib import Path
from typing import Annotated

import typer

from fashion_mnist.cli.output import (
    MAINTENANCE,
    AsJson,
    OutputDir,
    Uri,
    collect_garbage_again,
    errors_in_a_line,
    note,
    print_json,
    print_table,
    print_text,
)
from fashion_mnist.config.store_uri import DEFAULT_STORE

commands = typer.Typer()


@commands.command(rich_help_panel=MAINTENANCE)
def sync(output_dir: OutputDir = Path("outputs"), as_json: AsJson = False) -> None:
    """Send what was recorded while the store could not be reached.

    Example: fmnist sync
    """
    with errors_in_a_line():
        from fashion_mnist.config.store_uri import without_password
        from fashion_mnist.tracking.links import HOW_TO_RESTORE
        from fashion_mnist.tracking.uploader import sync as send

        collect_garbage_again()
        outcome = send(output_dir)
        rows = [
            {
                "run": run.state.run_id,
                "store": without_password(run.destination.address),
                "sent": run.is_complete and not run.state.is_deleted,
                "deleted": run.state.is_deleted,
            }
            for run in outcome.uploads
        ]
        sent = sum(bool(row["sent"]) for row in rows)
        if as_json:
            print_json({"runs": rows, "reason": outcome.reason})
        elif rows:
            print_text(f"{sent} of {len(rows)} runs are recorded")
            if deleted := sum(bool(row["deleted"]) for row in rows):
                print_text(f"{deleted} not: {HOW_TO_RESTORE}")
        else:
            print_text(f"there are no runs below {output_dir}")
        if outcome.reason:
            note(outcome.reason)
            raise typer.Exit(1)


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
    """Show what training has left that is of no further use, or delete it.

    Never the runs themselves: event logs, metrics, networks and stores stay.

    Example: fmnist clean --delete
    """
    with errors_in_a_line():
        from rich.filesize import decimal

        from fashion_mnist.maintenance.clean import clean as find
        from fashion_mnist.tracking.links import output_option

        found = find(output_dir, unfinished=unfinished, delete=delete)
        if as_json:
            files = [{"path": str(f.path), "kind": f.kind, "bytes": f.num_bytes} for f in found]
            print_json({"leftovers": files, "deleted": delete})
            return
        if not found:
            print_text(f"nothing to clean up below {output_dir}")
            return
        kinds = {kind: [f for f in found if f.kind == kind] for kind in (f.kind for f in found)}
        rows = [
            {
                "what": kind,
                "number": len(files),
                "size": decimal(sum(file.num_bytes for file in files)),
                "for example": str(files[0].path.relative_to(output_dir)),
            }
            for kind, files in [*kinds.items(), *([("all", found)] if len(kinds) > 1 else [])]
        ]
        print_table(rows)
        total = decimal(sum(file.num_bytes for file in found))
        if delete:
            print_text(f"deleted, {total} are free")
            return
        option = " --unfinished" if unfinished else ""
        warning = "; unfinished runs then begin again, at their first epoch" if unfinished else ""
        command = f"fmnist clean --delete{option}{output_option(output_dir)}"
        print_text(f"to free it: {command}{warning}")


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
        from fashion_mnist.maintenance.doctor import examine

        found = list(examine(uri, output_dir=output_dir, data_dir=data))
        if as_json:
            print_json({"findings": [{"topic": topic, **vars(own)} for topic, own in found]})
        else:
            for topic, finding in found:
                print_text(f"{finding.state:<7}  {topic}: {finding.words}")
                if finding.advice:
                    print_text(f"{'':<7}  {finding.advice}")
    if any(finding.state == "error" for _, finding in found):
        raise typer.Exit(1)
