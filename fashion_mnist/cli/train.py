"""What `fmnist train` starts: checks and composes with Hydra, trains, and reports the result."""

import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from fashion_mnist.cli.console import observe, summarize_run
from fashion_mnist.cli.hydra_jobs import JobsInHydra
from fashion_mnist.cli.output import errors_in_a_line, in_words
from fashion_mnist.config.compose import (
    CONFIG_NAME,
    LAUNCHER,
    OWN_LAUNCHER,
    Composer,
    check_folders,
    composed_by_hydra,
    first_line,
    hydra_config,
    job_config,
)
from fashion_mnist.config.messages import ConfigError, RunError, printable
from fashion_mnist.config.store_uri import unread_variables
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.data.idx import DataError
from fashion_mnist.runs.events import RUNS
from fashion_mnist.runs.files import list_folder, run_lock
from fashion_mnist.runs.identity import CHOSEN
from fashion_mnist.runs.records import OVERRIDES_FILE, parameters_of, read_overrides
from fashion_mnist.runs.request import (
    ENDED,
    Request,
    RequestResult,
    find_run,
    identify,
    last_attempt,
    load_data,
    validation_accuracy_of,
)
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import StopRequested, StopRequests, stop_requests
from fashion_mnist.runs.trainer import train
from fashion_mnist.sweeps.definition import check_sweep, is_sweep, is_swept
from fashion_mnist.sweeps.jobs import child_request
from fashion_mnist.sweeps.runner import run_sweep
from fashion_mnist.tracking.checks import demand_store
from fashion_mnist.tracking.links import (
    pages,
    run_link,
    short_path,
    show_command,
    train_command,
)
from fashion_mnist.tracking.upload_state import Outcome
from fashion_mnist.tracking.uploader_process import begin_uploading, outcome_of_uploads

log = logging.getLogger("fashion_mnist")

DRY_RUN = "--dry-run"
# any other ValueError is an error of the program, and has its traceback
EXPECTED = (ConfigError, DataError, RunError, OSError)
MOST_COMPARED = 50  # runs, the latest ones


def main(arguments: Sequence[str]) -> None:
    """Run `fmnist train ARGUMENTS`; they are Hydra's: overrides and its flags, and `--dry-run`.

    Raises:
        SystemExit: 2 for a mistake in the config, 1 for a failed run, 128 + signal when stopped.
    """
    logging.raiseExceptions = False  # else Hydra's file on a full disk is a traceback a line
    with errors_in_a_line(EXPECTED):
        try:
            _main(arguments)
        except HydraException as error:
            raise ConfigError([first_line(error)]) from error


def _main(arguments: Sequence[str]) -> None:
    dry_run = DRY_RUN in arguments
    arguments = [word for word in arguments if word != DRY_RUN]
    parser = get_args_parser()
    # flags may stand between overrides, which Hydra itself does not take
    options = parser.parse_intermixed_args(arguments)
    _check_flags(options, arguments)
    composer = Composer(options.config_dir)
    if options.shell_completion:
        composer.hydra.shell_completion(CONFIG_NAME, options.overrides)
    elif options.help or options.hydra_help or options.cfg or options.info:
        _show(composer, options, parser)
    elif options.multirun or dry_run or is_sweep(options.overrides, composer):
        _sweep(composer, options.overrides, dry_run=dry_run)
    else:
        _run_alone(composer, options.overrides)


def _check_flags(options: Namespace, arguments: Sequence[str]) -> None:
    """Raise ConfigError for flags of Hydra's that are not supported, or not together."""
    # another config in place of the packaged one, or a pickle of one
    for flag in ("config_path", "config_name", "experimental_rerun"):
        if vars(options)[flag]:
            name = flag.replace("_", "-")
            raise ConfigError(
                [f"--{name} must not be: --config-dir names a folder of YAML of yours"]
            )
    folders = ArgumentParser(add_help=False)
    folders.add_argument("--config-dir", "-cd", action="append", default=[])
    several = folders.parse_known_args(arguments)[0].config_dir
    if len(several) > 1:
        raise ConfigError([f"--config-dir names one folder, got {' and '.join(several)}"])


def _show(composer: Composer, options: Namespace, parser: ArgumentParser) -> None:
    """Have Hydra show something, and run nothing."""
    words, problems = composer.read([text for text in options.overrides if not is_swept(text)])
    if problems:
        raise ConfigError(problems)
    composer.files(words)  # looks at what the files say of Hydra itself
    hydra, overrides = composer.hydra, composer.hydra_words(options.overrides)
    options.overrides = overrides
    if options.help:
        hydra.app_help(CONFIG_NAME, parser, options)
    elif options.hydra_help:
        hydra.hydra_help(CONFIG_NAME, parser, options)
    elif options.cfg:
        hydra.show_cfg(CONFIG_NAME, overrides, options.cfg, options.package, options.resolve)
    else:
        hydra.show_info(options.info, CONFIG_NAME, overrides)


def _sweep(composer: Composer, overrides: Sequence[str], *, dry_run: bool) -> None:
    """Check a sweep and run it."""
    sweep = check_sweep(overrides, composer)
    _print_notes(unread_variables())
    if any(text.lstrip("+").startswith("tracking.run_name=") for text in overrides):
        _print_notes(["tracking.run_name names no run of a sweep: each is named by what differs"])
    config = sweep.hydra_config()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    with errors_in_a_line(EXPECTED, say=log.error):
        status = run_sweep(sweep, JobsInHydra(_context(composer), config, _job), dry_run=dry_run)
    if status:
        raise SystemExit(status)


def _run_alone(composer: Composer, overrides: Sequence[str]) -> None:
    """Check a run, and train it where Hydra has made a folder and a log for it."""
    job = composer.job(overrides)
    words, _ = composer.read(overrides)
    files = composer.files(words)
    _print_notes([*composer.notes(), *unread_variables()])
    if files.launcher != OWN_LAUNCHER:
        _print_notes([f"{LAUNCHER}={files.launcher} is for sweeps (-m): this run is trained here"])
    hydra = hydra_config(files, job.overrides, RunMode.RUN)

    def task(_: DictConfig) -> None:
        with errors_in_a_line(EXPECTED, say=log.error):
            _train_alone(Request(job.config, job.overrides, job.choices), composer.config_dir)

    own = job_config(hydra, job.config, job.overrides)
    check_folders(own, "hydra.run.dir")
    returned = run_job(
        hydra_context=_context(composer),
        task_function=task,
        config=own,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
    )
    _ = returned.return_value  # raises what went wrong


def _context(composer: Composer) -> HydraContext:
    return HydraContext(config_loader=composer.hydra.config_loader, callbacks=Callbacks())


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(printable(note), file=sys.stderr)


def _job(
    config: DictConfig, *, parent: str, axes: Sequence[str], retry_failed: bool
) -> float | None:
    """A job of one of Hydra's own launchers; the validation accuracy.

    Args:
        parent: the id of the sweep's event log.
        axes: the keys that may differ between the jobs of the sweep.
        retry_failed: train again what failed before.
    """
    hydra = HydraConfig.get()
    job = composed_by_hydra(config, hydra.overrides.task, hydra.runtime.choices)
    request = child_request(job, axes, retry_failed=retry_failed)
    dataset = _load_data(request)
    try:
        with stop_requests() as stop:
            result = _train(request, dataset, stop, parent=parent)
            accuracy = _report(result, where=[])  # it is sent while the others are trained
            stop.check()
    except StopRequested as error:
        raise KeyboardInterrupt from error  # Hydra's launchers go on after an Exception
    return accuracy


def _train_alone(request: Request, config_dir: str | None) -> None:
    """Train a run, and say what came of it and where it is.

    Raises:
        SystemExit: a signal has asked to stop.
    """
    dataset = _load_data(request)
    _print_notes(_interrupted_run(request, dataset, config_dir))
    with stop_requests() as stop:
        try:
            result = _train(request, dataset, stop)
        except StopRequested as error:
            log.error(in_words(error))
            folder = find_run(request, identify(request.config, dataset))
            outcome = _wait_for_upload(folder, request, stop)
            if outcome is not None and not outcome.is_complete:
                log.info("\n".join(_links(folder, outcome)))
            raise SystemExit(error.exit_status) from None
        outcome = _wait_for_upload(result.folder, request, stop)
        _report(result, where=_links(result.folder, outcome, is_latest=not result.was_known))
        if stop.request is not None:
            log.info("stopped by %s: the run is finished", stop.request)
            raise SystemExit(stop.request.exit_status)


def _load_data(request: Request) -> Dataset:
    """The run's data; until here nothing is begun, and a signal ends the program."""
    demand_store(request.config.tracking.uri, request.config.tracking.offline)
    return load_data(request.config)


def _train(
    request: Request, dataset: Dataset, stop: StopRequests, *, parent: str = ""
) -> RequestResult:
    with observe(stop.check) as observer:
        [result] = train(
            [request], dataset, observer, parent=parent, start_uploader=begin_uploading
        )
    return result


def _report(result: RequestResult, *, where: Sequence[str]) -> float | None:
    """Say what came of a run; its validation accuracy."""
    accuracy = validation_accuracy_of(result)
    known = "was trained before; rerun=true trains it again" if result.was_known else ""
    log.info(summarize_run(result.folder, note=known, where=where))
    return accuracy


def _interrupted_run(request: Request, dataset: Dataset, config_dir: str | None) -> list[str]:
    """Lines about an interrupted run that differs from a new one in length or rate alone."""
    if last_attempt(request.config, dataset) is not None:
        return []
    changed: list[tuple[float, Path]] = []
    for path in list_folder(Path(request.config.output_dir).absolute() / RUNS):
        with suppress(OSError):  # a link that leads nowhere, a folder that is being deleted
            changed.append((path.stat().st_mtime, path))
    own = parameters_of(request.config)
    for _, path in sorted(changed, reverse=True)[:MOST_COMPARED]:
        try:
            lines = _about_interrupted(path, own, config_dir)
        except (LookupError, OSError, ValueError):
            continue  # another run that cannot be read does not keep this one from training
        if lines:
            return lines
    return []


def _about_interrupted(path: Path, own: Mapping[str, str], config_dir: str | None) -> list[str]:
    """Lines about the run in this folder, if it is as described above; else none.

    Raises:
        LookupError, OSError, ValueError: what the run has left cannot be read.
    """
    run = RunDir(path)
    state = run.state()
    theirs = {key: value for key, value in state.params.items() if key not in CHOSEN}
    differs = {key for key in {*own, *theirs} if own.get(key) != theirs.get(key)}
    if state.status in ENDED or not differs or differs - {"training.epochs", "optimizer.lr"}:
        return []
    if run_lock(path).is_held():
        return []
    typed = read_overrides(run.artifacts / OVERRIDES_FILE)
    return [
        f"{state.name} was interrupted after {run.epoch()} of "
        f"{theirs['training.epochs']} epochs, and this is another run, for "
        f"{' and '.join(sorted(differs))} differs; that one goes on with:",
        f"  {train_command(typed, config_dir)}",
    ]


def _wait_for_upload(folder: RunDir, request: Request, stop: StopRequests) -> Outcome | None:
    tracking = request.config.tracking
    return outcome_of_uploads(
        [folder.path],
        uri=tracking.uri,
        offline=tracking.offline,
        is_stopping=stop.is_requested,
    )


def _links(folder: RunDir, outcome: Outcome | None, *, is_latest: bool = True) -> list[str]:
    """Where the run can be looked at, or why it is not there yet.

    Args:
        is_latest: whether it was trained just now, and not before others.
    """
    if outcome is None:
        return [f"  its event log and files are in {short_path(folder.path)}"]
    shown = show_command(outcome, is_latest=is_latest)
    return [f"  {line}" for line in [*pages(outcome, run_link), *shown]]
