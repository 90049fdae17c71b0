"""A network beside the one that would have to make room for it."""

from dataclasses import dataclass

from fashion_mnist.conclusions.predictions import (
    PredictionsError,
    are_comparable,
    stored_predictions,
)
from fashion_mnist.conclusions.standing import OTHER_IMAGES
from fashion_mnist.metrics.statistics import ALPHA, McNemarTest, mcnemar_test
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

SPLIT = "validation"  # the test set is not for choosing


@dataclass(frozen=True)
class Challenge:
    """What the images of the validation split say of the champion so far and of the next one."""

    champion: RecordedRun
    test: McNemarTest | None  # the champion comes first
    why_untested: str = ""

    @property
    def verdict(self) -> str:
        """Of the next one: better, worse, not told apart, or not tested."""
        if self.test is None:
            return "not tested"
        if self.test.p > ALPHA:
            return "not told apart"
        return "better" if self.test.difference > 0 else "worse"

    def words(self) -> str:
        """In a sentence, with what it rests on."""
        name = f"the champion so far, {self.champion.name}"
        if self.test is None:
            return f"it cannot be compared with {name}: {self.why_untested}"
        told = {
            "not told apart": f"it cannot be told apart from {name}",
            "better": f"it is better than {name}",
            "worse": f"it is worse than {name}",
        }
        return (
            f"{told[self.verdict]}: of {self.test.num_images:,} {SPLIT} images it alone has "
            f"{self.test.second_alone:,} right and the other alone {self.test.first_alone:,} "
            f"(McNemar's exact test, p = {self.test.p:.2g})"
        )


def challenge(store: Reader, champion: RecordedRun, run: RecordedRun) -> Challenge:
    """Compare two networks by what is stored of their predictions; one test, not corrected.

    It judges these two networks on other images of the kind, and not what another seed would do.

    Raises:
        OSError: the store does not answer.
    """
    try:
        first, second = (stored_predictions(store, each, SPLIT) for each in (champion, run))
    except PredictionsError as error:
        return Challenge(champion, None, str(error))
    if not are_comparable(first, second):
        return Challenge(champion, None, OTHER_IMAGES.replace("the best", "the champion"))
    return Challenge(champion, mcnemar_test(first.is_right, second.is_right))
