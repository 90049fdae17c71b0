"""Commands that tell what recorded runs say."""

import typer

commands = typer.Typer()
