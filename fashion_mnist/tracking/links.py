"""Commands and links as a user can type or open them: `scripts/train`, pages of MLflow."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fashion_mnist.config.store_uri import DEFAULT_STORE, absolute_uri, without_password
from fashion_mnist.tracking.upload_state import Outcome, Upload

# of a run that is not sent
HOW_TO_RESTORE = (
    "it, or its sweep, was deleted in the store; fmnist sync sends the rest of what is restored"
)
LOCAL_SERVER = "http://127.0.0.1:5000"  # of `fmnist ui`


def program(name: str) -> str:
    """One of our commands as it can be typed here: `scripts/train`, or `fmnist show`.

    `fmnist` by its path where the shell would not find it.
    """
    script = Path(__file__).parents[2] / "scripts" / name
    if script.exists():
        return short_path(script)
    own = Path(sys.executable).with_name("fmnist")
    is_found = not own.exists() or shutil.which("fmnist") == str(own)
    return f"{'fmnist' if is_found else shlex.quote(short_path(own))} {name}"


def train_command(overrides: Sequence[str], config_dir: str | None = None) -> str:
    """The command that trains with these overrides, ready to be copied."""
    flags = ["--config-dir", config_dir] if config_dir is not None else []
    return f"{program('train')} {shlex.join([*flags, *overrides])}".strip()


def without_keys(overrides: Sequence[str], *keys: str) -> list[str]:
    """The overrides that set none of these keys."""
    begins = tuple(f"{key}=" for key in keys)
    return [text for text in overrides if not text.lstrip("+").startswith(begins)]


def output_option(output_dir: Path) -> str:
    """What a command that looks below an output folder needs after it, if it is not the default."""
    is_default = output_dir == Path("outputs")
    return "" if is_default else f" --output-dir {shlex.quote(str(output_dir))}"


def short_path(path: Path) -> str:
    """A path, from the current folder where it lies below it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def pages(outcome: Outcome, link: Callable[[str, Upload], str]) -> list[str]:
    """A line for each place where something was recorded, or why it is not there yet.

    Args:
        link: the page of a run on a server such as `http://127.0.0.1:5000`.
    """
    if not outcome.is_complete or not outcome.uploads:
        folders = [Path(short_path(run.run_dir.parents[1])) for run in outcome.uploads]
        command = program("sync") + (output_option(folders[0]) if folders else "")
        reason = outcome.reason or "nothing of it is there to be sent"
        return [f"not sent yet: {reason}; `{command}` will send it"]
    return [_page(run, link) for run in outcome.uploads]


def run_link(server: str, run: Upload) -> str:
    """The page of one run."""
    state, kind = run.state, "workflowType=machine_learning"
    return f"{server}/#/experiments/{state.experiment_id}/runs/{state.run_id}?{kind}"


def _page(run: Upload, link: Callable[[str, Upload], str]) -> str:
    uri = run.destination.address
    if run.state.is_deleted:
        return f"not in {without_password(uri)}: {HOW_TO_RESTORE}"
    if uri.startswith("http"):
        return f"in the browser: {link(uri, run)}"
    return f"in the browser: {program('ui')}{_uri_option(run)}, then {link(LOCAL_SERVER, run)}"


def show_command(outcome: Outcome, *, is_latest: bool = True) -> list[str]:
    """The command that shows a run in the terminal; none if it is unsent.

    Args:
        is_latest: whether it is the newest of its store; else it is named by its id.
    """
    if not outcome.is_complete or not outcome.uploads or outcome.uploads[0].state.is_deleted:
        return []
    run = outcome.uploads[0]
    word = "latest" if is_latest else run.state.run_id
    return [f"in the terminal: {program('show')} {word}{_uri_option(run)}"]


def _uri_option(run: Upload) -> str:
    """What a command that reads the run's store needs after it, if it is not the default."""
    uri = without_password(run.destination.address)
    return "" if uri == absolute_uri(DEFAULT_STORE) else f" --uri {shlex.quote(uri)}"
