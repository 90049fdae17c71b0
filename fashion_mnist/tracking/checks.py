"""Whether a store or a folder can be used, and what is said where it cannot. No MLflow here.

A login is never ours to keep: MLflow's client takes it from the environment, or from a file in the
home directory, and what is asked here without MLflow's client goes with the same.
"""

import base64
import configparser
import json
import os
import re
import shlex
import socket
import sqlite3
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from urllib.parse import quote, urlsplit

from fashion_mnist.config.messages import RunError, disk_trouble
from fashion_mnist.config.store_uri import (
    DATABASE_PORTS,
    SQLITE,
    absolute_uri,
    has_password,
    sqlite_path,
    without_password,
)

USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
TOKEN = "MLFLOW_TRACKING_TOKEN"
INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"  # true: a server's certificate is not looked at
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"  # those that a server's is trusted by
OWN_CERTIFICATE = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
CREDENTIALS = ".mlflow/credentials"  # in the home directory, with the same names in lower case
UNKNOWN, FORBIDDEN = 401, 403  # of HTTP
_OTHER_LOGINS = (TOKEN, "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")
_MLFLOWS_WORDS = {
    "UNAUTHENTICATED": UNKNOWN,
    "CUSTOMER_UNAUTHORIZED": UNKNOWN,
    "PERMISSION_DENIED": FORBIDDEN,
}
PROBE_BYTES = 4096  # written to a folder to see whether it takes any
ANSWER_SECONDS = 5  # for a store that is asked whether it is there
BUSY_SECONDS = 20  # a writer holds a database file for a moment, as MLflow's client allows too
_API = "api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"


def check_store(uri: str, timeout_seconds: float = 10, *, for_writing: bool = False) -> str | None:
    """None if a store answers at this absolute address, else the reason in one line.

    A database file must be one in a writable folder, a server must answer as MLflow does, a
    database's port must be open. The time is kept, whatever the network does.

    Args:
        for_writing: a server must also accept the login that is set (without, a refusal is an
            answer), and a database must be of the installed MLflow.
    """
    reasons: list[str | None] = []
    # sockets bound each step alone: a name that is looked up, a server that sends byte by byte
    asking = Thread(
        target=lambda: reasons.append(_ask(uri, timeout_seconds, for_writing)), daemon=True
    )
    asking.start()
    asking.join(timeout_seconds)
    return reasons[0] if reasons else _silence(uri, f"nothing within {timeout_seconds:g} s")


def demand_store(uri: str | None, offline: str) -> None:
    """With tracking.offline=never, raises RunError unless the store answers."""
    if uri is not None and offline == "never":
        reason = check_store(absolute_uri(uri), ANSWER_SECONDS, for_writing=True)
        if reason is not None:
            raise RunError(f"{reason} (tracking.offline=never wants a store before training)")


def _silence(uri: str, reason: str) -> str:
    return f"{without_password(uri)} does not answer: {reason}"


def _ask(uri: str, timeout_seconds: float, for_writing: bool) -> str | None:
    """None if a store answers, else the reason; each step may take the time."""
    try:
        path = sqlite_path(uri)
        if path is not None:
            _check_sqlite(path)
            problem = schema_problem(path) if for_writing and path.exists() else None
            return None if problem is None else ": ".join(problem)
        if uri.startswith("http"):
            return _ask_server(uri, timeout_seconds, for_writing)
        parts = urlsplit(uri)
        port = parts.port or DATABASE_PORTS[parts.scheme.split("+")[0]]
        socket.create_connection((parts.hostname, port), timeout_seconds).close()
    except (OSError, sqlite3.Error, ValueError, LookupError) as error:
        return _silence(uri, f"{root_cause(error)}{_proxy(uri)}")
    return None


def _check_sqlite(path: Path) -> None:
    """Raises OSError or sqlite3.Error unless the file is, or can become, a database."""
    if path.exists():
        with closing(open_database(path)) as database:
            database.execute("SELECT count(*) FROM sqlite_master")
        return
    existing = next(parent for parent in path.parents if parent.exists())
    TemporaryFile(dir=existing).close()  # has no name that could be taken


def _ask_server(uri: str, timeout_seconds: float, for_writing: bool) -> str | None:
    """None if MLflow's API answers. Raises what the request raises, an OSError."""
    import requests  # as MLflow's client, so that both answer for the same settings

    is_insecure = os.environ.get(INSECURE, "").lower() in ("true", "1")
    request = requests.get(
        f"{uri}/{_API}",
        headers=login_headers(),
        timeout=timeout_seconds,
        stream=True,
        verify=not is_insecure and (os.environ.get(CERTIFICATES) or True),
        cert=os.environ.get(OWN_CERTIFICATE),
    )
    with request as answer:
        status = answer.status_code
        content = b"".join(islice(answer.iter_content(1000), 100))  # a stranger may go on and on
    if status == UNKNOWN:
        knows_us_not = for_writing and not any(os.environ.get(way) for way in _OTHER_LOGINS)
        return refusal(uri) if knows_us_not else None
    with suppress(ValueError, RecursionError):
        answer = json.loads(content)
        if isinstance(answer, dict) and {"experiment", "error_code"} & answer.keys():
            return None
    raise OSError(f"HTTP status {status}, and not as MLflow answers")


def _proxy(uri: str) -> str:
    """The proxy that takes requests to this address, in words: it is the likely reason."""
    parts = urlsplit(uri)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    return f" (by the proxy {without_password(proxy)}: set NO_PROXY={parts.hostname})"


def open_database(path: Path, timeout_seconds: float = ANSWER_SECONDS) -> sqlite3.Connection:
    """A connection to an sqlite file that is there; no transaction is begun unless it is asked for.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    # rw makes no file, and lets sqlite put right what a writer that was killed has left half done
    name = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(name, uri=True, timeout=timeout_seconds, isolation_level=None)


def open_to_read(path: Path, timeout_seconds: float = ANSWER_SECONDS) -> sqlite3.Connection:
    """A connection to an sqlite file that is there, by which nothing can be changed.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = open_database(path, timeout_seconds)
    connection.execute("PRAGMA query_only = ON")
    return connection


def schema_problem(path: Path) -> tuple[str, str] | None:
    """Why MLflow must not have an sqlite file, and what mends it; None where it may.

    MLflow's migrations are read, not run: it would change the file.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    with closing(open_to_read(path)) as file:
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
    command = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(f'{SQLITE}{path}')}"
    return words, f"keep a copy of it, then: {command}"


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


def why_unwritable(folder: Path) -> str | None:
    """Why nothing more can be written to a folder, in one line; None where something can."""
    try:
        with TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        return disk_trouble(OSError(error.errno, error.strerror, str(folder)))
    return None


def login_headers() -> dict[str, str]:
    """The headers that log a request in; none where no login is set."""
    name, password = _login()
    if name and password:
        words = base64.b64encode(f"{name}:{password}".encode()).decode()
        return {"Authorization": f"Basic {words}"}
    token = os.environ.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _login() -> tuple[str, str]:
    """The user's name and password, each empty where none is set."""
    name, password = os.environ.get(USERNAME, ""), os.environ.get(PASSWORD, "")
    if not name or not password:
        file = configparser.ConfigParser(interpolation=None)
        # MLflow's client will say what is wrong with the file
        with suppress(configparser.Error, OSError, RuntimeError, UnicodeDecodeError):
            file.read(Path.home() / CREDENTIALS)
            name = name or file.get("mlflow", USERNAME.lower(), fallback="")
            password = password or file.get("mlflow", PASSWORD.lower(), fallback="")
    return name, password


def refused_with(error: BaseException) -> int | None:
    """`UNKNOWN` or `FORBIDDEN` where a server refused the user, whichever library says so."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)  # of requests, which transfers the files
        status = getattr(response, "status_code", None) or getattr(seen, "code", None)
        status = _MLFLOWS_WORDS.get(str(getattr(seen, "error_code", "")), status)
        if status in (UNKNOWN, FORBIDDEN):
            return int(status)
        seen = seen.__cause__ or seen.__context__
    return None


def refusal(uri: str) -> str:
    """That a server does not know the user, and what to do."""
    address, (name, password) = without_password(uri), _login()
    if not name or not password:
        return f"{address} wants a login: set {USERNAME} and {PASSWORD}"
    return f"{address} refuses the user {name!r} with this password: see {USERNAME} and {PASSWORD}"


def complaint(uri: str, error: BaseException) -> str:
    """Why a store at this address did not take something, in one line; without its password."""
    if refused_with(error) == UNKNOWN:
        return refusal(uri)
    reason = root_cause(error)
    address = without_password(uri)
    if has_password(uri):  # a library may name the address, whole or in part
        reason = without_password(reason.replace(uri, address))
    return f"{address}: {reason}"


@contextmanager
def answering(uri: str, beginning: str = "") -> Iterator[None]:
    """Within, whatever the library of the store at this address raises becomes an OSError.

    Args:
        beginning: of its one line, before the `complaint`.
    """
    try:
        yield
    except Exception as error:  # the boundary: every store's library has errors of its own
        raise OSError(f"{beginning}{complaint(uri, error)}") from error


def root_cause(error: BaseException) -> str:
    """The innermost reason in one line: "Connection refused", not four layers of retries.

    A file system's is the one that names the file.
    """
    while (inner := error.__cause__ or error.__context__) is not None:
        if isinstance(error, OSError) and error.filename is not None:
            break
        error = inner
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 300 else f"{line[:300].rpartition(' ')[0] or line[:300]} …"
