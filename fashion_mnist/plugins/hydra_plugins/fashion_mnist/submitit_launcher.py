"""`hydra/launcher=stacked_submitit`: stacks are jobs of Slurm."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra_plugins.fashion_mnist.launcher import StackedLauncher


class StackedSubmititLauncher(StackedLauncher):
    """Trains jobs whose shapes agree together, each stack as a job of an array."""

    def __init__(
        self,
        *,
        cluster: str,
        cpus: int,
        gpus: int,
        memory: float | None,
        minutes: int,
        partition: str | None,
        account: str | None,
        qos: str | None,
        constraint: str | None,
        array_parallelism: int,
        signal_seconds: int,
        requeues: int,
        retries: int,
        setup: Sequence[str],
        additional: dict[str, Any],
    ) -> None:
        # imported here: Hydra imports every plugin at every start
        from fashion_mnist.launchers.slurm import SlurmLauncher

        super().__init__()
        self.orders.launcher = SlurmLauncher(
            cluster=cluster,
            cpus=cpus,
            gpus=gpus,
            minutes=minutes,
            array_parallelism=array_parallelism,
            signal_seconds=signal_seconds,
            requeues=requeues,
            retries=retries,
            options={
                "mem_gb": memory,
                "slurm_partition": partition,
                "slurm_account": account,
                "slurm_qos": qos,
                "slurm_constraint": constraint,
                "slurm_setup": list(setup) or None,
                "slurm_additional_parameters": dict(additional) or None,
            },
        )


@dataclass
class StackedSubmititLauncherConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.submitit_launcher.StackedSubmititLauncher"
    cluster: str = "slurm"  # or local: processes of this machine, to try things out
    cpus: int = 1  # of each stack's job, which computes on so many threads; 1 or more
    gpus: int = 0  # of each job; above 0, training.device auto is cuda
    memory: float | None = None  # GiB of each job; null: the cluster's own default
    minutes: int = 60  # of each job; a stack that needs longer is requeued and goes on
    partition: str | None = None  # null, as for the next three: the cluster's own default
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None  # features that a node must have
    array_parallelism: int = 256  # jobs at a time, 1 or more
    signal_seconds: int = 120  # before its time is over a job saves its runs and is requeued
    requeues: int = 100  # at most, of a job that ran out of time
    retries: int = 3  # of a job that died, 0 or more
    setup: list[str] = field(default_factory=list)  # lines of shell before each job; typed only
    additional: dict[str, Any] = field(
        default_factory=dict
    )  # further options of sbatch; typed only


ConfigStore.instance().store(
    group="hydra/launcher",
    name="stacked_submitit",
    node=StackedSubmititLauncherConfig,
    provider="fashion_mnist",
)
