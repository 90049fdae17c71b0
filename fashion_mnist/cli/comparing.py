"""Commands that set recorded runs beside each other."""

from pathlib import Path
from typing import Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    FINDINGS,
    AsJson,
    Experiment,
    Run,
    Uri,
    told_in_a_line,
)

commands = typer.Typer()
COMPARISONS = Path("outputs/comparisons")


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
    """Rank settings by validation accuracy, and test each vs. the best one.

    Runs that differ in nothing but seed and fold are repetitions of one setting; settings with
    fewer than the others come last. Tests: paired t over common seeds; one seed's folds, the
    corrected resampled t (Nadeau and Bengio); single networks, McNemar's exact test; Holm-adjusted.

    Example: fmnist leaderboard latest --limit 10
    """
    with told_in_a_line():
        from fashion_mnist.analysis.leaderboard import leaderboard as build
        from fashion_mnist.cli.leaderboards import print_leaderboard
        from fashion_mnist.tracking.reader import Reader

        board = build(Reader(uri), what, experiment=experiment, limit=limit or None)
        print_leaderboard(board, as_json=as_json)


@commands.command(rich_help_panel=FINDINGS)
def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Two or more, each as RUN of `fmnist show`.", metavar="RUN…")
    ],
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    output: Annotated[
        Path | None, typer.Option(help=f"Where files go; else below {COMPARISONS}.")
    ] = None,
    record: Annotated[bool, typer.Option(help="Make it a run of the store, too.")] = True,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Compare networks with the first one by what they said of the same images.

    Scores, McNemar's test, classes, confusion matrices, calibration, where they disagree; the page
    has it all with its pictures.

    Example: fmnist compare best latest --split test
    """
    with told_in_a_line():
        from fashion_mnist.analysis.compare import compare as build
        from fashion_mnist.analysis.compare import (
            comparison_name,
            read_pictured,
            record_comparison,
            write_comparison,
        )
        from fashion_mnist.analysis.lookup import find_runs
        from fashion_mnist.cli.comparisons import print_comparison
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        comparison = build(store, find_runs(store, runs, experiment), split)
        images, remark = read_pictured(comparison)
        folder = output or COMPARISONS / comparison_name(comparison)
        files = write_comparison(comparison, folder, images, remark=remark)
        run_id, problem = "", None
        try:
            run_id = record_comparison(store.uri, comparison, files) if record else ""
        except OSError as error:
            problem = error  # what was found is told first
        print_comparison(comparison, files, run_id, as_json=as_json)
        if problem is not None:
            raise problem


@commands.command(rich_help_panel=FINDINGS)
def diff(
    first: Run,
    second: Annotated[str, typer.Argument(help="As the first.", metavar="RUN")],
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two runs: configuration, code, data, versions, machine, results.

    Example: fmnist diff best latest
    """
    with told_in_a_line():
        from fashion_mnist.analysis.lookup import find_runs
        from fashion_mnist.cli.differences import print_differences
        from fashion_mnist.tracking.reader import Reader

        one, other = find_runs(Reader(uri), [first, second], experiment)
        print_differences(one, other, as_json=as_json)
