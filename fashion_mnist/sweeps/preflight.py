"""What a sweep is going to do, in words: how many runs, how they are stacked, how long it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fashion_mnist.console import duration, plural

MEBIBYTE = 2**20
# Steps are measured; reading data, the final evaluation, pictures and event logs are not, nor is
# what else the machine will do in that time.
LEAST_SPREAD = 1.3


@dataclass(frozen=True)
class StackPlan:
    """Runs of one architecture that can be trained together, and what that costs."""

    architecture: str  # 784-512-256-10 relu
    num_runs: int
    num_stacks: int  # that the runs are cut into
    stack_size: int  # the most members of a stack
    num_parameters: int  # of one run
    num_bytes: float  # of a stack; NaN: not known
    seconds: float  # of all the runs; NaN: not known
    spread: float = LEAST_SPREAD  # the factor by which the seconds may be wrong


@dataclass(frozen=True)
class SearchPlan:
    """How far a search is."""

    sampler: str
    num_trials: int  # in all
    num_done: int


@dataclass(frozen=True)
class Preflight:
    """What was found out of a sweep before anything is trained.

    Every job is counted once: as a duplicate of another job, or as a run that is finished, failed,
    to be resumed or new. Of a search, the jobs are those that are asked for already.
    """

    num_jobs: int
    num_duplicates: int = 0
    num_finished: int = 0
    num_repeated: int = 0  # finished or failed before, and trained anew: rerun=true
    resumed_epochs: Sequence[tuple[int, int]] = ()  # of each run to be resumed: done, of how many
    num_failed: int = 0  # before
    retries_failed: bool = False
    stacks: Sequence[StackPlan] = ()
    num_workers: int = 1  # stacks that are trained at a time
    seconds_to_start: float = 0.0  # before there is one
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # and their values in words
    search: SearchPlan | None = None

    @property
    def num_new(self) -> int:
        """Runs that were never begun."""
        there = self.num_finished + self.num_repeated + self.num_failed + len(self.resumed_epochs)
        return self.num_jobs - self.num_duplicates - there

    @property
    def num_to_train(self) -> int:
        """Runs that will be trained or gone on with."""
        retried = self.num_failed if self.retries_failed else 0
        return self.num_new + self.num_repeated + retried + len(self.resumed_epochs)

    @property
    def seconds(self) -> float:
        """Estimate of all the training, as far as it is known; 0 where there is none."""
        known = [plan.seconds for plan in self.stacks if not math.isnan(plan.seconds)]
        return sum(known) + self.seconds_to_start if known else 0.0

    @property
    def num_bytes(self) -> float:
        """What the largest stack needs, as far as it is known."""
        known = [plan.num_bytes for plan in self.stacks if not math.isnan(plan.num_bytes)]
        return max(known, default=math.nan)


def short(preflight: Preflight) -> str:
    """Counts, stacks, time and memory, in one to three lines."""
    lines = [_counts(preflight) if preflight.search is None else _search(preflight.search)]
    if preflight.stacks:
        lines.append(_cost(preflight))
    return "\n".join(lines)


def full(preflight: Preflight) -> str:
    """The short form, what is swept, what is resumed, and a table of the architectures."""
    blocks = [short(preflight)]
    if preflight.axes:
        names = max(map(len, preflight.axes))
        axes = [f"  {name:<{names}}  {', '.join(v)}" for name, v in preflight.axes.items()]
        blocks.append("\n".join(["axes", *axes]))
    if preflight.resumed_epochs:
        epochs = ", ".join(f"{done} of {total}" for done, total in preflight.resumed_epochs)
        blocks.append(f"resumed after epochs {epochs}")
    if preflight.stacks:
        blocks.append(_table(preflight.stacks))
    return "\n\n".join(blocks)


def error_of_estimate(estimated: float, actual: float) -> str:
    """How good the estimate was: `estimated 3 min 10 s, took 3 min 31 s (+11 %)`; in seconds."""
    if not estimated > 0:  # nothing was to be trained, or nobody knew
        return f"took {duration(actual)}"
    error = (actual - estimated) / estimated
    return f"estimated {duration(estimated)}, took {duration(actual)} ({100 * error:+.0f} %)"


def _search(search: SearchPlan) -> str:
    done, total = search.num_done, search.num_trials
    return f"search ({search.sampler}): {done} of {total} trials done, {max(0, total - done)} to go"


def _counts(preflight: Preflight) -> str:
    retried = "to be retried" if preflight.retries_failed else "sweep.retry_failed=true retries"
    counts = {
        "{} new": preflight.num_new,
        "{} to be resumed": len(preflight.resumed_epochs),
        "{} to be trained again (rerun=true)": preflight.num_repeated,
        "{} finished before": preflight.num_finished,
        "{} failed before (" + retried + ")": preflight.num_failed,
        "{} duplicate": preflight.num_duplicates,
    }
    words = [form.format(count) for form, count in counts.items() if count]
    if preflight.num_duplicates > 1:
        words[-1] += "s"
    head = plural(preflight.num_jobs, "job")
    return f"{head}: {', '.join(words)}" if words else head


def _cost(preflight: Preflight) -> str:
    plans = preflight.stacks
    number = plural(sum(plan.num_stacks for plan in plans), "stack")
    size = max(plan.stack_size for plan in plans)
    beside = f", {preflight.num_workers} at a time" if preflight.num_workers > 1 else ""
    words = [
        f"{plural(preflight.num_to_train, 'run')} to train in {number} of up to {size}{beside}"
        if preflight.search is None
        else f"in stacks of up to {size}",
        _time(preflight),
    ]
    if not math.isnan(preflight.num_bytes):
        words.append(f"{_mebibytes(preflight.num_bytes)} MiB for the largest stack")
    return ", ".join(words)


def _time(preflight: Preflight) -> str:
    """The estimate and between what it may lie."""
    plans = preflight.stacks
    known = [plan for plan in plans if not math.isnan(plan.seconds)]
    if not known:
        return "how long is not known"
    spreads = [(plan.seconds, max(plan.spread, LEAST_SPREAD)) for plan in known]
    start = preflight.seconds_to_start
    low, high = (start + sum(s * x**sign for s, x in spreads) for sign in (-1, 1))
    words = f"about {duration(preflight.seconds)} ({duration(low)} to {duration(high)})"
    unknown = len(plans) - len(known)
    return f"{words} and {plural(unknown, 'architecture')} not measured" if unknown else words


def _table(plans: Sequence[StackPlan]) -> str:
    """A row for each architecture, in plain text: it goes to logs as well as to terminals."""
    rows = [["network", "runs", "stacks", "parameters", "MiB a stack", "time"]]
    rows += [
        [
            plan.architecture,
            str(plan.num_runs),
            f"{plan.num_stacks} × {plan.stack_size}",
            f"{plan.num_parameters:,}",
            "?" if math.isnan(plan.num_bytes) else _mebibytes(plan.num_bytes),
            "?" if math.isnan(plan.seconds) else duration(plan.seconds),
        ]
        for plan in plans
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            word.rjust(width) if k else word.ljust(width)
            for k, (word, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _mebibytes(num_bytes: float) -> str:
    return f"{num_bytes / MEBIBYTE:,.1f}"
