"""A run's folder as one piece of bytes, for machines that share no disk."""

import io
import zipfile
from pathlib import Path

# what belongs to the place and not to the run: who is at it, what its sender has sent
_STAYS = ("lock", "sent")


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

    Files are replaced one by one, the journal last: what it names is then there. Nothing is
    written outside the folder, whatever the names in the parcel are: zipfile sees to it.

    Raises:
        OSError: nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(parcel)) as archive:
        names = [name for name in archive.namelist() if Path(name).parts[0] not in _STAYS]
        for path in sorted(folder.rglob("*")):
            inner = path.relative_to(folder)
            if path.is_file() and inner.parts[0] not in _STAYS and inner.as_posix() not in names:
                path.unlink()  # as a checkpoint, once the run is finished
        for name in sorted(names, key=lambda name: name.startswith("journal")):
            archive.extract(name, folder)
