"""The scripts that set up, on a small project: real environments, no network."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python")

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "1"
scripts = { fmnist = "tiny:main" }
optional-dependencies = { dev = [], submitit = [], ray = [], notebook = [], server = [] }
"""

# A build backend in the project itself: nothing has to be downloaded.
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    info = "tiny-1.dist-info"
    files = {
        "tiny.pth": str(Path.cwd()),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\nfmnist = tiny:main\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory) / "tiny-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "tiny-1-py3-none-any.whl"
"""

# The program: `fetch` fails where NO_DATA is set, anything else says what it got and where.
PROGRAM = """
import os, sys
def main():
    if sys.argv[1:] == ["fetch"]:
        sys.exit("NO_DATA" in os.environ)
    print(sys.argv[1:], os.getcwd())
"""


class Project:
    """A folder with our scripts, and a PATH on which programs can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "with space"
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True)
        shutil.copytree(
            REPOSITORY / "scripts", self.root / "scripts", ignore=lambda *_: ["__pycache__"]
        )
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "backend.py").write_text(BACKEND)
        (self.root / "tiny.py").write_text(PROGRAM)
        (self.root / "requirements.txt").write_text("")
        self.link("uv", UV)
        self.link("python3", Path(sys.executable))

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def link(self, program: str, target: Path) -> None:
        """Puts a link to the real program in its place."""
        (self.programs / program).unlink(missing_ok=True)
        (self.programs / program).symlink_to(target)

    def replace(self, program: str, script: str) -> None:
        """Puts a bash script in a program's place."""
        path = self.programs / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{textwrap.dedent(script)}\n")
        path.chmod(0o755)

    def edit(self, name: str, text: str) -> None:
        """Writes a file of the project a second after both that .venv is made from."""
        newest = max(
            (self.root / n).stat().st_mtime for n in ("pyproject.toml", "requirements.txt")
        )
        (self.root / name).write_text(text)
        os.utime(self.root / name, (newest + 1, newest + 1))

    def start(
        self, *arguments: str, script: Path | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Starts scripts/train, or another script, in a process group of its own."""
        basic = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.programs),
            "UV_OFFLINE": "1",
        }
        return subprocess.Popen(
            [script or self.root / "scripts" / "train", *arguments],
            cwd=self.programs,
            env=basic | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *arguments: str, script: Path | None = None, **variables: str
    ) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of a script."""
        process = self.start(*arguments, script=script, **variables)
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project that was not set up yet."""
    return Project(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was set up once."""
    project = Project(tmp_path_factory.mktemp("made"))
    status, _, errors = project.run()
    assert status == 0, errors
    return project


@pytest.fixture
def ready(made: Project) -> Project:
    """The project that was set up, its programs the real ones; tests leave it set up."""
    for name in PYTHONS:
        (made.programs / name).unlink(missing_ok=True)
    made.link("python3", Path(sys.executable))
    made.link("uv", UV)
    return made


@pytest.fixture
def kept(ready: Project) -> Iterator[Path]:
    """A file inside .venv that is gone once .venv was made anew."""
    path = ready.venv / "kept"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def wait_for(path: Path) -> None:
    """Returns when `path` exists.

    Raises:
        TimeoutError: after a minute.
    """
    deadline = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.02)


def test_first_use_sets_up_and_runs_in_the_current_folder(project: Project) -> None:
    """From nothing to the program, whose folder and arguments are the user's own."""
    status, output, errors = project.run("a b", "c=[1,2]")
    assert status == 0, errors
    assert output == f"['train', 'a b', 'c=[1,2]'] {project.programs}\n"
    assert "two or three minutes" in errors
    assert not (project.venv / "unfinished").exists()


def test_later_use_starts_no_python_and_says_nothing(ready: Project) -> None:
    """A second use goes straight to the program: the Pythons of PATH are not asked."""
    called = ready.programs / "called"
    for name in (*PYTHONS, "uv"):
        ready.replace(name, f'touch "{called}"; exit 1')
    assert ready.run("x") == (0, f"['train', 'x'] {ready.programs}\n", "")
    assert not called.exists()


@pytest.mark.parametrize("name", ["train", "ui"])
def test_symlinked_script_finds_its_project(ready: Project, tmp_path: Path, name: str) -> None:
    """A link to a script, in a folder of PATH say, works as the script does."""
    (tmp_path / "second").symlink_to(ready.root / "scripts" / name)
    (tmp_path / "first").symlink_to("second")
    status, output, errors = ready.run("x", script=tmp_path / "first")
    assert (status, output, errors) == (0, f"['{name}', 'x'] {ready.programs}\n", "")


@pytest.mark.parametrize("source", ["pyproject.toml", "requirements.txt"])
def test_changed_source_installs_again_in_place(ready: Project, kept: Path, source: str) -> None:
    """.venv is brought up to date, once, when a file it was made from is newer."""
    ready.edit(source, (ready.root / source).read_text())
    status, _, errors = ready.run()
    assert status == 0
    assert "up to date" in errors
    assert kept.exists()
    assert ready.run()[2] == ""


def test_an_environment_that_lost_a_package_is_mended_by_hand(ready: Project, kept: Path) -> None:
    """As `fmnist doctor` says it: with --again what is missing is installed, else nothing is."""
    setup, python = str(ready.root / "scripts" / "setup.py"), Path(sys.executable)
    assert ready.run(setup, "train", script=python) == (0, "", "")
    status, _, errors = ready.run(setup, "train", "--again", script=python)
    assert status == 0
    assert "up to date" in errors
    assert kept.exists()


def test_failed_update_keeps_the_environment(ready: Project, kept: Path) -> None:
    """A lock that cannot be had is one line and exit 1, and .venv is not thrown away."""
    ready.edit("requirements.txt", "tiny==2\n")
    status, output, errors = ready.run()
    assert (status, output) == (1, "")
    assert "could not install the packages" in errors.splitlines()[-1]
    ready.edit("requirements.txt", "")
    assert ready.run()[0] == 0
    assert kept.exists()


def test_moved_project_is_set_up_again(ready: Project, kept: Path, tmp_path: Path) -> None:
    """A .venv that came along in a moved folder would run the code of the old place."""
    moved = Project(tmp_path)
    shutil.rmtree(moved.root)
    shutil.copytree(ready.root, moved.root, symlinks=True)  # with the times of the files
    status, output, _ = moved.run()
    assert status == 0
    assert output.startswith("['train']")
    assert not (moved.venv / kept.name).exists()


def test_python_that_went_away_is_replaced(ready: Project, kept: Path) -> None:
    """A .venv whose Python was uninstalled is made anew."""
    for link in (ready.venv / "bin").glob("python*"):
        link.unlink()
    (ready.venv / "bin" / "python").symlink_to("/nowhere/python3")
    status, output, errors = ready.run()
    assert status == 0, errors
    assert output.startswith("['train']")
    assert not kept.exists()


def test_folder_that_is_no_environment_is_replaced(project: Project) -> None:
    """A .venv without our marks whose Python does not run is made anew."""
    python = project.venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/bash\nexit 1\n")
    python.chmod(0o755)
    status, output, errors = project.run()
    assert status == 0, errors
    assert output.startswith("['train']")


def test_two_at_once_set_up_once(project: Project) -> None:
    """The second waits, says so, and finds everything done."""
    began, go = project.programs / "began", project.programs / "go"
    project.replace(
        "uv",
        f"""
        echo once >> "{began}"
        until [[ -e "{go}" ]]; do sleep 0.05; done
        exec "{UV}" "$@"
        """,
    )
    first = project.start("first")
    wait_for(began)
    second = project.start("second")
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    go.touch()
    for process, name in ((first, "first"), (second, "second")):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert f"'{name}'" in output
    assert began.read_text() == "once\n"


def test_killed_set_up_is_made_again(project: Project) -> None:
    """After kill -9 in the middle the next use waits for the orphaned uv, then starts afresh."""
    began, go = project.programs / "began", project.programs / "go"
    project.replace(
        "uv",
        f"""
        echo $PPID > "{began}.partly" && mv "{began}.partly" "{began}"
        until [[ -e "{go}" ]]; do sleep 0.05; done
        exec "{UV}" "$@"
        """,
    )
    first = project.start()
    wait_for(began)
    kept = project.venv / "kept"
    kept.touch()
    os.kill(int(began.read_text()), signal.SIGKILL)
    second = project.start()
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    go.touch()
    first.communicate(timeout=120)
    output, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert output.startswith("['train']")
    assert "half made" in errors
    assert not kept.exists()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_unfit_python_is_one_line(
    project: Project, named: bool, version: tuple[int, int, int]
) -> None:
    """Where no Python fits, or the one that PYTHON names does not: one line, exit status 1."""
    pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    for name in PYTHONS:
        project.replace(name, f'exec "{sys.executable}" -c "{pretend}" "$2"')
    status, output, errors = project.run(PYTHON=str(project.programs / "python") if named else "")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "Python 3.11, 3.12 or 3.13 is needed" in errors
    assert (str(project.programs / "python") in errors) == named
    assert not project.venv.exists()


@pytest.mark.parametrize("name", PYTHONS)
def test_fit_python_is_found_behind_unfit_ones(ready: Project, name: str) -> None:
    """python3 may be too old where python3.12 is there."""
    for other in PYTHONS:
        ready.replace(other, "exit 1")
    ready.link(name, Path(sys.executable))
    ready.edit("requirements.txt", "")
    status, _, errors = ready.run()
    assert status == 0, errors


def test_missing_ensurepip_names_the_package(project: Project) -> None:
    """Debian's Python without its venv package: one line that says what to install."""
    (project.programs / "ensurepip.py").write_text("raise ImportError")
    status, output, errors = project.run(PYTHONPATH=str(project.programs))
    assert (status, output) == (1, "")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install python{version}-venv" in errors.splitlines()[-1]


def test_missing_data_is_asked_of_apt_and_goes_on(ready: Project) -> None:
    """Without data, root lets apt-get install it, asking nothing; others train and are told."""
    asked = ready.programs / "asked"
    ready.replace("apt-get", f'echo "$DEBIAN_FRONTEND $*" >> "{asked}"')
    ready.edit("requirements.txt", "")
    status, output, errors = ready.run(NO_DATA="1")
    assert status == 0
    assert output.startswith("['train']")
    assert "Fashion-MNIST is not here yet" in errors
    if os.geteuid() == 0:
        assert asked.read_text().splitlines() == [
            "noninteractive update -qq",
            "noninteractive install -y -qq dataset-fashion-mnist",
        ]
    else:
        assert not asked.exists()


def test_test_installs_for_train_too(ready: Project) -> None:
    """scripts/test passes its arguments to pytest, and scripts/train has nothing left to do."""
    ready.replace("pytest", 'echo "pytest $*, $PWD"')
    ready.edit("pyproject.toml", PYPROJECT)
    status, output, errors = ready.run("-k", "x y", script=ready.root / "scripts" / "test")
    assert status == 0, errors
    assert output == f"pytest -k x y, {ready.root}\n"
    assert ready.run()[2] == ""


@pytest.mark.parametrize(("typed", "selected"), [((), "not long"), (("--all",), "")])
def test_test_leaves_out_the_long_tests_unless_all_are_wanted(
    ready: Project, typed: tuple[str, ...], selected: str
) -> None:
    """Both after the linters, which a test alone does without."""
    for program in ("ruff", "mypy", "pytest"):
        ready.replace(program, f'echo "{program} $*"')
    ready.edit("pyproject.toml", PYPROJECT)
    status, output, errors = ready.run(*typed, script=ready.root / "scripts" / "test")
    assert status == 0, errors
    linters = "ruff check\nruff format --check\nmypy \n"
    spread = "--numprocesses auto --dist loadfile --no-loadscope-reorder"
    assert output == f"{linters}pytest {spread} -m {selected}\n"


def test_ci_gets_what_tests_start_where_it_can(ready: Project) -> None:
    """In CI root has apt-get install a browser and a database; without them tests begin too."""
    asked = ready.programs / "asked"
    ready.replace("apt-get", f'echo "$*" >> "{asked}"; exit 1')
    ready.replace("pytest", "echo tested")
    ready.edit("requirements.txt", "")
    status, output, errors = ready.run("x", script=ready.root / "scripts" / "test", CI="true")
    assert (status, output) == (0, "tested\n"), errors
    programs = {"chromium": "chromium", "pg_ctlcluster": "postgresql"}
    path = f"{ready.programs}:/usr/bin:/bin"
    missing = [name for program, name in programs.items() if not shutil.which(program, path=path)]
    installed = asked.read_text() if asked.exists() else ""
    for name in programs.values():
        assert (f"install -y -qq {name}" in installed) == (name in missing and os.geteuid() == 0)
