"""Which font shows which letters: DejaVu Sans, and where it lacks one, another of this machine."""

import logging
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import ModuleType

from PIL import ImageFont

FIRST_UNSURE = "\u0530"  # DejaVu Sans has the alphabets before it: Latin, Greek, Cyrillic
OUR_SIGNS = "–—…→−"  # and these
# scripts that run to the left or join their letters, CJK, emoji; not punctuation, arrows, signs
JOINED = re.compile("[\u0590-\u1fff\u2c00-\U0010ffff]")
# what captions of ours have between names: each name is ordered by itself, and the arrow stays
BETWEEN_NAMES = re.compile(r"( ?→ | \([0-9]+\)|[,:;] )")

log = logging.getLogger(__name__)


def import_matplotlib() -> ModuleType:
    """matplotlib with its fonts, whatever the user's environment says of it.

    Jupyter's processes inherit an MPLBACKEND that may not be installed where they run: the import
    would fail. A configuration folder that cannot be written to is worth no line of the log.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


def font_parts(text: str, size: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The text in parts, from left to right, with the font of each; sizes are pixels."""
    chunks = BETWEEN_NAMES.split(text) if JOINED.search(text) else [text]
    return [
        ("".join(letters), _font(file, size, JOINED.search(chunk) is not None))
        for chunk in chunks
        for file, letters in groupby(chunk, key=_file_with)
    ]


def log_missing_letters(texts: Iterable[str]) -> None:
    """Name in one line of the log the letters that no font of this machine has: boxes are shown."""
    missing = [letter for letter in _unsure_letters(texts) if _fallback(letter) is None]
    if missing:
        _log_once("no font on this machine has %s: pictures show boxes there", " ".join(missing))


def fallback_families(texts: Iterable[str]) -> list[str]:
    """The families of fonts that these texts need besides DejaVu Sans."""
    fonts = map(_fallback, _unsure_letters(texts))
    return list(dict.fromkeys(family for family, _ in filter(None, fonts)))


@lru_cache
def _log_once(message: str, letters: str) -> None:  # all runs of a sweep have the same names
    log.warning(message, letters)


def _unsure_letters(texts: Iterable[str]) -> list[str]:
    return sorted({letter for text in texts for letter in text if _is_unsure(letter)})


def _is_unsure(letter: str) -> bool:
    return letter >= FIRST_UNSURE and letter not in OUR_SIGNS


def _file_with(letter: str) -> str:
    """The file of the font that shows the letter."""
    fallback = _fallback(letter) if _is_unsure(letter) else None
    return fallback[1] if fallback else _default_file()


@lru_cache(maxsize=256)
def _font(file: str, size: float, is_joined: bool) -> ImageFont.FreeTypeFont:
    # Raqm orders and joins letters, and takes twice the time
    layout = ImageFont.Layout.RAQM if is_joined else ImageFont.Layout.BASIC
    return ImageFont.truetype(file, size, layout_engine=layout)


@lru_cache
def _default_file() -> str:
    """DejaVu Sans, which comes with matplotlib: the same picture on every machine."""
    package = find_spec("matplotlib")  # does not import it
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


@lru_cache(maxsize=10_000)
def _fallback(letter: str) -> tuple[str, str] | None:
    """Family and file of the best font that has the letter; None where there is none."""
    manager = import_matplotlib().font_manager
    fonts = sorted(
        manager.fontManager.ttflist,
        key=lambda font: (
            font.fname != _default_file(),
            (font.style, font.variant, font.stretch) != ("normal", "normal", "normal"),
            font.weight not in (400, "normal", "regular"),
            "Sans" not in font.name,
            font.name,
        ),
    )
    for font in fonts:
        # the last resort has a box for every letter
        if "Last Resort" not in font.name and ord(letter) in _letters_of(font.fname):
            return font.name, font.fname
    return None


@lru_cache(maxsize=1000)
def _letters_of(file: str) -> frozenset[int]:
    """The code points that a font file has; none where it cannot be read any more."""
    manager = import_matplotlib().font_manager
    try:
        return frozenset(manager.get_font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
