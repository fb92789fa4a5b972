"""What a check found out: the order of outcomes, and that nothing proved is not a pass."""

from itertools import combinations_with_replacement

from go_cache_safeguard.core.verdict import Outcome, Verdict, worst

ORDER = [Outcome.PASS, Outcome.WARN, Outcome.UNKNOWN, Outcome.BLOCK]


def test_the_worst_of_two_is_the_later_in_the_order() -> None:
    for better, worse in combinations_with_replacement(ORDER, 2):
        for pair in ([better, worse], [worse, better]):
            assert worst(Verdict("c", outcome, "s") for outcome in pair) is worse


def test_no_verdict_at_all_is_unknown() -> None:
    assert worst([]) is Outcome.UNKNOWN


def test_a_verdict_becomes_plain_values() -> None:
    assert Verdict("c", Outcome.WARN, "s", ("e",), ("r",)).as_value() == {
        "check": "c",
        "outcome": "WARN",
        "summary": "s",
        "evidence": ["e"],
        "remedy": ["r"],
    }
