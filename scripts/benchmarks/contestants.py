"""What this program is compared with: loops that a user would write or pick instead, and the roof.

Each function prepares one epoch on all training images (config's network, batch size, dropout,
normalisation, AdamW) and returns it as a function to be timed, which gives the mean training loss
where there is one. N images, B batch, P pixels.
"""

import itertools
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from measuring import DATA
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import NAMES, Dataset, load_dataset
from fashion_mnist.data.idx import write_idx
from fashion_mnist.runs.stacks import build_architecture, build_stack, split_data
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import train_epoch

Epoch = Callable[[], float | None]


def ours(config: Config, dataset: Dataset, machine: Machine) -> Epoch:
    """As `fmnist train` trains: a stack of one."""
    stack = build_stack([config], [split_data(config, dataset)], dataset, machine)

    def run() -> float:
        stack.num_steps = 0  # no schedule goes beyond its last epoch
        return train_epoch(stack).rows[0]["train/loss"]

    return run


def classic(config: Config, dataset: Dataset, folder: Path, num_workers: int) -> Epoch:
    """The tutorials' loop: torchvision's transforms, image by image, in a `DataLoader`.

    Args:
        folder: where torchvision finds the data set.
    """
    data_split = split_data(config, dataset)
    steps = [transforms.ToTensor(), transforms.Normalize((data_split.mean,), (data_split.std,))]
    images = FashionMNIST(str(folder), transform=transforms.Compose(steps))
    loader = DataLoader(
        images, batch_size=config.training.batch_size, shuffle=True, num_workers=num_workers
    )
    network = build(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.optimizer.lr)
    criterion = nn.CrossEntropyLoss()

    def run() -> float:
        losses = []
        for pixels, labels in loader:
            optimizer.zero_grad()
            loss: Tensor = criterion(network(pixels.flatten(1)), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's is untyped
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run


def in_memory(config: Config, dataset: Dataset, dtype: torch.dtype) -> Epoch:
    """The best that one writes by hand with autograd: normalised tensors, a fused optimiser."""
    pixels, labels = normalised(config, dataset)
    network = build(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.optimizer.lr, fused=True)
    narrow = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)

    def run() -> float:
        losses = []
        for index in torch.split(torch.randperm(len(pixels)), config.training.batch_size):
            optimizer.zero_grad()
            with narrow:
                loss = nn.functional.cross_entropy(network(pixels[index]), labels[index])
            loss.backward()  # type: ignore[no-untyped-call]  # the same
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run


def lightning(config: Config, dataset: Dataset) -> Epoch | None:
    """Lightning's Trainer on tensors in memory; None where it is not installed."""
    if not find_spec("lightning"):
        return None
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):  # type: ignore[misc]  # it may not be there
        def __init__(self) -> None:
            super().__init__()
            self.network = build(config)
            self.losses = list[Tensor]()

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            loss = nn.functional.cross_entropy(self.network(batch[0]), batch[1])
            self.losses.append(loss.detach())
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=config.optimizer.lr)

    size = config.training.batch_size
    loader = DataLoader(TensorDataset(*normalised(config, dataset)), size, shuffle=True)
    module = Module()

    def run() -> float:
        warnings.simplefilter("ignore")
        module.losses = []
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return float(torch.stack(module.losses).mean())

    return run


def scikit_learn(config: Config, dataset: Dataset) -> Epoch:
    """scikit-learn's MLPClassifier with Adam: no dropout, no normalisation between layers."""
    from sklearn.neural_network import MLPClassifier

    pixels, labels = (tensor.numpy() for tensor in normalised(config, dataset))
    classifier = MLPClassifier(
        config.model.sizes(),
        batch_size=config.training.batch_size,
        learning_rate_init=config.optimizer.lr,
        max_iter=1,
    )

    def run() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged after one epoch
            classifier.fit(pixels, labels)
        return float(classifier.loss_curve_[0])

    return run


def roof(config: Config, dataset: Dataset, dtype: torch.dtype) -> Epoch:
    """The matrix products of an epoch alone, by torch.mm: forward, and both of backward."""
    # written where they always are: a loop that allocates is no roof
    layers = [
        (*layer, *(torch.empty_like(tensor) for tensor in layer))
        for layer in operands(config, dataset, dtype)
    ]

    def run() -> None:
        for _ in range(num_steps(config, dataset)):
            for k, (x, weight, gradient, dx, dw, y) in enumerate(layers):
                torch.mm(x, weight.t(), out=y)
                torch.mm(gradient.t(), x, out=dw)
                if k:  # the gradient of pixels is not needed
                    torch.mm(gradient, weight, out=dx)

    return run


def operands(
    config: Config, dataset: Dataset, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each layer: inputs `[B, I]`, weight `[O, I]`, gradient of the outputs `[B, O]`."""
    size = config.training.batch_size
    return [
        (
            torch.randn(size, i).to(dtype),
            torch.randn(o, i).to(dtype),
            torch.randn(size, o).to(dtype),
        )
        for i, o in build_architecture(config, dataset).linear_sizes
    ]


def num_steps(config: Config, dataset: Dataset) -> int:
    """Batches of all training images."""
    return -(-len(dataset.train_labels) // config.training.batch_size)


def write_for_torchvision(folder: Path) -> None:
    """The data set where torchvision looks for it."""
    data = load_dataset(folder=DATA)
    tensors = (
        data.train_images.view(-1, *data.image_shape),
        data.train_labels,
        data.test_images.view(-1, *data.image_shape),
        data.test_labels,
    )
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, tensor in zip(NAMES, tensors, strict=True):
        write_idx(raw / name, tensor.to(torch.uint8).numpy())


def normalised(config: Config, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Pixels float32 `[N, P]` and labels int64 `[N]`."""
    data_split = split_data(config, dataset)
    pixels = (dataset.train_images.float() / 255 - data_split.mean) / data_split.std
    return pixels, dataset.train_labels.long()


def build(config: Config) -> nn.Sequential:
    """The network as a tutorial writes it."""
    sizes, layers = [28 * 28, *config.model.sizes()], list[nn.Module]()
    for num_inputs, num_outputs in itertools.pairwise(sizes):
        layers.append(nn.Linear(num_inputs, num_outputs))
        if config.model.normalization == "batch":
            layers.append(nn.BatchNorm1d(num_outputs))
        layers.append(nn.ReLU())
        if config.model.dropout:
            layers.append(nn.Dropout(config.model.dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))
