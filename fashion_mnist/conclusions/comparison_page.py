"""A comparison as one HTML page that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from fashion_mnist.conclusions.comparison import Comparison
from fashion_mnist.conclusions.comparison_rows import (
    Row,
    calibration_rows,
    class_rows,
    headline,
    mcnemar_rows,
    notes,
    run_rows,
    score_rows,
)
from fashion_mnist.page import code, html_page, picture, section, table

LEFT = {"run", "id", "settings", "F1 of", "so"}  # columns of words


def comparison_page(
    comparison: Comparison, pictures: Mapping[str, Sequence[Path]], remark: str
) -> str:
    """The page: verdicts, tables, pictures.

    Args:
        pictures: PNG files by the heading that they stand under.
        remark: why pictures are missing; empty where none is.
    """
    verdicts = "".join(f"<p>{escape(words)}</p>" for words in headline(comparison))
    shown = {title: _beside(files) for title, files in pictures.items()}
    calibration = [_table(calibration_rows(comparison)), *shown.pop("Calibration", [])]
    remarks = [f'<p class="faint">{escape(remark)}</p>'] if remark else []
    parts = [
        f"<h1>{len(comparison.contestants)} networks on the {comparison.split} split</h1>",
        f'<div class="best">{verdicts}</div>',
        *section("Runs", [_table(run_rows(comparison)), *_commands(comparison)]),
        *section("Scores", [_table(score_rows(comparison)), _table(mcnemar_rows(comparison))]),
        *(f'<p class="faint">{escape(note)}</p>' for note in notes(comparison)),
        *section("Classes", [_table(class_rows(comparison))]),
        *(part for title, content in shown.items() for part in section(title, content)),
        *remarks,
        *section("Calibration", calibration),
    ]
    return html_page(comparison.title, parts)


def _commands(comparison: Comparison) -> list[str]:
    ids = " ".join(each.run.run_id for each in comparison.contestants)
    again = f"fmnist compare {ids} --split {comparison.split}"
    return [f'<p class="faint">The same again: {code(again)}</p>']


def _table(rows: Sequence[Row]) -> str:
    head = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[escape(row.get(key, "")) for key in head] for row in rows]
    left = {number for number, key in enumerate(head) if key in LEFT or not number}
    return table(head, cells, left=left)


def _beside(files: Sequence[Path]) -> list[str]:
    images = [picture(file.read_bytes(), file.stem.replace("_", " ")) for file in files]
    return [f'<div class="beside">{"".join(images)}</div>'] if images else []
