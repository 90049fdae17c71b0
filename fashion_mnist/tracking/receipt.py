"""How far each store has been told of a run: `sent/DESTINATION.json`. No MLflow here."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fashion_mnist.runs.event_log import Destination, Mark, holds, read_events, rest_after
from fashion_mnist.runs.files import replacing
from fashion_mnist.tracking.address import is_address, sqlite_path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """The store has the journal up to byte `offset`, as this run of this experiment.

    `crc` is the running checksum of those bytes: another journal has another.
    """

    offset: int = 0
    crc: int = 0
    run_id: str = ""
    experiment_id: str = ""

    @property
    def mark(self) -> Mark:
        """The place in the journal up to which the store has it."""
        return Mark(self.offset, self.crc)


def read_receipt(folder: Path, destination: Destination) -> Receipt:
    """What the store has; nothing where the receipt is missing or damaged, or the database gone."""
    database = sqlite_path(destination.uri)
    if database is not None and not database.exists():
        return Receipt()
    content = read_json(receipt_path(folder, destination))
    default = asdict(Receipt())
    if all(type(content.get(key)) is type(value) for key, value in default.items()):
        return Receipt(**{key: content[key] for key in default})
    return Receipt()


def write_receipt(folder: Path, destination: Destination, receipt: Receipt) -> None:
    """Replaces the receipt: written beside, then renamed."""
    write_json(receipt_path(folder, destination), asdict(receipt))


def receipt_path(folder: Path, destination: Destination) -> Path:
    return folder / "sent" / f"{destination.id}.json"


def is_whole(folder: Path, receipt: Receipt) -> bool:
    """Whether the store has every line of the journal, and of this very journal."""
    return holds(folder, receipt.mark) and b"\n" not in rest_after(folder, receipt.mark)


def write_json(path: Path, content: object) -> None:
    """Writes a small JSON file whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content))


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote of a mapping; nothing where the file is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    log.warning("%s cannot be read: it counts as not there", path)
    return {}


def destinations(folder: Path) -> list[Destination]:
    """Where the journal wants to go; what cannot be a store is left out."""
    entries = read_events(folder, kinds=("destination",))
    wanted = [Destination.of(entry.content) for entry in entries]
    return [destination for destination in wanted if is_address(destination.uri)]


def pending(folder: Path) -> list[Destination]:
    """The destinations that have not been told everything yet."""
    return [
        place for place in destinations(folder) if not is_whole(folder, read_receipt(folder, place))
    ]
