"""Compares searches with a coarse grid at equal cost: 16 of the 64 runs of a real space.

    python scripts/benchmarks/compare_searches.py FOLDER  # trains the 64 runs, once
    python scripts/benchmarks/compare_searches.py FOLDER --searches 100

The full grid is trained once, in FOLDER, with the public command. A search then proposes from the
same 64 settings and is told what their runs had reached: their scores are real, their order and
choice are the search's. A setting proposed again costs a trial here, though no run in a sweep.
"""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from measuring import FMNIST, describe_machine, mean_and_deviation

from fashion_mnist.runs.events import read_events
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.sweeps.axes import Axis
from fashion_mnist.sweeps.search import Search

METRIC = "final/val_accuracy"
SPACE = {
    "optimizer.lr": ("0.0003", "0.001", "0.003", "0.01"),
    "model.width": ("32", "64", "128", "256"),
    "model.dropout": ("0.0", "0.1", "0.2", "0.4"),
}
NUM_TRIALS = 16  # what a coarse grid takes: four values of one axis, two of the others

Setting = tuple[str, ...]  # a value for each key of SPACE
Scores = Mapping[Setting, float]


def main() -> None:
    """Train what is missing, let every method search, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the grid is, or is to be trained")
    parser.add_argument("--searches", type=int, default=5, help="of each method, by seed")
    parser.add_argument("--epochs", type=int, default=3, help="of each run of the grid")
    parser.add_argument("--batch", type=int, default=4, help="trials asked for at a time")
    options = parser.parse_args()
    train_grid(options.folder, options.epochs)
    scores = read_scores(options.folder, options.epochs)
    machine = f"{describe_machine()}, Optuna {version('optuna')}"
    print(f"{machine}\n\n{compare(scores, options.searches, options.batch)}")


def train_grid(folder: Path, num_epochs: int) -> None:
    """All 64 runs; those that are finished in the folder are not trained again."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = [f"{key}={','.join(values)}" for key, values in SPACE.items()]
    rest = [f"training.epochs={num_epochs}", "tracking.uri=null", "evaluation.test=never"]
    subprocess.run([FMNIST, "train", "-m", *axes, *rest], cwd=folder, check=True)


def read_scores(folder: Path, num_epochs: int) -> Scores:
    """What each setting's run reached.

    Raises:
        SystemExit: runs are missing.
    """
    scores: dict[Setting, float] = {}
    wanted = {tuple(map(float, values)): values for values in itertools.product(*SPACE.values())}
    for path in (folder / "outputs" / "runs").iterdir():
        run, params = RunDir(path), started_with(path)
        if run.status() == "FINISHED" and params.get("training.epochs") == str(num_epochs):
            setting = wanted.get(tuple(float(params[key]) for key in SPACE))
            if setting:
                scores[setting] = run.metrics()[METRIC]
    if len(scores) < len(wanted):
        sys.exit(f"{len(wanted) - len(scores)} of {len(wanted)} runs are not finished")
    return scores


def started_with(run: Path) -> dict[str, str]:
    """A run's parameters; none where it never began."""
    starts = (entry for entry in read_events(run) if entry.kind == "start")
    return next((dict(entry.content["params"]) for entry in starts), {})


def compare(scores: Scores, num_searches: int, batch_size: int) -> str:
    """A row a method: its best score and that score's place in the full grid."""
    methods: dict[str, Callable[[int], list[Setting]]] = {
        name: lambda seed, name=name: search(name, scores, seed, batch_size)  # type: ignore[misc]  # bound now
        for name in ("tpe", "random", "qmc")
    }
    methods["coarse grid"] = coarse_grid
    lines = [
        f"| {NUM_TRIALS} of {len(scores)} runs, {num_searches} searches | best {METRIC}, % "
        "| place in the full grid | different runs |",
        "|---|---|---|---|",
    ]
    for name, method in methods.items():
        tried = [method(seed) for seed in range(num_searches)]
        best = [max(scores[setting] for setting in settings) for settings in tried]
        places = [1 + sum(score > reached for score in scores.values()) for reached in best]
        runs = [len(set(settings)) for settings in tried]
        percent = mean_and_deviation([100 * reached for reached in best], 2)
        others = f"{mean_and_deviation(places, 1)} | {mean_and_deviation(runs, 1)}"
        lines.append(f"| {name} | {percent} | {others} |")
    lines.append(f"| full grid | {100 * max(scores.values()):.2f} | 1 | {len(scores)} |")
    return "\n".join(lines)


def search(sampler: str, scores: Scores, seed: int, batch_size: int) -> list[Setting]:
    """The settings that a search proposes when it hears these scores."""
    axes = [Axis((key,), tuple((value,) for value in values)) for key, values in SPACE.items()]
    tried: list[Setting] = []
    with tempfile.TemporaryDirectory() as folder:
        asked = Search(
            Path(folder),
            axes,
            sampler=sampler,
            objectives=[METRIC],
            pruner="none",
            seed=seed,
            n_trials=NUM_TRIALS,
            num_epochs=1,
        )
        while asked.remaining:
            for trial in asked.ask(batch_size):
                setting = tuple(trial.values[key] for key in SPACE)
                asked.tell(trial.number, [scores[setting]])
                tried.append(setting)
    return tried


def coarse_grid(seed: int) -> list[Setting]:
    """Every value of one axis, every second one of the others; which, is drawn."""
    draw = random.Random(seed)
    whole = draw.choice(list(SPACE))
    thinned = [v if key == whole else v[draw.randrange(2) :: 2] for key, v in SPACE.items()]
    return list(itertools.product(*thinned))


if __name__ == "__main__":
    main()
