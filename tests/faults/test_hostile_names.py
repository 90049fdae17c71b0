"""Names from configs, runs and stores of other people: shown as they are written, and no more.

They reach terminals, pages, pictures, tables, folders and a store; in none do they steer anything.
"""

import csv
import io
import json
import logging
import os
import re
import subprocess
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from fashion_mnist.analysis.leaderboard import rank
from fashion_mnist.analysis.lookup import SelectedRuns
from fashion_mnist.analysis.predictions import PairedCounts, Pooled
from fashion_mnist.analysis.report import build_report
from fashion_mnist.analysis.report_page import report_page, write_report
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.analysis.sweep_summary import write_summary
from fashion_mnist.cli.output import in_words
from fashion_mnist.config.compose import check
from fashion_mnist.config.messages import ConfigError, PrintableFormatter, printable
from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.plots.confusion import confusion_figure
from fashion_mnist.runs.artifacts import SplitResult, record_split
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.markdown import code, plain
from fashion_mnist.sweeps.axes import text_of
from fashion_mnist.sweeps.progress import Progress
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun
from fashion_mnist.tracking.store import Store
from tests.faults.processes import FMNIST

ESCAPES = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;title\x07",
    "link": "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "screen": "\x1b[2J\x1b[1;1H",
    "bell": "a\x07",
    "return": "kept\roverwritten",
    "backspace": "abc\b\b\b",
    "C1": "\x9b31m\x9d0;title\x9c",
    "bidi": "\u202etxt.exe\u2066\u2069",
    "invisible": "a\u200b\u200d\ufeffb",
    "surrogate": "a\udcffb",
    "separator": "a\u2028b\u2029c\x85d",
}
MARKUP = ["[red]", "[link=http://evil]x[/link]", "[/]", ":warning:", "\\[bold]", "[@click=x]y[/]"]
HTML = "<img src=x onerror=alert(1)>\"'&</td></style></title><script>alert(1)</script>"
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1", "@SUM(A1)", 'a"b', "a,b", "a;b"]
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def test_letters_of_a_command_in_a_locale_without_them(tmp_path: Path) -> None:
    """Bytes that are UTF-8 are letters, as with LC_ALL=C; what is none is refused in one line."""
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}

    def say(name: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        override = b'tracking.run_name="' + name + b'"'
        command: list[bytes | str] = [str(FMNIST), "train", override, *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True)

    done = say("été".encode(), "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "run_name: été" in done.stdout.decode()
    refused = say(b"\xe9t\xe9")
    assert refused.returncode == 2
    assert b"text in UTF-8" in refused.stderr
    assert refused.stderr.count(b"\n") == 1


def job(number: int, value: str, *, status: str = "FINISHED") -> RunResult:
    """A run of a sweep over an axis, with that value."""
    metrics = {"final/val_accuracy": 0.5 + number / 10} if status == "FINISHED" else {}
    values = {"model.x": value, "other.y": str(number)}
    return RunResult(number, values, status, metrics, failure=value, command=f"train '{value}'")


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_nothing_steers_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Log lines, errors, tables and the progress of a sweep write escape sequences out."""
    record = logging.makeLogRecord({"msg": f"before\n{text} after"})
    board = rank([job(0, text), job(1, "b")], score="final/val_accuracy")
    progress = Progress(num_stacks=1, num_runs=1)
    progress.begin_stack(0, text, 1, 1)
    live = io.StringIO()
    Console(file=live, width=200, force_terminal=True, color_system=None).print(progress.render())
    shown = [
        printable(text),
        PrintableFormatter("%(message)s").format(record),
        in_words(ConfigError([text])),
        in_words(FileNotFoundError(2, "No such file", text)),
        "\n".join([*board.text(100), *board.text(None)]),
        live.getvalue(),
    ]
    for words in shown:
        assert not STEERING.search(words), words
        assert words.encode()
    print(printable("größer 512×2 → T-shirt/top 中文\n\tline"), end="")
    assert capsys.readouterr().out == "größer 512×2 → T-shirt/top 中文\n\tline"


def test_a_training_logs_harmlessly() -> None:
    """Both of Hydra's loggings use our formatter, for every handler."""
    folder = yaml.safe_load((Path(__file__).parents[2] / "conf/train.yaml").read_text())["hydra"]
    for name in ("hydra_logging", "job_logging"):
        classes = {each["class"] for each in folder[name]["formatters"].values()}
        assert classes == {"fashion_mnist.config.messages.PrintableFormatter"}


@pytest.mark.parametrize("text", MARKUP)
def test_no_table_reads_markup(text: str) -> None:
    """Square brackets and colons stand in the live table of a sweep as they were typed."""
    progress = Progress(num_stacks=1, num_runs=1)
    progress.begin_stack(0, text, 1, 1)
    shown = io.StringIO()
    console = Console(file=shown, width=200, force_terminal=True, color_system=None)
    console.print(progress.render())
    assert text in shown.getvalue()
    assert "evil" not in shown.getvalue().replace(text, "")


class Tags(HTMLParser):
    """The elements of a page, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def assert_harmless(page: str) -> None:
    """It has no element that runs or fetches anything, and a policy that forbids both."""
    tags = Tags(page).tags
    assert not {tag for tag, _ in tags} & {
        "script",
        "iframe",
        "object",
        "embed",
        "link",
        "form",
    }
    assert all(
        str(own["src"]).startswith("data:image/png;base64,") for t, own in tags if t == "img"
    )
    # links lead to a heading of the same page
    assert all(str(own["href"]).startswith("#") for t, own in tags if t == "a")
    assert not [own for _, own in tags if any(name.startswith("on") for name in own)]
    policies = [own["content"] for _, own in tags if own.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    # before anything that it is to hold for
    assert page.index("Content-Security-Policy") < page.index("<title>")


def test_the_page_of_a_sweep_runs_nothing(tmp_path: Path) -> None:
    """No name becomes an element, and the page's policy forbids scripts and addresses."""
    results = [job(0, HTML), job(1, "b"), job(2, HTML, status="FAILED"), job(3, "c", status=HTML)]
    results[0] = replace(results[0], metrics={**results[0].metrics, "test/accuracy": 0.5})
    write_summary(
        tmp_path,
        rank(results, score="final/val_accuracy", title=HTML),
        objectives=["final/val_accuracy"],
        command=HTML,
    )
    page = (tmp_path / "summary.html").read_text()
    assert_harmless(page)


def hostile_run(number: int) -> RecordedRun:
    """A network's run of somebody else: every text is hostile."""
    parameters = {"seed": str(number), "model.x": HTML, HTML: f"{HTML}{number}"}
    tags = {"fingerprint": HTML, "data_sha256": HTML, "failure": HTML, "cpu": HTML, "torch": HTML}
    tags |= {"sweep.axes": json.dumps({HTML: [HTML]}), "sweep.command": HTML, "stack_size": HTML}
    return RecordedRun(
        run_id=HTML if number else "0" * 32,
        name=HTML,
        status="FAILED" if number == 2 else "FINISHED",
        experiment=HTML,
        start=None,
        end=None,
        parameters=parameters,
        metrics={"final/val_accuracy": 0.5, "test/accuracy": 0.5, "parameters": number},
        tags=tags,
        artifact_uri=HTML,
    )


def test_the_page_of_a_report_runs_nothing(tmp_path: Path) -> None:
    """As that of a sweep; names of runs, classes, keys, values and tags are other people's."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    Store(uri)
    runs = tuple(map(hostile_run, range(4)))
    subject = SelectedRuns(HTML, (runs[0],), runs, runs)
    built = build_report(Reader(uri), subject, limit=None)
    stored = Predictions(np.eye(2, dtype=np.float32)[[1, 0]], np.array([0, 0]), "s")
    own = tuple(
        Pooled(split, (HTML, "Bag"), runs[:1], (stored,), (HTML,)) for split in (HTML, "test")
    )
    second = PairedCounts(own[0].together.counts, own[0].together.counts, (HTML, "Bag"), 2)
    report = replace(
        built, best=own, second=second, images=np.zeros((2, 4, 4), np.uint8), no_images=HTML
    )
    write_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert_harmless(page)
    assert page.count("onerror") > 20  # as text
    assert_harmless(report_page(replace(built, no_predictions=HTML, second=HTML, images=None)))


def test_tables_hold_what_was_written(tmp_path: Path) -> None:
    """CSV is for programs: a cell is the value, unchanged, whatever a spreadsheet makes of it."""
    results = [job(number, text) for number, text in enumerate([*FORMULAS, HTML])]
    write_summary(
        tmp_path,
        rank(results, score="final/val_accuracy"),
        objectives=["final/val_accuracy"],
        command="c",
    )
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert [row["model.x"] for row in csv.DictReader(file)] == [*FORMULAS, HTML]


@pytest.mark.parametrize(
    "text", [HTML, "[x](javascript:1)", "![x](http://evil)", "a|b\n# c", "`` ` ``"]
)
def test_descriptions_are_no_markdown_of_others(text: str) -> None:
    """In the Markdown that MLflow shows, no name is a tag, a link, a picture or a cell."""
    marks = re.sub(r"\\.", "", plain(text))
    assert not set(marks) & set("<>[]|`#\n")
    fence = re.match("`+", code(text))
    assert fence is not None
    assert code(text).endswith(fence[0])
    assert fence[0] not in code(text)[len(fence[0]) : -len(fence[0])]
    assert "\n" not in code(text)


@pytest.mark.parametrize(
    "name",
    ["$\\frac{1}{0$", "$", "<b>", "=1+1", "../../x", "a\\b", "漢字", "🏻👟", "مرحبا", "%s {0}"],
)
def test_class_names_are_drawn_and_written_literally(name: str, tmp_path: Path) -> None:
    """No formula, no path, no crash: pictures, tables and JSON have the name as it is."""
    names, counts = [name, "Bag"], np.array([[3, 1], [2, 4]])
    result = SplitResult(
        name="test",
        predictions=Predictions(np.eye(2, dtype=np.float32)[[0, 0]], np.array([0, 1]), "0" * 64),
        loss=0.5,
        images=torch.zeros(2, 4, 4, dtype=torch.uint8),
    )
    with EventLog(tmp_path / "run") as event_log, warnings.catch_warnings():
        warnings.simplefilter("error")
        record_split(event_log, result, names)
        drawn, bare = (confusion_figure(counts, own, "t") for own in (names, ["", "Bag"]))
    folder = tmp_path / "run/artifacts/test"
    assert json.loads((folder / "confusion_matrix.json").read_text())["labels"] == names
    with (folder / "classification_report.csv").open(newline="") as file:
        assert name in [row[0] for row in csv.reader(file)]
    assert drawn != bare
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


NAMED = ("tracking.experiment", "tracking.run_name", "sweep.name", "output_dir", "data.name")


@pytest.mark.parametrize("text", ["", "   ", "x" * 10_000, "a\0b", "a\nb", *ESCAPES.values()])
def test_a_name_of_no_use_is_a_mistake(text: str) -> None:
    """Empty, blank, endless, with NUL, line breaks or a terminal's escapes: one clear line each."""
    with pytest.raises(ConfigError) as caught:
        check([f"{key}={text_of(text)}" for key in NAMED])
    assert len(caught.value.problems) == len(NAMED)
    for key, problem in zip(NAMED, sorted(caught.value.problems, key=by_name), strict=True):
        assert problem.startswith(f"{key} must be") or "is no override" in problem
        assert problem.isprintable()
        assert len(problem) < 600


def by_name(problem: str) -> int:
    """Where the key that a problem begins with is in `NAMED`."""
    return next((k for k, key in enumerate(NAMED) if problem.startswith(key)), 0)
