"""Trains the recipes of conf/experiment/ with several seeds and writes the tables of their scores.

    python scripts/benchmarks/results.py FOLDER  # all: hours
    python scripts/benchmarks/results.py FOLDER recipes --recipes small  # one table or a part
    python scripts/benchmarks/results.py FOLDER --write README.md docs/recipes.md

What is in FOLDER already is not trained again, and what was stopped goes on. A table is written
into each file that has its marks. Only the table of the recipes reads the test set, once for each
seed: the recipes were chosen on validation folds, by the sweeps named below.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import median

import torch
from measuring import FMNIST, Table, describe_machine, mean_and_deviation, real_dataset
from torch import Tensor

from fashion_mnist.analysis.ensemble import average
from fashion_mnist.analysis.labels import differing_axes
from fashion_mnist.config.compose import Composer, check
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics.classification import confusion_counts, f1, summarize
from fashion_mnist.metrics.predictions import PREDICTIONS_FILE, read_predictions
from fashion_mnist.metrics.statistics import statistic, wilson_interval
from fashion_mnist.runs.request import last_attempt
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.stacks import split_data
from fashion_mnist.sweeps.definition import read_sweep

# Each recipe and the sweeps of conf/sweep/recipes/ that it was chosen by.
RECIPES = {
    "tiny": ("tiny_search", "tiny_search_2"),
    "small": ("small_search", "small_search_2"),
    "fast": ("fast_search",),
    "standard": ("standard_search",),
    "permutation_invariant": (
        "permutation_invariant_search",
        "permutation_invariant_search_2",
        "permutation_invariant_search_3",
    ),
    "augmented": (
        "augmented_search",
        "augmented_search_2",
        "augmented_search_3",
        "augmented_search_4",
        "augmented_search_5",
        "augmented_search_6",
    ),
}
SWEEPS = ("permutation_invariant_ablation", "permutation_invariant_learning_curve")
# Nothing trains beside these, so that their seconds are those of a network alone on all cores; the
# others have one thread each.
ALONE = ("fast", "standard")
# The probabilities of all their runs are averaged.
ENSEMBLES = [
    ("permutation_invariant",),
    ("fast", "standard", "permutation_invariant"),
    ("augmented",),
    ("permutation_invariant", "augmented"),
]
OVER_COPIES = "augmented"  # is scored by test-time augmentation too
WORST_CLASS = "Shirt"


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: RunDir
    num_images: int  # that it was trained on

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Its scores on the validation split, and on the test set where it was read."""
        return self.folder.metrics()

    @cached_property
    def test_probabilities(self) -> Tensor:
        """Of the test images, float32 `[N, C]`."""
        return self._probabilities("test")

    @cached_property
    def test_probabilities_over_copies(self) -> Tensor:
        """The same by test-time augmentation."""
        return self._probabilities("test_tta")

    @property
    def training_seconds(self) -> float:
        """Of its epochs, without their validation."""
        speeds = [row["images_per_second"] for row in self.folder.history()]
        return sum(self.num_images / speed for speed in speeds)

    def _probabilities(self, split: str) -> Tensor:
        path = self.folder.artifacts / split / PREDICTIONS_FILE
        return torch.tensor(read_predictions(path).probabilities)


def main() -> None:
    """Train what is missing; print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the runs are, or are to be trained")
    parser.add_argument("tables", nargs="*", default=["recipes", *SWEEPS])
    parser.add_argument("--recipes", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--write", type=Path, nargs="+", default=[], help="Markdown files with marks for the tables"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    dataset = real_dataset()
    makers: dict[str, Callable[[], Table]] = {
        "recipes": lambda: recipes_table(options.folder, options.recipes, options.seeds, dataset),
        **{
            name: lambda name=name: sweep_table(options.folder, name, dataset)  # type: ignore[misc]  # bound now
            for name in SWEEPS
        },
    }
    print(describe_machine())
    for name in options.tables:
        table = makers[name]()
        print(f"\n{table.markdown()}", flush=True)
        if options.write:
            write_between_marks(options.write, name, table.markdown())


def recipes_table(folder: Path, recipes: Sequence[str], num_seeds: int, dataset: Dataset) -> Table:
    """A row a recipe: mean ± standard deviation over its seeds; then a row an ensemble of them."""
    results = {name: train_recipe(folder, name, num_seeds, dataset) for name in recipes}
    rows = [recipe_row(name, own, dataset) for name, own in results.items()]
    for names in ENSEMBLES:
        if set(names) <= set(results):
            members = list(chain.from_iterable(results[name] for name in names))
            label = f"the {len(members)} networks of {' and '.join(f'`{name}`' for name in names)}"
            probabilities = [own.test_probabilities for own in members]
            rows.append(ensemble_row(f"{label}, averaged", members, probabilities, dataset))
    if OVER_COPIES in results:
        members = results[OVER_COPIES]
        probabilities = [own.test_probabilities_over_copies for own in members]
        label = f"`{OVER_COPIES}`, each averaged over copies of the image"
        validation = percent([own.metrics["final/val_tta_accuracy"] for own in members])
        rows.append([label, "", validation, *scores_of(probabilities, dataset), "", ""])
        rows.append(
            ensemble_row(f"{label}, and all {len(members)}", members, probabilities, dataset)
        )
    head = ["experiment", "parameters", "validation, %", "test, %", "macro F1", WORST_CLASS]
    return Table([*head, "training, s", "runs of its search"], rows)


def train_recipe(folder: Path, name: str, num_seeds: int, dataset: Dataset) -> list[Result]:
    """Its runs; the test set is read for each."""
    words = [f"experiment={name}", f"seed=range({num_seeds})", "evaluation.test=always"]
    how = ["sweep.processes=1"] if name in ALONE else ["training.threads=1"]
    copies = ["evaluation.tta=true"] if name == OVER_COPIES else []
    train(folder, ["-m", *words, *how, *copies])
    configs = [check([f"experiment={name}", f"seed={seed}"]) for seed in range(num_seeds)]
    return [find_result(folder, config, dataset) for config in configs]


def train(folder: Path, words: Sequence[str]) -> None:
    """What the public command trains, in a folder."""
    subprocess.run([FMNIST, "train", *words], cwd=folder, check=True)


def find_result(folder: Path, config: Config, dataset: Dataset) -> Result:
    """The run of a config. Exits where there is none that is finished."""
    found = last_attempt(replace(config, output_dir=str(folder / "outputs")), dataset)
    if found is None or found.status() != "FINISHED":
        sys.exit(f"a run is not finished: {found.path if found else config}")
    return Result(found, len(split_data(config, dataset).split.train))


def recipe_row(name: str, results: Sequence[Result], dataset: Dataset) -> list[str]:
    """A recipe's scores, costs, and how many runs it took to choose it."""
    validation = percent([own.metrics["final/val_accuracy"] for own in results])
    seconds = median(
        own.training_seconds for own in results
    )  # another program may have slowed one down
    scores = scores_of([own.test_probabilities for own in results], dataset)
    searches = [read_sweep([f"sweep=recipes/{each}"], Composer()) for each in RECIPES[name]]
    num_searched = sum(len(search.samples()) for search in searches)
    size = f"{results[0].metrics['parameters']:,.0f}"
    return [f"`{name}`", size, validation, *scores, f"{seconds:.0f}", str(num_searched)]


def ensemble_row(
    label: str, members: Sequence[Result], probabilities: Sequence[Tensor], dataset: Dataset
) -> list[str]:
    """What networks say together: one score, so its interval is over the images."""
    right, f1_macro, worst = test_scores(average(probabilities), dataset)
    num_images = len(dataset.test_labels)
    low, high = wilson_interval(round(right * num_images), num_images)
    size = f"{sum(own.metrics['parameters'] for own in members):,.0f}"
    seconds = f"{sum(own.training_seconds for own in members):.0f}"
    test = f"{100 * right:.2f} ({100 * low:.2f} to {100 * high:.2f})"
    return [label, size, "", test, f"{f1_macro:.4f}", f"{worst:.3f}", seconds, ""]


def scores_of(probabilities: Sequence[Tensor], dataset: Dataset) -> list[str]:
    """Accuracy, macro F1 and the worst class's F1 on the test set, over networks."""
    scores = [test_scores(own, dataset) for own in probabilities]
    right, f1_macro, worst = zip(*scores, strict=True)
    return [percent(right), mean_and_deviation(f1_macro, 4), mean_and_deviation(worst, 3)]


def test_scores(probabilities: Tensor, dataset: Dataset) -> tuple[float, float, float]:
    """Accuracy, macro F1 and the worst class's F1 of probabilities `[N, C]`."""
    labels, predicted = dataset.test_labels, probabilities.argmax(-1)
    counts = confusion_counts(labels[None], predicted[None], dataset.num_classes)[0]
    scores, worst = summarize(counts), f1(counts)[dataset.class_names.index(WORST_CLASS)]
    return float(scores["accuracy"]), float(scores["f1_macro"]), float(worst)


def sweep_table(folder: Path, name: str, dataset: Dataset) -> Table:
    """A row a setting of a sweep: its validation accuracy, and its difference from the first.

    Differences are taken seed by seed, in points; their intervals are Student's t.
    """
    train(folder, [f"sweep=recipes/{name}", "sweep.processes=1"])
    sweep = read_sweep([f"sweep=recipes/{name}"], Composer())
    scores: dict[str, dict[str, float]] = {}
    values = sweep.samples()
    for own, job in zip(values, sweep.compose(values), strict=True):
        result = find_result(folder, job.config, dataset)
        score = result.metrics["final/val_accuracy"]
        scores.setdefault(setting_of(own, values), {})[own["seed"]] = score
    first = next(iter(scores.values()))
    rows = [
        [setting, percent(list(own.values())), difference_from(first, own)]
        for setting, own in scores.items()
    ]
    return Table(["setting", "validation, %", "difference from the first"], rows)


def setting_of(values: Mapping[str, str], sweep: Sequence[Mapping[str, str]]) -> str:
    """What one run of a sweep says that others do not; past the first, what the first does not."""
    first = sweep[0]
    is_first = values == dict(first, seed=values["seed"])
    axes = differing_axes(sweep if is_first else [first, values])
    return " ".join(f"`{key}={values[key]}`" for key in axes if key != "seed")


def difference_from(first: Mapping[str, float], own: Mapping[str, float]) -> str:
    """The mean of the differences seed by seed, in points, and its interval."""
    found = statistic([100 * (own[seed] - first[seed]) for seed in first])
    if first is own or found.interval is None:
        return ""
    return f"{found.mean:+.2f} ({found.interval.low:+.2f} to {found.interval.high:+.2f})"


def percent(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in percent."""
    return mean_and_deviation([100 * value for value in values])


def write_between_marks(paths: Sequence[Path], name: str, table: str) -> None:
    """Replace what stands between a table's marks, comments of HTML, in all files that have them.

    Exits where none has.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    marked = {path: text for path, text in texts.items() if pattern.search(text)}
    if not marked:
        sys.exit(f"no marks {begin.strip()} and {end} in {' or '.join(map(str, paths))}")
    new = f"{begin}{table}\n{end}"
    for path, text in marked.items():
        path.write_text(pattern.sub(lambda _: new, text), encoding="utf-8")


if __name__ == "__main__":
    main()
