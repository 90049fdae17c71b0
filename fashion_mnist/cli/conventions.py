"""What the commands have in common: options, panels of the help, and how a command fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

# panels of `fmnist --help`
TRAINING = "Training"
FINDINGS = "What recorded runs say"
NETWORKS = "Trained networks"
UPKEEP = "Stores and this machine"

DEFAULT_STORE = "sqlite:///mlflow.db"
OutputDir = Annotated[Path, typer.Option(help="Where the runs are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Uri = Annotated[str, typer.Option("--uri", help="MLflow's store.", envvar="MLFLOW_TRACKING_URI")]
Experiment = Annotated[
    str | None, typer.Option("--experiment", help="Only of this one; else of all.")
]
Run = Annotated[
    str, typer.Argument(help="Id, unique beginning of it, name, latest or best.", metavar="RUN")
]


def failed(reason: str, status: int = 1) -> typer.Exit:
    """Says why a command fails; what it then raises."""
    from fashion_mnist.console import printable

    typer.echo(printable(reason), err=True)
    return typer.Exit(status)


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Within, a ValueError (the user's mistake) ends with status 2, an OSError with status 1.

    `HYDRA_FULL_ERROR=1` lets both through, with their traceback.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        # nobody reads on, `| head` for one: the command ends without a word
        is_unread = isinstance(error, BrokenPipeError)
        if is_unread or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        from fashion_mnist.console import disk_trouble

        if isinstance(error, ValueError):
            raise failed(str(error), 2) from None
        raise failed(disk_trouble(error) if error.filename else str(error)) from None
