"""redis-py with a guard, against real servers: everything ordinary is as without, and nothing goes round."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import asyncio as aioredis
from redis._parsers import _RESP2Parser
from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

import redisface
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.redis.call import Answered, Pass, Refused
from go_cache_safeguard.redis_py import (
    Guard,
    GuardedConnectionPool,
    GuardedRedis,
    GuardUnavailable,
    OperationElsewhere,
    OperationHeld,
    OperationRefused,
    OutcomeUnknown,
    parse_error,
)
from go_cache_safeguard.redis_py.asyncio import GuardedRedis as AsyncGuardedRedis
from redisface import HELD, Gatekeeper, counted
from redisguard import OPEN, dropping
from rediskeys import build, forms
from redisservers import BINARIES, Client, Server, running

pytestmark = pytest.mark.real

# Their types know neither that a pipeline's methods give the pipeline, nor that those of a client with asyncio are coroutines.
Plain: Any = redis.Redis
Guarded: Any = GuardedRedis
AioGuarded: Any = AsyncGuardedRedis
Blocking: Any = BlockingConnectionPool
Pool: Any = ConnectionPool

_VARYING = {
    b"SPOP",
    b"SRANDMEMBER",
    b"RANDOMKEY",
    b"TIME",
    b"XADD",
    b"MEMORY",
    b"DEBUG",
    b"HGETALL",
    b"LATENCY",
    b"TOUCH",
}
"""Commands whose reply is another one each time, or depends on what went before."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("redis-7.0", tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture
def raw(server: Server) -> Iterator[Client]:
    with server.client() as client:
        client("FLUSHALL")
        client("SET", "k", "v")
        yield client


@pytest.fixture
def gate() -> Gatekeeper:
    return Gatekeeper(HELD)


@pytest.fixture
def guard(tmp_path: Path, gate: Gatekeeper) -> Guard:
    return redisface.guard(tmp_path, gate)


@pytest.fixture
def client(server: Server, guard: Guard) -> Iterator[Any]:
    with Guarded(unix_socket_path=server.path, guard=guard) as one:
        yield one


def _run(one: Any, args: Sequence[bytes]) -> object:
    try:
        reply = one.execute_command(*args)
    except ResponseError as error:
        return type(error), str(error)
    return sorted(reply) if args[0] == b"KEYS" else reply  # in whatever order they lie


@pytest.mark.parametrize("name", BINARIES)
@pytest.mark.parametrize(("decode", "protocol"), [(False, 2), (True, 3)])
def test_every_command_answers_as_without_a_guard(name: str, decode: bool, protocol: int, tmp_path: Path) -> None:  # noqa: FBT001
    gate = Gatekeeper()
    known = {"decode_responses": decode, "protocol": protocol, "encoding_errors": "backslashreplace"}
    (tmp_path / "server").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running(name, tmp_path / "server"))
        admin = stack.enter_context(server.client())
        found: list[list[object]] = []
        for one in (
            Plain(unix_socket_path=server.path, **known),
            Guarded(unix_socket_path=server.path, guard=redisface.guard(tmp_path, gate), **known),
        ):
            build(admin)
            replies: list[object] = []
            stack.enter_context(one)
            for args in forms(admin):
                if args[0] not in _VARYING and args[:2] not in {(b"CONFIG", b"SET"), (b"SCRIPT", b"FLUSH")}:
                    build(admin)
                    replies.append((args[0], _run(one, args)))
            found.append(replies)
    plain, guarded = found
    assert len(plain) > 180
    assert [pair for pair in zip(plain, guarded, strict=True) if pair[0] != pair[1]] == []
    assert len(gate.asked) > 10


_METHODS: list[Callable[[Any], Any]] = [
    lambda one: one.ping(),
    lambda one: one.echo("x"),
    lambda one: one.config_get("maxmemory*"),
    lambda one: one.set("t", "v", ex=100, get=True),
    lambda one: one.set("t", b"\x00\xff", px=100_000, nx=True),
    lambda one: one.execute_command("SETEX", "t", 60, "x"),
    lambda one: one.expire("t", 500, gt=True),
    lambda one: one.getex("t", ex=60),
    lambda one: one.mset({"a": 1, "b": 2.5}),
    lambda one: one.mget("a", "b", "none"),
    lambda one: one.append("a", "x"),
    lambda one: one.incrbyfloat("b", 1.5),
    lambda one: one.hset("h", mapping={"f": 1, "g": "two"}),
    lambda one: one.hgetall("h"),
    lambda one: sorted(one.hscan_iter("h")),
    lambda one: one.zadd("z", {"a": 1, "b": 2}),
    lambda one: one.zrange("z", 0, -1, withscores=True),
    lambda one: one.zpopmin("z"),
    lambda one: one.rpush("l", *range(20)),
    lambda one: one.blpop(["l", "m"], timeout=1),
    lambda one: one.lrange("l", 0, -1),
    lambda one: one.sort("l", desc=True),
    lambda one: one.sadd("s", *"abc"),
    lambda one: sorted(one.sscan_iter("s")),
    lambda one: one.smembers("s"),
    lambda one: sorted(one.scan_iter(count=3)),
    lambda one: one.xadd("x", {"f": "v"}, id="1-1"),
    lambda one: one.xrange("x"),
    lambda one: one.xinfo_stream("x"),
    lambda one: one.xgroup_create("x", "g", "0"),
    lambda one: one.xreadgroup("g", "me", {"x": ">"}),
    lambda one: one.geoadd("geo", (13.3, 38.1, "P")),
    lambda one: one.geopos("geo", "P"),
    lambda one: one.geosearch("geo", longitude=13, latitude=38, radius=200, unit="km", withdist=True),
    lambda one: one.pfadd("p", "a", "b"),
    lambda one: one.setbit("bits", 7, 1),
    lambda one: one.bitfield("bits").get("u8", 0).execute(),
    lambda one: one.object("encoding", "l"),
    lambda one: one.type("l"),
    lambda one: one.client_getname(),
    lambda one: one.client_setname("me"),
    lambda one: one.client_no_evict("ON"),
    lambda one: one.command_count(),
    lambda one: one.command_getkeys("MSET", "a", 1, "b", 2),
    lambda one: one.acl_whoami(),
    lambda one: one.pubsub_numsub("c"),
    lambda one: one.publish("c", "m"),
    lambda one: one.script_exists("0" * 40),
    lambda one: one.eval_ro("return {1, 'x', {2}}", 0),
    lambda one: one.wait(0, 0),
    lambda one: one.dbsize(),
    lambda one: one.delete("a", "b"),
    lambda one: one.unlink("none"),
    lambda one: one.rename("l", "l2"),
    lambda one: one.copy("l2", "l3", replace=True),
    lambda one: one.getdel("t"),
    lambda one: one.dump("none"),
    lambda one: one.function_list(),
    lambda one: one.lcs("l2", "none"),
    lambda one: one.flushdb(),
    lambda one: one.flushall(asynchronous=True),
    lambda one: one.pipeline().set("a", 1).incr("a").hgetall("h").delete("a").execute(),
    lambda one: (
        one.pipeline(transaction=False).set("a", 1).lpush("a", 1).delete("a").execute(raise_on_error=False)[::2]
    ),
    lambda one: one.transaction(lambda pipe: pipe.multi() or pipe.set("k", "w"), "k"),
]


def _result(call: Callable[[Any], Any], one: Any) -> object:
    try:
        return call(one)
    except ResponseError as error:
        return type(error), str(error)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, None])
def test_every_method_gives_the_same_types_as_without_a_guard(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper, *, decode: bool, protocol: int | None
) -> None:
    gate.answer = Pass()
    known: dict[str, Any] = {"unix_socket_path": server.path, "decode_responses": decode, "protocol": protocol}
    found = []
    for one in (Plain(**known), Guarded(guard=guard, **known)):
        raw("FLUSHALL")
        with one:
            found.append([_result(call, one) for call in _METHODS])
    assert found[0] == found[1]
    assert len(gate.asked) >= 7


def test_a_held_call_reaches_nobody(client: Any, raw: Client, gate: Gatekeeper) -> None:
    with counted(raw) as done:
        with pytest.raises(OperationHeld, match="GUARDHELD op_test a person decides") as held:
            client.delete("k")
        with pytest.raises(OperationHeld):
            client.flushall()
        assert client.get("k") == b"v"
    assert held.value.op == "op_test"
    assert done == {"get": 1}
    assert [call.commands for call, _ in gate.asked] == [((b"DEL", b"k"),), ((b"FLUSHALL",),)]


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_of_which_a_part_is_held_is_held_as_a_whole(client: Any, raw: Client, *, transaction: bool) -> None:
    with counted(raw) as done:
        pipe = client.pipeline(transaction=transaction)
        pipe.set("a", 1).delete("k").incr("a")
        with pytest.raises(OperationHeld):
            pipe.execute()
        with pytest.raises(OperationHeld):
            client.pipeline(transaction=transaction).delete("k").execute(raise_on_error=False)
    assert done == {}
    assert client.pipeline(transaction=transaction).set("a", 1).get("a").execute() == [True, b"1"]


def test_what_is_sent_at_once_in_a_watching_pipeline_is_asked_about(client: Any, raw: Client) -> None:
    with client.pipeline() as pipe:
        pipe.watch("k")
        assert pipe.get("k") == b"v"
        with pytest.raises(OperationHeld):
            pipe.delete("k")
        pipe.multi()
        pipe.set("k", "w").unlink("k")
        with pytest.raises(OperationHeld):
            pipe.execute()
    assert raw.text("GET", "k") == b"v"
    with pytest.raises(OperationHeld):
        client.transaction(lambda pipe: pipe.delete("k"), "k")


def test_a_transaction_by_hand_is_asked_about_at_exec_and_leaves_nothing_waiting(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper
) -> None:
    with Guarded(unix_socket_path=server.path, guard=guard, single_connection_client=True, db=3) as one:
        one.execute_command("MULTI")
        assert one.execute_command("DEL", "k") == b"QUEUED"
        with pytest.raises(OperationHeld):
            one.execute_command("EXEC")
        assert one.ping() is True
        assert gate.asked[0][0].db == 3
        gate.answer = Answered(b"*1\r\n:7\r\n")
        one.execute_command("MULTI")
        one.execute_command("DEL", "k")
        assert one.execute_command("EXEC") == [7]
        assert one.ping() is True
    assert raw.text("GET", "k") == b"v"


def test_no_error_inside_of_a_transaction_lets_a_later_call_go_by(server: Server, raw: Client, guard: Guard) -> None:
    with Guarded(unix_socket_path=server.path, guard=guard, single_connection_client=True) as one:
        for words in (("NOSUCH",), ("MULTI",), ("SELECT", "x"), ("WATCH", "k")):
            one.execute_command("MULTI")
            one.execute_command("UNLINK", "k")
            _run(one, tuple(word.encode() for word in words))
            with pytest.raises(ResponseError):
                one.execute_command("EXEC")
            with pytest.raises(OperationHeld):
                one.execute_command("DEL", "k")
            assert one.ping() is True
    assert raw.text("GET", "k") == b"v"


def test_scripts_are_held_and_the_lock_of_redis_py_is_not(client: Any, raw: Client) -> None:
    with counted(raw) as done:
        with pytest.raises(OperationHeld):
            client.eval("return redis.call('del', KEYS[1])", 1, "k")
        script = client.register_script("return redis.call('flushall')")
        with pytest.raises(OperationHeld):
            script()
        pipe = client.pipeline()
        script(client=pipe)
        with pytest.raises(OperationHeld):
            pipe.execute()
    assert not {"eval", "evalsha", "flushall"} & set(done)
    with client.lock("lock", timeout=5) as lock:
        lock.extend(5)
        lock.reacquire()
    assert raw("EXISTS", "lock") == 0


def test_a_protected_key_is_protected_whatever_it_is_given_as(server: Server, raw: Client, tmp_path: Path) -> None:
    raw("SET", "keep:1", "v")
    guard = redisface.guard(tmp_path, Gatekeeper(HELD), {"redis.protect": "keep:* 7"})
    for known in ({}, {"encoding": "utf-16"}, {"encoding": "latin-1", "encoding_errors": "ignore"}):
        with Guarded(unix_socket_path=server.path, guard=guard, **known) as one:
            for key in ("keep:1", b"keep:1", bytearray(b"keep:1"), memoryview(b"keep:1"), 7):
                for words in (
                    ("SET", key, "w"),
                    ("SETEX", key, 60, "w"),
                    ("set", key, "w"),
                    (b"SET", key, b"w"),
                    ("LPOP", key),
                ):
                    with pytest.raises(OperationHeld):
                        one.execute_command(*words)
    assert raw.text("GET", "keep:1") == b"v"


def test_monitor_is_refused_and_pubsub_goes_on(client: Any) -> None:
    with pytest.raises(OperationRefused), client.monitor():
        pass
    with client.pubsub() as channel:
        channel.subscribe("c")
        assert channel.get_message(timeout=5) is not None
        client.publish("c", "m")
        message = channel.get_message(timeout=5)
        assert message is not None
        assert message["data"] == b"m"


class _Fixed(Sentinel):
    """A sentinel that knows one master."""

    def __init__(self, port: int) -> None:
        above: Any = super()
        above.__init__([])
        self.port = port

    def discover_master(self, service_name: str) -> tuple[str, int]:  # noqa: ARG002
        return "127.0.0.1", self.port


def _port(raw: Client) -> int:
    for port in range(21_000, 22_000):
        try:
            raw("CONFIG", "SET", "bind", "127.0.0.1")
            raw("CONFIG", "SET", "port", port)
        except Exception:  # noqa: BLE001, S112 - somebody has it
            continue
        return port
    raise AssertionError("no port is free")


def test_every_way_to_make_a_client_is_guarded(server: Server, raw: Client, guard: Guard) -> None:
    port = _port(raw)
    kind = Guarded.under(guard)
    pool = Pool(connection_class=UnixDomainSocketConnection, path=server.path)
    blocking = Blocking(connection_class=UnixDomainSocketConnection, path=server.path, max_connections=2, timeout=1)
    parent = kind(unix_socket_path=server.path)
    sentinel: Any = _Fixed(port)
    ways = [
        kind.from_url(f"unix://{server.path}?db=0"),
        kind.from_url(f"redis://127.0.0.1:{port}/0"),
        kind.from_pool(pool),
        kind(connection_pool=blocking),
        parent,
        parent.client(),
        kind(port=port, single_connection_client=True),
        sentinel.master_for("master", redis_class=kind),
        Plain(connection_pool=blocking),
    ]
    for one in ways:
        with pytest.raises(OperationHeld):
            one.flushdb()
        assert one.get("k") == b"v"
    for one in ways:
        one.close()


def test_a_pool_that_somebody_uses_without_a_guard_is_not_taken_over(server: Server, guard: Guard) -> None:
    pool = Pool(connection_class=UnixDomainSocketConnection, path=server.path)
    plain = Plain(connection_pool=pool)
    plain.ping()
    taken = pool.get_connection()
    with pytest.raises(ValueError, match="a pool of its own"):
        Guarded(connection_pool=pool, guard=guard)
    pool.release(taken)
    Guarded(connection_pool=pool, guard=guard)
    with pytest.raises(OperationHeld):
        plain.flushall()
    pool.disconnect()


def test_the_guard_never_falls_back(server: Server, raw: Client, tmp_path: Path) -> None:
    def opened(*_args: object) -> Gatekeeper:
        raise OSError("no such journal")

    one = Guarded(unix_socket_path=server.path, guard=Guard(redisface.session(tmp_path), opened))
    with one, pytest.raises(GuardUnavailable, match="no such journal"):
        one.delete("k")
    assert raw.text("GET", "k") == b"v"


def test_what_the_guard_did_itself_comes_back_as_if_the_server_had_done_it(
    server: Server, raw: Client, gate: Gatekeeper, guard: Guard
) -> None:
    for known in ({"protocol": 2}, {"protocol": 3}, {"protocol": 2, "parser_class": _RESP2Parser}):
        pool = Pool(connection_class=UnixDomainSocketConnection, path=server.path, decode_responses=True, **known)
        with Guarded(connection_pool=pool, guard=guard) as one, counted(raw) as done:
            gate.answer = Answered(b":2\r\n")
            assert one.delete("k", "m") == 2
            gate.answer = Answered(b"+OK\r\n")
            assert one.flushdb() is True
            gate.answer = Answered(b"$5\r\nv\xc3\xa4lu\r\n")
            assert one.getdel("k") == "välu"
            gate.answer = Answered(b"*2\r\n+OK\r\n:1\r\n")
            assert one.pipeline().set("a", 1).delete("k").execute() == [True, 1]
            assert one.pipeline(transaction=False).set("a", 1).delete("k").execute() == [True, 1]
            gate.answer = Answered(b"*-1\r\n" if known["protocol"] == 2 else b"_\r\n")
            with pytest.raises(WatchError):
                one.pipeline().delete("k").execute()
            gate.answer = Answered(b"-WRONGTYPE no\r\n")
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                one.delete("k")
            gate.answer = Answered(b"-GUARDUNKNOWN op_1 lost\r\n")
            with pytest.raises(OutcomeUnknown):
                one.delete("k")
            gate.answer = Answered(b"-GUARDDONE op_1 is DONE\r\n")
            with pytest.raises(OperationElsewhere):
                one.delete("k")
            gate.answer = Refused("never")
            with pytest.raises(OperationRefused, match="never"):
                one.delete("k")
        assert done == {}
        pool.disconnect()


def test_a_lost_reply_is_told_and_nothing_is_sent_twice(
    server: Server, raw: Client, gate: Gatekeeper, guard: Guard, tmp_path: Path
) -> None:
    gate.answer = Pass()
    front = str(tmp_path / "front")
    retry = Retry(NoBackoff(), 3)
    ways: list[Callable[[Any], Any]] = [
        lambda one: one.delete("k", "LOSE"),
        lambda one: one.lpop("LOSE"),
        lambda one: one.set("LOSE", "v", ex=60),
        lambda one: one.set("LOSE", "v"),
        lambda one: one.pipeline().delete("LOSE").execute(),
        lambda one: one.pipeline(transaction=False).incr("n").delete("LOSE").execute(),
        lambda one: one.transaction(lambda pipe: pipe.multi() or pipe.delete("LOSE"), "k"),
    ]
    with dropping(server.path, front, b"LOSE"), Guarded(unix_socket_path=front, guard=guard, retry=retry) as one:
        for way in ways:
            with counted(raw) as done, pytest.raises(OutcomeUnknown, match="not sent again") as lost:
                way(one)
            assert isinstance(lost.value, RedisConnectionError)
            assert {count for name, count in done.items() if name != "watch"} == {1}
        with counted(raw) as done, pytest.raises(RedisConnectionError):
            one.get("LOSE")
        assert done == {"get": 4}, "what loses nothing is tried again, as redis-py does"
        assert one.ping() is True


def test_a_blocking_call_that_times_out_is_not_sent_again_and_is_a_timeout(
    server: Server, raw: Client, guard: Guard
) -> None:
    retry = Retry(NoBackoff(), 3)
    known = Guarded(unix_socket_path=server.path, guard=guard, socket_timeout=0.2, retry=retry)
    with known as one, counted(raw) as done, pytest.raises(OutcomeUnknown) as lost:
        one.blpop("empty", timeout=5)
    assert isinstance(lost.value, RedisTimeoutError)
    assert done.get("blpop", 0) <= 1


def test_what_a_replica_refused_was_not_done_and_is_tried_again(guard: Guard, gate: Gatekeeper, tmp_path: Path) -> None:
    gate.answer = Pass()
    (tmp_path / "replica").mkdir()
    with running("redis-7.0", tmp_path / "replica") as replica, replica.client() as raw:
        sentinel: Any = _Fixed(_port(raw))
        raw("REPLICAOF", "127.0.0.1", "1")
        retry = Retry(NoBackoff(), 2)
        with sentinel.master_for("master", redis_class=Guarded.under(guard), retry=retry) as one:
            for words in (("DEL", "k"), ("SET", "k", "v")):
                with pytest.raises(RedisConnectionError, match="previous master") as found:
                    one.execute_command(*words)
                assert not isinstance(found.value, OutcomeUnknown)
        assert len(gate.asked) == 3
        raw("REPLICAOF", "NO", "ONE")
        assert one.set("k", "v") is True
        one.close()


def test_the_database_that_is_asked_about_is_the_one_that_is_selected(
    server: Server, guard: Guard, gate: Gatekeeper
) -> None:
    with Guarded(unix_socket_path=server.path, guard=guard, db=2, single_connection_client=True) as one:
        for select, db in (("2", 2), ("5", 5), ("999", 5)):
            if select != "2":
                _run(one, (b"SELECT", select.encode()))
            with pytest.raises(OperationHeld):
                one.delete("k")
            assert gate.asked[-1][0].db == db


def test_an_error_of_the_proxy_is_understood_by_a_client_without_a_guard(server: Server) -> None:
    with Plain(unix_socket_path=server.path) as plain, pytest.raises(ResponseError) as error:
        plain.eval("return redis.error_reply('GUARDHELD op_9 a person decides')", 0)
    found = parse_error(error.value)
    assert isinstance(found, OperationHeld)
    assert found.op == "op_9"


def test_a_library_that_takes_a_pool_is_guarded_by_the_settings_of_the_machine(
    server: Server, raw: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.redis_py.guard._DEFAULT", [redisface.guard(tmp_path, Gatekeeper(HELD))])
    pool = GuardedConnectionPool.from_url(f"unix://{server.path}")
    with Plain(connection_pool=pool) as one, pytest.raises(OperationHeld):
        one.flushall()
    pool.disconnect()
    assert raw.text("GET", "k") == b"v"


# With the real gate


def test_a_held_call_is_done_by_the_guard_when_it_is_sent_again_after_the_approval(
    server: Server, raw: Client, tmp_path: Path
) -> None:
    guard = redisface.guard(tmp_path, settings=OPEN)
    with Guarded(unix_socket_path=server.path, guard=guard) as one:
        with pytest.raises(OperationHeld) as held:
            one.flushdb()
        op = held.value.op
        assert one.guard_status(op) == "HELD"
        with pytest.raises(OperationHeld) as again:
            one.guard_retry(op, "FLUSHDB")
        assert again.value.op == op
        with guard.session.journal() as journal:
            approve_by_digest(guard.session, journal, op, str(journal.operation(op).data["digest"]))
        with counted(raw) as done:
            assert one.flushdb() is True
        assert "flushdb" not in done
        assert one.guard_status(op) == "DONE"
        assert one.dbsize() == 0


def test_what_every_check_allows_is_done_at_once(server: Server, raw: Client, tmp_path: Path) -> None:
    with Guarded(unix_socket_path=server.path, guard=redisface.guard(tmp_path, settings=OPEN)) as one:
        assert one.delete("k") == 1
    assert raw("EXISTS", "k") == 0


# With asyncio


@contextmanager
def _loop() -> Iterator[Callable[[Any], Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


def test_everything_is_the_same_where_it_is_awaited(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper
) -> None:
    async def story() -> None:
        for known in ({"protocol": 2, "decode_responses": True}, {"protocol": 3, "decode_responses": True}):
            gate.answer = HELD
            raw("SET", "k", "v")
            async with AioGuarded(unix_socket_path=server.path, guard=guard, **known) as one:
                assert await one.set("a", 1, ex=60) is True
                assert await one.get("a") == "1"
                assert [key async for key in one.scan_iter(match="a")] == ["a"]
                with pytest.raises(OperationHeld):
                    await one.delete("k")
                for transaction in (True, False):
                    with pytest.raises(OperationHeld):
                        await one.pipeline(transaction=transaction).set("b", 1).delete("k").execute()
                    assert await one.pipeline(transaction=transaction).set("b", 1).get("b").execute() == [True, "1"]
                with pytest.raises(OperationRefused):
                    await one.execute_command("MONITOR")
                async with one.lock("lock", timeout=5):
                    pass
                async with one.pubsub() as channel:
                    await channel.subscribe("c")
                    assert await channel.get_message(timeout=5) is not None
                gate.answer = Answered(b"*2\r\n+OK\r\n:1\r\n")
                assert await one.pipeline().set("b", 1).delete("k").execute() == [True, 1]
                gate.answer = Answered(b":5\r\n")
                assert await one.delete("k") == 5
                gate.answer = Pass()
                assert await one.delete("k") == 1
                single = one.client()
                async with single:
                    assert await single.ping() is True

    with _loop() as run:
        run(story())


def test_a_call_that_is_cancelled_while_somebody_decides_is_never_sent(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper
) -> None:
    gate.answer, gate.doors = Pass(), threading.Event()

    async def story() -> None:
        async with AioGuarded(unix_socket_path=server.path, guard=guard, single_connection_client=True) as one:
            await one.ping()
            task = asyncio.create_task(one.delete("k"))
            await asyncio.to_thread(gate.called.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert gate.doors is not None
            gate.doors.set()
            assert await one.get("k") == b"v"

    with counted(raw) as done, _loop() as run:
        run(story())
    assert done == {"ping": 1, "get": 1}
    assert gate.gone


def test_after_a_cancelled_call_nobody_gets_its_reply(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper
) -> None:
    gate.answer = Pass()

    async def story() -> None:
        async with AioGuarded(unix_socket_path=server.path, guard=guard, max_connections=1, socket_timeout=None) as one:
            for number in range(20):
                call = (
                    one.blpop("empty", 30)
                    if number % 2
                    else one.pipeline(transaction=False).set("x", "wrong").blpop("empty", 30).execute()
                )
                task = asyncio.create_task(call)
                await asyncio.sleep(0.001 * (number % 4))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await one.echo(str(number)) == str(number).encode()

    with _loop() as run:
        run(story())
    assert raw.text("GET", "k") == b"v"


def test_a_lost_reply_is_told_where_it_is_awaited(
    server: Server, raw: Client, guard: Guard, gate: Gatekeeper, tmp_path: Path
) -> None:
    gate.answer = Pass()

    async def story(front: str) -> None:
        retry = aioredis.retry.Retry(NoBackoff(), 3)
        async with AioGuarded(unix_socket_path=front, guard=guard, retry=retry) as one:
            for call in (one.delete, one.lpop):
                with counted(raw) as done, pytest.raises(OutcomeUnknown):
                    await call("LOSE")
                assert list(done.values()) == [1]
            with counted(raw) as done, pytest.raises(OutcomeUnknown):
                await one.pipeline().delete("LOSE").execute()
            assert set(done.values()) == {1}
            assert await one.ping() is True

    with dropping(server.path, str(tmp_path / "front"), b"LOSE"), _loop() as run:
        run(story(str(tmp_path / "front")))
