"""Every command of the table goes through the proxy to real servers, and witnesses that know nothing of it tell what was done.

Witnesses: the bytes that the server was sent, the server's append-only file, its own counts, and the digest of every key. MONITOR
would not do: it does not show the commands of administrators.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from go_cache_safeguard.redis.call import Held
from go_cache_safeguard.redis.commands import Class, Command, Rule, Treatment
from go_cache_safeguard.redis.resp import Malformed, RequestReader, encode, scan_reply
from go_cache_safeguard.redis.rules import Rules
from go_cache_safeguard.redis.tablefile import load_table
from redisproxies import Gatekeeper, Proxied, letting_through, proxied, recorded, setting_of
from redisservers import BINARIES, Client, Server, running

TABLE = load_table()
HARMLESS = {Class.READ, Class.SESSION, Class.WRITE}
STRICT = Rules(treatments={cls: Treatment.PASS if cls in HARMLESS else Treatment.HOLD for cls in Class})
KEYS = {
    b"string": (b"SET", b"string", b"value", b"PX", b"90000000"),
    b"list": (b"RPUSH", b"list", b"a", b"b", b"c"),
    b"set": (b"SADD", b"set", b"a", b"b", b"c"),
    b"hash": (b"HSET", b"hash", b"f", b"1", b"g", b"2"),
    b"zset": (b"ZADD", b"zset", b"1", b"a", b"2", b"b"),
    b"stream": (b"XADD", b"stream", b"1-1", b"f", b"v"),
}
FILLS = (
    [b"string", b"list", b"0", b"1"],
    [b"list", b"0", b"-1", b"a"],
    [b"zset", b"-1", b"string", b"set"],
    [b"1", b"hash", b"f"],
)


@pytest.fixture(params=sorted(BINARIES))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(request.param, folder, "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


def _forms(row: Command) -> Iterator[tuple[bytes, ...]]:
    """Calls of one command, with keys that are there, in several lengths."""
    name = tuple(row.name.encode("latin-1").split(b" "))
    least = max(abs(row.arity), len(name) + 1)
    for fill, count in itertools.product(FILLS, range(least, least + (1 if row.arity > 0 else 3))):
        yield name + tuple(itertools.islice(itertools.cycle(fill), count - len(name)))


def _fill(server: Server) -> None:
    with server.client() as client:
        client("FLUSHALL")
        for words in KEYS.values():
            client(*words)


def _digests(server: Server) -> dict[bytes, tuple[str, object]]:
    with server.client() as client:
        end = "PTTL" if server.name == "redis-6.2" else "PEXPIRETIME"
        found: dict[bytes, tuple[str, object]] = {}
        for key in client.strings("KEYS", "*"):
            left = client.number(end, key)
            # SORT gives a small sorted set the encoding of a large one, and changes nothing else.
            value = (
                repr(client("ZRANGE", key, 0, -1, "WITHSCORES")).encode()
                if key == b"zset"
                else client.text("DUMP", key)
            )
            found[key] = (sha256(value).hexdigest(), left > 0 if end == "PTTL" else left)
        return found


def _persisted(folder: Path) -> list[tuple[bytes, ...]]:
    """What the append-only file says was done."""
    files = sorted(folder.rglob("*.aof"))
    newest = [file for file in files if ".incr." in file.name] or files
    commands: list[tuple[bytes, ...]] = []
    for file in newest:
        data = file.read_bytes()
        reader = RequestReader()
        commands += [
            request.args for request in reader.feed(data[max(0, data.find(b"*")) :] if data[:5] != b"REDIS" else b"")
        ]
    return commands


def _calls(server: Server) -> dict[str, int]:
    with server.client() as client:
        lines = client.text("INFO", "commandstats").decode().splitlines()
    found = (line.removeprefix("cmdstat_").partition(":calls=") for line in lines if ":calls=" in line)
    counts = {name.replace("|", " ").upper(): int(rest.partition(",")[0]) for name, _, rest in found}
    return {name: count for name, count in counts.items() if count}


def _raw(client: Client, data: bytes, replies: int) -> list[bytes]:
    """Send, and read so many replies as they are."""
    client.send(data)
    buffer = b""
    found: list[bytes] = []
    while len(found) < replies:
        reply = scan_reply(buffer)
        assert not isinstance(reply, Malformed)
        if reply is None:
            more = client._socket.recv(65_536)
            if not more:
                break
            buffer += more
            continue
        found.append(buffer[: reply.length])
        buffer = buffer[reply.length :]
    return found


def test_nothing_that_destroys_passes_unapproved_and_four_witnesses_agree(server: Server, tmp_path: Path) -> None:
    destructive = [row for row in TABLE if row.cls not in HARMLESS]
    gate = Gatekeeper(lambda _call, _intent: Held("op_x", "no"))
    with (
        recorded(server, tmp_path) as (stand_in, recorder),
        proxied(stand_in, tmp_path, gate, setting_of(STRICT)) as guarded,
    ):
        _fill(server)
        before, written = _digests(server), len(_persisted(tmp_path / "server"))
        with server.client() as direct:
            direct("CONFIG", "RESETSTAT")
        held = sum(_try_all(guarded, row) for row in destructive)
        after = _digests(server)
        assert {key: after.get(key) for key in before} == before
        done = {args[0].upper() for args in _persisted(tmp_path / "server")[written:]}
        assert done <= {b"COPY", b"MULTI", b"EXEC", b"SELECT"}, "COPY to where nothing was takes nothing away"
        ran = _calls(server)
    assert held > len(destructive)
    # The others are harmless in some forms, such as COPY without REPLACE.
    always = {row.name for row in destructive if row.rule is Rule.ALWAYS and row.treatment is not Treatment.PASS}
    assert ran.keys() & always == {"CONFIG RESETSTAT"} & ran.keys(), "which this test sends itself"
    names = {args[0].upper() for args in recorder.commands()}
    assert not names & {
        b"DEL",
        b"UNLINK",
        b"FLUSHALL",
        b"FLUSHDB",
        b"EVAL",
        b"SHUTDOWN",
        b"REPLICAOF",
        b"RENAME",
        b"SWAPDB",
    }


def _try_all(guarded: Proxied, row: Command) -> int:
    """Each form by itself and in a transaction, each time with a PING behind it. Returns how many were held."""
    held = 0
    for form in _forms(row):
        with guarded.client() as client:
            alone = _raw(client, encode(form) + encode((b"PING",)), 2)
            together = _raw(client, b"".join(map(encode, [(b"MULTI",), form, (b"EXEC",), (b"PING",)])), 4)
        assert alone[-1] == together[-1] == b"+PONG\r\n", (form, alone, together)
        held += alone[0].startswith(b"-GUARDHELD")
    return held


_CHANGING_BY_ITSELF = [
    "RANDOMKEY",
    "SPOP",
    "SRANDMEMBER",
    "HRANDFIELD",
    "ZRANDMEMBER",
    "TIME",
    "INFO",
    "LASTSAVE",
    "LOLWUT",
    "ROLE",
    "DEBUG",
    "MONITOR",
    "SYNC",
    "PSYNC",
    "WAIT",
    "WAITAOF",
    "SHUTDOWN",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "QUIT",
    "HELLO",
    "KEYS",
    "SCAN",
    "HOST:",
    "POST",
    "RESET",
]


def _comparable(row: Command) -> bool:
    """Whether two servers in the same state answer in the same way, at once."""
    first = row.name.split(" ")[0]
    containers = {
        "CLIENT",
        "MEMORY",
        "OBJECT",
        "ACL",
        "LATENCY",
        "SLOWLOG",
        "CLUSTER",
        "MODULE",
        "SCRIPT",
        "COMMANDLOG",
        "CONFIG",
    }
    ordinary = first not in _CHANGING_BY_ITSELF and first not in containers and "blocking" not in row.flags
    return ordinary and row.cls not in {Class.SERVER, Class.SCRIPT} and not first.startswith(("PF", "DUMP", "BGSAVE"))


def test_replies_to_every_command_are_the_servers_own_bytes(server: Server, tmp_path: Path) -> None:
    rows = [row for row in TABLE if _comparable(row)]
    forms = [form for row in rows for form in _forms(row)]
    Random(3).shuffle(forms)  # noqa: S311 - the same order every time is what is wanted
    found = []
    with proxied(server, tmp_path, Gatekeeper(letting_through)) as guarded:
        for path in (server.path, guarded.path):
            _fill(server)
            with closing(Client(path)) as client:
                answers = [(form, _raw(client, encode(form), 1)) for form in forms]
            found.append(answers)
    different = [(form, one, other) for (form, one), (_, other) in zip(*found, strict=True) if one != other]
    assert different == []
    assert len(forms) > 1_000
