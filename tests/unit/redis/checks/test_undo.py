"""Is there room for the way back?"""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.checks.undo import UndoFacts, judge


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (UndoFacts(1, 100, 0, 0, 100), Outcome.PASS),
        (UndoFacts(1, 101, 0, 0, 100), Outcome.BLOCK),
        (UndoFacts(1, 100, 50, 149, 10_000), Outcome.BLOCK),
        (UndoFacts(1, 100, 50, 150, 10_000), Outcome.PASS),
        (UndoFacts(1, 1, 200, 100, 10_000), Outcome.BLOCK),
        (UndoFacts(1, None, 0, 0, 100), Outcome.UNKNOWN),
        (UndoFacts(1, 100, 0, 0, None), Outcome.UNKNOWN),
    ],
)
def test_a_copy_of_everything_fits_or_not(facts: UndoFacts, outcome: Outcome) -> None:
    assert judge(facts).outcome is outcome


def test_what_could_not_be_put_back_is_said_plainly() -> None:
    assert "CANNOT BE PUT BACK" in judge(UndoFacts(1, 100, 0, 10, 100, removes=True)).summary
    assert "stay" in judge(UndoFacts(1, 100, 0, 10, 100)).summary


@pytest.mark.parametrize(
    ("size", "takes", "outcome"),
    [
        (1000, 1000, Outcome.PASS),
        (1001, 1000, Outcome.BLOCK),
        (1 << 20, None, Outcome.PASS),
        ((1 << 20) + 1, None, Outcome.WARN),
        ((512 << 20) + 1, None, Outcome.BLOCK),
    ],
)
def test_what_the_server_would_not_take_back_is_said(size: int, takes: int | None, outcome: Outcome) -> None:
    verdict = judge(UndoFacts(1, 10, 0, 0, 1 << 40, largest=(size, "0/large"), takes=takes))
    assert verdict.outcome is outcome
    assert ("0/large" in str(verdict.evidence)) == (outcome is Outcome.BLOCK)


def test_where_no_copy_can_be_made_or_a_value_cannot_be_had_nobody_can_say() -> None:
    away = judge(UndoFacts(1, 10, 0, 0, 1 << 40, why="no answer"))
    assert (away.outcome, "no answer" in away.summary) == (Outcome.UNKNOWN, True)
    unread = judge(UndoFacts(2, None, 0, 0, 1 << 40, unread=("0/a",)))
    assert (unread.outcome, unread.evidence) == (Outcome.UNKNOWN, ("0/a",))
