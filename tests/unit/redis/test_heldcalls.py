"""What the journal's records about clients' calls add up to."""

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.redis.heldcalls import HeldCalls
from go_cache_safeguard.redis.metrics import HELD_SECONDS, bucket


def told(*records: tuple[str, State, int, dict[str, object]]) -> HeldCalls:
    """Each record with its minute."""
    calls = HeldCalls()
    for op, state, minute, data in records:
        calls.add(op, state, f"2026-01-01T00:{minute:02}:00.000Z", data)
    return calls


CALL: dict[str, object] = {"call": "ab"}
RECEIPT: dict[str, object] = {"receipt": {"bytes": 70}}


def test_what_is_held_is_held_since_then_until_somebody_decides() -> None:
    calls = told(("a", State.REQUESTED, 0, CALL), ("a", State.CHECKED, 0, {}), ("a", State.HELD, 1, {}))
    assert calls.held == {"a": 1_767_225_660.0}
    assert calls.held_total == 1
    calls.add("a", State.REJECTED, "2026-01-01T00:03:00.000Z", {})
    assert calls.held == {}
    assert calls.decided["rejected"] == 1
    assert calls.seconds[-1] == 120
    assert calls.seconds[bucket(HELD_SECONDS, 120)] == 1
    assert sum(calls.executed.values()) == 0


@pytest.mark.parametrize("end", [State.DONE, State.PASSED, State.UNKNOWN])
def test_an_approval_is_executed_once(end: State) -> None:
    calls = told(
        ("a", State.REQUESTED, 0, CALL),
        ("a", State.HELD, 1, {}),
        ("a", State.APPROVED, 2, {}),
        ("a", State.REMOVING, 2, {}),
        ("a", end, 2, RECEIPT),
        ("a", State.UNDOING, 3, {}),
        ("a", State.DONE, 4, RECEIPT),
    )
    assert calls.executed[end.value.lower()] == 1
    assert sum(calls.executed.values()) == 1
    assert calls.captured == (70 if end is State.DONE else 0)


def test_copies_of_what_was_allowed_count_and_what_has_no_copy_does_not() -> None:
    calls = told(
        ("a", State.REQUESTED, 0, CALL),
        ("a", State.ALLOWED, 0, {}),
        ("a", State.DONE, 0, RECEIPT),
        ("b", State.REQUESTED, 0, {**CALL, "final": True}),
        ("b", State.HELD, 0, {}),
        ("b", State.APPROVED, 0, {}),
        ("b", State.DONE, 0, RECEIPT),
    )
    assert calls.captured == 70
    assert calls.executed["done"] == 1


def test_operations_that_no_client_asked_for_are_none_of_these() -> None:
    calls = told(("a", State.REQUESTED, 0, {}), ("a", State.HELD, 1, {}), ("a", State.DONE, 2, RECEIPT))
    assert calls == HeldCalls()


def test_an_approval_that_is_over_is_not_executed() -> None:
    calls = told(
        ("a", State.REQUESTED, 0, CALL),
        ("a", State.HELD, 1, {}),
        ("a", State.APPROVED, 2, {}),
        ("a", State.EXPIRED, 3, {}),
    )
    assert calls.decided["approved"] == 1
    assert calls.decided["expired"] == 0
    assert sum(calls.executed.values()) == 0
