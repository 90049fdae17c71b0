"""Which code trained a run: the hash of the package's files, and the commit that has them."""

import subprocess
from pathlib import Path

import pytest

from fashion_mnist.runs.identity import code_sha256, git_commit


def git(folder: Path, *words: str) -> str:
    """A git command in a folder; what it prints."""
    own = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one module, in a repository that has a commit of something else."""
    folder = tmp_path / "repository/package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("x = 1\n")
    (folder.parent / "notes.txt").write_text("notes\n")
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", "notes.txt")
    git(folder.parent, "commit", "-qm", "notes")
    return folder


def test_the_commit_is_of_the_repository_that_tracks_the_package(package: Path) -> None:
    """A package that merely lies in a repository, as in an environment there, has none."""
    assert git_commit(package) is None
    git(package, "add", ".")
    git(package, "commit", "-qm", "package")
    commit = git(package, "rev-parse", "HEAD")
    assert git_commit(package) == commit
    (package.parent / "notes.txt").write_text("other notes\n")
    assert git_commit(package) == commit
    (package / "new.py").write_text("y = 1\n")
    assert git_commit(package) == f"{commit}+"
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("x = 2\n")
    assert git_commit(package) == f"{commit}+"


def test_a_variable_does_not_name_the_repository(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook of git's runs with GIT_DIR set to its own repository."""
    git(package, "add", ".")
    git(package, "commit", "-qm", "package")
    commit = git(package, "rev-parse", "HEAD")
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert git_commit(package) == commit


@pytest.mark.parametrize(("name", "text"), [("__init__.py", "x = 2\n"), ("below/new.py", "")])
def test_any_change_of_the_code_changes_its_hash(package: Path, name: str, text: str) -> None:
    """Also a module that is new; a file that is no code does not."""
    before = code_sha256(package)
    (package / "notes.txt").write_text("notes\n")
    assert code_sha256(package) == before
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text(text)
    assert code_sha256(package) != before
