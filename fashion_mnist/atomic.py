"""Files that are there whole or not at all: written beside, flushed, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, beside `path`; it takes the place of `path` if nothing is raised.

    Raises:
        OSError: where the folder cannot be made or written to; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the ending is kept: some writers choose the format by it
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
