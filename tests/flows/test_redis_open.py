"""What waits, as the journal tells it: for every process the same."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.redis_open import OpenCalls
from go_cache_safeguard.flows.session import new_operation_id
from go_cache_safeguard.journal.store import Journal, open_journal

HERE = "redis://127.0.0.1:1"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "state" / "journal.sqlite", actor="uid:1(somebody)", version="1") as journal:
        yield journal


def _held(journal: Journal, call: str, *, client: str = "a", target: str = HERE, expires_s: int = 0) -> str:
    op = new_operation_id()
    journal.advance(op, State.REQUESTED, {"call": call, "client": client, "target": target})
    journal.advance(op, State.CHECKED, {})
    journal.advance(op, State.HELD, {"expires_s": expires_s})
    return op


def test_what_is_held_and_approved_is_known_and_what_has_ended_is_not(journal: Journal) -> None:
    calls = OpenCalls(HERE)
    one, two, three = (_held(journal, name) for name in ("c1", "c2", "c3"))
    _held(journal, "c4", target="redis://elsewhere:1")
    _held(journal, "")
    calls.refresh(journal)
    assert [getattr(calls.of_call(name), "id", None) for name in ("c1", "c2", "c3", "c4", "")] == [
        one,
        two,
        three,
        None,
        None,
    ]
    assert (calls.of_client("a"), calls.of_client("b"), calls.approved()) == (3, 0, [])
    journal.advance(one, State.APPROVED, {})
    journal.advance(two, State.REJECTED, {})
    journal.note("something-else", {})
    calls.refresh(journal)
    assert ([found.id for found in calls.approved()], calls.of_call("c2"), calls.of_client("a")) == ([one], None, 2)
    journal.advance(one, State.PASSED, {})
    calls.refresh(journal)
    assert (calls.of_call("c1"), calls.approved(), calls.of_client("a")) == (None, [], 1)


def test_what_is_read_later_is_the_same_as_what_was_read_step_by_step(journal: Journal) -> None:
    early, late = OpenCalls(HERE), OpenCalls(HERE)
    for name in ("c1", "c2"):
        op = _held(journal, name)
        early.refresh(journal)
        if name == "c2":
            journal.advance(op, State.APPROVED, {})
    again = _held(journal, "c1")
    early.refresh(journal)
    late.refresh(journal)
    assert early.approved() == late.approved()
    assert early.of_call("c1") == late.of_call("c1")
    assert getattr(late.of_call("c1"), "id", None) == again


def test_a_hold_whose_time_is_over_expires_by_itself(journal: Journal) -> None:
    calls = OpenCalls(HERE)
    op = _held(journal, "c1", expires_s=int(time.time()) - 1)
    stays = _held(journal, "c2", expires_s=int(time.time()) + 1000)
    calls.refresh(journal)
    assert (calls.of_call("c1"), journal.operation(op).state) == (None, State.EXPIRED)
    assert journal.operation(stays).state is State.HELD
