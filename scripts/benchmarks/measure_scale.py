"""How it goes with ten thousand runs and with a hundred clients: what grows, and what gives first.

    python scripts/benchmarks/measure_scale.py sweeps  # preflight and resume
    python scripts/benchmarks/measure_scale.py reading  # a database file, and its server
    python scripts/benchmarks/measure_scale.py reading --store postgresql://…  # an empty database
    python scripts/benchmarks/measure_scale.py children  # a thousand below one sweep
    python scripts/benchmarks/measure_scale.py clients --clients 1 10 100 --workers 1 2

Runs are not trained: they are copies of one that is, row by row or line by line. Times are of one
call each, on the clock and in seconds of a core, which a busy machine changes less. The exponent
is that of a power law through a row and the one before it: 1 is linear.
"""

import argparse
import math
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path

from copies import copy_rows, copy_run, pretend_trained
from crowd import Crowd, core_of, server_of
from measuring import FMNIST, Table, core_seconds, describe_machine, whole_command

from fashion_mnist.tracking.server import mlflow_server, wait_until_ready

SIZES = [1000, 3000, 10000]
SEEDS = 5  # of each setting
SMALL = ["data.train_size=2000", "model.width=8", "model.depth=1", "training.epochs=20"]
OVER = ", over a server"
NEVER = ["evaluation.test=never", "tracking.model=never"]


def main() -> None:
    """Run the parts that were asked for and print a Markdown table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["sweeps", "reading", "children", "clients"])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--store", default="", help="an empty database's address; else a file")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    print(describe_machine())
    measures: dict[str, Callable[[], Table]] = {
        "sweeps": lambda: measure_sweeps(options.sizes),
        "reading": lambda: measure_reading(options.sizes, options.store),
        "children": lambda: measure_children(options.store),
        "clients": lambda: measure_clients(options.clients, options.workers, options.store),
    }
    for part in options.parts:
        print(f"\n{measures[part]().markdown()}", flush=True)


class Growth:
    """Times of the same things at several sizes."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self._before: dict[str, tuple[int, float]] = {}

    def measure(
        self, size: int, what: str, subject: Callable[[], object], server: int | None = None
    ) -> None:
        """One call, and how it grew since the last size; `server`: a process whose work counts."""
        began, used = time.perf_counter(), used_by(server)
        subject()
        seconds, core = time.perf_counter() - began, used_by(server) - used
        exponent = "–"
        if what in self._before:
            smaller, less = self._before[what]
            exponent = f"{math.log(core / less) / math.log(size / smaller):.2f}"
        self._before[what] = (size, core)
        self.rows.append([f"{size:,}", what, f"{seconds:.1f}", f"{core:.1f}", exponent])
        print(self.rows[-1], flush=True)

    def table(self, what: str) -> Table:
        """All of it."""
        return Table([what, "", "s", "s of a core", "exponent"], self.rows)


def used_by(server: int | None) -> float:
    """Seconds of a core that this program, those that it started and a server have used."""
    return core_seconds() + (core_of(server_of(server)) if server else 0.0)


def measure_sweeps(sizes: Sequence[int]) -> Table:
    """Preflight of new jobs and of trained ones, and the same sweep again, recorded nowhere."""
    growth = Growth()
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            write_sweep(Path("mine/sweep/scale.yaml"), size)
            words = ["sweep=scale", "tracking.uri=null", *NEVER]
            command = [FMNIST, "train", "--config-dir", "mine", *words]
            look, again = (whole_command(folder, [*command, *flag]) for flag in (["--dry-run"], []))
            growth.measure(size, "preflight of new runs", look)
            pretend_trained(words, "mine")
            growth.measure(size, "preflight of trained runs", look)
            growth.measure(size, "the sweep again, all trained, with its summary", again)
            growth.measure(size, "and again, with nothing new", again)
    return growth.table("jobs")


def write_sweep(path: Path, size: int) -> None:
    """A sweep over learning rates and seeds."""
    path.parent.mkdir(parents=True)
    fixed = "\n".join(f"  {word.replace('=', ': ')}" for word in SMALL)
    path.write_text(
        f"defaults: [default, _self_]\naxes:\n{fixed}\n"
        f"  optimizer.lr: {{low: 1.0e-5, high: 1.0e-1, log: true, num: {size // SEEDS}}}\n"
        f"  seed: range({SEEDS})\n",
        encoding="utf-8",
    )


def measure_reading(sizes: Sequence[int], store: str) -> Table:
    """The commands that read a store, from its database and over a server."""
    growth = Growth()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        uri = store or f"sqlite:///{folder}/mlflow.db"
        run_id = train_template(folder, uri)
        done = 1
        with started(uri) as (address, pid):
            for size in sizes:
                copy_rows(uri, run_id, range(done, size), seeds=SEEDS)
                done = size
                for place, where, own in (("", uri, None), (OVER, address, pid)):
                    for words in (
                        ["runs", "--limit", "0"],
                        ["leaderboard"],
                        ["report", "fashion-mnist"],
                    ):
                        command = whole_command(folder, [FMNIST, *words, "--uri", where])
                        growth.measure(size, f"`fmnist {words[0]}`{place}", command, own)
    return growth.table("runs in one experiment")


def measure_children(store: str, size: int = 1000) -> Table:
    """The commands that read a sweep of a thousand runs, in an experiment of as many more."""
    growth = Growth()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        uri = store or f"sqlite:///{folder}/mlflow.db"
        run_id = train_template(folder, uri, "-m", "optimizer.lr=1e-3,2e-3", "sweep.name=large")
        copy_rows(uri, run_id, range(2, size), seeds=SEEDS)
        with started(uri) as (address, pid):
            for place, where, own in (("", uri, None), (OVER, address, pid)):
                for words in (["runs", "--sweep", "large"], ["leaderboard", "large"]):
                    command = whole_command(folder, [FMNIST, *words, "--uri", where])
                    growth.measure(size, f"`fmnist {' '.join(words)}`{place}", command, own)
    return growth.table("children of one sweep")


def measure_clients(clients: Sequence[int], workers: Sequence[int], store: str) -> Table:
    """Clients that send a run each, at once, to a server with so many processes."""
    head = ["workers", "clients", "runs", "not sent", "s", "runs a second"]
    rows = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        uri = store or f"sqlite:///{folder}/mlflow.db"
        train_template(folder, f"sqlite:///{folder}/template.db")
        [template] = (path.parent for path in Path("outputs/runs").glob("*/events.jsonl"))
        for number in workers:
            options = ["--artifacts-destination", f"{folder}/artifacts", "--workers", str(number)]
            with started(uri, options) as (address, pid):
                for count in clients:
                    crowd = Crowd(Path(f"{number}-{count}"), count)
                    crowd.write(partial(copy_run, template, uri=address))
                    sent = crowd.send(pid)
                    rows.append([str(number), str(count), *sent.cells()])
                    print(rows[-1], sent.reasons, flush=True)
    return Table([*head, "longest, s", "core s a run: server", "clients"], rows)


def train_template(folder: str, uri: str, *more: str) -> str:
    """Train a small run, or a sweep of them, and record it; the id of its last run."""
    from fashion_mnist.tracking.reader import Reader

    words = ["train", *more, *SMALL, f"tracking.uri={uri}", "evaluation.test=never"]
    whole_command(folder, [FMNIST, *words])()
    return next(run.run_id for run in Reader(uri).runs() if run.is_network)


@contextmanager
def started(uri: str, options: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """MLflow's server, for as long as the context lasts; its address and process."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with mlflow_server(uri, port, options) as process:
        wait_until_ready(process, f"{address}/health")
        yield address, process.pid


def free_port() -> int:
    """A port of this machine that no program listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
