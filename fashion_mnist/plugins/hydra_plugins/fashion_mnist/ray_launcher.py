"""`hydra/launcher=stacked_ray`: stacks are trained in a Ray cluster."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra_plugins.fashion_mnist.launcher import StackedLauncher


class StackedRayLauncher(StackedLauncher):
    """Trains jobs whose shapes agree together, wherever Ray has room for them."""

    def __init__(self, address: str | None, cpus: float, gpus: float, retries: int) -> None:
        # imported here: Hydra imports every plugin at every start
        from fashion_mnist.launchers.ray import RayLauncher

        super().__init__()
        self.orders.launcher = RayLauncher(address, cpus, gpus, retries)


@dataclass
class StackedRayLauncherConfig:
    """What Hydra makes it from."""

    _target_: str = "hydra_plugins.fashion_mnist.ray_launcher.StackedRayLauncher"
    # null: a cluster of this machine, which ends with the sweep; auto: the one that this machine
    # is a node of; HOST:PORT: the same by its head's address; ray://HOST:10001: from outside, with
    # RAY_AUTH_MODE=token in the environment where the cluster wants its token
    address: str | None = None
    cpus: float = 1  # of each stack, which computes on so many threads; 0 or more
    gpus: float = (
        0  # of each stack: 0.25 lets four share one; above 0, training.device auto is cuda
    )
    retries: int = 3  # of a stack whose node or process died, 0 or more; -1: without end


ConfigStore.instance().store(
    group="hydra/launcher",
    name="stacked_ray",
    node=StackedRayLauncherConfig,
    provider="fashion_mnist",
)
