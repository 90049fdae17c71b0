"""Results of runs that were never trained, and leaderboards of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fashion_mnist.analysis.leaderboard import Leaderboard, begun_repetitions, rank
from fashion_mnist.analysis.significance import RunResult

SCORE = "final/val_accuracy"


def job(
    number: int,
    score: float | None,
    *,
    folder: str = "",
    metrics: Mapping[str, float] | None = None,
    pruned_at: int | None = None,
    **values: object,
) -> RunResult:
    """A run with a score, or one that failed or was pruned; `__` in a key is a dot."""
    status = "FAILED" if score is None else "FINISHED"
    own = {} if score is None else {SCORE: score, "parameters": 1000.0 + number}
    return RunResult(
        number=number,
        values={key.replace("__", "."): str(value) for key, value in values.items()},
        status="KILLED" if pruned_at else status,
        failure="" if score is not None or pruned_at else "ValueError: <b>why</b>",
        pruned_at=pruned_at,
        metrics={**own, **(metrics or {})},
        history=[{"epoch": e, "val/accuracy": 0.5 + 0.01 * e} for e in range(1, 4)],
        folder=Path("runs") / (folder or f"{number}-1"),
        command=f"fmnist train number={number} '<i>'",
    )


def ranked(results: Sequence[RunResult], score: str = SCORE, title: str = "widths") -> Leaderboard:
    """As a sweep ranks them at its end."""
    begun = begun_repetitions(results)
    return rank(results, score=score, num_repetitions=begun, title=title)
