"""Values that are larger than what we hold in memory go and come back in pieces: on real servers."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import certificates
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.recover import recover
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_server import address_of, connect
from go_cache_safeguard.flows.redis_undo import show, undo
from go_cache_safeguard.flows.undo import RestoreFailed
from go_cache_safeguard.redis.client import BIG
from go_cache_safeguard.redis.trash import Captured
from go_cache_safeguard.redis.trashfile import TrashFile
from go_cache_safeguard.redis.trashlog import TrashUnusable
from guardproxy import free_port
from redisguard import Guard, dropping, everything
from rediskeys import pipeline
from redisservers import Client, Server, running

pytestmark = pytest.mark.real

FLUSH = Wanted("FLUSHDB", everything=True)
SMALL = {"redis.big_value": "100KB", "policy.on_block": "allow"}


@pytest.fixture
def guard(redis_server: Server, redis_client: Client, tmp_path: Path) -> Guard:  # noqa: ARG001 - empties the server
    return Guard(f"unix://{redis_server.path}", tmp_path / "state", SMALL)


def _bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)  # noqa: S311 - contents that do not get smaller, no secret


def _fill(client: Client) -> None:
    """Large values of every type between small ones, and more small ones together than are held in memory."""
    words = [_bytes(300, n).hex() for n in range(3_000)]
    commands: list[list[bytes | str]] = [["SET", f"small:{n:03}", _bytes(2_000, n)] for n in range(100)]
    commands += [["SET", "string", _bytes(2 << 20)], ["RPUSH", "list", *words], ["SADD", "set", *words]]
    commands += [["HSET", "hash", *(part for word in words for part in (word, "v"))]]
    commands += [["ZADD", "zset", *(part for n, word in enumerate(words) for part in (str(n), word))]]
    commands += [["XADD", "stream", f"{n}-1", "field", word] for n, word in enumerate(words, 1)]
    commands += [["XGROUP", "CREATE", "stream", "group", "0"]]
    commands += [["XREADGROUP", "GROUP", "group", "reader", "COUNT", "500", "STREAMS", "stream", ">"]]
    commands += [["PEXPIREAT", "list", "4000000000123"], ["PEXPIREAT", "string", "4000000000456"]]
    assert not [answer for answer in pipeline(client, commands) if isinstance(answer, Exception)]


def _contents(client: Client, key: bytes) -> object:
    """What a key holds, whatever the order in which the server keeps it."""
    match client.text("TYPE", key):
        case b"set":
            return sorted(client.strings("SMEMBERS", key))
        case b"hash":
            return sorted(client.strings("HKEYS", key))
        case b"zset":
            return client.strings("ZRANGE", key, 0, -1, "WITHSCORES")
    return client.text("DUMP", key)


def test_large_values_of_every_type_come_back_with_their_ends(guard: Guard, redis_client: Client) -> None:
    _fill(redis_client)
    ask = [("XINFO", "GROUPS", "stream"), ("XPENDING", "stream", "group"), ("XLEN", "stream")]
    before, stream = everything(redis_client), pipeline(redis_client, ask)
    contents = {key: _contents(redis_client, key) for key in before}
    receipt = guard.remove(FLUSH)
    assert (receipt.moved, receipt.failed, redis_client("DBSIZE")) == (len(before), (), 0)
    sizes = {one.name: one.size for one in show(guard.session(), receipt.op)}
    assert sizes["0/string"] == len(before[b"string"][0])
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.size) == (len(before), sum(len(dump) for dump, _ in before.values()))
    assert {key: _contents(redis_client, key) for key in before} == contents
    assert pipeline(redis_client, ask) == stream
    after = everything(redis_client)
    assert all(abs(after[key][1] - end) <= 5 for key, (_, end) in before.items())


def test_a_large_value_that_is_there_again_is_told_from_a_newer_one(guard: Guard, redis_client: Client) -> None:
    redis_client("SET", "string", _bytes(1 << 20))
    receipt = guard.remove(Wanted("DEL", keys=(b"string",)))
    redis_client("SET", "string", _bytes(1 << 20, 2))
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.newer, back.there) == (0, 1, 0)
    receipt = guard.remove(Wanted("DEL", keys=(b"string",)))
    redis_client("SET", "string", _bytes(1 << 20, 2))
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.newer, back.there) == (0, 0, 1)


def test_a_write_to_a_large_value_while_it_is_captured_keeps_it(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(redis_client, [("RPUSH", "list", *[_bytes(1_000, n) for n in range(500)]), ("SET", "small", "v")])
    add = TrashFile.add_piece

    def late(self: TrashFile, piece: bytes) -> None:
        add(self, piece)
        redis_client("RPUSH", "list", "written meanwhile")

    monkeypatch.setattr(TrashFile, "add_piece", late)
    receipt = guard.remove(Wanted("DEL", keys=(b"list", b"small")))
    assert (receipt.moved, receipt.changed) == (1, 1)
    assert redis_client("LINDEX", "list", -1) == b"written meanwhile"
    undo(guard.session(), receipt.op)
    assert redis_client("GET", "small") == b"v"


def test_without_room_for_its_pieces_a_large_value_stays_and_the_small_ones_go(
    guard: Guard, redis_client: Client
) -> None:
    pipeline(redis_client, [("SET", "large", _bytes(8 << 20)), ("SET", "small", "v")])
    receipt = guard.remove(FLUSH, redis__trash_max_bytes="2MiB")
    assert (receipt.moved, receipt.failed) == (1, (("0/large", "the trash has no room for its value"),))
    assert redis_client("STRLEN", "large") == 8 << 20


def test_a_changed_byte_in_a_piece_is_not_put_back_and_the_server_is_left_as_it_was(
    guard: Guard, redis_client: Client
) -> None:
    pipeline(redis_client, [("SET", "a", "v"), ("SET", "large", _bytes(1 << 20))])
    before = everything(redis_client)
    receipt = guard.remove(FLUSH)
    path = guard.state / "trash" / f"{receipt.op}.values"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 1
    path.write_bytes(data)
    with pytest.raises(RestoreFailed):
        undo(guard.session(), receipt.op)
    assert redis_client("EXISTS", "large") == 0
    data[middle] ^= 1
    path.write_bytes(data)
    undo(guard.session(), receipt.op)
    assert everything(redis_client) == before


def test_a_trash_whose_end_is_missing_is_not_taken_for_the_whole(guard: Guard, redis_client: Client) -> None:
    pipeline(redis_client, [("SET", f"key:{n}", _bytes(500, n)) for n in range(5)])
    receipt = guard.remove(FLUSH)
    path = guard.state / "trash" / f"{receipt.op}.values"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RestoreFailed, match="not in the trash any more"):
        undo(guard.session(), receipt.op)
    assert guard.state_of(receipt.op) == "UNKNOWN"


def test_what_the_server_would_not_take_back_is_said_before_it_goes(guard: Guard, redis_client: Client) -> None:
    names = ("proto-max-bulk-len", "client-query-buffer-limit")
    usual = [redis_client.strings("CONFIG", "GET", name)[1] for name in names]
    redis_client("SET", "large", _bytes((1 << 20) - 100))
    redis_client("APPEND", "large", _bytes(1000))
    wanted = Wanted("DEL", keys=(b"large",))
    assert guard.outcomes(wanted)["redis-undo"] is Outcome.PASS
    receipt = guard.remove(wanted)
    try:
        redis_client("CONFIG", "SET", names[0], 1 << 20)
        with pytest.raises(RestoreFailed, match="takes no value of more than 1048576 bytes"):
            undo(guard.session(), receipt.op)
    finally:
        redis_client("CONFIG", "SET", names[0], int(usual[0]))
    assert undo(guard.session(), receipt.op).restored == 1
    for name, least in zip(names, (1 << 20, 2 << 20), strict=True):
        try:
            redis_client("CONFIG", "SET", name, least)
            verdict = next(one for one in guard.look(wanted)[1] if one.check == "redis-undo")
            assert (verdict.outcome, "would not take back" in verdict.summary) == (Outcome.BLOCK, True), name
        finally:
            redis_client("CONFIG", "SET", name, int(usual[names.index(name)]))


def test_a_capture_never_makes_a_full_server_evict_others(guard: Guard, redis_client: Client) -> None:
    """Replies that wait to be read count as used memory: DUMP of a large value evicted all other keys."""
    pipeline(redis_client, [("SET", f"small:{n}", _bytes(10_000, n)) for n in range(300)])
    pipeline(redis_client, [("RPUSH", "large", _bytes(100_000, n)) for n in range(80)])
    used = int(redis_client.text("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])
    try:
        redis_client("CONFIG", "SET", "maxmemory", used + (8 << 20))
        redis_client("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        found, verdicts = guard.look(Wanted("DEL", keys=(b"large", b"small:1")))
        assert found.facts.dumped is None
        assert next(one.outcome for one in verdicts if one.check == "redis-undo") is Outcome.UNKNOWN
        assert found.facts.unread == ("0/large",)
        receipt = guard.remove(FLUSH, policy__on_unknown="allow")
        assert (receipt.moved, receipt.changed, redis_client("DBSIZE")) == (300, 0, 1)
        assert receipt.failed == (("0/large", "the server has too little memory left to answer with its value"),)
        assert b"evicted_keys:0\r" in redis_client.text("INFO", "stats")
        assert guard.remove(FLUSH, redis__least_reply="100MiB").moved == 1
    finally:
        redis_client("CONFIG", "SET", "maxmemory", 0)
        redis_client("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize("word", [b"DUMP", b"EXEC", b"RESTORE"])
def test_a_connection_that_ends_in_the_middle_of_a_large_value_loses_nothing(
    redis_server: Server, redis_client: Client, tmp_path: Path, word: bytes
) -> None:
    redis_client("SET", "large", _bytes(2 << 20))
    before = everything(redis_client)
    guard = Guard(f"unix://{tmp_path}/front", tmp_path / "state", SMALL)
    cut = dropping(redis_server.path, str(tmp_path / "front"), word)
    with cut, pytest.raises(Failure, match=r"ended|lost|not everything"):
        _remove_and_undo(guard)
    (tmp_path / "front").unlink()
    (tmp_path / "front").symlink_to(redis_server.path)
    if guard.last() and guard.state_of(guard.last()) in {"UNKNOWN", "DONE", "WAITING"}:
        undo(guard.session(), guard.last())
    assert everything(redis_client) == before


def _remove_and_undo(guard: Guard) -> None:
    receipt = guard.remove(FLUSH)
    undo(guard.session(), receipt.op)


_POINTS = ["_write", "sync", "add_piece", "keep", "tell"]


@pytest.mark.parametrize("name", _POINTS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_while_a_large_value_is_captured_nothing_is_lost(tmp_path: Path, name: str, number: int) -> None:
    with running("valkey-9.1", tmp_path) as server, server.client() as client:
        guard = Guard(f"unix://{server.path}", tmp_path / "state", SMALL)
        pipeline(client, [("SET", "large", _bytes(1 << 20)), ("SET", "small", "v")])
        before = everything(client)
        _killed_at(lambda: guard.remove(FLUSH), TrashFile, name, number)
        problems = [one.problem for one in recover(guard.session(), None, wait_s=0)]
        assert not any(problems), problems
        if guard.state_of(guard.last()) in {"DONE", "WAITING", "UNKNOWN"}:
            undo(guard.session(), guard.last())
        assert everything(client) == before


def _killed_at(act: Callable[[], object], kind: type, name: str, number: int) -> None:
    """Do it in a child that is killed before its n-th call."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] in {0, signal.SIGKILL}, "it failed instead"
        return
    try:
        real, calls = getattr(kind, name), [0]

        def call(*args: object, **named: object) -> object:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        setattr(kind, name, call)
        act()
    except BaseException:  # noqa: BLE001 - nothing may return into the tests of the parent
        os._exit(1)
    os._exit(0)


_MEASURE = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_undo import undo
from guardproxy import free_port
from redisguard import Guard
guard = Guard({url!r}, Path({state!r}), {{"policy.on_block": "allow", "redis.big_value": "1MiB"}})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def there_and_back(key):
    undo(guard.session(), guard.remove(Wanted("DEL", keys=(key,))).op)
    return peak()
before = there_and_back(b"small")
print(there_and_back(b"large") - before)
"""


def test_a_value_of_forty_megabytes_needs_a_few_of_ours(tmp_path: Path) -> None:
    with running("valkey-9.1", tmp_path) as server, server.client() as client:
        client("SET", "small", "v")
        pipeline(client, [("RPUSH", "large", _bytes(1 << 20, n)) for n in range(40)])
        program = _MEASURE.format(
            tests=str(Path(__file__).parents[1]), url=f"unix://{server.path}", state=str(tmp_path / "state")
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 15 << 10, "KiB of memory more than for a small value"
        assert client("LLEN", "large") == 40


def test_what_is_held_in_memory_is_bounded_whatever_the_estimate_says(guard: Guard, redis_client: Client) -> None:
    pipeline(redis_client, [("SET", f"key:{n}", _bytes(20_000, n)) for n in range(30)])
    session = guard.session()
    with connect(session, address_of(session, guard.url)) as server:
        looked = server.look(redis_client.strings("KEYS", "*"))
        assert sum(len(one.dump or b"") for one in looked) <= 100_000 < sum(one.length or 0 for one in looked)
        pieces: list[bytes] = []
        watched = server.watch([one.key for one in looked], lambda _key, _size: pieces.append)
        assert {one.key: one.digest for one in watched} == {one.key: one.digest for one in looked}
        assert len(b"".join(pieces)) == sum(one.big.size for one in watched if one.big is not None) > 0
        server.forget()
        assert [one.key for one in watched if one.big is None]
    assert BIG == 16 << 20


def test_a_trash_that_fails_while_pieces_come_ends_the_removal_and_the_connection(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client("SET", "large", _bytes(1 << 20))

    def full(_self: TrashFile, _piece: bytes) -> None:
        raise TrashUnusable("no room")

    monkeypatch.setattr(TrashFile, "add_piece", full)
    with pytest.raises(TrashUnusable, match="no room"):
        guard.remove(FLUSH)
    assert (guard.state_of(guard.last()), redis_client("EXISTS", "large")) == ("WAITING", 1)
    monkeypatch.undo()
    assert guard.resume(guard.last()).moved == 1


def test_what_went_but_could_not_be_written_down_is_unknown_and_comes_back(
    guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client("SET", "key", "value")

    def full(_self: TrashFile, _kind: object) -> None:
        raise TrashUnusable("no room")

    monkeypatch.setattr(TrashFile, "tell", full)
    with pytest.raises(Exception, match="no room"):
        guard.remove(FLUSH)
    assert (guard.state_of(guard.last()), redis_client("EXISTS", "key")) == ("UNKNOWN", 0)
    monkeypatch.undo()
    assert undo(guard.session(), guard.last()).restored == 1
    assert redis_client("GET", "key") == b"value"


def test_a_large_value_is_put_back_only_from_where_it_lies(guard: Guard, redis_client: Client) -> None:
    session = guard.session()
    with connect(session, address_of(session, guard.url)) as server:
        assert server.restore([Captured(0, b"k", -1, b"no dump")], replace=False) != [b"OK"]
    assert redis_client("DBSIZE") == 0


def test_large_values_go_and_come_back_over_tls_to_a_trash_that_is_reached_by_tls(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certs")
    pair = ("--tls-cert-file", str(made.server.cert), "--tls-key-file", str(made.server.key))
    more = ("--tls-ca-cert-file", str(made.ca), "--tls-auth-clients", "no")
    tls = (*pair, *more, "--appendonly", "yes", "--appendfsync", "always")
    front, back = tmp_path / "front", tmp_path / "back"
    front.mkdir()
    back.mkdir()
    one, other = free_port(), free_port()
    with (
        running("redis-7.0", front, *tls, "--tls-port", str(one)) as server,
        running("redis-7.0", back, *tls, "--tls-port", str(other)),
        server.client() as client,
    ):
        client("SET", "large", _bytes(2 << 20))
        before = everything(client)
        settings = {**SMALL, "redis.ca": str(made.ca), "redis.trash": f"rediss://localhost:{other}/2"}
        guard = Guard(f"rediss://localhost:{one}", tmp_path / "state", settings)
        receipt = guard.remove(FLUSH)
        assert (receipt.moved, client("DBSIZE")) == (1, 0)
        assert undo(guard.session(), receipt.op).restored == 1
        assert everything(client) == before
