"""The registered network: which run it is, and how the next one compares with it."""

from dataclasses import dataclass

from fashion_mnist.analysis.labels import compared_to, difference_result, p_text
from fashion_mnist.analysis.networks import recorded_model, require_network
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.analysis.significance import OTHER_IMAGES
from fashion_mnist.metrics.predictions import PredictionsError, compare_predictions
from fashion_mnist.metrics.statistics import McNemarTest
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST, VALIDATION, RecordedRun
from fashion_mnist.tracking.registry import Registry, Version

REGISTRY_SPLITS = (TEST, VALIDATION)  # the first one whose predictions both have stored


@dataclass(frozen=True)
class RegisteredComparison:
    """What the images of a split say of the registered network so far and of the next one."""

    registered: RecordedRun
    test: McNemarTest | None  # the registered one comes first
    why_untested: str = ""
    split: str = VALIDATION  # that was compared on

    @property
    def result(self) -> str:
        """Of the next one: significantly better or worse, not significantly different, untested."""
        if self.test is None:
            return "not tested"
        return difference_result(self.test.difference, self.test.p)

    def words(self) -> str:
        """In a sentence, with what it rests on."""
        name = f"the registered model so far, {self.registered.name}"
        if self.test is None:
            return f"it cannot be compared with {name}: {self.why_untested}"
        bias = (
            "; a network that was chosen by its validation accuracy is optimistically biased here"
            if self.split == VALIDATION
            else ""
        )
        return (
            f"it is {compared_to(self.result, name)}: of {self.test.num_images:,} {self.split} "
            f"images it alone has {self.test.second_alone:,} right and the other alone "
            f"{self.test.first_alone:,} (McNemar's exact test, {p_text(self.test.p)}){bias}"
        )


def compare_registered(
    store: Reader, registered: RecordedRun, run: RecordedRun
) -> RegisteredComparison:
    """Compare two networks by what is stored of their predictions; one test, not adjusted.

    On the test set where both have read it: the validation split, which is used else, is what
    networks are chosen by, and its scores of a chosen one are optimistically biased. The test is
    of these two networks on other images of the kind, and not of what another seed would do.

    Raises:
        OSError: the store does not answer.
    """
    why = OTHER_IMAGES
    for split in REGISTRY_SPLITS:
        try:
            first, second = (stored_predictions(store, each, split) for each in (registered, run))
        except PredictionsError as error:
            why = str(error)
            continue
        if test := compare_predictions(first, second):
            return RegisteredComparison(registered, test, split=split)
        why = OTHER_IMAGES
    return RegisteredComparison(registered, None, why)


def register(
    store: Reader, run: RecordedRun, *, name: str, alias: str
) -> tuple[Version, Version | None, RegisteredComparison | None]:
    """Register a run's network and give it the alias, after a comparison with the one that had it.

    Returns:
        The version; that which had the alias, if any; and, if that is another network, the
        comparison.

    Raises:
        ValueError: the run has no network, or a name is none.
        OSError: the network is not recorded, or is not the run's; the store does not answer.
    """
    require_network(run)
    recorded_model(store, run)  # or it says why there is none, or that it is not the run's
    registry = Registry(store.uri)
    before = registry.with_alias(name, alias)
    other = store.run(before.run_id) if before and before.run_id != run.run_id else None
    comparison = compare_registered(store, other, run) if other else None
    version = registry.register(name, run)
    registry.give_alias(version, alias)
    return version, before, comparison


def registered_run(store: Reader, name: str, alias: str) -> RecordedRun:
    """The run whose network has the alias.

    Raises:
        ValueError: no version has it.
        OSError: the run is gone, or the store does not answer.
    """
    version = Registry(store.uri).with_alias(name, alias)
    if version is None:
        raise ValueError(
            f"no version of {name!r} has the alias {alias!r}: fmnist register RUN --alias {alias}"
        )
    found = store.run(version.run_id)
    if found is None:
        raise OSError(f"version {version.number} of {name!r} is of a run that is gone")
    return found
