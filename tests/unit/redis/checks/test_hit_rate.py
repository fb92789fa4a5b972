"""One bad node is enough, and one unread node is not health."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.hit_rate import HitRateFacts, judge
from go_cache_safeguard.redis.hitrate import Reading, State

GOOD = Reading(State.NORMAL, 0.9, 0.9, 0.1)
BAD = Reading(State.DROPPED, 0.4, 0.9, 17.0, since_ms=5)


@pytest.mark.parametrize(
    ("readings", "outcome"),
    [
        ({}, Outcome.UNKNOWN),
        ({"a": GOOD}, Outcome.PASS),
        ({"a": GOOD, "b": BAD, "c": None}, Outcome.BLOCK),
        ({"a": GOOD, "b": None}, Outcome.UNKNOWN),
        ({"a": GOOD, "b": Reading(State.LEARNING)}, Outcome.UNKNOWN),
        ({"a": Reading(State.IDLE, 0.9, 0.9)}, Outcome.UNKNOWN),
    ],
)
def test_the_worst_node_decides(readings: dict[str, Reading | None], outcome: Outcome) -> None:
    assert judge(HitRateFacts(readings)).outcome is outcome


def test_a_drop_is_told_in_numbers() -> None:
    verdict = judge(HitRateFacts({"10.0.0.1:6379": BAD}))
    assert (
        verdict.summary
        == "node '10.0.0.1:6379': the hit rate has fallen suddenly, 40.0% instead of 90.0% (17.0 of 4 units)"
    )
    assert verdict.remedy
