"""The GPUs of this machine that stacks are spread over."""

import os

import torch


def visible_devices() -> list[str]:
    """Each GPU that this process may use, by the name that CUDA_VISIBLE_DEVICES takes.

    Without a GPU, or without CUDA, there is none.
    """
    if not torch.cuda.is_available():
        return []
    return names_of(torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def names_of(count: int, visible: str | None) -> list[str]:
    """Names of so many devices, where the environment lets these be seen; None: all.

    What CUDA numbers from 0 are the first `count` entries of the list, be they numbers or UUIDs:
    a process within must be given the entry and not the number.
    """
    listed = [name.strip() for name in (visible or "").split(",") if name.strip()]
    return listed[:count] if listed else [str(number) for number in range(count)]


def pin(device: str) -> None:
    """This process sees that GPU alone; to be called before it has used any."""
    os.environ["CUDA_VISIBLE_DEVICES"] = device
