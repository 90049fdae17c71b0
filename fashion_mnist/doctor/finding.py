"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["well", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it.

    A note is worth knowing and needs nothing done; what is wrong keeps something from working.
    """

    topic: str
    state: State
    words: str
    advice: str = ""


def well(topic: str, words: str) -> Finding:
    """All is as it should be."""
    return Finding(topic, "well", words)


def note(topic: str, words: str, advice: str = "") -> Finding:
    """Something to know."""
    return Finding(topic, "note", words, advice)


def wrong(topic: str, words: str, advice: str) -> Finding:
    """Something to mend."""
    return Finding(topic, "wrong", words, advice)
