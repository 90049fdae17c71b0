"""Commands that ask trained networks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion_mnist.cli.conventions import (
    DEFAULT_STORE,
    NETWORKS,
    AsJson,
    Experiment,
    Run,
    Uri,
    told_in_a_line,
)

if TYPE_CHECKING:
    from fashion_mnist.analysis.evaluation import ScoredNetwork

commands = typer.Typer()

EVALUATIONS = Path("outputs/evaluations")
Split = Annotated[
    str | None, typer.Option("--split", help="validation (if nothing is said) or test.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of IDX files: the run's data, or other images."),
]
Output = Annotated[
    Path | None, typer.Option("--output", help=f"Where files go; else below {EVALUATIONS}.")
]
Runs = Annotated[list[str], typer.Argument(help="As RUN of `fmnist show`.", metavar="RUN…")]


@commands.command(rich_help_panel=NETWORKS)
def evaluate(
    run: Run,
    split: Split = None,
    data: Data = None,
    output: Output = None,
    record: Annotated[
        bool, typer.Option(help="Add it to the run's record; its test set then counts as read.")
    ] = True,
    robustness: Annotated[bool, typer.Option(help="Evaluate on corrupted images too.")] = True,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Judge a run's network: every score, calibration, abstaining, robustness.

    On its validation split; --split test reads its test set, which counts.

    Example: fmnist evaluate best --split test
    """
    with told_in_a_line():
        from fashion_mnist.analysis.evaluation import record_scores, score_network, write_scores
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.cli.scores import print_network_scores
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        found = find_run(store, run, experiment)
        scored = score_network(store, found, wanted=split, folder=data, with_robustness=robustness)
        _say_that_the_test_set_is_read(scored, record)
        files = write_scores(output or EVALUATIONS / found.run_id[:8], scored.scores)
        places = record_scores(store, scored, files) if record else []
        print_network_scores(scored, files, places, as_json=as_json)


@commands.command(rich_help_panel=NETWORKS)
def predict(
    run: Run,
    images: Annotated[
        list[Path], typer.Argument(help="PNG, JPEG, .npy, .npz or IDX files.", metavar="IMAGE…")
    ],
    top: Annotated[int, typer.Option(help="Classes that are told of each image.", min=1)] = 3,
    invert: Annotated[
        str, typer.Option(help="auto (where the border is light), always or never.")
    ] = "auto",
    limit: Annotated[int, typer.Option(help="Rows at most; 0 for all.", min=0)] = 50,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Say what is in pictures of any size, and how they were brought to the network's form.

    Example: fmnist predict best shirt.jpg drawings.npy
    """
    with told_in_a_line():
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.analysis.networks import answer
        from fashion_mnist.cli.scores import print_answers
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        found = find_run(store, run, experiment)
        answers = answer(store, found, images, invert=invert)
        print_answers(answers, top=top, limit=limit, as_json=as_json)


@commands.command(rich_help_panel=NETWORKS)
def ensemble(
    runs: Runs,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Choose who is in it on the validation split.")
    ] = False,
    split: Split = None,
    data: Data = None,
    output: Output = None,
    record: Annotated[
        bool, typer.Option(help="Add each member's test scores to its run; they count as read.")
    ] = True,
    robustness: Annotated[bool, typer.Option(help="Evaluate on corrupted images too.")] = False,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Judge the average of several networks' probabilities; a sweep means all of its networks.

    Example: fmnist ensemble latest --greedy --split test
    """
    with told_in_a_line():
        from fashion_mnist.analysis.ensemble import (
            find_members,
            record_readings,
            score_ensemble,
        )
        from fashion_mnist.analysis.evaluation import write_scores
        from fashion_mnist.cli.scores import print_ensemble_scores
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        members = find_members(store, runs, experiment)
        ensemble = score_ensemble(
            store, members, greedy=greedy, wanted=split, folder=data, with_robustness=robustness
        )
        if ensemble.images.is_own_test:
            first, total = len(ensemble.newly_tested), len(ensemble.runs)
            counted = "counts from now on" if record else "no record counts it (--no-record)"
            how = f"for {first} of {total} networks the first time, {counted}"
            typer.echo(f"the test set is read, for an ensemble: {how}", err=True)
            if record:
                record_readings(store, ensemble)
        files = write_scores(output or EVALUATIONS / f"ensemble-{ensemble.id}", ensemble.scores)
        print_ensemble_scores(ensemble, files, as_json=as_json)


def _say_that_the_test_set_is_read(scored: "ScoredNetwork", record: bool) -> None:
    if not scored.images.is_own_test:
        return
    if not scored.is_first_test:
        how = "it was read before, and counts"
    elif record:
        how = "the first time: it counts from now on, as test/… of the run"
    else:
        how = "no record counts it (--no-record)"
    typer.echo(f"the test set of {scored.run.name} is read: {how}", err=True)
