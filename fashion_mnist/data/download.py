"""Fetching Fashion-MNIST: mirrors, retries, time-outs, and one good copy for all processes."""

import http.client
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from fashion_mnist.atomic import is_abandoned, replacing
from fashion_mnist.data.damage import changes_lock
from fashion_mnist.data.idx import DataError, check_digest, decompress, find_idx

CHUNK_BYTES = 1 << 16
MOST_BYTES = 100_000_000  # of a file; the largest has 26 million


def torchvision_mirrors() -> list[str]:
    """The addresses that torchvision fetches Fashion-MNIST from."""
    from torchvision.datasets import FashionMNIST  # takes seconds: only where they are needed

    return list(FashionMNIST.mirrors)


def download(
    folder: Path,
    *,
    expected: Mapping[str, str],
    mirrors: Sequence[str],
    num_attempts: int = 3,
    pause_seconds: float = 1.0,
    silence_seconds: float = 15.0,
    file_seconds: float = 600.0,
) -> None:
    """Fetch into `folder` those files that it lacks, each as NAME.gz, verified before it is there.

    Args:
        expected: file name -> SHA-256 of its decompressed bytes.
        mirrors: addresses of folders; all are tried, in this order, in each attempt.
        pause_seconds: wait before the second attempt, doubled before each further one.
        silence_seconds: longest wait for a mirror's next bytes.
        file_seconds: longest time for one answer.

    Raises:
        DataError: no mirror gave a good copy, or `folder` cannot be written to.
    """
    pauses = [0.0, *(pause_seconds * 2**n for n in range(num_attempts - 1))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that start together: the first one fetches, the others wait and find.
        with changes_lock(folder), _progress() as progress:
            fetch = partial(
                _fetch,
                silence_seconds=silence_seconds,
                file_seconds=file_seconds,
                progress=progress,
            )
            for path in filter(is_abandoned, folder.iterdir()):
                path.unlink()  # of a download that was killed
            missing = [name for name in expected if find_idx(folder, name) is None]
            if missing:
                progress.console.print(f"Fetching Fashion-MNIST into {folder}", markup=False)
            for name in missing:
                content = _first_good(
                    name, fetch=fetch, expected=expected, mirrors=mirrors, pauses=pauses
                )
                with replacing(folder / f"{name}.gz") as beside:
                    beside.write_bytes(content)
    except OSError as error:
        raise DataError(f"data.dir: cannot write to {folder} ({error.strerror})") from error


def _progress() -> Progress:
    """A bar for each file, on standard error, and only where that is a terminal."""
    console = Console(stderr=True)
    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


def _first_good(
    name: str,
    *,
    fetch: Callable[[str], bytes],
    expected: Mapping[str, str],
    mirrors: Sequence[str],
    pauses: Sequence[float],
) -> bytes:
    """The compressed bytes of file `name`, from the first answer whose content has its digest."""
    problems: dict[str, str] = {}
    for pause in pauses:
        time.sleep(pause)
        for mirror in mirrors:
            address = f"{mirror.rstrip('/')}/{name}.gz"
            try:
                answer = fetch(address)
                content = decompress(answer, origin="its answer")
                check_digest(content, name=name, expected=expected, origin="its answer")
            except (OSError, http.client.HTTPException, DataError) as error:
                problems[address] = str(error)
            else:
                return answer
    raise DataError(_no_copy(problems))


def _fetch(
    address: str, *, silence_seconds: float, file_seconds: float, progress: Progress
) -> bytes:
    """The body that `address` answers with; it may be cut short, which only its digest shows."""
    deadline = time.monotonic() + file_seconds
    content = bytearray()
    with urllib.request.urlopen(address, timeout=silence_seconds) as answer:
        task = progress.add_task(address.rpartition("/")[2], total=answer.length)
        # read1: read waits until its buffer is full, and a trickle would outlive the deadline.
        while chunk := answer.read1(CHUNK_BYTES):
            content += chunk
            progress.advance(task, len(chunk))
            if len(content) > MOST_BYTES:
                raise OSError(f"more than {MOST_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {file_seconds:g} seconds")
    return bytes(content)


def _no_copy(problems: Mapping[str, str]) -> str:
    """The message for a download that failed, with what to do instead."""
    lines = ["Fashion-MNIST is not on this machine and cannot be downloaded:"]
    lines += [f"  {address}: {problem}" for address, problem in problems.items()]
    if shutil.which("apt-get") is not None:
        sudo = "" if os.geteuid() == 0 else "sudo "
        lines.append(f"Install Debian's copy: {sudo}apt-get install dataset-fashion-mnist")
    else:
        lines.append("Fetch the four .gz files elsewhere and put them into data.dir")
    return "\n".join(lines)
