"""What networks are found to be, on the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fashion_mnist.analysis.ensemble import ScoredEnsemble
from fashion_mnist.analysis.evaluation import (
    ScoredNetwork,
    Scores,
    class_rows,
    content_of,
    coverage_rows,
    figure_rows,
)
from fashion_mnist.analysis.networks import VALIDATION, Answer, Answers
from fashion_mnist.cli.tables import (
    Column,
    cell,
    print_json,
    print_on_terminal,
    print_text,
    table_of,
)
from fashion_mnist.console import plural
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.statistics import ALPHA
from fashion_mnist.tracking.recorded import RecordedRun

MOST_CLASSES = 15  # of a confusion matrix on the terminal
# what people call a figure, where its key does not say it
FIGURES = {
    "top_2_accuracy": "accuracy of two guesses",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "nll": "negative log likelihood",
    "area_under_risk": "area under risk-coverage curve",
}


def print_network_scores(
    scored: ScoredNetwork, files: Sequence[Path], places: Sequence[str], *, as_json: bool
) -> None:
    """Print all that was found of a run's network, and where it was put."""
    if as_json:
        print_json(
            {
                "run": _run(scored.run),
                "network": scored.network.source,
                "data": scored.images.source,
                **content_of(scored.scores),
                "files": [str(file) for file in files],
                "recorded_below": list(places),
            }
        )
        return
    print_text(f"{scored.run.name}\n{scored.run.run_id}")
    print_text(f"network from {scored.network.source}, images from {scored.images.source}")
    _print_scores(scored.scores)
    print_text(f"\n{plural(len(files), 'file')} in {files[0].parent}")
    if places:
        print_text(f"recorded with the run, below {' and '.join(places)}")


def print_answers(answers: Answers, *, top: int, limit: int, as_json: bool) -> None:
    """Print what each picture was taken for."""
    if as_json:
        rows = [_answer(answer) for answer in answers.answers]
        print_json({"run": _run(answers.network.run), "images": rows})
        return
    shown = answers.answers[: limit or None]
    rows = [
        {
            "image": answer.taken.source,
            "class": answer.ranked[0][0],
            "probability": answer.ranked[0][1],
            "else": _else(answer, top),
            "done": answer.taken.description,
        }
        for answer in shown
    ]
    columns = [
        Column("image", "image"),
        Column("class", "class"),
        Column("probability", "probability", is_number=True),
        Column("else", "or"),
        Column("done", "what was done to it"),
    ]
    print_on_terminal(table_of(rows, columns[: 3 if top == 1 else 4] + columns[4:]))
    if len(shown) < len(answers.answers):
        print_text(f"{len(shown):,} of {len(answers.answers):,}; --limit 0 for all")


def print_ensemble_scores(
    ensemble: ScoredEnsemble, files: Sequence[Path], *, as_json: bool
) -> None:
    """Print who answered, how often each counts, and what was found of all together."""
    test, best = ensemble.vs_best(), ensemble.runs[ensemble.best]
    if as_json:
        beside = {"run": best.run_id, "difference": test.difference, "p": test.p}
        print_json(
            {
                "runs": _members(ensemble),
                "steps": [
                    {**asdict(step), "added": ensemble.runs[step.added].run_id}
                    for step in ensemble.steps
                ],
                "beside_the_best_alone": beside,
                "data": ensemble.images.source,
                **content_of(ensemble.scores),
                "files": [str(file) for file in files],
            }
        )
        return
    columns = [
        Column("id", "id"),
        Column("name", "name"),
        Column("weight", "counts", is_number=True),
        Column("accuracy", "accuracy alone", is_number=True),
        Column("nll", "neg. log likelihood alone", is_number=True),
    ]
    rows = [row | {"id": row["id"][:8]} for row in _members(ensemble)]
    print_on_terminal(table_of(rows, columns))
    if ensemble.steps:
        is_biased = ensemble.images.name == VALIDATION
        biased = ", so its scores are optimistically biased" if is_biased else ""
        steps = plural(len(ensemble.steps), "step")
        print_text(f"chosen in {steps} on the validation split{biased}")
    print_text(f"images from {ensemble.images.source}")
    _print_scores(ensemble.scores)
    found = "significantly" if test.p <= ALPHA else "not significantly"
    print_text(
        f"\nvs. best on validation ({best.name}): {100 * test.difference:+.2f} points of accuracy; "
        f"{found} different on these images (McNemar's exact test, p = {test.p:.2g})"
    )
    print_text(f"{plural(len(files), 'file')} in {files[0].parent}")


def _print_scores(scores: Scores) -> None:
    images = plural(len(scores.result.labels), "image")
    print_text(f"\n{scores.result.name}: {images}; low and high: 95 % intervals (Wilson)")
    rows = [row | {"figure": _words(row["figure"])} for row in figure_rows(scores)]
    _print(rows, {"figure": "", "value": "", "low": "low", "high": "high"}, words=1)
    print_text("")
    titles = {"class": "class", "precision": "precision", "recall": "recall"}
    titles |= {"recall_low": "low", "recall_high": "high", "f1": "F1", "support": "images"}
    _print(class_rows(scores), titles, words=1)
    if absent := classification.absent_classes(scores.result.counts, scores.class_names):
        print_text(absent)
    _print_confusion(scores)
    print_text("\nwhere the network may abstain, answering the surest first")
    titles = {"coverage": "answered", "from": "from confidence", "accuracy": "accuracy"}
    titles |= {"accuracy_low": "low", "accuracy_high": "high"}
    _print(coverage_rows(scores), titles, words=0)
    if scores.robustness:
        print_text("\naccuracy on corrupted images")
        for name, (unit, levels) in scores.robustness.items():
            print_text(f"  {name} ({unit})")
            words = (f"{level.strength:g}: {cell(level.accuracy)}" for level in levels)
            print_text(f"    {'   '.join(words)}")


def _print_confusion(scores: Scores) -> None:
    counts, names = scores.result.counts, scores.class_names
    if len(names) <= MOST_CLASSES:
        print_text("\nrows true, columns predicted, by the numbers of the classes")
        rows = [
            {"class": f"{number} {name}", **{str(n): count for n, count in enumerate(own)}}
            for number, (name, own) in enumerate(zip(names, counts.tolist(), strict=True))
        ]
        _print(rows, {"class": ""} | {str(n): str(n) for n in range(len(names))}, words=1)
    print_text("")
    for confusion in classification.most_confused(counts, names):
        print_text(f"  {classification.confusion_in_words(confusion)}")


def _print(rows: Sequence[dict[str, Any]], titles: dict[str, str], *, words: int) -> None:
    """Print these columns of a table, the first `words` of them texts."""
    columns = [
        Column(key, title, is_number=place >= words)
        for place, (key, title) in enumerate(titles.items())
    ]
    print_on_terminal(table_of(rows, columns))


def _words(figure: str) -> str:
    """What people call a figure."""
    return FIGURES.get(figure, figure.replace("_", " "))


def _run(run: RecordedRun) -> dict[str, str]:
    return {"id": run.run_id, "name": run.name}


def _members(ensemble: ScoredEnsemble) -> list[dict[str, Any]]:
    parts = zip(
        ensemble.runs, ensemble.weights, ensemble.accuracies, ensemble.likelihoods, strict=True
    )
    return [
        {**_run(run), "weight": weight, "accuracy": accuracy.value, "nll": nll}
        for run, weight, accuracy, nll in parts
    ]


def _answer(answer: Answer) -> dict[str, Any]:
    name, probability = answer.ranked[0]
    return {
        "image": answer.taken.source,
        "class": name,
        "probability": probability,
        "probabilities": dict(answer.ranked),
        "done": list(answer.taken.steps),
    }


def _else(answer: Answer, top: int) -> str:
    return ", ".join(f"{name} {cell(share)}" for name, share in answer.ranked[1:top])
