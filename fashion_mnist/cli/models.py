"""Commands that use trained networks: evaluate, predict, average, train again, register, serve."""

from __future__ import annotations  # what takes time to import is imported by each command

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion_mnist.cli.output import (
    MODELS,
    AsJson,
    Experiment,
    Run,
    Runs,
    Uri,
    cell,
    collect_garbage_again,
    errors_in_a_line,
    note,
    open_run,
    print_json,
    print_table,
    print_text,
)
from fashion_mnist.config.store_uri import DEFAULT_STORE

if TYPE_CHECKING:
    from fashion_mnist.analysis.ensemble import ScoredEnsemble
    from fashion_mnist.analysis.evaluation import ScoredNetwork, Scores
    from fashion_mnist.analysis.networks import Prediction
    from fashion_mnist.analysis.reproduce import TrainingComparison
    from fashion_mnist.tracking.reader import Reader
    from fashion_mnist.tracking.recorded import RecordedRun

commands = typer.Typer()
EVALUATIONS = Path("outputs/evaluations")
MODEL_NAME, ALIAS = "fashion-mnist-mlp", "champion"
MOST_CLASSES = 15  # of a confusion matrix on the terminal
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
ModelName = Annotated[str, typer.Option("--name", help="Of the registered model.")]


@commands.command(rich_help_panel=MODELS)
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
    """Evaluate a run's network: scores, Wilson's intervals of shares, calibration, robustness.

    On its validation split; --split test reads its test set, which counts.

    Example: fmnist evaluate best --split test
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.evaluation import (
            content_of,
            record_scores,
            score_network,
            write_scores,
        )

        store, found = open_run(uri, run, experiment)
        scored = score_network(store, found, wanted=split, folder=data, with_robustness=robustness)
        _say_that_the_test_set_is_read(scored, record)
        files = write_scores(output or EVALUATIONS / found.run_id[:8], scored.scores)
        places = record_scores(store, scored, files) if record else []
        if as_json:
            print_json(
                {
                    "run": _identity(found),
                    "network": scored.source,
                    "data": scored.images.source,
                    **content_of(scored.scores),
                    "files": [str(file) for file in files],
                    "recorded_below": places,
                }
            )
            return
        print_text(f"{found.name}\n{found.run_id}")
        print_text(f"network from {scored.source}, images from {scored.images.source}")
        _print_scores(scored.scores)
        print_text("")
        _print_files(files)
        if places:
            print_text(f"recorded with the run, below {' and '.join(places)}")


@commands.command(rich_help_panel=MODELS)
def predict(
    run: Run,
    images: Annotated[
        list[Path], typer.Argument(help="PNG, JPEG, .npy, .npz or IDX files.", metavar="IMAGE…")
    ],
    top: Annotated[int, typer.Option(help="Classes that are shown of each image.", min=1)] = 3,
    invert: Annotated[
        str, typer.Option(help="auto (where the border is light), always or never.")
    ] = "auto",
    limit: Annotated[int, typer.Option(help="Rows at most; 0 for all.", min=0)] = 50,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Classify pictures of any size, and say how they were brought to the network's form.

    Example: fmnist predict best shirt.jpg drawings.npy
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.networks import predict as predict_files

        store, found = open_run(uri, run, experiment)
        predictions = predict_files(store, found, images, invert=invert)
        if as_json:
            print_json({"run": _identity(found), "images": list(map(_prediction, predictions))})
            return
        shown = predictions[: limit or None]
        rows = []
        for each in shown:
            (name, share), *others = each.ranked[:top]
            row = {"image": each.image.source, "class": name, "probability": share}
            row |= {"or": ", ".join(f"{name} {cell(share)}" for name, share in others)}
            rows.append(row | {"preprocessing": each.image.description})
        print_table(rows, drop=("preprocessing", "or"))
        if len(shown) < len(predictions):
            print_text(f"{len(shown):,} of {len(predictions):,}; --limit 0 for all")


@commands.command(rich_help_panel=MODELS)
def ensemble(
    runs: Runs,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Choose its members on the validation split.")
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
    """Evaluate the mean of several networks' probabilities; a sweep means all of its networks.

    It is compared with its best member, chosen on validation, by McNemar's exact test.

    Example: fmnist ensemble latest --greedy --split test
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.ensemble import find_members, record_readings, score_ensemble
        from fashion_mnist.analysis.evaluation import write_scores
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        members = find_members(store, runs, experiment, say=note)
        scored = score_ensemble(
            store, members, greedy=greedy, wanted=split, folder=data, with_robustness=robustness
        )
        if scored.images.is_own_test:
            first, total = len(scored.newly_tested), len(scored.runs)
            counted = "counts from now on" if record else "no record counts it (--no-record)"
            how = f"for {first} of {total} networks the first time, {counted}"
            note(f"the test set is read, for an ensemble: {how}")
            if record:
                record_readings(store, scored)
        files = write_scores(output or EVALUATIONS / f"ensemble-{scored.id}", scored.scores)
        _print_ensemble(scored, files, as_json=as_json)


@commands.command(rich_help_panel=MODELS)
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
    with errors_in_a_line():
        store, found = open_run(uri, run, experiment)
        folder, comparison = _train_again(found, store, data, output_dir, is_silent=as_json)
        if as_json:
            identity = {"run": found.run_id, "name": found.name, "folder": str(folder)}
            print_json({**identity, **comparison.as_json()})
        else:
            _print_reproduction(folder, comparison)
    if comparison.result == "different":
        raise typer.Exit(1)


@commands.command(rich_help_panel=MODELS)
def register(
    run: Run,
    alias: Annotated[str, typer.Option(help="What points to it from now on.")] = ALIAS,
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
    with errors_in_a_line():
        from fashion_mnist.analysis.registered import register as register_network
        from fashion_mnist.config.store_uri import unread_variables

        for variable in unread_variables():
            note(variable)
        store, found = open_run(uri, run, experiment)
        version, before, comparison = register_network(store, found, name=name, alias=alias)
        if as_json:
            test = comparison.test if comparison else None
            print_json(
                {
                    "name": version.name,
                    "version": version.number,
                    "run": found.run_id,
                    "alias": alias,
                    "before": vars(before) if before else None,
                    "result": comparison.result if comparison else None,
                    "split": comparison.split if test and comparison else None,
                    "test": vars(test) if test else None,
                    "why_untested": (comparison.why_untested or None) if comparison else None,
                }
            )
            return
        print_text(f"{version.name} version {version.number} is {found.name} ({found.run_id})")
        if before == version:
            print_text(f"it had the alias {alias} already")
            return
        was = f", and version {before.number} no longer" if before else ""
        print_text(f"it has the alias {alias}{was}")
        if comparison is not None:
            print_text(comparison.words())


@commands.command(rich_help_panel=MODELS)
def serve(
    run: Annotated[
        str | None,
        typer.Argument(help="As elsewhere; left out, the registered one.", metavar="[RUN]"),
    ] = None,
    alias: Annotated[str, typer.Option(help="Of the registered network.")] = ALIAS,
    name: ModelName = MODEL_NAME,
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 5001,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
) -> None:
    """Serve a network over HTTP, for this machine alone.

    It starts `mlflow models serve`. The network checks its input: a wrong shape, and what is
    no pixel, are answered with 400 and a reason. A client sends images of 28 rows of 28 pixels:
    curl -H 'content-type: application/json' -d '{"inputs": [[[0, …], …]]}'
    http://127.0.0.1:5001/invocations

    Example: fmnist serve --alias champion --port 5001
    """
    with errors_in_a_line():
        import tempfile

        from fashion_mnist.analysis.networks import load_network, require_network
        from fashion_mnist.analysis.registered import registered_run
        from fashion_mnist.tracking.reader import Reader
        from fashion_mnist.tracking.server import serve as serve_model
        from fashion_mnist.training.checkpoint import save_model

        if run:
            store, found = open_run(uri, run, experiment)
        else:
            store = Reader(uri)
            found = registered_run(store, name, alias)
        model, _ = load_network(store, require_network(found))
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder, "model.safetensors"), model)
            serve_model(
                Path(folder, "model.safetensors"), name=found.name, port=port, say=print_text
            )


def _say_that_the_test_set_is_read(scored: ScoredNetwork, record: bool) -> None:
    if not scored.images.is_own_test:
        return
    if not scored.is_first_test:
        how = "it was read before, and counts"
    elif record:
        how = "the first time: it counts from now on, as test/… of the run"
    else:
        how = "no record counts it (--no-record)"
    note(f"the test set of {scored.run.name} is read: {how}")


def _print_scores(scores: Scores) -> None:
    from fashion_mnist.analysis.evaluation import tables_of
    from fashion_mnist.analysis.labels import metric_name
    from fashion_mnist.config.messages import plural
    from fashion_mnist.metrics.confusions import absent_classes, most_confused

    tables, names = tables_of(scores), scores.class_names
    counts = scores.predictions.counts.tolist()
    images = plural(len(scores.predictions.labels), "image")
    print_text(f"\n{scores.result.name}: {images}; low and high: 95 % intervals (Wilson)")
    rows = [row | {"figure": metric_name(row["figure"])} for row in tables["figures"]]
    print_table(rows, {"figure": "", "value": "", "low": "low", "high": "high"})
    print_text("")
    titles = {"class": "class", "precision": "precision", "recall": "recall"}
    titles |= {"recall_low": "low", "recall_high": "high", "f1": "F1", "support": "images"}
    print_table(tables["classes"], titles)
    if absent := absent_classes(counts, names):
        print_text(absent)
    if len(names) <= MOST_CLASSES:
        print_text("\nrows true, columns predicted, by the numbers of the classes")
        print_table(
            [
                {"": f"{number} {name}"} | {str(n): count for n, count in enumerate(own)}
                for number, (name, own) in enumerate(zip(names, counts, strict=True))
            ]
        )
    print_text("")
    for mistake in most_confused(counts, names):
        print_text(f"  {mistake.words()}")
    print_text("\nwhere the network may abstain, the most confident predictions first")
    titles = {"coverage": "coverage", "from": "from confidence", "accuracy": "accuracy"}
    print_table(tables["coverage"], titles | {"accuracy_low": "low", "accuracy_high": "high"})
    if scores.robustness:
        print_text("\naccuracy on corrupted images")
    for name, (unit, levels) in scores.robustness.items():
        print_text(f"  {name} ({unit})")
        words = (f"{level.strength:g}: {cell(level.accuracy)}" for level in levels)
        print_text(f"    {'   '.join(words)}")


def _print_files(files: Sequence[Path]) -> None:
    from fashion_mnist.config.messages import plural

    print_text(f"{plural(len(files), 'file')} in {files[0].parent}")


def _print_ensemble(scored: ScoredEnsemble, files: Sequence[Path], *, as_json: bool) -> None:
    """Print its members, how often each counts, and the scores of all together."""
    from fashion_mnist.analysis.evaluation import content_of
    from fashion_mnist.analysis.labels import difference_result, p_text
    from fashion_mnist.config.messages import plural
    from fashion_mnist.tracking.recorded import VALIDATION

    test, best = scored.vs_best(), scored.runs[scored.best]
    members: list[dict[str, Any]] = [
        _identity(run)
        | {"weight": weight, "accuracy": float(own.is_right.mean()), "nll": own.metrics["nll"]}
        for run, weight, own in zip(scored.runs, scored.weights, scored.alone, strict=True)
    ]
    if as_json:
        steps = [{**asdict(step), "added": scored.runs[step.added].run_id} for step in scored.steps]
        vs_best = {"run": best.run_id, "difference": test.difference, "p": test.p}
        print_json(
            {
                "runs": members,
                "steps": steps,
                "beside_the_best_alone": vs_best,
                "data": scored.images.source,
                **content_of(scored.scores),
                "files": [str(file) for file in files],
            }
        )
        return
    titles = {"id": "id", "name": "name", "weight": "counts", "accuracy": "accuracy alone"}
    titles |= {"nll": "neg. log-likelihood alone"}
    print_table([row | {"id": row["id"][:8]} for row in members], titles, drop=["nll"])
    if scored.steps:
        is_biased = scored.images.name == VALIDATION
        biased = ", so its scores are optimistically biased" if is_biased else ""
        print_text(f"chosen in {plural(len(scored.steps), 'step')} on the validation split{biased}")
    print_text(f"images from {scored.images.source}")
    _print_scores(scored.scores)
    result = difference_result(test.difference, test.p)
    print_text(
        f"\nvs. best on validation ({best.name}): {100 * test.difference:+.2f} points of accuracy; "
        f"{result} on these images (McNemar's exact test, {p_text(test.p)})"
    )
    _print_files(files)


def _print_reproduction(folder: Path, comparison: TrainingComparison) -> None:
    """Print the result, and what it rests on."""
    from fashion_mnist.analysis.labels import p_text, short_value
    from fashion_mnist.tracking.links import short_path

    titles = {"name": "", "recorded": "recorded", "here": "here"}
    print_text("")
    print_table(comparison.metrics, titles | {"allowed": "may differ by", "is_near": "near"})
    print_text("")
    origins = [
        row | {key: row[key] and short_value(row[key]) for key in ("recorded", "here")}
        for row in comparison.origins
    ]
    same = {True: "yes", False: "no", None: "not known"}
    rows = [row | {"same": same[row["same"]]} for row in origins]
    print_table(rows, titles | {"same": "the same"})
    if test := comparison.test:
        print_text(
            f"\nof {test.num_images:,} images the recorded network alone has {test.first_alone:,} "
            f"right and this one alone {test.second_alone:,} (McNemar's exact test, "
            f"{p_text(test.p)})"
        )
    print_text(f"\n{comparison.words()}\nthe second training is in {short_path(folder)}")


def _train_again(
    run: RecordedRun, store: Reader, data: Path | None, output_dir: Path, *, is_silent: bool
) -> tuple[Path, TrainingComparison]:
    """Its second training, whose progress is printed unless JSON is wanted."""
    from contextlib import nullcontext

    from fashion_mnist.analysis.reproduce import reproduce as train_again
    from fashion_mnist.cli.console import lines_on_stdout, observe
    from fashion_mnist.runs.signals import stop_requests

    collect_garbage_again()
    printing = nullcontext() if is_silent else lines_on_stdout()
    with printing, stop_requests() as stop, observe(stop.check) as observer:
        return train_again(store, run, observer, output_dir=output_dir, data_dir=data)


def _identity(run: RecordedRun) -> dict[str, str]:
    return {"id": run.run_id, "name": run.name}


def _prediction(each: Prediction) -> dict[str, Any]:
    name, probability = each.ranked[0]
    return {
        "image": each.image.source,
        "class": name,
        "probability": probability,
        "probabilities": dict(each.ranked),
        "done": list(each.image.steps),
    }
