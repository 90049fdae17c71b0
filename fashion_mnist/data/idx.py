"""IDX files, MNIST's format, plain or gzip: found, verified, read as arrays, written.

The format (Yann LeCun, "The MNIST database"): two zero bytes, a type code (8 is uint8), the number
of dimensions, each dimension as a big-endian uint32, then the values in C order.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.runs.files import replacing

UINT8_CODE = 8
LONGEST_HEADER = 16  # bytes: of images
MOST_BYTES = 4 * 2**30  # of a file
MOST_UNKNOWN_BYTES = 2**26  # of a gzip file of anything else
_TOO_LARGE = f"more than {MOST_BYTES:,} bytes: no data set is so large"
GZIP_MAGIC = b"\x1f\x8b"
KINDS = {1: "labels (1 dimension)", 3: "images (3 dimensions)"}


class DataError(ValueError):
    """Data that is missing, corrupt or not what its name says; the message names the file."""


class DigestError(DataError):
    """A whole file with another content than its name's."""


class IdxFile(NamedTuple):
    """A file that was read: uint8 values `[N, H, W]` or `[N]`, SHA-256 of its content."""

    path: Path
    values: NDArray[np.uint8]
    sha256: str


def num_dimensions(name: str) -> int:
    """How many dimensions the array in a file of that name has."""
    return 3 if "images" in name else 1


def find_idx(folder: Path, name: str) -> Path | None:
    """The file of that name in `folder`: plain or .gz, with "-idx" or ".idx" in its name."""
    stems = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{stem}{suffix}" for stem in stems for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def read_content(path: Path) -> bytes:
    """The bytes of `path`, decompressed where they are gzip.

    Raises:
        DataError: the file cannot be read, its gzip stream is truncated or corrupt, or it is larger
            than any data set.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: {_TOO_LARGE}")
        return decompress(path.read_bytes(), origin=str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def decompress(content: bytes, *, origin: str) -> bytes:
    """`content`, decompressed where it is gzip; `origin` names it in errors.

    It takes no more memory than the IDX header within says: a gzip file of some kilobytes can
    decompress to gigabytes.

    Raises:
        DataError: the gzip stream is truncated or corrupt, or larger than its header says, or than
            any data set.
    """
    # Judged by the bytes, not the name: browsers decompress a download and keep its .gz.
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            head = file.read(LONGEST_HEADER)
            size = idx_size(head)
            if size > MOST_BYTES:
                raise DataError(f"{origin}: {_TOO_LARGE}")
            whole = head + file.read(max(0, (size or MOST_UNKNOWN_BYTES) + 1 - len(head)))
            if size and len(whole) > size:
                raise DataError(f"{origin}: corrupt: more data than its header says")
            return whole
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{origin}: truncated or corrupt gzip file ({error})") from error


def idx_size(head: bytes) -> int:
    """How many bytes an IDX file of images or labels has that begins so; 0 for other files."""
    num_dimensions = head[3] if len(head) > 3 else 0
    header_size = 4 + 4 * num_dimensions
    is_of_bytes = len(head) > 2 and head[2] == UINT8_CODE
    if num_dimensions not in KINDS or len(head) < header_size or not is_of_bytes:
        return 0
    shape: tuple[int, ...] = struct.unpack(f">{num_dimensions}I", head[4:header_size])
    return header_size + prod(shape)


def check_digest(content: bytes, *, name: str, expected: Mapping[str, str], origin: str) -> str:
    """The SHA-256 of decompressed `content`, which must be the one expected of `name`.

    Args:
        expected: file name -> SHA-256; names that are not in it may have any content.

    Raises:
        DigestError: another digest; the message says so where it is another file's.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest == expected.get(name, digest):
        return digest
    for other, other_digest in expected.items():
        if digest == other_digest:
            raise DigestError(f"{origin}: swapped: it holds what {other} should hold")
    raise DigestError(
        f"{origin}: changed: the SHA-256 of its content must be {expected[name]}, got {digest}"
    )


def parse_idx(content: bytes, *, num_dimensions: int, origin: str) -> NDArray[np.uint8]:
    """The values of an IDX file as a read-only uint8 array; `origin` names it in errors.

    Args:
        num_dimensions: 3 for images `[N, H, W]`, 1 for labels `[N]`.

    Raises:
        DataError: no IDX file, values other than uint8, other dimensions, or a size unlike the
            header's.
    """
    header_size = 4 + 4 * num_dimensions
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{origin}: no IDX file: it must start with two zero bytes, "
            f"got {content[:4].hex(' ') or 'an empty file'}"
        )
    if content[2] != UINT8_CODE:
        raise DataError(f"{origin}: values must be uint8 (type code 8), got code {content[2]}")
    if content[3] != num_dimensions:
        expected = KINDS[num_dimensions]
        got = KINDS.get(content[3], f"an array of {content[3]} dimensions")
        raise DataError(f"{origin}: must hold {expected}, got {got}")
    if len(content) < header_size:
        raise DataError(f"{origin}: truncated within its header of {header_size} bytes")

    shape = struct.unpack(f">{num_dimensions}I", content[4:header_size])
    if len(content) != header_size + prod(shape):
        raise DataError(
            f"{origin}: truncated or corrupt: its header says {' x '.join(map(str, shape))}, "
            f"which is {header_size + prod(shape)} bytes, got {len(content)}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write a uint8 array as an IDX file, for `data=idx`; gzip where `path` ends in .gz."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UINT8_CODE, array.ndim, *array.shape)
    content = header + array.tobytes()
    with replacing(path) as beside:
        # No time stamp: the same array gives the same file.
        beside.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_pair(
    folder: Path, part: str, *, num_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images `[N, H, W]` and labels `[N]` of one part alone, `train` or `t10k`.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images_path, labels_path = (find_idx(folder, name) for name in names)
    if images_path is None or labels_path is None:
        found = "has not both" if folder.is_dir() else "is no folder"
        raise DataError(
            f"{folder}: must be a folder with {' and '.join(names)} (each plain or .gz): it {found}"
        )
    images, labels = read_file(images_path, name=names[0]), read_file(labels_path, name=names[1])
    check_pair(images, labels, num_classes=num_classes)
    return images.values, labels.values


def read_file(path: Path, *, name: str, expected: Mapping[str, str] | None = None) -> IdxFile:
    """One file, which holds images or labels as its name says.

    Args:
        expected: file name -> SHA-256 of the decompressed bytes; None for any content.

    Raises:
        DataError: names the file, what is allowed and what came; a DigestError where the file is
            whole.
    """
    content = read_content(path)
    values = parse_idx(content, num_dimensions=num_dimensions(name), origin=str(path))
    digest = check_digest(content, name=name, expected=expected or {}, origin=str(path))
    return IdxFile(path, values, digest)


def check_pair(
    images: IdxFile, labels: IdxFile, *, num_classes: int, may_be_empty: bool = False
) -> None:
    """Raise a DataError unless there are images, and a label for each.

    Args:
        may_be_empty: whether there may be no image at all, of a size that is given all the same.
    """
    shape, own = images.values.shape, labels.values
    if not all(shape[1 if may_be_empty else 0 :]):
        got = " x ".join(map(str, shape))
        raise DataError(f"{images.path}: must hold at least one pixel, got {got}")
    if shape[0] != len(own):
        raise DataError(
            f"{labels.path}: must hold one label for each of the {shape[0]} images of "
            f"{images.path.name}, got {len(own)} labels"
        )
    if len(own) and own.max() >= num_classes:
        start = "; they start at 1: subtract 1 from each" if own.min() == 1 else ""
        raise DataError(
            f"{labels.path}: labels must be 0 to {num_classes - 1} for the {num_classes} names "
            f"in data.class_names, got {own.max()}{start}"
        )
