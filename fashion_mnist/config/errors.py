"""What a mistake in a config is, and the wording that its messages share. Imports nothing slow."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

LONGEST_SHOWN = 200  # characters of a value in a message


class ConfigError(ValueError):
    """Everything that is wrong with a config, a message a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def shown(value: Any) -> str:
    """A value as Python writes it, cut off where it is long."""
    try:
        return shorten(repr(value))
    except (ValueError, RecursionError):  # Python writes no number of more than 4300 digits
        return "more than can be shown"


def shorten(text: str) -> str:
    """The text, printable on one line, or its beginning."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}…"


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """The nearest known word as a question, or nothing."""
    if not isinstance(value, str) or len(value) > LONGEST_SHOWN:
        return ""
    by_case = {word.lower(): word for word in known}
    near = difflib.get_close_matches(value.lower(), by_case, n=1, cutoff=0.7)
    return f" (did you mean {by_case[near[0]]}?)" if near else ""
