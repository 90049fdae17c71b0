"""A run that is over before it is recorded: a comparison, a report. It needs no journal."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from fashion_mnist.recorded import JOURNAL_TAG
from fashion_mnist.tracking.address import absolute_uri
from fashion_mnist.tracking.problems import complaint


def record_run(
    uri: str,
    *,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    files: Sequence[Path],
) -> str:
    """The id of a new, finished run with these files as artifacts, beside each other.

    Nothing is tried twice: called again, it makes another run.

    Raises:
        OSError: the store did not take it all, in one line.
    """
    from fashion_mnist.tracking.store import Store

    now = time.time_ns() // 1_000_000
    try:
        store = Store(absolute_uri(uri))
        identity = {JOURNAL_TAG: uuid4().hex}  # by which a store's runs are told to be ours
        run_id = store.create_run(store.experiment(experiment), name, now, {**tags, **identity})
        try:
            store.log(run_id, [(key, value, now, 0) for key, value in metrics.items()], {}, {})
            for file in files:
                store.log_file(run_id, file, file.name)
        except BaseException:
            store.set_status(run_id, "FAILED", now)
            raise
        store.set_status(run_id, "FINISHED", time.time_ns() // 1_000_000)
    except Exception as error:  # the boundary: every store's library has errors of its own
        raise OSError(f"not recorded in {complaint(uri, error)}") from error
    return run_id
