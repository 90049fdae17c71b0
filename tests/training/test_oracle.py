"""An oracle that is not ours: the classic training loop of torch, on the same batches."""

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fashion_mnist.config.schema import Config
from fashion_mnist.data.loader import Loader
from fashion_mnist.models.network import Dropout, build_mlp
from fashion_mnist.runs.stacks import DataSplit, build_architecture, build_stack, split_data
from fashion_mnist.training.device import Machine
from fashion_mnist.training.loop import train_step
from fashion_mnist.training.schedules import Schedule
from fashion_mnist.training.stack import Stack
from tests.builders import CLASS_NAMES, load, make_config, make_data

PLAIN = ("model.hidden_sizes=[16,12]", "schedule=constant")
FULL = (
    "model.hidden_sizes=[16,16]",
    "model.activation=gelu",
    "model.normalization=batch",
    "model.residual=true",
    "model.dropout=0.25",
    "model.input_dropout=0.125",
    "loss.label_smoothing=0.1",
    "loss.class_weights=[1,2,0.5]",
    "optimizer.weight_decay=0.1",
    "training.ema=0.9",
    "training.clip_grad_norm=0.5",
)


class MaskedBy(nn.Module):
    """Dropout with the masks that the stack draws, from a generator in the same state."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.source = Dropout([rate], [generator])

    def forward(self, x: Tensor) -> Tensor:
        """Keep what the stack keeps."""
        return x * self.source.mask(x.shape)


class Skip(nn.Sequential):
    """A residual block."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the input."""
        return x + super().forward(x)  # type: ignore[no-untyped-call,no-any-return]  # torch has no type


def classic_network(config: Config, stack: Stack, num_inputs: int) -> nn.Sequential:
    """The network as a tutorial writes it, of torch.nn's modules, with the stack's weights."""
    [source] = stack.dropout_generators
    draws = torch.Generator().set_state(source.get_state())
    parts, sizes = OrderedDict[str, nn.Module](), [num_inputs, *config.model.sizes()]
    if config.model.input_dropout:
        parts["input_dropout"] = MaskedBy(config.model.input_dropout, draws)
    for k, (i, o) in enumerate(pairwise(sizes), 1):
        is_normalised = config.model.normalization == "batch"
        layer = OrderedDict[str, nn.Module](linear=nn.Linear(i, o, bias=not is_normalised))
        if is_normalised:
            layer["normalization"] = nn.BatchNorm1d(o)
        layer["activation"] = {"relu": nn.ReLU, "gelu": nn.GELU}[config.model.activation]()
        if config.model.dropout:
            layer["dropout"] = MaskedBy(config.model.dropout, draws)
        skips = config.model.residual and i == o
        parts[f"hidden{k}"] = Skip(layer) if skips else nn.Sequential(layer)
    parts["output"] = nn.Linear(sizes[-1], len(CLASS_NAMES))
    network = nn.Sequential(parts)
    missing = network.load_state_dict(stack.model.state_dict(), strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    assert not missing.unexpected_keys
    return network


def classic_loader(
    folder: Path, data_split: DataSplit, loader: Loader
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Torchvision's data set and transforms, in the order that the stack takes next."""
    generator = torch.Generator()
    generator.set_state(loader.shuffle_generators[0].get_state())
    order = data_split.split.train[torch.randperm(loader.num_examples, generator=generator)]
    to_floats = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Normalize((data_split.mean,), (data_split.std,)),
            torch.flatten,
        ]
    )
    dataset = FashionMNIST(str(folder), train=True, transform=to_floats)
    return DataLoader(dataset, batch_sampler=order.split(loader.batch_size))  # type: ignore[no-untyped-call]  # torch has no type for it


@pytest.mark.parametrize("overrides", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_losses_and_weights_are_those_of_the_classic_loop(
    overrides: tuple[str, ...], optimizer: str, tmp_path: Path
) -> None:
    """Step by step over two epochs, within the rounding of float32."""
    raw = make_data(tmp_path / "FashionMNIST" / "raw", image_shape=(28, 28))
    config = make_config(raw, f"optimizer={optimizer}", *overrides, "training.epochs=2")
    dataset, machine = load(raw), Machine("cpu", "fp32", 1)
    data_split = split_data(config, dataset)
    stack = build_stack([config], [data_split], dataset, machine)
    network = classic_network(config, stack, num_inputs=28 * 28)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    options = {"lr": config.optimizer.lr, **config.optimizer.options}
    classic = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer](
        network.parameters(), **options
    )
    num_steps = 2 * stack.loader.num_steps
    schedule = Schedule(
        name=config.schedule.name,
        warmup=config.schedule.warmup,
        options=config.schedule.options,
    )
    rates = torch.optim.lr_scheduler.LambdaLR(classic, lambda k: schedule((k + 0.5) / num_steps))
    weights = config.loss.class_weights
    criterion = nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=config.loss.options["label_smoothing"],
    )
    for _ in range(2):
        classics = classic_loader(tmp_path, data_split, stack.loader)
        for batch, (images, labels) in zip(stack.loader.epoch(), classics, strict=True):
            _logits, own_loss = train_step(stack, batch)

            torch.testing.assert_close(batch.pixels[0], images)
            assert torch.equal(batch.labels[0], labels)
            loss = criterion(network(images), labels)
            classic.zero_grad()
            loss.backward()
            if config.training.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_grad_norm)
            classic.step()
            rates.step()
            move_average(average, network, stack.num_steps)
            torch.testing.assert_close(own_loss[0], loss.detach(), rtol=2e-4, atol=2e-5)
    expected = average if stack.average else network.state_dict()
    for name, tensor in stack.weights(0).items():
        torch.testing.assert_close(tensor, expected[name], rtol=2e-3, atol=2e-4)


def move_average(average: dict[str, Tensor], network: nn.Module, num_steps: int) -> None:
    """The textbook's moving average; its decay rises to 0.9."""
    decay = min(0.9, (1 + num_steps) / (10 + num_steps))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name] = decay * average[name] + (1 - decay) * tensor


def test_the_exported_network_gives_the_runs_logits(tmp_path: Path) -> None:
    """Of a run of a stack, with every part that a network can have."""
    folder = make_data(tmp_path / "data")
    words = [*FULL, "model.activation=silu"]
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(3)]
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    data_splits = [split_data(config, dataset) for config in configs]
    stack = build_stack(configs, data_splits, dataset, machine)
    for batch in stack.loader.epoch():
        train_step(stack, batch)
    stack.model.eval()
    logits = stack.predict(batch.pixels)
    for run in range(3):
        network = build_mlp(build_architecture(configs[run], dataset))
        network.load_state_dict(stack.weights(run))
        exported = network.eval()(batch.pixels[run])
        torch.testing.assert_close(exported, logits[run], rtol=1e-5, atol=1e-5)
