"""Whatever the gate says, and whenever the process ends, a purge in waves ends and counts right."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.signals.waves import Course, Step, Terms, parse_course

TERMS = st.builds(
    Terms,
    first=st.integers(1, 50),
    most=st.integers(1, 500),
    rate=st.integers(0, 500),
    rollbacks=st.integers(1, 5),
)


class _Said:
    """What a gate says, again and again, and where the process ends."""

    def __init__(self, words: list[str]) -> None:
        self._words = words or ["advance"]
        self._at = 0

    def next(self) -> str:
        self._at += 1
        return self._words[self._at % len(self._words)]


@given(st.integers(1, 3_000), TERMS, st.lists(st.sampled_from(["advance", "pause", "roll back", "kill"]), max_size=30))
def test_all_keys_go_or_a_person_is_asked_and_no_key_goes_twice(total: int, terms: Terms, words: list[str]) -> None:
    said, course, left, gone, waves = _Said(words), Course(terms.first), total, 0, 0
    while left and not course.is_spent(terms):
        course = course.opened(left, gone)
        assert 1 <= course.keys <= max(terms.first, terms.most)
        left, gone, waves = left - course.keys, gone + course.keys, waves + 1
        assert waves <= (total + 1) * terms.rollbacks
        word = said.next()
        if word == "kill":
            spent = course.rollbacks
            course = parse_course(course.as_value()).taken_up()
            assert course.step is Step.WATCHING
            course = parse_course({**course.as_value(), "rollbacks": spent})
        else:
            course = course.moved()
        if word == "roll back":
            left, gone = left + course.keys, gone - course.keys
            course = parse_course(course.turning().as_value()).rolled_back()
        else:
            course = (course.pausing() if word == "pause" else course).advanced(terms)
    assert gone + left == total
    assert left == 0 or course.is_spent(terms)


@given(st.integers(1, 5_000), TERMS, st.integers(1, 1_000))
def test_keys_never_go_faster_than_they_may(total: int, terms: Terms, most: int) -> None:
    batch, sent = terms.batch(most), 0
    while sent < total:
        keys = min(batch, total - sent)
        due_s = terms.due_s(sent)
        assert not terms.rate or sent <= terms.rate * due_s + 1e-6
        assert 1 <= keys <= most
        sent += keys
