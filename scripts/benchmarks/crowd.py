"""Clients that send at once: threads, each with an output folder and an uploader of its own."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import psutil

from fashion_mnist.tracking.uploader import sync

RUNS_EACH = 2


@dataclass(frozen=True)
class Told:
    """What came of it; seconds."""

    num_runs: int
    reasons: list[str]  # of those that are not sent
    seconds: float
    longest: float  # of a client
    core_of_server: float
    core_of_clients: float

    def cells(self) -> list[str]:
        """As cells of a table."""
        speed = (self.num_runs - len(self.reasons)) / self.seconds
        words = [str(self.num_runs), str(len(self.reasons)), f"{self.seconds:.1f}", f"{speed:.2f}"]
        both = (self.core_of_server, self.core_of_clients)
        return [*words, f"{self.longest:.1f}", *(f"{own / self.num_runs:.2f}" for own in both)]


class Crowd:
    """So many clients, each with runs to send."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folders = [folder.absolute() / str(number) for number in range(count)]

    def write(self, write_run: Callable[[Path], None]) -> None:
        """Lay out what they are going to send."""
        for folder in self._folders:
            for number in range(RUNS_EACH):
                write_run(folder / "runs" / str(number))

    def send(self, pid: int) -> Told:
        """All of them at once, to the server with this process."""
        ready = Barrier(len(self._folders))
        server = server_of(pid)
        before, own, began = core_of(server), sum(psutil.Process().cpu_times()[:2]), time.time()

        def client(folder: Path) -> tuple[float, list[str]]:
            ready.wait()
            begun = time.time()
            outcome = sync(folder)
            reasons = [str(outcome.reason) for run in outcome.uploads if not run.is_complete]
            return time.time() - begun, reasons

        with ThreadPoolExecutor(len(self._folders)) as pool:
            results = list(pool.map(client, self._folders))
        seconds = time.time() - began
        return Told(
            RUNS_EACH * len(self._folders),
            [reason for _, reasons in results for reason in reasons],
            seconds,
            max(each for each, _ in results),
            core_of(server) - before,
            sum(psutil.Process().cpu_times()[:2]) - own,
        )


def server_of(pid: int) -> list[psutil.Process]:
    """The server's processes."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def core_of(processes: list[psutil.Process]) -> float:
    """Seconds of a core that they have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)
