"""Fashion-MNIST's four files, or those of a data set like it: found, verified, read as tensors.

Shapes: N training images, M test images, H x W and P = H·W pixels of an image, C classes.
"""

import hashlib
import http.client
import logging
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from torch import Tensor

from fashion_mnist.data.idx import (
    DataError,
    check_digest,
    check_pair,
    decompress,
    find_idx,
    num_dimensions,
    parse_idx,
    read_content,
    read_file,
)
from fashion_mnist.runs.files import is_abandoned, replacing, set_aside

log = logging.getLogger("fashion_mnist")

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# Of the decompressed bytes: packagers compress anew, with gzip headers of their own.
FASHION_MNIST_SHA256: Mapping[str, str] = {
    NAMES[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    NAMES[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    NAMES[2]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    NAMES[3]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True)
class Files:
    """A data set as its files hold it, N training and M test images; the arrays are read-only.

    `train_images` uint8 `[N, H, W]`, `train_labels` uint8 `[N]`, `test_images` uint8 `[M, H, W]`,
    `test_labels` uint8 `[M]`; `digests`: name in NAMES -> SHA-256 of that file's decompressed
    bytes; `folder`: where the files were found.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    digests: Mapping[str, str]
    folder: Path

    @property
    def sha256(self) -> str:
        """One digest for all: SHA-256 of the four hexadecimal digests, joined in NAMES' order."""
        return hashlib.sha256("".join(self.digests[name] for name in NAMES).encode()).hexdigest()


def training_size(name: str) -> int | None:
    """The number of training images of data set `name`; None where only its files can say."""
    return 60_000 if name == "fashion_mnist" else None


def load_files(*, name: str, folder: Path, num_classes: int) -> Files:
    """The files of data set `name`, verified.

    `fashion_mnist` must have its published digests, see `load_published`. Any other name means
    whatever is in `folder`.

    Raises:
        DataError: files are missing, cannot be fetched, are corrupt or do not fit together.
    """
    try:
        folder = folder.expanduser()
        folder.exists()
    except (OSError, RuntimeError) as error:  # too long, or the home of nobody
        raise DataError(f"data.dir must be the name of a folder: {error}") from error
    if name != "fashion_mnist":
        return read_files(folder, num_classes=num_classes)
    return load_published(
        folder,
        systems=system_folders(),
        num_classes=num_classes,
        expected=FASHION_MNIST_SHA256,
        mirrors=_mirrors,
    )


def load_published(
    folder: Path,
    *,
    systems: Sequence[Path],
    num_classes: int,
    expected: Mapping[str, str],
    mirrors: Callable[[], Sequence[str]],
) -> Files:
    """The files with these digests: from `folder`, else a system's, else fetched into `folder`.

    What is damaged in `folder` is set aside, a system's damaged copy is passed over; both with a
    warning.

    Args:
        expected: name in NAMES -> SHA-256 of the decompressed bytes.
        mirrors: gives the addresses to fetch from, if it comes to that.

    Raises:
        DataError: no good copy is to be had, or `folder` holds another data set.
    """
    read = partial(read_files, num_classes=num_classes, expected=expected)
    for place in dict.fromkeys((folder, *systems)):
        if missing_names(place):
            continue
        try:
            return read(place)
        except DataError as error:
            if not find_damages(place, expected) and not missing_names(place):
                return read(place)  # another process has mended it; or what is asked does not fit
            if place in systems:
                log.warning("%s; this copy is passed over", error)
            else:
                set_damaged_aside(place, expected)
    if folder.is_dir() and folder not in systems:
        set_damaged_aside(folder, expected)  # where files are missing nothing was read yet

    download(folder, expected=expected, mirrors=mirrors())
    try:
        return read(folder)
    except DataError as error:
        raise DataError(f"{error}; put good files there, or choose another data.dir") from error


def _mirrors() -> list[str]:
    return torchvision_mirrors()


def system_folders() -> list[Path]:
    """Where a system keeps a copy of Fashion-MNIST, in the order they are looked at.

    Debian's package dataset-fashion-mnist installs one; XDG_DATA_DIRS is the freedesktop.org
    list of shared data folders.
    """
    listed = [entry for entry in os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep) if entry]
    shares = [f"{sys.prefix}/share", *listed, "/usr/local/share", "/usr/share"]
    return [Path(share) / "datasets" / "fashion-mnist" for share in dict.fromkeys(shares)]


def missing_names(folder: Path) -> list[str]:
    """Those of NAMES that `folder` has no file for."""
    return [name for name in NAMES if find_idx(folder, name) is None]


def read_files(
    folder: Path, *, num_classes: int, expected: Mapping[str, str] | None = None
) -> Files:
    """The four files in `folder`, verified and checked against each other.

    Args:
        num_classes: labels must be below it.
        expected: name in NAMES -> SHA-256 of the decompressed bytes.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    if missing := missing_names(folder):
        found = "is no folder" if not folder.is_dir() else f"has no {', '.join(missing)}"
        raise DataError(
            f"data.dir must be a folder with the four files {', '.join(NAMES)} (each plain or "
            f".gz): {folder} {found}"
        )
    paths = {name: path for name in NAMES if (path := find_idx(folder, name)) is not None}

    # Threads: decompression and SHA-256 release the GIL.
    with ThreadPoolExecutor(len(NAMES)) as pool:
        reads = [
            pool.submit(read_file, path, name=name, expected=expected or {})
            for name, path in paths.items()
        ]
    arrays, digests = zip(*(read.result() for read in reads), strict=True)
    train_images, train_labels, test_images, test_labels = arrays
    files = Files(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        digests=dict(zip(NAMES, digests, strict=True)),
        folder=folder,
    )
    _check_together(files, paths, num_classes=num_classes)
    return files


def _check_together(files: Files, paths: Mapping[str, Path], *, num_classes: int) -> None:
    """Raise a DataError unless counts, image sizes and labels fit together."""
    train_images, train_labels, test_images, test_labels = (paths[name] for name in NAMES)
    for images, images_path, labels, labels_path in (
        (files.train_images, train_images, files.train_labels, train_labels),
        (files.test_images, test_images, files.test_labels, test_labels),
    ):
        check_pair(images, images_path, labels, labels_path, num_classes=num_classes)
    train_size, test_size = files.train_images.shape[1:], files.test_images.shape[1:]
    if train_size != test_size:
        raise DataError(
            f"{test_images}: images must be {train_size[0]} x {train_size[1]} pixels like those of "
            f"{train_images.name}, got {test_size[0]} x {test_size[1]}"
        )


def changes_lock(folder: Path) -> FileLock:
    """Hold it while you change the files in a folder: of processes that start together one does."""
    return FileLock(folder / ".lock")


def find_damages(folder: Path, expected: Mapping[str, str]) -> dict[Path, DataError]:
    """Those files in `folder` that do not have the SHA-256 expected of their name, and why."""
    damages = {}
    for name, path in _present(folder, expected).items():
        try:
            check_digest(read_content(path), name=name, expected=expected, origin=str(path))
        except DataError as error:
            damages[path] = error
    return damages


def set_damaged_aside(folder: Path, expected: Mapping[str, str]) -> None:
    """Rename the damaged files in `folder`, with a warning; or say that it cannot be done.

    Raises:
        DataError: they are whole, and all are others: somebody's own data, which stay.
    """
    if not find_damages(folder, expected):
        return
    try:
        with changes_lock(folder):  # without, a second process would set the good copies aside
            while damages := find_damages(folder, expected):
                _check_not_another(_present(folder, expected), damages)
                for path, error in damages.items():
                    log.warning("%s; it is kept as %s", error, set_aside(path).name)
    except OSError as error:
        log.warning("%s: damaged files cannot be set aside (%s)", folder, error.strerror)


def _present(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    found = {name: find_idx(folder, name) for name in names}
    return {name: path for name, path in found.items() if path is not None}


def _check_not_another(files: Mapping[str, Path], damages: Mapping[Path, DataError]) -> None:
    """Raise a DataError where none of the files is what is wanted and each is a whole IDX file."""
    if len(damages) == len(files) and all(_is_whole(path, name) for name, path in files.items()):
        first = next(iter(damages.values()))
        raise DataError(
            f"{first}; all files there are of another data set than fashion_mnist: data=idx takes "
            "it, or choose another data.dir"
        )


def _is_whole(path: Path, name: str) -> bool:
    """Whether a file is an IDX file of the kind that its name says."""
    try:
        parse_idx(read_content(path), num_dimensions=num_dimensions(name), origin=str(path))
    except DataError:
        return False
    return True


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


@dataclass(frozen=True, eq=False)  # two are the same where they are one object
class Dataset:
    """A data set whose tensors lie on one device.

    `train_images` uint8 `[N, P]`, `train_labels` int64 `[N]`, `test_images` uint8 `[M, P]`,
    `test_labels` int64 `[M]`; `image_shape`: (H, W) with H·W = P; `sha256`: of its files'
    contents; `source`: the folder it was read from.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    sha256: str
    source: str

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    def to(self, device: torch.device | str) -> Self:
        """The same data set with its tensors on `device`."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def load_dataset(*, name: str, folder: Path, class_names: Sequence[str]) -> Dataset:
    """The data set `name` on the CPU; see `files.load_files` for where it is looked for.

    Raises:
        DataError: files are missing, cannot be fetched, are corrupt or do not fit together.
    """
    files = load_files(name=name, folder=folder, num_classes=len(class_names))
    _, height, width = files.train_images.shape
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        image_shape=(height, width),
        train_images=torch.tensor(files.train_images).flatten(1),
        train_labels=torch.tensor(files.train_labels, dtype=torch.int64),
        test_images=torch.tensor(files.test_images).flatten(1),
        test_labels=torch.tensor(files.test_labels, dtype=torch.int64),
        sha256=files.sha256,
        source=str(files.folder),
    )
