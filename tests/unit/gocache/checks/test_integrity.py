"""`gocache.checks.integrity`: what each effect of damage means."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks.integrity import IntegrityFacts, judge
from go_cache_safeguard.gocache.checks.tally import Tally

SOUND = IntegrityFacts(outputs=10, hashed=4, trusted=6)
ONE = Tally(1, ("ab/abcd-d",))


def test_a_cache_of_which_every_output_is_right_passes_and_says_what_was_hashed() -> None:
    verdict = judge(SOUND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.evidence == ("4 outputs were hashed now, 6 before and are unchanged, of 10",)


@pytest.mark.parametrize(
    ("facts", "outcome", "remedy"),
    [
        (replace(SOUND, wrong=ONE), Outcome.BLOCK, "go-cache-safeguard fsck --repair"),
        (replace(SOUND, failing=ONE), Outcome.BLOCK, "go-cache-safeguard fsck --repair"),
        (replace(SOUND, healing=ONE), Outcome.WARN, "go-cache-safeguard fsck --repair"),
        (replace(SOUND, unreadable=ONE), Outcome.UNKNOWN, "go-cache-safeguard check"),
        (replace(SOUND, hashed=0), Outcome.UNKNOWN, "go-cache-safeguard fsck --all"),
        (replace(SOUND, healing=ONE, unreadable=ONE), Outcome.UNKNOWN, "go-cache-safeguard check"),
        (replace(SOUND, healing=ONE, unreadable=ONE, wrong=ONE), Outcome.BLOCK, "go-cache-safeguard fsck --repair"),
    ],
)
def test_the_worst_effect_decides(facts: IntegrityFacts, outcome: Outcome, remedy: str) -> None:
    verdict = judge(facts)
    assert verdict.outcome is outcome
    assert verdict.remedy[0] == remedy
    assert verdict.summary == verdict.evidence[0]


def test_what_could_not_be_read_is_not_counted_as_not_looked_at_as_well() -> None:
    assert judge(replace(SOUND, hashed=3, unreadable=ONE)).evidence[:-1] == (
        "1 entries that could not be read: ab/abcd-d",
    )
