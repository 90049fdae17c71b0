"""Learning rate schedules at the moments that can be worked out by hand."""

import pytest

from fashion_mnist.training.schedules import SCHEDULES, Schedule


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("constant", {}, [1, 1, 1]),
        ("cosine", {"final": 0.2}, [1, 0.6, 0.2]),
        ("linear", {"final": 0.5}, [1, 0.75, 0.5]),
        ("step", {"factor": 0.1, "num_steps": 1}, [1, 0.1, 0.01]),
        ("one_cycle", {"initial": 0.1, "peak": 0.5, "final": 0.0}, [0.1, 1, 0]),
    ],
)
def test_start_middle_and_end(name: str, options: dict[str, float], expected: list[float]) -> None:
    """Of every schedule, without a warm-up."""
    schedule = Schedule(name=name, warmup=0.0, options=options)
    assert [schedule(p) for p in (0.0, 0.5, 1.0)] == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_warm_up_rises_from_zero_to_where_the_schedule_starts(name: str) -> None:
    """Over its share of training; what follows is the whole schedule."""
    plain = Schedule(name=name, warmup=0.0, options={})
    warm = Schedule(name=name, warmup=0.2, options={})
    assert [warm(0.0), warm(0.1)] == pytest.approx([0, 0.5])
    assert warm(0.2) == pytest.approx(plain(0.0))
    assert warm(0.7) == pytest.approx(plain(0.625))
    assert warm(1.0) == pytest.approx(plain(1.0))
