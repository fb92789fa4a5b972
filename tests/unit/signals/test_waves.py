"""Waves grow, shrink, end and outlive a process."""

import json

import pytest

from go_cache_safeguard.signals.waves import Course, Forecast, Step, Terms, forecast, parse_course

TERMS = Terms(first=10, most=100, rate=50, rollbacks=2)


def test_waves_grow_while_they_do_no_harm_and_never_beyond_the_most() -> None:
    course, sizes = Course(10), []
    for _ in range(7):
        course = course.opened(10_000, 0)
        sizes.append(course.keys)
        course = course.moved().advanced(TERMS)
    assert sizes == [10, 16, 26, 42, 68, 100, 100]


def test_a_paused_wave_is_followed_by_half_of_it() -> None:
    course = Course(40).opened(1_000, 0).moved().pausing().advanced(TERMS)
    assert course.size == 20
    assert not course.opened(1_000, 0).paused


@pytest.mark.parametrize(("full", "size"), [(0.0, 64), (0.49, 64), (0.5, 40), (0.79, 40), (0.8, 20)])
def test_waves_grow_no_more_while_something_fills_up(full: float, size: int) -> None:
    assert Course(40).opened(1_000, 0).moved().advanced(TERMS, full).size == size


def test_a_wave_that_was_put_back_is_followed_by_half_and_no_later_one_is_as_large_again() -> None:
    course = Course(80).opened(1_000, 7).moved().turning().rolled_back()
    assert (course.size, course.rollbacks, course.step) == (40, 1, Step.READY)
    for _ in range(5):
        course = course.opened(1_000, 7).moved().advanced(TERMS)
        assert course.size <= 56


def test_after_some_waves_that_were_put_back_a_person_is_asked_and_may_go_on() -> None:
    course = Course(80)
    for _ in range(TERMS.rollbacks):
        assert not course.is_spent(TERMS)
        course = course.opened(1_000, 0).turning().rolled_back()
    assert course.is_spent(TERMS)
    assert not course.taken_up().is_spent(TERMS)


@pytest.mark.parametrize(
    ("course", "after"),
    [
        (Course(5), Step.READY),
        (Course(5).opened(9, 1), Step.WATCHING),
        (Course(5).opened(9, 1).moved(), Step.WATCHING),
        (Course(5).opened(9, 1).turning(), Step.ROLLING_BACK),
    ],
)
def test_whoever_takes_it_up_after_a_crash_judges_an_open_wave_first(course: Course, after: Step) -> None:
    assert parse_course(json.loads(json.dumps(course.as_value()))) == course
    assert course.taken_up().step is after


def test_no_wave_begins_before_the_last_one_is_judged() -> None:
    course = Course(5).opened(9, 1)
    with pytest.raises(ValueError, match="wave 1 is moving"):
        course.opened(4, 2)
    with pytest.raises(ValueError, match="wave 1 is moving"):
        course.advanced(TERMS)


def test_the_forecast_tells_waves_and_the_least_time() -> None:
    assert forecast(100, TERMS, 3.0) == Forecast(5, (10, 16, 26, 42, 6), 17.0)
    assert forecast(0, TERMS, 3.0).waves == 0
    assert forecast(5_000, TERMS, 1.0).as_value()["took_ms"] == 154_000
    assert (TERMS.batch(200), Terms().batch(200), Terms(rate=3).batch(200)) == (5, 200, 1)
