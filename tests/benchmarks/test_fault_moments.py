import pytest

from benchmarks.fault_moments import (
    Moment,
    Sealed,
    Timeline,
    drawn_from,
    intervals_of,
    moment_at,
    moment_in_life,
    sealed_in,
)

TIMELINE = Timeline(20.0, (Sealed("ingest@0", 9.0, 4.0), Sealed("render@0", 12.0, 3.0)))


def test_a_sealed_stage_is_read_from_what_a_run_prints() -> None:
    line = "06:37:32 iteration 0  ingest           1,042 rows     4.0 s"
    assert sealed_in(line, 9.0) == Sealed("ingest@0", 9.0, 4.0)
    assert sealed_in("06:37:38 generate: started, 162 samples", 9.0) is None


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 2.0), (0.25, 3.0), (0.75, 11.0), (1.0, 12.0)])
def test_moments_are_drawn_from_all_intervals_alike(share: float, seconds: float) -> None:
    assert drawn_from([(2.0, 4.0), (10.0, 12.0)], share) == pytest.approx(seconds)


def test_a_moment_is_named_by_the_stage_before_it() -> None:
    assert moment_at(TIMELINE, 3.0) == Moment("", 3.0)
    assert moment_at(TIMELINE, 12.5) == Moment("render@0", 0.5)
    assert TIMELINE.startup == 5.0


def test_a_moment_of_a_short_life_is_an_age() -> None:
    timeline = Timeline(20.0, TIMELINE.sealed, {"engine": [(2.0, 5.0), (10.0, 15.0)]})
    assert moment_in_life(timeline, 12.5, "engine") == Moment("ingest@0", 2.5, in_life=True)
    assert str(moment_in_life(timeline, 3.0, "engine")) == "1.0 s of its life, after the start"


def test_looks_at_something_become_the_intervals_in_which_it_was_there() -> None:
    seen = [(0.0, False), (0.2, True), (0.4, True), (0.6, False), (0.8, True), (5.0, True)]
    assert intervals_of(seen) == [(0.2, 0.8), (5.0, 5.0)]
