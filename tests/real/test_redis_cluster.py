"""A cluster is one server to the guard: keys of all nodes go and come back, slot by slot."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import PlanVoid
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_undo import undo
from rediscluster import Cluster, cluster
from redisguard import Guard

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
    receipt = guard.resume(op)
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
        patch.setattr("go_cache_safeguard.flows.redis_removal.parse_address", lambda _: guard_address(others))
        with pytest.raises(PlanVoid):
            guard.resume(op)
    assert nodes.ask("EXISTS", "user:1") == 1


def guard_address(nodes: Cluster) -> object:
    from go_cache_safeguard.redis.address import parse_address

    return parse_address(nodes.url)
