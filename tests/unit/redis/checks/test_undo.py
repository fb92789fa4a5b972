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
