"""What a search may aim at, and what keeps one from being made. No Optuna here, to start fast."""

from collections.abc import Sequence

from fashion_mnist.sweep.axes import Axis

# what a pruner watches of it after every epoch
EPOCH_METRICS = {
    "final/val_accuracy": "val/accuracy",
    "final/val_f1_macro": "val/f1_macro",
    "final/val_loss": "val/loss",
}


def search_problems(
    axes: Sequence[Axis],
    *,
    sampler: str,
    objectives: Sequence[str],
    pruner: str,
    has_replicates: bool,
    can_give_up: bool,
    num_epochs: int,
) -> list[str]:
    """What keeps a search from being made, a message each; `axes` are without seed and fold."""
    problems = _sampler_problems(axes, sampler, objectives)
    if len(set(objectives)) < len(objectives):
        problems.append(f"sweep.objectives must differ, got {', '.join(objectives)}")
    if pruner == "none":
        return problems
    count, first = len(objectives), objectives[0]
    rules = {
        f"with several sweep.objectives, got {pruner} and {count} of them": count > 1,
        f"where {first} is wanted, which has no value after each epoch, got {pruner}": (
            first not in EPOCH_METRICS
        ),
        f"where seed or data.fold repeats each setting, got {pruner}": has_replicates,
        f"unless hydra/launcher is stacked, which alone can stop a run, got {pruner}": (
            not can_give_up
        ),
        f"where training.epochs is 1, got {pruner}": num_epochs < 2,
    }
    return problems + [
        f"sweep.pruner must be none {rule}" for rule, holds in rules.items() if holds
    ]


def search_notes(axes: Sequence[Axis], sampler: str) -> list[str]:
    """What a user should know of a search that is allowed."""
    listed = [axis.name for axis in axes if axis.choices is not None]
    if sampler == "cmaes" and listed:
        return [f"cmaes learns of ranges alone: {', '.join(listed)} is drawn at random"]
    return []


def _sampler_problems(axes: Sequence[Axis], sampler: str, objectives: Sequence[str]) -> list[str]:
    problems = []
    if not axes:
        problems.append(
            f"sweep.axes must name a key for {sampler} beside seed and data.fold, got none"
        )
    elif sampler == "cmaes" and all(axis.choices is not None for axis in axes):
        problems.append(
            "sweep.sampler must be tpe, random or qmc where no axis is a range, got cmaes and "
            "lists of values alone"
        )
    if sampler == "cmaes" and len(objectives) > 1:
        problems.append(
            "sweep.sampler must be tpe, random or qmc with several sweep.objectives, got cmaes "
            f"and {len(objectives)} of them"
        )
    return problems
