"""`fmnist serve`: MLflow's scoring server with one network, on this machine alone.

It is the application that `mlflow models serve --env-manager local` starts, behind a guard. The
model folder is made here, of the weights alone: one from a store may name any code to be run.
"""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvicorn
from mlflow.pyfunc import load_model, scoring_server

from fashion_mnist.tracking.guard import INVOCATIONS, guarded
from fashion_mnist.tracking.hosting import LOOPBACK, check_port_is_free, ended_by_signals
from fashion_mnist.tracking.packaging import save_network


def serve(weights: Path, *, name: str, port: int, say: Callable[[str], None]) -> None:
    """Answers requests until Ctrl-C.

    Args:
        weights: the network, a safetensors file.
        name: what is served, in words.

    Raises:
        ValueError: the port is taken.
    """
    check_port_is_free(port)
    with tempfile.TemporaryDirectory() as folder:
        save_network(weights, Path(folder, "model"))
        model = load_model(str(Path(folder, "model")))
    schema = model.metadata.get_input_schema()  # type: ignore[no-untyped-call] # MLflow's are untyped
    height, width = schema.inputs[0].shape[1:]
    app = guarded(scoring_server.init(model), (height, width))
    config = uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning", access_log=False)
    address = f"http://{LOOPBACK}:{port}{INVOCATIONS}"
    say(f'{name}\n  takes {{"inputs": images}}, JSON, [B, {height}, {width}] of 0 to 255')
    say(f"  at {address}, for this machine alone; Ctrl-C stops it")
    with contextlib.suppress(KeyboardInterrupt), ended_by_signals():
        uvicorn.Server(config).run()
