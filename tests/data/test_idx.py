"""data/idx.py: what is written is read back; what is damaged is refused by name."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from fashion_mnist.data.idx import (
    DataError,
    check_digest,
    decompress,
    find_idx,
    parse_idx,
    read_content,
    write_idx,
)

# Two images of 1 x 3 pixels, byte for byte as the format's description has it.
TWO_IMAGES = bytes.fromhex("00000803 00000002 00000001 00000003 000102 fdfeff")


def test_values_are_read_in_c_order() -> None:
    """A file spelt out by hand gives the images that its description says."""
    images = parse_idx(TWO_IMAGES, num_dimensions=3, origin="images")
    assert images.dtype == np.uint8
    assert images.tolist() == [[[0, 1, 2]], [[253, 254, 255]]]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_written_file_is_read_back(tmp_path: Path, suffix: str) -> None:
    """Writing gives the bytes of the format, plain or compressed, and leaves nothing beside."""
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    write_idx(path, np.array([[[0, 1, 2]], [[253, 254, 255]]], dtype=np.uint8))
    assert read_content(path) == TWO_IMAGES
    assert path.read_bytes().startswith(b"\x1f\x8b") == (suffix == ".gz")
    assert list(tmp_path.iterdir()) == [path]


def test_gzip_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    """A .gz that a browser has unpacked, and a compressed file without .gz, are read as well."""
    (tmp_path / "unpacked.gz").write_bytes(TWO_IMAGES)
    (tmp_path / "packed").write_bytes(gzip.compress(TWO_IMAGES))
    assert read_content(tmp_path / "unpacked.gz") == TWO_IMAGES
    assert read_content(tmp_path / "packed") == TWO_IMAGES


def test_both_spellings_are_found_and_plain_comes_first(tmp_path: Path) -> None:
    """NAME, NAME.gz and their dotted forms are found, in this order."""
    name = "train-images-idx3-ubyte"
    assert find_idx(tmp_path, name) is None
    for stem in ("train-images.idx3-ubyte.gz", "train-images.idx3-ubyte", f"{name}.gz", name):
        (tmp_path / stem).touch()
        assert find_idx(tmp_path, name) == tmp_path / stem


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "an empty file"),
        (b"<html>", "got 3c 68 74 6d"),
        (b"\0\0\x0d" + TWO_IMAGES[3:], r"type code 8\), got code 13"),
        (b"\0\0\x08\x01" + TWO_IMAGES[4:], r"images \(3 dimensions\), got labels"),
        (b"\0\0\x08\x02" + TWO_IMAGES[4:], "got an array of 2 dimensions"),
        (TWO_IMAGES[:9], "within its header of 16 bytes"),
        (TWO_IMAGES[:-1], "says 2 x 1 x 3, which is 22 bytes, got 21"),
        (TWO_IMAGES + b"\0", "which is 22 bytes, got 23"),
    ],
    ids=["empty", "html", "float", "labels", "table", "short header", "short", "long"],
)
def test_damaged_content_is_refused(content: bytes, complaint: str) -> None:
    """Every kind of damage is an error that names the file and says what came."""
    with pytest.raises(DataError, match=f"^some/file: .*{complaint}"):
        parse_idx(content, num_dimensions=3, origin="some/file")


@pytest.mark.parametrize("end", range(2, 40, 3))
def test_truncated_gzip_is_refused(end: int) -> None:
    """A gzip file cut anywhere is an error, never a shorter array."""
    packed = gzip.compress(TWO_IMAGES)
    assert end < len(packed)
    with pytest.raises(DataError, match="some/file: truncated or corrupt gzip"):
        decompress(packed[:end], origin="some/file")


def test_every_flipped_byte_of_a_gzip_is_noticed_or_harmless() -> None:
    """A gzip file with one wrong byte is refused, or its content is the same (names, times)."""
    packed = gzip.compress(TWO_IMAGES, mtime=0)
    num_refused = 0
    for place in range(2, len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        try:
            assert decompress(bytes(damaged), origin="some/file") == TWO_IMAGES
        except DataError:
            num_refused += 1
    assert num_refused > len(TWO_IMAGES)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """What cannot be opened is an error with the path and the system's reason."""
    with pytest.raises(DataError, match=r"nothing: cannot be read \(No such file"):
        read_content(tmp_path / "nothing")


def test_digest_is_checked_and_a_swap_is_recognised() -> None:
    """The right content passes, another file's is called swapped, any other changed."""
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a", "b")}
    assert check_digest(b"a", name="a", expected=expected, origin="A") == expected["a"]
    with pytest.raises(DataError, match="A: swapped: it holds what b should hold"):
        check_digest(b"b", name="a", expected=expected, origin="A")
    with pytest.raises(DataError, match=f"A: changed: .* must be {expected['a']}, got "):
        check_digest(b"c", name="a", expected=expected, origin="A")
    assert check_digest(b"c", name="c", expected={}, origin="C")[:8] == "2e7d2c03"
