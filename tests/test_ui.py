"""The pages of MLflow, seen in a real browser: our saved views show what they promise."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image, ImageDraw

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.files import run_lock
from fashion_mnist.tracking.recorded import SCORE
from fashion_mnist.tracking.saved_views import COLUMNS, CURVES, IMAGES, sweep_link, view_links
from fashion_mnist.tracking.server import mlflow_server, ui, wait_until_ready
from fashion_mnist.tracking.uploader import sync

pytestmark = pytest.mark.long

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1500",
    "--remote-debugging-pipe",
]
# MLflow opens an assistant's panel over a quarter of the first page that a browser shows
CLOSE_PANEL = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


class Browser:
    """A headless Chromium that is told what to do through two pipes (DevTools protocol)."""

    def __init__(self, profile: Path) -> None:
        commands, self._to_browser = os.pipe()
        self._from_browser, answers = os.pipe()
        # the browser reads commands from descriptor 3 and writes answers to 4
        shell = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=[commands, answers],
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._unread = b""
        self._number = 0
        self._session: dict[str, str] = {}
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.tell("Page.addScriptToEvaluateOnNewDocument", source=CLOSE_PANEL)
        self.tell("Page.enable")

    def tell(self, method: str, **params: object) -> dict[str, Any]:
        """Sends a command and returns its answer; events that come between are dropped."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._next_message()).get("id") != self._number:
            pass
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        self.tell("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the open page."""
        result = self.tell("Runtime.evaluate", expression=script, returnByValue=True)["result"]
        return result.get("value")

    def wait_for(self, script: str, seconds: float = 180) -> bool:
        """Whether the expression becomes true in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.run(script):
                return True
            time.sleep(0.25)
        return False

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self.tell("Page.captureScreenshot")["data"]))

    def _next_message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            self._unread += os.read(self._from_browser, 1 << 16) or self._ended()
        message, _, self._unread = self._unread.partition(b"\0")
        content: dict[str, Any] = json.loads(message)
        return content

    def _ended(self) -> bytes:
        raise OSError(f"chromium ended with status {self._process.wait()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to_browser)
        os.close(self._from_browser)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def draw_matrix(path: Path, colour: str) -> None:
    """A picture as large as a confusion matrix, of one colour that a test can tell."""
    path.parent.mkdir(parents=True)
    image = Image.new("RGB", (900, 800), "white")
    ImageDraw.Draw(image).rectangle((100, 50, 850, 750), fill=colour)
    image.save(path)


def record_run(folder: Path, uri: str, *, name: str, accuracy: float, colour: str) -> None:
    """A whole run's event log: parameters, three epochs, final figures, a confusion matrix."""
    params = {"model.width": "512", "model.depth": "2", "model.hidden_sizes": "[512, 512]"}
    params |= {"model.activation": "gelu", "optimizer.name": "adamw", "optimizer.lr": "0.001"}
    folder.mkdir(parents=True)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, "fashion-mnist")
        event_log.start(name, params, {})
        event_log.status("RUNNING")
        for epoch in (1, 2, 3):
            losses = {"train/loss": 1 / epoch, "val/loss": 1.1 / epoch}
            event_log.metrics(epoch, losses | {"val/accuracy": accuracy - 0.1 / epoch})
        figures = {"final/val_accuracy": accuracy, "final/val_f1_macro": accuracy - 0.01}
        event_log.metrics(0, figures | {"test/accuracy": 0.5, "test/f1_macro": 0.5})
        for split in ("validation", "test"):
            path = f"{split}/confusion_matrix.png"
            draw_matrix(event_log.artifacts / path, colour)
            event_log.artifact(path)
            event_log.image(f"{split}/confusion_matrix", path)
        event_log.status("FINISHED")


def record_sweep(folder: Path, uri: str) -> str:
    """A sweep over two widths and activations, with its view; returns its event log's id."""
    folder.mkdir(parents=True)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, "fashion-mnist")
        event_log.start("small grid", {}, {})
        axes = ["model.width", "model.activation"]
        event_log.view("sweep-1", "Sweep: small grid", axes, axes, SCORE)
        event_log.status("FINISHED")
        return event_log.state.id


def record_child(folder: Path, uri: str, parent: str, *, width: int, accuracy: float) -> None:
    folder.mkdir(parents=True)
    activation = "relu" if width == 64 else "gelu"
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, "fashion-mnist", parent=parent, name=f"width={width}")
        event_log.start("a run", {"model.width": f"{width}", "model.activation": activation}, {})
        for epoch in (1, 2):
            event_log.metrics(epoch, {"val/accuracy": accuracy - 0.1 / epoch})
        event_log.metrics(0, {"final/val_accuracy": accuracy, "final/val_f1_macro": 0.25})
        event_log.metrics(0, {"test/accuracy": 0.375})
        event_log.status("FINISHED")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on a store with two runs and a sweep of two others."""
    folder = tmp_path_factory.mktemp("ui")
    uri = absolute_uri("sqlite:///mlflow.db", folder)
    runs = folder / "outputs" / "runs"
    record_run(runs / "worse", uri, name="worse run", accuracy=0.8125, colour="red")
    record_run(runs / "better", uri, name="better run", accuracy=0.8875, colour="blue")
    sweep = record_sweep(folder / "outputs" / "sweeps" / "1", uri)
    record_child(runs / "child 1", uri, sweep, width=64, accuracy=0.625)
    record_child(runs / "child 2", uri, sweep, width=96, accuracy=0.6875)
    assert sync(folder / "outputs").is_complete
    port = free_port()
    with mlflow_server(uri, port) as process:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(process, f"{address}/health")
        yield address


def test_errors_of_the_server_are_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says on its standard error but its advice."""
    (tmp_path / "sitecustomize.py").write_text("import sys; print('a warning', file=sys.stderr)")
    uri, port = absolute_uri("sqlite:///mlflow.db", tmp_path), free_port()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with mlflow_server(uri, port) as process:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health")
    assert set(capfd.readouterr().err.splitlines()) == {"a warning"}


def test_a_process_that_ends_without_a_word_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is killed for memory: its exit status is all that is known."""
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(3)\n")
    uri = absolute_uri("sqlite:///mlflow.db", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    dying = mlflow_server(uri, free_port())
    with pytest.raises(OSError, match=r"mlflow\.db cannot be made: a process ended with 3"), dying:
        pass


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as browser:
        yield browser


def see(browser: Browser, url: str, ready: str) -> None:
    """Opens the page and waits for it; FMNIST_SCREENSHOT keeps a picture, to look at by eye."""
    browser.open(url)
    complete = browser.wait_for(ready)
    picture = os.environ.get("FMNIST_SCREENSHOT")
    if picture:
        browser.screenshot(Path(picture))
    assert complete, browser.run("document.body.innerText")


def shown_columns(browser: Browser) -> list[str]:
    """Metrics and parameters that the open table has as columns, from left to right."""
    headers = browser.run(
        "[...document.querySelectorAll('[role=columnheader][col-id]')]"
        ".sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
        ".map(header => header.getAttribute('col-id'))"
    )
    return [header for header in headers if header.startswith(("metrics.", "params."))]


@needs_chromium
def test_table_view_shows_its_columns_best_run_first(server: str, browser: Browser) -> None:
    """The Results link opens a table with exactly our columns, in order, best accuracy on top."""
    see(browser, view_links(server, "1")["Results"], "document.body.innerText.includes('0.8125')")
    text = browser.run("document.body.innerText")
    assert shown_columns(browser) == list(COLUMNS)
    assert text.index("better run") < text.index("worse run")
    for value in ("0.8875", "512", "[512, 512]", "gelu", "adamw", "0.001"):
        assert value in text


@needs_chromium
def test_charts_view_shows_curves_and_matrices_side_by_side(server: str, browser: Browser) -> None:
    """The other link draws three line charts and both runs' matrices, one beside the other."""
    pictures = "[...document.querySelectorAll('img')].filter(img => img.src.includes('matrix'))"
    drawn = f"{pictures}.filter(img => img.naturalWidth > 0).length >= 2"
    curves = "document.querySelectorAll('.js-plotly-plot .js-line').length >= 6"
    see(browser, view_links(server, "1")["Curves and confusion matrices"], f"{drawn} && {curves}")
    boxes = browser.run(
        f"{pictures}.map(img => img.getBoundingClientRect()).map(box => [box.x, box.y, box.width])"
    )
    (x1, y1, width1), (x2, y2, _) = boxes[:2]
    assert y1 == y2
    assert x2 >= x1 + width1
    assert width1 >= 450  # ten rows of numbers can be read
    text = browser.run("document.body.innerText")
    for title in (*CURVES, IMAGES[0], "the best one last"):
        assert title in text
    names = browser.run(
        f"{pictures}.map(img => {{ let box = img; while (!box.innerText?.trim()) "
        "box = box.parentElement; return box.innerText.trim().split('\\n').pop(); })"
    )
    assert names[:2] == ["worse run", "better run"]


@needs_chromium
def test_sweep_view_shows_its_runs_alone(server: str, browser: Browser) -> None:
    """The link draws parallel coordinates, bars and curves of the sweep's runs, and no others."""
    link = sweep_link(server, "1", "sweep-1")
    lines = "document.querySelectorAll('.js-plotly-plot .js-line').length >= 2"
    bars = "document.querySelectorAll('.js-plotly-plot .bars .point').length >= 2"
    axes = "document.querySelectorAll('.parcoords .dimension').length == 3"
    see(browser, link, f"{lines} && {bars} && {axes}")
    text = browser.run("document.body.innerText")
    assert "2 matching runs" in text
    assert "better run" not in text
    see(browser, link.partition("&compareRunsMode")[0], shows_no_charts("0.375"))
    text = browser.run("document.body.innerText")
    assert text.index("width=96") < text.index("width=64")
    assert shown_columns(browser) == [
        "params.`model.width`",
        "params.`model.activation`",
        "metrics.`final/val_accuracy`",
        "metrics.`final/val_f1_macro`",
        "metrics.`test/accuracy`",
    ]


def shows_no_charts(word: str) -> str:
    """A script: whether the page is a table with this word in it."""
    plots = "document.querySelectorAll('.js-plotly-plot').length == 0"
    return f"document.body.innerText.includes('{word}') && {plots}"


def test_ui_names_a_port_that_is_taken(tmp_path: Path) -> None:
    """A taken port is an error that names it, before MLflow starts."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port} is taken"):
            ui(f"sqlite:///{tmp_path}/mlflow.db", port)


def test_ui_stopped_by_a_signal_leaves_no_server(tmp_path: Path) -> None:
    """SIGTERM to `fmnist ui` ends the server too: its port is free again. Nothing is said but by
    the program itself.
    """
    port = free_port()
    script = f"from fashion_mnist.tracking.server import ui; ui('sqlite:///mlflow.db', {port})"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    said = ""
    while "Ctrl-C stops it" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert f"http://127.0.0.1:{port}" in said
