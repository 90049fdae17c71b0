"""A network in the registry, on the terminal: what `fmnist register` prints."""

import shlex
import tempfile
from pathlib import Path

from fashion_mnist.analysis.compare import Challenge
from fashion_mnist.cli.tables import print_json, print_text
from fashion_mnist.config.user_files import plain_tree
from fashion_mnist.tracking.links import program
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.registry import Version

OVERRIDES = "config/overrides.yaml"  # what was typed, among a run's artifacts
RECORDING = "tracking.model=always"


def print_registration(
    run: RecordedRun,
    version: Version,
    alias: str,
    before: Version | None,
    comparison: Challenge | None,
    *,
    as_json: bool,
) -> None:
    """Say what has the alias now, what had it before, and how the two compare."""
    if as_json:
        test = comparison.test if comparison else None
        print_json(
            {
                "name": version.name,
                "version": version.number,
                "run": run.run_id,
                "alias": alias,
                "before": vars(before) if before else None,
                "verdict": comparison.verdict if comparison else None,
                "split": comparison.split if test and comparison else None,
                "test": vars(test) if test else None,
                "why_untested": (comparison.why_untested or None) if comparison else None,
            }
        )
        return
    print_text(f"{version.name} version {version.number} is {run.name} ({run.run_id})")
    if before == version:
        print_text(f"it had the alias {alias} already")
        return
    was = f", and version {before.number} no longer" if before else ""
    print_text(f"it has the alias {alias}{was}")
    if comparison is not None:
        print_text(comparison.words())


def unrecorded(store: Reader, run: RecordedRun) -> str:
    """Why a run's network cannot be registered, and what to do about it."""
    typed = _overrides(store, run)
    command = f"{program('train')} {shlex.join([*typed, RECORDING])}" if typed else ""
    return (
        f"the network of {run.name} ({run.run_id}) is not recorded, only its figures: the same "
        f"command again with {RECORDING} records it, without training{command and f': {command}'}"
    )


def _overrides(store: Reader, run: RecordedRun) -> list[str]:
    """What was typed on the run's command line; nothing where that cannot be read."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            words = plain_tree(store.download(run, OVERRIDES, Path(folder)))
        except (OSError, ValueError):
            return []
    is_list = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return words if is_list else []
