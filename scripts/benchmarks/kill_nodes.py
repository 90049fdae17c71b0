"""The same sweep by every launcher, and again with a node or a worker killed in the middle of it.

    python scripts/benchmarks/kill_nodes.py  # 64 runs on Fashion-MNIST, some minutes
    python scripts/benchmarks/kill_nodes.py --runs 16  # fewer
    python scripts/benchmarks/kill_nodes.py --epochs 20  # longer ones

The Ray cluster is a head and two nodes on this machine; a node is killed with all its processes, as
by a power cut. Every run must be finished at the end and have the weights of the local launcher's,
to the bit. It ends with exit status 1 where one has not, and leaves the folders where that can be
seen.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from measuring import FMNIST, Table, describe_machine

from fashion_mnist.runs.run_dir import RunDir

NODES = 2  # of the cluster, one CPU each
LAUNCHERS = {
    "stacked": (),
    "stacked_ray": ("hydra/launcher=stacked_ray",),
    "stacked_submitit": ("hydra/launcher=stacked_submitit", "hydra.launcher.cluster=local"),
}


def main() -> None:
    """Train, kill, compare, and print a row for each launcher."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    words = [
        "-m",
        "model=small",
        "data.train_size=10000",
        "tracking.uri=null",
        "training.checkpoint_seconds=0",
        "training.threads=1",  # everywhere, for the bits depend on it
        f"training.epochs={options.epochs}",
        "optimizer.lr=1e-3,3e-3",
        f"seed=range({options.runs // 2})",
    ]
    machine, folder = describe_machine(), Path(tempfile.mkdtemp(prefix="nodes-"))
    reference, rows, seconds = dict[str, str](), list[list[str]](), dict[str, float]()
    for launcher in LAUNCHERS:
        seconds[launcher], whole = undisturbed(launcher, words, folder / launcher)
        reference = reference or whole
        killed = (
            {}
            if launcher == "stacked"
            else disturbed(launcher, words, folder / f"{launcher}-killed")
        )
        rows.append(
            [
                launcher,
                f"{len(whole)} of {options.runs}",
                f"{len(killed)} of {options.runs}" if launcher != "stacked" else "",
                "yes" if whole == reference and killed in ({}, reference) else "NO",
                f"{seconds[launcher]:.0f} s, × {seconds[launcher] / seconds['stacked']:.1f}",
            ]
        )
        print(rows[-1], flush=True)
    head = ["launcher", "finished", "finished after a kill", "bit-equal", "time"]
    print(f"\n{machine}\n\n{Table(head, rows).markdown()}")
    is_well = len(reference) == options.runs and all(row[3] == "yes" for row in rows)
    if not is_well or any(row[2] not in ("", row[1]) for row in rows):
        raise SystemExit(f"not as it should be: see {folder}")
    shutil.rmtree(folder)


def undisturbed(launcher: str, words: Sequence[str], folder: Path) -> tuple[float, dict[str, str]]:
    """How long the sweep takes, and the weights of its finished runs."""
    with cluster_for(launcher) as cluster:
        began = time.monotonic()
        process = start(launcher, words, folder, cluster)
        end(process, folder)
        return time.monotonic() - began, finished(folder)


def disturbed(launcher: str, words: Sequence[str], folder: Path) -> dict[str, str]:
    """The weights of the finished runs of a sweep, of which one process is killed in the middle."""
    with cluster_for(launcher) as cluster:
        process = start(launcher, words, folder, cluster)
        while len(finished(folder)) < 8 and process.poll() is None:
            time.sleep(0.1)
        victims = (lambda: node_victims(cluster)) if cluster else (lambda: job_victims(folder))
        print(f"{launcher}: killed {kill(process, victims)} in the middle", flush=True)
        end(process, folder)
        return finished(folder)


def start(
    launcher: str, words: Sequence[str], folder: Path, cluster: Any
) -> subprocess.Popen[bytes]:
    """The sweep, as a user starts it."""
    folder.mkdir(parents=True)
    address = [f"hydra.launcher.address={cluster.address}"] if cluster else []
    command = [str(FMNIST), "train", *words, *LAUNCHERS[launcher], *address]
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for it."""
    if process.wait():
        output = (folder / "output.txt").read_text(encoding="utf-8")
        raise SystemExit(f"ended with {process.returncode}: {output}")


def kill(process: subprocess.Popen[bytes], victims: Callable[[], list[psutil.Process]]) -> str:
    """`kill -9` of a process that trains; its name and id."""
    while process.poll() is None:
        found = victims()
        names = [f"{each.name()} ({each.pid})" for each in found if each.is_running()]
        for each in found:
            each.kill()
        if found:
            return ", ".join(names)
        time.sleep(0.05)
    raise SystemExit("the sweep was over before any process could be killed")


def node_victims(cluster: Any) -> list[psutil.Process]:
    """A node's processes, if one of them trains."""
    for node in cluster.worker_nodes:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        children = raylet.children(recursive=True)
        if any("work" in " ".join(child.cmdline()) for child in children):
            return [raylet, *children]
    return []


def job_victims(folder: Path) -> list[psutil.Process]:
    """A process that trains a stack."""
    pids = [run.tags()["mlflow.fmnist.pid"] for run in runs_in(folder) if run.status() == "RUNNING"]
    return [psutil.Process(int(pids[0]))] if pids else []


def runs_in(folder: Path) -> list[RunDir]:
    """The runs that were begun there."""
    return [RunDir(path) for path in sorted((folder / "outputs" / "runs").glob("*"))]


def finished(folder: Path) -> dict[str, str]:
    """The digest of the weights of each finished run, by its folder's name."""
    done = [run for run in runs_in(folder) if run.status() == "FINISHED"]
    return {run.path.name: run.tags()["weights_sha256"] for run in done}


@contextmanager
def cluster_for(launcher: str) -> Iterator[Any]:
    """A Ray cluster of several nodes on this machine, for the launcher that wants one."""
    if launcher != "stacked_ray":
        yield None
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    for _ in range(NODES):
        cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]  # as Ray has it


if __name__ == "__main__":
    main()
