"""The program `fmnist`, put together, with the commands that train, fetch images and open the UI.

Each command imports what it needs when it is called.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fashion_mnist.cli import maintenance, models, runs
from fashion_mnist.cli.output import (
    RESULTS,
    TRAINING,
    Uri,
    collect_garbage_again,
    errors_in_a_line,
    outlast_readers,
    print_text,
)
from fashion_mnist.config.store_uri import DEFAULT_STORE


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """The same, with flags whose help is their name alone: typer writes `<bool>` beside them."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


class Command(TyperCommand):
    """One of the program's commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, `--help` among them."""
        return _without_types_of_flags(super().get_params(ctx))


class Program(TyperGroup):
    """The program without a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options, `--help` among them."""
        return _without_types_of_flags(super().get_params(ctx))


app = typer.Typer(
    cls=Program,
    rich_markup_mode="markdown",  # its paragraphs are as wide as the terminal
    name="fmnist",
    help="Multilayer perceptrons on Fashion-MNIST: described in YAML, recorded in MLflow.",
    no_args_is_help=True,
    add_completion=True,
)


@app.command(
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
    outlast_readers()
    from fashion_mnist.cli.train import main as train_main

    collect_garbage_again()
    train_main(context.args)


@app.command(rich_help_panel=TRAINING)
def fetch(
    folder: Annotated[Path, typer.Option(help="Where it is looked for first.")] = Path(
        "data/fashion_mnist"
    ),
) -> None:
    """Find Fashion-MNIST on this machine, or download it; verify it.

    Example: fmnist fetch
    """
    with errors_in_a_line():
        from fashion_mnist.data.fashion_mnist import load_dataset

        print_text(f"Fashion-MNIST is in {load_dataset(folder=folder).source}")


@app.command(rich_help_panel=RESULTS)
def ui(
    uri: Uri = DEFAULT_STORE,
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 5000,
) -> None:
    """Show the recorded runs in a browser, to this machine alone.

    From another machine: ssh -L 5000:127.0.0.1:5000 THIS_MACHINE, and open http://127.0.0.1:5000.

    Example: fmnist ui --port 5001
    """
    from fashion_mnist.tracking.server import ui as serve

    with errors_in_a_line():
        serve(uri, port)


for module in (runs, models, maintenance):
    app.add_typer(module.commands)  # without a name of its own: its commands become the program's
for commands in (app, runs.commands, models.commands, maintenance.commands):
    for command in commands.registered_commands:
        command.cls = Command
