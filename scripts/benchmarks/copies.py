"""Many runs out of one: rows of a database, event logs on a disk; what `measure_scale.py` reads."""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, create_engine, insert, select

from fashion_mnist.config.compose import Composer
from fashion_mnist.config.schema import flatten
from fashion_mnist.runs.events import FORMAT, LOG_FILE, START, make_event, read_events
from fashion_mnist.runs.identity import FINGERPRINT_TAG, next_folder
from fashion_mnist.runs.request import Datasets, identify
from fashion_mnist.sweeps.definition import read_sweep
from fashion_mnist.tracking.recorded import ID_TAG, SCORE

TABLES = ("runs", "params", "tags", "latest_metrics", "metrics")
AT_ONCE = 500  # runs in one insert
NUM_EPOCHS = 20
FIGURES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "images_per_second")
Row = dict[str, Any]


def copy_rows(uri: str, run_id: str, numbers: range, *, seeds: int) -> None:
    """Copies of a run in its MLflow database: so many seeds of each setting, a score for each."""
    engine, known = create_engine(uri), MetaData()
    known.reflect(engine, only=TABLES)
    with engine.begin() as connection:
        originals = {
            name: [
                dict(row._mapping)
                for row in connection.execute(
                    select(known.tables[name]).where(known.tables[name].c.run_uuid == run_id)
                )
            ]
            for name in TABLES
        }
        for first in range(numbers.start, numbers.stop, AT_ONCE):
            some = range(first, min(first + AT_ONCE, numbers.stop))
            for name, rows in originals.items():
                copies = [_copied(name, row, k, seeds) for k in some for row in rows]
                connection.execute(insert(known.tables[name]), copies)
    engine.dispose()


def _copied(table: str, row: Row, number: int, seeds: int) -> Row:
    """A row of the run with this number."""
    own = {"run_uuid": f"{number:032x}"}
    match table, row.get("key"):
        case "runs", _:
            own |= {"name": f"copy {number}"}
        case "params", "optimizer.lr":
            own |= {"value": str((number // seeds + 1) / 1e6)}
        case "params", "seed":
            own |= {"value": str(number % seeds)}
        case "tags", str(key) if key in (FINGERPRINT_TAG, ID_TAG):
            own |= {"value": f"{number:064x}"[: len(row["value"])]}
        case (("metrics" | "latest_metrics"), str(key)) if key == SCORE:
            return row | own | {"value": score_of(number)}
    return row | own


def score_of(number: int) -> float:
    """An accuracy that looks like one."""
    return 0.8 + number * 7919 % 1000 / 1e4


def pretend_trained(overrides: Sequence[str], config_dir: str) -> None:
    """Event logs of finished runs for every job of a grid."""
    sweep = read_sweep(overrides, Composer(config_dir))
    configs = [job.config for job in sweep.compose(sweep.samples())]
    dataset = Datasets().of(configs[0])
    for number, config in enumerate(configs):
        identity, score = identify(config, dataset), score_of(number)
        folder = next_folder(Path(config.output_dir).absolute(), identity)
        folder.mkdir(parents=True)
        settings = flatten(config).items()
        parameters = {k: v if isinstance(v, str) else json.dumps(v) for k, v in settings}
        tags = {FINGERPRINT_TAG: identity, "device": "cpu", "precision": "fp32", "threads": "2"}
        epochs = [
            {"step": epoch, "values": dict.fromkeys(FIGURES, 0.5)}
            for epoch in range(1, NUM_EPOCHS + 1)
        ]
        final = {"final/val_accuracy": score, "final/val_loss": 1 - score, "parameters": 6370}
        events: list[tuple[str, dict[str, Any]]] = [
            ("log", {"id": uuid.uuid4().hex, "format": FORMAT}),
            ("start", {"name": f"run {number}", "params": parameters, "tags": tags}),
            *(("metrics", epoch) for epoch in epochs),
            ("metrics", {"step": 0, "values": {"final/epoch": NUM_EPOCHS, **final}}),
            ("status", {"status": "FINISHED"}),
        ]
        write_log(folder, [{"kind": kind, "time": 1, **words} for kind, words in events])


def write_log(folder: Path, events: Iterable[Row]) -> None:
    """At once: an event log of its own waits for the disk at each status."""
    mark, lines = START, []
    for event in events:
        entry, line = make_event(event, mark)
        mark = entry.mark
        lines.append(line)
    (folder / LOG_FILE).write_bytes(b"".join(lines))


def copy_run(template: Path, folder: Path, uri: str) -> None:
    """A run's folder as another run's, wanted in this store alone; its files are links."""
    shutil.copytree(
        template, folder, copy_function=os.link, ignore=lambda *_: {LOG_FILE, "uploads", "lock"}
    )
    (folder / "events.seal.json").unlink()
    copies = []
    for entry in read_events(template):
        event = {"kind": entry.kind, "time": entry.time_ms, **entry.content}
        event |= {"id": uuid.uuid4().hex} if entry.kind == "log" else {}
        event |= {"uri": uri} if entry.kind == "destination" else {}
        copies.append(event)
    write_log(folder, copies)
