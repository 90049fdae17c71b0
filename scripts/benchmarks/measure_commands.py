"""How long whole commands take: sweeps, a recorded run, the start."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import contestants
from measuring import FMNIST, Table, in_turn, ratio, seconds_of, spread, whole_command

CLASSIC = Path(__file__).with_name("classic_hydra.py")
FEWEST_CLASSIC_RUNS = 4  # of the classic script, whose runs come one after the other
FP32 = "training.precision=fp32"
RATES = ["5e-4", "1e-3", "2e-3", "4e-3"]
GRIDS = {  # hidden layers, normalization, epochs
    "784-64-10": ("[64]", "none", 2),
    "784-128-64-10": ("[128,64]", "none", 5),
    "784-512-256-10": ("[512,256]", "none", 5),
    "784-64-10, batch norm": ("[64]", "batch", 2),
    "784-128-64-10, batch norm": ("[128,64]", "batch", 5),
}


def measure_grids(rounds: int, num_runs: int, grids: Sequence[str]) -> Table:
    """Whole sweeps, every run in a fresh MLflow store, with each launcher that is installed.

    The classic script is given four runs, one of each learning rate, and its time multiplied: its
    runs come one after the other, each as long as the first. It has no batch normalization.
    """
    launchers = {  # the script computes in fp32 too
        "stacked": ["hydra/launcher=stacked", FP32],
        "stacked, precision=auto": ["hydra/launcher=stacked"],
        "basic": ["hydra/launcher=basic", FP32],
    }
    if find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib, 2 jobs"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", FP32]
    rows = []
    for grid in grids:
        sizes, normalization, epochs = GRIDS[grid]
        words = [f"model.hidden_sizes={sizes}", f"training.epochs={epochs}"]
        words.append(f"model.normalization={normalization}")
        axes = [f"optimizer.lr={','.join(RATES)}", f"seed=range({num_runs // len(RATES)})"]
        subjects = {
            name: ["train", "-m", *words, *axes, *launcher] for name, launcher in launchers.items()
        }
        is_classic = normalization == "none"
        names = [*subjects, *(["classic script"] if is_classic else [])]
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):  # none is thrown away: each begins in an empty folder anyway
            for name, command in subjects.items():
                with tempfile.TemporaryDirectory() as folder:
                    seconds[name].append(seconds_of(whole_command(folder, [FMNIST, *command])))
            if is_classic:
                each = classic_seconds(sizes, epochs) / FEWEST_CLASSIC_RUNS
                seconds["classic script"].append(num_runs * each)
        what = f"{num_runs} runs of {grid}, {epochs} epochs"
        rows += [
            [what, name, spread(own, 0), ratio(own, seconds["stacked"])]
            for name, own in seconds.items()
        ]
    return Table(["grid", "launcher", "s", "times as long as stacked"], rows)


def classic_seconds(sizes: str, epochs: int) -> float:
    """A few runs of the classic script, each recorded."""
    with tempfile.TemporaryDirectory() as folder:
        contestants.write_for_torchvision(Path(folder, "data"))
        root, rates = f"root={folder}/data", f"lr={','.join(RATES)}"
        command = [sys.executable, CLASSIC, "-m", root, f"hidden_sizes={sizes}", f"epochs={epochs}"]
        return seconds_of(whole_command(folder, [*command, rates]))


def measure_recording(rounds: int) -> Table:
    """Seconds of the whole command, 20 epochs of the default network, recorded and not."""
    with tempfile.TemporaryDirectory() as folder:
        words = [FMNIST, "train", "rerun=true", "training.checkpoint_seconds=1000000"]
        recorded = whole_command(folder, words)
        alone = whole_command(folder, [*words, "tracking.uri=null"])
        with_store, without = in_turn([recorded, alone], rounds)
    rows = [
        ["recorded in MLflow (sqlite)", spread(with_store), ratio(with_store, without, 3)],
        ["event log and files alone", spread(without), "1"],
    ]
    return Table(["whole command, 20 epochs", "s", "ratio"], rows)


def measure_start(rounds: int) -> Table:
    """Seconds to the help and to the first training step, on a warm disk."""
    with tempfile.TemporaryDirectory() as folder:
        show_help = whole_command(folder, [FMNIST, "--help"])
        words = ["train", "rerun=true", "training.epochs=1", "model.width=32"]
        one_epoch = whole_command(folder, [FMNIST, *words])
        bare = whole_command(folder, [sys.executable, "-c", "import torch, hydra"])
        with_vision = whole_command(
            folder, [sys.executable, "-c", "import torch, torchvision, hydra, mlflow"]
        )
        seconds = in_turn([show_help, one_epoch, bare, with_vision], rounds)
        to_step = [seconds_to_first_step(folder, words) for _ in range(rounds + 1)][1:]
    rows = [
        ["`fmnist --help`", spread(seconds[0])],
        ["`fmnist train` to the first step", spread(to_step)],
        ["`fmnist train` of one epoch, to its end, recorded", spread(seconds[1])],
        ["a script that imports torch and hydra, and ends", spread(seconds[2])],
        ["one that imports torchvision and mlflow too", spread(seconds[3])],
    ]
    return Table(["start", "s"], rows)


def seconds_to_first_step(folder: str, words: Sequence[str]) -> float:
    """From the command to the moment when the first training step begins."""
    began = time.perf_counter()
    command = [str(FMNIST), *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("training "))
        seconds = time.perf_counter() - began
        process.stdout.read()
    return seconds
