"""The program `fmnist`, put together. Each command imports what it needs when it is called."""

import typer

from fashion_mnist.cli import maintenance, models, runs, training

app = typer.Typer(
    name="fmnist",
    help="Multilayer perceptrons on Fashion-MNIST: described in YAML, recorded in MLflow.",
    no_args_is_help=True,
    add_completion=True,
)
for module in (training, runs, models, maintenance):
    app.add_typer(module.commands)  # without a name of its own: its commands become the program's
