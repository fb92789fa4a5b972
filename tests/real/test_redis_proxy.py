"""Clients talk to real servers through the proxy: the same replies, and nothing destructive without an answer of the gate."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from go_cache_safeguard.redis.call import Answer, Answered, Call, Held, Refused
from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.intent import Intent
from go_cache_safeguard.redis.proxy import Ceilings
from go_cache_safeguard.redis.resp import Limits, encode
from go_cache_safeguard.redis.rules import TREATMENTS, Rules, parse_patterns
from redisproxies import Gatekeeper, Proxied, letting_through, proxied, setting_of
from redisservers import BINARIES, Client, Server, ServerError, running

HELD = "GUARDHELD op_test a person decides"


@pytest.fixture(params=sorted(BINARIES), scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def gate() -> Gatekeeper:
    return Gatekeeper()


@pytest.fixture
def guarded(server: Server, gate: Gatekeeper, tmp_path: Path) -> Iterator[Proxied]:
    with server.client() as direct:
        direct("FLUSHALL")
        direct("CONFIG", "RESETSTAT")
    with proxied(server, tmp_path, gate) as started:
        yield started


def _chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - the same stream every time is what is wanted


def _calls(server: Server) -> dict[str, int]:
    """How often each command ran on the server, as it says itself."""
    with server.client() as direct:
        lines = direct.text("INFO", "commandstats").decode().splitlines()
    found = (line.removeprefix("cmdstat_").partition(":calls=") for line in lines if ":calls=" in line)
    return {name: int(rest.partition(",")[0]) for name, _, rest in found}


def test_ordinary_traffic_goes_through(guarded: Proxied, gate: Gatekeeper) -> None:
    with guarded.client() as client:
        assert client("SET", "k", "v") == b"OK"
        assert client("GET", "k") == b"v"
        assert client("INCR", "n") == 1
        assert client.array("LRANGE", "nothing", 0, -1) == []
        with pytest.raises(ServerError, match="WRONGTYPE"):
            client("LPUSH", "k", "x")
    assert gate.calls == []


def test_a_held_command_never_reaches_the_server(guarded: Proxied, gate: Gatekeeper, server: Server) -> None:
    with guarded.client() as client:
        client("SET", "k", "v")
        with pytest.raises(ServerError, match=HELD):
            client("DEL", "k")
        assert client("GET", "k") == b"v"
    assert [call.commands for call in gate.calls] == [((b"DEL", b"k"),)]
    assert "del" not in _calls(server)


def test_replies_keep_their_order_around_held_commands(guarded: Proxied, server: Server) -> None:
    words = [
        ("SET", "k", "v"),
        ("DEL", "k"),
        ("GET", "k"),
        ("FLUSHALL",),
        ("UNLINK", "k", "l"),
        ("GET", "k"),
        ("PING",),
    ]
    with guarded.client() as client:
        client.send(b"".join(encode(tuple(word.encode() for word in one)) for one in words))
        answers = [client.read() for _ in words]
    assert answers[0] == b"OK"
    assert answers[2] == answers[5] == b"v"
    assert answers[6] == b"PONG"
    assert [str(answers[at]) for at in (1, 3, 4)] == [HELD] * 3
    assert not {"del", "flushall", "unlink"} & _calls(server).keys()


def test_what_the_gate_lets_through_is_done(server: Server, tmp_path: Path) -> None:
    with proxied(server, tmp_path, Gatekeeper(letting_through)) as guarded, guarded.client() as client:
        client("SET", "k", "v")
        assert client("DEL", "k", "l") == 1
        assert client("GET", "k") is None


def test_the_guards_own_answer_stands_in_the_place_of_the_servers(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper(lambda _call, _intent: Answered(b":41\r\n"))
    with proxied(server, tmp_path, gate) as guarded, guarded.client() as client:
        client.send(encode((b"PING",)) + encode((b"DEL", b"k")) + encode((b"PING",)))
        assert [client.read() for _ in range(3)] == [b"PONG", 41, b"PONG"]


def test_a_gate_that_fails_lets_nothing_through(server: Server, tmp_path: Path) -> None:
    def failing(_call: Call, _intent: Intent) -> Answer:
        raise OSError("the journal cannot be written")

    with proxied(server, tmp_path, Gatekeeper(failing)) as guarded, guarded.client() as client:
        with pytest.raises(ServerError, match="GUARDREFUSED the guard could not decide: the journal"):
            client("DEL", "k")
        assert client("PING") == b"PONG"


def test_refused_classes_are_not_even_asked_about(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper()
    rules = Rules(treatments={**TREATMENTS, Class.FLUSHES: Treatment.REFUSE})
    refusal = pytest.raises(ServerError, match="GUARDREFUSED FLUSHALL is refused")
    with proxied(server, tmp_path, gate, setting_of(rules)) as guarded, guarded.client() as client, refusal:
        client("FLUSHALL")
    assert gate.calls == []


def test_a_protected_key_is_asked_about_and_others_are_not(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper()
    rules = Rules(protect=parse_patterns("session:*"))
    with proxied(server, tmp_path, gate, setting_of(rules)) as guarded, guarded.client() as client:
        words = [(b"SET", b"page:%d" % at, b"x") for at in range(50)] + [
            (b"SET", b"session:1", b"x"),
            (b"GET", b"session:1"),
        ]
        client.send(b"".join(map(encode, words)))
        answers = [client.read() for _ in words]
    assert answers[:50] == [b"OK"] * 50
    assert str(answers[50]) == HELD
    assert answers[51] is None
    assert [call.commands for call in gate.calls] == [((b"SET", b"session:1", b"x"),)]


# Transactions


def test_a_harmless_transaction_goes_through(guarded: Proxied, gate: Gatekeeper) -> None:
    with guarded.client() as client:
        for words in (("MULTI",), ("SET", "k", "v"), ("INCR", "n")):
            client(*words)
        assert client("EXEC") == [b"OK", 1]
        client.send(b"".join(map(encode, [(b"MULTI",), (b"GET", b"k"), (b"EXEC",), (b"PING",)])))
        assert [client.read() for _ in range(4)] == [b"OK", b"QUEUED", [b"v"], b"PONG"]
    assert gate.calls == []


@pytest.mark.parametrize("together", [True, False])
def test_a_held_transaction_is_not_done_and_is_over(
    guarded: Proxied, gate: Gatekeeper, server: Server, *, together: bool
) -> None:
    words = [(b"MULTI",), (b"SET", b"k", b"v"), (b"DEL", b"k"), (b"EXEC",), (b"GET", b"k"), (b"MULTI",), (b"EXEC",)]
    with guarded.client() as client:
        answers = []
        if together:
            client.send(b"".join(map(encode, words)))
            answers = [client.read() for _ in words]
        else:
            for one in words:
                client.send(encode(one))
                answers.append(client.read())
    assert answers[:3] == [b"OK", b"QUEUED", b"QUEUED"]
    assert str(answers[3]) == HELD
    assert answers[4:] == [None, b"OK", []]
    assert [call.transaction for call in gate.calls] == [True]
    assert gate.calls[0].commands == ((b"SET", b"k", b"v"), (b"DEL", b"k"))
    assert not {"set", "del"} & _calls(server).keys()


def test_an_approved_transaction_is_done_as_a_whole(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper(letting_through)
    with proxied(server, tmp_path, gate) as guarded, guarded.client() as client:
        client("SET", "k", "v")
        client("WATCH", "k")
        client("MULTI")
        client("DEL", "k")
        client("SET", "k", "w")
        assert client("EXEC") == [1, b"OK"]
    assert len(gate.calls) == 1


def test_discard_and_watch_work(guarded: Proxied, gate: Gatekeeper, server: Server) -> None:
    with guarded.client() as client, server.client() as other:
        client("MULTI")
        client("DEL", "k")
        assert client("DISCARD") == b"OK"
        client("WATCH", "k")
        other("SET", "k", "x")
        client("MULTI")
        client("PING")
        assert client("EXEC") is None
    assert gate.calls == []


def test_without_the_right_to_multi_each_command_is_judged_by_itself(
    guarded: Proxied, gate: Gatekeeper, server: Server
) -> None:
    with server.client() as direct:
        direct("ACL", "SETUSER", "nomulti", "on", "nopass", "~*", "+@all", "-multi")
        direct("SET", "k", "v")
    with guarded.client() as client:
        client("AUTH", "nomulti", "x")
        client.send(
            b"".join(map(encode, [(b"MULTI",), (b"SET", b"n", b"1"), (b"DEL", b"k"), (b"EXEC",), (b"GET", b"k")]))
        )
        answers = [client.read() for _ in range(5)]
    assert "NOPERM" in str(answers[0])
    assert answers[1] == b"OK"
    assert str(answers[2]) == HELD
    assert "EXEC without MULTI" in str(answers[3])
    assert answers[4] == b"v"
    assert gate.calls[0].user == "nomulti"
    assert not gate.calls[0].transaction


@pytest.mark.parametrize("right", ["-reset", "-discard"])
def test_exec_is_never_sent_when_nobody_knows_what_waits_for_it(guarded: Proxied, server: Server, right: str) -> None:
    with server.client() as direct:
        direct("ACL", "SETUSER", "few", "reset", "on", "nopass", "~*", "+@all", right)
        direct("SET", "k", "v")
    with guarded.client() as client:
        for words in (("AUTH", "few", "x"), ("MULTI",), ("DEL", "k"), (right[1:],), ("EXEC",), ("EXEC",), ("DEL", "k")):
            client.send(encode(tuple(word.encode() for word in words)))
            client.read()
    with server.client() as direct:
        assert direct("GET", "k") == b"v"


@pytest.mark.parametrize("end", [b"EXEC", b"DISCARD"])
def test_an_end_with_a_word_too_many_lets_nothing_through(
    guarded: Proxied, gate: Gatekeeper, server: Server, end: bytes
) -> None:
    with server.client() as direct:
        direct("SET", "k", "v")
    with guarded.client() as client:
        words = [(b"MULTI",), (b"PING",), (end, b"x"), (b"DEL", b"k"), (b"EXEC",), (b"EXEC",), (b"DEL", b"k")]
        client.send(b"".join(map(encode, words)))
        answers = [str(client.read()) for _ in words]
    # EXEC ends the transaction even so; DISCARD does not, and what comes then belongs to it.
    assert answers[3] == (HELD if end == b"EXEC" else "b'QUEUED'")
    assert answers[6] == HELD
    assert gate.calls[0].transaction is (end == b"DISCARD")
    with server.client() as direct:
        assert direct("GET", "k") == b"v"


def test_a_word_inside_of_multi_that_ends_it_elsewhere_is_refused(guarded: Proxied, gate: Gatekeeper) -> None:
    with guarded.client() as client:
        client("MULTI")
        with pytest.raises(ServerError, match="HELLO inside MULTI is not allowed"):
            client("HELLO", 3)
        client("PING")
        with pytest.raises(ServerError, match="EXECABORT"):
            client("EXEC")
    assert gate.calls == []


# State


def test_the_database_counts_only_when_the_server_agreed(guarded: Proxied, gate: Gatekeeper, server: Server) -> None:
    with server.client() as direct:
        direct("ACL", "SETUSER", "noselect", "on", "nopass", "~*", "+@all", "-select")
    with guarded.client() as client:
        client("SELECT", 3)
        with pytest.raises(ServerError):
            client("SELECT", 300)
        with pytest.raises(ServerError, match=HELD):
            client("DEL", "k")
        client("AUTH", "noselect", "x")
        client.send(b"".join(map(encode, [(b"SELECT", b"1"), (b"DEL", b"k")])))
        assert "NOPERM" in str(client.read())
        assert str(client.read()) == HELD
        client("RESET")
        with pytest.raises(ServerError, match=HELD):
            client("DEL", "k")
    assert [(call.db, call.user) for call in gate.calls] == [(3, "default"), (3, "noselect"), (0, "default")]


def test_a_transaction_belongs_to_the_database_before_it(guarded: Proxied, gate: Gatekeeper) -> None:
    with guarded.client() as client:
        words = [(b"SELECT", b"2"), (b"MULTI",), (b"SELECT", b"4"), (b"DEL", b"k"), (b"EXEC",), (b"DEL", b"k")]
        client.send(b"".join(map(encode, words)))
        for _ in words:
            client.read()
    assert [call.db for call in gate.calls] == [2, 2]
    assert [call.transaction for call in gate.calls] == [True, False]


def test_hello_3_is_known_when_an_answer_is_wanted(guarded: Proxied, gate: Gatekeeper) -> None:
    with guarded.client() as client:
        client.send(encode((b"HELLO", b"3")) + encode((b"DEL", b"k")))
        while HELD.encode() not in client._file.readline():
            pass
        client.send(encode((b"HELLO", b"4")))
        assert "NOPROTO" in str(client.read())
        client.send(encode((b"DEL", b"k")))
        client.read()
    assert [call.resp for call in gate.calls] == [3, 3]


def test_a_blocked_client_gets_its_reply_before_the_guards(guarded: Proxied, server: Server) -> None:
    with guarded.client() as client, server.client() as other:
        client.send(encode((b"BLPOP", b"list", b"10")) + encode((b"DEL", b"k")))
        time.sleep(0.1)
        other("RPUSH", "list", "x")
        assert client.read() == [b"list", b"x"]
        assert str(client.read()) == HELD


def test_messages_go_on_while_a_command_is_held(guarded: Proxied, server: Server) -> None:
    with guarded.client() as client, server.client() as other:
        assert client.array("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        other("PUBLISH", "news", "one")
        assert client.read() == [b"message", b"news", b"one"]
        client.send(encode((b"DEL", b"k")))
        other("PUBLISH", "news", "two")
        answers = [client.read(), client.read()]
        assert [b"message", b"news", b"two"] in answers
        assert HELD in [str(answer) for answer in answers]


def test_client_reply_off_is_refused_unless_allowed(guarded: Proxied, server: Server, tmp_path: Path) -> None:
    with guarded.client() as client:
        for word in ("OFF", "SKIP"):
            with pytest.raises(ServerError, match="GUARDREFUSED CLIENT REPLY"):
                client("CLIENT", "REPLY", word)
        assert client("CLIENT", "REPLY", "ON") == b"OK"
    (tmp_path / "2").mkdir()
    gate = Gatekeeper(letting_through)
    with (
        proxied(server, tmp_path / "2", gate, setting_of(Rules(), reply_off=True)) as allowing,
        allowing.client() as client,
    ):
        client.send(b"".join(map(encode, [(b"CLIENT", b"REPLY", b"SKIP"), (b"SET", b"k", b"1"), (b"GET", b"k")])))
        assert client.read() == b"1"
        client.send(b"".join(map(encode, [(b"CLIENT", b"REPLY", b"OFF"), (b"SET", b"k", b"2"), (b"GET", b"k")])))
        client.send(encode((b"CLIENT", b"REPLY", b"ON")))
        assert client.read() == b"OK"
        assert client("GET", "k") == b"2"
        client.send(encode((b"CLIENT", b"REPLY", b"OFF")) + encode((b"DEL", b"k")))
        with pytest.raises(EOFError):
            client.read()
    assert gate.calls == []


# Bytes


@pytest.mark.parametrize(
    "data",
    [
        b"*2\r\n$3\r\nGET\r\n$1\r\nkXX*1\r\n$8\r\nFLUSHALL\r\n",
        b"*2\r\n$3\r\nGET\r\n$01\r\nk\r\n",
        b"*-1\r\n*1\r\n$8\r\nFLUSHALL\r\n",
        b"FLUSHALL\r\n",
        b"*1\r\n$8\rXFLUSHALL\r\n",
    ],
)
def test_what_is_not_canonical_is_answered_with_an_error_and_the_end(
    guarded: Proxied, server: Server, data: bytes
) -> None:
    with guarded.client() as client:
        client.send(encode((b"PING",)) + data)
        assert client.read() == b"PONG"
        assert "Protocol error" in str(client.read())
        with pytest.raises(EOFError):
            client.read()
    assert "flushall" not in _calls(server)


def test_inline_commands_are_judged_and_sent_in_canonical_form(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper()
    with (
        proxied(server, tmp_path, gate, setting_of(Rules(), limits=Limits(inline=True))) as guarded,
        guarded.client() as client,
    ):
        client.send(b'SET "a b" 1\r\nGET "a b"\r\nD\x45L k\r\n"D\\x45L" k\r\n\r\nPING\r\n')
        assert [client.read(), client.read()] == [b"OK", b"1"]
        assert [str(client.read()), str(client.read())] == [HELD, HELD]
        assert client.read() == b"PONG"


def test_a_large_value_is_sent_on_while_it_comes(server: Server, tmp_path: Path) -> None:
    gate = Gatekeeper()
    value = _chance(7).randbytes(3_000_000)
    with proxied(server, tmp_path, gate, setting_of(Rules(), stream_bytes=10_000)) as guarded:
        with guarded.client() as client:
            request = encode((b"SET", b"big", value))
            client.send(encode((b"PING",)) + request + request + encode((b"GET", b"big")))
            assert [client.read() for _ in range(4)] == [b"PONG", b"OK", b"OK", value]
            client.send(encode((b"SET", b"big", value, b"EX", b"0")))
            assert str(client.read()) == HELD
            client.send(request[:-2] + b"XX" + encode((b"PING",)))
            with pytest.raises(EOFError):
                client.read()
        with server.client() as direct:
            assert direct("GET", "big") == value


def test_a_slow_reader_slows_the_server_and_nobody_else(server: Server, tmp_path: Path) -> None:
    with proxied(server, tmp_path, Gatekeeper(), ceilings=Ceilings(stall_s=1)) as guarded, server.client() as direct:
        direct("SET", "big", b"x" * 5_000_000)
        with guarded.client() as slow, guarded.client() as other:
            slow.send(encode((b"GET", b"big")) * 10)
            time.sleep(0.3)
            assert other("PING") == b"PONG"
            deadline = time.monotonic() + 20
            while not guarded.said and time.monotonic() < deadline:
                time.sleep(0.05)
            assert "did not go on" in guarded.said[0]


def test_a_request_that_is_never_ended_is_ended(server: Server, tmp_path: Path) -> None:
    with (
        proxied(server, tmp_path, Gatekeeper(), ceilings=Ceilings(stall_s=0.5)) as guarded,
        guarded.client() as stalling,
        guarded.client() as silent,
    ):
        silent("PING")
        stalling.send(b"*2\r\n$3\r\nGET\r\n$10\r\nab")
        with pytest.raises(EOFError):
            stalling.read()
        assert silent("PING") == b"PONG"


def test_a_flood_of_half_open_requests_is_let_go_and_others_are_served_meanwhile(
    server: Server, tmp_path: Path
) -> None:
    with (
        proxied(server, tmp_path, Gatekeeper(), ceilings=Ceilings(stall_s=1)) as guarded,
        guarded.client() as good,
        ExitStack() as flood,
    ):
        good("PING")
        half_open = [flood.enter_context(guarded.client()) for _ in range(300)]
        for at, client in enumerate(half_open):
            client.send(encode((b"SET", b"never", b"x" * 100))[: 1 + at % 40])
            assert at % 30 or good("PING") == b"PONG"
        for client in half_open:
            with pytest.raises(EOFError):
                client.read()
        assert good("GET", "never") is None


def test_too_many_connections_are_turned_away(server: Server, tmp_path: Path) -> None:
    with proxied(server, tmp_path, Gatekeeper(), ceilings=Ceilings(connections=2)) as guarded:
        with guarded.client() as one, guarded.client() as two:
            one("PING"), two("PING")
            with guarded.client() as three:
                assert "max number of clients" in str(three.read())
        assert guarded.proxy.counts.turned_away == 1


def test_a_server_that_is_away_is_told(server: Server, tmp_path: Path) -> None:
    missing = Server(server.name, str(tmp_path / "nothing"), 0)
    with proxied(missing, tmp_path, Gatekeeper()) as guarded, guarded.client() as client:
        assert "cannot reach the server" in str(client.read())


def test_draining_ends_idle_connections_and_waits_for_others(server: Server, tmp_path: Path) -> None:
    with proxied(server, tmp_path, Gatekeeper()) as guarded, guarded.client() as idle, guarded.client() as busy:
        idle("PING")
        busy("MULTI")
        assert guarded.drain(1) == 1
        with pytest.raises(EOFError):
            idle.read()


# Against the server itself

_NAMES = [b"a", b"b", b"list", b"set", b"hash", b"z"]
_FORMS: list[tuple[bytes, ...]] = [
    (b"SET", b"K", b"1"),
    (b"SET", b"K", b"V", b"NX"),
    (b"GET", b"K"),
    (b"GETSET", b"K", b"V"),
    (b"APPEND", b"K", b"V"),
    (b"INCR", b"K"),
    (b"MSET", b"K", b"1", b"K", b"2"),
    (b"MGET", b"K", b"K"),
    (b"EXISTS", b"K"),
    (b"TYPE", b"K"),
    (b"LPUSH", b"list", b"V", b"W"),
    (b"RPOP", b"list"),
    (b"LRANGE", b"list", b"0", b"-1"),
    (b"SADD", b"set", b"V"),
    (b"SCARD", b"set"),
    (b"HSET", b"hash", b"f", b"V"),
    (b"HGET", b"hash", b"f"),
    (b"ZADD", b"z", b"1", b"V"),
    (b"ZRANGE", b"z", b"0", b"-1", b"WITHSCORES"),
    (b"DEL", b"K"),
    (b"UNLINK", b"K", b"K"),
    (b"RENAME", b"K", b"K"),
    (b"EXPIRE", b"K", b"100"),
    (b"EXPIRE", b"K", b"-1"),
    (b"PERSIST", b"K"),
    (b"TTL", b"K"),
    (b"MULTI",),
    (b"EXEC",),
    (b"DISCARD",),
    (b"WATCH", b"K"),
    (b"SELECT", b"1"),
    (b"SELECT", b"0"),
    (b"SELECT", b"99"),
    (b"PING",),
    (b"ECHO", b"V"),
    (b"NOSUCH", b"x"),
    (b"GET",),
    (b"set", b"K", b"lower"),
    (b"FLUSHDB",),
    (b"EVAL", b"return 1", b"0"),
    (b"AUTH", b"default", b"wrong"),
    (b"OBJECT", b"ENCODING", b"K"),
    (b"SORT", b"list", b"ALPHA", b"STORE", b"K"),
    (b"RESET",),
]


def _stream(seed: int, length: int) -> list[tuple[bytes, ...]]:
    chance = _chance(seed)
    found = []
    for _ in range(length):
        form = chance.choice(_FORMS)
        values = {b"K": chance.choice(_NAMES), b"V": chance.randbytes(chance.choice([0, 1, 30])), b"W": b"\r\n$1\r\n"}
        found.append(tuple(values.get(word, word) for word in form))
    return found


def _in_pieces(client: Client, data: bytes, chance: Random) -> None:
    at = 0
    while at < len(data):
        size = chance.choice([1, 2, 7, 50, 1_000])
        client.send(data[at : at + size])
        at += size


@pytest.mark.parametrize("seed", range(6))
def test_the_proxy_answers_byte_for_byte_as_the_server_does(server: Server, tmp_path: Path, seed: int) -> None:
    words = _stream(seed, 400)
    data = b"".join(map(encode, words))
    end = encode((b"ECHO", b"the very end")) + encode((b"QUIT",))
    raw = []
    (tmp_path / "p").mkdir()
    with proxied(server, tmp_path / "p", Gatekeeper(letting_through)) as guarded:
        for path in (server.path, guarded.path):
            with server.client() as direct:
                direct("FLUSHALL")
                direct("SCRIPT", "FLUSH")
            client = Client(path)
            _in_pieces(client, data + encode((b"RESET",)) + end, _chance(seed))
            raw.append(client._file.read())
            client.close()
    assert raw[1] == raw[0]
    assert raw[0].endswith(b"the very end\r\n+OK\r\n")


@pytest.mark.parametrize("seed", range(6))
def test_with_a_gate_that_says_no_nothing_destructive_is_ever_done(server: Server, tmp_path: Path, seed: int) -> None:
    """Three witnesses: what the server counted, what it holds, and the number of replies."""
    rules = Rules(
        treatments={cls: Treatment.HOLD for cls in Class if cls not in {Class.READ, Class.SESSION, Class.WRITE}}
    )
    words = _stream(seed, 300)
    gate = Gatekeeper(lambda call, _intent: Held("op_x", "no") if seed % 2 else Refused(str(call.db)))
    with proxied(server, tmp_path, gate, setting_of(rules)) as guarded:
        with server.client() as direct:
            direct("FLUSHALL")
            for at, name in enumerate(_NAMES):
                direct("RPUSH", name, "x" * at)
                direct("PEXPIRE", name, 10**9)
            before = {name: direct("PEXPIRETIME", name) if server.name != "redis-6.2" else 0 for name in _NAMES}
            direct("CONFIG", "RESETSTAT")
        with guarded.client() as client:
            _in_pieces(client, b"".join(map(encode, [*words, (b"RESET",), (b"QUIT",)])), _chance(seed))
            answers = []
            while True:
                try:
                    answers.append(client.read())
                except EOFError:
                    break
        with server.client() as direct:
            for at, key in enumerate(_NAMES):
                assert b"x" * at in direct.strings("LRANGE", key, 0, -1)
                assert server.name == "redis-6.2" or direct("PEXPIRETIME", key) == before[key]
    assert len(answers) == len(words) + 2
    ran = _calls(server)
    for word in ("del", "unlink", "flushdb", "rename", "eval", "expire", "getset", "rpop", "sort", "mset"):
        assert word not in ran
