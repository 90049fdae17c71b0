"""Runs that a store shows as running although nobody trains them and nothing of them is left here.

A dead run whose journal is here is ended there, and sent. This is for one whose output folder was
removed: nobody else will ever say that it is over. While there is a folder its own sender may be
about to say FINISHED.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from fashion_mnist.process import is_dead
from fashion_mnist.recorded import FOLDER_TAG, JOURNAL_TAG
from fashion_mnist.tracking.store import Store

log = logging.getLogger(__name__)


def end_zombies(store: Store, experiment_id: str, known: Collection[str]) -> None:
    """Ends the runs of this machine's dead processes as KILLED, at their last point.

    Args:
        known: ids of the runs whose journals are here.
    """
    for run in store.running_runs(experiment_id):
        tags = run.data.tags
        is_kept = tags[JOURNAL_TAG] in known or Path(tags.get(FOLDER_TAG, "/")).exists()
        if not is_kept and is_dead(tags):
            store.set_status(run.info.run_id, "KILLED", store.last_ms(run))
            log.info("%s: nobody trains it any more: ended", run.info.run_name)
