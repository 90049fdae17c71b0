"""`hydra/launcher=stacked`, `stacked_ray` and `stacked_submitit`: Hydra's shells over `launchers/`.

Hydra imports this file at every start, so what is slow to import is imported where it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fashion_mnist.launchers.options import RayOptions, SubmititOptions

if TYPE_CHECKING:
    from fashion_mnist.launchers import base


class StackedLauncher(Launcher):
    """Stands for the launcher of this machine; a subclass for another of ours."""

    def __init__(self, launcher: "base.Launcher | None" = None) -> None:
        from fashion_mnist.launchers.local import LocalLauncher

        self.launcher: base.Launcher = launcher or LocalLauncher()

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's first call: there is nothing to do."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> NoReturn:
        """Hydra's call, which does not come: `sweeps.runner.run_sweep` asks `launcher`."""
        raise NotImplementedError("fmnist train calls run_sweep")


class StackedRayLauncher(StackedLauncher):
    """Trains stacks wherever a Ray cluster has room for them."""

    def __init__(self, **options: Any) -> None:
        from fashion_mnist.launchers.ray import RayLauncher

        super().__init__(RayLauncher(**options))


class StackedSubmititLauncher(StackedLauncher):
    """Trains each stack as a job of a Slurm array."""

    def __init__(self, **options: Any) -> None:
        from fashion_mnist.launchers.slurm import SlurmLauncher

        super().__init__(SlurmLauncher(**options))


@dataclass
class StackedLauncherConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedLauncher"


@dataclass
class StackedRayLauncherConfig(RayOptions):
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedRayLauncher"


@dataclass
class StackedSubmititLauncherConfig(SubmititOptions):
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.launcher.StackedSubmititLauncher"


for _name, _node in {
    "stacked": StackedLauncherConfig,
    "stacked_ray": StackedRayLauncherConfig,
    "stacked_submitit": StackedSubmititLauncherConfig,
}.items():
    ConfigStore.instance().store(
        group="hydra/launcher", name=_name, node=_node, provider="fashion_mnist"
    )
