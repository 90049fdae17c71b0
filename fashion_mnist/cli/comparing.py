"""Commands that set recorded runs beside each other."""

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
    limit: Annotated[int, typer.Option(help="Settings shown at most; 0 for all.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """Rank settings by validation accuracy, and mark those that can't be told from the best.

    Runs that differ in nothing but seed and fold are repetitions of one setting.

    Example: fmnist leaderboard latest --limit 10
    """
    with told_in_a_line():
        from fashion_mnist.cli.leaderboards import print_leaderboard
        from fashion_mnist.conclusions.leaderboard import leaderboard as build
        from fashion_mnist.tracking.reading import Reader

        board = build(Reader(uri), what, experiment=experiment, limit=limit or None)
        print_leaderboard(board, as_json=as_json)
