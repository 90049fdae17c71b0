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
    from fashion_mnist.analysis.reproduce import Reproduction
    from fashion_mnist.tracking.reader import Reader
    from fashion_mnist.tracking.recorded import RecordedRun

commands = typer.Typer()
MODEL_NAME, CHAMPION = "fashion-mnist-mlp", "champion"
ModelName = Annotated[str, typer.Option("--name", help="Of the registered model.")]


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
    """Train a recorded run again, and compare: the same bits, near, or different.

    From what is stored, with the device, precision and threads that it was trained with; it is
    recorded nowhere. Different: McNemar's exact test of the two networks' predictions has a p of
    at most 0.05, or the first epoch's train/loss differs by more than 2 %. What else differs (code,
    data, versions, machine) is listed. The exit status is 1 if the two are different.

    Example: fmnist reproduce best
    """
    with told_in_a_line():
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.cli.reproductions import print_reproduction
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        found = find_run(store, run, experiment)
        again = _train_again(found, store, data, output_dir, is_silent=as_json)
        print_reproduction(again, as_json=as_json)
    if again.comparison.verdict == "different":
        raise typer.Exit(1)


@commands.command(rich_help_panel=NETWORKS)
def register(
    run: Run,
    alias: Annotated[str, typer.Option(help="What points to it from now on.")] = CHAMPION,
    name: ModelName = MODEL_NAME,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Put a recorded network into MLflow's model registry, under an alias.

    It is first compared with the network that has the alias so far, by McNemar's exact test on the
    test set where both have read it, else on the validation split, where a network that was chosen
    by its score is optimistically biased. A network is registered once, however often asked.

    Example: fmnist register best --alias champion
    """
    with told_in_a_line():
        from fashion_mnist.analysis.compare import challenge
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.analysis.networks import demand_network, recorded_model
        from fashion_mnist.cli.registrations import print_registration, unrecorded
        from fashion_mnist.config.store_uri import unread_variables
        from fashion_mnist.tracking.reader import Reader
        from fashion_mnist.tracking.recorded import MODEL_FOLDER
        from fashion_mnist.tracking.registry import Registry

        for note in unread_variables():
            typer.echo(note, err=True)
        store = Reader(uri)
        found = demand_network(find_run(store, run, experiment))
        if not store.artifacts(found, MODEL_FOLDER):
            raise OSError(unrecorded(store, found))
        recorded_model(store, found)  # or it says that these are not the run's weights
        registry = Registry(uri)
        before = registry.with_alias(name, alias)
        other = before and before.run_id != found.run_id and store.run(before.run_id)
        comparison = challenge(store, other, found) if other else None
        version = registry.register(name, found)
        registry.give_alias(version, alias)
        print_registration(found, version, alias, before, comparison, as_json=as_json)


@commands.command(rich_help_panel=NETWORKS)
def serve(
    run: Annotated[
        str | None,
        typer.Argument(help="As elsewhere; left out, the registered one.", metavar="[RUN]"),
    ] = None,
    alias: Annotated[str, typer.Option(help="Of the registered network.")] = CHAMPION,
    name: ModelName = MODEL_NAME,
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 5001,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
) -> None:
    """Answer requests with a network, over HTTP, for this machine alone.

    It starts `mlflow models serve`. The network looks at what is asked: a wrong shape, and what is
    no pixel, are answered with 400 and a reason. A client sends images of 28 rows of 28 pixels:
    curl -H 'content-type: application/json' -d '{"inputs": [[[0, …], …]]}'
    http://127.0.0.1:5001/invocations

    Example: fmnist serve --alias champion --port 5001
    """
    with told_in_a_line():
        import tempfile

        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.analysis.networks import demand_network, load_network
        from fashion_mnist.cli.tables import print_text
        from fashion_mnist.tracking.packaged_model import serve as answer
        from fashion_mnist.tracking.reader import Reader
        from fashion_mnist.training.checkpoint import save_model

        store = Reader(uri)
        found = find_run(store, run, experiment) if run else _registered(store, uri, name, alias)
        network = load_network(store, demand_network(found))
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder, "model.safetensors"), network.model)
            answer(Path(folder, "model.safetensors"), name=found.name, port=port, say=print_text)


def _registered(store: "Reader", uri: str, name: str, alias: str) -> "RecordedRun":
    """The run whose network has the alias."""
    from fashion_mnist.tracking.registry import Registry

    version = Registry(uri).with_alias(name, alias)
    if version is None:
        raise ValueError(
            f"no version of {name!r} has the alias {alias!r}: fmnist register RUN --alias {alias}"
        )
    found = store.run(version.run_id)
    if found is None:
        raise OSError(f"version {version.number} of {name!r} is of a run that is gone")
    return found


def _train_again(
    run: "RecordedRun", store: "Reader", data: Path | None, output_dir: Path, *, is_silent: bool
) -> "Reproduction":
    """The run and its second training, which is told of on the terminal unless JSON is wanted."""
    from contextlib import nullcontext

    from fashion_mnist.analysis.reproduce import reproduce as train_again
    from fashion_mnist.console import lines_on_stdout
    from fashion_mnist.errors import exit_status, in_words
    from fashion_mnist.runs.run_dir import RunError
    from fashion_mnist.runs.signals import StopRequested, stop_requests
    from fashion_mnist.terminal import observe

    telling = nullcontext() if is_silent else lines_on_stdout()
    try:
        with telling, stop_requests() as stop, observe(stop.check) as observer:
            return train_again(store, run, observer, output_dir=output_dir, data_dir=data)
    except (RunError, StopRequested) as error:
        raise failed(in_words(error), exit_status(error) or 1) from None
