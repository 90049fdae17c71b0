"""A store: whether it answers, is whole, can be written to and finds its files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from fashion_mnist.config.store_uri import sqlite_path, without_password
from fashion_mnist.console import first_line_of, plural
from fashion_mnist.doctor.finding import Finding, note, well, wrong
from fashion_mnist.doctor.outputs import look_at_disk
from fashion_mnist.tracking.artifact_roots import local_path
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import ID_TAG
from fashion_mnist.tracking.uri import check_store

TOPIC, PATHS = "store", "paths in the store"
BUSY_SECONDS = 2
BACKUP = "bring back a backup; or move it away, and `fmnist sync` sends again what is in outputs"


def look_at_store(uri: str) -> Iterator[Finding]:
    """Whether runs can be recorded in the store with this absolute address, and read."""
    database = sqlite_path(uri)
    if database is not None:
        yield from _look_at_database(database)
        return
    kept = "until then runs are kept, and fmnist sync sends them"
    if problem := check_store(uri, logs_in=True):
        advice = "log in" if "login" in problem or "password" in problem else "start it"
        yield wrong(TOPIC, problem, f"{advice}; {kept}")
    else:
        yield well(TOPIC, f"{without_password(uri)} answers")


def look_at_paths(uri: str) -> Iterator[Finding]:
    """Whether every finished network has the folder of its files."""
    database = sqlite_path(uri)
    if database is None or not database.exists():
        return
    try:
        yield _look_for_lost_files(uri)
    except (sqlite3.Error, OSError) as error:
        yield wrong(PATHS, f"{database}: {first_line_of(error)}", "try again when nobody uses it")


def _look_for_lost_files(uri: str) -> Finding:
    """Whether every finished network has the folder of its files."""
    networks = [run for run in Reader(uri).runs() if run.is_network and run.status == "FINISHED"]
    folders = [(run, local_path(run.artifact_uri)) for run in networks]
    lost = [run for run, folder in folders if folder is not None and not folder.is_dir()]
    if not lost:
        return well(PATHS, "they lead to the files that are here")
    words = f"the files of {plural(len(lost), 'run')} are gone, of {lost[0].run_id} for one"
    return wrong(PATHS, words, "bring them back from a backup; fmnist train with rerun=true else")


def known_logs(uri: str) -> set[str]:
    """The ids of the event logs that the store has runs of; none where it cannot be read."""
    try:
        return {run.tags.get(ID_TAG, "") for run in Reader(uri).runs()}
    except (OSError, ValueError):
        return set()


def _look_at_database(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield note(TOPIC, f"there is no {path} yet: the first run makes it")
        return
    try:
        problem = _problem_of(path)
        num_runs = 0 if problem else len(Reader(f"sqlite:///{path}").runs())
    except (sqlite3.Error, OSError) as error:
        yield _unusable(path, error)
        return
    if problem:
        yield wrong(TOPIC, f"{path} is damaged: {problem}", BACKUP)
    else:
        yield well(TOPIC, f"{path} is whole and can be written to, {plural(num_runs, 'run')}")
        yield from (each for each in look_at_disk(path.parent) if each.state != "well")


def _problem_of(path: Path) -> str:
    """What sqlite finds wrong with the file; empty for nothing. Raises what it cannot say."""
    name = f"file:{quote(str(path))}?mode=rw"
    with closing(sqlite3.connect(name, uri=True, timeout=BUSY_SECONDS)) as database:
        [said] = next(database.execute("PRAGMA quick_check(1)"))
        database.execute("BEGIN IMMEDIATE")  # as a writer does
        database.execute("ROLLBACK")
    return "" if said == "ok" else str(said)


def _unusable(path: Path, error: Exception) -> Finding:
    words = first_line_of(error)
    advice = BACKUP
    if "locked" in words:
        advice = "another program is writing to it: wait, or end it"
    elif "readonly" in words or "unable to open" in words:
        advice = "let it and its folder be written to, or choose another tracking.uri"
    return wrong(TOPIC, words if str(path) in words else f"{path}: {words}", advice)
