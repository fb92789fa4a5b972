"""Every key is compared, and every pattern that chose keys."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.names import CHECK, NameFacts, judge
from go_cache_safeguard.redis.rules import Rules, parse_patterns

RULES = Rules(protect=parse_patterns("session:* re:.*:lock"), namespaces=frozenset({b"app", b"session"}))


def test_harmless_names_pass() -> None:
    verdict = judge(NameFacts([b"app:1", b"app:2"], RULES, patterns=[b"app:1:*"]))
    assert (verdict.check, verdict.outcome) == (CHECK.id, Outcome.PASS)
    assert judge(NameFacts([b"x" * 10_000], Rules())).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"session:1", "protected by 'session:*'"),
        (b"app:x:lock", "protected by 're:.*:lock'"),
        (b"other:1", "no allowed namespace"),
        (b"app", "no allowed namespace"),
        (b"app:*", "looks like a pattern"),
    ],
)
def test_one_bad_key_among_many_blocks_wherever_it_stands(key: bytes, text: str) -> None:
    for at in (0, 5, 10):
        keys = [b"app:%d" % number for number in range(10)]
        keys.insert(at, key)
        verdict = judge(NameFacts(keys, RULES))
        assert verdict.outcome is Outcome.BLOCK
        assert text in verdict.summary


def test_only_what_is_allowed_may_go_when_anything_is_allowed() -> None:
    rules = Rules(allow=parse_patterns("tmp:* cache:*"))
    assert judge(NameFacts([b"tmp:1", b"cache:1"], rules)).outcome is Outcome.PASS
    assert "no allowed pattern" in judge(NameFacts([b"tmp:1", b"user:1"], rules)).summary


@pytest.mark.parametrize("glob", [b"*", b"user*", b"user:*", b"*:1"])
def test_a_pattern_of_a_whole_key_space_blocks(glob: bytes) -> None:
    verdict = judge(NameFacts([], Rules(), patterns=[b"user:1:*", glob]))
    assert verdict.outcome is Outcome.BLOCK
    assert "whole key space" in verdict.summary


def test_many_problems_are_counted_and_shown_in_part() -> None:
    verdict = judge(NameFacts([b"session:%d" % number for number in range(30)], RULES))
    assert verdict.summary.endswith("and 29 more")
    assert len(verdict.evidence) == 20
