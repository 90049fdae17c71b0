"""Whether fewer threads compute the same bits: then stacks can be trained beside each other.

A product or a sum is shared out among threads in pieces that depend on its shape. Where the pieces
are rows and columns of the result the bits stay the same; where they are parts of one sum they do
not. The shapes of a run are few: a whole batch, the last one of an epoch, and those of evaluation.
"""

import json
from dataclasses import replace

import torch

from fashion_mnist.checkpoint import tensors_sha256
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.data.splits import Split
from fashion_mnist.loop import EVALUATION_BATCH_SIZE, train_epoch
from fashion_mnist.machine import Machine
from fashion_mnist.runs.stacks import View, build_stack, validation_index, view_data


def gives_same_bits(config: Config, dataset: Dataset, machine: Machine, threads: int) -> bool:
    """Whether a run on that many threads has the bits of one on the machine's: tried out.

    Args:
        dataset: on the CPU.
    """
    if machine.device != "cpu" or threads == machine.threads:
        return machine.device == "cpu"
    view = _shortest(view_data(config, dataset), config.training.batch_size)
    return _train(config, view, dataset, machine, threads) == _train(
        config, view, dataset, machine, machine.threads
    )


def _shortest(view: View, batch_size: int) -> View:
    """The least images that make batches of every size that there is."""
    own = view.split
    split = Split(
        train=own.train[: _count(len(own.train), batch_size)],
        validation=own.validation[: _count(len(own.validation), EVALUATION_BATCH_SIZE)],
    )
    return replace(view, split=split)


def _count(total: int, batch_size: int) -> int:
    return total if total < batch_size else batch_size + total % batch_size


def _train(config: Config, view: View, dataset: Dataset, machine: Machine, threads: int) -> str:
    """Everything that an epoch on these images leaves, in a few words."""
    torch.set_num_threads(threads)
    stack = build_stack([config], [view], dataset, machine)
    result = train_epoch(stack, validation_index=validation_index([view], machine))
    [row] = result.rows
    figures = {key: value for key, value in row.items() if key != "images_per_second"}
    return f"{tensors_sha256(stack.tensors(0))} {json.dumps(figures)}"
