"""Disk room, what training has left and nobody needs, and what its stores have not been told."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from rich.filesize import decimal

from fashion_mnist.clean import clean
from fashion_mnist.config.store_uri import sqlite_path, without_password
from fashion_mnist.console import plural
from fashion_mnist.doctor.finding import Finding, note, well, wrong
from fashion_mnist.runs.event_log import Destination, is_offline
from fashion_mnist.runs.files import has_writer
from fashion_mnist.tracking.upload_state import (
    logged_dirs,
    read_problems,
    upload_state_path,
    why_unwritable,
)
from fashion_mnist.tracking.uploader import WatchedLog

DISK, LEFTOVERS, EVENT_LOGS = "disk", "leftovers", "event logs"
LITTLE_BYTES, TOO_LITTLE_BYTES = 5_000_000_000, 500_000_000
FEW_FILES = 10_000  # that a disk can still take


def look_at_disk(folder: Path) -> Iterator[Finding]:
    """Whether a folder, or the one in which it will be made, can take what training writes."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    reason = why_unwritable(place)
    if reason is not None:
        yield wrong(DISK, reason, "let it be written, or start in another folder")
        return
    free = shutil.disk_usage(place).free
    words = f"{decimal(free)} free for {folder}"
    if free < TOO_LITTLE_BYTES:
        yield wrong(DISK, words, "make room; fmnist clean shows what nobody needs")
    elif _num_free_files(place) < FEW_FILES:
        yield wrong(DISK, f"{words}, but hardly any more files", "delete some; see `df -i`")
    elif free < LITTLE_BYTES:
        yield note(DISK, words, "a run of 784-512-512-10 takes 6 MB, a wide one ten times as much")
    else:
        yield well(DISK, words)


def look_at_leftovers(output_dir: Path) -> Iterator[Finding]:
    """What `fmnist clean` would free."""
    found = clean(output_dir, unfinished=False, delete=False)
    total = decimal(sum(leftover.num_bytes for leftover in found))
    if found:
        words = f"{plural(len(found), 'file')} that nobody needs, {total}"
        yield note(LEFTOVERS, words, f"fmnist clean --output-dir {output_dir} --delete")
    else:
        yield well(LEFTOVERS, f"nothing below {output_dir} that nobody needs")


def look_at_logs(output_dir: Path, known_logs: Callable[[], Collection[str]]) -> Iterator[Finding]:
    """Which runs below a folder their stores do not have whole.

    Args:
        known_logs: the ids of event logs that the present store has runs of: those whose own
            store is gone were moved together with it.
    """
    logs = [WatchedLog(folder) for folder in logged_dirs(output_dir)]
    for watched in logs:
        watched.look()
    yield from (
        wrong(EVENT_LOGS, f"{watched.run_dir} {watched.damage}", "the run's own command repairs it")
        for watched in logs
        if watched.damage
    )
    waiting = [watched for watched in logs if _waits(watched)]
    behind = [(watched, place) for watched in waiting for place in _unsent(watched)]
    gone = [(watched, place) for watched, place in behind if _is_gone(watched, place)]
    known = known_logs() if gone else ()
    lost = [(watched, place) for watched, place in gone if watched.state.id not in known]
    unsent = [pair for pair in behind if pair not in gone]
    if lost:
        uri = without_password(lost[0][1].address)
        words = f"{_runs(lost)} recorded in {uri}, which is gone"
        yield wrong(EVENT_LOGS, words, "fmnist sync makes it again; or bring it back")
    if unsent:
        yield _told_of(output_dir, unsent)
    if not lost and not unsent and not any(watched.damage for watched in logs):
        yield well(EVENT_LOGS, f"{plural(len(logs), 'run')} below {output_dir}, all recorded")


def _told_of(output_dir: Path, unsent: Sequence[tuple[WatchedLog, Destination]]) -> Finding:
    reasons = [problem.reason for problem in read_problems(output_dir).values()]
    why = f": {reasons[0]}" if reasons else ""
    where = "" if output_dir == Path("outputs") else f" --output-dir {output_dir}"
    words = f"{_runs(unsent)} not recorded yet in {without_password(unsent[0][1].address)}{why}"
    if all(is_offline(watched.run_dir) for watched, _ in unsent):
        return note(EVENT_LOGS, f"{words} (tracking.offline=always)", f"fmnist sync{where}")
    return wrong(EVENT_LOGS, words, f"fmnist sync{where}")


def _runs(pairs: Sequence[tuple[WatchedLog, Destination]]) -> str:
    """`1 run is`, `2 runs are`."""
    number = len({watched.run_dir for watched, _ in pairs})
    return f"{plural(number, 'run')} {'is' if number == 1 else 'are'}"


def _waits(watched: WatchedLog) -> bool:
    """Whether something of it is to be sent that nobody is about to send."""
    return watched.is_started and not watched.damage and not has_writer(watched.run_dir)


def _unsent(watched: WatchedLog) -> list[Destination]:
    return [place for place in watched.destinations if watched.is_behind(place)]


def _is_gone(watched: WatchedLog, place: Destination) -> bool:
    """Whether the run was recorded in a database that is not there any more."""
    database = sqlite_path(place.address)
    is_missing = database is not None and not database.exists()
    return is_missing and upload_state_path(watched.run_dir, place).exists()


def _num_free_files(place: Path) -> float:
    """How many more files the disk can take; some do not count them, and say none in all."""
    if not hasattr(os, "statvfs"):
        return float("inf")
    disk = os.statvfs(place)
    return disk.f_favail if disk.f_files else float("inf")
