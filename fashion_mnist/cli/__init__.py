"""The program `fmnist`, put together. Each command imports what it needs when it is called."""

import typer

from fashion_mnist.cli import (
    comparing,
    findings,
    networks,
    reporting,
    reuse,
    training,
    upkeep,
)

app = typer.Typer(
    name="fmnist",
    help="Multilayer perceptrons on Fashion-MNIST: described in YAML, recorded in MLflow.",
    no_args_is_help=True,
    add_completion=True,
)
for room in (training, findings, comparing, reporting, networks, reuse, upkeep):
    app.add_typer(room.commands)  # without a name of its own: its commands become the program's
