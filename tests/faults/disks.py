"""Small disks of a test's own, which it fills, empties and makes unwritable: tmpfs, for root."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

ROOM = 20_000  # kilobytes: enough for all that a test writes
_CLONE_NEWNS = 0x00020000  # from <linux/sched.h>; Python has a name for it from 3.12 on
_FILLER = "filler"  # takes the room on a full disk
_PAGE_BYTES = 4096


def keep_mounts_private() -> str:
    """From now on what this process mounts is seen by it and its children alone, and ends with it.

    Returns:
        Why that is not possible here; empty where it is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        return "small disks are mounted for these tests, which is written for Linux"
    if libc.unshare(_CLONE_NEWNS) != 0:
        reason = os.strerror(ctypes.get_errno())
        return f"small disks are mounted for these tests, as root: unshare says {reason!r}"
    done = _call(["mount", "--make-rprivate", "/"])
    return f"small disks are mounted for these tests: {done.stderr}" if done.returncode else ""


class Disk:
    """A file system in memory at `folder`. Call `keep_mounts_private` before."""

    def __init__(self, folder: Path, *, kilobytes: int = ROOM, files: int = 0) -> None:
        """At most `files` files and folders are in it; 0: any number."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        _mount(["-t", "tmpfs", "-o", _size(kilobytes, files), "tmpfs", str(folder)])

    def make_room(self) -> None:
        """Make it larger, with all that is in it."""
        _mount(["-o", f"remount,{_size(ROOM, files=0)}", str(self.folder)])

    def set_writable(self, is_writable: bool) -> None:
        """Let it be written, or read only."""
        _mount(["-o", f"remount,{'rw' if is_writable else 'ro'}", str(self.folder)])

    def fill(self, leave_kilobytes: int = 0) -> None:
        """Take all the room that is left, but for so much."""
        status = os.statvfs(self.folder)
        left = status.f_bavail * status.f_frsize - 1024 * leave_kilobytes
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            try:
                for _ in range(left // _PAGE_BYTES):
                    file.write(bytes(_PAGE_BYTES))
            except OSError as error:  # others write at the same time
                if error.errno != errno.ENOSPC:
                    raise

    def empty(self) -> None:
        """Give back what `fill` took."""
        (self.folder / _FILLER).unlink()

    def remove(self) -> None:
        """Unmount it, now or when the last file on it is closed."""
        _call(["umount", "--lazy", str(self.folder)])


MakeDisk = Callable[..., Disk]  # from its name and limits, kilobytes or files


def _size(kilobytes: int, files: int) -> str:
    return f"size={kilobytes}k,nr_inodes={files}"


def _mount(arguments: Sequence[str]) -> None:
    done = _call(["mount", *arguments])
    assert done.returncode == 0, done.stderr


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)
