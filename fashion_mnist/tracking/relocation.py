"""A store's folder that was moved: MLflow's sqlite database holds absolute paths, to the old place.

Found where `mlruns`, beside the database, has files of runs that the database looks for elsewhere.
No MLflow here.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock

from fashion_mnist.tracking.recorded import STATE_TAG

MLRUNS = "mlruns"
SCHEME = "file://"
BUSY_SECONDS = 2
# where MLflow keeps paths; a table or column that a version lacks is passed over
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Move:
    """A folder of files that the database looks for at an old place."""

    old: Path  # …/mlruns, absolute
    new: Path
    num_runs: int  # whose files are at the new place


def find_moves(database: Path) -> list[Move]:
    """The moves that would mend the paths of a database file.

    Raises:
        sqlite3.Error: it is none of MLflow's, or another process keeps it.
    """
    with _opened(database) as connection:
        paths = [local_path(value) for value in _values(connection, *COLUMNS[1])]
    new = database.resolve().parent / MLRUNS
    found: dict[Path, int] = {}
    for path in paths:
        old = _root_of(path) if path is not None else None
        if path is None or old is None or _are_same(old, new):
            continue
        if (new / path.relative_to(old)).is_dir():
            found[old] = found.get(old, 0) + 1
    return [Move(old, new, num_runs) for old, num_runs in found.items()]


def mend(database: Path, moves: Sequence[Move]) -> Path:
    """Let the database look where the files are now; returns the copy of it as it was.

    Raises:
        sqlite3.Error: another process keeps it.
        OSError: the copy cannot be written; nothing is changed.
    """
    with FileLock(f"{database}.lock", timeout=BUSY_SECONDS), _opened(database) as connection:
        copy = _back_up(database, connection)
        connection.execute("BEGIN IMMEDIATE")
        for move in moves:
            for table, column in COLUMNS:
                _rewrite(connection, table, column, move.old, move.new)
            _rewrite_directories(connection, move.old.parent, move.new.parent)
        connection.commit()
    return copy


def _rewrite_directories(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    """Where a run's own directory was: an uploader that does not find it takes the run for lost."""
    if not _has(connection, "tags", "run_uuid"):
        return
    rows = connection.execute("SELECT run_uuid, value FROM tags WHERE key = ?", (STATE_TAG,))
    for run_id, value in rows.fetchall():
        try:
            state = json.loads(value)
            inside = Path(state["dir"]).relative_to(old)
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
        changed = json.dumps(state | {"dir": str(new / inside)})
        connection.execute(
            "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?",
            (changed, run_id, STATE_TAG),
        )


def _rewrite(connection: sqlite3.Connection, table: str, column: str, old: Path, new: Path) -> None:
    """In each value that is the old folder or lies in it, put the new one."""
    if not _has(connection, table, column):
        return
    for before, after in ((str(old), str(new)), (_uri(old), _uri(new))):
        connection.execute(
            f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?)'
            f' WHERE "{column}" = ? OR substr("{column}", 1, ?) = ?',
            (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
        )


def _back_up(database: Path, connection: sqlite3.Connection) -> Path:
    """A copy of the database under the next free name, whole or not at all."""
    names = (f"{database.stem}.before-mending-{k}{database.suffix}" for k in count(1))
    copy = next(path for name in names if not (path := database.with_name(name)).exists())
    try:
        with closing(sqlite3.connect(copy)) as target:
            connection.backup(target)
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        raise OSError(f"{copy} cannot be written: {error}") from error
    return copy


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    # mode=rw: a plain connect would create what it does not find
    name = f"file:{quote(str(database))}?mode=rw"
    opening = sqlite3.connect(name, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    with closing(opening) as connection:
        yield connection


def _values(connection: sqlite3.Connection, table: str, column: str) -> list[str]:
    rows = connection.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
    return [str(value) for (value,) in rows]


def _has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}


def local_path(value: str) -> Path | None:
    """An artifact address as a path; None for one that is none, as `s3://…`."""
    if value.startswith(SCHEME):
        return Path(unquote(value.removeprefix(SCHEME)))
    path = Path(value)
    return path if path.is_absolute() else None


def _root_of(path: Path) -> Path | None:
    """The folder `mlruns` that the path lies in."""
    return next((folder for folder in path.parents if folder.name == MLRUNS), None)


def _are_same(old: Path, new: Path) -> bool:
    """Whether both name one folder; a link may lead to it."""
    return old == new or (old.exists() and new.exists() and old.samefile(new))


def _uri(folder: Path) -> str:
    return f"{SCHEME}{quote(str(folder))}"
