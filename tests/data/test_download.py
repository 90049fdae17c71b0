"""The download by torchvision, from a local server: one good copy, or one clear message."""

import gzip
import hashlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets import FashionMNIST

from fashion_mnist.data.fashion_mnist import NAMES, download, load_fashion_mnist
from fashion_mnist.data.idx import DataError
from tests.builders import CLASS_NAMES, make_data

FILES = [f"{name}.gz" for name in NAMES]


class Mirror(BaseHTTPRequestHandler):
    """Answers as its path's first part says: good, missing, truncated, wrong, and so on."""

    def do_GET(self) -> None:
        """Serve one file in the way that the address asks for."""
        server: Any = self.server
        _, behaviour, file = self.path.split("/")
        server.requests.append(self.path)
        answer = server.answers[file]
        match behaviour:
            case "missing":
                self.send_error(404)
                return
            case "silent":
                time.sleep(1)
                return
            case "slow":
                time.sleep(0.1)
            case "wrong":
                answer = gzip.compress(b"another content")
            case "portal":
                answer = b"<html>Please sign in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        hangs = behaviour == "hang" and len(server.requests) > server.num_whole
        try:
            if hangs or behaviour == "truncated":
                answer = answer[: len(answer) // 2]
            self.wfile.write(answer)
            if hangs:
                self.wfile.flush()
                server.has_hung.set()
                self.connection.recv(1)
        except OSError:
            return  # the client has closed the connection

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Server:
    """A server of a data set; its `url` ends in the behaviour that is wanted of it."""

    def __init__(self, http: Any, made: Path) -> None:
        """Serve the files of folder `made`, compressed."""
        self.http = http
        contents = {name: (made / name).read_bytes() for name in NAMES}
        self.answers = {f"{name}.gz": gzip.compress(contents[name], mtime=0) for name in NAMES}
        self.expected = {name: hashlib.sha256(contents[name]).hexdigest() for name in NAMES}
        self.http.answers, self.http.requests = self.answers, []
        self.http.num_whole, self.http.has_hung = 0, threading.Event()

    def url(self, behaviour: str) -> str:
        """The address of a mirror that behaves so."""
        return f"http://127.0.0.1:{self.http.server_port}/{behaviour}/"

    def resources(self) -> list[tuple[str, str]]:
        """File names and MD5 hashes, as torchvision wants them."""
        return [(file, hashlib.md5(self.answers[file]).hexdigest()) for file in FILES]

    def source(self, behaviour: str) -> type[FashionMNIST]:
        """torchvision's class with this server as its mirror."""
        return self.client(behaviour).source

    def client(self, behaviour: str) -> "Client":
        """What another process needs to ask it."""
        return Client(self.url(behaviour), self.resources(), self.expected)

    def assert_complete(self, folder: Path, *besides: str) -> None:
        """All files are there as the server has them, and nothing else but the lock."""
        assert {path.name for path in folder.iterdir()} - {".lock"} == {*FILES, *besides}
        for file in FILES:
            assert (folder / file).read_bytes() == self.answers[file]


@dataclass(frozen=True)
class Client:
    """Where the data is to be had, and what it should be."""

    url: str
    resources: list[tuple[str, str]]
    expected: dict[str, str]

    @property
    def source(self) -> type[FashionMNIST]:
        """torchvision's class with that server as its mirror."""
        attributes = {"mirrors": [self.url], "resources": self.resources}
        return type("Source", (FashionMNIST,), attributes)

    def download(self, folder: Path) -> None:
        """Fill the folder."""
        download(folder, expected=self.expected, source=self.source)

    def download_to_full_disk(self, folder: Path) -> None:
        """The same where the 20th byte of any file is an error."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        self.download(folder)

    def load(self, folder: Path) -> None:
        """Read the folder, whose damaged files are fetched anew."""
        load_fashion_mnist(
            folder, class_names=CLASS_NAMES, expected=self.expected, systems=[], source=self.source
        )


def start(action: Callable[[Path], None], folder: Path, errors: Path) -> ForkServerProcess:
    """A process that does so, and says on standard error, which is a file, what goes wrong."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torchvision.datasets", "fashion_mnist.config.compose"])
    process = context.Process(target=act, args=(action, folder, errors))
    process.start()
    return process


def act(action: Callable[[Path], None], folder: Path, errors: Path) -> None:
    """What the process does."""
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 2)
    action(folder)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """On a free port of the loopback."""
    monkeypatch.setenv("no_proxy", "*")  # a proxy of this machine's cannot reach its loopback
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as http:
        own = Server(http, make_data(tmp_path / "made"))
        threading.Thread(target=http.serve_forever, args=(0.01,)).start()
        yield own
        http.shutdown()


def test_good_mirror_fills_the_folder(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder that did not exist holds all files; where is said, without bars for a file."""
    folder = tmp_path / "new" / "data"
    download(folder, expected=server.expected, source=server.source("good"))
    server.assert_complete(folder)
    assert capfd.readouterr().err == f"Downloading Fashion-MNIST into {folder}\n"
    assert socket.getdefaulttimeout() is None


def test_files_that_are_there_are_not_touched(server: Server, tmp_path: Path) -> None:
    """In whatever form they are; where none is missing, the server is not asked."""
    folder = tmp_path / "data"
    folder.mkdir()
    own = folder / NAMES[0]
    own.write_bytes(b"the user's own")
    download(folder, expected=server.expected, source=server.source("good"))
    assert own.read_bytes() == b"the user's own"
    assert {path.name for path in folder.iterdir()} == {".lock", NAMES[0], *FILES[1:]}
    server.http.requests.clear()
    download(folder, expected=server.expected, source=server.source("good"))
    assert server.http.requests == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "404"),
        ("truncated", "corrupted"),
        ("wrong", "corrupted"),
        ("portal", "corrupted"),
        ("silent", "timed out"),
    ],
)
def test_failed_download_says_why_and_leaves_nothing(
    server: Server, tmp_path: Path, behaviour: str, reason: str
) -> None:
    """One line with address, reason and advice, in time; no file is left."""
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        download(
            tmp_path / "data",
            expected=server.expected,
            source=server.source(behaviour),
            timeout_seconds=0.3,
        )
    assert time.monotonic() - start < 2
    message = str(caught.value)
    assert server.url(behaviour) in message
    assert reason in message
    assert "\n" not in message
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {".lock"}
    assert socket.getdefaulttimeout() is None


def test_content_must_be_the_expected(server: Server, tmp_path: Path) -> None:
    """A file that has the MD5 hash of torchvision's list and another SHA-256 is refused."""
    expected = {**server.expected, NAMES[2]: "0" * 64}
    with pytest.raises(DataError, match=f"{NAMES[2]}.gz: changed: the SHA-256"):
        download(tmp_path / "data", expected=expected, source=server.source("good"))


@pytest.mark.parametrize("has_apt", [True, False])
def test_message_gives_the_command_that_helps(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_apt: bool
) -> None:
    """Where apt-get is on the PATH its command is given, sudo unless root; elsewhere it is not."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if has_apt:
        (programs / "apt-get").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(DataError) as caught:
        download(tmp_path / "data", expected=server.expected, source=server.source("missing"))
    sudo = "" if os.geteuid() == 0 else "sudo "
    command = f" {sudo}apt-get install dataset-fashion-mnist"
    assert str(caught.value).endswith(command) == has_apt


def test_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    """A file where the folder should be is an error that says data.dir and the path."""
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match=r"data\.dir: cannot write to .*taken"):
        download(tmp_path / "taken", expected=server.expected, source=server.source("good"))


def test_two_processes_end_with_one_good_copy(server: Server, tmp_path: Path) -> None:
    """Started together on an empty folder, both succeed, and one of them downloads."""
    folder = tmp_path / "data"
    errors = run_two(server.client("slow").download, folder)
    assert "".join(errors) == f"Downloading Fashion-MNIST into {folder}\n"
    server.assert_complete(folder)
    # torchvision asks twice for each file, first for redirections
    assert server.http.requests == [f"/slow/{file}" for file in FILES for _ in range(2)]


@pytest.mark.long
@pytest.mark.parametrize("num_whole", [0, 1, 4, 7])
def test_killed_download_goes_on(server: Server, tmp_path: Path, num_whole: int) -> None:
    """kill -9 in the middle of any file leaves none that is not whole; the same call goes on."""
    folder = tmp_path / "data"
    server.http.num_whole = num_whole
    process = start(server.client("hang").download, folder, tmp_path / "errors")
    assert server.http.has_hung.wait(60)
    process.kill()
    process.join()
    assert list(folder.glob("*.gz")) == []
    server.http.requests.clear()
    download(folder, expected=server.expected, source=server.source("good"))
    server.assert_complete(folder)
    whole = FILES[: num_whole // 2]
    assert server.http.requests == [f"/good/{file}" for file in FILES[len(whole) :] for _ in (0, 1)]


def test_full_disk_leaves_no_half_file(server: Server, tmp_path: Path) -> None:
    """The message says what the disk said; the folder is as it was."""
    folder = tmp_path / "data"
    errors = tmp_path / "errors"
    os.mkfifo(errors)  # what is written to it fills no disk
    process = start(server.client("good").download_to_full_disk, folder, errors)
    said = errors.read_text()
    process.join()
    assert f"DataError: data.dir: cannot write to {folder} (File too large)" in said
    assert {path.name for path in folder.iterdir()} == {".lock"}


@pytest.mark.parametrize("is_complete", [True, False])
def test_damaged_file_is_downloaded_anew(server: Server, tmp_path: Path, is_complete: bool) -> None:
    """It, and what was missing anyway; the damaged one is kept beside, the others stay."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in FILES[: 4 if is_complete else 3]:
        (folder / file).write_bytes(server.answers[file])
    (folder / FILES[1]).write_bytes(b"\x1f\x8b garbage")
    kept = (folder / FILES[0]).stat().st_mtime_ns
    dataset = load_fashion_mnist(
        folder,
        class_names=CLASS_NAMES,
        expected=server.expected,
        systems=[],
        source=server.source("good"),
    )
    assert dataset.source == str(folder)
    server.assert_complete(folder, f"{NAMES[1]}.damaged-1.gz")
    assert (folder / f"{NAMES[1]}.damaged-1.gz").read_bytes() == b"\x1f\x8b garbage"
    assert (folder / FILES[0]).stat().st_mtime_ns == kept


@pytest.mark.long
def test_two_processes_repair_a_folder_once(server: Server, tmp_path: Path) -> None:
    """Started together they both get good files, and neither sets the other's good copy aside."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in FILES:
        (folder / file).write_bytes(server.answers[file][:-20])
    run_two(server.client("slow").load, folder)
    server.assert_complete(folder, *(f"{name}.damaged-1.gz" for name in NAMES))
    assert server.http.requests == [f"/slow/{file}" for file in FILES for _ in range(2)]


def run_two(action: Callable[[Path], None], folder: Path) -> list[str]:
    """Start two processes together; what they say on standard error. Both must succeed."""
    files = [folder.with_name(f"errors-{number}") for number in range(2)]
    processes = [start(action, folder, file) for file in files]
    for process in processes:
        process.join(60)
    errors = [file.read_text() for file in files]
    assert [process.exitcode for process in processes] == [0, 0], errors
    return errors
