"""The README and the chapters in docs/: their commands, YAML, quotations and names are real.

Commands run on the real images, with the YAML files that the pages show.
"""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from fashion_mnist.cli.app import app
from fashion_mnist.data.fashion_mnist import missing_names, system_folders
from tests.faults.processes import fmnist

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fashion_mnist"
README = (ROOT / "README.md").read_text()
CHAPTERS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = {"README.md": README, **CHAPTERS}
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
TYPED = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
# the same commands, but done in seconds
SHORT = ["training.epochs=2", "data.train_size=512", "data.validation_size=500"]
COMMANDS = [
    line.removeprefix("scripts/train") for line in TYPED if line.startswith("scripts/train")
]
SWEEPS = [line for line in COMMANDS if re.search(r" (-m|sweep=\w+) ?", line)]
RUNS = [line for line in COMMANDS if line not in SWEEPS]
# but not the sweep of a user's file, which is trained
GRIDS = [line for line in SWEEPS if "--config-dir" not in line and " runs" in line]
FILES = re.findall(r"`(mine/[^`]+)`:\n\n```yaml\n(.*?)```", TEXT, re.DOTALL)


def words_of(line: str) -> tuple[str, ...]:
    """A command without its comment."""
    return tuple(shlex.split(line, comments=True))


def once(lines: list[str]) -> list[str]:
    """The first line of each command: pages may show the same."""
    return list({words_of(line): line for line in reversed(lines)}.values())[::-1]


def data_folder() -> Path:
    """Where the real images are on this machine."""
    places = [ROOT / "data" / "fashion_mnist", *system_folders()]
    found = [place for place in places if not missing_names(place)]
    if not found:
        pytest.skip("Fashion-MNIST is not on this machine: `fmnist fetch` brings it")
    return found[0]


@pytest.fixture
def files() -> None:
    """The YAML files of the pages, in the test's own folder."""
    for path, content in FILES:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content, encoding="utf-8")


def said_by(line: str, *overrides: str) -> str:
    """What a command of the pages says when it is done in seconds."""
    place = [f"data.dir={data_folder()}", "tracking.uri=null"]
    done = fmnist("train", *words_of(line), *SHORT, *place, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size_of(line: str) -> int:
    """The number of runs that the comment of a command promises."""
    number = re.search(r"# (\d+) runs", line)
    assert number is not None, line
    return int(number[1])


def short(line: str) -> str:
    """A test's name."""
    return " ".join(line.split()[:2])


def test_they_show_commands() -> None:
    """Enough of them, so that the next tests test something."""
    assert len(once(RUNS)) >= 8
    assert len(once(SWEEPS)) >= 7
    assert len(FILES) == 3
    assert len(README.splitlines()) <= 200


@pytest.mark.long
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", once(RUNS), ids=short)
def test_commands_train_a_run(line: str) -> None:
    """Each with the YAML files of the pages beside it; a dry run shows what would be trained."""
    expected = "multiply-adds" if "--dry-run" in line else "test accuracy"
    assert expected in said_by(line)


@pytest.mark.long
@pytest.mark.parametrize("line", once(GRIDS), ids=short)
def test_sweeps_are_as_large_as_promised(line: str) -> None:
    """On every page. Each is checked to its last run; to train them all would take minutes."""
    flag = [] if "--dry-run" in line else ["--dry-run"]
    [size] = {size_of(other) for other in GRIDS if words_of(other) == words_of(line)}
    assert f"{size} jobs: " in said_by(line, *flag)


@pytest.mark.long
@pytest.mark.usefixtures("files")
def test_a_sweep_of_a_file_is_trained_and_would_go_on_with_more_seeds() -> None:
    """The second line knows the runs of the first."""
    first, second = (line for line in SWEEPS if "--config-dir" in line)
    small, large = size_of(first), size_of(second)
    said = said_by(first, "training.epochs=1")
    assert f"{small} jobs: {small} new" in said
    assert "test accuracy" in said
    more = f"{large} jobs: {large - small} new, {small} finished before"
    assert more in said_by(second, "training.epochs=1", "--dry-run")


def test_the_search_is_made() -> None:
    """With few trials."""
    [line] = once([line for line in SWEEPS if "sweep=search" in line])
    said = said_by(line, "sweep.n_trials=2")
    assert "0 of 2 trials done" in said
    assert "test accuracy" in said


def test_mistakes_are_answered_as_shown() -> None:
    """To the letter."""
    shown = [block for _, block in BLOCKS if block.startswith("$ scripts/train")]
    assert shown
    for block in shown:
        command, _, answer = block.partition("\n")
        done = fmnist("train", *shlex.split(command)[2:])
        assert done.stderr == answer
        assert done.returncode == 2


def test_the_other_commands_take_what_they_are_given() -> None:
    """Each command exists, with these options and as many arguments."""
    program = typer.main.get_command(app)
    lines = [words_of(line)[1:] for line in TYPED if line.startswith("fmnist ")]
    assert len(lines) >= 15
    for name, *arguments in lines:
        if name.startswith("-"):
            known = program.get_params(program.make_context("fmnist", [], resilient_parsing=True))
            assert name in {option for each in known for option in each.opts}
        else:
            program.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]  # typer has no type for its group


def test_commands_named_in_a_sentence_exist() -> None:
    """As in `fmnist sync`."""
    program = typer.main.get_command(app)
    named = {name for code in CODE for name in re.findall(r"\bfmnist ([a-z][\w-]*)", code)}
    assert len(named) >= 5
    assert named <= program.commands.keys()  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page: str) -> None:
    """Relative to the page."""
    folder = ROOT if page == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        assert (folder / target).exists(), target


def test_every_chapter_has_a_link_in_the_readme() -> None:
    """Else nothing leads to it."""
    assert set(re.findall(r"\(docs/([\w-]+\.md)\)", README)) == CHAPTERS.keys()


def test_files_they_name_are_there() -> None:
    """Below the repository or the package; tests of faults by their names alone."""
    named = {word for code in CODE for word in re.findall(r"[\w./*]*\w\.(?:py|ipynb)\b", code)}
    named |= {word for code in CODE for word in re.findall(r"\bconf/[\w./*]*\w\.yaml\b", code)}
    named |= {word for line in TYPED for word in re.findall(r"\b[\w./]+\.py\b", line)}
    assert len(named) >= 40
    for name in named:
        folders = [ROOT, PACKAGE]
        if "/" not in name:
            folders += [ROOT / "tests", ROOT / "tests" / "faults", ROOT / "scripts" / "benchmarks"]
        assert any(list(folder.glob(name)) for folder in folders), name


def test_the_maps_name_every_folder() -> None:
    """The README those of the repository, the chapter on architecture those of the package."""
    [plan] = [block for _, block in BLOCKS if block.startswith("conf/ ")]
    for name in re.findall(r"^(\w+)/", plan, re.MULTILINE):
        assert (ROOT / name).is_dir(), name
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert groups <= set(re.findall(r"(\w+)/", plan))
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    packages |= {"plugins"}  # a namespace of Hydra's, which must have no __init__.py
    assert (
        set(re.findall(r"^\| `(\w+)/` \|", CHAPTERS["architecture.md"], re.MULTILINE)) == packages
    )


def test_code_is_quoted_as_it_stands() -> None:
    """The chapter on architecture shows functions of the package."""
    quoted = re.findall(r"```python\n(.*?)```", CHAPTERS["architecture.md"], re.DOTALL)
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    assert quoted
    assert all(any(block in source for source in sources) for block in quoted)
