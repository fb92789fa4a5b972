"""Limits hold exactly, and what cannot be told is not small."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.size import Share
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.blast_radius import BlastFacts, Limits, judge

LIMITS = Limits(keys=100, size=1000, share=Share(500_000), rate=300)
FACTS = BlastFacts(keys=100, size=1000, of=200, recent=200, limits=LIMITS)


def test_everything_at_its_limit_passes() -> None:
    assert judge(FACTS).outcome is Outcome.PASS
    assert judge(FACTS).summary == "100 keys of 1000 B, within the limits"


@pytest.mark.parametrize(
    ("facts", "outcome", "text"),
    [
        (replace(FACTS, keys=101, of=1000, recent=0), Outcome.BLOCK, "101 keys would go; the limit is 100"),
        (replace(FACTS, size=1001), Outcome.BLOCK, "1001 B would go"),
        (replace(FACTS, of=199), Outcome.BLOCK, "50.3% of the keys"),
        (replace(FACTS, recent=201), Outcome.BLOCK, "301 keys of this client"),
        (replace(FACTS, keys=None), Outcome.UNKNOWN, "the number of keys cannot be told"),
        (replace(FACTS, size=None), Outcome.UNKNOWN, "how many bytes"),
        (replace(FACTS, of=None), Outcome.UNKNOWN, "what share"),
        (replace(FACTS, recent=None), Outcome.UNKNOWN, "this client's keys"),
        (replace(FACTS, size=None, recent=201), Outcome.BLOCK, "301 keys"),
    ],
)
def test_what_is_over_or_not_known_is_told(facts: BlastFacts, outcome: Outcome, text: str) -> None:
    verdict = judge(facts)
    assert verdict.outcome is outcome
    assert text in verdict.summary


def test_a_limit_of_zero_is_none() -> None:
    facts = BlastFacts(10**6, None, None, None, Limits(0, 0, Share(1_000_000), 0))
    assert judge(facts).outcome is Outcome.PASS


def test_a_share_of_very_few_keys_says_nothing() -> None:
    assert judge(replace(FACTS, keys=60, of=99)).outcome is Outcome.PASS
    assert judge(replace(FACTS, keys=60, of=100)).outcome is Outcome.BLOCK
