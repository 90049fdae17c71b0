"""The commands of `fmnist`. Each imports what it needs when it is called: `--help` is quick."""

import gc
import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="fmnist",
    help="Multilayer perceptrons on Fashion-MNIST: described in YAML, recorded in MLflow.",
    no_args_is_help=True,
    add_completion=True,
)
DEFAULT_STORE = "sqlite:///mlflow.db"
OutputDir = Annotated[Path, typer.Option(help="Where the runs are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """What the console script calls."""
    # importing torch makes a million objects that stay: looking for garbage among them costs a
    # second between the command and the first step
    gc.disable()
    app()


@app.command(
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
    from fashion_mnist.train import main as train_main

    gc.freeze()
    gc.enable()
    train_main(context.args)


@app.command()
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
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"Fashion-MNIST is in {files.folder}")


@app.command()
def ui(
    uri: Annotated[str, typer.Option(help="MLflow's store.", envvar="MLFLOW_TRACKING_URI")] = (
        DEFAULT_STORE
    ),
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 5000,
) -> None:
    """Show the recorded runs in a browser.

    Example: fmnist ui --port 5001
    """
    from fashion_mnist.tracking.ui import ui as serve

    try:
        serve(uri, port)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@app.command()
def sync(output_dir: OutputDir = Path("outputs"), as_json: AsJson = False) -> None:
    """Send what was recorded while the store could not be reached.

    Example: fmnist sync
    """
    from fashion_mnist.tracking.address import without_password
    from fashion_mnist.tracking.sender import sync as send

    outcome = send(output_dir)
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
        typer.echo(outcome.reason, err=True)
        raise typer.Exit(1)
