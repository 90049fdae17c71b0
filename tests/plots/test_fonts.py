"""Pictures look the same and are whole whatever the letters, the fonts and the user's settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fashion_mnist.plots.drawing import one_line, shortened, text_width
from fashion_mnist.plots.fonts import font_parts

# writes a picture of Pillow's and one of matplotlib's; prints what is logged
DRAW = """
import hashlib, logging, sys
from pathlib import Path
from fashion_mnist.plots.confusion import confusion_figure
from fashion_mnist.plots.png import png_bytes
from fashion_mnist.plots.run_charts import curves_figure
logging.basicConfig(format="%(message)s", stream=sys.stdout)
names = sys.argv[1:]
row = {"epoch": 1, "train/loss": 0.5, "train/accuracy": 0.8, "lr": 0.001}
for _ in range(2):
    pictures = confusion_figure([[9, 1], [2, 8]], names, "Test"), curves_figure([row], names[0])
    for picture in pictures:
        print(hashlib.sha256(png_bytes(picture)).hexdigest())
"""
# before it: of the machine's fonts those of matplotlib alone, and one with a glyph for a letter
ONLY_DEJAVU = """
from matplotlib import font_manager
fonts = font_manager.fontManager
fonts.ttflist = [font for font in fonts.ttflist if font.name.startswith("DejaVu")]
"""
ADD_FONT = """
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
pen = TTGlyphPen(None)
for place, corner in enumerate([(0, 0), (0, 700), (900, 700)]):
    (pen.lineTo if place else pen.moveTo)(corner)
pen.closePath()
builder = FontBuilder(1000, isTTF=True)
builder.setupGlyphOrder([".notdef", "letter"])
builder.setupCharacterMap({ord("漢"): "letter"})
builder.setupGlyf({".notdef": pen.glyph(), "letter": pen.glyph()})
builder.setupHorizontalMetrics({".notdef": (1000, 0), "letter": (1000, 0)})
builder.setupHorizontalHeader(ascent=800, descent=-200)
builder.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
builder.setupOS2(usWeightClass=400)
builder.setupPost()
builder.save("one.ttf")
fonts.addfont("one.ttf")
"""


def drawn(
    names: tuple[str, str] = ("Bag", "Coat"), before: str = "", **variables: str
) -> tuple[list[str], str]:
    """What a process that draws twice prints: digests of the pictures, and the log; its errors."""
    program = [sys.executable, "-c", before + DRAW, *names]
    environment = {**os.environ, **variables}
    done = subprocess.run(
        program, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    digests = [line for line in lines if len(line) == 64]
    assert digests[:2] == digests[2:]
    return digests[:2], "\n".join(line for line in lines if line not in digests) + done.stderr


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """The pictures as they are drawn without settings of the user's."""
    digests, log = drawn(MPLBACKEND="")
    assert log == ""
    return digests


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "gone", "tkagg"])
def test_an_inherited_backend_does_not_matter(backend: str, usual: list[str]) -> None:
    """Programs that a notebook starts have the notebook's, whether it can be imported or not."""
    assert drawn(MPLBACKEND=backend) == (usual, "")


def test_a_configuration_folder_that_cannot_be_written_does_not_matter(
    tmp_path: Path, usual: list[str]
) -> None:
    """Nor does it fill the log."""
    (tmp_path / "file").touch()
    assert drawn(MPLCONFIGDIR=str(tmp_path / "file" / "below")) == (usual, "")


def test_settings_of_the_user_do_not_matter(tmp_path: Path, usual: list[str]) -> None:
    """A matplotlibrc beside, with a style that would change or break all charts."""
    lines = [
        *("axes.facecolor: black", "font.family: cursive", "text.usetex: True", "figure.dpi: 30"),
        *("savefig.bbox: tight", "savefig.dpi: 20", "lines.linewidth: 9", "no.such.key: 1"),
        *("axes.spines.top: True", "figure.constrained_layout.use: True", "savefig.format: pdf"),
    ]
    (tmp_path / "matplotlibrc").write_text("\n".join(lines))
    digests, _ = drawn()
    assert digests == usual


def test_settings_of_the_user_are_left_alone() -> None:
    """A notebook's own charts look as before after ours were drawn."""
    before = "import matplotlib; matplotlib.rcParams['axes.facecolor'] = 'black'\n"
    after = "\nassert matplotlib.rcParams['axes.facecolor'] == 'black'"
    after += "\nassert not matplotlib.rcParams['axes.spines.top'] is False"
    program = f"{before}{DRAW}{after}"
    subprocess.run([sys.executable, "-c", program, "a", "b"], check=True, timeout=120)


def test_letters_that_no_font_has_are_named_once() -> None:
    """The pictures are drawn, with boxes for them; one line says so for both, and no more."""
    _, log = drawn(("漢字", "Bag"), ONLY_DEJAVU)
    assert log == "no font on this machine has 字 漢: pictures show boxes there"


def test_another_font_is_taken_for_letters_that_ours_lacks() -> None:
    """Both kinds of pictures change when a font that has the letter is installed."""
    boxes, _ = drawn(("漢", "Bag"), ONLY_DEJAVU)
    digests, log = drawn(("漢", "Bag"), ONLY_DEJAVU + ADD_FONT)
    assert log == ""
    assert digests[0] != boxes[0]
    assert digests[1] != boxes[1]


@pytest.mark.parametrize("text", ["حقيبة يد", "תיק יד", "Bag حقيبة 3", "תיק (גדול)"])
def test_scripts_that_run_to_the_left_are_measured_whole(text: str) -> None:
    """A text is as wide as its words together."""
    words = text.split(" ")
    parts = sum(text_width(word, 20) for word in words) + (len(words) - 1) * text_width(" ", 20)
    assert text_width(text, 20) == pytest.approx(parts, rel=0.1)
    assert text_width(text, 20) > 40


def test_names_that_run_to_the_left_are_ordered_one_by_one() -> None:
    """The arrow between two points from the first, which is left of it, to the second."""
    text = "Most confused: תיק (גדול) → نعل 2 (140), Bag → תיק (3)"
    parts = [part for part, _ in font_parts(text, 20)]
    assert "".join(parts) == text
    assert {"תיק (גדול)", " → ", "نعل 2", " (140)", "תיק"} <= {*parts}


@pytest.mark.parametrize("text", ["Ankle boot", "x" * 10_000, "حقيبة " * 300, "漢" * 5000, ""])
def test_long_texts_are_shortened_in_the_middle(text: str) -> None:
    """They fit, and both ends can be read; short ones stay as they are."""
    words = shortened(text, 18, 200)
    assert text_width(words, 18) <= 200
    if len(text) < 20:
        assert words == text
    else:
        assert words.count("…") == 1
        assert text.startswith(words.partition("…")[0])
        assert text.strip().endswith(words.rpartition("…")[2].strip())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n\tand more", "two lines and more"),
        ("\x1b[31mred\x00", "[31mred"),
        ("\u202etxt.exe\u2066", "txt.exe"),
        ("a\udcffb\ufeff", "ab"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (r"$x_1$ \frac", r"$x_1$ \frac"),
    ],
)
def test_a_text_is_one_line_that_changes_no_other(text: str, expected: str) -> None:
    """Control characters, bidirectional marks and broken encodings are left out."""
    assert one_line(text) == expected
