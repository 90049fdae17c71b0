"""data/images.py: every kind of file is read as what it is; other files are refused by name."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fashion_mnist.data.idx import DataError, write_idx
from fashion_mnist.data.images import MOST_PIXELS, read_image_file

SHAPE = (6, 5)
GREY = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
SERIES = np.random.default_rng(1).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
NOISE = np.random.default_rng(2).integers(0, 256, (100, 100), dtype=np.uint8)
RED = np.array([200, 0, 0])


def written(path: Path, array: NDArray[Any], **options: Any) -> Path:
    """A picture file of an array, of the kind that its name says."""
    Image.fromarray(array).save(path, **options)
    return path


def saved(path: Path, array: NDArray[Any]) -> Path:
    """An .npy file."""
    np.save(path, array)
    return path


def test_a_grey_png_is_read_as_it_is(tmp_path: Path) -> None:
    """Its pixels, nothing done; whatever the file is called."""
    for name in ("a.png", "b.jpg", "c"):
        pictures = read_image_file(written(tmp_path / name, GREY, format="png"), SHAPE)
        assert (pictures.images == GREY).all()
        assert pictures.images.dtype == np.float32
        assert pictures.steps == ()
        assert not pictures.is_series


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    """A smooth picture comes back nearly as it was."""
    smooth = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    images = read_image_file(written(tmp_path / "a.jpg", smooth, quality=95), SHAPE).images
    assert np.abs(images[0] - smooth).max() < 8


def test_colours_are_turned_to_grey(tmp_path: Path) -> None:
    """By the weights of BT.601, in a picture and in an array; a CMYK JPEG too."""
    colours = np.tile(RED.astype(np.uint8), (*SHAPE, 1))
    files = [
        written(tmp_path / "a.png", colours),
        saved(tmp_path / "b.npy", colours),
        saved(tmp_path / "c.npy", np.moveaxis(colours, -1, 0)[None]),
        saved(tmp_path / "d.npy", colours[None]),
    ]
    for file in files:
        pictures = read_image_file(file, SHAPE)
        np.testing.assert_allclose(pictures.images, np.full((1, *SHAPE), 59.8), atol=0.5)
        assert pictures.steps == ("converted to greyscale",)
    Image.new("CMYK", (5, 6), (0, 0, 0, 255)).save(tmp_path / "e.jpg")
    assert read_image_file(tmp_path / "e.jpg", SHAPE).images.max() < 10


def test_a_transparent_ground_is_white_unless_that_hides_the_drawing(tmp_path: Path) -> None:
    """A dark shape lies on white, a white one on black, half transparent pixels in between."""
    for shade, ground, edge in ((40, 255, 147.5), (255, 0, 127.5)):
        rgba = np.zeros((*SHAPE, 4), np.uint8)
        rgba[2:4, 1:3] = (shade, shade, shade, 255)
        rgba[4, 1] = (shade, shade, shade, 127)
        images = read_image_file(written(tmp_path / f"{shade}.png", rgba), SHAPE).images[0]
        assert images[0, 0] == ground
        np.testing.assert_allclose(images[2:4, 1:3], shade, atol=0.01)
        assert images[4, 1] == pytest.approx(edge, abs=1)


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path: Path) -> None:
    """Grey with full alpha is read as it is."""
    rgba = np.stack([GREY, GREY, GREY, np.full_like(GREY, 255)], axis=-1)
    assert (read_image_file(written(tmp_path / "a.png", rgba), SHAPE).images == GREY).all()


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    """65,535 is white, not cut off at 255."""
    deep = (GREY.astype(np.uint16)) * 257
    pictures = read_image_file(written(tmp_path / "a.png", deep), SHAPE)
    np.testing.assert_allclose(pictures.images[0], GREY, atol=1e-3)
    assert pictures.steps == ("16 bits scaled to 8",)


@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (3, 2), (1, 0), (0, 0)])
def test_a_photograph_is_turned_as_its_exif_says(
    orientation: int, turns: int, tmp_path: Path
) -> None:
    """By quarter turns against the clock, also where the size stays what it was."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pictures = read_image_file(written(tmp_path / "a.png", GREY, exif=exif), SHAPE)
    assert (pictures.images[0] == np.rot90(GREY, turns)).all()
    assert pictures.steps == (("turned by its EXIF orientation",) if turns else ())


def test_idx_files_are_series(tmp_path: Path) -> None:
    """Plain or compressed, whatever they are called."""
    for name in ("some-images", "images.gz"):
        write_idx(tmp_path / name, SERIES)
        pictures = read_image_file(tmp_path / name, SHAPE)
        assert (pictures.images == SERIES).all()
        assert pictures.is_series


@pytest.mark.parametrize(
    ("array", "expected", "is_series"),
    [
        (GREY, GREY[None], False),
        (SERIES, SERIES, True),
        (SERIES[:, None], SERIES, True),
        (SERIES[..., None], SERIES, True),
        (SERIES.reshape(4, 30), SERIES, True),
        (GREY.flatten(), GREY[None], False),
        (SERIES.astype(np.int64), SERIES, True),
        (SERIES.astype(np.float64), SERIES, True),
        (SERIES / 255, SERIES, True),
        (SERIES > 127, 255 * (SERIES > 127), True),
        ((SERIES > 127).astype(np.int32), 255 * (SERIES > 127), True),
        (np.zeros((2, *SHAPE)), np.zeros((2, *SHAPE)), True),
        (np.asfortranarray(SERIES), SERIES, True),
    ],
    ids=[
        "one", "many", "channel first", "channel last", "rows", "a row", "int64", "float64",
        "to 1", "bool", "0 and 1", "black", "fortran",
    ],
)  # fmt: skip
def test_arrays_of_every_form(
    array: NDArray[Any], expected: NDArray[Any], is_series: bool, tmp_path: Path
) -> None:
    """Whatever axes and numbers an .npy file has, the images are the same."""
    pictures = read_image_file(saved(tmp_path / "a.npy", array), SHAPE)
    assert pictures.images.shape == expected.shape
    np.testing.assert_allclose(pictures.images, expected, atol=1e-4)
    assert pictures.is_series == is_series


def test_three_columns_are_colours_only_where_the_data_set_has_none(tmp_path: Path) -> None:
    """[6, 5, 3] is a picture in colour; [4, 7, 3] four images where images are 7 × 3."""
    file = saved(tmp_path / "a.npy", np.zeros((6, 5, 3), np.uint8))
    assert read_image_file(file, SHAPE).images.shape == (1, 6, 5)
    file = saved(tmp_path / "b.npy", np.zeros((4, 7, 3), np.uint8))
    assert read_image_file(file, (7, 3)).images.shape == (4, 7, 3)


def test_channels_that_come_first_are_no_series(tmp_path: Path) -> None:
    """[3, H, W] is refused, unless images are H × W: then it is three of these."""
    for shape in ((3, 9, 8), (4, 9, 8)):
        file = saved(tmp_path / "a.npy", np.zeros(shape, np.uint8))
        with pytest.raises(DataError, match=r"a\.npy: \[\d, 9, 8\] may be an image in colour or"):
            read_image_file(file, SHAPE)
        for advised in (np.moveaxis(np.load(file), 0, -1), np.load(file)[..., None]):
            images = read_image_file(saved(tmp_path / "b.npy", advised), SHAPE).images
            assert images.shape == (1 if advised.shape[-1] > 1 else shape[0], 9, 8)
        assert read_image_file(file, shape[1:]).images.shape == shape
    for count in (1, 2, 5):
        file = saved(tmp_path / "c.npy", np.zeros((count, 9, 8), np.uint8))
        assert len(read_image_file(file, SHAPE).images) == count


def test_npz_files_hold_one_array_or_name_it(tmp_path: Path) -> None:
    """The only array, or the one called images; else an error that lists them."""
    np.savez(tmp_path / "one.npz", x=SERIES)
    np.savez_compressed(tmp_path / "named.npz", labels=np.arange(4), images=SERIES)
    for name in ("one.npz", "named.npz"):
        assert (read_image_file(tmp_path / name, SHAPE).images == SERIES).all()
    np.savez(tmp_path / "both.npz", x=SERIES, y=SERIES)
    with pytest.raises(DataError, match=r"both\.npz: must hold one array.*got x, y"):
        read_image_file(tmp_path / "both.npz", SHAPE)


class Explosive:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]  # a path is what it takes


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """An array of objects is refused, as .npy and in .npz, and its code not run."""
    objects = np.array([Explosive()], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=objects)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Explosive()))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(DataError, match=name):
            read_image_file(tmp_path / name, SHAPE)
    assert not Path("exploded").exists()


def png_of_size(width: int, height: int) -> bytes:
    """A small PNG file that speaks of many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def npy_of_shape(shape: tuple[int, ...]) -> bytes:
    """A small .npy file that speaks of many numbers."""
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(100)


def zip_of(content: bytes) -> bytes:
    """An .npz file with this as its only array."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    return file.getvalue()


def png_of(array: NDArray[Any]) -> bytes:
    """A PNG file's bytes."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="png")
    return file.getvalue()


def npy_of(array: NDArray[Any]) -> bytes:
    """An .npy file's bytes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"%PDF-1.7 and so on", "must be PNG, JPEG.*begins 25 50 44 46"),
        (b"GIF89a" + bytes(20), "must be PNG, JPEG"),
        (png_of(GREY)[:40], "damaged or cut short"),
        (png_of(NOISE)[:9000], "damaged or cut short"),
        (b"\xff\xd8\xff" + bytes(50), "damaged or cut short"),
        (png_of_size(20_000, 20_000), f"at most|1 to {MOST_PIXELS:,} pixels"),
        (png_of_size(9000, 9000), f"1 to {MOST_PIXELS:,} pixels, got 9000 × 9000"),
        (npy_of(np.full(SHAPE, np.nan)), "got NaN or infinity"),
        (npy_of(np.full(SHAPE, np.inf)), "got NaN or infinity"),
        (npy_of(np.full(SHAPE, -0.5)), "not normalised: got -0.5 to -0.5"),
        (npy_of(np.full(SHAPE, 300)), "0 to 255.*got 300 to 300"),
        (npy_of(np.full(SHAPE, "a")), "must hold numbers"),
        (npy_of(np.zeros(SHAPE, complex)), "must hold numbers"),
        (npy_of(np.zeros(7)), r"must be of shape.*got \[7\]"),
        (npy_of(np.zeros((1, 1, 1, *SHAPE))), r"must be of shape.*got \[1, 1, 1, 6, 5\]"),
        (npy_of(np.array(3)), r"must be of shape.*got \[\]"),
        (npy_of(np.zeros((0, *SHAPE))), "1 to.*pixels, got 0 × 6 × 5"),
        (npy_of(GREY)[:-3], "damaged or cut short"),
        (npy_of(GREY)[:9], "damaged or cut short"),
        (npy_of_shape((10**6, 10**6)), "damaged or cut short"),
        (zip_of(npy_of_shape((10**6, 10**6))), "damaged or cut short"),
        (zip_of(b"no array"), "must hold numbers, got an array of .S8"),
        (b"PK\x03\x04" + bytes(60), "damaged or cut short"),
        (b"\0\0\x08\x03" + bytes(3), "truncated"),
        (b"\0\0\x08\x01\0\0\0\x02\1\2", "must hold images"),
        (gzip.compress(b"no images", mtime=0), "no IDX file"),
        (gzip.compress(bytes(100), mtime=0)[:20], "truncated or corrupt"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    """One error that names the file, what is allowed and what came."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}: .*({reason})"):
        read_image_file(path, SHAPE)


def test_an_archive_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its entries unpack to is asked before they are."""
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((2, 100, 100), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 1000
    monkeypatch.setattr("fashion_mnist.data.images.MOST_PIXELS", 1000)
    with pytest.raises(
        DataError, match=r"a\.npz: must hold at most 1,000 pixels, got 20,128 bytes"
    ):
        read_image_file(tmp_path / "a.npz", SHAPE)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, and nothing at all."""
    with pytest.raises(DataError, match="is a folder"):
        read_image_file(tmp_path, SHAPE)
    with pytest.raises(DataError, match="there is no such file"):
        read_image_file(tmp_path / "absent.png", SHAPE)
