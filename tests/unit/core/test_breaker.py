"""A server that does not answer is left alone, and tried again once."""

from go_cache_safeguard.core.breaker import FAILURES, REST_S, Breaker


def broken(at_s: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allows(at_s)
        breaker.bad(at_s)
    return breaker


def test_after_some_failures_in_a_row_nothing_is_sent() -> None:
    breaker = broken()
    assert breaker.open
    assert not breaker.allows(100.0 + REST_S - 0.1)


def test_an_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(FAILURES * 3):
        breaker.bad(1.0)
        breaker.good()
    assert breaker.allows(1.0)


def test_after_a_rest_one_request_tries_and_its_end_decides() -> None:
    breaker = broken()
    later = 100.0 + REST_S
    assert breaker.allows(later)
    assert not breaker.allows(later)
    breaker.bad(later)
    assert not breaker.allows(later + REST_S - 0.1)
    assert breaker.allows(later + REST_S)
    breaker.good()
    assert breaker.allows(later + REST_S)
    assert not breaker.open
