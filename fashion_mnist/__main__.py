"""Where `fmnist` begins: it hears signals before it imports what takes its time."""

import gc
import os
from pathlib import Path

from fashion_mnist.runs.signals import end_on_signals

# No usage reports of libraries, here and in all processes that we start, unless the environment has
# another value.
NO_REPORTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def main() -> None:
    """What the console script calls."""
    end_on_signals()
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
    _provide_home()
    # importing torch makes a million objects that stay: looking for garbage among them costs a
    # second between the command and the first step
    gc.disable()
    from fashion_mnist.cli import app

    app()


def _provide_home() -> None:
    """Where there is no home folder, as of a user id without a name, the current one stands for it.

    MLflow cannot be imported without one, here or in a process that we start.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(Path.cwd())


if __name__ == "__main__":
    main()
