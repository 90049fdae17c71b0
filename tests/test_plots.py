"""The figures say what they are given, whole and legibly, and are written whole or not at all."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image as Pictures

from fashion_mnist import plots
from fashion_mnist.canvas import BLUE, INK, VERMILION, Canvas, Image, Line, Text, draw, text_width

GARMENTS = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
LONG_NAMES = ["An ankle boot with a remarkably high heel", "b", r"$\no formula$", "Âgÿ"]


def confused(num_classes: int) -> npt.NDArray[np.int64]:
    """Counts `[C, C]` with a strong diagonal, mistakes of every size, and empty cells."""
    generator = np.random.default_rng(0)
    counts = generator.geometric(0.05, (num_classes, num_classes)) - 10
    return np.maximum(counts, 0) + np.diag(np.arange(700, 700 + num_classes))


def words_of(figure: Canvas) -> list[str]:
    """What the figure's texts say."""
    return [text.words for text in figure.texts]


def corners_of(text: Text) -> npt.NDArray[np.float64]:
    """Where the corners of a text are: `[4, 2]`, points from the top left."""
    width, angle = text_width(text.words, text.size), np.radians(text.angle)
    along = np.array([np.cos(angle), -np.sin(angle)])
    up = np.array([-np.sin(angle), -np.cos(angle)])
    lengths, heights = np.array([0, 1]) - text.anchor, (-0.6, 0.6)  # of letters like g and Â
    ends = [width * length * along + text.size * h * up for length in lengths for h in heights]
    return np.array(ends) + (text.x, text.y)  # noqa: RUF005 - a sum


def assert_no_text_is_cut(figure: Canvas) -> None:
    """Every text lies inside the picture, whose outermost pixels are white as drawn."""
    for text in figure.texts:
        corners = corners_of(text)
        assert (corners >= 0).all(), text
        assert (corners <= (figure.width, figure.height)).all(), text
    pixels = np.asarray(draw(figure))
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 255


def curves_of(figure: Canvas) -> list[Line]:
    """The lines that are neither grid nor a legend's sample."""
    return [line for line in figure.lines if line.dots]


def contrast(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Contrast of two RGB colours by WCAG 2.2, from 1 to 21."""
    colors = np.array([first, second])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    dark, light = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))


def pixels_of(path: Path) -> npt.NDArray[np.uint8]:
    """RGB `[H, W, 3]` of a PNG file, read to its last byte."""
    with Pictures.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def random_images(num_images: int) -> npt.NDArray[np.uint8]:
    """Images `[N, 28, 28]`, no two alike."""
    return np.random.default_rng(1).integers(0, 256, (num_images, 28, 28), dtype=np.uint8)


def test_every_figure_becomes_a_png_of_sensible_size(tmp_path: Path) -> None:
    """Each plot function writes one readable PNG, wide enough to read and not a poster."""
    images, labels = random_images(40), np.arange(40) % 10
    probabilities = np.full((40, 10), 0.05)
    probabilities[:, 3] = 0.55
    history = [{"epoch": 1, "train/loss": 0.5, "train/accuracy": 0.8, "lr": 0.001}]
    plots.plot_confusion_matrix(confused(10), GARMENTS, tmp_path / "confusion.png", "Test")
    plots.plot_curves(history, tmp_path / "curves.png", "run")
    plots.plot_samples(images, labels, GARMENTS, tmp_path / "samples.png")
    plots.plot_mistakes(images, labels, probabilities, GARMENTS, tmp_path / "mistakes.png")
    files = sorted(tmp_path.iterdir())
    assert [file.stem for file in files] == ["confusion", "curves", "mistakes", "samples"]
    for file in files:
        height, width, _ = pixels_of(file).shape
        assert 800 <= width <= 1800, file
        assert 300 <= height <= 1800, file


def test_a_picture_that_is_cut_short_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    """Where a file cannot grow to its size, the earlier picture stays and nothing lies beside."""
    resource = pytest.importorskip("resource", reason="Windows cannot limit a file's size")
    path = tmp_path / "confusion.png"
    path.write_bytes(b"the earlier picture")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
            plots.plot_confusion_matrix([[1, 0], [0, 1]], ["a", "b"], path, "Test")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the earlier picture"


def test_transposed_counts_give_another_picture(tmp_path: Path) -> None:
    """True and predicted are not interchangeable; the same counts give the same pixels."""
    counts = np.array([[90, 10], [30, 70]])
    pictures = []
    for name, each in (("a.png", counts), ("b.png", counts.T), ("c.png", counts)):
        plots.plot_confusion_matrix(each, ["Coat", "Shirt"], tmp_path / name, "Test")
        pictures.append(pixels_of(tmp_path / name))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] == pictures[2]).all()


@pytest.mark.parametrize("num_classes", [2, 10, 47])
def test_every_count_stands_in_its_row_and_column(num_classes: int) -> None:
    """Each count but zero is written at its true class's height and predicted class's place."""
    counts = confused(num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    texts = plots.confusion_figure(counts, names, "Test").texts
    labels = [text for text in texts if text.words in names]
    rows = [text.y for text in labels if text.angle == 0]
    columns = [text.x for text in labels if text.angle == 45]
    assert len(rows) == len(columns) == num_classes
    assert rows == sorted(rows)
    assert columns == sorted(columns)
    found = np.zeros_like(counts)
    for text in texts:
        if text.words.isdigit():
            row = np.abs(np.array(rows) - text.y).argmin()
            column = np.abs(np.array(columns) - text.x).argmin()
            found[row, column] += int(text.words)
    assert (found == counts).all()


def test_counts_are_legible_at_the_size_of_a_chart() -> None:
    """Ten classes at 450 pixels width: counts and names are 8 pixels high at least."""
    figure = plots.confusion_figure(confused(10), GARMENTS, "Test")
    pixels_per_point = 450 / figure.width
    for text in figure.texts:
        if text.words.isdigit() or text.words in GARMENTS:
            assert text.size * pixels_per_point >= 8, text


def test_counts_stand_out_from_every_colour() -> None:
    """The contrast of a count to its cell is 4.5 or more, from one in a thousand to all."""
    wrong = np.unique(np.geomspace(1, 999, 40).astype(np.int64))
    counts = np.diag(1000 - wrong) + np.roll(np.diag(wrong), 1, axis=1)
    colors = plots.confusion_colors(counts)
    names = [f"class {index}" for index in range(len(wrong))]
    inks = [
        to_rgb(text.color)
        for text in plots.confusion_figure(counts, names, "Test").texts
        if text.words.isdigit()
    ]
    cells = colors[counts > 0]
    assert len(inks) == len(cells) == 2 * len(wrong)
    for ink, cell in zip(inks, cells, strict=True):
        assert contrast(ink, cell) >= 4.5, cell


def test_mistakes_outshine_the_diagonal() -> None:
    """One mistake in ten is farther from the empty cells' grey than nine right answers in ten."""
    counts = np.array([[90, 10, 0], [0, 90, 10], [0, 0, 100]])
    colors = plots.confusion_colors(counts)
    distance = np.abs(colors - colors[0, 2]).sum(axis=-1)
    assert distance[0, 1] > distance[0, 0]
    assert distance[0, 1] > distance[2, 2]


def test_colours_compare_between_pictures() -> None:
    """A colour depends on the share of its row alone, and grows darker with it."""
    good = plots.confusion_colors(np.array([[95, 5], [0, 100]]))
    bad = plots.confusion_colors(np.array([[190, 10], [120, 80]]))
    assert (good[0] == bad[0]).all()
    shares = [
        plots.confusion_colors(np.array([[1000 - n, n], [0, 1]])) for n in (1, 10, 50, 120, 240)
    ]
    assert (np.diff([colors[0, 1].sum() for colors in shares]) < 0).all()


def test_cells_are_painted_in_their_colours() -> None:
    """In the drawn picture each cell's corner has its colour; a sheet of greys alone is grey."""
    counts = confused(3)
    figure = plots.confusion_figure(counts, ["a", "b", "c"], "Test")
    dots = np.asarray(draw(figure))
    painted = [dots[round(2 * box.top) + 6, round(2 * box.left) + 6] for box in figure.boxes]
    expected = 255 * plots.confusion_colors(counts).reshape(-1, 3)
    np.testing.assert_allclose(painted, expected, atol=1)
    assert draw(plots.samples_figure(random_images(1), [0], ["a"])).mode == "L"


def test_title_says_the_accuracy_and_the_commonest_mistakes() -> None:
    """Accuracy over all examples, and the three most frequent mistakes from true to predicted."""
    counts = [[90, 7, 3], [12, 80, 0], [0, 8, 100]]
    words = words_of(plots.confusion_figure(counts, ["Bag", "Coat", "Shirt"], "Validation"))
    assert "Validation: accuracy 90.00%" in words
    assert "Most confused: Coat → Bag (12), Shirt → Coat (8), Bag → Coat (7)" in words
    assert "No mistakes" in words_of(plots.confusion_figure(np.diag([3, 4]), ["a", "b"], "Test"))


@pytest.mark.parametrize(
    "build",
    [
        lambda: plots.confusion_figure(confused(10), GARMENTS, "Test"),
        lambda: plots.confusion_figure(confused(4) * 1000, LONG_NAMES, "A long title " * 20),
        lambda: plots.confusion_figure(confused(47), [f"class {n}" for n in range(47)], "Test"),
        lambda: plots.confusion_figure(np.zeros((2, 2)), ["cat", "dog"], "Test"),
        lambda: plots.samples_figure(random_images(3), [0, 1, 2], LONG_NAMES),
        lambda: plots.mistakes_figure(
            random_images(3), [0, 0, 0], np.eye(4)[[1, 2, 3]], LONG_NAMES
        ),
        lambda: plots.mistakes_figure(
            random_images(3), [0, 0, 0], np.eye(4)[[0, 0, 0]], LONG_NAMES
        ),
        lambda: plots.curves_figure(
            [
                {"epoch": n, "train/loss": 9e-5, "train/accuracy": 0.1, "lr": 1.25e-5}
                for n in (1, 2)
            ],
            "A long title " * 20,
        ),
    ],
    ids=["garments", "long", "many", "empty", "samples", "mistakes", "no mistakes", "curves"],
)
def test_no_text_is_cut(build: Callable[[], Canvas]) -> None:
    """Whatever the words and the numbers."""
    assert_no_text_is_cut(build())


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0])
@pytest.mark.parametrize("anchor", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("words", ["T-shirt/top", "1,234", "Coat 10%"])
def test_text_is_drawn_where_it_says(words: str, anchor: float, angle: float) -> None:
    """The ink of a text fills its width and stays between its corners, at any anchor and angle."""
    text = Text(100, 90, words, 12, "black", anchor, angle)
    rows, columns = np.nonzero(np.asarray(draw(Canvas(200, 180, texts=[text]))) < 128)
    ink = np.array([columns, rows]).T / 2 - (100, 90)
    corners = corners_of(text) - (100, 90)
    assert (ink >= corners.min(axis=0) - 1).all()
    assert (ink <= corners.max(axis=0) + 1).all()
    along = ink @ (np.cos(np.radians(angle)), -np.sin(np.radians(angle)))
    assert np.ptp(along) == pytest.approx(text_width(words, 12), abs=3)


def test_image_is_drawn_where_it_says() -> None:
    """Each pixel is a square of its shade on its place, negated, and not mirrored."""
    image = np.array([[0, 255, 40], [80, 120, 200]], dtype=np.uint8)
    canvas = Canvas(20, 10, images=[Image(5, 2, 17, 10, image)])
    dots = np.asarray(draw(canvas))
    assert dots.shape == (20, 40)
    assert (dots[4:20, 10:34] == 255 - image.repeat(8, axis=0).repeat(8, axis=1)).all()
    assert (np.delete(dots, np.s_[10:34], axis=1) == 255).all()
    assert (dots[:4] == 255).all()


HISTORY: list[dict[str, float]] = [
    {"epoch": 1, "train/loss": 0.9, "train/accuracy": 0.6, "val/loss": 0.8,
     "val/accuracy": 0.7, "val/f1_macro": 0.65, "lr": 0.1},
    {"epoch": 2, "train/loss": float("nan"), "train/accuracy": 0.7, "val/loss": 0.5,
     "val/accuracy": 0.8125, "val/f1_macro": 0.75, "lr": 0.05},
]  # fmt: skip
KEYS = ["train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/f1_macro", "lr"]


def test_curves_show_the_history() -> None:
    """Each key of the history is one line, whose values can be read off its panel's axes."""
    figure = plots.curves_figure(HISTORY, "quiet-owl")
    curves = curves_of(figure)
    assert [line.color for line in curves] == [BLUE, VERMILION, BLUE, VERMILION, VERMILION, INK]
    assert [line.is_dotted for line in curves] == [False, False, False, False, True, False]
    ticks = [text for text in figure.texts if text.words.replace(".", "").isdigit()]
    for panel, names in enumerate((KEYS[:2], KEYS[2:5], KEYS[5:])):
        left = 40 + 230 * panel
        near = [tick for tick in ticks if left - 40 < tick.x < left + 190]
        values = np.array([(float(tick.words), tick.y) for tick in near if tick.x < left])
        epochs = np.array([(float(tick.words), tick.x) for tick in near if tick.x > left])
        slope, start = np.polyfit(values[:, 1], values[:, 0], 1)
        assert (epochs[:, 0] == (1, 2)).all()
        for key in names:
            line = curves[KEYS.index(key)]
            np.testing.assert_allclose(line.points[:, 0], epochs[:, 1])
            np.testing.assert_allclose(
                slope * line.points[:, 1] + start, [row[key] for row in HISTORY], atol=1e-9
            )
    expected = {"quiet-owl", "loss", "accuracy", "learning rate", "validation 0.8125", "train nan"}
    assert expected <= {*words_of(figure)}


def test_a_gap_interrupts_its_curve() -> None:
    """A line is drawn up to a NaN and after it, and not across."""
    points = np.array([(5.0, 10.0), (15, 10), (20, np.nan), (25, 10), (35, 10)])
    dots = np.asarray(draw(Canvas(40, 20, lines=[Line(points, "black", 2)])))
    middle = dots[20]
    assert (middle[11:29] == 0).all()
    assert (middle[32:49] == 255).all()
    assert (middle[51:69] == 0).all()


def test_curves_without_validation_or_epochs() -> None:
    """A run without validation has its training curves alone; no epoch at all is no error."""
    history = [{"epoch": 1, "train/loss": 0.9, "train/accuracy": 0.6, "lr": 0.1}]
    figure = plots.curves_figure(history, "run")
    assert [line.color for line in curves_of(figure)] == [BLUE, BLUE, INK]
    assert not [words for words in words_of(figure) if words.startswith("validation")]
    draw(figure)
    draw(plots.curves_figure([], "run"))


def test_samples_are_of_their_rows_class() -> None:
    """Row by row, the first examples of each class and no others; an absent class is named."""
    images, labels = random_images(7), np.array([1, 0, 1, 1, 0, 1, 0])
    figure = plots.samples_figure(images, labels, ["bag", "coat", "absent"], per_class=3)
    mosaic = figure.images[0].pixels
    tiles = mosaic.reshape(3, 30, 3, 30).transpose(0, 2, 1, 3)[:, :, 1:-1, 1:-1]
    assert (tiles[0] == images[[1, 4, 6]]).all()
    assert (tiles[1] == images[[0, 2, 3]]).all()
    assert (tiles[2] == 0).all()
    assert words_of(figure) == ["bag", "coat", "absent"]


def test_mistakes_come_in_falling_order_of_confidence() -> None:
    """Wrong images alone, the surest first and no more than the limit, each with its caption."""
    images = random_images(4)
    probabilities = [[0.1, 0.9], [0.6, 0.4], [0.97, 0.03], [0.2, 0.8]]
    labels = [0, 1, 0, 0]  # wrong, wrong, right, wrong
    figure = plots.mistakes_figure(images, labels, probabilities, ["Bag", "Coat"], limit=2)
    shown = [image.pixels for image in figure.images]
    np.testing.assert_array_equal(shown, images[[0, 3]])
    words = words_of(figure)
    assert words[0] == "The 2 most confident of 3 mistakes"
    assert words[1].startswith("of 4 images")
    assert words[2:] == ["Bag", "→ Coat", "90.0%", "Bag", "→ Coat", "80.0%"]


def test_no_mistakes_are_said_to_be_none(tmp_path: Path) -> None:
    """A perfect run has a picture that says so."""
    arguments = random_images(2), np.array([0, 1]), np.eye(2), ["Bag", "Coat"]
    assert words_of(plots.mistakes_figure(*arguments))[0] == "No mistakes"
    plots.plot_mistakes(*arguments, tmp_path / "mistakes.png")
    assert pixels_of(tmp_path / "mistakes.png").min() < 100


def test_drawing_imports_little_of_matplotlib_and_importing_nothing(
    tmp_path: Path,
) -> None:
    """What costs a second to import is imported late, or never."""
    program = (
        "import sys; from pathlib import Path; from fashion_mnist import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.plot_confusion_matrix([[1, 2], [0, 4]], ['a', 'b'], Path(sys.argv[1]), 'Test')\n"
        "slow = {'matplotlib.pyplot', 'matplotlib.figure', 'torch'}\n"
        "assert not slow & set(sys.modules)\n"
    )
    path = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=120)
    assert path.exists()
