"""The address of a store: made absolute, checked, and shown without its password.

And the variables of the environment that do not say it, though MLflow reads them.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

SQLITE = "sqlite:///"
DEFAULT_STORE = "sqlite:///mlflow.db"  # in the current folder
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# As SQLAlchemy reads a database's address, but up to the last @: what is left of it is no secret.
_DATABASE_LOGIN = re.compile(r"(?<=//)([^/?#:@]*):(?!\*\*\*@).+@")
# A server's password may have a slash in it too; what looks like a port is one.
_SERVER_LOGIN = re.compile(r"(?<=//)(?:[^/?#]*|[^/?#:@]*:(?!\d+[/?#]).+)@")
# A path may have a question mark too: the options are what follows the last, up to a slash.
_SQLITE = re.compile(r"sqlite:///(.*?)(\?[\w.]+=[^/?]*)?", re.DOTALL)
_OPTION = re.compile(r"([?&][^=&]*(?:passw|pwd|secret|token)[^=&]*=)(?!\*\*\*)[^&]+", re.IGNORECASE)


def absolute_uri(uri: str, folder: Path | None = None, *, name: str = "tracking.uri") -> str:
    """The address with a relative sqlite path taken from `folder` (default: the current one).

    `~` at the start of the path is the home folder.

    Args:
        name: what an error calls it.

    Raises:
        ValueError: this cannot be the address of an MLflow store.
    """
    scheme = uri.partition(":")[0].split("+")[0]
    if scheme == "sqlite" and uri.startswith(SQLITE):
        path, options = _split(uri)
        if path and ":memory:" not in path:
            own = os.path.expanduser(path)  # noqa: PTH111 (Path's raises where there is no home)
            # by the words first: a folder of outputs may be a link to another disk
            absolute = Path(os.path.normpath((folder or Path.cwd()) / own)).resolve()
            if len(str(absolute).splitlines()) > 1:
                raise ValueError(f"{name} must be a path on one line, got {str(absolute)!r}")
            return f"{SQLITE}{absolute}{options}"
    elif scheme in {"http", "https", *DATABASE_PORTS} and has_host(uri):
        return uri.rstrip("/")
    raise ValueError(
        f"{name} must be sqlite:///FILE, http(s)://HOST:PORT or a postgresql, mysql or mssql "
        f"address, got {without_password(uri)!r}"
    )


def relative_uri(uri: str, folder: Path) -> str:
    """An absolute address as a file in `folder` may hold it: a whole project can be moved.

    A database and a folder that are both below the current folder, where the program was started,
    are named by the way from the folder to the database; other addresses stay.
    """
    path, start = sqlite_path(uri), Path.cwd().resolve()
    own = folder.resolve()
    if path is None or not path.is_relative_to(start) or not own.is_relative_to(start):
        return uri
    return f"{SQLITE}{os.path.relpath(path, own)}{_split(uri)[1]}"


def driver_uri(uri: str) -> str:
    """The address as MLflow takes it, to be opened in the database's folder.

    SQLAlchemy ends a path at `?` and decodes `%41` in it, and MLflow makes the folder that is
    spelled there: a database in a folder of such a name is named relative to it. MLflow keeps one
    connection for each address, so there may be one such folder in a process: the current one.

    Raises:
        ValueError: the database is in another folder whose name MLflow cannot take.
    """
    path = sqlite_path(uri)
    if path is None or ("?" not in str(path) and unquote(str(path)) == str(path)):
        return uri
    if path.parent != Path.cwd():
        raise ValueError(
            f"{uri}: a database whose path has ? or %41 in it can be opened in its own folder only"
        )
    return f"{SQLITE}{quote(path.name)}{_split(uri)[1]}"


def is_address(uri: str) -> bool:
    """Whether `absolute_uri` can have made this: a log of another program may hold anything."""
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
    return Path(_split(uri)[0]) if uri.startswith(SQLITE) else None


def _split(uri: str) -> tuple[str, str]:
    """The path of an sqlite address, and its options with their question mark."""
    match = _SQLITE.fullmatch(uri)
    return (match[1], match[2] or "") if match else ("", "")


def without_password(uri: str) -> str:
    """The address as it may be printed."""
    if uri.startswith("http"):
        uri = _SERVER_LOGIN.sub(_hidden_login, uri)
    elif not uri.startswith("sqlite"):
        uri = _DATABASE_LOGIN.sub(r"\1:***@", uri)
    return _OPTION.sub(r"\1***", uri)


def _hidden_login(login: re.Match[str]) -> str:
    """`name:***@`; `***@` where there is no name, for a token stands in its place."""
    name, colon, _ = login[0].partition(":")
    return f"{name}:***@" if name and colon else "***@"


def has_password(uri: str) -> bool:
    """Whether there is one in the address, before the host or among the options."""
    return without_password(uri) != uri


def demand_no_password(uri: str, name: str = "tracking.uri") -> None:
    """Raises ValueError for an address with a password: an address is kept and shown."""
    if not has_password(uri):
        return
    where = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.mlflow/credentials"
    if not uri.startswith("http"):
        where = "the database's own way, as in PGPASSWORD or ~/.pgpass"
    raise ValueError(
        f"{name} must have no password in it, for it is kept and shown: give it by {where}; "
        f"got {without_password(uri)!r}"
    )


def unread_variables() -> list[str]:
    """Variables that are set, that MLflow reads, and that do not count here; with the reason."""
    keys = {
        "MLFLOW_EXPERIMENT_NAME": "tracking.experiment names the experiment",
        "MLFLOW_EXPERIMENT_ID": "tracking.experiment names the experiment",
        "MLFLOW_REGISTRY_URI": "models are registered in the store of their runs",
    }
    return [
        f"{name} is not read: {reason}" for name, reason in keys.items() if os.environ.get(name)
    ]
