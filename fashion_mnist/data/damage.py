"""Files of a published data set that are damaged: noticed by their digests, and set aside."""

import logging
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from fashion_mnist.atomic import set_aside
from fashion_mnist.data.idx import (
    DataError,
    check_digest,
    find_idx,
    num_dimensions,
    parse_idx,
    read_content,
)

log = logging.getLogger("fashion_mnist")


def changes_lock(folder: Path) -> FileLock:
    """Hold it while you change the files in a folder: of processes that start together one does."""
    return FileLock(folder / ".lock")


def find_damages(folder: Path, expected: Mapping[str, str]) -> dict[Path, DataError]:
    """Those files in `folder` that do not have the SHA-256 expected of their name, and why."""
    damages = {}
    for name, path in _present(folder, expected).items():
        try:
            check_digest(read_content(path), name=name, expected=expected, origin=str(path))
        except DataError as error:
            damages[path] = error
    return damages


def set_damaged_aside(folder: Path, expected: Mapping[str, str]) -> None:
    """Rename the damaged files in `folder`, with a warning; or say that it cannot be done.

    Raises:
        DataError: they are whole, and all are others: somebody's own data, which stay.
    """
    if not find_damages(folder, expected):
        return
    try:
        with changes_lock(folder):  # without, a second process would set the good copies aside
            while damages := find_damages(folder, expected):
                _check_not_another(_present(folder, expected), damages)
                for path, error in damages.items():
                    log.warning("%s; it is kept as %s", error, set_aside(path).name)
    except OSError as error:
        log.warning("%s: damaged files cannot be set aside (%s)", folder, error.strerror)


def _present(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    found = {name: find_idx(folder, name) for name in names}
    return {name: path for name, path in found.items() if path is not None}


def _check_not_another(files: Mapping[str, Path], damages: Mapping[Path, DataError]) -> None:
    """Raise a DataError where none of the files is what is wanted and each is a whole IDX file."""
    if len(damages) == len(files) and all(_is_whole(path, name) for name, path in files.items()):
        first = next(iter(damages.values()))
        raise DataError(
            f"{first}; all files there are of another data set than fashion_mnist: data=idx takes "
            "it, or choose another data.dir"
        )


def _is_whole(path: Path, name: str) -> bool:
    """Whether a file is an IDX file of the kind that its name says."""
    try:
        parse_idx(read_content(path), num_dimensions=num_dimensions(name), origin=str(path))
    except DataError:
        return False
    return True
