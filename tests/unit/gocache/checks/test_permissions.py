"""`gocache.checks.permissions`: what each wrong owner, mode, link and mount means."""

from dataclasses import replace

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks.permissions import PermissionFacts, judge
from go_cache_safeguard.gocache.checks.tally import Tally

SOUND = PermissionFacts(path="/home/al ice/.cache/go-build", owner="alice:users", uid=1000, entries=7)
ONE = Tally(1, ("ab",))


def test_a_sound_cache_passes() -> None:
    verdict = judge(SOUND)
    assert (verdict.outcome, verdict.evidence, verdict.remedy) == (Outcome.PASS, (), ())
    assert "7 entries" in verdict.summary


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (replace(SOUND, foreign=ONE), Outcome.WARN),
        (replace(SOUND, foreign=ONE, uid=0, locked_shards=Tally()), Outcome.WARN),
        (replace(SOUND, foreign=ONE, locked_shards=ONE), Outcome.BLOCK),
        (replace(SOUND, foreign=ONE, closed_entries=ONE), Outcome.BLOCK),
        (replace(SOUND, closed_shards=ONE), Outcome.UNKNOWN),
        (replace(SOUND, locked_shards=ONE), Outcome.BLOCK),
        (replace(SOUND, closed_entries=ONE), Outcome.BLOCK),
        (replace(SOUND, dull_programs=ONE), Outcome.WARN),
        (replace(SOUND, links=ONE), Outcome.WARN),
        (replace(SOUND, linked_shards=ONE), Outcome.BLOCK),
        (replace(SOUND, strange=ONE), Outcome.WARN),
        (replace(SOUND, mounts=("/home/al ice/.cache/go-build/ab",)), Outcome.BLOCK),
        (replace(SOUND, mounts=None), Outcome.UNKNOWN),
        (replace(SOUND, ancestors=("/home is writable by everybody",)), Outcome.BLOCK),
        (replace(SOUND, read_only=True, locked_shards=ONE), Outcome.BLOCK),
        (replace(SOUND, strange=ONE, mounts=None, linked_shards=ONE), Outcome.BLOCK),
    ],
)
def test_each_fact_has_its_outcome_and_says_why(facts: PermissionFacts, outcome: Outcome) -> None:
    verdict = judge(facts)
    assert verdict.outcome is outcome
    assert verdict.evidence
    assert verdict.summary == verdict.evidence[0]


def test_the_worst_comes_first() -> None:
    verdict = judge(replace(SOUND, strange=ONE, closed_shards=ONE, mounts=("/m",)))
    assert ["mounted" in verdict.evidence[0], "listed" in verdict.evidence[1], "go's" in verdict.evidence[2]] == [
        True
    ] * 3


def test_the_remedy_is_a_command_that_a_shell_reads_as_meant() -> None:
    verdict = judge(replace(SOUND, foreign=ONE, locked_shards=ONE, mounts=("/mnt/it's",)))
    assert "sudo chown -R --no-dereference alice:users '/home/al ice/.cache/go-build'" in verdict.remedy
    assert """sudo umount '/mnt/it'"'"'s'""" in verdict.remedy
    assert len(set(verdict.remedy)) == len(verdict.remedy)
