"""`fmnist ui`: MLflow's pages on this machine, and links to the views worth opening. No MLflow."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from fashion_mnist.console import printable
from fashion_mnist.tracking.address import (
    absolute_uri,
    check_store,
    demand_no_password,
    without_password,
)
from fashion_mnist.tracking.hosting import LOOPBACK, Hosting, serve_until_stopped
from fashion_mnist.tracking.login import login_headers
from fashion_mnist.tracking.problems import complaint
from fashion_mnist.tracking.views import VERSION_TAG, view_links

LONGEST_ANSWER = 20_000_000  # bytes


def ui(uri: str, port: int = 5000, say: Callable[[str], None] = print) -> None:
    """Shows the store in the browser until Ctrl-C.

    Raises:
        ValueError: the port is taken, or the address cannot be a store's.
        OSError: the store does not answer, or MLflow does not start.
    """
    uri = absolute_uri(uri)
    problem = check_store(uri)
    if problem:
        raise OSError(problem)
    if uri.startswith("http"):
        demand_no_password(uri, "the store")
        say_links(uri, say)
        return
    hosting = Hosting(uri, port)

    def welcome() -> None:
        say_links(hosting.address, say)
        tunnel = f"ssh -L {port}:{LOOPBACK}:{port} {socket.gethostname()}"
        say(f"\nFor this machine alone; on another one: {tunnel}")
        say("Ctrl-C stops it.")

    serve_until_stopped(hosting, say, welcome)


def say_links(address: str, say: Callable[[str], None]) -> None:
    """One block for each experiment that has our views."""
    found = [experiment for experiment in experiments(address) if has_views(experiment)]
    for experiment in found:
        say(printable(f"\n{experiment['name']}"))
        for name, link in view_links(address, str(experiment["experiment_id"])).items():
            say(printable(f"  {name}: {link}"))
    if not found:
        say(f"No runs of ours yet: {address}")


def has_views(experiment: dict[str, Any]) -> bool:
    tags = experiment.get("tags") or []
    return any(isinstance(tag, dict) and tag.get("key") == VERSION_TAG for tag in tags)


def experiments(address: str) -> list[dict[str, Any]]:
    """The store's experiments, as its server tells them, newest first.

    Raises:
        OSError: it does not tell.
    """
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/experiments/search",
        data=json.dumps({"max_results": 1000}).encode(),
        headers={"Content-Type": "application/json", **login_headers()},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read(LONGEST_ANSWER)
    except urllib.error.HTTPError as error:
        raise OSError(complaint(address, error)) from error
    try:
        found = json.loads(content).get("experiments", [])
        return [each for each in found if {"name", "experiment_id"} <= each.keys()]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise OSError(f"{without_password(address)} does not answer as MLflow does") from None
