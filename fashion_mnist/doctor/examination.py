"""All that `fmnist doctor` looks at, in turn."""

from collections.abc import Iterator
from pathlib import Path

from fashion_mnist.config.store_uri import absolute_uri
from fashion_mnist.console import disk_trouble
from fashion_mnist.doctor.data_set import look_at_data
from fashion_mnist.doctor.finding import Finding, wrong
from fashion_mnist.doctor.hardware import look_at_gpu, look_at_threads
from fashion_mnist.doctor.outputs import look_at_disk, look_at_leftovers, look_at_logs
from fashion_mnist.doctor.packages import look_at_packages
from fashion_mnist.doctor.stores import known_logs, look_at_paths, look_at_store


def examine(uri: str, *, output_dir: Path, data_dir: Path) -> Iterator[Finding]:
    """Look at everything; nothing is changed.

    Raises:
        ValueError: `uri` cannot be the address of a store.
    """
    uri = absolute_uri(uri, name="--uri")
    looks = {
        "environment": look_at_packages(),
        "data": look_at_data(data_dir),
        "store": look_at_store(uri),
        "paths in the store": look_at_paths(uri),
        "event logs": look_at_logs(output_dir, lambda: known_logs(uri)),
        "leftovers": look_at_leftovers(output_dir),
        "disk": look_at_disk(output_dir),
        "threads": look_at_threads(),
        "GPU": look_at_gpu(),
    }
    for topic, look in looks.items():
        try:
            yield from look
        except OSError as error:
            yield wrong(topic, disk_trouble(error), "see what it says")
