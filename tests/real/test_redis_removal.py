"""Keys go only as they were approved, no write is lost, and everything comes back: on real servers."""

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.core.errors import IllegalTransition, PlanVoid
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows import redis_removal
from go_cache_safeguard.flows.clean import Held, Refused
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_removal import OutcomeUnknown, RemovalPaused
from go_cache_safeguard.flows.redis_undo import purge, show, stored, undo
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.undo import RestoreFailed
from go_cache_safeguard.journal.store import Journal
from go_cache_safeguard.redis.client import Server as Link
from go_cache_safeguard.redis.client import ServerUnreachable
from go_cache_safeguard.redis.keyname import text_of
from go_cache_safeguard.redis.trashfile import TrashFile, open_trash
from go_cache_safeguard.redis.trashlog import TrashLocked, TrashUnusable
from redisguard import Guard, dropping, everything, killed_at
from rediskeys import build, pipeline
from redisservers import Client, Server, running

pytestmark = pytest.mark.real

FLUSH = Wanted("FLUSHDB", everything=True)
ODD = [
    b"",
    b"new\nline",
    b"\x1b[31mred\x1b[0m",
    b"\x00\xff\xfe",
    b"back\\slash \\x41",
    "ключ:1".encode(),
    b"user:100:x",
]
_SPREAD = {b"hashtable", b"skiplist"}
"""Encodings of which DUMP lists the members in the order of a hash table."""


@pytest.fixture
def guard(redis_server: Server, redis_client: Client, tmp_path: Path) -> Guard:  # noqa: ARG001 - empties the server
    return Guard(f"unix://{redis_server.path}", tmp_path / "state")


@pytest.fixture(scope="module")
def newest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server, for what does not depend on its version."""
    with running("valkey-9.1", tmp_path_factory.mktemp("r")) as server:
        yield server


def _bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)  # noqa: S311 - contents that do not get smaller, no secret


def _fill(client: Client, number: int) -> None:
    pipeline(client, [("SET", f"user:{n:05}", f"value {n}") for n in range(number)])


def _every_encoding(client: Client) -> None:
    """A key of every type and encoding, with and without an end, with odd names and large values."""
    build(client)
    many = [f"member:{n}" for n in range(700)]
    commands: list[list[bytes | str]] = [["SET", name, b"\x00\r\n\xff"] for name in ODD]
    commands += [["SET", "raw", b"x" * 1000], ["SET", "int", "12345"], ["SET", "big", _bytes(3 << 20)]]
    commands += [
        ["SADD", "intset", *map(str, range(100))],
        ["SADD", "set:large", *many],
        ["RPUSH", "list:large", *many],
    ]
    commands += [["HSET", "hash:large", *(word for name in many for word in (name, "v"))]]
    commands += [["ZADD", "zset:large", *(word for n, name in enumerate(many) for word in (str(n), name))]]
    commands += [["XADD", "stream", f"{n}-1", "f", "v" * 50] for n in range(1, 300)]
    commands += [
        ["XGROUP", "CREATE", "stream", "g", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "COUNT", "9", "STREAMS", "stream", ">"],
    ]
    commands += [["PFADD", "hll", *many], ["SETBIT", "bits", "100000", "1"]]
    commands += [
        ["PEXPIREAT", name, str(4_000_000_000_123 + n)]
        for n, name in enumerate(("raw", "stream", "zset:large", "intset"))
    ]
    assert not [answer for answer in pipeline(client, commands) if isinstance(answer, Exception)]


def _contents(client: Client, key: bytes) -> object:
    """What a key holds, whatever the order in which the server keeps it."""
    ask: dict[bytes, Callable[[], list[Any]]] = {
        b"set": lambda: sorted(client.strings("SMEMBERS", key)),
        b"hash": lambda: sorted(zip(*[iter(client.strings("HGETALL", key))] * 2, strict=True)),
        b"zset": lambda: client.strings("ZRANGE", key, 0, -1, "WITHSCORES"),
    }
    return ask.get(client.text("TYPE", key), lambda: [client.text("DUMP", key)])()


def test_a_flush_comes_back_byte_for_byte_with_every_end(guard: Guard, redis_client: Client) -> None:
    _every_encoding(redis_client)
    before = everything(redis_client)
    contents = {key: (_contents(redis_client, key), redis_client.text("OBJECT", "ENCODING", key)) for key in before}
    receipt = guard.remove(FLUSH, policy__on_block="allow")
    assert (receipt.moved, redis_client("DBSIZE")) == (len(before), 0)
    back = undo(guard.session(), receipt.op)
    after = everything(redis_client)
    assert (back.restored, back.newer, after.keys()) == (len(before), 0, before.keys())
    for key, (dump, end) in before.items():
        assert abs(after[key][1] - end) <= (0 if redis_client("COMMAND", "INFO", "PEXPIRETIME") != [None] else 5), key
        was, encoding = contents[key]
        assert _contents(redis_client, key) == was, key
        assert after[key][0] == dump or encoding in _SPREAD, (key, encoding)
    assert guard.state_of(receipt.op) == "UNDONE"


def test_streams_come_back_with_their_groups_and_what_is_pending(guard: Guard, redis_client: Client) -> None:
    _every_encoding(redis_client)
    ask = [("XINFO", "GROUPS", "stream"), ("XPENDING", "stream", "g"), ("XLEN", "stream")]
    before = pipeline(redis_client, ask)
    receipt = guard.remove(Wanted("DEL", keys=(b"stream",)))
    assert redis_client("EXISTS", "stream") == 0
    undo(guard.session(), receipt.op)
    assert pipeline(redis_client, ask) == before


def test_keys_with_odd_names_go_and_come_back_and_are_printed_safely(guard: Guard, redis_client: Client) -> None:
    pipeline(redis_client, [("SET", name, b"v") for name in ODD])
    receipt = guard.remove(Wanted("UNLINK", keys=tuple(ODD)), policy__on_block="allow")  # one looks like a pattern
    shown = [one.name for one in show(guard.session(), receipt.op)]
    assert sorted(shown) == sorted(f"0/{text_of(name)}" for name in ODD)
    assert all(name.isprintable() and name.isascii() for name in shown)
    undo(guard.session(), receipt.op)
    assert sorted(redis_client.strings("KEYS", "*")) == sorted(ODD)


def test_every_database_is_flushed_and_comes_back_where_it_was(guard: Guard, redis_client: Client) -> None:
    build(redis_client)
    wanted = Wanted("FLUSHALL", everything=True)
    receipt = guard.remove(wanted, policy__on_block="allow")
    assert redis_client.text("INFO", "keyspace").strip() == b"# Keyspace"
    undo(guard.session(), receipt.op)
    redis_client("SELECT", 9)
    assert redis_client("GET", "other") == b"1"
    redis_client("SELECT", 0)


def test_every_check_provokes_its_hold(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 200)
    redis_client("SET", "soon", "v", "EX", 60)
    one = Wanted("DEL", keys=(b"user:00001",))
    fine = guard.outcomes(one)
    assert {outcome for check, outcome in fine.items() if check != "redis-replication"} <= {Outcome.PASS, Outcome.WARN}
    assert fine["redis-replication"] is Outcome.WARN
    provoked = [
        ("redis-names", one, {"redis.protect": "user:*"}),
        ("redis-names", Wanted("DEL", keys=(b"nothing", b"user:00001")), {"redis.protect": "user:*"}),
        ("redis-names", Wanted("DEL", patterns=(b"user:*",)), {}),
        ("redis-names", one, {"redis.on_removes": "hold"}),
        ("redis-ttl", Wanted("DEL", keys=(b"user:00001", b"soon")), {"redis.block_ttl_threshold": "5m"}),
        ("redis-ttl", Wanted("DEL", keys=(b"user:00001", b"nothing")), {"redis.on_missing": "block"}),
        ("redis-ttl", one, {"redis.on_no_expiry": "block"}),
        ("redis-hit-rate", one, {"redis.on_no_history": "unknown"}),
        ("redis-blast-radius", Wanted("DEL", keys=(b"user:00001", b"user:00002")), {"redis.max_keys": "1"}),
        ("redis-blast-radius", Wanted("DEL", patterns=(b"user:000[0-9]*",)), {"redis.max_share": "10%"}),
        ("redis-blast-radius", one, {"redis.max_bytes": "1"}),
        ("redis-undo", one, {"redis.trash_max_bytes": "1"}),
    ]
    for check, wanted, settings in provoked:
        strict = Guard(guard.url, guard.state, settings)
        outcome = strict.outcomes(wanted)[check]
        assert outcome in {Outcome.BLOCK, Outcome.UNKNOWN}, (check, settings)
        with pytest.raises(Held):
            strict.remove(wanted)
    assert redis_client("DBSIZE") == 201


def test_a_client_that_removes_much_in_a_minute_is_held(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 30)
    keys = [b"user:%05d" % n for n in range(30)]
    guard.remove(Wanted("DEL", keys=tuple(keys[:20])), redis__max_rate="25")
    with pytest.raises(Held):
        guard.remove(Wanted("DEL", keys=tuple(keys[20:])), redis__max_rate="25")
    assert redis_client("DBSIZE") == 10


def test_what_the_rules_refuse_is_not_even_asked(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 1)
    with pytest.raises(Refused):
        guard.remove(Wanted("DEL", keys=(b"user:00000",)), redis__on_removes="refuse")
    assert redis_client("DBSIZE") == 1


def test_a_failed_save_and_a_replica_are_told(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 1)
    redis_client("REPLICAOF", "127.0.0.1", "1")
    _, verdicts = guard.look(Wanted("DEL", keys=(b"user:00000",)))
    redis_client("REPLICAOF", "NO", "ONE")
    assert any(verdict.check == "redis-replication" and verdict.outcome is Outcome.WARN for verdict in verdicts)


def test_an_approved_removal_is_executed_once_and_leaves_what_changed_since(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 6)
    op, plan = guard.hold(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(6))))
    with pytest.raises(Held):
        guard.resume(op)
    redis_client("SET", "user:00000", "newer")
    redis_client("EXPIRE", "user:00001", 5000)
    redis_client("DEL", "user:00002")
    redis_client("DEL", "user:00003")
    redis_client("RPUSH", "user:00003", "another type")
    guard.approve(op, plan)
    receipt = guard.resume(op, approval__on_change="skip")
    assert (receipt.moved, receipt.changed, receipt.missing, receipt.state) == (2, 3, 1, "DONE")
    assert sorted(redis_client.strings("KEYS", "*")) == [b"user:00000", b"user:00001", b"user:00003"]
    pipeline(redis_client, [("SET", "user:00004", "value 4"), ("SET", "user:00005", "value 5")])
    with pytest.raises(IllegalTransition):
        guard.resume(op)
    assert redis_client("DBSIZE") == 5


@pytest.mark.parametrize("change", [("SET", "user:00003", "newer"), ("PEXPIRE", "user:00003", "99999999")])
def test_an_approval_is_void_when_a_key_changed_since_and_not_when_one_went(
    guard: Guard, redis_client: Client, change: tuple[str, ...]
) -> None:
    _fill(redis_client, 6)
    op, plan = guard.hold(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(6))))
    guard.approve(op, plan)
    redis_client(*change)
    before = {key: value for key, (value, _) in everything(redis_client).items()}  # 6.2 tells no exact expiry
    with pytest.raises(PlanVoid, match="1 of 6 keys changed") as void:
        guard.resume(op)
    assert guard.state_of(op) == "CANCELLED"
    assert {key: value for key, (value, _) in everything(redis_client).items()} == before
    assert f"--replaces {op}" in void.value.hint
    with pytest.raises(IllegalTransition):
        guard.resume(op)
    op, plan = guard.hold(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(6))))
    guard.approve(op, plan)
    redis_client("DEL", "user:00004")
    assert guard.resume(op).moved == 5


def test_an_approval_is_void_after_the_server_was_started_again(tmp_path: Path) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state")
    with running("redis-7.0", tmp_path) as server, server.client() as client:
        client("SET", "user:1", "v")
        op, plan = guard.hold(Wanted("DEL", keys=(b"user:1",)))
        guard.approve(op, plan)
    with running("redis-7.0", tmp_path) as server, server.client() as client:
        client("SET", "user:1", "v")
        with pytest.raises(PlanVoid):
            guard.resume(op)
        assert (client("EXISTS", "user:1"), guard.state_of(op)) == (1, "REFUSED")


def test_undo_keeps_what_is_newer_unless_told_and_what_would_have_ended_stays_away(
    guard: Guard, redis_client: Client
) -> None:
    _fill(redis_client, 4)
    redis_client("PEXPIRE", "user:00003", 300)
    receipt = guard.remove(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(4))))
    redis_client("SET", "user:00000", "newer")
    redis_client("SET", "user:00001", "value 1")
    time.sleep(0.4)
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.there, back.newer, back.ended) == (1, 1, 1, 1)
    assert redis_client("GET", "user:00000") == b"newer"
    again = guard.remove(Wanted("DEL", keys=(b"user:00000",)))
    redis_client("SET", "user:00000", "newest")
    assert undo(guard.session(), again.op, replace=True).restored == 1
    assert redis_client("GET", "user:00000") == b"newer"
    with pytest.raises(IllegalTransition):
        undo(guard.session(), again.op)


def test_a_lost_reply_is_unknown_and_is_not_sent_again(
    redis_server: Server, redis_client: Client, tmp_path: Path
) -> None:
    _fill(redis_client, 3)
    guard = Guard(f"unix://{tmp_path}/front", tmp_path / "state")
    redis_client("CONFIG", "RESETSTAT")
    with dropping(redis_server.path, str(tmp_path / "front"), b"EXEC"):
        with pytest.raises(OutcomeUnknown):
            guard.remove(Wanted("DEL", keys=(b"user:00000", b"user:00001")))
        op = guard.last()
        assert guard.state_of(op) == "UNKNOWN"
        with pytest.raises(IllegalTransition):
            guard.resume(op)
        stats = redis_client.text("INFO", "commandstats")
        assert b"cmdstat_exec:calls=1," in stats
        assert redis_client("DBSIZE") == 1
        assert undo(guard.session(), op).restored == 2
    assert redis_client("DBSIZE") == 3


def test_a_connection_that_ends_before_a_removal_is_sent_leaves_everything_and_can_go_on(
    redis_server: Server, redis_client: Client, tmp_path: Path
) -> None:
    _fill(redis_client, 3)
    guard = Guard(f"unix://{tmp_path}/front", tmp_path / "state")
    with dropping(redis_server.path, str(tmp_path / "front"), b"WATCH"), pytest.raises(Exception, match="ended"):
        guard.remove(Wanted("DEL", keys=(b"user:00000",)))
    op = guard.last()
    assert (guard.state_of(op), redis_client("DBSIZE")) == ("WAITING", 3)
    (tmp_path / "front").unlink()
    (tmp_path / "front").symlink_to(redis_server.path)
    assert guard.resume(op).moved == 1


def _write_all_the_time(path: str, number: int, stop: threading.Event, told: set[tuple[bytes, bytes]]) -> None:
    client, chance, count = Client(path), random.Random(number), 0  # noqa: S311 - a load, no secret
    while not stop.is_set():
        name, word = b"set:%d" % chance.randrange(_RACED), b"%d.%d" % (number, count)
        if client("SADD", name, word) == 1:
            told.add((name, word))
        count += 1
        time.sleep(0.0005)
    client.close()


def _words(client: Client) -> set[tuple[bytes, bytes]]:
    names = client.strings("KEYS", "*")
    found = pipeline(client, [("SMEMBERS", name) for name in names])
    return {
        (name, word)
        for name, words in zip(names, found, strict=True)
        if isinstance(words, list)
        for word in words
        if isinstance(word, bytes)
    }


_RACED = 4_000


def _naively(client: Client, told: set[tuple[bytes, bytes]]) -> Callable[[], object]:
    """DUMP, then UNLINK a moment later. Returns the way back."""
    names = client.strings("KEYS", "*")
    dumps = pipeline(client, [("DUMP", name) for name in names])
    until = len(told) + 20
    while len(told) < until:
        time.sleep(0.001)
    client("UNLINK", *names)
    return lambda: pipeline(
        client,
        [("RESTORE", name, "0", dump) for name, dump in zip(names, dumps, strict=True) if isinstance(dump, bytes)],
    )


@pytest.mark.parametrize("naive", [True, False])
def test_writers_lose_nothing_that_the_server_had_confirmed(
    guard: Guard, redis_server: Server, redis_client: Client, *, naive: bool
) -> None:
    """Whatever SADD was answered is in a key that is there, or in our copy. DUMP and then UNLINK breaks that."""
    pipeline(redis_client, [("SADD", f"set:{n}", "first") for n in range(_RACED)])
    told: set[tuple[bytes, bytes]] = set()
    stop = threading.Event()
    args = [(redis_server.path, number, stop, told) for number in (1, 2)]
    writers = [threading.Thread(target=_write_all_the_time, args=one) for one in args]
    for writer in writers:
        writer.start()
    try:
        if naive:
            back = _naively(redis_client, told)
        else:
            receipt = guard.remove(FLUSH, policy__on_block="allow")
            assert receipt.moved
            back = lambda: undo(guard.session(), receipt.op)  # noqa: E731
    finally:
        stop.set()
        for writer in writers:
            writer.join(timeout=30)
    left = _words(redis_client)
    redis_client("FLUSHALL")
    back()
    lost = told - left - _words(redis_client)
    assert bool(lost) == naive, len(lost)


def test_a_write_between_capture_and_removal_keeps_the_key(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(redis_client, 5)
    keep = TrashFile.keep

    def late(self: TrashFile, batch: Any) -> None:
        keep(self, batch)
        redis_client("SET", "user:00002", "written in between")

    monkeypatch.setattr(TrashFile, "keep", late)
    receipt = guard.remove(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(5))))
    assert (receipt.moved, receipt.changed) == (4, 1)
    assert redis_client("GET", "user:00002") == b"written in between"
    undo(guard.session(), receipt.op)
    assert (redis_client("DBSIZE"), redis_client("GET", "user:00002")) == (5, b"written in between")


def test_no_key_goes_before_its_copy_is_durable(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(redis_client, 10)
    done: list[str] = []

    def noting(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(*args: Any, **named: Any) -> Any:
            done.append(name)
            return real(*args, **named)

        monkeypatch.setattr(kind, name, call)

    for kind, name in ((TrashFile, "_write"), (TrashFile, "sync"), (Link, "remove")):
        noting(kind, name)
    monkeypatch.setattr(redis_removal, "BATCH_KEYS", 3)
    guard.remove(FLUSH, policy__on_block="allow")
    assert done.count("remove") == 4
    assert all(done[at - 1] == "sync" and done[at - 2] == "_write" for at, name in enumerate(done) if name == "remove")


def test_a_key_that_is_written_to_all_the_time_stays_and_the_others_go(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same value again: nobody could tell by the digest, only the server knows."""
    _fill(redis_client, 5)
    keep = TrashFile.keep

    def late(self: TrashFile, batch: Any) -> None:
        keep(self, batch)
        redis_client("SET", "user:00002", "value 2")

    monkeypatch.setattr(TrashFile, "keep", late)
    receipt = guard.remove(Wanted("DEL", keys=tuple(b"user:%05d" % n for n in range(5))))
    assert (receipt.moved, receipt.changed, redis_client("DBSIZE")) == (4, 1, 1)


def test_somebody_who_stops_it_can_go_on_or_go_back(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 40)
    timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(RemovalPaused):
        guard.remove(FLUSH, policy__on_block="allow", redis__rate="10")
    timer.join()
    op, left = guard.last(), redis_client.number("DBSIZE")
    assert guard.state_of(op) == "WAITING"
    assert 0 < left < 40
    receipt = guard.resume(op)
    assert (receipt.moved, receipt.state, redis_client("DBSIZE")) == (40, "DONE", 0)
    assert undo(guard.session(), op).restored == 40
    with pytest.raises(RemovalPaused):
        guard.remove(FLUSH, policy__on_block="allow", redis__rate="1", redis__trash_max_time="1s")
    op = guard.last()
    assert 0 < redis_client.number("DBSIZE") < 40
    undo(guard.session(), op)
    assert redis_client("DBSIZE") == 40


def test_what_the_trash_has_no_room_for_stays_or_goes_for_good_and_that_is_said(
    guard: Guard, redis_client: Client
) -> None:
    pipeline(redis_client, [("SET", f"k:{n}", _bytes(2000, n)) for n in range(10)])
    receipt = guard.remove(FLUSH, policy__on_block="allow", redis__trash_max_bytes="6000")
    assert (receipt.moved, len(receipt.failed), redis_client("DBSIZE")) == (2, 8, 8)
    assert {why for _, why in receipt.failed} == {"the trash has no room for its value"}
    receipt = guard.remove(FLUSH, policy__on_block="allow", redis__trash_max_bytes="6000", redis__trash_beyond="remove")
    assert redis_client("DBSIZE") == 0
    assert any("CANNOT BE PUT BACK" in line for line in receipt.proof)
    back = undo(guard.session(), receipt.op)
    assert back.no_copy == 8


def test_without_room_on_the_disk_nothing_goes_and_it_can_go_on_later(guard: Guard, redis_client: Client) -> None:
    redis_client("SET", "big", _bytes(3 << 20))
    before = everything(redis_client)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        with pytest.raises(TrashUnusable):
            guard.remove(Wanted("DEL", keys=(b"big",)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    op = guard.last()
    assert (guard.state_of(op), everything(redis_client)) == ("WAITING", before)
    assert guard.resume(op).moved == 1
    assert undo(guard.session(), op).restored == 1
    assert everything(redis_client) == before


def test_the_trash_is_purged_when_it_is_due_and_never_while_it_is_needed(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 3)
    done = guard.remove(Wanted("DEL", keys=(b"user:00000",)))
    gone = guard.remove(Wanted("DEL", keys=(b"user:00001",)))
    undo(guard.session(), gone.op)
    session = guard.session()
    with session.journal() as journal:
        found = {one.op: one for one in stored(session, journal)}
        assert all(one.due_s is not None and one.due_s > time.time() for one in found.values())
        for one in found.values():
            assert purge(session, journal, one) > 0
        assert stored(session, journal) == []
    assert (guard.state_of(done.op), guard.state_of(gone.op)) == ("PURGED", "UNDONE")
    with pytest.raises(IllegalTransition):
        undo(session, done.op)


def test_damaged_captured_values_are_not_put_back_but_those_before_them_are(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 3)
    receipt = guard.remove(FLUSH, policy__on_block="allow")
    path = guard.state / "trash" / f"{receipt.op}.values"
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    with pytest.raises(RestoreFailed):
        undo(guard.session(), receipt.op)
    assert (guard.state_of(receipt.op), redis_client("DBSIZE")) == ("UNKNOWN", 2)
    data[-60] ^= 1
    path.write_bytes(data)
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.there, redis_client("DBSIZE")) == (1, 2, 3)


def test_two_processes_never_work_on_one_operation(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client, 3)
    op, plan = guard.hold(FLUSH)
    guard.approve(op, plan)
    folder = guard.session().state_folder("trash")
    with open_trash(folder, op, new=True), pytest.raises(TrashLocked):
        guard.resume(op)
    assert (guard.state_of(op), redis_client("DBSIZE")) == ("APPROVED", 3)
    assert guard.resume(op).moved == 3


def test_a_wrong_password_or_no_server_removes_nothing(guard: Guard, tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable):
        Guard(f"unix://{tmp_path}/none", guard.state).remove(FLUSH)


_POINTS: list[tuple[type, str]] = [
    (Journal, "advance"),
    (Link, "watch"),
    (Link, "remove"),
    (Link, "restore"),
    (Link, "_send"),
    (TrashFile, "_write"),
    (TrashFile, "sync"),
]


def _recovered(session: Session) -> list[str]:
    return [one.problem for one in recover(session, None, wait_s=0) if one.problem]


def _settled(guard: Guard) -> None:
    """What a person would do after a crash: recover, and put back what went."""
    assert _recovered(guard.session()) == []
    if guard.state_of(guard.last()) in {"DONE", "WAITING", "UNKNOWN"}:
        undo(guard.session(), guard.last())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("kind", "name"), _POINTS)
def test_killed_anywhere_nothing_is_lost(
    tmp_path: Path, newest_server: Server, monkeypatch: pytest.MonkeyPatch, kind: type, name: str, *, after: bool
) -> None:
    """A removal, then an undo, killed at each call of a kind: after recover and undo the server holds what it held."""
    monkeypatch.setattr(redis_removal, "BATCH_KEYS", 3)
    guard = Guard(f"unix://{newest_server.path}", tmp_path / "state")

    def remove() -> object:
        return guard.remove(FLUSH, policy__on_block="allow")

    with newest_server.client() as client:
        client("FLUSHALL")
        _fill(client, 7)
        before = everything(client)
        for number in range(1, 40):
            killed = killed_at(remove, kind, name, number, after=after)
            _settled(guard)
            assert everything(client) == before, (number, guard.state_of(guard.last()))
            if not killed:
                break
        for number in range(1, 40):
            remove()
            killed = killed_at(lambda: undo(guard.session(), guard.last()), kind, name, number, after=after)
            _settled(guard)
            assert everything(client) == before, (number, guard.state_of(guard.last()))
            if not killed:
                break
