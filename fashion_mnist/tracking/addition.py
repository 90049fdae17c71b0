"""What is added to a recorded run after it has ended: figures and files."""

import time
from collections.abc import Mapping
from pathlib import Path

from fashion_mnist.recorded import RecordedRun
from fashion_mnist.tracking.address import absolute_uri
from fashion_mnist.tracking.problems import complaint


def add_to_run(
    uri: str, run: RecordedRun, *, figures: Mapping[str, float], folders: Mapping[str, Path]
) -> None:
    """Record figures, at step 0, and the files of folders below a path of the run's artifacts.

    Files of the same path are replaced; the figures come last, so that they say that all is there.

    Args:
        uri: of the store that has the run.
        folders: path below the run's artifacts -> folder.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import Store, artifact_repository

    now_ms = round(1000 * time.time())
    points = [(key, value, now_ms, 0) for key, value in figures.items()]
    try:
        store = Store(absolute_uri(uri))
        files = artifact_repository(run.artifact_uri, store.uri)
        for path, folder in folders.items():
            files.log_artifacts(str(folder), path)  # type: ignore[no-untyped-call] # MLflow's are untyped
        store.log(run.run_id, points, {}, {})
    except Exception as error:  # the boundary: every store's library has errors of its own
        raise OSError(complaint(uri, error)) from error
