"""A run and the same trained again, on the terminal: what `fmnist reproduce` prints."""

from typing import Any

from fashion_mnist.analysis.diff import shortened
from fashion_mnist.analysis.reproduce import Comparison, Reproduction
from fashion_mnist.cli.tables import Column, print_json, print_rows, print_text
from fashion_mnist.tracking.links import short_path

SAME = {True: "yes", False: "no", None: "not known"}
WORDS = {
    "identical": "identical to the bit: the weights are the same",
    "within tolerance": "within tolerance, but not to the bit",
    "different": "different",
}


def print_reproduction(again: Reproduction, *, as_json: bool) -> None:
    """Print the verdict, and what it rests on."""
    if as_json:
        print_json(content_of(again))
        return
    comparison = again.comparison
    print_text("")
    print_rows("figures", figures(comparison), FIGURES, as_json=False)
    print_text("")
    print_rows("origins", origins(comparison), ORIGINS, as_json=False)
    if test := comparison.test:
        print_text(
            f"\nof {test.num_images:,} images the recorded network alone has {test.first_alone:,} "
            f"right and this one alone {test.second_alone:,} (McNemar's exact test, "
            f"p = {test.p:.2g})"
        )
    print_text(f"\n{verdict(comparison)}\nthe second training is in {short_path(again.folder)}")


FIGURES = [
    Column("name", ""),
    Column("recorded", "recorded", True),
    Column("here", "here", True),
    Column("allowed", "may differ by", True),
    Column("is_near", "near"),
]
ORIGINS = [
    Column("name", ""),
    Column("recorded", "recorded"),
    Column("here", "here"),
    Column("same", "the same"),
]


def figures(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each figure."""
    return [vars(figure) | {"is_near": figure.is_near} for figure in comparison.figures]


def origins(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each thing that decides a run's numbers."""
    return [
        {
            "name": each.name,
            "recorded": shortened(each.recorded) or None,
            "here": shortened(each.here) or None,
            "same": SAME[each.is_same],
        }
        for each in comparison.origins
    ]


def verdict(comparison: Comparison) -> str:
    """Which of the three it is, and what may be why."""
    words = [WORDS[comparison.verdict]]
    if comparison.verdict == "different" and comparison.has_same_weights:
        words.append("the weights are the same, but the recorded figures are not theirs")
    elif comparison.verdict == "different" and not comparison.is_tested:
        words.append("other weights, and neither predictions nor a first loss to compare")
    if comparison.verdict != "identical":
        names = {answer: _names(comparison, answer) for answer in (False, None)}
        words.append(f"what differs: {names[False] or 'nothing that is recorded'}")
        words += [f"not known of: {names[None]}"] if names[None] else []
    return "; ".join(words)


def _names(comparison: Comparison, answer: bool | None) -> str:
    return ", ".join(each.name for each in comparison.origins if each.is_same is answer)


def content_of(again: Reproduction) -> dict[str, Any]:
    """Everything, as JSON takes it."""
    run, comparison = again.run, again.comparison
    recorded, here = comparison.weights
    return {
        "run": run.run_id,
        "name": run.name,
        "folder": str(again.folder),
        "verdict": comparison.verdict,
        "weights_sha256": {"recorded": recorded or None, "here": here or None},
        "figures": figures(comparison),
        "test": vars(comparison.test) if comparison.test else None,
        "origins": [
            {
                "name": each.name,
                "recorded": each.recorded or None,
                "here": each.here or None,
                "same": each.is_same,
            }
            for each in comparison.origins
        ],
    }
