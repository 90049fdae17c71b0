"""The texts of Pillow's pictures as they are drawn."""

from typing import Any

import pytest
from PIL import ImageDraw

from tests.plots.drawn import Written


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """Every text that Pillow draws from here on."""
    texts: list[Written] = []
    draw_text = ImageDraw.ImageDraw.text

    def text(self: Any, place: Any, words: str, fill: Any, font: Any, anchor: str) -> None:
        box = self.textbbox(place, words, font, anchor)
        texts.append(Written(words, box, font.size, fill, self.im.size))
        draw_text(self, place, words, fill, font, anchor)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts
