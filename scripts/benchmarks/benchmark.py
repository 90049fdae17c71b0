"""Measures the main job, each thing beside what a user would pick instead.

    python scripts/benchmarks/benchmark.py  # all that takes minutes
    python scripts/benchmarks/benchmark.py epoch start  # parts of it
    python scripts/benchmarks/benchmark.py grid --rounds 1 --runs 64  # the best part of an hour
    python scripts/benchmarks/benchmark.py epoch --json epoch.json

Things that are compared run in turn within one call, and their ratio is taken round by round, so
that a machine that changes its speed changes both. What is printed are medians. Real images.
`pip install lightning hydra-joblib-launcher` adds these two to what is compared.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from measure_commands import GRIDS, measure_grids, measure_recording, measure_start
from measure_store import measure_pictures, measure_publishing
from measure_training import (
    NETWORKS,
    measure_beside_a_neighbour,
    measure_epochs,
    measure_growth,
    measure_memory,
    measure_precision,
    measure_stacks,
    step_milliseconds,
)
from measuring import Table, describe_machine

from fashion_mnist.training.device import physical_cores

QUICK = ["epoch", "growth", "start", "recording", "publishing"]


def main() -> None:
    """Run the parts that were asked for and print a Markdown table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    more = "also grid, memory, neighbour, pictures, precision, stacks"
    parser.add_argument("parts", nargs="*", default=QUICK, help=f"{', '.join(QUICK)}; {more}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=64, help="of a grid")
    parser.add_argument("--grids", nargs="*", default=list(GRIDS), help="the grids' networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), help="of an epoch")
    parser.add_argument("--json", type=Path, help="a file for the tables")
    options = parser.parse_args()
    torch.set_num_threads(physical_cores())
    if options.parts == ["step"]:  # what the part `neighbour` has processes do
        print(step_milliseconds())
        return
    print(describe_machine())
    measures: dict[str, Callable[[int], Table]] = {
        "epoch": lambda rounds: measure_epochs(rounds, options.networks),
        "precision": measure_precision,
        "growth": measure_growth,
        "stacks": measure_stacks,
        "memory": measure_memory,
        "grid": lambda rounds: measure_grids(rounds, options.runs, options.grids),
        "start": measure_start,
        "recording": measure_recording,
        "pictures": measure_pictures,
        "publishing": measure_publishing,
        "neighbour": measure_beside_a_neighbour,
    }
    tables = {}
    for part in options.parts:
        tables[part] = measures[part](options.rounds)
        print(f"\n{tables[part].markdown()}", flush=True)
    if options.json:
        content = {"machine": describe_machine()} | {k: t._asdict() for k, t in tables.items()}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
