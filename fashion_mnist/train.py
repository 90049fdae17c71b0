"""The Hydra entry point: checks what is asked for, composes it, trains it, says what came of it."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
import hydra.types
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from fashion_mnist.compose import CONFIG_NAME, check, config_folder, first_job, first_line, plain
from fashion_mnist.config import ConfigError, parse
from fashion_mnist.data.idx import DataError
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.trainer import Request, RunError, RunResult, train
from fashion_mnist.signals import StopRequested, stop_requests
from fashion_mnist.terminal import observe, summarize_run
from fashion_mnist.tracking.outbox import Outcome, wait_until_sent

log = logging.getLogger("fashion_mnist")

EXIT_MISTAKE = 2  # of the user's: the config, the data's place


def main(arguments: Sequence[str]) -> None:
    """Run `fmnist train ARGUMENTS`; they are Hydra's: overrides and its flags.

    Raises:
        SystemExit: 2 for a mistake in the config, 1 for a failed run, 128 + signal when stopped.
    """
    # flags may stand between overrides, which Hydra itself does not take
    options = get_args_parser().parse_intermixed_args(arguments)
    only_shows = options.help or options.hydra_help or options.cfg or options.info
    if not (only_shows or options.shell_completion):
        try:
            overrides = options.overrides
            if options.multirun:  # the rest of its jobs are checked when they start
                overrides = first_job(overrides)
            check(overrides, config_dir=options.config_dir)
        except ConfigError as error:
            if _wants_traceback():
                raise
            print(_in_words(error), file=sys.stderr)
            raise SystemExit(EXIT_MISTAKE) from None
    flags = [word for word in arguments if word not in options.overrides]
    sys.argv = ["fmnist train", *flags, *options.overrides]  # hydra.main reads them from there
    try:
        hydra.main(str(config_folder()), CONFIG_NAME, version_base="1.3")(_job)()
    except HydraException as error:  # from its flags that only show something
        if _wants_traceback():
            raise
        print(first_line(error), file=sys.stderr)
        raise SystemExit(EXIT_MISTAKE) from None


def _job(config: DictConfig) -> float | None:
    """One job of Hydra's: the validation accuracy, for sweepers that want a figure."""
    is_alone = HydraConfig.get().mode == hydra.types.RunMode.RUN
    try:
        return _run(config)
    except (ConfigError, DataError, RunError, StopRequested) as error:
        if _wants_traceback() or not is_alone:
            raise
        log.error(_in_words(error))
        raise SystemExit(_exit_status(error)) from None


def _run(config: DictConfig) -> float | None:
    overrides = list(HydraConfig.get().overrides.task)
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    request = Request(parse(plain(config), overridden=keys), tuple(overrides))
    with stop_requests() as check_for_stop, observe(check_for_stop) as observer:
        result = train(request, observer)
    outcome = _send(result.folder, request)
    if result.folder.status() == "FAILED":
        raise RunError(_failure(result))
    known = "was trained before; rerun=true trains it again" if result.was_known else ""
    log.info(summarize_run(result.folder, note=known, where=_where(result.folder, outcome)))
    return result.folder.figures().get("final/val_accuracy")


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
        return [f"  its journal and files are in {_short(folder.path)}"]
    if not outcome.sent or not outcome.runs:
        return [f"  not sent yet: {outcome.reason}; `fmnist sync` will send it"]
    lines = []
    for run in outcome.runs:
        page = f"#/experiments/{run.experiment_id}/runs/{run.run_id}?workflowType=machine_learning"
        if run.destination.uri.startswith("http"):
            lines.append(f"  run {run.run_id}: {run.destination.uri}/{page}")
        else:
            lines.append(f"  run {run.run_id}: {_ui_command()}, then http://127.0.0.1:5000/{page}")
    return lines


def _ui_command() -> str:
    script = Path(__file__).parents[1] / "scripts" / "ui"
    return _short(script) if script.exists() else "fmnist ui"


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _failure(result: RunResult) -> str:
    reason = result.folder.tags().get("failure", "it failed")
    again = "; rerun=true trains it again" if result.was_known else ""
    return f"{result.folder.name()} has no result: {reason}{again}"


def _in_words(error: Exception) -> str:
    match error:
        case ConfigError(problems=[only]):
            return only
        case ConfigError(problems=problems):
            return "\n".join([f"{len(problems)} mistakes:", *(f"  {each}" for each in problems)])
        case StopRequested():
            return f"stopped by {error}; the same command goes on from the last whole epoch"
        case _:
            return str(error)


def _exit_status(error: Exception) -> int:
    match error:
        case StopRequested(exit_status=status):
            return int(status)
        case RunError():
            return 1
        case _:
            return EXIT_MISTAKE


def _wants_traceback() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1"
