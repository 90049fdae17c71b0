"""A run's identity: the fingerprint of what a user asked for, and the folder that bears it."""

import hashlib
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from fashion_mnist.runs.events import RUNS

PACKAGE = Path(__file__).parents[1]
# Raised when the golden weights of tests/training/test_golden.py change, or another library
# multiplies: the same config then means other numbers, and what was trained before is another run.
NUMERICS_VERSION = 3
# what a run is recorded with
FINGERPRINT_TAG = "fingerprint"  # of networks alone: sweeps and comparisons have none
DATA_TAG = "data_sha256"
SPLIT_TAG = "split_sha256"  # of the indices of the validation images
WEIGHTS_TAG = "weights_sha256"  # two networks with the same one are the same
NUMERICS_TAG = "numerics"
FAILURE_TAG = "failure"  # why a run failed, in one line
PRUNED_TAG = "pruned"  # after which epoch a search gave it up
TRAINING_IMAGES_TAG = "training_images"  # how many images a network was trained on
NO_COMMIT = "none"  # no repository tracks the package
MOST_REMOVED = 3  # attempts in a row that a user may have removed, and a later one counts still

# Groups whose chosen file is a parameter of the run. The keys that it sets are, too: they make the
# fingerprint, and what is chosen by another name, or typed, is the same run.
CHOSEN = ("experiment", "data", "model", "loss", "optimizer", "schedule", "training")
# How a run is recorded, which may change while it goes on. Keys and groups, each ends in a point.
_RECORDING = ("rerun.", "output_dir.", "evaluation.", "tracking.", "sweep.")
# Where and how it is computed; the data's hash stands for its place.
_COMPUTATION = (
    "data.dir.",
    "training.device.",
    "training.threads.",
    "training.checkpoint_seconds.",
)


def fingerprint(settings: dict[str, Any], *, data_sha256: str) -> str:
    """64 hexadecimal digits over a flat config, the data and the version of the numerics."""
    own = {key: value for key, value in settings.items() if is_identity(key)}
    content = {"numerics": NUMERICS_VERSION, "data_sha256": data_sha256, "settings": own}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_identity(key: str) -> bool:
    """Whether a run with another value of this key is another; true of a group's file too."""
    return not f"{key}.".startswith(_RECORDING + _COMPUTATION)


def is_parameter(key: str) -> bool:
    """Whether a run records this key, or the file of this group, among its parameters.

    Those of MLflow cannot change, and how a run is recorded may.
    """
    return not f"{key}.".startswith(_RECORDING)


def run_folders(output_dir: Path, fingerprint: str) -> list[Path]:
    """The folders of a run's attempts, the first one first; `rerun=true` adds one.

    Asks for each by its name: listing the others beside it would take a sweep of thousands a time
    that grows with their square.
    """
    folders: list[Path] = []
    number = 0
    while number < (_attempt(folders[-1]) if folders else 0) + MOST_REMOVED:
        number += 1
        folder = _folder(output_dir, fingerprint, number)
        if folder.exists():
            folders.append(folder)
    return folders


def next_folder(output_dir: Path, fingerprint: str) -> Path:
    """The folder of the next attempt."""
    number = max(map(_attempt, run_folders(output_dir, fingerprint)), default=0) + 1
    return _folder(output_dir, fingerprint, number)


def _folder(output_dir: Path, fingerprint: str, number: int) -> Path:
    return output_dir / RUNS / f"{fingerprint[:16]}-{number}"


def _attempt(folder: Path) -> int:
    """The number of the attempt, from 1."""
    return int(folder.name.rpartition("-")[2])


@cache  # for a process trains what it has imported
def code_tags() -> dict[str, str]:
    """Which code trains a run: the hash of this package's files, and the commit that has them."""
    return {"code_sha256": code_sha256(PACKAGE), "git_commit": git_commit(PACKAGE) or NO_COMMIT}


def code_sha256(package: Path) -> str:
    """SHA-256 over names and contents of the Python files below a folder, in the order of names."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def git_commit(package: Path) -> str | None:
    """The commit of the repository that tracks a package, `+` behind it where its files differ.

    A file that is not tracked yet differs too. None where no repository tracks the package: it may
    lie in one that has nothing to do with it.
    """
    # a hook's or a user's GIT_DIR names another repository
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
