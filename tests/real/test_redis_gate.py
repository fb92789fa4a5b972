"""What a client gets for a call that is not harmless, on real servers."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.core.errors import IllegalTransition
from go_cache_safeguard.flows import redis_call
from go_cache_safeguard.flows.redis_call import resume
from go_cache_safeguard.flows.redis_undo import undo
from go_cache_safeguard.redis.call import Answer, Answered, Held, Pass, Refused
from go_cache_safeguard.redis.hitrate import Reading, State
from redisgates import Asking, asking, call_of, transaction_of, watching
from redisguard import Guard, dropping, everything
from rediskeys import pipeline
from redisservers import Client, Server, running

pytestmark = pytest.mark.real
PROTECTED = {"redis__protect": "user:*"}


@pytest.fixture
def guard(redis_server: Server, redis_client: Client, tmp_path: Path) -> Guard:  # noqa: ARG001 - empties the server
    return Guard(f"unix://{redis_server.path}", tmp_path / "state")


@pytest.fixture
def gate(guard: Guard) -> Iterator[Asking]:
    with asking(guard) as gate:
        yield gate


@pytest.fixture(scope="module")
def newest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server, for what does not depend on its version."""
    with running("valkey-9.1", tmp_path_factory.mktemp("r")) as server:
        yield server


@pytest.fixture
def newest(newest_server: Server, tmp_path: Path) -> Iterator[tuple[Guard, Client]]:
    """Its guard, and a client of the empty server."""
    with newest_server.client() as client:
        client("FLUSHALL")
        client("CONFIG", "RESETSTAT")
        yield Guard(f"unix://{newest_server.path}", tmp_path / "state"), client


def _calls(client: Client, command: str) -> int:
    """How often a server did a command since its statistics began anew."""
    head = f"cmdstat_{command}:calls=".encode()
    lines = client.text("INFO", "commandstats").split(b"\r\n")
    return next((int(line[len(head) :].split(b",")[0]) for line in lines if line.startswith(head)), 0)


# Passing


def test_a_removal_that_every_check_allows_passes_after_it_was_written_down(gate: Asking, redis_client: Client) -> None:
    redis_client("SET", "user:1", "v", "EX", 9999)
    assert gate("DEL", "user:1", "user:2") == Pass()
    note = gate.records()[-1]
    assert (note.step, note.data["words"], note.data["keys"]) == ("call-passed", ["DEL", "user:1", "user:2"], 1)
    assert (note.data["client"], note.data["db"], note.op) == ("10.0.0.1", 0, None)
    assert redis_client("EXISTS", "user:1") == 1
    assert gate.operations() == []
    assert gate.gate.lookups == (1, 1)


def test_keys_are_looked_at_in_the_database_that_was_selected(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    pipeline(client, [("SET", "k:1", "v", "EX", "60"), ("SELECT", "9"), ("SET", "k:1", "v"), ("SELECT", "0")])
    with asking(guard, redis__block_ttl_threshold="5m") as gate:
        assert gate.call(call_of("DEL", "k:1", db=9)) == Pass()
        assert isinstance(gate.call(call_of("DEL", "k:1")), Held)
        assert isinstance(gate.call(transaction_of("SELECT 0", "DEL k:1", db=9)), Held)
        assert gate.call(transaction_of("SET a 1", "DEL k:1", db=9)) == Pass()
        unknown = gate.call(call_of("DEL", "k:1", db=None))
        assert isinstance(unknown, Refused)
        assert "SELECT" in unknown.text


def test_ordinary_writes_pass_and_protected_keys_wait(newest: tuple[Guard, Client]) -> None:
    guard, _ = newest
    with asking(guard, **PROTECTED) as gate:
        assert gate("SET", "other", "v") == Pass()
        assert isinstance(gate("SET", "user:1", "v"), Held)
        assert isinstance(gate("EXPIRE", "user:1", "-1"), Held)
        assert isinstance(gate("DEL", "other", "user:1"), Held)
        assert gate("APPEND", "user:1", "v") == Pass()
    with asking(guard, **PROTECTED, redis__on_writes="protect") as gate:
        assert isinstance(gate("APPEND", "user:1", "v"), Held)
        assert gate("APPEND", "other", "v") == Pass()


def test_policy_chooses_between_holding_and_refusing_and_never_lets_a_protected_key_go(
    newest: tuple[Guard, Client],
) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    for db, (on_block, kind) in enumerate((("hold", Held), ("refuse", Refused), ("allow", Held))):
        with asking(guard, **PROTECTED, policy__on_block=on_block) as gate:
            assert isinstance(gate.call(call_of("DEL", "user:1", db=db)), kind), on_block
            assert isinstance(gate.call(call_of("FLUSHALL", db=db)), kind), on_block
    with asking(guard, policy__on_unknown="refuse", redis__on_no_history="unknown") as gate:
        assert isinstance(gate("DEL", "user:2"), Refused)
    with asking(guard, redis__on_removes="refuse") as gate:
        assert isinstance(gate("DEL", "user:1"), Refused)
        assert [record.step for record in gate.records()].count("call-refused") == 3
        assert {str(one.state) for one in gate.operations()} == {"HELD"}


class _Watched:
    """Readings that somebody else made."""

    def __init__(self, state: State | None) -> None:
        self.state = state

    def readings(self) -> Mapping[str, Reading | None]:
        return {"node": None if self.state is None else Reading(self.state)}


@pytest.mark.parametrize(
    ("state", "kind"), [(State.NORMAL, Pass), (State.DROPPED, Held), (State.LEARNING, Pass), (None, Held)]
)
def test_the_hit_rate_decides_too(newest: tuple[Guard, Client], state: State | None, kind: type) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with watching(guard, _Watched(state)) as gate:
        assert isinstance(gate("DEL", "user:1"), kind)


def test_a_client_that_removes_much_in_a_minute_is_held_and_others_are_not(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    pipeline(client, [("SET", f"user:{n}", "v") for n in range(9)])
    with asking(guard, redis__max_rate="3") as gate:
        for n in range(3):
            assert gate("DEL", f"user:{n}") == Pass()
        assert isinstance(gate("DEL", "user:4"), Held)
        assert isinstance(gate.call(call_of("DEL", "user:5", client="10.0.0.1:4000")), Held)
        assert gate.call(call_of("DEL", "user:6", client="10.0.0.2:4000")) == Pass()


def test_an_idle_connection_that_died_is_replaced(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard) as gate:
        assert gate("DEL", "user:1") == Pass()
        client("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert gate("DEL", "user:1") == Pass()


def test_what_cannot_be_written_down_or_looked_at_is_refused(newest: tuple[Guard, Client], tmp_path: Path) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard) as gate:
        assert gate("DEL", "user:1") == Pass()
    for damaged in guard.state.glob("journal.sqlite*"):
        damaged.write_bytes(b"no journal")
    with asking(guard) as gate:
        assert isinstance(gate("DEL", "user:1"), Refused)
        assert isinstance(gate("FLUSHALL"), Refused)
    with asking(Guard(f"unix://{tmp_path}/nowhere", tmp_path / "other")) as gate:
        assert isinstance(gate("DEL", "user:1"), Refused)
    assert client("EXISTS", "user:1") == 1


# Holding


def test_a_held_call_is_told_in_one_short_line_and_kept_with_its_plan(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1\r\nx", "v", "EX", 60)
    with asking(guard, redis__block_ttl_threshold="5m") as gate:
        held = gate("DEL", "user:1\r\nx")
        assert isinstance(held, Held)
        assert "redis-ttl says BLOCK" in held.text
        assert held.text.endswith(f"see: go-cache-safeguard ops show {held.op}")
        assert held.text.isascii()
        assert held.text.isprintable()
        assert len(held.text) < 400
        data = gate.operation(held.op).data
        assert (gate.state(held.op), data["selectors"], data["items"]) == ("HELD", ["DEL", "user:1\\x0d\\x0ax"], 1)


def test_the_same_call_is_held_once_whoever_asks_how_often(newest: tuple[Guard, Client]) -> None:
    guard, _ = newest
    found: list[str] = []
    with asking(guard) as gate:
        threads = [threading.Thread(target=lambda: found.append(gate.held("FLUSHALL"))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(found) == 6
        assert len(set(found)) == 1
        assert gate.held("FLUSHDB") != found[0]
        assert gate.held_call(call_of("FLUSHALL", user="somebody")) != found[0]
        assert gate.held_call(call_of("FLUSHALL", client="elsewhere")) == found[0]
    with asking(guard) as again:
        assert again.held("FLUSHALL") == found[0]
        assert len(again.operations()) == 3


def test_one_client_cannot_flood_people_with_calls(newest: tuple[Guard, Client]) -> None:
    guard, _ = newest
    with asking(guard, **PROTECTED, redis__max_held="3") as gate:
        ops = [gate.held_call(call_of("DEL", f"user:{n}", client=f"10.0.0.1:{4000 + n}")) for n in range(3)]
        refused = gate("DEL", "user:9")
        assert isinstance(refused, Refused)
        assert "redis.max_held" in refused.text
        assert gate.held("DEL", "user:1") == ops[1]
        assert isinstance(gate.call(call_of("DEL", "user:9", client="[::1]:4000")), Held)
        gate.reject(ops[0])
        assert isinstance(gate("DEL", "user:9"), Held)


def test_odd_names_of_users_and_clients_are_printed_safely_and_kept_exactly(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    call = call_of("GETDEL", "user:1", user="\x1b[31mboss\\x\udcff\n", client="\x1b]0;x\x07")
    with asking(guard, **PROTECTED) as gate:
        op = gate.held_call(call)
        data = gate.operation(op).data
        assert all(text.isascii() and text.isprintable() for text in (data["user"], data["client"]))
        gate.approve(op)
        assert gate.call(call) == Answered(b"$1\r\nv\r\n")


SECRETS = [
    ("ACL", "SETUSER", "bob", "on", ">hunter2", "~*"),
    ("CONFIG", "SET", "requirepass", "hunter2"),
    ("CONFIG", "SET", "masterauth", "hunter2"),
    ("MIGRATE", "127.0.0.1", "1", "user:1", "0", "5", "AUTH", "hunter2"),
    ("MIGRATE", "127.0.0.1", "1", "user:1", "0", "5", "AUTH2", "bob", "hunter2"),
    ("NOSUCH", "password", "hunter2"),
]


def test_passwords_stand_in_no_file_and_in_no_answer(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard, **PROTECTED) as gate:
        for words in SECRETS:
            held = gate(*words)
            assert isinstance(held, Held), words
            assert "hunter2" not in held.text
            assert gate.held(*words) == held.op
            other = tuple(word.replace("hunter2", "hunter3") for word in words)
            assert gate.held(*other) != held.op
    for path in guard.state.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path


# The guard does it


def test_the_guard_does_what_was_approved_and_undo_brings_it_back(gate: Asking, redis_client: Client) -> None:
    pipeline(redis_client, [("SET", f"user:{n}", f"v{n}") for n in range(4)])
    before = everything(redis_client)
    op = gate.held("FLUSHALL")
    assert gate.gate.execute_approved() == []
    gate.approve(op)
    assert gate.gate.execute_approved() == [op]
    assert (gate.state(op), redis_client("DBSIZE")) == ("DONE", 0)
    assert _calls(redis_client, "flushall") == 0
    assert gate.gate.execute_approved() == []
    undo(gate.guard.session(), op)
    assert everything(redis_client) == before


FORMS = [
    (("DEL", "user:1", "user:9"), b":1\r\n"),
    (("UNLINK", "user:1"), b":1\r\n"),
    (("GETDEL", "user:1"), b"$2\r\nv1\r\n"),
    (("SET", "user:1", "new"), b"+OK\r\n"),
    (("GETSET", "user:1", "new"), b"$2\r\nv1\r\n"),
    (("RENAME", "user:1", "user:2"), b"+OK\r\n"),
    (("RENAME", "user:1", "user:9"), b"+OK\r\n"),
    (("EXPIRE", "user:1", "-1"), b":1\r\n"),
    (("EXPIRE", "user:1", "77"), b":1\r\n"),
    (("PERSIST", "user:1"), b":1\r\n"),
    (("RENAME", "user:1", "user:same"), b"+OK\r\n"),
    (("MOVE", "user:1", "9"), b":1\r\n"),
    (("SPOP", "user:set", "5"), None),
    (("HDEL", "user:hash", "f", "g"), b":2\r\n"),
    (("LPOP", "user:hash"), b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    (("SDIFFSTORE", "user:1", "nothing"), b":0\r\n"),
]


@pytest.mark.parametrize(("words", "reply"), FORMS, ids=[" ".join(words) for words, _ in FORMS])
def test_an_approved_call_is_done_as_it_was_sent_and_can_be_undone(
    guard: Guard, redis_client: Client, words: tuple[str, ...], reply: bytes | None
) -> None:
    pipeline(
        redis_client,
        [
            ("SELECT", "9"),
            ("FLUSHDB",),
            ("SELECT", "0"),
            ("SET", "user:1", "v1", "EX", "9999"),
            ("SET", "user:2", "v2"),
            ("SET", "user:same", "v1"),
            ("SADD", "user:set", "1", "2", "3"),
            ("HSET", "user:hash", "f", "1", "g", "2"),
        ],
    )
    before = everything(redis_client)
    with asking(guard, **PROTECTED) as gate:
        op = gate.held(*words)
        gate.approve(op)
        answer = gate(*words)
        assert isinstance(answer, Answered), answer
        assert reply is None or answer.reply == reply
        assert gate.state(op) == "DONE"
        now = everything(redis_client)
        ends = {key: abs(now[key][1] - end) <= 5 for key, (_, end) in before.items() if key in now}
        same = {key: now.get(key, (b"", 0))[0] == dump and ends[key] for key, (dump, _) in before.items()}
        assert all(same.values()) == (words[0] == "LPOP")
        back = undo(guard.session(), op)
        after = everything(redis_client)
        for key, (dump, end) in before.items():
            assert after[key][0] == dump, key
            assert abs(after[key][1] - end) <= 5, key
        made = after.keys() - before.keys()
        assert (back.made, len(made), back.newer) == (len(made), int(words[-1] == "user:9" and words[0] == "RENAME"), 0)


def test_undo_keeps_what_somebody_wrote_after_the_call(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "old")
    with asking(guard, **PROTECTED) as gate:
        op = gate.held("SET", "user:1", "new")
        gate.approve(op)
        assert gate("SET", "user:1", "new") == Answered(b"+OK\r\n")
        client("SET", "user:1", "newer")
        assert undo(guard.session(), op).newer == 1
        assert client("GET", "user:1") == b"newer"


@pytest.mark.parametrize("resp", [2, 3])
def test_the_reply_comes_in_the_protocol_of_the_client(newest: tuple[Guard, Client], resp: int) -> None:
    guard, client = newest
    client("SADD", "user:set", "1")
    with asking(guard, **PROTECTED) as gate:
        call = call_of("SPOP", "user:set", "5", resp=resp)
        gate.approve(gate.held_call(call))
        assert gate.call(call) == Answered((b"*" if resp == 2 else b"~") + b"1\r\n$1\r\n1\r\n")
        call = call_of("GETDEL", "user:nothing", resp=resp)
        gate.approve(gate.held_call(call))
        assert gate.call(call) == Answered(b"$-1\r\n" if resp == 2 else b"_\r\n")


@pytest.mark.parametrize("words", [("DEL", "user:1"), ("GETDEL", "user:1"), ("RENAME", "user:1", "user:2")])
def test_an_approval_is_void_when_a_key_is_not_what_it_was(
    newest: tuple[Guard, Client], words: tuple[str, ...]
) -> None:
    """What it would do is held anew, instead of what was approved."""
    guard, client = newest
    client("SET", "user:1", "v")
    for execute in ("guard", "retry"):
        for change in (("SET", "user:1", execute), ("EXPIRE", "user:1", "9999")):
            with asking(guard, **PROTECTED, redis__execute=execute) as gate:
                op = gate.held(*words)
                gate.approve(op)
                client(*change)
                answer = gate(*words)
                assert client("EXISTS", "user:1") == 1
                assert isinstance(answer, Held)
                assert answer.op != op
                assert gate.state(op) in {"REFUSED", "CANCELLED"}
                with guard.session().journal(read_only=True) as journal:
                    assert journal.operation(answer.op).data["replaces"] == op
                gate.reject(answer.op)
    assert _calls(client, "getdel") == _calls(client, "rename") == 0


def test_a_key_that_came_meanwhile_is_not_overwritten(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    for execute in ("guard", "retry"):
        with asking(guard, **PROTECTED, redis__execute=execute) as gate:
            client("DEL", "user:2")
            op = gate.held("RENAME", "user:1", "user:2")
            gate.approve(op)
            client("SET", "user:2", "came")
            answer = gate("RENAME", "user:1", "user:2")
            assert isinstance(answer, Held)
            assert (gate.state(op), client("GET", "user:2")) == ("REFUSED", b"came")
            gate.reject(answer.op)


def test_a_write_between_the_copy_and_the_call_ends_it(
    newest: tuple[Guard, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    keep = redis_call._Work._keep

    def late(self: redis_call._Work, looked: Any) -> None:
        keep(self, looked)
        client("SET", "user:1", "written")

    monkeypatch.setattr(redis_call._Work, "_keep", late)
    with asking(guard, **PROTECTED) as gate:
        op = gate.held("GETDEL", "user:1")
        gate.approve(op)
        assert isinstance(gate("GETDEL", "user:1"), Held)
        assert (gate.state(op), client("GET", "user:1")) == ("ROLLED_BACK", b"written")


def test_what_nobody_waits_for_is_done_by_the_guard_or_by_resume(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    pipeline(client, [("SET", "user:1", "v"), ("SET", "user:2", "v")])
    with asking(guard, **PROTECTED) as gate:
        first, second = gate.held("GETDEL", "user:1"), gate.held("GETDEL", "user:2")
        gate.approve(first)
        gate.approve(second)
        assert resume(guard.session(), first).moved == 1
        assert gate.gate.execute_approved() == [second]
        assert client("DBSIZE") == 0
        for op in (first, second):
            assert gate.state(op) == "DONE"
            assert undo(guard.session(), op).restored == 1
        config = gate.held("CONFIG", "SET", "maxmemory", "0")
        gate.approve(config)
        assert gate.gate.execute_approved() == []
        with pytest.raises(IllegalTransition):
            resume(guard.session(), config)


def test_a_lost_reply_is_unknown_and_nothing_is_sent_again(newest_server: Server, tmp_path: Path) -> None:
    guard = Guard(f"unix://{tmp_path}/front", tmp_path / "state")
    with newest_server.client() as client, asking(guard, **PROTECTED) as gate:
        for words in (("GETDEL", "user:1"), ("DEL", "user:1")):
            client("FLUSHALL")
            client("CONFIG", "RESETSTAT")
            client("SET", "user:1", "v")
            with dropping(newest_server.path, str(tmp_path / "front"), b"EXEC"):
                op = gate.held(*words)
                gate.approve(op)
                answer = gate(*words)
                assert isinstance(answer, Answered)
                assert answer.reply.startswith(f"-GUARDUNKNOWN {op} ".encode())
                assert gate.gate.execute_approved() == []
                assert (gate.state(op), _calls(client, "exec"), client("DBSIZE")) == ("UNKNOWN", 1, 0)
                assert undo(guard.session(), op).restored == 1
            (tmp_path / "front").unlink()


# The client does it


def test_a_retry_passes_once(gate: Asking, redis_client: Client) -> None:
    redis_client("SET", "user:1", "v")
    with asking(gate.guard, redis__execute="retry") as retry:
        op = retry.held("FLUSHDB")
        assert retry.held("FLUSHDB") == op
        retry.approve(op)
        assert retry.gate.execute_approved() == []
        assert retry.held_call(call_of("FLUSHDB", user="somebody")) != op
        assert retry("FLUSHDB") == Pass()
        assert retry.state(op) == "PASSED"
        assert retry.held("FLUSHDB") != op
    assert redis_client("EXISTS", "user:1") == 1


def test_transactions_scripts_and_the_server_itself_say_that_they_cannot_be_undone(
    newest: tuple[Guard, Client],
) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    calls = [
        transaction_of("DEL user:1", "SET a b"),
        transaction_of("FLUSHALL"),
        call_of("EVAL", "return redis.call('flushall')", "0"),
        call_of("CONFIG", "SET", "maxmemory", "1mb"),
        call_of("SWAPDB", "0", "1"),
    ]
    with asking(guard, **PROTECTED) as gate:
        for call in calls:
            held = gate.call(call)
            assert isinstance(held, Held)
            assert "cannot be undone" in held.text
            gate.approve(held.op)
            assert gate.call(call) == Pass()
            assert gate.state(held.op) == "PASSED"
            assert isinstance(gate.call(call), Held)
    assert client("EXISTS", "user:1") == 1


def test_a_transaction_that_was_approved_is_void_when_any_of_its_keys_changes(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    pipeline(client, [("SET", "user:1", "v"), ("SET", "other", "v")])
    with asking(guard, **PROTECTED) as gate:
        call = transaction_of("DEL user:1", "APPEND other x")
        op = gate.held_call(call)
        gate.approve(op)
        client("APPEND", "other", "y")
        assert isinstance(gate.call(call), Held)
        assert gate.state(op) == "REFUSED"


def test_a_flush_by_retry_is_void_when_a_key_came(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard, redis__execute="retry") as gate:
        op = gate.held("FLUSHALL")
        gate.approve(op)
        pipeline(client, [("SELECT", "9"), ("SET", "new", "v"), ("SELECT", "0")])
        assert isinstance(gate("FLUSHALL"), Held)
        assert gate.state(op) == "REFUSED"


def test_a_client_may_name_the_operation_but_only_its_own(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard, redis__execute="retry") as gate:
        op = gate.held("FLUSHDB")
        assert gate.retry(op, call_of("FLUSHDB")) == gate("FLUSHDB")
        gate.approve(op)
        for call in (call_of("FLUSHALL"), call_of("FLUSHDB", db=1), call_of("FLUSHDB", user="somebody")):
            assert isinstance(gate.retry(op, call), Refused)
        assert isinstance(gate.retry("op_0000000000000000", call_of("FLUSHDB")), Refused)
        assert isinstance(gate.retry("../../etc/passwd", call_of("FLUSHDB")), Refused)
        assert gate.retry(op, call_of("FLUSHDB")) == Pass()
        assert isinstance(gate.retry(op, call_of("FLUSHDB")), Refused)


@pytest.mark.parametrize("execute", ["guard", "retry"])
def test_an_approval_is_void_after_the_server_was_started_again(tmp_path: Path, execute: str) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state")
    with asking(guard, **PROTECTED, redis__execute=execute) as gate:
        with running("redis-7.0", tmp_path) as server, server.client() as client:
            client("SET", "user:1", "v")
            ops = [gate.held("GETDEL", "user:1"), gate.held("DEL", "user:1")]
            for op in ops:
                gate.approve(op)
        with running("redis-7.0", tmp_path) as server, server.client() as client:
            client("SET", "user:1", "v")
            assert isinstance(gate("GETDEL", "user:1"), Held)
            assert isinstance(gate("DEL", "user:1"), Held)
            assert [gate.state(op) for op in ops] == ["REFUSED", "REFUSED"]
            assert client("EXISTS", "user:1") == 1


# Waiting


def _later(gate: Asking, act: str, box: list[Answer], *words: str) -> str:
    """Ask on a thread, do something about the operation when it is held, wait for the answer."""
    thread = threading.Thread(target=lambda: box.append(gate(*words)))
    thread.start()
    deadline = time.monotonic() + 20
    while not (held := [one for one in gate.operations() if one.state == "HELD"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    getattr(gate, act)(held[0].id)
    assert gate.gate.execute_approved() == []
    thread.join(timeout=20)
    return held[0].id


@pytest.mark.parametrize("execute", ["guard", "retry"])
def test_a_client_that_waits_gets_the_reply_when_somebody_approves(newest: tuple[Guard, Client], execute: str) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    box: list[Answer] = []
    with asking(guard, **PROTECTED, redis__wait="20s", redis__execute=execute) as gate:
        op = _later(gate, "approve", box, "GETDEL", "user:1")
        assert box == [Answered(b"$1\r\nv\r\n") if execute == "guard" else Pass()]
        assert gate.state(op) == ("DONE" if execute == "guard" else "PASSED")


def test_a_client_that_waits_is_told_when_somebody_says_no_or_nothing_or_it_went_away(
    newest: tuple[Guard, Client],
) -> None:
    guard, _ = newest
    box: list[Answer] = []
    with asking(guard, **PROTECTED, redis__wait="20s") as gate:
        op = _later(gate, "reject", box, "GETDEL", "user:1")
        assert isinstance(box[0], Refused)
        assert op in box[0].text
        assert isinstance(gate.call(call_of("GETDEL", "user:1"), abandoned=lambda: True), Held)
    with asking(guard, **PROTECTED, redis__wait="1s") as gate:
        assert isinstance(gate("GETDEL", "user:2"), Held)


# Capture


def test_what_the_checks_allow_is_captured_too_where_the_site_wants_it(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    pipeline(client, [("SET", "user:1", "v"), ("SET", "user:2", "v")])
    with asking(guard, redis__capture="checked") as gate:
        assert gate("DEL", "user:1", "user:9") == Answered(b":1\r\n")
        assert gate("GETDEL", "user:2") == Answered(b"$1\r\nv\r\n")
        assert gate.call(transaction_of("DEL user:1")) == Pass()
        assert [str(one.state) for one in gate.operations()] == ["DONE", "DONE"]
        assert client("DBSIZE") == 0
        for one in gate.operations():
            assert undo(guard.session(), one.id).restored == 1
    assert client("DBSIZE") == 2


def test_a_checked_removal_begins_anew_when_a_key_was_written_to_and_ends_when_that_never_stops(
    newest: tuple[Guard, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    watched, writes = redis_call._Work._watched, [1]

    def late(self: redis_call._Work) -> Any:
        if writes[0]:
            writes[0] -= 1
            client("APPEND", "user:1", "x")
        return watched(self)

    monkeypatch.setattr(redis_call._Work, "_watched", late)
    with asking(guard, redis__capture="checked") as gate:
        assert gate("DEL", "user:1") == Answered(b":1\r\n")
        assert [str(one.state) for one in gate.operations()] == ["REFUSED", "DONE"]
        client("SET", "user:1", "v")
        writes[0] = 9
        assert isinstance(gate("DEL", "user:1"), Refused)
        assert (writes[0], client("EXISTS", "user:1")) == (6, 1)


def test_without_capture_only_the_client_itself_does_what_was_approved(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", "v")
    with asking(guard, **PROTECTED, redis__capture="never") as gate:
        held = gate("GETDEL", "user:1")
        assert isinstance(held, Held)
        assert "cannot be undone" in held.text
        gate.approve(held.op)
        assert gate.gate.execute_approved() == []
        assert gate("GETDEL", "user:1") == Pass()
    assert client("EXISTS", "user:1") == 1


def test_without_room_for_a_copy_nothing_is_done(newest: tuple[Guard, Client]) -> None:
    guard, client = newest
    client("SET", "user:1", random.Random(1).randbytes(5000))  # noqa: S311 - does not get smaller, no secret
    with asking(guard, **PROTECTED) as gate:
        op = gate.held("GETDEL", "user:1")
        gate.approve(op)
    with asking(guard, **PROTECTED, redis__trash_max_bytes="2000") as gate:
        answer = gate("GETDEL", "user:1")
        assert isinstance(answer, Refused)
        assert (gate.state(op), client("EXISTS", "user:1")) == ("CANCELLED", 1)


def test_nothing_destructive_reaches_a_server_before_somebody_approved(newest: tuple[Guard, Client]) -> None:
    """What the server counted, and what its keys are, against whatever the gate was asked."""
    guard, client = newest
    pipeline(client, [("SET", f"user:{n}", "v") for n in range(5)])
    before = everything(client)
    calls = [call_of(*words) for words, _ in FORMS] + [call_of(*words) for words in SECRETS]
    calls += [call_of("FLUSHALL"), call_of("FLUSHDB", "ASYNC"), transaction_of("DEL user:1", "FLUSHALL")]
    with asking(guard, **PROTECTED, redis__max_held="1000") as gate:
        for call in calls:
            assert isinstance(gate.call(call), Held), call
        assert gate.gate.execute_approved() == []
    assert everything(client) == before
    harmless = {
        "info",
        "command|info",
        "dump",
        "pexpiretime",
        "pttl",
        "memory|usage",
        "time",
        "scan",
        "select",
        "client|setname",
    }
    harmless |= {"client|setinfo", "set", "keys", "flushall", "config|resetstat", "ping", "hello"}
    lines = client.text("INFO", "commandstats").decode().split("\r\n")
    assert {line[8:].split(":")[0] for line in lines if line.startswith("cmdstat_")} <= harmless
    assert _calls(client, "flushall") <= 1  # our own, before the statistics began
