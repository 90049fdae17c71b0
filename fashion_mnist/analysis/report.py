"""All that a report tells of a sweep, an experiment or some networks, read from the store once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.leaderboard import Leaderboard, Setting, build_leaderboard
from fashion_mnist.analysis.lookup import ChoiceError, choose_run, networks_of
from fashion_mnist.analysis.networks import read_images_of
from fashion_mnist.analysis.predictions import Pooled, paired_counts, pool
from fashion_mnist.analysis.report_board import history_of, rank_recorded, with_curves
from fashion_mnist.analysis.report_origin import repetition_of
from fashion_mnist.sweep import leaderboard as sweep
from fashion_mnist.sweep.importance import importances
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun
from fashion_mnist.training.stack import HistoryRow

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Subject:
    """What is reported on."""

    title: str
    sweeps: tuple[RecordedRun, ...]
    runs: tuple[RecordedRun, ...]  # the networks
    beside: tuple[RecordedRun, ...]  # all runs of their experiments


@dataclass(frozen=True)
class Gap:
    """Confusion counts `[C, C]` of the best setting and of the second, on the same images."""

    best: Tensor
    second: Tensor
    class_names: tuple[str, ...]
    num_pairs: int  # of networks, whose counts are summed


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    subject: Subject
    board: Leaderboard
    ranked: sweep.Leaderboard  # the same settings, as the pictures of sweeps take them
    shares: dict[str, float]  # of the differences, by axis
    curved: sweep.Leaderboard  # with the learning curves of its best settings
    history: list[HistoryRow]  # of a single run
    winner: tuple[Pooled, ...]  # what the best setting's networks said: validation, test
    no_winner: str  # why nothing is known of that
    gap: Gap | str  # or why there is none
    images: NDArray[np.uint8] | None  # `[N, H, W]` of the winner's first split
    no_images: str  # why
    commands: tuple[tuple[str, str], ...]  # of each setting shown: command, or nothing and why not

    @property
    def best(self) -> Setting:
        """The setting that the report is about in the main."""
        return self.board.settings[0]

    @property
    def is_one_run(self) -> bool:
        """Whether there is nothing to compare."""
        return len(self.runs) == 1

    @cached_property
    def runs(self) -> list[RecordedRun]:
        """Every run once."""
        return [run for setting in self.board.settings for run in setting.runs.values()]


def find_subject(store: Reader, words: Sequence[str], experiment: str | None = None) -> Subject:
    """The networks that the words name: each is a run, a sweep for all of its own, an experiment.

    Raises:
        ChoiceError: one names nothing, or too much.
        ValueError: there is no such experiment.
        OSError: the store does not answer.
    """
    known, experiments = store.runs(experiment), store.experiments()
    titles: list[str] = []
    networks: dict[str, RecordedRun] = {}
    sweeps = []
    for word in words:
        if word in experiments and experiment is None:
            titles.append(f"experiment {word}")
            own = [run for run in known if run.experiment == word and run.is_network]
        else:
            found = choose_run(known, word)
            titles.append(f"sweep {found.name}" if found.is_sweep else found.name)
            own = networks_of(found, known) if found.is_sweep else [found]
            sweeps += [found] if found.is_sweep else []
        networks |= {run.run_id: run for run in own}
    strange = [run for run in networks.values() if not run.is_network]
    if strange:
        raise ChoiceError(f"{strange[0].name} ({strange[0].run_id}) is not the run of a network")
    names = {run.experiment for run in networks.values()}
    beside = tuple(run for run in known if run.experiment in names)
    title = ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")
    return Subject(title, tuple(sweeps), tuple(networks.values()), beside)


def build_report(
    store: Reader, subject: Subject, *, limit: int | None, folder: Path | None = None
) -> Report:
    """Read and compute all that the page shows.

    Predictions are read of the best and the second setting, and of those shown that a test asks
    for; learning curves of the best few.

    Args:
        limit: settings that are shown; None for all.
        folder: of IDX files; None for where the runs had their data from.

    Raises:
        ChoiceError: there is no network.
        OSError: the store does not answer.
    """
    board = build_leaderboard(store, subject.title, subject.runs, subject.beside, limit=limit)
    ranked, results = rank_recorded(board)
    winner, no_winner = _winner(store, board.settings[0])
    images, no_images = _images(winner, folder)
    shown = [setting for setting, _ in board.shown]
    return Report(
        subject=subject,
        board=board,
        ranked=ranked,
        shares=importances(results, ranked.score),
        curved=with_curves(store, ranked, board),
        history=history_of(store, subject.runs[0]) if len(results) == 1 else [],
        winner=winner,
        no_winner=no_winner,
        gap=_gap(store, board, winner),
        images=images,
        no_images=no_images,
        commands=tuple(repetition_of(store, setting) for setting in shown),
    )


def _winner(store: Reader, setting: Setting) -> tuple[tuple[Pooled, ...], str]:
    """What its networks said of the validation split, and of the test set where that was read."""
    finished = [run for run in setting.runs.values() if run.status == "FINISHED"]
    tested = [run for run in finished if TEST_SCORE in run.metrics]
    pools = [pool(store, finished, SPLITS[0])]
    pools += [pool(store, tested, SPLITS[1])] if tested else []
    found = tuple(each for each in pools if isinstance(each, Pooled))
    reasons = [each for each in pools if isinstance(each, str)]
    return found, "; ".join(reasons)


def _gap(store: Reader, board: Leaderboard, winner: Sequence[Pooled]) -> Gap | str:
    scored = [setting for setting in board.settings if setting.score]
    if len(scored) < 2 or not winner:
        return "there is no second setting" if len(scored) < 2 else "nothing is known of the best"
    best, others = winner[0], [r for r in scored[1].runs.values() if r.status == "FINISHED"]
    second = pool(store, others, best.split)
    if isinstance(second, str):
        return second
    counts = paired_counts(best, second)
    return counts if isinstance(counts, str) else Gap(*counts[:2], best.class_names, counts[2])


def _images(winner: Sequence[Pooled], folder: Path | None) -> tuple[NDArray[np.uint8] | None, str]:
    if not winner:
        return None, "nothing is known of its mistakes"
    first = winner[0]
    return read_images_of(
        first.runs[0],
        first.class_names,
        wanted=first.split,
        sha256=first.predictions[0].split_sha256,
        folder=folder,
    )
