"""Every type in every encoding goes and comes back as it was, with what hangs on it: on real servers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_undo import undo
from redisguard import Guard
from rediskeys import pipeline
from redisservers import Client, Server

pytestmark = pytest.mark.real

FLUSH = Wanted("FLUSHDB", everything=True)
MANY = [f"member:{n}" for n in range(700)]
_FAR = "4000000000123"

_SMALL = """
SET int 12345|SET negative -9223372036854775808|SET embstr short|SETBIT bitmap 100000 1
RPUSH list:small a b 1 -5|RPUSH list:one only|SADD set:ints 1 2 3 -9223372036854775808 9223372036854775807|SADD set:small a b c
HSET hash:small a 1 b 2|ZADD zset:small -inf low 0 zero 0 other inf high 1.5e-300 tiny|PFADD hll:sparse a b c
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
XADD stream:empty 5-1 f v|XDEL stream:empty 5-1|XGROUP CREATE stream:made g $ MKSTREAM|XADD stream:holes 1-1 a 1|XADD stream:holes 2-1 a 2
XADD stream:holes 3-1 b 3 c 4|XDEL stream:holes 2-1|XSETID stream:holes 9-9
XADD stream:groups 1-1 f 1|XADD stream:groups 2-1 f 2|XADD stream:groups 3-1 f 3|XADD stream:groups 4-1 f 4
XGROUP CREATE stream:groups first 0|XGROUP CREATE stream:groups second 2-1|XGROUP CREATE stream:groups idle $
XGROUP CREATECONSUMER stream:groups idle nobody
XREADGROUP GROUP first alice COUNT 2 STREAMS stream:groups >|XREADGROUP GROUP first bob COUNT 1 STREAMS stream:groups >
XREADGROUP GROUP second carol STREAMS stream:groups >|XACK stream:groups first 1-1|XREADGROUP GROUP first alice STREAMS stream:groups 0
XDEL stream:groups 3-1
"""
"""Entry 3-1 is pending and no more there."""


@pytest.fixture
def guard(redis_server: Server, redis_client: Client, tmp_path: Path) -> Guard:  # noqa: ARG001 - empties the server
    return Guard(f"unix://{redis_server.path}", tmp_path / "state", {"policy.on_block": "allow"})


def _build(client: Client) -> None:
    lines = [line for line in _SMALL.replace("\n", "|").split("|") if line]
    commands: list[Sequence[bytes | str]] = [line.split() for line in lines]
    commands += [["SET", "raw", b"\x00\r\n\xff" * 5_000], ["SET", "none", b""], ["SADD", "set:large", *MANY]]
    commands += [["SADD", "set:large-ints", *map(str, range(1_000))], ["RPUSH", "list:large", *MANY, "x" * 20_000]]
    commands += [
        ["HSET", "hash:large", *(word for name in MANY for word in (name, "v"))],
        ["PFADD", "hll:dense", *MANY * 9],
    ]
    commands += [["ZADD", "zset:large", *(word for n, name in enumerate(MANY) for word in (str(n % 7), name))]]
    commands += [["PFADD", "hll:dense", *(f"{name}:{n}" for name in MANY for n in range(9))]]
    commands += [["XADD", "stream:large", f"{n}-{n % 3}", "f", "v" * 50, f"g{n % 5}", "w"] for n in range(1, 500)]
    commands += [
        ["PEXPIREAT", name, _FAR] for name in ("raw", "list:small", "stream:groups", "hash:large", "hll:sparse")
    ]
    wrong = [answer for answer in pipeline(client, commands) if isinstance(answer, Exception)]
    assert not wrong


def _consumers(answer: Any) -> Any:
    """Of each consumer: name and how much it has not confirmed; not how long ago it came."""
    return [one[:4] for one in answer]


def _pending(answer: Any) -> Any:
    """Of each message: number, consumer, deliveries; not how long ago."""
    return [[number, consumer, count] for number, consumer, _, count in answer]


def _all_of(client: Client, key: bytes) -> object:
    """Everything that a server tells about a key."""
    ends = client("COMMAND", "INFO", "PEXPIRETIME") != [None]
    end = client("PEXPIRETIME", key) if ends else round(client.number("PTTL", key), -5)
    # Whether a short string lies beside its header is up to who wrote it last.
    encoding = client.text("OBJECT", "ENCODING", key).replace(b"embstr", b"raw")
    told: list[object] = [client("TYPE", key), encoding, end]
    match client.text("TYPE", key):
        case b"string":
            return [*told, client("GET", key)]
        case b"list":
            return [*told, client("LRANGE", key, 0, -1)]
        case b"set":
            return [*told, sorted(client.strings("SMEMBERS", key))]
        case b"zset":
            return [*told, client("ZRANGE", key, 0, -1, "WITHSCORES")]
        case b"hash":
            return [*told, sorted(zip(*[iter(client.strings("HGETALL", key))] * 2, strict=True))]
    groups = [group[1] for group in client.array("XINFO", "GROUPS", key) if isinstance(group, list)]
    waiting = [_pending(client("XPENDING", key, name, "-", "+", 100)) for name in groups if isinstance(name, bytes)]
    consumers = [_consumers(client("XINFO", "CONSUMERS", key, name)) for name in groups if isinstance(name, bytes)]
    # How the tree of a stream is laid out, which is no content, is told between these.
    layout = {b"radix-tree-keys", b"radix-tree-nodes"}
    info = client.array("XINFO", "STREAM", key)
    facts = [pair for pair in zip(info[::2], info[1::2], strict=True) if pair[0] not in layout]
    return [*told, facts, client("XINFO", "GROUPS", key), waiting, consumers, client("XRANGE", key, "-", "+")]


@pytest.mark.parametrize("big", ["16MiB", "1"])
def test_every_type_in_every_encoding_comes_back_as_it_was(guard: Guard, redis_client: Client, big: str) -> None:
    """Held in memory, or in pieces all of them."""
    _build(redis_client)
    names = sorted(redis_client.strings("KEYS", "*"))
    before = {name: _all_of(redis_client, name) for name in names}
    assert len({str(told[1]) for told in before.values() if isinstance(told, list)}) >= 8, "encodings"
    receipt = guard.remove(FLUSH, redis__big_value=big)
    assert (receipt.moved, redis_client("DBSIZE")) == (len(names), 0)
    back = undo(guard.session(redis__big_value=big), receipt.op)
    assert back.restored == len(names)
    for name in names:
        assert _all_of(redis_client, name) == before[name], name


def test_readers_of_a_stream_go_on_where_they_were(guard: Guard, redis_client: Client) -> None:
    _build(redis_client)
    receipt = guard.remove(FLUSH)
    undo(guard.session(), receipt.op)
    again = redis_client("XREADGROUP", "GROUP", "first", "bob", "STREAMS", "stream:groups", "0")
    assert again == [[b"stream:groups", [[b"3-1", None]]]]
    new = redis_client("XREADGROUP", "GROUP", "first", "bob", "STREAMS", "stream:groups", ">")
    assert new == [[b"stream:groups", [[b"4-1", [b"f", b"4"]]]]]
    assert redis_client("XCLAIM", "stream:groups", "first", "dave", 0, "2-1") == [[b"2-1", [b"f", b"2"]]]


def test_fields_of_a_hash_come_back_with_ends_of_their_own(
    guard: Guard, redis_server: Server, redis_client: Client
) -> None:
    redis_client("HSET", "small", "a", "1", "b", "2", "c", "3")
    redis_client("HSET", "large", *(word for name in MANY for word in (name, "v")))
    if redis_client("COMMAND", "INFO", "HPEXPIREAT") == [None]:
        assert redis_server.name in {"redis-6.2", "redis-7.0"}, (
            "fields end by themselves since Redis 7.4 and Valkey 9.0"
        )
        return
    redis_client("HPEXPIREAT", "small", _FAR, "FIELDS", 2, "a", "b")
    redis_client("HPEXPIREAT", "large", _FAR, "FIELDS", 300, *MANY[:300])
    asked = [("HPEXPIRETIME", "small", "FIELDS", "3", "a", "b", "c"), ("HPEXPIRETIME", "large", "FIELDS", "700", *MANY)]
    before = pipeline(redis_client, asked)
    assert before[0] == [int(_FAR), int(_FAR), -1]
    receipt = guard.remove(FLUSH)
    assert (receipt.moved, redis_client("DBSIZE")) == (2, 0)
    undo(guard.session(), receipt.op)
    assert pipeline(redis_client, asked) == before
    assert redis_client("HLEN", "large") == len(MANY)
