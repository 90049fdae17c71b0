"""What is wrong with this machine, its data, stores and outputs, and what to do about it.

Every check reads; none changes or downloads anything.
"""

import os
import platform
import shutil
import sqlite3
import statistics
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.filesize import decimal

from fashion_mnist.config.messages import disk_trouble, first_line_of, plural
from fashion_mnist.config.store_uri import absolute_uri, sqlite_path, without_password
from fashion_mnist.data.fashion_mnist import (
    CHANGED_ADVICE,
    CLASS_NAMES,
    FASHION_MNIST,
    FASHION_MNIST_SHA256,
    NAMES,
    missing_names,
    read_dataset,
    system_folders,
)
from fashion_mnist.data.idx import DataError, DigestError
from fashion_mnist.maintenance.clean import EMPTY, clean
from fashion_mnist.runs.event_log import is_offline
from fashion_mnist.runs.events import logged_dirs
from fashion_mnist.runs.run_state import Destination
from fashion_mnist.tracking.artifact_roots import local_path
from fashion_mnist.tracking.checks import (
    check_store,
    open_database,
    schema_problem,
    why_unwritable,
)
from fashion_mnist.tracking.links import output_option
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import ID_TAG, RecordedRun, how_to_restore
from fashion_mnist.tracking.upload_state import problem_of, read_problems, upload_state_path
from fashion_mnist.tracking.watched_log import WatchedLog
from fashion_mnist.training.device import physical_cores

PACKAGE = "fashion-mnist-mlp"
SHOWN_VERSIONS = ("torch", "mlflow", "hydra-core", "numpy")
BUSY_SECONDS = 2  # that a locked database is waited for
BACKUP = "restore a backup; or move it away, and `fmnist sync` sends again what is in outputs"
LITTLE_BYTES, TOO_LITTLE_BYTES = 5_000_000_000, 500_000_000
FEW_FILES = 10_000  # that a disk can still take
MATRIX_SIZE, NUM_PRODUCTS = 768, 7  # that are timed
FAIR_SHARE = 0.65  # of the speed of so many cores: with less, other programs use them

State = Literal["OK", "warning", "error"]
Runs = Callable[[], list[RecordedRun]]  # of the store; raises OSError where it cannot be read


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it.

    A warning is worth knowing and needs nothing done; an error keeps something from working.
    """

    state: State
    words: str
    advice: str = ""


def examine(uri: str, *, output_dir: Path, data_dir: Path) -> Iterator[tuple[str, Finding]]:
    """Run every check in turn: what each is of, and what it found.

    Raises:
        ValueError: `uri` cannot be the address of a store.
    """
    uri = absolute_uri(uri, name="--uri")
    runs = cache(lambda: Reader(uri).runs())
    checks = {
        "environment": check_packages(),
        "data": check_data(data_dir),
        "store": check_tracking(uri, runs),
        "paths in the store": check_artifacts(uri, runs),
        "event logs": check_event_logs(output_dir, runs),
        "leftovers": check_leftovers(output_dir),
        "disk": check_disk(output_dir),
        "threads": check_threads(),
        "GPU": check_gpu(),
    }
    for topic, check in checks.items():
        try:
            for finding in check:
                yield topic, finding
        except OSError as error:
            yield topic, Finding("error", disk_trouble(error), "see what it says")


def check_packages() -> Iterator[Finding]:
    """The versions of Python and of every required package."""
    setup = Path(__file__).parents[2] / "scripts" / "setup.py"
    advice = (
        f"python3 {setup} train --again" if setup.exists() else f"pip install --upgrade {PACKAGE}"
    )
    try:
        own = metadata.metadata(PACKAGE)
        required = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    except metadata.PackageNotFoundError:
        yield Finding("error", f"{PACKAGE} itself is not installed", advice)
        return
    running, wanted = platform.python_version(), own["Requires-Python"] or ""
    if running not in SpecifierSet(wanted):
        words = f"Python {running}, and {wanted} is needed"
        yield Finding("error", words, advice)
    needed = [each for each in required if each.marker is None or each.marker.evaluate()]
    problems = [problem for each in needed if (problem := _version_problem(each))]
    if problems:
        yield Finding("error", "; ".join(problems), advice)
        return
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN_VERSIONS)
    words = f"Python {running}, {versions}, and all else of {len(needed)} packages"
    yield Finding("OK", words)


def _version_problem(requirement: Requirement) -> str:
    """What is wrong with one package; empty for nothing."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    is_good = requirement.specifier.contains(found, prereleases=True)
    return "" if is_good else f"{requirement.name} {found}, and {requirement.specifier} is needed"


def check_data(
    folder: Path,
    *,
    expected: Mapping[str, str] = FASHION_MNIST_SHA256,
    systems: Sequence[Path] | None = None,
) -> Iterator[Finding]:
    """The copies of Fashion-MNIST in the order in which training looks for them.

    The first whole one is enough: one that is not complete is told of where there is none.

    Args:
        folder: of `data.dir`.
        expected: as `read_dataset` takes it.
        systems: the system's folders; None: those of this one.
    """
    is_damaged, incomplete = False, list[Finding]()
    for place in dict.fromkeys((folder, *(system_folders() if systems is None else systems))):
        missing = missing_names(place)
        if len(missing) == len(NAMES):
            continue
        try:
            dataset = read_dataset(
                place, name=FASHION_MNIST, class_names=CLASS_NAMES, expected=expected
            )
        except DataError as error:
            advice = "install the package that brought it again; until then another copy is taken"
            if place == folder:
                advice = "fmnist fetch: it sets damaged files aside and downloads a good copy"
                advice = CHANGED_ADVICE if isinstance(error, DigestError) else advice
            finding = Finding("error", str(error), advice)
            if missing:
                incomplete.append(finding)
            else:
                is_damaged = True
                yield finding
            continue
        words = f"Fashion-MNIST is in {place}, digest {dataset.sha256[:16]} as published"
        yield Finding("OK", words)
        return
    yield from incomplete
    if not is_damaged and not incomplete:
        yield Finding("warning", "Fashion-MNIST is not on this machine yet", "fmnist fetch")


def check_tracking(uri: str, runs: Runs) -> Iterator[Finding]:
    """Whether runs can be recorded in the store with this absolute address, and read."""
    path = sqlite_path(uri)
    if path is None:
        kept = "until then runs are kept, and fmnist sync sends them"
        if problem := check_store(uri, for_writing=True):
            advice = "log in" if "login" in problem or "password" in problem else "start it"
            yield Finding("error", problem, f"{advice}; {kept}")
        else:
            yield Finding("OK", f"{without_password(uri)} answers")
        return
    if not path.exists():
        yield Finding("warning", f"there is no {path} yet: the first run makes it")
        return
    try:
        if problem := _database_problem(path):
            yield Finding("error", f"{path} is damaged: {problem}", BACKUP)
            return
        if other := schema_problem(path):
            yield Finding("error", *other)
            return
        number = plural(len(runs()), "run")
    except (sqlite3.Error, OSError) as error:
        yield _unusable(path, error)
        return
    yield Finding("OK", f"{path} is whole and can be written to, {number}")
    yield from (each for each in check_disk(path.parent) if each.state != "OK")


def _database_problem(path: Path) -> str:
    """What sqlite finds wrong with the file; empty for nothing. Raises what it cannot say."""
    with closing(open_database(path, BUSY_SECONDS)) as database:
        [answer] = next(database.execute("PRAGMA quick_check(1)"))
        database.execute("BEGIN IMMEDIATE")  # as a writer does
        database.execute("ROLLBACK")
    return "" if answer == "ok" else str(answer)


def _unusable(path: Path, error: Exception) -> Finding:
    words = first_line_of(error)
    advice = BACKUP
    if "locked" in words:
        advice = "another program is writing to it: wait, or end it"
    elif "readonly" in words or "unable to open" in words:
        advice = "let it and its folder be written to, or choose another tracking.uri"
    return Finding("error", words if str(path) in words else f"{path}: {words}", advice)


def check_artifacts(uri: str, runs: Runs) -> Iterator[Finding]:
    """Whether every finished network of a local store has the folder of its files."""
    database = sqlite_path(uri)
    if database is None or not database.exists():
        return
    try:
        recorded = runs()
    except OSError:  # as the store's own check says
        return
    finished = (run for run in recorded if run.is_network and run.status == "FINISHED")
    folders = ((run, local_path(run.artifact_uri)) for run in finished)
    lost = [run for run, folder in folders if folder is not None and not folder.is_dir()]
    if not lost:
        yield Finding("OK", "they lead to the files that are here")
        return
    words = f"the files of {plural(len(lost), 'run')} are gone, for example {lost[0].run_id}"
    advice = "fmnist sync sends them again, if outputs has the runs; or restore a backup; "
    yield Finding("error", words, advice + "otherwise fmnist train with rerun=true")


def check_event_logs(output_dir: Path, runs: Runs) -> Iterator[Finding]:
    """Which runs below a folder their stores do not have whole.

    Args:
        runs: of the present store: logs that it has runs of, and whose own store is gone, were
            moved together with it.
    """
    logs = [WatchedLog(folder) for folder in logged_dirs(output_dir)]
    for watched in logs:
        watched.look()
    damaged = [watched for watched in logs if watched.damage]
    for watched in damaged:
        words = f"{watched.run_dir} {watched.damage}"
        yield Finding("error", words, "the run's own command repairs it")
    behind = [
        (watched, place)
        for watched in logs
        if watched.is_started and not watched.damage and not watched.has_writer
        for place in watched.state.destinations
        if watched.is_behind(place)
    ]
    gone = [(watched, place) for watched, place in behind if _is_gone(place)]
    known = _known_logs(runs) if gone else set()
    lost = [(watched, place) for watched, place in gone if watched.state.id not in known]
    unsent = [pair for pair in behind if pair not in gone]
    if lost:
        words = f"{_runs(lost)} recorded in {without_password(lost[0][1].address)}, which is gone"
        advice = "fmnist sync creates it again; or bring it back"
        yield Finding("error", words, advice)
    if unsent:
        yield _unsent(output_dir, unsent)
    if not lost and not unsent and not damaged:
        words = f"{plural(len(logs), 'run')} below {output_dir}, all recorded"
        pairs = [(each, place) for each in logs for place in each.state.destinations]
        if deleted := sum(each.upload(place).is_deleted for each, place in pairs):
            words += f", but for {deleted} that were deleted in their store, or their sweep was"
        yield Finding("OK", words)


def _known_logs(runs: Runs) -> set[str]:
    """The ids of the event logs that the store has runs of; none where it cannot be read."""
    try:
        return {run.tags.get(ID_TAG, "") for run in runs()}
    except (OSError, ValueError):
        return set()


def _unsent(output_dir: Path, unsent: Sequence[tuple[WatchedLog, Destination]]) -> Finding:
    problems = read_problems(output_dir)
    known = [problem for _, place in unsent if (problem := problem_of(place, problems))]
    why = f": {known[0].reason}" if known else ""
    command = "fmnist sync" + output_option(output_dir)
    for place in {place.place: place for _, place in unsent}.values():
        if number := _deleted_experiment(place):
            words = f"{_runs(unsent)} not recorded: the experiment {place.experiment!r} was deleted"
            advice = f"{how_to_restore(number, place.address)}; then {command}"
            return Finding("error", words, advice)
    words = f"{_runs(unsent)} not recorded yet in {without_password(unsent[0][1].address)}{why}"
    if all(is_offline(watched.run_dir) for watched, _ in unsent):
        words = f"{words} (tracking.offline=always)"
        return Finding("warning", words, command)
    return Finding("error", words, command)


def _runs(pairs: Sequence[tuple[WatchedLog, Destination]]) -> str:
    """`1 run is`, `2 runs are`."""
    number = len({watched.run_dir for watched, _ in pairs})
    return f"{plural(number, 'run')} {'is' if number == 1 else 'are'}"


def _deleted_experiment(place: Destination) -> str:
    """The id of the experiment, if it was deleted in its store; empty where it was not."""
    try:
        found = Reader(place.address).all_experiments()
    except (OSError, ValueError):  # the store's own check says so
        return ""
    deleted = (each.id for each in found if each.is_deleted and each.name == place.experiment)
    return next(deleted, "")


def _is_gone(place: Destination) -> bool:
    """Whether the run was recorded in a database that is not there any more."""
    database = sqlite_path(place.address)
    is_missing = database is not None and not database.exists()
    return is_missing and upload_state_path(place).exists()


def check_leftovers(output_dir: Path) -> Iterator[Finding]:
    """What `fmnist clean` would free."""
    found = clean(output_dir, unfinished=False, delete=False)
    if not found:
        yield Finding("OK", f"nothing to clean up below {output_dir}")
        return
    total = decimal(sum(leftover.num_bytes for leftover in found))
    num_folders = sum(leftover.kind == EMPTY for leftover in found)
    counts = [(len(found) - num_folders, "file"), (num_folders, "empty folder")]
    parts = [plural(number, what) for number, what in counts if number]
    words = f"{' and '.join(parts)} to clean up, {total}"
    command = f"fmnist clean --delete{output_option(output_dir)}"
    yield Finding("warning", words, command)


def check_disk(folder: Path) -> Iterator[Finding]:
    """Whether a folder, or the one in which it will be made, can take what training writes."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    reason = why_unwritable(place)
    if reason is not None:
        yield Finding("error", reason, "let it be written, or start in another folder")
        return
    free = shutil.disk_usage(place).free
    words = f"{decimal(free)} free for {folder}"
    if free < TOO_LITTLE_BYTES:
        yield Finding("error", words, "make room; fmnist clean shows what can be deleted")
    elif _num_free_files(place) < FEW_FILES:
        words = f"{words}, but hardly any more files"
        yield Finding("error", words, "delete some; see `df -i`")
    elif free < LITTLE_BYTES:
        advice = "a run of 784-512-512-10 takes 6 MB, a wide one ten times as much"
        yield Finding("warning", words, advice)
    else:
        yield Finding("OK", words)


def _num_free_files(place: Path) -> float:
    """How many more files the disk can take; some do not count them, and say none in all."""
    if not hasattr(os, "statvfs"):
        return float("inf")
    disk = os.statvfs(place)
    return disk.f_favail if disk.f_files else float("inf")


def check_threads() -> Iterator[Finding]:
    """Whether as many threads as there are cores are faster than one, and the machine's load."""
    cores = physical_cores()
    words = f"{plural(cores, 'core')} to use"
    if hasattr(os, "getloadavg"):
        words += f"; {os.getloadavg()[0]:.1f} programs wanted one over the last minute"
    if os.environ.get("OMP_NUM_THREADS"):
        words += f", as OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} says"
    if cores == 1:
        yield Finding("OK", words)
        return
    seconds = [_product_seconds(threads) for threads in (1, cores)]
    speedup = seconds[0] / seconds[1]
    words += f"; {cores} threads are {speedup:.1f} times as fast as one"
    if speedup >= FAIR_SHARE * cores:
        yield Finding("OK", words)
        return
    words += ": other programs use the cores, or they are not physical ones"
    advice = "see what else runs here; until it has ended, training.threads=1 may be faster"
    yield Finding("warning", words, advice)


def _product_seconds(threads: int) -> float:
    """What a product of matrices takes, the median of some."""
    matrix = torch.ones(MATRIX_SIZE, MATRIX_SIZE)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # not torch.utils.benchmark, whose import warns of missing compilers
        seconds = timeit.repeat(lambda: matrix @ matrix, number=1, repeat=NUM_PRODUCTS)
    finally:
        torch.set_num_threads(before)
    return statistics.median(seconds)


def check_gpu() -> Iterator[Finding]:
    """What `training.device=auto` finds."""
    if torch.cuda.is_available():
        yield Finding("OK", torch.cuda.get_device_name())
    elif torch.backends.mps.is_available():
        yield Finding("OK", "Apple's, as training.device=mps")
    elif shutil.which("nvidia-smi"):
        is_cpu_build = torch.version.cuda is None
        reason = "torch is built without CUDA" if is_cpu_build else "torch cannot use it"
        advice = "install torch with CUDA, and a driver for it; `nvidia-smi` shows the driver"
        yield Finding("warning", f"there is one of NVIDIA's, but {reason}", advice)
    else:
        yield Finding("OK", "none: training runs on the processor")
