"""Which process is at work, and whether one that was noted down still lives."""

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

# a clock that was set moves the start of every process: one that began about then may be the same
CLOCK_SECONDS = 60


def this_process() -> dict[str, str]:
    """Tags by which another process can tell later whether this one still lives."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": str(process.pid),
        "process_start": as_text(process.create_time()),
        "boot_id": boot_id(),
        "pid_namespace": pid_namespace(),
    }


def is_dead(tags: Mapping[str, str]) -> bool:
    """Whether the process with these tags is known to be gone.

    Nothing is known of other machines, or of a container whose processes cannot be seen from here.
    """
    try:
        pid, start = int(tags["pid"]), datetime.fromisoformat(tags["process_start"]).timestamp()
    except (LookupError, ValueError):
        return False
    if tags.get("host") != socket.gethostname():
        return False
    if tags.get("boot_id") != boot_id():
        return start < psutil.boot_time()  # else it is another machine with our name
    return tags.get("pid_namespace") == pid_namespace() and not _lives(pid, start)


def _lives(pid: int, start: float) -> bool:
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - start) < CLOCK_SECONDS
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def boot_id() -> str:
    """Another one each time that the machine is started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return as_text(psutil.boot_time())


def pid_namespace() -> str:
    """Where a process number means the same process: a container has a namespace of its own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def as_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
