"""data/images.py: images of any size and background are preprocessed alike, in stated steps."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fashion_mnist.data.idx import DataError, write_idx
from fashion_mnist.data.images import preprocess_file

SHAPE = (28, 28)


def garment(seed: int = 0) -> NDArray[np.uint8]:
    """A light shape on black, 20 × 12 of 28 × 28, and smooth, so that it can be made larger."""
    rows, columns = np.mgrid[0:28, 0:28]
    inside = (abs(rows - 13.5) < 10) & (abs(columns - 13.5) < 6)
    shade: NDArray[np.float64] = 150 + 60 * np.sin(rows / 5 + seed) + 30 * np.cos(columns / 4)
    return np.where(inside, shade, 0).astype(np.uint8)


def written(path: Path, array: NDArray[np.uint8]) -> Path:
    """A picture file of an array."""
    Image.fromarray(array).save(path, quality=95)
    return path


def test_what_has_the_form_is_taken_as_it_is(tmp_path: Path) -> None:
    """An image of the data set's own, as PNG, .npy and IDX: its bytes, and words that say so."""
    images = np.stack([garment(seed) for seed in range(3)])
    np.save(tmp_path / "a.npy", images)
    write_idx(tmp_path / "b.gz", images)
    for name in ("a.npy", "b.gz"):
        taken = preprocess_file(tmp_path / name, SHAPE)
        assert [one.source for one in taken] == [f"{tmp_path / name}[{k}]" for k in range(3)]
        assert all((one.image == own).all() for one, own in zip(taken, images, strict=True))
        assert {one.description for one in taken} == {"unchanged"}
        assert taken[0].image.dtype == np.uint8
    (alone,) = preprocess_file(written(tmp_path / "c.png", images[0]), SHAPE)
    assert alone.source == str(tmp_path / "c.png")
    assert (alone.image == images[0]).all()


def test_a_light_background_is_inverted(tmp_path: Path) -> None:
    """Black on white becomes white on black, and the other way round nothing happens."""
    (taken,) = preprocess_file(written(tmp_path / "a.png", 255 - garment()), SHAPE)
    assert (taken.image == garment()).all()
    assert taken.description == "inverted: light background"


def test_the_border_decides_and_not_the_garment(tmp_path: Path) -> None:
    """Large and dark on white is inverted, large and light on black is not."""
    dark = np.full(SHAPE, 255, np.uint8)
    dark[2:26, 2:26] = 30
    assert dark.mean() < 127
    assert (preprocess_file(written(tmp_path / "a.png", dark), SHAPE)[0].image == 255 - dark).all()
    assert (
        preprocess_file(written(tmp_path / "b.png", 255 - dark), SHAPE)[0].image == 255 - dark
    ).all()


def test_the_user_may_decide_what_is_inverted(tmp_path: Path) -> None:
    """Always and never, whatever the border is."""
    light = written(tmp_path / "a.png", 255 - garment())
    dark = written(tmp_path / "b.png", garment())
    assert (preprocess_file(light, SHAPE, "never")[0].image == 255 - garment()).all()
    (taken,) = preprocess_file(dark, SHAPE, "always")
    assert (taken.image == 255 - garment()).all()
    assert taken.description == "inverted"


def test_images_of_a_file_are_inverted_together(tmp_path: Path) -> None:
    """One that fills its frame is not inverted where the others stand on black."""
    images = np.stack([garment(), np.full(SHAPE, 200, np.uint8), garment(), garment()])
    write_idx(tmp_path / "images", images)
    assert all(
        (one.image == own).all()
        for one, own in zip(preprocess_file(tmp_path / "images", SHAPE), images, strict=True)
    )


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("background", [255, 235])
def test_a_photograph_comes_to_the_form(suffix: str, background: int, tmp_path: Path) -> None:
    """Large, dark on a light ground and off the middle, it ends as the image that it was made of.

    The garment is as high as the frame then, as in Fashion-MNIST.
    """
    photograph = np.full((400, 300), background, np.uint8)
    shown = np.asarray(Image.fromarray(garment()[4:24, 8:20]).resize((120, 200)))
    photograph[150:350, 20:140] = background - shown.astype(int) * background // 255
    (taken,) = preprocess_file(written(tmp_path / f"a.{suffix}", photograph), SHAPE)
    tall = np.asarray(Image.fromarray(garment()[4:24, 8:20]).resize((17, 28)))
    expected = np.zeros(SHAPE, np.uint8)
    expected[:, 5:22] = tall
    difference = np.abs(taken.image.astype(int) - expected)
    assert difference.mean() < 4
    assert taken.image[:, :4].max() == 0
    assert "inverted: light background" in taken.steps
    assert "centred in 28 × 28" in taken.steps
    assert ("background of 20 of 255 made black" in taken.steps) == (background == 235)
    if suffix == "png":
        assert "cropped from 400 × 300 to 200 × 120" in taken.steps
        assert "resized to 28 × 17" in taken.steps


def test_a_wide_picture_gets_black_above_and_below(tmp_path: Path) -> None:
    """Its proportions stay."""
    wide = np.zeros((50, 200), np.uint8)
    wide[10:40, 20:180] = 180
    (taken,) = preprocess_file(written(tmp_path / "a.png", wide), SHAPE)
    lit = taken.image > 90
    assert lit.any(0).all()
    assert np.flatnonzero(lit.any(1)).tolist() == list(range(11, 16))


def test_a_small_picture_is_enlarged(tmp_path: Path) -> None:
    """Seven pixels fill twenty-eight; it is said."""
    (taken,) = preprocess_file(
        written(tmp_path / "a.png", np.eye(7, dtype=np.uint8) * 255), SHAPE, "never"
    )
    assert taken.image.shape == SHAPE
    assert taken.steps == ("resized to 28 × 28",)


def test_the_form_need_not_be_square(tmp_path: Path) -> None:
    """A network for 6 × 5 pixels gets these."""
    (taken,) = preprocess_file(written(tmp_path / "a.png", garment()), (6, 5))
    assert taken.image.shape == (6, 5)


@pytest.mark.parametrize("size", [28, 50])
@pytest.mark.parametrize("shade", [0, 90, 255])
def test_a_picture_of_one_colour_is_black_and_said_to_be_empty(
    size: int, shade: int, tmp_path: Path
) -> None:
    """Whatever the colour and the size."""
    blank = np.full((size, size), shade, np.uint8)
    (taken,) = preprocess_file(written(tmp_path / "a.png", blank), SHAPE)
    assert taken.steps[-1] == "empty: of one colour"
    assert np.ptp(taken.image) == 0


def test_thin_pictures_break_nothing(tmp_path: Path) -> None:
    """One pixel wide, a thousand high."""
    thin = np.zeros((1000, 3), np.uint8)
    thin[5:995, 1] = 255
    (taken,) = preprocess_file(written(tmp_path / "a.png", thin), SHAPE)
    assert taken.image.any(1).all()
    assert taken.image.any(0).sum() == 1


def test_errors_name_the_file(tmp_path: Path) -> None:
    """As `read_image_file` raises them."""
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: must be PNG, JPEG"):
        preprocess_file(tmp_path / "text.png", SHAPE)
