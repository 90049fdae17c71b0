"""An oracle that is not ours: the classic training loop of torch, on the same batches."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fashion_mnist.batches import Batches
from fashion_mnist.layers import Dropout
from fashion_mnist.loop import update
from fashion_mnist.losses import member_sums
from fashion_mnist.machine import Machine
from fashion_mnist.network import build_network
from fashion_mnist.runs.stacks import View, build_architecture, build_stack, view_data
from fashion_mnist.stack import Stack
from tests.builders import load, make_config, make_data

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


class Replayed(nn.Module):
    """Dropout with the masks that the stack has just drawn."""

    def __init__(self, source: Dropout) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        """Keep what the stack's member 0 kept."""
        return x * self.source.kept[0]


def classic_network(stack: Stack) -> nn.Sequential:
    """The exported network with the stack's dropout in its places."""
    network = build_network(stack.model.architecture)
    network.load_state_dict(stack.model.state_dict(0))
    for layer, block in zip(stack.model.layers, network, strict=True):
        drops = [d for d in getattr(layer, "layers", []) if isinstance(d, Dropout)]
        for drop in drops:
            assert isinstance(block, nn.Sequential)
            block.append(Replayed(drop))
    source = stack.model.input_dropout
    if source is not None:
        network.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * source.kept[0],))
    return network


def classic_loader(folder: Path, view: View, batches: Batches) -> DataLoader[tuple[Tensor, Tensor]]:
    """Torchvision's data set and transforms, in the order that the stack takes next."""
    generator = torch.Generator()
    generator.set_state(batches.shuffle_generators[0].get_state())
    order = view.split.train[torch.randperm(batches.num_examples, generator=generator)]
    to_floats = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((view.mean,), (view.std,)), torch.flatten]
    )
    dataset = FashionMNIST(str(folder), train=True, transform=to_floats)
    return DataLoader(dataset, batch_sampler=order.split(batches.batch_size))  # type: ignore[no-untyped-call]  # torch has no type for it


@pytest.mark.parametrize("overrides", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_losses_and_weights_are_those_of_the_classic_loop(
    overrides: tuple[str, ...], optimizer: str, tmp_path: Path
) -> None:
    """Step by step over two epochs, within the rounding of float32."""
    raw = make_data(tmp_path / "FashionMNIST" / "raw", image_shape=(28, 28))
    config = make_config(raw, f"optimizer={optimizer}", *overrides, "training.epochs=2")
    dataset, machine = load(raw), Machine("cpu", "fp32", 1)
    view = view_data(config, dataset)
    stack = build_stack([config], [view], dataset, machine)
    assert build_architecture(config, dataset) == stack.model.architecture

    network = classic_network(stack)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    options = {"lr": config.optimizer.lr, **config.optimizer.options}
    classic = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer](
        network.parameters(), **options
    )
    num_steps = stack.batches.num_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        classic, lambda step: stack.schedules[0]((step + 0.5) / (2 * num_steps))
    )
    weights = config.loss.class_weights
    criterion = nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=config.loss.options["label_smoothing"],
    )
    for _ in range(2):
        loader = classic_loader(tmp_path, view, stack.batches)
        batches = zip(stack.batches.epoch(), loader, strict=True)
        for step, (batch, (images, labels)) in enumerate(batches):
            logits = stack.model.forward(batch.pixels, training=True)
            own = stack.loss(logits, batch.targets)
            stack.model.backward(own.gradient)
            update(stack, step)

            torch.testing.assert_close(batch.pixels[0], images)
            assert torch.equal(batch.labels[0], labels)
            loss = criterion(network(images), labels)
            classic.zero_grad()
            loss.backward()
            if config.training.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), config.training.clip_grad_norm)
            classic.step()
            schedule.step()
            move_average(average, network, 1 + step + stack.epoch * num_steps)
            mean = (member_sums(own.weighted) / member_sums(own.weight))[0]
            torch.testing.assert_close(mean, loss.detach(), rtol=2e-4, atol=2e-5)
        stack.epoch += 1
    expected = average if stack.average else network.state_dict()
    for name, tensor in expected.items():
        # a bias that batch normalization takes away again has no gradient but rounding noise
        is_noise = name.endswith("linear.bias") and config.model.normalization == "batch"
        if name.endswith(("weight", "bias")) and not is_noise:
            torch.testing.assert_close(stack.weights(0)[name], tensor, rtol=2e-3, atol=2e-4)


def move_average(average: dict[str, Tensor], network: nn.Module, num_steps: int) -> None:
    """The textbook's moving average; its decay rises to 0.9."""
    decay = min(0.9, (1 + num_steps) / (10 + num_steps))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name] = decay * average[name] + (1 - decay) * tensor


def test_the_exported_network_gives_the_members_logits(tmp_path: Path) -> None:
    """Of a member of a stack, with every part that a network can have."""
    folder = make_data(tmp_path / "data")
    words = [*FULL, "model.activation=silu"]
    configs = [make_config(folder, *words, f"seed={seed}") for seed in range(3)]
    dataset, machine = load(folder), Machine("cpu", "fp32", 1)
    views = [view_data(config, dataset) for config in configs]
    stack = build_stack(configs, views, dataset, machine)
    for batch in stack.batches.epoch():
        stack.model.forward(batch.pixels, training=True)  # moves the running statistics
    logits = stack.model.forward(batch.pixels, training=False)
    for member in range(3):
        network = build_network(stack.model.architecture)
        network.load_state_dict(stack.model.state_dict(member))
        exported = network.eval()(batch.pixels[member])
        torch.testing.assert_close(exported, logits[member], rtol=1e-5, atol=1e-5)
