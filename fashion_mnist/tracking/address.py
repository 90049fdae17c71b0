"""Where a store is: addresses made absolute, and a quick look whether one answers. No MLflow."""

import os
import re
import socket
import sqlite3
import tempfile
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit, urlunsplit

from fashion_mnist.console import first_line_of

SQLITE = "sqlite:///"
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# up to the last @, for databases take passwords with a slash; http://host:5000/a@b has none
_LOGIN = re.compile(r"(?<=//)([^/?#:@]*):(?!\d+/)(?!\*\*\*@).+@")
_OPTION = re.compile(r"([?&][^=&]*(?:passw|pwd|secret|token)[^=&]*=)(?!\*\*\*)[^&]+", re.IGNORECASE)


def absolute_uri(uri: str, folder: Path | None = None, *, name: str = "tracking.uri") -> str:
    """The address with a relative sqlite path taken from `folder` (default: the current one).

    Args:
        name: what an error calls it.

    Raises:
        ValueError: this cannot be the address of an MLflow store.
    """
    scheme = uri.partition(":")[0].split("+")[0]
    if scheme == "sqlite" and uri.startswith(SQLITE):
        path, question_mark, options = uri.removeprefix(SQLITE).partition("?")
        if path and ":memory:" not in path:
            absolute = ((folder or Path.cwd()) / path).resolve()
            return f"{SQLITE}{absolute}{question_mark}{options}"
    elif scheme == "databricks" or uri == "databricks":
        return uri
    elif scheme in {"http", "https", *DATABASE_PORTS} and has_host(uri):
        return uri.rstrip("/")
    raise ValueError(
        f"{name} must be sqlite:///FILE, http(s)://HOST:PORT or a postgresql, mysql or mssql "
        f"address, got {without_password(uri)!r}"
    )


def is_address(uri: str) -> bool:
    """Whether `absolute_uri` can have made this: journals of somebody else may hold anything."""
    path = sqlite_path(uri)
    if path is not None:
        names = [len(os.fsencode(part)) for part in path.parts]
        return path.is_absolute() and "\0" not in uri and max(names) < 256 and sum(names) < 4000
    try:
        return bool(absolute_uri(uri))
    except ValueError:
        return False


def has_host(uri: str) -> bool:
    """Whether the address names a host, and a port, if any, that can be one."""
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def sqlite_path(uri: str) -> Path | None:
    """The database file of an absolute sqlite address; None for any other store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def without_password(uri: str) -> str:
    """The address as it may be printed."""
    uri = _LOGIN.sub(r"\1:***@", uri)
    return _OPTION.sub(r"\1***", uri)


def has_password(uri: str) -> bool:
    """Whether there is one in the address, before the host or among the options."""
    return without_password(uri) != uri


def demand_no_password(uri: str, name: str = "tracking.uri") -> None:
    """Raises ValueError for an address with a password: what names a store is kept and shown."""
    if not has_password(uri):
        return
    where = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.mlflow/credentials"
    if not uri.startswith("http"):
        where = "the database's own way, as in PGPASSWORD or ~/.pgpass"
    raise ValueError(
        f"{name} must have no password in it, for it is kept and shown: give it by {where}; "
        f"got {without_password(uri)!r}"
    )


def check_store(uri: str, timeout_seconds: float = 10) -> str | None:
    """None if a store answers at this absolute address, else the reason in one line.

    Needs no MLflow: a database file must be one in a writable folder, a server must answer, a
    database's port must be open. What is behind the port shows when a run is sent. The time is
    kept, whatever the network does.
    """
    reasons: list[str | None] = []
    # sockets bound each step alone: a name that is looked up, a server that sends byte by byte
    asking = Thread(target=lambda: reasons.append(ask(uri, timeout_seconds)), daemon=True)
    asking.start()
    asking.join(timeout_seconds)
    late = f"nothing within {timeout_seconds:g} s"
    reason = reasons[0] if reasons else late
    return reason and f"{without_password(uri)} does not answer: {reason}"


def ask(uri: str, timeout_seconds: float) -> str | None:
    """None if a store answers, else what came instead; each step may take the time."""
    try:
        path = sqlite_path(uri)
        if path is not None:
            check_sqlite(path)
        elif uri.startswith("http"):
            check_server(uri, timeout_seconds)
        elif urlsplit(uri).hostname:
            check_port(uri, timeout_seconds)
    except (OSError, sqlite3.Error, HTTPException, ValueError, LookupError) as error:
        return first_line_of(error)
    return None


def check_sqlite(path: Path) -> None:
    """Raises OSError or sqlite3.Error unless the file is, or can become, a database."""
    if path.exists():
        # mode=rw: a plain connect would create what it does not find
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as database:
            database.execute("SELECT count(*) FROM sqlite_master")
        return
    existing = next(parent for parent in path.parents if parent.exists())
    tempfile.TemporaryFile(dir=existing).close()  # has no name that could be taken


def check_server(uri: str, timeout_seconds: float) -> None:
    """Raises OSError unless a server answers. A refusal is an answer: MLflow brings the login."""
    parts = urlsplit(uri)
    # urllib would take a login for a part of the host's name
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        urllib.request.urlopen(f"{bare}/health", timeout=timeout_seconds).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise


def check_port(uri: str, timeout_seconds: float) -> None:
    """Raises OSError unless something listens at the database's address."""
    parts = urlsplit(uri)
    port = parts.port or DATABASE_PORTS[parts.scheme.split("+")[0]]
    socket.create_connection((parts.hostname, port), timeout_seconds).close()
