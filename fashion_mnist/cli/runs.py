"""Commands that show what recorded runs say: lists, leaderboards, comparisons, reports."""

from __future__ import annotations  # what takes time to import is imported by each command

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion_mnist.analysis.labels import ORIGIN
from fashion_mnist.analysis.text_table import terminal_width
from fashion_mnist.cli.output import (
    RESULTS,
    AsJson,
    Experiment,
    Run,
    Runs,
    Uri,
    cell,
    errors_in_a_line,
    note,
    open_run,
    print_json,
    print_lines,
    print_table,
    print_text,
)
from fashion_mnist.config.store_uri import DEFAULT_STORE

if TYPE_CHECKING:
    from fashion_mnist.analysis.compare import ComparedNetworks
    from fashion_mnist.tracking.recorded import RecordedRun

commands = typer.Typer()
COMPARISONS = Path("outputs/comparisons")
COLUMNS = "name,status,started,duration,final/val_accuracy,test/accuracy,sweep"
SWEEP_COLUMNS = "status,final/val_accuracy,test/accuracy,duration"  # beside what was swept
TITLES = {"final/val_accuracy": "val accuracy", "test/accuracy": "test accuracy"}
STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED", "SCHEDULED")
# the tags that say what a run is and where it came from, under the names that people read
TAGS = {
    "failure": "why it failed",
    "pruned": "pruned",
    "early_stopping": "early stopping",
    "sweep.axes": "swept",
    "sweep.objective": "ranked by",
    "copy_of": "copy of",
    "fingerprint": "fingerprint",
    "weights_sha256": "weights (SHA-256)",
    **ORIGIN,
    "stack_size": "stack size",
    "numerics": "numerics",
}


@commands.command(rich_help_panel=RESULTS)
def runs(
    experiment: Experiment = None,
    sweep: Annotated[
        str | None, typer.Option(help="Only this sweep's: id, name, latest or best.")
    ] = None,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATUSES)}.")] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option("--filter", help="As seed=1, 'final/val_accuracy>0.9'; repeat it."),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="By this metric, parameter or tag; -KEY descending.")
    ] = "-started",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            help=f"Keys, comma-separated; else {COLUMNS}, and of a sweep what was swept.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows at most; 0 for all.", min=0)] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="Copies, sweeps and runs of other programs too.")
    ] = False,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List recorded networks, newest first.

    A run that was recorded under several sweeps counts once. With --sweep each swept key is a
    column.

    Example: fmnist runs --filter optimizer.name=adamw --sort=-final/val_accuracy --limit 10
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.lookup import (
            check_key,
            choose,
            ordered,
            short_ids,
            swept_keys,
        )
        from fashion_mnist.tracking.reader import Reader

        found = Reader(uri).runs(experiment)
        parent = None if sweep is None else choose(found, sweep, "sweep", say=note)
        chosen = _filtered(found, parent, status, condition or [], everything)
        key = sort.removeprefix("-")
        swept = swept_keys(parent) if parent and columns is None else []
        words = (columns or (SWEEP_COLUMNS if swept and not as_json else COLUMNS)).split(",")
        wanted = [word.strip() for word in words if word.strip()]
        for each in (key, *(k for k in wanted if k not in TITLES)):
            check_key(each, found)
        keys = [*swept, *wanted]
        chosen = ordered(chosen, key, descending=sort.startswith("-") != reverse)
        shown = chosen[: limit or None]
        rows = _run_rows(shown, found, keys)
        if as_json:
            print_json({"runs": rows})
            return
        ids = short_ids(found)
        for row in rows:
            row["id"] = ids[row["id"]]
        if rows:
            titles = {"id": "id"} | {key: TITLES.get(key, key) for key in keys}
            # what was asked for explicitly is all shown, as far as names can be cut
            may_go = () if columns else ("duration", "sweep", "status")
            print_table(rows, titles, drop=[key for key in may_go if key in keys[1:]])
        if not found:
            print_text("there are no runs yet: fmnist train")
        elif not chosen:
            print_text(
                f"none of {len(found):,} recorded runs matches; --all has those of every kind"
            )
        elif len(shown) < len(chosen):
            print_text(f"{len(shown):,} of {len(chosen):,}; --limit 0 for all")


def _run_rows(
    shown: Sequence[RecordedRun], found: Sequence[RecordedRun], keys: Sequence[str]
) -> list[dict[str, Any]]:
    """The id and the values of these keys of each run; its sweep by its name, if that is found."""
    from fashion_mnist.analysis.lookup import value_of

    rows: list[dict[str, Any]] = [
        {"id": run.run_id, **{key: value_of(run, key) for key in keys}} for run in shown
    ]
    if "sweep" in keys:
        names = {run.run_id: run.name for run in found}
        for row, run in zip(rows, shown, strict=True):
            row["sweep"] = names.get(run.parent_id, run.parent_id) or None
    return rows


@commands.command(rich_help_panel=RESULTS)
def show(
    run: Run, experiment: Experiment = None, uri: Uri = DEFAULT_STORE, as_json: AsJson = False
) -> None:
    """Show one run: configuration, curves, scores, most confused classes, files.

    Example: fmnist show best
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.details import read_details

        store, found = open_run(uri, run, experiment)
        details = read_details(store, found, every_curve=as_json)
        if as_json:
            print_json(details)
            return
        _print_details(found, details)


@commands.command(rich_help_panel=RESULTS)
def leaderboard(
    what: Annotated[
        str | None,
        typer.Argument(
            help="An experiment's name; or a sweep's id, name, latest (the sweep started last) or "
            "best. Without: the experiment of the newest run.",
            metavar="[SWEEP|EXPERIMENT]",
        ),
    ] = None,
    uri: Uri = DEFAULT_STORE,
    experiment: Experiment = None,
    limit: Annotated[int, typer.Option(help="Settings shown at most; 0 for all.", min=0)] = 20,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown, for a README.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rank settings by the sweep's objective, else validation accuracy; test each vs. the best.

    Runs that differ in nothing but seed and fold are repetitions of one setting; settings with
    fewer than the others come last. Tests: paired t over common seeds; one seed's folds, the
    corrected resampled t (Nadeau and Bengio); single networks, McNemar's exact test; Holm-adjusted.

    Example: fmnist leaderboard latest --limit 10
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.labels import metric_name
        from fashion_mnist.analysis.stored_leaderboard import leaderboard as build
        from fashion_mnist.tracking.reader import Reader

        board = build(Reader(uri), what, experiment=experiment, limit=limit or None)
        if as_json:
            print_json(board.as_json())
            return
        print_text(f"{board.title}: {board.size()}, ranked by {metric_name(board.score)}")
        if markdown:
            print_text("\n".join(["", *board.markdown(), ""]))
        else:
            print_lines(board.text(terminal_width()))
        for line in board.notes():
            print_text(line)


@commands.command(rich_help_panel=RESULTS)
def compare(
    runs: Runs,
    split: Annotated[str, typer.Option(help="validation or test.")] = "validation",
    output: Annotated[
        Path | None, typer.Option(help=f"Where files go; else below {COMPARISONS}.")
    ] = None,
    record: Annotated[bool, typer.Option(help="Make it a run of the store, too.")] = True,
    experiment: Experiment = None,
    uri: Uri = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Compare networks with the first one by their predictions of the same images.

    Scores, McNemar's exact test (Holm-adjusted), differences by a paired bootstrap over images,
    confusion matrices, calibration, images on which they disagree; the page has all of it.

    Two to ten networks; a sweep stands for its own. One that is named twice counts once.

    Example: fmnist compare best latest --split test
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.compare import compare as build
        from fashion_mnist.analysis.compare import (
            read_pictured,
            record_comparison,
            write_comparison,
        )
        from fashion_mnist.analysis.lookup import select_runs
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        selected = select_runs(store, runs, experiment, say=note)
        comparison = build(store, selected.networks, split)
        images, remark = read_pictured(comparison)
        folder = output or COMPARISONS / comparison.name
        files = write_comparison(comparison, folder, images, remark=remark)
        run_id, problem = "", None
        try:
            run_id = record_comparison(store.uri, comparison, files) if record else ""
        except OSError as error:
            problem = error  # the result is printed first
        print_comparison(comparison, files, run_id, as_json=as_json)
        if problem is not None:
            raise problem


@commands.command(rich_help_panel=RESULTS)
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
    with errors_in_a_line():
        from fashion_mnist.analysis.lookup import find_run
        from fashion_mnist.tracking.reader import Reader

        store = Reader(uri)
        one, other = (find_run(store, word, experiment, say=note) for word in (first, second))
        print_differences(one, other, as_json=as_json)


@commands.command(rich_help_panel=RESULTS)
def report(
    what: Runs,
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

    Question, leaderboard with its tests (as in fmnist leaderboard), main effects, confusion
    matrices, most confused classes with images, calibration, costs, how to repeat it.

    Example: fmnist report widths -o report.html
    """
    with errors_in_a_line():
        from fashion_mnist.analysis.lookup import select_runs
        from fashion_mnist.analysis.report import build_report, content_of
        from fashion_mnist.analysis.report_page import check_output, write_report
        from fashion_mnist.tracking.reader import Reader

        check_output(output)
        store = Reader(uri)
        subject = select_runs(store, what, experiment, say=note)
        found = build_report(store, subject, limit=limit or None, folder=data)
        write_report(found, output)
        if as_json:
            print_json({**content_of(found), "file": str(output)})
            return
        for line in found.board.answer():
            print_text(line)
        print_text(str(output))


def print_comparison(
    comparison: ComparedNetworks, files: Sequence[Path], run_id: str, *, as_json: bool
) -> None:
    """Print all its tables, and where it is kept.

    Args:
        files: the page first.
        run_id: of the run that it was recorded as; empty for none.
    """
    from fashion_mnist.tracking.links import short_path

    if as_json:
        places = {"files": list(map(str, files)), "run_id": run_id or None}
        print_json({**comparison.as_json(), **places})
        return
    for rows in comparison.tables().values():
        # where there is no room differences are left out, the last first: the page has them all
        gaps = [key for key in reversed(rows[0]) if " − " in key]
        print_table(rows, shrink=("run", "settings"), drop=gaps)
        print_text("")
    for line in (*comparison.notes(), "", *comparison.headline()):
        print_text(line)
    print_text(f"page: {short_path(files[0])}")
    if run_id:
        print_text(f"recorded as the run {run_id}")


def print_differences(first: RecordedRun, second: RecordedRun, *, as_json: bool) -> None:
    """Print in what two runs differ."""
    from fashion_mnist.analysis.details import differences, in_short
    from fashion_mnist.analysis.labels import short_value

    runs, found = {"A": first, "B": second}, differences(first, second)
    if as_json:
        content = {
            "runs": {letter: run.run_id for letter, run in runs.items()},
            "in_short": in_short(first, second),
            "differences": found,
        }
        print_json(content)
        return
    for letter, run in runs.items():
        print_text(f"{letter}: {run.name} ({run.run_id})")
    rows = []
    for each, before in zip(found, [None, *found], strict=False):
        part = each["part"] if before is None or before["part"] != each["part"] else ""
        values = {letter: each[letter] for letter in runs}
        short = {k: short_value(v) if isinstance(v, str) else v for k, v in values.items()}
        rows.append({"part": part, "key": each["key"], **short})
    if rows:
        print_table(rows, {"part": "", "key": "", "A": "A", "B": "B"}, shrink=("A", "B"))
    print_text(in_short(first, second))


def _filtered(
    found: list[RecordedRun],
    sweep: RecordedRun | None,
    status: str | None,
    conditions: list[str],
    everything: bool,
) -> list[RecordedRun]:
    """Those of the runs that the options ask for."""
    from fashion_mnist.analysis.lookup import fulfil, without_copies

    chosen = [run for run in found if everything or run.is_network]
    if sweep is not None:
        chosen = [run for run in chosen if run.parent_id == sweep.run_id]
    if status is not None:
        if status.upper() not in STATUSES:
            raise ValueError(f"--status must be one of {', '.join(STATUSES)}, got {status!r}")
        chosen = [run for run in chosen if run.status == status.upper()]
    chosen = fulfil(chosen, conditions)
    return chosen if everything else without_copies(chosen)


def _print_details(run: RecordedRun, details: Mapping[str, Any]) -> None:
    from fashion_mnist.analysis.details import grouped

    words = [run.status, f"started {cell(run.start)}"]
    words += [f"took {cell(run.duration)}"] if run.duration else []
    words += [f"experiment {run.experiment}"]
    words += [f"part of {run.parent_id}"] if run.parent_id else []
    print_text(f"{run.name}\n{run.run_id}\n{', '.join(words)}")
    if run.status != "FINISHED" and run.tags.get("failure"):
        print_text(f"why it failed: {run.tags['failure']}")
    print_text("\nconfiguration")
    for group, settings in grouped(run.parameters):
        # a setting is not broken, and where there is no room goes on in the next line
        head = f"{group:<12}"
        lines = textwrap.wrap(
            settings,
            max(terminal_width() or 10_000, len(head) + 40),
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
        print_text("\n".join(lines))
    for title, rows in _sections(run, details):
        if rows:
            print_text(f"\n{title}")
            named = [{str(k): text for k, text in enumerate(row)} for row in rows]
            print_table(named, dict.fromkeys(named[0], ""), shrink=())
    if details["files_missing"]:
        print_text(f"\nits files cannot be listed: {details['files_missing']}")


def _sections(
    run: RecordedRun, details: Mapping[str, Any]
) -> Iterator[tuple[str, list[list[str]]]]:
    """Title and rows of each part; the rows of a part are of one length."""
    from rich.filesize import decimal

    from fashion_mnist.analysis.details import sparkline
    from fashion_mnist.config.messages import plural

    curves = []
    for key, points in details["curves"].items():
        values = list(points.values())
        if values:
            course = f"{cell(float(values[0]))} to {cell(float(values[-1]))}"
            curves.append([key, sparkline(values), f"{course}, {plural(len(values), 'epoch')}"])
    yield "curves", curves
    starts = ("final/", "test/", "best/")  # of metrics that are no curves
    scores = {key: value for key, value in run.metrics.items() if key.startswith(starts)}
    yield (
        "scores",
        [
            [key, f"{value:.0f}" if key == "final/epoch" else cell(value)]
            for key, value in scores.items()
        ],
    )
    confused = details["most_confused"]
    yield (
        f"most confused ({confused['split']})",
        [
            [f"{each['true']} taken for {each['predicted']}", f"{each['count']}/{each['support']}"]
            for each in confused["pairs"]
        ],
    )
    sizes = {file["path"]: file["bytes"] for file in details["files"]}
    yield (
        "files",
        [
            [path, cell(None) if size is None else decimal(size)]
            for path, size in sizes.items()
            # images/ holds copies of the pictures, with long names, for MLflow's charts
            if not path.startswith("images/")
        ],
    )
    yield "origin", [[name, run.tags[tag]] for tag, name in TAGS.items() if run.tags.get(tag)]
