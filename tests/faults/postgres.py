"""A PostgreSQL server of a test's own: on loopback, in a temporary folder, gone afterwards."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

HOST, USER, DATABASE = "127.0.0.1", "tester", "postgres"  # the database that initdb makes
START_SECONDS = 60
# what is recorded here is thrown away: no disk needs to be waited for
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
}


def missing() -> str:
    """Why there can be no server here; empty where there can."""
    if _program("initdb") is None or _program("postgres") is None:
        return "PostgreSQL is not installed (on Debian: apt-get install postgresql)"
    return ""


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server with an empty database; its address, `postgresql://…`, password included."""
    with tempfile.TemporaryDirectory() as name:
        folder, password = Path(name), secrets.token_hex(16)
        identity = _give_away(folder)
        _make_cluster(folder, password, identity)
        port = free_port()
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *(str(_program("postgres")), "-D", str(folder / "data"), "-p", str(port)),
                    *(word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")),
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                **identity,
            )
        try:
            _wait_until_ready(server, folder / "log", port)
            yield f"postgresql://{USER}:{password}@{HOST}:{port}/{DATABASE}"
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM waits for clients to leave
            server.wait(START_SECONDS)


def new_database(address: str, name: str) -> str:
    """Another, empty database of the same server; its address."""
    engine = create_engine(address, isolation_level="AUTOCOMMIT")  # it cannot be undone
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{address.rpartition('/')[0]}/{name}"


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _make_cluster(folder: Path, password: str, identity: dict[str, Any]) -> None:
    (folder / "password").write_text(password)
    subprocess.run(
        [
            *(str(_program("initdb")), "-D", str(folder / "data"), "-U", USER, "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={folder / 'password'}"),
            *("--encoding=UTF8", "--locale=C"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        **identity,
    )


def _program(name: str) -> Path | None:
    """The program; Debian keeps it away from PATH, in a folder for each version."""
    if found := shutil.which(name):
        return Path(found)
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    return max(versions, key=lambda path: int(path.parts[-3]), default=None)


def _give_away(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root. Who runs it then, as Popen has it, owns the folder."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _wait_until_ready(server: subprocess.Popen[bytes], log: Path, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "ready to accept connections" not in log.read_text(encoding="utf-8"):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    with suppress(OSError), socket.create_connection((HOST, port), 5):
        return
    raise AssertionError(log.read_text(encoding="utf-8"))
