"""redis-py's clusters with a guard: no node does its part of what is held."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

import redisface
from go_cache_safeguard.redis.call import Answered, Pass
from go_cache_safeguard.redis_py import Guard, GuardedRedisCluster, OperationHeld, OutcomeUnknown
from go_cache_safeguard.redis_py.asyncio import GuardedRedisCluster as AsyncGuardedRedisCluster
from rediscluster import Cluster, cluster
from redisface import HELD, Gatekeeper, counted
from redisguard import OPEN

pytestmark = pytest.mark.real

# Their types do not know that a pipeline's methods give the pipeline.
Guarded: Any = GuardedRedisCluster
AioGuarded: Any = AsyncGuardedRedisCluster

KEYS = [f"key:{number}" for number in range(30)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster("valkey-9.1", tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def gate() -> Gatekeeper:
    return Gatekeeper(HELD)


@pytest.fixture
def guard(nodes: Cluster, tmp_path: Path, gate: Gatekeeper) -> Guard:
    with RedisCluster.from_url(nodes.url) as plain:
        plain.flushall(target_nodes=RedisCluster.PRIMARIES)
        for key in KEYS:
            plain.set(key, "v")
    return redisface.guard(tmp_path, gate)


def _done(nodes: Cluster, stack: ExitStack) -> list[dict[str, int]]:
    return [stack.enter_context(counted(stack.enter_context(node.client()))) for node in nodes.servers]


def _writes(found: list[dict[str, int]]) -> int:
    return sum(
        count
        for done in found
        for name, count in done.items()
        if name in {"set", "del", "incr", "unlink", "flushdb", "exec"}
    )


def _story(one: Any) -> list[object]:
    found: list[object] = [one.set("a", 1), one.get("a"), one.mget_nonatomic(KEYS[:3]), one.incr("n"), one.dbsize()]
    pipe = one.pipeline()
    for key in KEYS[:5]:
        pipe.get(key)
    pipe.set("{t}a", 1, ex=60).incr("{t}a")
    found += pipe.execute()
    transaction = one.pipeline(transaction=True)
    found.append(transaction.set("{t}a", 1).incr("{t}a").execute())
    with one.lock("lock", timeout=5):
        found.append(one.ttl("lock") > 0)
    found.append(sorted(one.scan_iter(match="key:*")))
    found.append(one.delete(*KEYS[:10]))
    found.append(one.pipeline().execute_command("DEL", "key:11").execute_command("DEL", "key:12").execute())
    return found


def test_ordinary_work_is_as_without_a_guard(nodes: Cluster, guard: Guard, gate: Gatekeeper) -> None:
    gate.answer = Pass()
    with RedisCluster.from_url(nodes.url) as plain:
        expected = _story(plain)
        for key in ["a", "n", "{t}a", *KEYS]:
            plain.delete(key)
        for key in KEYS:
            plain.set(key, "v")
    with Guarded.from_url(nodes.url, guard=guard, decode_responses=False) as one:
        assert _story(one) == expected
    assert gate.asked


def test_what_is_held_reaches_no_node(nodes: Cluster, guard: Guard) -> None:
    host, port = nodes.url.removeprefix("redis://").split(":")
    with ExitStack() as stack:
        ways = [
            Guarded.from_url(nodes.url, guard=guard),
            Guarded(host=host, port=int(port), guard=guard),
        ]
        found = _done(nodes, stack)
        for one in ways:
            stack.enter_context(one)
            with pytest.raises(OperationHeld):
                one.delete("key:1")
            with pytest.raises(OperationHeld):
                one.flushdb(target_nodes=Guarded.PRIMARIES)
            pipe = one.pipeline()
            for key in KEYS:
                pipe.incr(f"n:{key}")
            with pytest.raises(OperationHeld):
                pipe.execute_command("DEL", "key:7").execute()
            with pytest.raises(OperationHeld):
                one.pipeline(transaction=True).set("{key:7}", 1).execute_command("DEL", "{key:7}").execute()
    assert _writes(found) == 0
    assert len(nodes.everything()) == len(KEYS)


def test_what_the_guard_did_is_not_done_again(nodes: Cluster, guard: Guard, gate: Gatekeeper) -> None:
    gate.answer = Answered(b":7\r\n")
    with Guarded.from_url(nodes.url, guard=guard) as one:
        assert one.delete("key:1") == 7
        pipe = one.pipeline()
        for key in "abc":  # one on each node
            pipe.execute_command("DEL", key)
        assert pipe.execute() == [7, 7, 7]
    assert len({call.commands for call, _ in gate.asked[1:]}) == len(gate.asked) - 1 == 3
    assert len(nodes.everything()) == len(KEYS)


@pytest.mark.usefixtures("guard")
def test_with_the_real_gate(nodes: Cluster, tmp_path: Path) -> None:
    settings = {**OPEN, "redis.max_keys": "5"}
    with Guarded.from_url(nodes.url, guard=redisface.guard(tmp_path / "real", settings=settings)) as one:
        assert one.delete("key:1") == 1
        pipe = one.pipeline()
        for key in KEYS[2:6]:
            pipe.execute_command("DEL", key)
        assert pipe.execute() == [1, 1, 1, 1]
        with pytest.raises((OperationHeld, ResponseError), match="GUARD"):
            one.flushdb(target_nodes=Guarded.PRIMARIES)
    assert len(nodes.everything()) == len(KEYS) - 5


def test_likewise_where_it_is_awaited(nodes: Cluster, guard: Guard, gate: Gatekeeper) -> None:
    async def story() -> None:
        async with AioGuarded.from_url(nodes.url, guard=guard) as one:
            assert await one.get("key:1") == b"v"
            pipe = one.pipeline()
            for key in KEYS:
                pipe.incr(f"n:{key}")
            pipe.delete("key:7")
            with pytest.raises(OperationHeld):
                await pipe.execute()
            with pytest.raises(OperationHeld):
                await one.delete("key:1")
            with pytest.raises(OperationHeld):
                await one.flushdb(target_nodes=AioGuarded.PRIMARIES)

    async def allowed() -> None:
        async with AioGuarded.from_url(nodes.url, guard=guard) as one:
            assert await one.set("a", 1, ex=60) is True
            assert await one.delete("key:1") == 1
            assert await one.pipeline().set("b", 1).delete("key:2").execute() == [True, 1]

    with ExitStack() as stack:
        found = _done(nodes, stack)
        asyncio.run(story())
    assert _writes(found) == 0
    assert len(nodes.everything()) == len(KEYS)
    gate.answer = Pass()
    asyncio.run(allowed())
    assert len(nodes.everything()) == len(KEYS)


def _silent(nodes: Cluster, stack: ExitStack) -> None:
    """No node answers to writes for a while."""
    for node in nodes.servers:
        stack.enter_context(node.client())("CLIENT", "PAUSE", 20_000, "WRITE")


def _heard(nodes: Cluster) -> None:
    for node in nodes.servers:
        with node.client() as raw:
            raw("CLIENT", "UNPAUSE")


def test_a_lost_reply_is_told_and_nothing_is_sent_twice(nodes: Cluster, guard: Guard, gate: Gatekeeper) -> None:
    gate.answer = Pass()
    ways: list[Callable[[Any], Any]] = [
        lambda one: one.delete("key:1"),
        lambda one: one.pipeline().execute_command("DEL", "key:2").execute_command("DEL", "key:3").execute(),
        lambda one: one.pipeline(transaction=True).execute_command("DEL", "key:4").execute(),
        lambda one: one.set("key:5", "w"),
    ]
    for way in ways:
        gate.asked.clear()
        with ExitStack() as stack, Guarded.from_url(nodes.url, guard=guard, socket_timeout=0.3) as one:
            assert one.get("key:1") == b"v"
            _silent(nodes, stack)
            with pytest.raises(OutcomeUnknown, match="not sent again") as lost:
                way(one)
            assert not isinstance(lost.value, RedisConnectionError | RedisTimeoutError)
            _heard(nodes)
        assert len(gate.asked) <= 2, "each node is asked about once"


def test_likewise_for_a_lost_reply_that_is_awaited(nodes: Cluster, guard: Guard, gate: Gatekeeper) -> None:
    gate.answer = Pass()

    async def story() -> None:
        async with AioGuarded.from_url(nodes.url, guard=guard, socket_timeout=0.3) as one:
            assert await one.get("key:1") == b"v"
            with ExitStack() as stack:
                _silent(nodes, stack)
                for call in (
                    one.delete("key:1"),
                    one.pipeline().execute_command("DEL", "key:2").execute_command("DEL", "key:3").execute(),
                ):
                    with pytest.raises(OutcomeUnknown, match="not sent again"):
                        await call
                _heard(nodes)

    asyncio.run(story())
    assert len(gate.asked) <= 3
