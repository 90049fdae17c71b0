"""Writes the event log of a run or a sweep (`runs/events.py` has its format). No MLflow here."""

import errno
import logging
import os
import posixpath
import re
import shutil
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

from fashion_mnist.config.store_uri import relative_uri
from fashion_mnist.runs.events import FORMAT, LOG_FILE, Seal, damage, make_event, rest_after
from fashion_mnist.runs.files import file_in, replacing, take_damaged_name
from fashion_mnist.runs.run_state import Destination, RunState

OFFLINE_FILE = "offline"  # says: tracking.offline=always
STATUSES = ("RUNNING", "FINISHED", "KILLED", "FAILED")
log = logging.getLogger(__name__)


def check_names(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raises ValueError for the first name of a metric, parameter or tag that MLflow refuses."""
    for name in names:
        plain = re.fullmatch(r"[\w.\-/: ]{1,250}", name) and posixpath.normpath(name) == name
        if not plain or name.startswith((".", "/")):
            raise ValueError(
                "names of metrics, parameters and tags take letters, digits and _-.:/ and space, "
                f"up to 250 and as a plain path, got {name!r}"
            )


def _repair(run_dir: Path) -> tuple[RunState, bool]:
    """Cuts a log back to the events that can be read; hold the directory's lock.

    The log is replaced, not shortened, also where nothing is wrong with what another host wrote: a
    process there that was taken for dead may still write to it, and must not write into what is
    there now. Where more than a half-written line is wrong with it, the log as it was is kept
    beside it, and the user is told.

    Returns:
        What the log holds, and whether more than a half-written line was wrong with it.
    """
    state = RunState.read(run_dir)
    path, end = run_dir / LOG_FILE, state.mark
    rest = rest_after(run_dir, end)
    wrong = damage(run_dir, end)
    if not wrong and b"\0" in rest:
        wrong = "ends in zeros, as after a loss of power"
    if wrong:
        kept = ""
        if path.exists():
            copy = take_damaged_name(path)
            with replacing(copy) as beside:
                shutil.copyfile(path, beside)
            kept = f" (kept as {copy.name})"
        log.warning("%s %s%s: going on from what can be read of it", path, wrong, kept)
    here = socket.gethostname()
    if rest or state.tags.get("host", here) != here:
        with path.open("rb") as file, replacing(path) as beside:
            beside.write_bytes(file.read(end.offset))
    return state, bool(wrong)


class EventLog:
    """Opens or creates the log of a run's or a sweep's directory and appends to it.

    Repeating what the log already holds changes nothing, also after reopening: a resumed run
    repeats itself freely. Files are named again, for they may have changed; else nothing is
    written. Times are set here, once. Names of metrics, parameters and tags are held
    to what MLflow takes, for one bad name would reject its whole batch there. When a call returns
    its event is in the file; where it raises OSError, with the file's name, nothing of it is there
    and the log can be written to again.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.artifacts = run_dir / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self.state, is_repaired = _repair(run_dir)
        self._file = (run_dir / LOG_FILE).open("ab", buffering=0)
        try:
            self._begin(is_repaired)
        except OSError:
            self._file.close()
            raise

    def _begin(self, is_repaired: bool) -> None:
        seal = Seal.read(self.run_dir)
        if not self.state.id:
            known = (seal.id, seal.time_ms) if seal else (uuid.uuid4().hex, None)
            self._append("log", {"id": known[0], "format": FORMAT}, known[1])
        if is_repaired or seal is None:
            self._write_seal()

    def destination(
        self, uri: str, experiment: str, *, parent: str = "", name: str = ""
    ) -> Destination:
        """Has the run recorded in this store and experiment too, from its beginning.

        Under another `parent` it becomes a run of its own there; without one, any that is there
        will do. `uri` is absolute (`config.store_uri.absolute_uri`); the log holds it relative to
        its own place where both are below the current folder.
        """
        uri = relative_uri(uri, self.run_dir)
        wanted = Destination(uri, experiment, parent, name, self.run_dir)
        for known in self.state.destinations:
            if known.place == wanted.place and parent in ("", known.parent):
                return known
        relation = {key: value for key, value in (("parent", parent), ("name", name)) if value}
        self._append("destination", {"uri": uri, "experiment": experiment, **relation})
        return wanted

    def start(self, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """The run's name, parameters and first tags. Only the first call counts."""
        check_names([*params, *tags])
        if not self.state.started_ms:
            self._append("start", {"name": name, "params": dict(params), "tags": dict(tags)})

    def dataset(
        self,
        name: str,
        *,
        digest: str,
        context: str,
        source: str,
        num_examples: int,
        image_shape: Sequence[int],
    ) -> None:
        """What the run saw as `context` (train, validation, test); digest of at most 36 letters.

        MLflow keeps one dataset for a name and digest: splits need digests of their own.
        """
        if not 1 <= len(digest) <= 36:
            raise ValueError(f"a dataset's digest must have 1 to 36 characters, got {digest!r}")
        content: dict[str, Any] = {"name": name, "digest": digest, "context": context}
        content |= {"source": source, "num_examples": num_examples}
        content |= {"image_shape": list(image_shape)}
        if content not in self.state.datasets:
            self._append("dataset", content)

    def metrics(self, step: int, values: Mapping[str, float], time_ms: int | None = None) -> int:
        """Points of this step; those that the log already has stay as they are.

        Args:
            time_ms: when they were measured, in ms since the epoch; None: now.

        Returns:
            The time that the step's points have.
        """
        check_names(values)
        new = {key: float(value) for key, value in values.items()}
        new = {key: value for key, value in new.items() if (step, key) not in self.state.points}
        if new:
            self._append("metrics", {"step": step, "values": new}, time_ms)
        return max((self.state.points[step, key][1] for key in values), default=0)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags set or changed after the start."""
        check_names(values)
        known = self.state.tags
        changed = {key: value for key, value in values.items() if known.get(key) != value}
        if changed:
            self._append("tags", {"values": changed})

    def artifact(self, path: str) -> None:
        """A file below `artifacts/`, complete by now, by its path from there."""
        self._append("artifact", {"path": self._existing(path, self.artifacts)})

    def image(self, key: str, path: str) -> None:
        """A PNG below `artifacts/` that MLflow's charts show beside other runs' under this key."""
        if not re.fullmatch(r"[\w\-./ ]+", key):
            raise ValueError(f"an image key takes letters, digits and _-./ only, got {key!r}")
        path = self._existing(path, self.artifacts)
        self._append("image", {"key": key, "path": path})

    def model(self, path: str) -> None:
        """The trained network: a safetensors file, by its path from the run's directory."""
        self._append("model", {"path": self._existing(path, self.run_dir)})

    def view(
        self, key: str, name: str, columns: Sequence[str], axes: Sequence[str], score: str
    ) -> None:
        """A saved view of the experiment, on the runs whose parent this one is; replaces `key`.

        Args:
            key: the view's key in links (`tracking.saved_views.sweep_link`).
            name: the view's name in MLflow.
            columns: names of parameters, the first columns of the table.
            axes: names of parameters, the axes of a chart.
            score: the metric that the runs are ranked by.
        """
        if not re.fullmatch(r"[\w\-]{1,100}", key):
            raise ValueError(f"a view's key takes letters, digits and _- only, got {key!r}")
        content = {"key": key, "name": name, "columns": list(columns), "axes": list(axes)}
        content |= {"score": score}
        if self.state.views.get(key) != content:
            self._append("view", content)

    def status(self, status: str, time_ms: int | None = None) -> None:
        """Where the run stands (one of `STATUSES`), safe on the disk when this returns."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
        if status != self.state.status:
            self._append("status", {"status": status}, time_ms, is_flushed=True)
            try:
                self._write_seal()
            except OSError as error:  # the older one still fits, and the status stands
                log.warning("%s: %s", error.filename, error.strerror)

    def close(self) -> None:
        """Closes the file; the log can be opened again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(
        self,
        kind: str,
        content: dict[str, Any],
        time_ms: int | None = None,
        *,
        is_flushed: bool = False,
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        whole = {"kind": kind, "time": now_ms if time_ms is None else time_ms, **content}
        event, line = make_event(whole, self.state.mark)
        self._check_place()
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
            if is_flushed:
                os.fsync(self._file.fileno())
        except OSError as error:
            # a full disk takes a part: the next event must not join it
            self._file.truncate(self.state.mark.offset)
            raise OSError(error.errno, error.strerror, self._file.name) from error
        self.state.apply(event)

    def _check_place(self) -> None:
        """Raise OSError where the open file is not the one at its place, which is read."""
        path = self.run_dir / LOG_FILE
        try:
            is_there = os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            what = "was removed or renamed, or another process goes on with it"
            raise FileNotFoundError(errno.ENOENT, what, str(path))

    def _write_seal(self) -> None:
        state = self.state
        Seal(state.id, state.created_ms, state.mark).write(self.run_dir)

    def _existing(self, path: str, root: Path) -> str:
        if file_in(self.run_dir, root, path) is None:
            raise ValueError(f"{path!r} is no file below {root}")
        return PurePosixPath(path).as_posix()


def set_offline(run_dir: Path, is_offline: bool) -> None:
    """Nothing of this run or sweep is sent until `fmnist sync` is called; or it may be sent."""
    if is_offline:
        (run_dir / OFFLINE_FILE).touch()
    else:
        (run_dir / OFFLINE_FILE).unlink(missing_ok=True)


def is_offline(run_dir: Path) -> bool:
    """Whether nothing of it is to be sent yet."""
    return (run_dir / OFFLINE_FILE).exists()
