"""What a run left on the disk is taken up again: its newest whole checkpoint, or its network."""

import logging

from fashion_mnist.atomic import set_aside
from fashion_mnist.checkpoint import CheckpointError, FormatError, Model, load_state
from fashion_mnist.journal import Journal
from fashion_mnist.runs.folder import RunFolder
from fashion_mnist.runs.request import RunError
from fashion_mnist.stack import MemberState

RECOVERY_TAG = "recovery"
log = logging.getLogger("fashion_mnist")


def recover(folder: RunFolder, journal: Journal) -> MemberState | None:
    """The state to go on from; None to begin.

    What is damaged is set aside, and the user and the run's record are told. What the journal
    lost of the history is said again.

    Raises:
        RunError: a checkpoint that another program wrote.
        OSError: nothing can be written.
    """
    state, damages = None, []
    for path in folder.checkpoints():
        try:
            state = load_state(path)
            break
        except FormatError as error:
            advice = "go on with that program, or move the file away to begin again"
            raise RunError(f"{error}: {advice}") from error
        except CheckpointError as error:
            damages.append(f"{error} (kept as {set_aside(path).name})")
    if damages:
        place = f"epoch {state.epoch}" if state else "its beginning"
        said = f"{'; '.join(damages)}; the run goes back to {place}"
        log.warning(said)
        journal.tags({RECOVERY_TAG: said})
    elif state is None and folder.history():
        log.info("there is no checkpoint of this run: it begins again")
    for row in state.history if state else ():
        figures = {key: value for key, value in row.items() if key != "epoch"}
        journal.metrics(int(row["epoch"]), figures)
    return state


def load_network(folder: RunFolder) -> Model:
    """What a finished run has become. Raises RunError where the file is damaged or gone."""
    try:
        return folder.load_model()
    except (CheckpointError, FileNotFoundError) as error:
        raise RunError(f"{error}; rerun=true trains the run again") from error
