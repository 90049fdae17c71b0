"""Event logs as runs write them, and the ways in which a disk or a user breaks them."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from PIL import Image

from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE
from fashion_mnist.runs.files import run_lock

EXPERIMENT = "fashion-mnist"
EPOCHS = 6


def write_run(folder: Path, uri: str, *, epochs: int = EPOCHS, end: str = "FINISHED") -> str:
    """A run's event log with its files, or the rest of it; its id.

    Said again in another life of the run it says the same, but for the times.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder), EventLog(folder) as event_log:
        event_log.destination(uri, EXPERIMENT)
        event_log.start("größer", {"model.width": "512"}, {"fingerprint": "f0"})
        event_log.status("RUNNING")
        for epoch in range(1, epochs + 1):
            say_epoch(event_log, epoch)
        if end == "FINISHED":
            event_log.metrics(0, {"final/val_accuracy": 0.75})
            draw(event_log, "validation/confusion_matrix.png")
        event_log.status(end)
        return event_log.state.id


def say_epoch(event_log: EventLog, epoch: int) -> None:
    """An epoch's two metrics and a file of its own."""
    event_log.metrics(epoch, {"val/loss": 1 / epoch, "val/accuracy": 1 - 1 / epoch})
    file = event_log.artifacts / f"epochs/{epoch}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"epoch {epoch}\n" * 100)
    event_log.artifact(f"epochs/{epoch}.txt")


def draw(event_log: EventLog, path: str) -> None:
    """A picture, recorded as file and as image."""
    file = event_log.artifacts / path
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 50), "red").save(file)
    event_log.artifact(path)
    event_log.image(path.removesuffix(".png"), path)


def _at(content: bytes, random: Random) -> int:
    return random.randrange(len(content))


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    changed[_at(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zeros(content: bytes, random: Random) -> bytes:
    place = _at(content, random)
    return content[:place] + bytes(len(content[place : place + 64])) + content[place + 64 :]


def _zeros_to_the_end(content: bytes, random: Random) -> bytes:
    place = _at(content, random)
    return content[:place] + bytes(len(content) - place)


def _garbage(content: bytes, random: Random) -> bytes:
    place = _at(content, random)
    return content[:place] + random.randbytes(random.randrange(1, 200)) + content[place:]


def _line_lost(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[random.randrange(len(lines) - 1)]
    return b"".join(lines)


def _lines_swapped(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines) - 1)
    lines[place : place + 2] = reversed(lines[place : place + 2])
    return b"".join(lines)


def _line_twice(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = random.randrange(len(lines) - 1)
    lines.insert(place, lines[place])
    return b"".join(lines)


def _cut_at_a_line(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[: random.randrange(len(lines))])


def _cut_in_a_line(content: bytes, random: Random) -> bytes:
    return content[: _at(content, random)]


FAULTS: dict[str, Callable[[bytes, Random], bytes]] = {
    "a bit flipped": _flip,
    "zeros in the middle": _zeros,
    "zeros to the end": _zeros_to_the_end,
    "garbage in the middle": _garbage,
    "a line lost": _line_lost,
    "two lines swapped": _lines_swapped,
    "a line twice": _line_twice,
    "cut at a line's end": _cut_at_a_line,
    "cut in a line": _cut_in_a_line,
}


def break_log(folder: Path, fault: str, random: Random) -> bytes:
    """Breaks a run's event log in this way at a random place; the file as it is then."""
    path = folder / LOG_FILE
    broken = FAULTS[fault](path.read_bytes(), random)
    path.write_bytes(broken)
    return broken
