"""The options of the launchers of clusters: `hydra.launcher.cpus` and so on.

They are apart from the launchers: Hydra reads them at every start, and those take long to import.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RayOptions:
    """Of `hydra/launcher=stacked_ray`."""

    # null: a cluster of this machine, which ends with the sweep; auto: the one that this machine
    # is a node of; HOST:PORT: the same by its head's address; ray://HOST:10001: from outside, with
    # RAY_AUTH_MODE=token in the environment where the cluster wants its token
    address: str | None = None
    cpus: float = 1  # of each stack, which computes on so many threads; 0 or more
    # of each stack: 0.25 lets four share one; above 0, training.device auto is cuda
    gpus: float = 0
    retries: int = 3  # of a stack whose node or process died, 0 or more; -1: without end


@dataclass
class SubmititOptions:
    """Of `hydra/launcher=stacked_submitit`."""

    cluster: str = "slurm"  # or local: processes of this machine, to try things out
    cpus: int = 1  # of each stack's job, which computes on so many threads; 1 or more
    gpus: int = 0  # of each job; above 0, training.device auto is cuda
    memory: float | None = None  # GiB of each job; null: the cluster's own default
    minutes: int = 60  # of each job; a stack that needs longer is requeued and goes on
    partition: str | None = None  # null, as for the next three: the cluster's own default
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None  # features that a node must have
    array_parallelism: int = 256  # jobs at a time of each array (Slurm takes 1000), 1 or more
    signal_seconds: int = 120  # before its time is over a job saves its runs and is requeued
    requeues: int = 100  # at most, of a job that ran out of time
    retries: int = 3  # of a job that died, 0 or more
    setup: list[str] = field(default_factory=list)  # lines of shell before each job; typed only
    # further options of sbatch; typed only
    additional: dict[str, Any] = field(default_factory=dict)
