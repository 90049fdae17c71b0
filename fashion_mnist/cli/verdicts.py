"""What networks are found to be, on the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fashion_mnist import metrics
from fashion_mnist.cli.tables import (
    Column,
    cell,
    print_json,
    print_on_terminal,
    print_text,
    table_of,
)
from fashion_mnist.conclusions.answers import Answer, Answers
from fashion_mnist.conclusions.images import VALIDATION
from fashion_mnist.conclusions.judging import Judged
from fashion_mnist.conclusions.jury import Jury
from fashion_mnist.conclusions.verdict import (
    Verdict,
    class_rows,
    content_of,
    coverage_rows,
    figure_rows,
)
from fashion_mnist.console import plural
from fashion_mnist.inference import ALPHA
from fashion_mnist.recorded import RecordedRun

MOST_CLASSES = 15  # of a confusion matrix on the terminal
# what people call a figure, where its key does not say it
FIGURES = {
    "top_2_accuracy": "accuracy of two guesses",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "nll": "negative log likelihood",
    "area_under_risk": "area under risk-coverage curve",
}


def print_judged(
    judged: Judged, files: Sequence[Path], places: Sequence[str], *, as_json: bool
) -> None:
    """Print all that was found of a run's network, and where it was put."""
    if as_json:
        print_json(
            {
                "run": _run(judged.run),
                "network": judged.network.source,
                "data": judged.images.source,
                **content_of(judged.verdict),
                "files": [str(file) for file in files],
                "recorded_below": list(places),
            }
        )
        return
    print_text(f"{judged.run.name}\n{judged.run.run_id}")
    print_text(f"network from {judged.network.source}, images from {judged.images.source}")
    _print_verdict(judged.verdict)
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
            "done": answer.taken.words,
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


def print_jury(jury: Jury, files: Sequence[Path], *, as_json: bool) -> None:
    """Print who answered, how often each counts, and what was found of all together."""
    test = jury.beside_the_best()
    if as_json:
        beside = {"run": jury.runs[jury.best].run_id, "difference": test.difference, "p": test.p}
        print_json(
            {
                "runs": _members(jury),
                "steps": [
                    {**asdict(step), "added": jury.runs[step.added].run_id} for step in jury.steps
                ],
                "beside_the_best_alone": beside,
                "data": jury.images.source,
                **content_of(jury.verdict),
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
    rows = [row | {"id": row["id"][:8]} for row in _members(jury)]
    print_on_terminal(table_of(rows, columns))
    if jury.steps:
        flattered = ", whose figures flatter it" if jury.images.name == VALIDATION else ""
        steps = plural(len(jury.steps), "step")
        print_text(f"chosen in {steps} on the validation split{flattered}")
    print_text(f"images from {jury.images.source}")
    _print_verdict(jury.verdict)
    told = "can be told apart" if test.p < ALPHA else "cannot be told apart"
    print_text(
        f"\nbeside the best alone ({jury.runs[jury.best].name}): {100 * test.difference:+.2f} "
        f"points of accuracy; on these images they {told} (McNemar, p = {test.p:.2g})"
    )
    print_text(f"{plural(len(files), 'file')} in {files[0].parent}")


def _print_verdict(verdict: Verdict) -> None:
    images = plural(len(verdict.result.labels), "image")
    print_text(f"\n{verdict.result.name}: {images}; low and high: 95 % intervals (Wilson)")
    rows = [row | {"figure": _words(row["figure"])} for row in figure_rows(verdict)]
    _print(rows, {"figure": "", "value": "", "low": "low", "high": "high"}, words=1)
    print_text("")
    titles = {"class": "class", "precision": "precision", "recall": "recall"}
    titles |= {"recall_low": "low", "recall_high": "high", "f1": "F1", "support": "images"}
    _print(class_rows(verdict), titles, words=1)
    _print_confusion(verdict)
    print_text("\nwhere the network may abstain, answering the surest first")
    titles = {"coverage": "answered", "from": "from confidence", "accuracy": "accuracy"}
    titles |= {"accuracy_low": "low", "accuracy_high": "high"}
    _print(coverage_rows(verdict), titles, words=0)
    if verdict.robustness:
        print_text("\naccuracy on images that are disturbed, more and more")
        for name, (unit, levels) in verdict.robustness.items():
            print_text(f"  {name} ({unit})")
            words = (f"{level.strength:g}: {cell(level.accuracy)}" for level in levels)
            print_text(f"    {'   '.join(words)}")


def _print_confusion(verdict: Verdict) -> None:
    counts, names = verdict.result.counts, verdict.class_names
    if len(names) <= MOST_CLASSES:
        print_text("\nrows true, columns predicted, by the numbers of the classes")
        rows = [
            {"class": f"{number} {name}", **{str(n): count for n, count in enumerate(own)}}
            for number, (name, own) in enumerate(zip(names, counts.tolist(), strict=True))
        ]
        _print(rows, {"class": ""} | {str(n): str(n) for n in range(len(names))}, words=1)
    print_text("")
    for confusion in metrics.most_confused(counts, names):
        print_text(f"  {metrics.confusion_in_words(confusion)}")


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


def _members(jury: Jury) -> list[dict[str, Any]]:
    parts = zip(jury.runs, jury.weights, jury.accuracies, jury.likelihoods, strict=True)
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
