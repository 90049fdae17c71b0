"""The server that `processes.ForkServer` starts: it has imported everything, and forks.

A child comes out of `serve` to be the console script's process, and ends as that does.
"""

import gc
import json
import os
import runpy
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins


def serve() -> None:
    """Fork what is asked for, and tell how each child ended; returns in every child.

    When nobody asks any more, however that came about, what is left of the children is killed.
    """
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    _import_everything()
    living = set()
    for question in questions:
        request = json.loads(question)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            living.discard(pid)
        else:
            begun, has_begun = os.pipe()
            answer = os.fork()
            if answer == 0:
                questions.close()
                os.close(answers.fileno())
                os.close(begun)
                os.setsid()
                os.close(has_begun)
                _become(request)
                return
            os.close(has_begun)
            os.read(begun, 1)  # until the child has closed it: its group can be sent signals now
            os.close(begun)
            living.add(answer)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in living:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os._exit(0)


def _import_everything() -> None:
    """What a run, a sweep and a search import by and by; torch's threads are not started."""
    gc.disable()
    for name in (
        "fashion_mnist.cli.app",
        "fashion_mnist.cli.train",
        "fashion_mnist.sweeps.runner",
        "fashion_mnist.sweeps.search",
        "matplotlib.pyplot",
        "sklearn.metrics",
    ):
        import_module(name)
    Plugins.instance()  # has Hydra import every plugin that there is
    gc.freeze()


def _become(request: dict[str, Any]) -> None:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    _write_to(*request["outputs"])
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)


def _write_to(stdout: str | None, stderr: str | None) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        if path is None:
            os.close(number)
        else:
            # appended to: where both streams have the same file, neither writes over the other
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, number)
            os.close(file)


if __name__ == "__main__":
    serve()
    runpy.run_path(sys.argv[0], run_name="__main__")
