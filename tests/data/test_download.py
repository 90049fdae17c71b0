"""The download, against a real server on the loopback: every mirror that fails, fails alone."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fashion_mnist.data.fashion_mnist import NAMES, download, load_published, read_files
from fashion_mnist.data.idx import DataError
from tests.builders import make_data

CONTENTS = {"first": b"\0\0\x08\x01 first " * 99, "second": b"\0\0\x08\x01 second " * 99}
EXPECTED = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
ANSWERS = {f"{name}.gz": gzip.compress(content) for name, content in CONTENTS.items()}


class Mirror(BaseHTTPRequestHandler):
    """Answers as its path's first part says: good, missing, truncated, wrong, and so on."""

    def do_GET(self) -> None:
        """Serve one file in the way that the address asks for."""
        _, behaviour, file = self.path.split("/")
        self.server.requests.append(self.path)  # type: ignore[attr-defined]  # set in `server`
        answer = ANSWERS[file]
        if behaviour == "missing":
            self.send_error(404)
            return
        if behaviour == "slow":
            time.sleep(0.5)
        if behaviour == "silent":
            time.sleep(1)
            return
        if behaviour == "wrong":
            answer = gzip.compress(b"another content")
        if behaviour == "portal":
            answer = b"<html>Please sign in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if behaviour == "drip":
            self.drip(answer)
            return
        if behaviour == "truncated":
            answer = answer[: len(answer) // 2]
        size = 1 if behaviour == "trickle" else len(answer)
        try:
            for start in range(0, len(answer), size):
                self.wfile.write(answer[start : start + size])
                time.sleep(0.05 if behaviour != "good" else 0)
        except OSError:
            return  # the client has hung up: that is what some tests are about

    def drip(self, answer: bytes) -> None:
        """Send only as many bytes as the server has left, then hang until the client is gone."""
        server: Any = self.server
        self.wfile.write(answer[: server.drips])
        if server.drips < len(answer):
            server.has_hung.set()
            self.connection.recv(1)
        server.drips -= len(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server on a free port of the loopback, with the list of its `requests`."""
    monkeypatch.setenv("no_proxy", "*")  # a proxy of this machine's cannot reach its loopback
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.requests = []  # type: ignore[attr-defined]  # an attribute of this test's own
        server.has_hung = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def mirror(server: ThreadingHTTPServer, behaviour: str) -> str:
    """The address of the mirror that behaves so."""
    return f"http://127.0.0.1:{server.server_port}/{behaviour}/"


def requests(server: ThreadingHTTPServer) -> list[str]:
    """The paths that were asked for, in their order."""
    paths: list[str] = server.requests  # type: ignore[attr-defined]  # set in `server`
    return paths


def assert_complete(folder: Path) -> None:
    """Both files are there as the server has them, and nothing else but the lock."""
    assert {path.name for path in folder.iterdir()} - {".lock"} == set(ANSWERS)
    for name, answer in ANSWERS.items():
        assert (folder / name).read_bytes() == answer


def test_good_mirror_fills_the_folder(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """One request for each file; a folder that did not exist holds both afterwards."""
    download(tmp_path / "new" / "data", expected=EXPECTED, mirrors=[mirror(server, "good")])
    assert_complete(tmp_path / "new" / "data")
    assert requests(server) == ["/good/first.gz", "/good/second.gz"]


def test_only_missing_files_are_fetched(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """A file that is there, in whatever form, is neither fetched nor touched."""
    (tmp_path / "first").write_bytes(b"the user's own")
    download(tmp_path, expected=EXPECTED, mirrors=[mirror(server, "good")])
    assert requests(server) == ["/good/second.gz"]
    assert (tmp_path / "first").read_bytes() == b"the user's own"


@pytest.mark.parametrize(
    "behaviour", ["missing", "truncated", "wrong", "portal", "silent", "trickle"]
)
def test_second_mirror_stands_in(
    server: ThreadingHTTPServer, tmp_path: Path, behaviour: str
) -> None:
    """However the first mirror fails, the second one is used at once and its copy kept."""
    download(
        tmp_path,
        expected=EXPECTED,
        mirrors=[mirror(server, behaviour), mirror(server, "good")],
        silence_seconds=0.3,
        file_seconds=0.3,
    )
    assert_complete(tmp_path)
    assert requests(server) == [f"/{way}/{file}" for file in ANSWERS for way in (behaviour, "good")]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "404"),
        ("truncated", "truncated or corrupt gzip"),
        ("wrong", "SHA-256"),
        ("portal", "SHA-256"),
        ("silent", "timed out"),
        ("trickle", "not complete after 0.3 seconds"),
    ],
)
def test_failed_download_says_why_and_leaves_nothing(
    server: ThreadingHTTPServer, tmp_path: Path, behaviour: str, reason: str
) -> None:
    """After all attempts the message gives address and reason, in time, and no file is left."""
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        download(
            tmp_path,
            expected=EXPECTED,
            mirrors=[mirror(server, behaviour)],
            num_attempts=2,
            pause_seconds=0.01,
            silence_seconds=0.3,
            file_seconds=0.3,
        )
    assert time.monotonic() - start < 2
    assert f"{mirror(server, behaviour)}first.gz: " in str(caught.value)
    assert reason in str(caught.value)
    assert requests(server) == [f"/{behaviour}/first.gz"] * 2
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_pauses_between_attempts_grow(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    """Three attempts wait once the pause and once twice the pause."""
    start = time.monotonic()
    with pytest.raises(DataError):
        download(
            tmp_path,
            expected=EXPECTED,
            mirrors=[mirror(server, "missing")],
            num_attempts=3,
            pause_seconds=0.1,
        )
    assert time.monotonic() - start >= 0.3
    assert len(requests(server)) == 3


@pytest.mark.parametrize("has_apt", [True, False])
def test_message_gives_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_apt: bool
) -> None:
    """Where apt-get is on the PATH its command is given, sudo unless root; elsewhere it is not."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if has_apt:
        (programs / "apt-get").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(DataError) as caught:
        download(tmp_path / "data", expected=EXPECTED, mirrors=[], num_attempts=1)
    sudo = "" if os.geteuid() == 0 else "sudo "
    command = f": {sudo}apt-get install dataset-fashion-mnist"
    assert str(caught.value).endswith(command) == has_apt


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is an error that says data.dir and the path."""
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match=r"data\.dir: cannot write to .*taken"):
        download(tmp_path / "taken", expected=EXPECTED, mirrors=[])


def test_two_processes_end_with_one_good_copy(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Started together on an empty folder, both succeed, and each file is fetched once."""
    program = f"""
from pathlib import Path
from fashion_mnist.data.fashion_mnist import download
download(Path({str(tmp_path)!r}), expected={EXPECTED!r}, mirrors=[{mirror(server, "slow")!r}])
"""
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    # One says that it fetches, the other waits for it; no bar where there is no terminal.
    said = b"".join(b"".join(errors).split())
    assert said == b"".join(f"Fetching Fashion-MNIST into {tmp_path}".encode().split())
    assert_complete(tmp_path)
    assert requests(server) == ["/slow/first.gz", "/slow/second.gz"]


@pytest.mark.parametrize("seed", range(6))
def test_killed_download_goes_on(server: ThreadingHTTPServer, tmp_path: Path, seed: int) -> None:
    """kill -9 at any byte leaves whole files or none; the same call fetches what lacks."""
    program = f"""
from pathlib import Path
from fashion_mnist.data.fashion_mnist import download
download(Path({str(tmp_path)!r}), expected={EXPECTED!r}, mirrors=[{mirror(server, "drip")!r}])
"""
    sizes = [len(answer) for answer in ANSWERS.values()]
    last_byte = Random(seed).randrange(sum(sizes))
    server.drips = last_byte  # type: ignore[attr-defined]  # bytes that are sent before it hangs
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        assert server.has_hung.wait(60)  # type: ignore[attr-defined]
        process.kill()
    whole = {path.name for path in tmp_path.glob("*.gz")}
    assert whole == ({"first.gz"} if last_byte >= sizes[0] else set())
    (tmp_path / f".second.{process.pid}.part.gz").write_bytes(b"of the killed process")
    requests(server).clear()
    download(tmp_path, expected=EXPECTED, mirrors=[mirror(server, "good")])
    assert_complete(tmp_path)
    assert requests(server) == [f"/good/{name}" for name in ANSWERS if name not in whole]


def test_disk_that_takes_no_more_leaves_no_half_file(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """The message says what the disk said; the folder is as it was."""
    program = f"""
import resource
from pathlib import Path
from fashion_mnist.data.fashion_mnist import download
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))  # the 20th byte of any file is an error
download(Path({str(tmp_path)!r}), expected={EXPECTED!r}, mirrors=[{mirror(server, "good")!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"DataError: data.dir: cannot write to {tmp_path} (File too large)" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Have the server hold a data set that is made in `folder`; its digests."""
    make_data(folder)
    for name in NAMES:
        monkeypatch.setitem(ANSWERS, f"{name}.gz", gzip.compress((folder / name).read_bytes()))
    return dict(read_files(folder, num_classes=3).digests)


@pytest.mark.parametrize("is_complete", [True, False])
def test_damaged_file_is_fetched_anew(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_complete: bool
) -> None:
    """It alone, and what was missing anyway; the damaged one is kept beside."""
    expected = publish(tmp_path / "made", monkeypatch)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in NAMES[: 4 if is_complete else 3]:
        (folder / f"{name}.gz").write_bytes(ANSWERS[f"{name}.gz"])
    (folder / f"{NAMES[1]}.gz").write_bytes(b"\x1f\x8b garbage")
    files = load_published(
        folder,
        systems=[],
        num_classes=3,
        expected=expected,
        mirrors=lambda: [mirror(server, "good")],
    )
    assert (files.folder, files.digests) == (folder, expected)
    assert (folder / f"{NAMES[1]}.damaged-1.gz").read_bytes() == b"\x1f\x8b garbage"
    lacking = NAMES[1:2] if is_complete else (NAMES[1], NAMES[3])
    assert requests(server) == [f"/good/{name}.gz" for name in lacking]


def test_two_processes_mend_a_folder_once(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started together they both get good files, and neither sets the other's good copy aside."""
    expected, folder = publish(tmp_path / "made", monkeypatch), tmp_path / "folder"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(ANSWERS[f"{name}.gz"][:-20])
    program = f"""
from pathlib import Path
from fashion_mnist.data.fashion_mnist import load_published
mirror = {mirror(server, "slow")!r}
options = dict(systems=[], num_classes=3, expected={expected!r}, mirrors=lambda: [mirror])
assert load_published(Path({str(folder)!r}), **options).digests == {expected!r}
"""
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    wanted = {f"{name}{ending}" for name in NAMES for ending in (".gz", ".damaged-1.gz")}
    assert {path.name for path in folder.iterdir()} - {".lock"} == wanted
    assert sorted(requests(server)) == sorted(f"/slow/{name}.gz" for name in NAMES)
