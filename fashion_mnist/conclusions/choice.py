"""Which run somebody means: by id, the beginning of an id, name, `latest` or `best`."""

import difflib
import math
import re
from collections.abc import Callable, Sequence

from fashion_mnist.config.errors import shown
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

LATEST, BEST = "latest", "best"
SHORT = 8  # digits of an id that tables show
SHORTEST = 4  # digits by which near ids are judged
MOST_NAMED = 5  # runs in an error
MOST_NEAR = 3
_ID = re.compile(r"[0-9a-f]{32}")


class ChoiceError(ValueError):
    """No run, or more than one, is what the user named."""


def find_run(store: Reader, word: str, experiment: str | None = None) -> RecordedRun:
    """The run that the word means in this experiment, or in all.

    `latest` and `best` are networks; an id or a name may also be a sweep's or a comparison's.

    Raises:
        ChoiceError: it means none, or several; near ones are named.
    """
    if _ID.fullmatch(word) and experiment is None:
        run = store.run(word)
        if run is not None:
            return run
    return choose_run(store.runs(experiment), word)


def find_runs(
    store: Reader, words: Sequence[str], experiment: str | None = None
) -> list[RecordedRun]:
    """`find_run` for each word, the store being asked once."""
    runs = store.runs(experiment)
    return [choose_run(runs, word) for word in words]


def find_sweep(store: Reader, word: str, experiment: str | None = None) -> RecordedRun:
    """The run that stands for the sweep that the word means; `networks_of` gives its networks.

    Raises:
        ChoiceError: as `find_run`.
    """
    return choose_sweep(store.runs(experiment), word)


def choose_run(runs: Sequence[RecordedRun], word: str) -> RecordedRun:
    """`find_run` among these runs."""
    return _choose(runs, word, "run", lambda run: run.is_network)


def choose_sweep(runs: Sequence[RecordedRun], word: str) -> RecordedRun:
    """`find_sweep` among these runs; `best` is the one whose best setting has the best mean."""
    return _choose([run for run in runs if run.is_sweep], word, "sweep", lambda _run: True)


def networks_of(sweep: RecordedRun, runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Those of the runs that are the sweep's networks."""
    return [run for run in runs if run.is_network and run.parent_id == sweep.run_id]


def without_copies(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs without those that are among them already, as another sweep's."""
    ids = {run.run_id for run in runs}
    return [run for run in runs if run.original_id not in ids]


def short_ids(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The beginning of each run's id, as many digits of it as are unique among these runs."""
    ids = sorted(run.run_id for run in runs)
    length = SHORT
    while length < 32 and len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}


def _choose(
    runs: Sequence[RecordedRun], word: str, kind: str, is_ranked: Callable[[RecordedRun], bool]
) -> RecordedRun:
    if word == LATEST:
        return _latest([run for run in runs if is_ranked(run)], kind)
    if word == BEST:
        return _best([run for run in runs if is_ranked(run)], kind)
    for match in (_has_id, _has_name, _begins):
        found = [run for run in runs if match(run, word)]
        found = found if match is _has_id else without_copies(found)
        if len(found) == 1:
            return found[0]
        if found:
            raise ChoiceError(f"{shown(word)} is {len(found)} {kind}s: {_listed(found)}")
    raise ChoiceError(f"there is no {kind} {shown(word)}{_near(runs, word)}")


def _latest(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    started = [(run.start, run) for run in runs if run.start is not None]
    if not started:
        raise ChoiceError(f"there is no latest {kind}: none has been recorded here")
    return max(started, key=lambda pair: pair[0])[1]


def _best(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    """The highest score; of equal ones the oldest."""
    scored = [(run.score, run) for run in runs if run.score is not None]
    finite = [(score, run) for score, run in scored if math.isfinite(score)]
    if not finite:
        raise ChoiceError(f"there is no best {kind}: none has finished with a validation accuracy")
    top = max(score for score, _ in finite)
    equal = [run for score, run in finite if score == top]
    return min(equal, key=lambda run: run.start.timestamp() if run.start else math.inf)


def _has_id(run: RecordedRun, word: str) -> bool:
    return run.run_id == word


def _has_name(run: RecordedRun, word: str) -> bool:
    return run.name == word


def _begins(run: RecordedRun, word: str) -> bool:
    return bool(word) and run.run_id.startswith(word.lower())


def _listed(runs: Sequence[RecordedRun]) -> str:
    ids = short_ids(runs)
    words = [
        f"{ids[run.run_id]} ({run.name}, {run.start:%Y-%m-%d %H:%M})"
        if run.start
        else f"{ids[run.run_id]} ({run.name})"
        for run in runs[:MOST_NAMED]
    ]
    more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
    return ", ".join(words) + more


def _near(runs: Sequence[RecordedRun], word: str) -> str:
    """Runs that were perhaps meant: names that the word is part of, near names and ids."""
    if not runs:
        return ": none has been recorded here"
    ids, asked = short_ids(runs), word.lower()[:200]
    beginnings = {run.run_id[: max(len(asked), SHORTEST)]: run for run in runs}
    names = {run.name.lower(): run for run in reversed(runs)}  # of equal ones the newest
    known = {**beginnings, **names}
    parts = [name for name in names if asked and asked in name][:MOST_NEAR]
    near = [*parts, *difflib.get_close_matches(asked, [*known, LATEST, BEST], n=MOST_NEAR)]
    words = [
        f"{ids[known[each].run_id]} ({known[each].name})" if each in known else each
        for each in near
    ]
    if not words:
        return f"; there are {len(runs):,}: `fmnist runs --all`"
    return f"; near: {', '.join(list(dict.fromkeys(words))[:MOST_NEAR])}"
