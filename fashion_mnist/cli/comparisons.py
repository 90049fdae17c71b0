"""Commands that set recorded runs beside each other."""

import json
from typing import Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    FINDINGS,
    AsJson,
    Experiment,
    Uri,
    told_in_a_line,
)

commands = typer.Typer()


@commands.command(rich_help_panel=FINDINGS)
def leaderboard(
    what: Annotated[
        str | None,
        typer.Argument(
            help="An experiment's name; or a sweep's id, name, latest or best. "
            "Without: the experiment of the newest run.",
            metavar="[SWEEP|EXPERIMENT]",
        ),
    ] = None,
    uri: Uri = DEFAULT_STORE,
    experiment: Experiment = None,
    limit: Annotated[int, typer.Option(help="Settings that are shown and tested.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Rank settings by validation accuracy, and mark those that can't be told from the best.

    Runs that differ in nothing but seed and fold are repetitions of one setting.

    Example: fmnist leaderboard latest --limit 10
    """
    from fashion_mnist.conclusions.leaderboard import leaderboard as build
    from fashion_mnist.tracking.reading import Reader

    with told_in_a_line():
        board = build(Reader(uri), what, experiment=experiment, limit=limit)
    if as_json:
        typer.echo(json.dumps(board.as_json()))
        return
    from rich.console import Console

    from fashion_mnist.conclusions.leaderboard_table import leaderboard_table, notes

    console = Console()
    console.print(leaderboard_table(board, console.width))
    for note in notes(board):
        console.print(note, style="dim", markup=False, highlight=False)
