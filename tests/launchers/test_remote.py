"""A run's folder as bytes: all of the run, nothing of the place, nowhere else."""

import io
import zipfile
from pathlib import Path

import pytest

from fashion_mnist.launchers.remote import pack_run_dir, unpack_archive


def fill(folder: Path, *names: str) -> Path:
    """A folder of small files that hold their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{folder.name} {name}")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    """What it no longer has is gone; whose lock it is and what was sent is the place's own."""
    there = fill(tmp_path / "there", "events.jsonl", "artifacts/config/a.yaml", "lock", "uploads/x")
    here = fill(tmp_path / "here", "events.jsonl", "checkpoint.safetensors", "lock", "uploads/x")
    unpack_archive(pack_run_dir(there), here)
    assert contents(here) == {
        "artifacts/config/a.yaml": "there artifacts/config/a.yaml",
        "events.jsonl": "there events.jsonl",
        "lock": "here lock",
        "uploads/x": "here uploads/x",
    }
    unpack_archive(pack_run_dir(tmp_path / "nowhere"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../other/events.jsonl", "/etc/hostname"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """Nothing is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("events.jsonl", "")
        archive.writestr(name, "")
    with pytest.raises(ValueError, match="leads out of"):
        unpack_archive(buffer.getvalue(), tmp_path / "run")
    assert list(tmp_path.rglob("*")) == []
