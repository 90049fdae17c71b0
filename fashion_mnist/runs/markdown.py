"""Text of users in Markdown of ours, which MLflow shows."""

import re
from collections.abc import Sequence
from html import escape

LONGEST_CODE = 120  # characters
_MARKS = re.compile(r"([\\`*_\[\]#~|])")
_BREAKS = re.compile(r"\s+")


def plain(text: str) -> str:
    """The text without a meaning to Markdown or HTML, on one line."""
    return _MARKS.sub(r"\\\1", escape(_one_line(text), quote=False))


def code(text: str) -> str:
    """The text as code, as it stands but for its line breaks, also in a table's cell."""
    text = _one_line(text)[:LONGEST_CODE]
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * (max(runs, default=0) + 1)
    room = " " if runs else ""  # a backtick at an end would join the fence
    return f"{fence}{room}{text}{room}{fence}".replace("|", "\\|")


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a table; the cells are Markdown already."""
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)
