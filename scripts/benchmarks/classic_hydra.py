"""The script that people write: Hydra, a DataLoader, autograd, and MLflow's fluent calls.

`benchmark.py grid` compares the program with it: `classic_hydra.py -m lr=1e-3,2e-3 seed=0,1`.
"""

import itertools
from dataclasses import dataclass, field

import hydra
import matplotlib.pyplot as plt
import mlflow
import torch
from hydra.core.config_store import ConfigStore
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchvision import transforms
from torchvision.datasets import FashionMNIST


@dataclass
class Config:
    """What the command line may change."""

    root: str = "data"
    hidden_sizes: list[int] = field(default_factory=lambda: [128, 64])
    lr: float = 1e-3
    batch_size: int = 128
    epochs: int = 5
    seed: int = 0


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config: Config) -> float:
    """Train one run and record it; returns its validation accuracy."""
    torch.manual_seed(config.seed)
    plt.switch_backend("agg")
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))])
    whole = FashionMNIST(config.root, transform=steps)
    train_set, validation_set = random_split(whole, [55_000, 5_000])
    train_loader = DataLoader(train_set, config.batch_size, shuffle=True)
    validation_loader = DataLoader(validation_set, 500)
    network = build(list(config.hidden_sizes))
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr)
    criterion = nn.CrossEntropyLoss()
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("classic")
    with mlflow.start_run():
        mlflow.log_params({"lr": config.lr, "seed": config.seed, "epochs": config.epochs})
        for epoch in range(1, config.epochs + 1):
            total = 0.0
            for pixels, labels in train_loader:
                optimizer.zero_grad()
                loss: Tensor = criterion(network(pixels), labels)
                loss.backward()  # type: ignore[no-untyped-call]  # torch's is untyped
                optimizer.step()
                total += loss.item() * len(labels)
            mlflow.log_metric("train/loss", total / len(train_set), step=epoch)
            labels, predictions = evaluate(network, validation_loader)
            accuracy = float((labels == predictions).float().mean())
            mlflow.log_metric("val/accuracy", accuracy, step=epoch)
        display = ConfusionMatrixDisplay.from_predictions(labels, predictions)
        mlflow.log_figure(display.figure_, "confusion_matrix.png")
        plt.close(display.figure_)
    return accuracy


def build(hidden_sizes: list[int]) -> nn.Sequential:
    """A multilayer perceptron with ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for num_inputs, num_outputs in itertools.pairwise([28 * 28, *hidden_sizes]):
        layers += [nn.Linear(num_inputs, num_outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_sizes[-1], 10))


@torch.no_grad()
def evaluate(
    network: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Labels and predictions `[N]`."""
    pairs = [(labels, network(pixels).argmax(1)) for pixels, labels in loader]
    labels, predictions = zip(*pairs, strict=True)
    return torch.cat(labels), torch.cat(predictions)


if __name__ == "__main__":
    main()
