"""How far each store has been told of a run: `sent/DESTINATION.json`. No MLflow here."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fashion_mnist.atomic import replacing
from fashion_mnist.journal import Destination, journal_size, read_entries
from fashion_mnist.tracking.address import sqlite_path


@dataclass(frozen=True)
class Receipt:
    """The store has the journal up to byte `offset`, as this run of this experiment."""

    offset: int = 0
    run_id: str = ""
    experiment_id: str = ""


def read_receipt(folder: Path, destination: Destination) -> Receipt:
    """What the store has; nothing where there is no receipt or the database is gone."""
    database = sqlite_path(destination.uri)
    if database is not None and not database.exists():
        return Receipt()
    try:
        return Receipt(**json.loads(receipt_path(folder, destination).read_text()))
    except FileNotFoundError:
        return Receipt()


def write_receipt(folder: Path, destination: Destination, receipt: Receipt) -> None:
    """Replaces the receipt: written beside, then renamed."""
    write_json(receipt_path(folder, destination), asdict(receipt))


def receipt_path(folder: Path, destination: Destination) -> Path:
    return folder / "sent" / f"{destination.id}.json"


def write_json(path: Path, content: object) -> None:
    """Writes a small JSON file whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content))


def destinations(folder: Path) -> list[Destination]:
    """Where the journal wants to go."""
    entries = (entry for entry in read_entries(folder) if entry.kind == "destination")
    return [Destination(**entry.content) for entry in entries]


def pending(folder: Path) -> list[Destination]:
    """The destinations that have not been told everything yet."""
    size = journal_size(folder)
    return [place for place in destinations(folder) if read_receipt(folder, place).offset < size]
