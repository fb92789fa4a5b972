"""Four states of a key's end, each with its own answer."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.ttl import State, TtlFacts, judge, state_of


@pytest.mark.parametrize(
    ("pttl", "state"),
    [
        (0, State.ENDS),
        (5, State.ENDS),
        (-1, State.NO_EXPIRY),
        (-2, State.MISSING),
        (None, State.UNKNOWN),
        (-3, State.UNKNOWN),
    ],
)
def test_what_a_reply_means(pttl: int | None, state: State) -> None:
    assert state_of(pttl) is state


@pytest.mark.parametrize(
    ("pttl", "outcome"),
    [
        (300_000, Outcome.PASS),
        (299_999, Outcome.BLOCK),
        (0, Outcome.BLOCK),
        (-1, Outcome.WARN),
        (-2, Outcome.PASS),
        (None, Outcome.UNKNOWN),
        (-3, Outcome.UNKNOWN),
    ],
)
def test_each_state_has_its_answer_wherever_the_key_stands(pttl: int | None, outcome: Outcome) -> None:
    for first in (True, False):
        sound = {b"sound": 10**9}
        facts = TtlFacts({b"k": pttl, **sound} if first else {**sound, b"k": pttl})
        assert judge(facts).outcome is outcome


def test_a_site_may_answer_otherwise() -> None:
    facts = TtlFacts({b"a": -1, b"b": -2, b"c": 7}, threshold_ms=5, on_no_expiry=Outcome.PASS, on_missing=Outcome.BLOCK)
    verdict = judge(facts)
    assert (verdict.outcome, verdict.summary) == (Outcome.BLOCK, "1 key are not there: 'b'")


def test_the_key_that_ends_first_is_named() -> None:
    verdict = judge(TtlFacts({b"b": 60_000, b"a": 5_000, b"c": -1}))
    assert verdict.summary == "2 keys end within 5m by themselves; the first is 'a' in 5s"
    assert verdict.evidence[1] == "1 key never end by themselves: 'c'"
    assert verdict.remedy


def test_no_key_is_nothing_to_say() -> None:
    assert judge(TtlFacts({})).outcome is Outcome.PASS
