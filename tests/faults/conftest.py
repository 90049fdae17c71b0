"""What the fault tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disks import Disk, MakeDisk, keep_mounts_private
from tests.faults.processes import ForkServer, shared_server


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """Starts `fmnist` processes, each in next to no time; none outlives its test."""
    yield shared_server()
    shared_server().end_children()


@pytest.fixture(scope="session")
def private_mounts() -> None:
    """What is mounted from here on ends with this process; skips where nothing can be mounted."""
    if reason := keep_mounts_private():
        pytest.skip(reason)


@pytest.fixture
def make_disk(
    private_mounts: None,  # noqa: ARG001 (comes first)
    tmp_path: Path,
) -> Iterator[MakeDisk]:
    """Mounts a disk at a folder of the test's, and unmounts it in the end."""
    disks: list[Disk] = []

    def make(name: str, limits: dict[str, int] | None = None) -> Disk:
        disks.append(Disk(tmp_path / name, **limits or {}))
        return disks[-1]

    yield make
    for disk in disks:
        disk.remove()
