"""Names of operations, and how records add up."""

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import (
    Operation,
    follow,
    is_operation_id,
    is_over,
    is_too_late,
    operation_id,
    waits,
)


def test_a_name_is_a_time_and_some_chance() -> None:
    assert operation_id(0, 0) == "op_0000000000000000"
    assert operation_id(0, 31) == "op_000000000000000z"
    assert operation_id(1, 0) == "op_0000000010000000"
    assert operation_id((1 << 45) - 1, (1 << 35) - 1) == "op_zzzzzzzzzzzzzzzz"


def test_too_much_time_or_chance_is_cut_and_stays_a_name() -> None:
    assert operation_id(1 << 45, 1 << 35) == operation_id(0, 0)
    assert is_operation_id(operation_id(1 << 60, 1 << 60))


def test_names_sort_by_time_whatever_the_chance() -> None:
    names = [operation_id(ms, chance) for ms, chance in ((1, 2**35 - 1), (2, 0), (33, 5), (1_760_000_000_000, 1))]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "op_",
        "op_000000000000000",
        "op_00000000000000000",
        "OP_0000000000000000",
        "op_000000000000000Z",
        "op_0000000000000000\n",
        " op_0000000000000000",
        "op_00000000000000/.",
        "../0000000000000000",
        "op_00000000000000\u0661\u0661",
    ],
)
def test_nothing_else_is_a_name(text: str) -> None:
    assert not is_operation_id(text)


def test_the_first_record_makes_the_operation() -> None:
    data = {"plan": "a"}
    operation = follow(None, op="op_x", state=State.REQUESTED, actor="uid:1(a)", at="t1", data=data)
    assert operation == Operation("op_x", State.REQUESTED, "uid:1(a)", "t1", "t1", {"plan": "a"}, (State.REQUESTED,))
    data["plan"] = "b"
    assert operation.data == {"plan": "a"}


def test_later_records_are_laid_over_earlier_ones_and_the_requester_stays() -> None:
    first = follow(None, op="op_x", state=State.REQUESTED, actor="uid:1(a)", at="t1", data={"plan": "a", "why": "w"})
    second = follow(first, op="op_x", state=State.CHECKED, actor="uid:2(b)", at="t2", data={"plan": "b"})
    assert second.requester == "uid:1(a)"
    assert (second.at, second.last_at) == ("t1", "t2")
    assert second.data == {"plan": "b", "why": "w"}
    assert second.states == (State.REQUESTED, State.CHECKED)
    assert second.state is State.CHECKED
    assert first.data == {"plan": "a", "why": "w"}


@pytest.mark.parametrize(
    ("state", "expires_s", "now_s", "over"),
    [
        (State.HELD, 100, 99.9, False),
        (State.HELD, 100, 100, True),
        (State.APPROVED, 100, 101, True),
        (State.REMOVING, 100, 101, False),
        (State.HELD, 0, 101, False),
        (State.HELD, None, 101, False),
        (State.HELD, "100", 101, False),
    ],
)
def test_what_waits_for_people_is_over_at_its_time(
    state: State, expires_s: object, now_s: float, *, over: bool
) -> None:
    operation = Operation("op", state, "uid:1", "", "", {} if expires_s is None else {"expires_s": expires_s})
    assert is_over(operation, now_s) is over
    assert waits(operation) or not over
    assert is_too_late(operation, State.REMOVING, now_s) is over
    for no in (State.EXPIRED, State.CANCELLED, State.REJECTED, State.REFUSED):
        assert not is_too_late(operation, no, now_s)
