"""A run's folder as one piece of bytes, for machines that share no disk."""

import io
import zipfile
from pathlib import Path

from fashion_mnist.runs.files import replacing

# what belongs to the place and not to the run: who is at it, what its uploader has sent
_STAYS = ("lock", "lock.holder", "uploads")


def pack(folder: Path) -> bytes:
    """All files of a run's folder; without any where it is not there."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # weights and pictures do not compress
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            if path.is_file() and inner.parts[0] not in _STAYS:
                archive.write(path, inner.as_posix())
    return buffer.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Make a run's folder what was packed, but for what stays.

    Each file is there whole or as it was, the event log last: what it names is then there.

    Raises:
        ValueError: a name in the parcel leads out of the folder; nothing is written.
        OSError: something cannot be written.
    """
    with zipfile.ZipFile(io.BytesIO(parcel)) as archive:
        paths = {name: folder / name for name in archive.namelist()}
        for name, path in paths.items():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name!r} leads out of {folder}")
        for path in sorted(folder.rglob("*")):
            is_the_runs = path.is_file() and path.relative_to(folder).parts[0] not in _STAYS
            if is_the_runs and path not in paths.values():
                path.unlink()  # as a checkpoint, once the run is finished
        for name in sorted(paths, key=lambda name: name.startswith("events")):
            with replacing(paths[name]) as beside:
                beside.write_bytes(archive.read(name))
