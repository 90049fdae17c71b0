"""Kills real commands at random moments, 500 of them, and looks whether anything came of it.

    python scripts/benchmarks/kill_runs.py  # an hour, on small pictures
    python scripts/benchmarks/kill_runs.py --kills 50 --real  # on Fashion-MNIST
    python scripts/benchmarks/kill_runs.py --kills 100 --seed 7  # other moments

`kill -9` hits runs, sweeps with their workers and searches, and the uploaders of their records.
After every round of them each run must have the weights and metrics of an undisturbed one, and
MLflow must have all of it once. It ends with exit status 1 at the first discrepancy, and leaves
the folder where that can be seen.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for what it shares with the tests

from tests.builders import data_overrides, make_data
from tests.faults.kills import (
    Kill,
    KilledCommands,
    Victim,
    trainer,
    trainer_and_uploader,
    uploader,
    whole_group,
    worker,
)
from tests.faults.processes import kill_uploaders, start_console_script

ROUND = 20  # kills, in one folder
COMMON = ("training.checkpoint_seconds=0", "training.threads=1")
SMALL = ("data.validation_size=20", "training.batch_size=16", "training.epochs=60", "model.width=8")
REAL = ("training.epochs=3", "model.width=64")
SWEEP = ("-m", "model.depth=1,2", "sweep.processes=2")
SEARCH = (
    "sweep.sampler=tpe",
    "sweep.n_trials=4",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
)
KINDS: dict[tuple[str, ...], Sequence[Victim]] = {  # what is started, and who is killed
    (): (trainer, trainer, trainer, trainer_and_uploader, uploader),
    SWEEP: (trainer, whole_group, worker, trainer_and_uploader),
    SEARCH: (trainer, trainer, trainer_and_uploader),
}


def main() -> None:
    """Kill, check, and say what was hit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="Fashion-MNIST, not small pictures")
    options = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"  # a bar for each run's files
    draws, hits = random.Random(options.seed), list[Kill]()
    while len(hits) < options.kills:
        folder = Path(tempfile.mkdtemp(prefix="killed-"))
        wanted = min(ROUND, options.kills - len(hits))
        try:
            hits += kill_in(folder, wanted, draws, is_real=options.real)
        except (AssertionError, TimeoutError) as error:
            print(f"{error}\nin {folder}, in round {len(hits) // ROUND + 1} of seed {options.seed}")
            raise SystemExit(1) from None
        shutil.rmtree(folder)
        print(f"{len(hits)} of {options.kills}, nothing lost, nothing twice", flush=True)
    print(table(hits))


def kill_in(folder: Path, number: int, draws: random.Random, *, is_real: bool) -> list[Kill]:
    """One kind of command in a fresh folder, until so many kills have hit."""
    own = REAL if is_real else (*data_overrides(make_data(folder / "data")), *SMALL)
    words = ["train", *COMMON, *own]
    killed = KilledCommands(folder, words, start_console_script, draws)
    kind = draws.choice(list(KINDS))
    try:
        killed.kill_and_restart(draws.choices(KINDS[kind], k=number), *kind, first_seed=0)
        killed.check()
    finally:
        kill_uploaders(killed.output_dir)
    return killed.kills


def table(hits: Sequence[Kill]) -> str:
    """How often each process was killed in each phase."""
    counts = Counter((hit.phase, hit.victim) for hit in hits)
    victims = sorted({hit.victim for hit in hits})
    rows = [["phase", *victims]]
    for phase in sorted({hit.phase for hit in hits}):
        rows.append([phase, *(str(counts[phase, victim]) for victim in victims)])
    return "\n".join("".join(f"{word:<20}" for word in row).rstrip() for row in rows)


if __name__ == "__main__":
    main()
