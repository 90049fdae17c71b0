"""Where `fmnist` begins: it hears signals before it imports what takes its time."""

import gc
import os
import sys
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
    _use_utf8()
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
    _provide_home()
    # importing torch makes a million objects that stay: looking for garbage among them costs a
    # second between the command and the first step
    gc.disable()
    from fashion_mnist.cli.app import app

    app()


def _use_utf8() -> None:
    """Where Python took letters of the command line for bytes, as with LC_ALL=C: begin anew.

    In Python's UTF-8 mode they are letters, in paths and in the processes that we start too.
    """
    is_undecoded = any("\udc80" <= letter <= "\udcff" for word in sys.argv for letter in word)
    if is_undecoded and not sys.flags.utf8_mode and os.name == "posix":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


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
