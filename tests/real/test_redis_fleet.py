"""Calls of clients and removals of keys that a host holds, and people decide about at the server of the fleet."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flakyproxy import Fault
from fleets import Fleet, fleet
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.redis.call import Answer, Answered, Held
from redisgates import Asking, asking
from redisguard import Guard
from redisservers import Client, Server, running

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def running_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("valkey-9.1", tmp_path_factory.mktemp("r")) as found:
        yield found


@pytest.fixture
def site(running_fleet: Fleet) -> Iterator[Fleet]:
    yield running_fleet
    running_fleet.flaky.choose = lambda _number, _method, _path: Fault.NONE


@pytest.fixture
def guard(site: Fleet, server: Server, tmp_path: Path) -> Guard:
    host = site.host(tmp_path, "redis-1")
    with server.client() as client:
        client("FLUSHALL")
        client("SET", "user:1", "v", "EX", 9999)
    return Guard(f"unix://{server.path}", tmp_path / "state", {**host.settings, "redis.protect": "user:*"})


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as found:
        yield found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def again(gate: Asking) -> None:
    """Have the server asked now and not in some seconds."""
    assert gate.gate._fleet is not None
    gate.gate._fleet.tell()


def is_filed(gate: Asking, op: str) -> bool:
    return any(record.step == "server-filed" and record.op == op for record in gate.records())


def test_a_client_that_waits_gets_its_reply_when_people_at_the_server_agree(
    site: Fleet, guard: Guard, client: Client
) -> None:
    answers: list[Answer] = []
    with asking(guard, redis__wait="60s") as gate:
        waiting = threading.Thread(target=lambda: answers.append(gate("DEL", "user:1")))
        waiting.start()
        until(lambda: bool(gate.operations()) and is_filed(gate, gate.operations()[0].id))
        op = gate.operations()[0].id
        assert client("EXISTS", "user:1") == 1
        site.approve(op)
        waiting.join(60)
        assert answers == [Answered(b":1\r\n")]
        until(lambda: site.standing(op) == ("PASSED", "DONE"))
        approved = next(record for record in gate.records() if record.step == "APPROVED")
    assert (approved.data["channel"], approved.data["approvers"]) == ("server", ["user:bob"])
    assert client("EXISTS", "user:1") == 0


def test_a_guard_that_was_started_again_brings_the_decision_home(site: Fleet, guard: Guard, client: Client) -> None:
    with asking(guard) as gate:
        answer = gate("DEL", "user:1")
        assert isinstance(answer, Held)
        until(lambda: is_filed(gate, answer.op))
    site.approve(answer.op)
    with asking(guard) as gate:
        until(lambda: bool(gate.gate.execute_approved()))
        assert gate.state(answer.op) == "DONE"
        until(lambda: site.standing(answer.op) == ("PASSED", "DONE"))
    assert client("EXISTS", "user:1") == 0


def test_a_call_stays_held_while_the_server_is_away_and_is_filed_when_it_is_back(
    site: Fleet, guard: Guard, client: Client
) -> None:
    site.flaky.choose = lambda _number, _method, _path: Fault.DROPPED
    with asking(guard) as gate:
        answer = gate("DEL", "user:1")
        assert isinstance(answer, Held)
        seen = len(site.flaky.seen)
        until(lambda: len(site.flaky.seen) > seen)
        assert gate.state(answer.op) == "HELD"
        assert client("EXISTS", "user:1") == 1
        site.flaky.choose = lambda _number, _method, _path: Fault.NONE
        again(gate)
        until(lambda: is_filed(gate, answer.op))
        site.call("POST", f"/operations/{answer.op}/reject", {"why": "no"})
        again(gate)
        until(lambda: gate.state(answer.op) == "REJECTED")
    assert client("EXISTS", "user:1") == 1


def test_a_removal_of_keys_from_the_command_line_is_decided_there_too(
    site: Fleet, guard: Guard, client: Client
) -> None:
    op, _ = guard.hold(Wanted("DEL", patterns=(b"user:*",)))
    assert site.standing(op)[0] == "HELD"
    site.approve(op)
    assert guard.resume(op).moved == 1
    assert site.standing(op) == ("PASSED", "DONE")
    assert client("DBSIZE") == 0
