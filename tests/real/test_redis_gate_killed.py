"""A held call, its execution and its undo, killed anywhere: it was done once or not at all, and everything comes back."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.redis_call import resume
from go_cache_safeguard.flows.redis_undo import undo
from go_cache_safeguard.journal.store import Journal
from go_cache_safeguard.redis.client import Server as Link
from go_cache_safeguard.redis.trashlog import TrashLog
from redisgates import asking
from redisguard import Guard, everything, killed_at
from rediskeys import pipeline
from redisservers import Client, Server, running

pytestmark = [pytest.mark.real, pytest.mark.crash]
PROTECTED = {"redis__protect": "user:*"}
WORDS = ("RENAME", "user:1", "user:2")
POINTS = [
    (Journal, "advance"),
    (Journal, "write_all"),
    (Link, "watch"),
    (Link, "carry_out"),
    (Link, "_send"),
    (Link, "overwrite"),
    (TrashLog, "keep"),
    (TrashLog, "tell"),
    (TrashLog, "remember"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("valkey-9.1", tmp_path_factory.mktemp("r")) as server:
        yield server


def _approved(guard: Guard) -> str:
    """Hold and approve it; the gate is closed again, because its threads and files do not survive a fork."""
    with asking(guard) as gate:
        op = gate.held(*WORDS)
        gate.approve(op)
        return op


def _do(guard: Guard) -> None:
    with asking(guard) as gate:
        gate.gate.execute_approved()


def _settled(guard: Guard, op: str) -> str:
    """What a person would do after a crash. Returns the state that was left."""
    assert [one.problem for one in recover(guard.session(), None, wait_s=0) if one.problem] == []
    state = guard.state_of(op)
    if state in {"DONE", "UNKNOWN"}:
        undo(guard.session(), op, replace=True)
    else:
        assert state in {"APPROVED", "CANCELLED", "ROLLED_BACK", "UNDONE"}
    return state


def _begin(client: Client) -> None:
    pipeline(client, [("FLUSHALL",), ("SET", "user:1", "one", "EX", "9999"), ("SET", "user:2", "two")])
    client("CONFIG", "RESETSTAT")


def _renamed(client: Client) -> int:
    return client.text("INFO", "commandstats").count(b"cmdstat_rename:calls=1,")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_killed_anywhere_it_is_done_once_or_not_at_all_and_comes_back(
    server: Server, tmp_path: Path, kind: type, name: str, *, after: bool
) -> None:
    guard = Guard(f"unix://{server.path}", tmp_path / "state", {"redis.protect": "user:*"})
    with server.client() as client:
        for number in range(1, 30):
            _begin(client)
            before = everything(client)
            op = _approved(guard)
            killed = killed_at(partial(_do, guard), kind, name, number, after=after)
            done = _renamed(client)
            state = _settled(guard, op)
            assert state == "UNKNOWN" or done == (state == "DONE")
            assert _renamed(client) == done
            assert everything(client) == before, (number, state)
            if state == "APPROVED":
                assert resume(guard.session(), op).moved == 2
                undo(guard.session(), op)
                assert everything(client) == before
            if not killed:
                break
        else:
            pytest.fail("it was killed every time")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "name"), POINTS)
def test_an_undo_that_was_killed_anywhere_can_be_ended(
    server: Server, tmp_path: Path, kind: type, name: str, *, after: bool
) -> None:
    guard = Guard(f"unix://{server.path}", tmp_path / "state", {"redis.protect": "user:*"})
    with server.client() as client:
        for number in range(1, 30):
            _begin(client)
            before = everything(client)
            op = _approved(guard)
            resume(guard.session(), op)
            killed = killed_at(partial(undo, guard.session(), op), kind, name, number, after=after)
            _settled(guard, op)
            assert everything(client) == before, number
            assert guard.state_of(op) == "UNDONE"
            if not killed:
                break


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "name"), [(Journal, "write_all"), (TrashLog, "remember"), (TrashLog, "begin")])
def test_killed_while_it_is_held_nothing_happened_and_it_is_held_again(
    server: Server, tmp_path: Path, kind: type, name: str, *, after: bool
) -> None:
    guard = Guard(f"unix://{server.path}", tmp_path / "state", {"redis.protect": "user:*"})
    with server.client() as client:
        _begin(client)
        before = everything(client)

        def hold() -> None:
            with asking(guard) as gate:
                gate.held(*WORDS)

        for number in range(1, 10):
            killed = killed_at(hold, kind, name, number, after=after)
            assert everything(client) == before
            if not killed:
                break
        with asking(guard) as gate:
            op = gate.held(*WORDS)
            gate.approve(op)
            assert gate.gate.execute_approved() == [op]
            assert gate.state(op) == "DONE"
