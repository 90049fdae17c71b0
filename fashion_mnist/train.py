"""The Hydra entry point: checks what is asked for, composes it, trains it, says what came of it."""

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
import hydra.types
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from fashion_mnist.config.compose import (
    CONFIG_NAME,
    check,
    check_hydra,
    config_folder,
    parse_composed,
)
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.trees import first_line
from fashion_mnist.data.idx import DataError
from fashion_mnist.errors import WANTS_TRACEBACK, exit_status, in_words, raised_by_hydra
from fashion_mnist.runs.request import (
    Request,
    RunResult,
    demand_store,
    find_run,
    load_data,
    outcome_of,
)
from fashion_mnist.runs.run_dir import RunDir, RunError
from fashion_mnist.runs.signals import StopRequested, StopRequests, stop_requests
from fashion_mnist.runs.trainer import train
from fashion_mnist.sweep.context import read_context
from fashion_mnist.sweep.definition import check_sweep, is_sweep
from fashion_mnist.terminal import observe, summarize_run
from fashion_mnist.tracking.outbox import Outcome, wait_until_sent
from fashion_mnist.whereabouts import pages, run_link, short_path

log = logging.getLogger("fashion_mnist")

DRY_RUN = "--dry-run"


def main(arguments: Sequence[str]) -> None:
    """Run `fmnist train ARGUMENTS`; they are Hydra's: overrides and its flags, and `--dry-run`.

    Raises:
        SystemExit: 2 for a mistake in the config, 1 for a failed run, 128 + signal when stopped.
    """
    dry_run = DRY_RUN in arguments
    arguments = [word for word in arguments if word != DRY_RUN]
    # flags may stand between overrides, which Hydra itself does not take
    options = get_args_parser().parse_intermixed_args(arguments)
    flags = [word for word in arguments if word not in options.overrides]
    only_shows = _only_shows(options)
    sweeps = options.multirun or dry_run or is_sweep(options.overrides)
    try:
        _check(options, dry_run=dry_run, sweeps=sweeps)
    except ConfigError as error:
        if WANTS_TRACEBACK:
            raise
        print(in_words(error), file=sys.stderr)
        raise SystemExit(exit_status(error)) from None
    if sweeps and not (only_shows or options.multirun):
        flags.append("--multirun")
    elif options.cfg and options.multirun:  # Hydra shows the config of one job
        flags = [word for word in flags if word not in ("-m", "--multirun")]
    overrides = [*options.overrides, *(["hydra.sweeper.dry_run=true"] if dry_run else [])]
    sys.argv = ["fmnist train", *flags, *overrides]  # hydra.main reads them from there
    logging.raiseExceptions = False  # else its file on a full disk is a traceback a line
    try:
        with raised_by_hydra():
            hydra.main(str(config_folder()), CONFIG_NAME, version_base="1.3")(_job)()
    except (HydraException, OSError) as error:  # from flags that show something; from its folder
        if WANTS_TRACEBACK:
            raise
        is_mistake = isinstance(error, HydraException)
        print(first_line(error) if is_mistake else in_words(error), file=sys.stderr)
        raise SystemExit(2 if is_mistake else exit_status(error)) from None


def _only_shows(options: Namespace) -> bool:
    """Whether Hydra is to show something and to run nothing."""
    shows = (options.help, options.hydra_help, options.cfg, options.info, options.shell_completion)
    return any(shows)


def _check(options: Namespace, *, dry_run: bool, sweeps: bool) -> None:
    """Raise ConfigError for what must not be run, before Hydra reads a word of it."""
    # a config of somebody else's in place of ours, or a pickle of one
    strange = [
        flag for flag in ("config_path", "config_name", "experimental_rerun") if vars(options)[flag]
    ]
    if strange:
        flag = strange[0].replace("_", "-")
        raise ConfigError([f"--{flag} must not be: --config-dir names a folder of YAML of yours"])
    if dry_run and any(text.startswith("hydra/sweeper=") for text in options.overrides):
        raise ConfigError(["--dry-run wants our own sweeper: leave out hydra/sweeper"])
    elsewhere = [text for text in options.overrides if text.startswith("hydra/launcher=stacked_")]
    if elsewhere and any(text.startswith("hydra/sweeper=") for text in options.overrides):
        raise ConfigError([f"{elsewhere[0]} wants our own sweeper: leave out hydra/sweeper"])
    if options.shell_completion:
        return
    if _only_shows(options):
        check_hydra(options.overrides, config_dir=options.config_dir)
    elif sweeps:
        check_sweep(options.overrides, options.config_dir)
    else:
        check(options.overrides, config_dir=options.config_dir)


def _job(config: DictConfig) -> float | None:
    """One job of Hydra's: the validation accuracy, for sweepers that want a figure."""
    is_alone = HydraConfig.get().mode == hydra.types.RunMode.RUN
    try:
        return _run(config, is_alone)
    except StopRequested as error:
        if not is_alone:
            raise KeyboardInterrupt from error  # Hydra's launchers go on after an Exception
        raise SystemExit(error.exit_status) from None
    except (ConfigError, DataError, RunError, OSError) as error:
        if WANTS_TRACEBACK or not is_alone:
            raise
        log.error(in_words(error))
        raise SystemExit(exit_status(error)) from None


def _run(config: DictConfig, is_alone: bool) -> float | None:
    overrides = tuple(HydraConfig.get().overrides.task)
    parsed = parse_composed(config, overrides)
    context = None if is_alone else read_context(Path(HydraConfig.get().sweep.dir))
    request = context.request(parsed, overrides) if context else Request(parsed, overrides)
    demand_store(parsed)
    dataset = load_data(parsed)  # until here nothing is begun, and a signal ends the program
    with stop_requests() as stop:
        try:
            with observe(stop.check) as observer:
                [result] = train([request], dataset, observer)
        except StopRequested as error:
            if is_alone:
                _take_leave(find_run(request, dataset), request, stop, in_words(error))
            raise
        accuracy = _report(result, request, stop, is_alone)
        stop.check()
    return accuracy


def _report(
    result: RunResult, request: Request, stop: StopRequests, is_alone: bool
) -> float | None:
    folder = result.folder
    # the jobs of a sweep are sent while the others are trained
    outcome = _send(folder, request, stop) if is_alone else None
    accuracy = outcome_of(result)
    known = "was trained before; rerun=true trains it again" if result.was_known else ""
    where = _where(folder, outcome) if is_alone else []
    log.info(summarize_run(folder, note=known, where=where))
    if stop.request and is_alone:
        log.info("stopped by %s: the run is finished", stop.request)
    return accuracy


def _take_leave(folder: RunDir, request: Request, stop: StopRequests, words: str) -> None:
    """Say that a run is stopped, to its store too: soon nobody may be there to do it."""
    log.error(words)
    outcome = _send(folder, request, stop)
    if outcome is not None and not outcome.sent:
        log.info("\n".join(_where(folder, outcome)))


def _send(folder: RunDir, request: Request, stop: StopRequests) -> Outcome | None:
    tracking = request.config.tracking
    if tracking.uri is None:
        return None
    if tracking.offline == "always":
        return Outcome([], "tracking.offline=always")
    return wait_until_sent([folder.path], is_stopping=lambda: stop.is_requested)


def _where(folder: RunDir, outcome: Outcome | None) -> list[str]:
    """Where the run can be looked at, or why it is not there yet."""
    if outcome is None:
        return [f"  its journal and files are in {short_path(folder.path)}"]
    return [f"  {line}" for line in pages(outcome, run_link)]
