"""What `auto` becomes."""

import os
import subprocess
import sys

import pytest

from fashion_mnist.training.device import is_fast_in_bf16, resolve_machine


@pytest.mark.parametrize(
    ("batch_size", "num_weights", "gains"),
    [
        (128, 784 * 512 + 512 * 256 + 256 * 10, True),
        (128, 784 * 128 + 128 * 64 + 64 * 10, False),
        (512, 784 * 128 + 128 * 64 + 64 * 10, True),
        (32, 784 * 1024 + 2 * 1024**2 + 1024 * 10, False),
    ],
)
def test_auto_takes_bf16_where_it_was_measured_to_gain(
    batch_size: int, num_weights: int, gains: bool
) -> None:
    """Wide networks and large batches, on a CPU that has the instructions."""
    machine = resolve_machine(
        device="cpu", precision="auto", threads=1, batch_size=batch_size, num_weights=num_weights
    )
    assert machine.precision == ("bf16" if gains and is_fast_in_bf16("cpu") else "fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(precision: str) -> None:
    """Whatever it costs."""
    machine = resolve_machine(
        device="cpu", precision=precision, threads=3, batch_size=1, num_weights=1
    )
    assert (machine.precision, machine.threads, machine.device) == (precision, 3, "cpu")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux has affinity masks")
def test_cores_are_those_that_the_process_may_use() -> None:
    """Not those of the whole machine; a container's quota is counted in the same way."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from fashion_mnist.training.device import physical_cores; print(physical_cores())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    for wanted, extra in (("1", {}), ("7", {"OMP_NUM_THREADS": "7"})):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | extra,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == wanted
