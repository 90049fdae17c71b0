"""The Hydra entry point: checks what is asked for, composes it, trains it, says what came of it."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
import hydra.types
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from fashion_mnist.compose import (
    CONFIG_NAME,
    check,
    config_folder,
    first_line,
    parse_composed,
)
from fashion_mnist.config import ConfigError
from fashion_mnist.data.idx import DataError
from fashion_mnist.errors import exit_status, in_words, wants_traceback
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.request import (
    Request,
    RunError,
    demand_store,
    load_data,
    outcome_of,
)
from fashion_mnist.runs.trainer import train
from fashion_mnist.signals import StopRequested, stop_requests
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
    only_shows = options.help or options.hydra_help or options.cfg or options.info
    sweeps = options.multirun or dry_run or is_sweep(options.overrides)
    if not (only_shows or options.shell_completion):
        try:
            if dry_run and any(text.startswith("hydra/sweeper=") for text in options.overrides):
                raise ConfigError(["--dry-run wants our own sweeper: leave out hydra/sweeper"])
            if sweeps:
                check_sweep(options.overrides, options.config_dir)
            else:
                check(options.overrides, config_dir=options.config_dir)
        except ConfigError as error:
            if wants_traceback():
                raise
            print(in_words(error), file=sys.stderr)
            raise SystemExit(exit_status(error)) from None
        if sweeps and not options.multirun:
            flags.append("--multirun")
    elif options.cfg and options.multirun:  # Hydra shows the config of one job
        flags = [word for word in flags if word not in ("-m", "--multirun")]
    overrides = [*options.overrides, *(["hydra.sweeper.dry_run=true"] if dry_run else [])]
    sys.argv = ["fmnist train", *flags, *overrides]  # hydra.main reads them from there
    try:
        hydra.main(str(config_folder()), CONFIG_NAME, version_base="1.3")(_job)()
    except HydraException as error:  # from its flags that only show something
        if wants_traceback():
            raise
        print(first_line(error), file=sys.stderr)
        raise SystemExit(2) from None


def _job(config: DictConfig) -> float | None:
    """One job of Hydra's: the validation accuracy, for sweepers that want a figure."""
    is_alone = HydraConfig.get().mode == hydra.types.RunMode.RUN
    try:
        return _run(config, is_alone)
    except (ConfigError, DataError, RunError, StopRequested) as error:
        if isinstance(error, StopRequested) and not is_alone:
            raise KeyboardInterrupt from error  # Hydra's launchers go on after an Exception
        if wants_traceback() or not is_alone:
            raise
        log.error(in_words(error))
        raise SystemExit(exit_status(error)) from None


def _run(config: DictConfig, is_alone: bool) -> float | None:
    overrides = tuple(HydraConfig.get().overrides.task)
    parsed = parse_composed(config, overrides)
    context = None if is_alone else read_context(Path(HydraConfig.get().sweep.dir))
    request = context.request(parsed, overrides) if context else Request(parsed, overrides)
    demand_store(parsed)
    with stop_requests() as check_for_stop, observe(check_for_stop) as observer:
        [result] = train([request], load_data(parsed), observer)
    folder = result.folder
    # the jobs of a sweep are sent while the others are trained
    outcome = _send(folder, request) if is_alone else None
    accuracy = outcome_of(result)
    known = "was trained before; rerun=true trains it again" if result.was_known else ""
    where = _where(folder, outcome) if is_alone else []
    log.info(summarize_run(folder, note=known, where=where))
    return accuracy


def _send(folder: RunFolder, request: Request) -> Outcome | None:
    tracking = request.config.tracking
    if tracking.uri is None:
        return None
    if tracking.offline == "always":
        return Outcome([], "tracking.offline=always")
    return wait_until_sent([folder.path])


def _where(folder: RunFolder, outcome: Outcome | None) -> list[str]:
    """Where the run can be looked at, or why it is not there yet."""
    if outcome is None:
        return [f"  its journal and files are in {short_path(folder.path)}"]
    return [f"  {line}" for line in pages(outcome, run_link)]
