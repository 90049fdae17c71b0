"""Whether a database file is one that the installed MLflow can write to. No MLflow here."""

import re
import sqlite3
from contextlib import closing
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote


def schema_problem(path: Path) -> tuple[str, str] | None:
    """Why MLflow must not have an sqlite file, and what mends it; None where it may.

    MLflow's migrations are read, not run: it would change the file.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
        has_revision = "alembic_version" in tables
        rows = file.execute("SELECT version_num FROM alembic_version") if has_revision else ()
        revision = next((str(word) for (word,) in rows), "")
    if not tables:
        return None  # MLflow makes its own
    if "experiments" not in tables:
        words = f"{path} is a database of another program (its tables: {', '.join(sorted(tables))})"
        return words[:300], "choose another tracking.uri, or move it away"
    newest, known = _revisions()
    if revision == newest:
        return None
    if revision not in known:
        words = f"{path} was made by a newer MLflow ({metadata.version('mlflow')} is installed here"
        return f"{words}, which does not know its schema {revision})", "choose another tracking.uri"
    words = f"{path} was made by an older MLflow: its schema is {revision}, not {newest}"
    return words, f"keep a copy of it, then: mlflow db upgrade sqlite:///{path}"


@cache  # it reads dozens of files
def _revisions() -> tuple[str, set[str]]:
    """The newest schema of the installed MLflow, and all that it can migrate from."""
    package = find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    text = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    known, before = (
        set(re.findall(rf'^{name} = "(\w+)"', text, re.MULTILINE))
        for name in ("revision", "down_revision")
    )
    [newest] = known - before
    return newest, known
