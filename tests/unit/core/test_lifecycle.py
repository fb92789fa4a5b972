"""The table of the lifecycle, read as the promises it makes."""

import pytest

from go_cache_safeguard.core.lifecycle import PENDING, TRANSITIONS, UNFINISHED, State, may_follow


def reachable(start: State, *, without: frozenset[State] = frozenset()) -> frozenset[State]:
    """All states on any way from `start`, itself included."""
    found, todo = {start}, [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - found - without:
            found.add(state)
            todo.append(state)
    return frozenset(found)


def test_every_state_has_a_row_and_so_has_the_beginning() -> None:
    assert set(TRANSITIONS) == {None, *State}


def test_every_state_can_be_reached() -> None:
    assert reachable(State.REQUESTED) == frozenset(State)


def test_an_operation_begins_by_being_requested() -> None:
    assert [state for state in State if may_follow(None, state)] == [State.REQUESTED]


def test_no_state_follows_itself() -> None:
    assert not [state for state in State if may_follow(state, state)]


def test_nothing_is_removed_unless_it_was_allowed_or_approved() -> None:
    before = reachable(State.REQUESTED, without=frozenset({State.ALLOWED, State.APPROVED}))
    assert not before & UNFINISHED
    assert State.DONE not in before


def test_what_was_held_is_not_removed_without_an_approval() -> None:
    assert not reachable(State.HELD, without=frozenset({State.APPROVED})) & UNFINISHED


def test_an_approval_is_given_once() -> None:
    assert State.APPROVED not in reachable(State.REMOVING)
    assert not [state for state in reachable(State.APPROVED) if may_follow(state, State.APPROVED)]


def test_nothing_is_done_before_it_is_proved() -> None:
    ways = [state for state in State if may_follow(state, State.DONE)]
    assert ways == [State.PROVING, State.UNDOING]


def test_only_what_is_done_or_was_agreed_to_is_purged_and_a_purge_has_no_way_back() -> None:
    before = {state for state in State if may_follow(state, State.PURGING)}
    assert before == {State.DONE, State.ALLOWED, State.APPROVED}
    assert reachable(State.PURGING) == {State.PURGING, State.PURGED}


@pytest.mark.parametrize(
    "end", ["REFUSED", "REJECTED", "EXPIRED", "CANCELLED", "ROLLED_BACK", "UNDONE", "PURGED", "PASSED"]
)
def test_an_end_has_no_way_out(end: str) -> None:
    assert not TRANSITIONS[State(end)]


def test_what_is_half_done_can_be_finished_or_turned_back() -> None:
    for state in UNFINISHED:
        assert TRANSITIONS[state], state
        assert reachable(state) & {State.DONE, State.ROLLED_BACK, State.UNDONE, State.PURGED}, state


def test_pending_and_unfinished_are_apart() -> None:
    assert not PENDING & UNFINISHED
    assert {state for state in State if State.REMOVING in TRANSITIONS[state]} - PENDING == {State.WAITING}


def test_an_unknown_outcome_can_still_be_turned_back() -> None:
    assert TRANSITIONS[State.UNKNOWN] == {State.ROLLING_BACK, State.UNDOING}


def test_only_what_was_allowed_or_approved_is_let_through() -> None:
    assert [state for state in State if may_follow(state, State.PASSED)] == [State.ALLOWED, State.APPROVED]
