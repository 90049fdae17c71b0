"""The file of a report: whether it can be written, before the work; and writing it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_mnist.runs.files import replacing

if TYPE_CHECKING:
    from fashion_mnist.analysis.report import Report


def check_output(path: Path) -> None:
    """Whether a page can be written there.

    Raises:
        ValueError: there is no such folder, or the path is one.
        OSError: the folder cannot be written to.
    """
    if path.is_dir():
        raise ValueError(f"--output must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ValueError(f"--output must be in a folder that is there, got {path}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path.parent)) from error


def write_report(report: "Report", path: Path) -> None:
    """Write the page, in place of what was there.

    Raises:
        OSError: it cannot be written.
    """
    from fashion_mnist.analysis.report_page import report_page

    with replacing(path) as beside:
        # a store may hold what no UTF-8 has: half of a pair of surrogates
        beside.write_text(report_page(report), encoding="utf-8", errors="replace")
