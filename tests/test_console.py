"""The words for errors of the disk, and for times."""

import errno
import os

import pytest

from fashion_mnist.config.messages import disk_trouble, duration


def test_an_error_of_the_disk_names_its_file_and_what_to_do() -> None:
    """A full disk whose file is not known may be that of temporary files."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b")
    advice = "No space left on device: make room, and the same command goes on"
    assert disk_trouble(full) == f"/a/b: {advice}"
    nameless = disk_trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert nameless.startswith("output_dir, or the folder for temporary files (")
    assert nameless.endswith(advice)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError("there is no store"), "there is no store"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
    ],
)
def test_an_error_that_is_of_no_file_is_not_called_one(error: OSError, words: str) -> None:
    """What it says is all that is known."""
    assert disk_trouble(error) == words


def test_too_long_a_folder_for_temporary_files_is_named() -> None:
    """A socket's path has some hundred characters."""
    assert "is too long: set TMPDIR" in disk_trouble(OSError("AF_UNIX path too long"))


def test_times_are_short_and_not_negative() -> None:
    """A clock that was set back while a run was trained makes its time 0."""
    times = {0.4: "0 s", 61: "1 min 01 s", 7260: "2 h 01 min", -3600: "0 s"}
    assert {seconds: duration(seconds) for seconds in times} == times
