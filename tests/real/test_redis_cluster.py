"""A cluster is one server to the guard: keys of all nodes go and come back, slot by slot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import PlanVoid
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_undo import undo
from go_cache_safeguard.redis.call import Answered, Pass
from go_cache_safeguard.redis.trashlog import TrashUnusable
from rediscluster import Cluster, cluster
from redisgates import asking
from redisguard import Guard
from redisservers import Server, ServerError

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster("valkey-9.1", tmp_path_factory.mktemp("c")) as found:
        yield found


def _fill(nodes: Cluster) -> None:
    for server in nodes.servers:
        with server.client() as client:
            client("FLUSHALL")
    for number in range(60):
        assert nodes.ask("SET", f"user:{number}", f"value {number}", "EX", "80000") == b"OK"
    for name in ("a", "b", "c"):
        nodes.ask("RPUSH", f"{{cart}}:{name}", "x", "y")


def test_a_flush_takes_the_keys_of_every_node_and_undo_brings_them_back(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    before = nodes.everything()
    guard = Guard(nodes.url, tmp_path / "state")
    receipt = guard.remove(Wanted("FLUSHDB", everything=True), policy__on_block="allow")
    assert (receipt.moved, receipt.state, nodes.everything()) == (63, "DONE", {})
    assert undo(guard.session(), receipt.op).restored == 63
    assert nodes.everything() == before


def test_named_keys_of_several_slots_go_and_what_changed_stays(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    guard = Guard(nodes.url, tmp_path / "state")
    op, plan = guard.hold(Wanted("DEL", keys=(b"user:1", b"user:2", b"user:3", b"{cart}:a", b"{cart}:b", b"nothing")))
    nodes.ask("SET", "user:2", "newer")
    guard.approve(op, plan)
    receipt = guard.resume(op, approval__on_change="skip")
    assert (receipt.moved, receipt.changed) == (4, 1)
    assert nodes.ask("GET", "user:2") == b"newer"
    assert undo(guard.session(), op).restored == 4
    assert len(nodes.everything()) == 63


def test_an_approval_is_for_these_very_processes(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    guard = Guard(nodes.url, tmp_path / "state")
    op, plan = guard.hold(Wanted("DEL", keys=(b"user:1",)))
    assert plan.identity.startswith("cluster:")
    guard.approve(op, plan)
    (tmp_path / "other").mkdir()
    with cluster("valkey-9.1", tmp_path / "other") as others, pytest.MonkeyPatch.context() as patch:
        patch.setattr("go_cache_safeguard.flows.redis_server.parse_address", lambda _: guard_address(others))
        with pytest.raises(PlanVoid):
            guard.resume(op)
    assert nodes.ask("EXISTS", "user:1") == 1


def guard_address(nodes: Cluster) -> object:
    from go_cache_safeguard.redis.address import parse_address

    return parse_address(nodes.url)


def test_large_values_of_several_nodes_go_and_come_back_in_pieces(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    for number in range(6):
        nodes.ask("RPUSH", f"large:{number}", *(f"word {n} of {number}" * 9 for n in range(2_000)))
    before = nodes.everything()
    guard = Guard(nodes.url, tmp_path / "state", {"redis.big_value": "10KB", "policy.on_block": "allow"})
    receipt = guard.remove(Wanted("FLUSHDB", everything=True))
    assert (receipt.moved, nodes.everything()) == (69, {})
    assert undo(guard.session(), receipt.op).restored == 69
    assert nodes.everything() == before


def test_a_cluster_is_no_place_for_captured_values(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    before = nodes.everything()
    guard = Guard(nodes.url, tmp_path / "state", {"redis.trash": f"{nodes.url}", "policy.on_unknown": "allow"})
    with pytest.raises(TrashUnusable):
        guard.remove(Wanted("DEL", keys=(b"user:1",)))
    assert nodes.everything() == before


def test_a_gate_in_front_of_one_node_knows_only_what_that_node_has(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    before = nodes.everything()
    guard = Guard(nodes.url, tmp_path / "state", {"redis.protect": "{cart}:*"})
    with nodes.servers[0].client() as client, asking(guard) as gate:
        here = sorted(client.strings("KEYS", "*"))
        mine = next(key for key in here if key.startswith(b"user:"))
        other = next(key for key in sorted(before) if key.startswith(b"user:") and key not in here)
        assert gate("DEL", mine) == Pass()
        moved = gate("DEL", other)
        assert isinstance(moved, Answered)
        with pytest.raises(ServerError) as error:
            client("DEL", other)
        assert moved.reply == f"-{error.value}\r\n".encode()
        op = gate.held("FLUSHALL")
        gate.approve(op)
        assert gate("FLUSHALL") == Answered(b"+OK\r\n")
        assert (client("DBSIZE"), len(nodes.everything())) == (0, len(before) - len(here))
        assert undo(guard.session(), op).restored == len(here)
    assert nodes.everything() == before


def test_a_call_about_keys_of_one_slot_is_done_and_undone(nodes: Cluster, tmp_path: Path) -> None:
    _fill(nodes)
    before = nodes.everything()
    owner = next(server for server in nodes.servers if _has(server, b"{cart}:a"))
    guard = Guard(f"unix://{owner.path}", tmp_path / "state", {"redis.protect": "{cart}:*"})
    with asking(guard) as gate:
        op = gate.held("RENAME", "{cart}:a", "{cart}:b")
        gate.approve(op)
        assert gate("RENAME", "{cart}:a", "{cart}:b") == Answered(b"+OK\r\n")
        assert len(nodes.everything()) == len(before) - 1
        back = undo(guard.session(), op)
        assert (back.restored, back.there) == (1, 1)
    assert nodes.everything() == before


def _has(server: Server, key: bytes) -> bool:
    with server.client() as client:
        return key in client.strings("KEYS", "*")
