"""Where the files of runs are: a project that was moved or copied finds them without a command.

MLflow writes absolute paths into its database. In a database in the folder that a program is
started in they are made relative: `mlruns/…`, which MLflow takes from the current folder, and which
new runs and models inherit from their experiment. No MLflow here.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from fashion_mnist.config.store_uri import sqlite_path
from fashion_mnist.tracking.checks import BUSY_SECONDS, open_database

MLRUNS = "mlruns"
SCHEME = "file://"
# where MLflow keeps paths; a table or column that a version lacks is passed over
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def make_relative(database: Path) -> None:
    """Make those paths of a database relative whose files are below its folder; hold its lock.

    Raises:
        sqlite3.Error: it is none of MLflow's, or another process keeps it.
    """
    with closing(open_database(database, BUSY_SECONDS)) as connection:
        changes = list(_changes(connection, database.parent))
        if not changes:
            return
        connection.execute("BEGIN IMMEDIATE")
        for table, column, before, after in changes:
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?', (after, before)
            )
        connection.commit()


def _changes(connection: sqlite3.Connection, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Table, column, value as it is, and as it is to be."""
    found: list[tuple[str, str, str, Path, Path]] = []
    for table, column in COLUMNS:
        if column not in {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}:
            continue
        query = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE "{column}" LIKE ?'
        for (value,) in connection.execute(query, (f"%{MLRUNS}%",)):
            inside, path = _inside(str(value)), local_path(str(value))
            if inside is not None and path is not None and path.is_absolute():
                root = path.parents[len(inside.parts) - 1]
                found.append((table, column, str(value), root, inside))
    # not all have files: an experiment without runs, a run without artifacts
    moved = {root for *_, root, inside in found if (folder / inside).exists()} | {folder}
    for table, column, value, root, inside in found:
        if root in moved:
            yield table, column, value, inside.as_posix()


def resolved_root(root: str, store_uri: str) -> str:
    """An artifact address of a store as one that does not depend on the current folder.

    A path becomes a URI, for MLflow would decode `%41` in it too. A relative one is taken from the
    database's folder, and so is an absolute one whose files are there: the folder was moved, and
    nothing was recorded since.
    """
    database, path = sqlite_path(store_uri), local_path(root)
    if database is None or path is None:
        return root
    inside = _inside(root)
    if inside is not None and (database.parent / inside).exists():
        return (database.parent / inside).as_uri()
    return (database.parent / path).as_uri()  # an absolute path stays itself


def local_path(value: str) -> Path | None:
    """An artifact address as a path; None for one that is none, as `s3://…` or `models:/…`."""
    if value.startswith(SCHEME):
        return Path(unquote(value.removeprefix(SCHEME)))
    return Path(value) if value and not re.match(r"[\w+.-]+:/", value) else None


def _inside(value: str) -> Path | None:
    """The way from the folder of `mlruns` to what an address names."""
    path = local_path(value)
    if path is None or MLRUNS not in path.parts:
        return None
    # of several folders of this name the last: a project may lie in another one's
    number = len(path.parts) - 1 - path.parts[::-1].index(MLRUNS)
    return Path(*path.parts[number:])
