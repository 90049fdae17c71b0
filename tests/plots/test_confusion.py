"""Confusion matrices say what they are given, whole and legibly."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from fashion_mnist.plots.confusion import (
    confusion_colors,
    confusion_figure,
    difference_colors,
    difference_figure,
)
from fashion_mnist.plots.png import write_png
from tests.plots.drawn import (
    GARMENTS,
    HOSTILE,
    Build,
    Written,
    assert_legible,
    confused,
    contrast,
    upright,
)

NAMES = ("A", "B")
SHARE = re.compile("[0-9]+%")


def difference(num_classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts of two networks on the same images: some cells equal, some far apart."""
    first = confused(num_classes)
    return first, np.where(first % 3 == 0, first, np.roll(first, 1, axis=1))


def numbers_by_cell(texts: list[Written], names: list[str]) -> NDArray[np.int64]:
    """The numbers that were written, each in the row of a class' name and in its own column."""
    rows = [text.middle[1] for text in texts if text.text in names]
    numbers = [text for text in texts if text.text[0] in "+−0123456789" and text.text[-1] != "%"]
    assert rows == sorted(rows)
    assert len(rows) == len(names)
    centers = sorted({round(text.middle[0]) for text in numbers})
    left, right = centers[0], centers[-1]
    found = np.zeros((len(names), len(names)), dtype=np.int64)
    for text in numbers:
        x, y = text.middle
        row = np.abs(np.array(rows) - y).argmin()
        column = round((x - left) / (right - left) * (len(names) - 1))
        found[row, column] += int(text.text.replace("−", "-"))
    return found


@pytest.mark.parametrize("num_classes", [2, 10, 47])
def test_every_count_stands_in_its_row_and_column(num_classes: int, written: list[Written]) -> None:
    """Each count but zero is written at its true class's height and predicted class's place."""
    counts = confused(num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    picture = confusion_figure(counts, names, "Test")
    assert (numbers_by_cell(upright(written, picture), names) == counts).all()


@pytest.mark.parametrize("num_classes", [2, 10, 47])
def test_every_change_stands_in_its_row_and_column(
    num_classes: int, written: list[Written]
) -> None:
    """With its sign, second − first; where nothing changed nothing is written."""
    first, second = difference(num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    picture = difference_figure(first, second, names, NAMES)
    texts = upright(written, picture)
    assert (numbers_by_cell(texts, names) == second - first).all()
    assert not [text for text in texts if text.text in ("+0", "0")]


@pytest.mark.parametrize("index", [0, 4, 9])
def test_a_name_stands_beside_its_row_and_below_its_column(index: int) -> None:
    """Another name for one class changes pixels there alone."""
    counts, names = np.diag([1] * 10), ["name"] * 10
    before = np.asarray(confusion_figure(counts, names, "Test"))
    names[index] = "nome"
    after = np.asarray(confusion_figure(counts, names, "Test"))
    rows, columns = np.nonzero((before != after).any(axis=-1))
    left, top, cell = before.shape[1] - 16 - 740, 96, 74
    is_beside, is_below = rows < top + 740, rows >= top + 740
    assert (columns[is_beside] < left).all()
    assert {*(rows[is_beside] - top) // cell} == {index}
    # a name turned by 45° ends below the middle of its column
    assert left + cell * (index - 0.5) < columns[is_below].max() < left + cell * (index + 1)


def test_shares_are_of_the_true_class(written: list[Written]) -> None:
    """Each count of 1 % or more has its share of the row below it; small cells have none."""
    expected = ["99%", "30%", "60%", "10%"]
    confusion_figure([[199, 1, 0], [30, 60, 10], [0, 0, 0]], ["a", "b", "c"], "Test")
    assert [text.text for text in written if SHARE.fullmatch(text.text)] == expected
    written.clear()
    confusion_figure(confused(47), [f"class {n}" for n in range(47)], "Test")
    assert not [text for text in written if SHARE.fullmatch(text.text)]


def test_no_share_is_whole_beside_a_mistake(written: list[Written]) -> None:
    """996 of 1,000 are 99 %, whatever they round to."""
    confusion_figure([[996, 4], [0, 10]], NAMES, "Test")
    assert [text.text for text in written if SHARE.fullmatch(text.text)] == ["99%", "100%"]


def test_counts_are_legible_at_the_size_of_a_chart(written: list[Written]) -> None:
    """Ten classes at 450 pixels width: counts and names are 8 pixels high at least."""
    picture = confusion_figure(confused(10), GARMENTS, "Test")
    sizes = [text.size for text in written if text.text.isdigit() or text.text in GARMENTS]
    assert len(sizes) > 60
    assert min(sizes) * 450 / picture.width >= 8


def test_counts_stand_out_from_every_colour(written: list[Written]) -> None:
    """The contrast of a count to its cell is 4.5 or more, from one in a thousand to all."""
    wrong = np.unique(np.geomspace(1, 999, 40).astype(np.int64))
    counts = np.diag(1000 - wrong) + np.roll(np.diag(wrong), 1, axis=1)
    colors = confusion_colors(counts)
    confusion_figure(counts, [f"class {index}" for index in range(len(wrong))], "Test")
    inks = [ImageColor.getrgb(text.color) for text in written if text.text.isdigit()]
    cells = colors[counts > 0]
    assert len(inks) == len(cells) == 2 * len(wrong)
    for ink, cell in zip(inks, cells, strict=True):
        assert contrast(np.array(ink) / 255, cell) >= 4.5, cell


def test_mistakes_outshine_the_diagonal() -> None:
    """One mistake in ten is farther from the empty cells' grey than nine right answers in ten."""
    counts = np.array([[90, 10, 0], [0, 90, 10], [0, 0, 100]])
    colors = confusion_colors(counts)
    distance = np.abs(colors - colors[0, 2]).sum(axis=-1)
    assert distance[0, 1] > distance[0, 0]
    assert distance[0, 1] > distance[2, 2]


def test_colours_compare_between_pictures() -> None:
    """A colour depends on the share of its row alone, and grows darker with it."""
    good = confusion_colors(np.array([[95, 5], [0, 100]]))
    bad = confusion_colors(np.array([[190, 10], [120, 80]]))
    assert (good[0] == bad[0]).all()
    shares = [confusion_colors(np.array([[1000 - n, n], [0, 1]])) for n in (1, 10, 50, 120, 240)]
    assert (np.diff([colors[0, 1].sum() for colors in shares]) < 0).all()


def test_cells_are_painted_in_their_colours() -> None:
    """In the picture each cell's corner has its colour, and a white line is between cells."""
    counts = confused(4)
    picture = np.asarray(confusion_figure(counts, ["a", "b", "c", "d"], "Test"))
    left, top, cell = picture.shape[1] - 16 - 740, 96, 185
    painted = picture[top + 6 : top + 740 : cell, left + 6 : left + 740 : cell]
    np.testing.assert_allclose(painted, 255 * confusion_colors(counts), atol=1)
    assert (picture[top + cell, left + 6 : left + 179] == 255).all()


def test_transposed_counts_give_another_picture() -> None:
    """True and predicted are not interchangeable; the same counts give the same pixels."""
    counts = np.array([[90, 10], [30, 70]])
    first, transposed, again = (
        confusion_figure(each, ["Coat", "Shirt"], "Test") for each in (counts, counts.T, counts)
    )
    assert first != transposed
    assert first == again


def test_title_says_the_accuracy_and_the_commonest_mistakes(written: list[Written]) -> None:
    """Accuracy over all examples, and the three most frequent mistakes from true to predicted."""
    counts = [[90, 7, 3], [12, 80, 0], [0, 8, 100]]
    confusion_figure(counts, ["Bag", "Coat", "Shirt"], "Validation")
    words = [text.text for text in written]
    assert words[0] == "Validation: accuracy 90.00%"
    assert words[1] == "Most confused: Coat → Bag (12), Shirt → Coat (8), Bag → Coat (7)"
    confusion_figure(np.diag([3, 4]), ["a", "b"], "Test")
    assert "No mistakes" in [text.text for text in written]


def test_better_is_blue_and_worse_is_orange() -> None:
    """More on the diagonal and fewer beside it are better; the same is grey, less is paler."""
    change = np.array([[9, -9, 0], [3, -3, 0], [1, -1, 0]])
    colors = difference_colors(change)
    blueness = colors[..., 2] - colors[..., 0]
    assert blueness[0, 0] == blueness[0, 1] > blueness[2, 1] > 0
    assert blueness[1, 0] == blueness[1, 1] < blueness[2, 0] < 0
    assert (colors[:, 2] == colors[0, 2]).all()
    assert blueness[0, 2] == 0


def test_exchanged_networks_exchange_the_colours() -> None:
    """Whichever comes first, the same cells are coloured, the other way round."""
    first, second = difference(4)
    one, other = difference_colors(second - first), difference_colors(first - second)
    assert ((one[..., 2] > one[..., 0]) == (other[..., 2] < other[..., 0])).all()


def test_changes_stand_out_from_every_colour() -> None:
    """The contrast of a number to its cell is 4.5 or more, from one image to hundreds."""
    steps = np.unique(np.geomspace(1, 400, 30).astype(np.int64))
    change = np.diag(steps) - np.roll(np.diag(steps[::-1]), 1, axis=1)
    colors = difference_colors(change)
    assert all(
        max(contrast(colors[cell], (0, 0, 0)), contrast(colors[cell], (1, 1, 1))) >= 4.5
        for cell in zip(*np.nonzero(change), strict=True)
    )


def test_the_heading_says_which_mistakes_changed_most(written: list[Written]) -> None:
    """Fewer of one kind, more of another; or that they are the same."""
    first, second = [[10, 8], [1, 10]], [[15, 3], [3, 8]]
    difference_figure(first, second, ["Coat", "Bag"], NAMES)
    words = [text.text for text in written]
    assert words[0] == "B − A: blue where B is better"
    assert words[1] == "fewer of Coat → Bag (5); more of Bag → Coat (2)"
    difference_figure(first, first, ["a", "b"], NAMES)
    assert "the same mistakes" in [text.text for text in written]


@pytest.mark.parametrize(
    "build",
    [
        lambda: confusion_figure(confused(10), GARMENTS, "Test"),
        lambda: confusion_figure(confused(8) * 1000, HOSTILE, "A long title " * 200),
        lambda: confusion_figure(confused(47), [f"class {n}" for n in range(47)], "Test"),
        lambda: confusion_figure(np.zeros((2, 2)), ["cat", "dog"], "Test"),
        lambda: confusion_figure([[9]], ["a"], "Test"),
        lambda: difference_figure(*difference(10), GARMENTS, NAMES),
        lambda: difference_figure(1000 * confused(8), np.eye(8), HOSTILE, NAMES),
        lambda: difference_figure(*difference(2), ["a", "b"], NAMES),
    ],
    ids=["garments", "hostile", "many", "empty", "one", "change", "hostile change", "two"],
)
def test_no_text_is_cut_or_overwritten(build: Build, written: list[Written]) -> None:
    """Whatever the names and the numbers; the picture is no poster."""
    picture = build()
    assert_legible(written, picture)
    assert 700 <= picture.width <= 1800
    assert 700 <= picture.height <= 1800


def test_a_picture_that_is_cut_short_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """Where a file cannot grow to its size, the earlier picture stays and nothing lies beside."""
    resource = pytest.importorskip("resource", reason="Windows cannot limit a file's size")
    path = tmp_path / "confusion.png"
    path.write_bytes(b"the earlier picture")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
            write_png(confusion_figure([[1, 0], [0, 1]], ["a", "b"], "Test"), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the earlier picture"


def test_the_pictures_of_a_sweeps_member_need_no_matplotlib(tmp_path: Path) -> None:
    """It takes a second to import, which each worker would pay."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from fashion_mnist.plots.confusion import confusion_figure\n"
        "from fashion_mnist.plots.image_grid import mistakes_figure, samples_figure\n"
        "from fashion_mnist.plots.png import write_png\n"
        "images, labels = np.zeros((2, 4, 4), dtype=np.uint8), [0, 1]\n"
        "for number, picture in enumerate([\n"
        "    confusion_figure([[1, 2], [0, 4]], ['Bag', 'Âgÿ'], 'Test'),\n"
        "    mistakes_figure(images, labels, [[0, 1], [0, 1]], ['Bag', 'Âgÿ']),\n"
        "    samples_figure(images, labels, ['Bag', 'Âgÿ']),\n"
        "]):\n"
        "    write_png(picture, Path(sys.argv[1]) / f'{number}.png')\n"
        "assert not {'matplotlib', 'torch', 'fontTools'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            picture.load()
    assert len(list(tmp_path.iterdir())) == 3
