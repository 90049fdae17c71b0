"""A network beside the one that would have to make room for it."""

from dataclasses import dataclass

from fashion_mnist.conclusions.images import VALIDATION
from fashion_mnist.conclusions.predictions import (
    PredictionsError,
    are_comparable,
    stored_predictions,
)
from fashion_mnist.conclusions.standing import OTHER_IMAGES
from fashion_mnist.metrics.statistics import ALPHA, McNemarTest, mcnemar_test
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

TEST = "test"
SPLITS = (TEST, VALIDATION)  # the first one whose predictions both have stored


@dataclass(frozen=True)
class Challenge:
    """What the images of a split say of the champion so far and of the next one."""

    champion: RecordedRun
    test: McNemarTest | None  # the champion comes first
    why_untested: str = ""
    split: str = VALIDATION  # that was compared on

    @property
    def verdict(self) -> str:
        """Of the next one: better, worse, not significantly different, or not tested."""
        if self.test is None:
            return "not tested"
        if self.test.p > ALPHA:
            return "not significantly different"
        return "significantly better" if self.test.difference > 0 else "significantly worse"

    def words(self) -> str:
        """In a sentence, with what it rests on."""
        name = f"the champion so far, {self.champion.name}"
        if self.test is None:
            return f"it cannot be compared with {name}: {self.why_untested}"
        relation = {
            "not significantly different": "not significantly different from",
            "significantly better": "significantly better than",
            "significantly worse": "significantly worse than",
        }
        bias = (
            "; a network that was chosen by its validation accuracy is optimistically biased here"
            if self.split == VALIDATION
            else ""
        )
        return (
            f"it is {relation[self.verdict]} {name}: of {self.test.num_images:,} {self.split} "
            f"images it alone has {self.test.second_alone:,} right and the other alone "
            f"{self.test.first_alone:,} (McNemar's exact test, p = {self.test.p:.2g}){bias}"
        )


def challenge(store: Reader, champion: RecordedRun, run: RecordedRun) -> Challenge:
    """Compare two networks by what is stored of their predictions; one test, not adjusted.

    On the test set where both have read it: the validation split, which is used else, is what
    networks are chosen by, and its scores of a chosen one are optimistically biased. The test is
    of these two networks on other images of the kind, and not of what another seed would do.

    Raises:
        OSError: the store does not answer.
    """
    why = OTHER_IMAGES
    for split in SPLITS:
        try:
            first, second = (stored_predictions(store, each, split) for each in (champion, run))
        except PredictionsError as error:
            why = str(error)
            continue
        if are_comparable(first, second):
            return Challenge(champion, mcnemar_test(first.is_right, second.is_right), split=split)
        why = OTHER_IMAGES
    return Challenge(champion, None, why)
