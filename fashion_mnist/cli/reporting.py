"""The command that writes a report."""

from pathlib import Path
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
def report(
    what: Annotated[
        list[str],
        typer.Argument(
            help="A sweep's or an experiment's name or id; or runs, each as RUN of `fmnist show`.",
            metavar="SWEEP|EXPERIMENT|RUN…",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the page goes.")] = Path(
        "report.html"
    ),
    limit: Annotated[int, typer.Option(help="Settings shown at most; 0 for all.", min=0)] = 20,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the IDX files that the runs had; else where they had them."),
    ] = None,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a page of all that can be said: one file, for a browser or for print.

    Question, leaderboard with statistics, main effects, confusion matrices, the worst pairs with
    their images, calibration, costs, how to repeat it.

    Example: fmnist report widths -o report.html
    """
    with told_in_a_line():
        from fashion_mnist.analysis.report_files import check_output, write_report
        from fashion_mnist.cli.tables import print_json, print_text

        check_output(output)
        from fashion_mnist.analysis.report import build_report, find_subject
        from fashion_mnist.analysis.report_content import content_of
        from fashion_mnist.analysis.report_words import answer
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        subject = find_subject(store, what, experiment)
        found = build_report(store, subject, limit=limit or None, folder=data)
        write_report(found, output)
        if as_json:
            print_json({**content_of(found), "file": str(output)})
            return
        for line in answer(found):
            print_text(line)
        print_text(str(output))
