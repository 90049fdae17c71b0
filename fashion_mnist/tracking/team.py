"""`fmnist tracking-server`: MLflow's server for the runs of many machines. No MLflow here.

Files travel through it, so that a client needs its address alone. What it keeps of its own lies in
one folder:
```
tracking-server/mlflow.db       the runs, unless they are in a database of their own
                artifacts/      the files, unless they are elsewhere
                logins.ini      how MLflow looks after logins; may hold the database's password
                logins.db       the logins, unless the runs' database has them
                secret          signs the pages' forms
```
"""

import configparser
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from fashion_mnist.tracking.address import (
    absolute_uri,
    check_store,
    sqlite_path,
    without_password,
)
from fashion_mnist.tracking.hosting import (
    EVERYWHERE,
    FILES,
    LOOPBACK,
    Hosting,
    serve_until_stopped,
)
from fashion_mnist.training.device import physical_cores

ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
MOST_WORKERS = 4  # each takes 400 MB
# A password is hashed slowly, to be safe where it is stolen: not for each request of a client.
LOGIN_SECONDS = 60
# Everybody adds to everybody's experiments; only who made one can throw it away.
PERMISSION = "EDIT"


@dataclass(frozen=True)
class TeamServer:
    """What somebody wants to be served.

    Raises:
        ValueError: from `hosting`, for what makes no server.
    """

    folder: Path
    store: str = ""  # a database's address; empty: a file in the folder
    artifacts: str = ""  # a folder, or s3://BUCKET/PATH; empty: below the folder
    host: str = LOOPBACK
    port: int = 5000
    workers: int = 0  # 0: as many as the store can use
    names: Sequence[str] = ()  # by which others reach this machine
    with_logins: bool = False

    @property
    def address_of_store(self) -> str:
        """The database's absolute address."""
        return absolute_uri(self.store or f"sqlite:///{self.folder}/mlflow.db", name="--store")

    @property
    def is_reached_by_others(self) -> bool:
        """Whether it listens to other machines."""
        return self.host not in (LOOPBACK, "localhost", "::1")

    def hosting(self) -> Hosting:
        """How MLflow's server is started; makes the folder and what belongs there."""
        store = self.address_of_store
        if store.startswith(("http", "databricks")):
            raise ValueError(f"--store must be a database's address, got {without_password(store)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        artifacts = self.artifacts or str(self.folder.absolute() / "artifacts")
        if "://" not in artifacts:
            artifacts = str(Path(artifacts).absolute())
        own = Hosting(store, self.port, self.host, self.workers or _workers_for(store))
        own = replace(own, options=(FILES, artifacts))
        if self.is_reached_by_others or self.names:
            own = replace(own, options=(*own.options, *self._visitors()))
        if not self.with_logins:
            return own
        settings = {
            "MLFLOW_AUTH_CONFIG_PATH": str(self._write_logins(store)),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self._secret(),
        }
        return replace(own, options=(*own.options, "--app-name", "basic-auth"), settings=settings)

    def all_names(self) -> list[str]:
        """Those by which this machine may be asked for, the first one for people."""
        addresses = [each.address for own in psutil.net_if_addrs().values() for each in own]
        plain = [each for each in addresses if each.count(".") == 3 and each != LOOPBACK]
        own = [socket.gethostname(), socket.getfqdn(), *plain]
        chosen = [self.host] if self.host not in EVERYWHERE else []
        return list(dict.fromkeys([*self.names, *chosen, *own]))

    def _visitors(self) -> list[str]:
        """MLflow answers to names that it was told of, or a page of anybody's could ask it."""
        names = [*self.all_names(), "localhost", LOOPBACK]
        hosts = [word for name in names for word in (name, f"{name}:{self.port}")]
        origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
        words = ["--allowed-hosts", ",".join(hosts)]
        return [*words, "--cors-allowed-origins", ",".join(origins)]

    def _write_logins(self, store: str) -> Path:
        """MLflow's settings for logins, where only we can read them."""
        logins = self.folder.absolute() / "logins.db"
        has_own = sqlite_path(store) is not None
        if has_own and not logins.exists() and not os.environ.get(ADMIN_PASSWORD):
            raise ValueError(f"--logins needs {ADMIN_PASSWORD} at its first start: set it")
        settings = {
            "default_permission": PERMISSION,
            "database_uri": f"sqlite:///{logins}" if has_own else store,
            "admin_username": "admin",
            "auth_cache_ttl_seconds": str(LOGIN_SECONDS),
        }
        file = configparser.RawConfigParser()
        file["mlflow"] = {key: value.replace("%", "%%") for key, value in settings.items()}
        path = self.folder.absolute() / "logins.ini"
        with _private(path).open("w") as stream:
            file.write(stream)
        return path

    def _secret(self) -> str:
        path = self.folder / "secret"
        if not path.exists():
            _private(path).write_text(secrets.token_hex(32))
        return path.read_text()


def serve_team(server: TeamServer, say: Callable[[str], None] = print) -> None:
    """Serves until Ctrl-C.

    Raises:
        ValueError: the port is taken, or this makes no server.
        OSError: the database does not answer, or MLflow does not start.
    """
    hosting = server.hosting()
    problem = check_store(hosting.store)
    if problem:
        raise OSError(problem)

    def welcome() -> None:
        for line in (*_welcome(server), *out_of_reach(hosting.store)):
            say(line)

    serve_until_stopped(hosting, say, welcome)


def _welcome(server: TeamServer) -> list[str]:
    """What a user needs to know of it."""
    name = server.all_names()[0] if server.is_reached_by_others else LOOPBACK
    address = f"http://{name}:{server.port}"
    lines = [f"{address} is ready: MLFLOW_TRACKING_URI={address} fmnist train", "Ctrl-C stops it."]
    if server.with_logins:
        lines.insert(1, "It wants MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.")
    elif server.is_reached_by_others:
        lines.insert(1, "Whoever reaches it may read, change and delete: --logins asks who it is.")
    else:
        lines.insert(1, "For this machine alone: --host 0.0.0.0 serves others too.")
    return lines


def out_of_reach(store: str) -> list[str]:
    """A line for each experiment that was made without this server: its files do not travel."""
    from fashion_mnist.tracking.database import Database

    roots = Database(store).artifact_roots()
    return [
        f"The files of the experiment {name!r} go to {root} of whoever records a run in it: other "
        "machines want another tracking.experiment."
        for name, root in roots.items()
        if "://" not in root.replace("file://", "") and not root.startswith("mlflow-artifacts:")
    ]


def _workers_for(store: str) -> int:
    """A database file has one writer at a time; the others would wait for it."""
    return 1 if sqlite_path(store) else max(1, min(physical_cores(), MOST_WORKERS))


def _private(path: Path) -> Path:
    """A file that only its owner can read, empty."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path
