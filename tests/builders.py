"""Small real IDX files, and configs and stacks on them: what tests are made of."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fashion_mnist.config.compose import Composer
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset, load_dataset
from fashion_mnist.data.idx import write_idx
from fashion_mnist.launchers.base import Capacity
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.members import Member, Observer, train_members
from fashion_mnist.runs.request import RequestResult
from fashion_mnist.runs.run_dir import RunDir, recover
from fashion_mnist.runs.stacks import split_data
from fashion_mnist.sweeps.grouping import Grouping
from fashion_mnist.sweeps.jobs import Job, runs_to_train
from fashion_mnist.sweeps.training import TrainingSetup, record_settled, train_stacks
from fashion_mnist.training.device import Machine

CLASS_NAMES = ("Trouser", "Bag", "Shirt")
QUIET = Observer()


def make_data(
    folder: Path,
    *,
    num_train: int = 90,
    num_test: int = 30,
    image_shape: tuple[int, int] = (6, 5),
    num_classes: int = len(CLASS_NAMES),
) -> Path:
    """Write four IDX files of pictures that can be learnt; returns their folder."""
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    prototypes = random.randint(0, 256, (num_classes, *image_shape))
    for part, count in (("train", num_train), ("t10k", num_test)):
        labels = random.randint(0, num_classes, count)
        noise = random.normal(0, 60, (count, *image_shape))
        images = np.clip(prototypes[labels] + noise, 0, 255)
        write_idx(folder / f"{part}-images-idx3-ubyte", images.astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    return folder


def data_overrides(folder: Path) -> list[str]:
    """The command line's words for the data that `make_data` wrote."""
    return ["data=idx", f"data.dir={folder}", f"data.class_names=[{','.join(CLASS_NAMES)}]"]


def make_config(folder: Path, *overrides: str) -> Config:
    """A config on that data, with a small validation split, recorded nowhere."""
    small = ["data.validation_size=20", "training.batch_size=16", "tracking.uri=null"]
    return composer().job([*data_overrides(folder), *small, *overrides]).config


def default_tree() -> dict[str, Any]:
    """The tree of the real YAML, as `parse` takes it."""
    return deepcopy(composer().files([]).tree)


@cache
def composer() -> Composer:
    """Composes the real YAML, once for all tests."""
    return Composer()


def load(folder: Path) -> Dataset:
    """The data that `make_data` wrote."""
    return load_dataset(name="idx", folder=folder, class_names=CLASS_NAMES)


def train_stack(
    configs: Sequence[Config],
    dataset: Dataset,
    machine: Machine,
    folder: Path,
    observer: Observer = QUIET,
) -> list[Member]:
    """Train the runs as one stack; run k lives in `folder/k`, and goes on where it is there."""
    return train_in(
        [folder / str(k) for k in range(len(configs))], configs, dataset, machine, observer
    )


def train_in(
    folders: Sequence[Path],
    configs: Sequence[Config],
    dataset: Dataset,
    machine: Machine,
    observer: Observer = QUIET,
) -> list[Member]:
    """Train the runs as one stack, each in its folder, and go on where there is a checkpoint."""
    torch.set_num_threads(machine.threads)
    members = []
    for number, (path, config) in enumerate(zip(folders, configs, strict=True)):
        folder = RunDir(path)
        data_split, event_log = split_data(config, dataset), EventLog(path)
        state = recover(folder, event_log)
        members.append(Member(number, config, folder, event_log, machine, data_split, state=state))
    train_members(members, dataset, observer)
    for member in members:
        member.event_log.close()
    return members


def train_jobs(
    jobs: Sequence[Job], setup: TrainingSetup | None = None, *, max_stack_size: int = 1
) -> dict[str, RequestResult]:
    """Train every run of these jobs that is not there yet; what became of each, by fingerprint.

    Raises:
        StopRequested, DataError: see `train_stacks`.
    """
    setup = setup or TrainingSetup()
    capacity = setup.workers.capacity if setup.workers else Capacity()
    stacks = Grouping(capacity, max_stack_size).stacks(runs_to_train(jobs))
    results = dict[str, RequestResult]()
    for trained in train_stacks(stacks, setup):
        results |= trained
    for job, *_ in record_settled(jobs, setup):
        results[job.fingerprint] = RequestResult(job.run_dir, was_known=True)
    return results
