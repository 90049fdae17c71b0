"""Fashion-MNIST, or a data set like it: four IDX files found, verified and read as tensors.

Shapes: N training images, M test images, H x W pixels of an image, P = H·W, C classes.
"""

import contextlib
import hashlib
import http.client
import io
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError

import torch
from filelock import FileLock
from torch import Tensor

from fashion_mnist.data.idx import (
    DataError,
    DigestError,
    IdxFile,
    check_pair,
    find_idx,
    read_file,
)
from fashion_mnist.runs.files import set_aside

log = logging.getLogger("fashion_mnist")

FASHION_MNIST = "fashion_mnist"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
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

CHANGED_ADVICE = (
    "remove what is changed to have the original again; to train on it, give the data a name of "
    "its own, as in data.name=mine, or choose data=idx for other classes"
)


@dataclass(frozen=True, eq=False)  # two are the same where they are one object
class Dataset:
    """A data set whose tensors lie on one device.

    `train_images` uint8 `[N, P]`, `train_labels` int64 `[N]`, `test_images` uint8 `[M, P]`,
    `test_labels` int64 `[M]`; `image_shape`: (H, W); `sha256`: of the hexadecimal SHA-256 of the
    four files' decompressed contents, joined in the order of NAMES; `source`: the folder it was
    read from.
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


def training_size(name: str) -> int | None:
    """The number of training images of data set `name`; None where only its files can say."""
    return 60_000 if name == FASHION_MNIST else None


def load_dataset(
    *, name: str = FASHION_MNIST, folder: Path, class_names: Sequence[str] = CLASS_NAMES
) -> Dataset:
    """The data set `name` on the CPU.

    `fashion_mnist` must have its published digests and is looked for on the system and downloaded
    where `folder` lacks it, see `load_fashion_mnist`. Any other name means the files in `folder`.

    Raises:
        DataError: files are missing, cannot be downloaded, are damaged or do not fit together.
    """
    try:
        folder = folder.expanduser()
        folder.exists()
    except (OSError, RuntimeError) as error:  # too long, or the home of an unknown user
        raise DataError(f"data.dir must be the name of a folder: {error}") from error
    if name == FASHION_MNIST:
        return load_fashion_mnist(folder, class_names=class_names)
    return read_dataset(folder, name=name, class_names=class_names)


def load_fashion_mnist(
    folder: Path,
    *,
    class_names: Sequence[str] = CLASS_NAMES,
    expected: Mapping[str, str] = FASHION_MNIST_SHA256,
    systems: Sequence[Path] | None = None,
    source: type[Any] | None = None,
) -> Dataset:
    """Fashion-MNIST from `folder`, else from a folder of the system, else downloaded to `folder`.

    Damaged files in `folder` are set aside, a damaged copy of the system is skipped; both with a
    warning. Whole files of another content are an error: they may be changed on purpose.

    Args:
        expected: name in NAMES -> SHA-256 of the decompressed bytes.
        systems: folders of the system; None for `system_folders()`.
        source: see `download`.

    Raises:
        DataError: there is no undamaged copy and none can be downloaded, or `folder` holds whole
            files of another content.
    """
    systems = system_folders() if systems is None else systems
    if folder not in systems and 0 < len(missing_names(folder)) < len(NAMES):
        set_damaged_aside(folder, expected)  # what is there would be passed over in silence
    for place in dict.fromkeys((folder, *systems)):
        if missing_names(place):
            continue
        try:
            files = _read_files(place, expected)
        except DataError as error:
            if place in systems:
                log.warning("%s; this copy is skipped", error)
            else:
                set_damaged_aside(place, expected)
        else:
            return _checked(files, place, name=FASHION_MNIST, class_names=class_names)
    download(folder, expected=expected, source=source)
    try:
        return read_dataset(folder, name=FASHION_MNIST, class_names=class_names, expected=expected)
    except DataError as error:
        raise DataError(f"{error}; put good files there, or choose another data.dir") from error


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


def read_dataset(
    folder: Path,
    *,
    name: str,
    class_names: Sequence[str],
    expected: Mapping[str, str] | None = None,
) -> Dataset:
    """The four files in `folder`, verified and checked against each other, on the CPU.

    Args:
        name: of the data set.
        class_names: C of them; labels must be below C.
        expected: name in NAMES -> SHA-256 of the decompressed bytes; None for any content.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    files = _read_files(folder, expected)
    return _checked(files, folder, name=name, class_names=class_names)


def _read_files(folder: Path, expected: Mapping[str, str] | None) -> list[IdxFile]:
    """The four files in `folder`, verified, in the order of NAMES. Raises DataError."""
    if missing := missing_names(folder):
        found = "is no folder" if not folder.is_dir() else f"has no {', '.join(missing)}"
        raise DataError(
            f"data.dir must be a folder with the four files {', '.join(NAMES)} (each plain or "
            f".gz): {folder} {found}"
        )

    def read(item: tuple[str, Path]) -> IdxFile:
        return read_file(item[1], name=item[0], expected=expected)

    # Threads: decompression and SHA-256 release the GIL.
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return list(pool.map(read, _present(folder).items()))


def _checked(
    files: Sequence[IdxFile], folder: Path, *, name: str, class_names: Sequence[str]
) -> Dataset:
    """The data set of four files, checked against each other. Raises DataError."""
    train_images, train_labels, test_images, test_labels = files
    check_pair(train_images, train_labels, num_classes=len(class_names))
    check_pair(test_images, test_labels, num_classes=len(class_names), may_be_empty=True)
    (height, width), test_shape = train_images.values.shape[1:], test_images.values.shape[1:]
    if test_shape != (height, width):
        raise DataError(
            f"{test_images.path}: images must be {height} x {width} pixels like those of "
            f"{train_images.path.name}, got {test_shape[0]} x {test_shape[1]}"
        )
    return Dataset(
        name=name,
        class_names=tuple(class_names),
        image_shape=(height, width),
        train_images=torch.tensor(train_images.values).flatten(1),
        train_labels=torch.tensor(train_labels.values, dtype=torch.int64),
        test_images=torch.tensor(test_images.values).flatten(1),
        test_labels=torch.tensor(test_labels.values, dtype=torch.int64),
        sha256=hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest(),
        source=str(folder),
    )


def set_damaged_aside(folder: Path, expected: Mapping[str, str]) -> None:
    """Rename the damaged files in `folder`, with a warning; a second warning where that fails.

    Raises:
        DataError: files are whole and of another content: all stay as they are.
    """
    try:
        with _lock(folder):
            # Until none is left: a damaged file may hide its second spelling, see `find_idx`.
            while damages := _find_damages(folder, expected):
                for path, error in damages.items():
                    log.warning("%s; it is kept as %s", error, set_aside(path).name)
    except OSError as error:
        _find_damages(folder, expected)  # a folder that is read-only may hold whole files too
        log.warning("%s: damaged files cannot be set aside (%s)", folder, error.strerror)


def _find_damages(folder: Path, expected: Mapping[str, str]) -> dict[Path, DataError]:
    """Those files in `folder` that are not whole, and why.

    Raises:
        DataError: some are whole, and do not have the SHA-256 expected of their name.
    """
    damages, changed = {}, list[str]()
    for name, path in _present(folder).items():
        try:
            read_file(path, name=name, expected=expected)
        except DigestError as error:
            changed.append(str(error))
        except DataError as error:
            damages[path] = error
    if changed:
        raise DataError(f"{'; '.join(changed)}: {CHANGED_ADVICE}")
    return damages


def download(
    folder: Path,
    *,
    expected: Mapping[str, str] = FASHION_MNIST_SHA256,
    source: type[Any] | None = None,
    timeout_seconds: float = 15.0,
) -> None:
    """Fetch into `folder` those files that it lacks, each as NAME.gz, by torchvision's downloader.

    Of processes that start together one downloads and the others wait for it. A file is moved into
    place when its content is verified.

    Args:
        expected: name in NAMES -> SHA-256 of the decompressed bytes.
        source: `torchvision.datasets.FashionMNIST`, or a subclass with other `mirrors`; None for
            the former.
        timeout_seconds: longest wait for the server's next bytes.

    Raises:
        DataError: no mirror gave a good copy, or `folder` cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if missing := missing_names(folder):
                print(f"Downloading Fashion-MNIST into {folder}", file=sys.stderr)
                # One name for all processes: what a killed one had fetched whole is used again.
                temporary = folder / ".download"
                try:
                    fetched = _fetch(temporary, source, timeout_seconds)
                    for name in missing:
                        path = fetched / f"{name}.gz"
                        read_file(path, name=name, expected=expected)
                        path.replace(folder / path.name)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(f"data.dir: cannot write to {folder} ({error.strerror})") from error


def _fetch(folder: Path, source: type[Any] | None, timeout_seconds: float) -> Path:
    """Have torchvision download its four files below `folder`; where they are then."""
    if source is None:
        from torchvision.datasets import FashionMNIST  # takes seconds, and is needed once

        source = FashionMNIST
    try:
        with _socket_timeout(timeout_seconds), _progress_bars_on_a_terminal():
            return Path(source(folder, download=True).raw_folder)
    # torchvision makes a RuntimeError of some problems with a mirror and lets others through
    except (RuntimeError, URLError, ConnectionError, TimeoutError, http.client.HTTPException) as e:
        reason = " ".join(str(e).split()) or type(e).__name__
        raise DataError(
            f"Fashion-MNIST is not on this machine and cannot be downloaded from "
            f"{', '.join(source.mirrors)} ({reason}): {_advice()}"
        ) from e


def _advice() -> str:
    if shutil.which("apt-get") is None:
        return "get the four .gz files elsewhere and put them into data.dir"
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"install Debian's copy by {sudo}apt-get install dataset-fashion-mnist"


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """A timeout for sockets made within: torchvision's downloader sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _progress_bars_on_a_terminal() -> contextlib.AbstractContextManager[object]:
    """Hides torchvision's progress bars where standard error is no terminal."""
    is_terminal = sys.stderr.isatty()
    return contextlib.nullcontext() if is_terminal else contextlib.redirect_stderr(io.StringIO())


def _lock(folder: Path) -> FileLock:
    """Held by the process that changes the files in `folder`."""
    return FileLock(folder / ".lock")


def _present(folder: Path) -> dict[str, Path]:
    """Name in NAMES -> its file in `folder`, where there is one."""
    found = {name: find_idx(folder, name) for name in NAMES}
    return {name: path for name, path in found.items() if path is not None}
