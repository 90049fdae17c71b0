"""Commands that make use of a recorded network: train it again, register it, serve it."""

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
    failed,
    told_in_a_line,
)

if TYPE_CHECKING:
    from fashion_mnist.recorded import RecordedRun
    from fashion_mnist.reproduction.repeat import Reproduction
    from fashion_mnist.tracking.reading import Reader

commands = typer.Typer()


@commands.command(rich_help_panel=NETWORKS)
def reproduce(
    run: Run,
    experiment: Experiment = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of its data set, where it is not found.")
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Where the second training goes.")] = Path(
        "outputs/reproductions"
    ),
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Train a recorded run again from what is stored, and compare: same bits, near, different.

    With the device, precision and threads that it was trained with; it is recorded nowhere. Near:
    the validation accuracy differs by at most two standard errors of a proportion, and the loss by
    at most 5 %. What else differs (code, data, versions, machine) is listed. The exit status is 1
    if the two are different.

    Example: fmnist reproduce best
    """
    with told_in_a_line():
        from fashion_mnist.cli.reproductions import print_reproduction
        from fashion_mnist.conclusions.choice import find_run
        from fashion_mnist.tracking.reading import Reader

        store = Reader(uri)
        found = find_run(store, run, experiment)
        again = _train_again(found, store, data, output_dir, is_silent=as_json)
        print_reproduction(again, as_json=as_json)
    if again.comparison.verdict == "different":
        raise typer.Exit(1)


def _train_again(
    run: "RecordedRun", store: "Reader", data: Path | None, output_dir: Path, *, is_silent: bool
) -> "Reproduction":
    """The run and its second training, which is told of on the terminal unless JSON is wanted."""
    from contextlib import nullcontext

    from fashion_mnist.console import lines_on_stdout
    from fashion_mnist.errors import exit_status, in_words
    from fashion_mnist.reproduction.repeat import reproduce as train_again
    from fashion_mnist.runs.request import RunError
    from fashion_mnist.signals import StopRequested, stop_requests
    from fashion_mnist.terminal import observe

    telling = nullcontext() if is_silent else lines_on_stdout()
    try:
        with telling, stop_requests() as stop, observe(stop.check) as observer:
            return train_again(store, run, observer, output_dir=output_dir, data_dir=data)
    except (RunError, StopRequested) as error:
        raise failed(in_words(error), exit_status(error) or 1) from None
