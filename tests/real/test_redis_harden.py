"""The server itself refuses what the guard would hold: rules are applied, every destructive form is tried, and undone again."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import IllegalTransition, PlanVoid
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.receipt import Receipt
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.flows.clean import Held, Refused, clean
from go_cache_safeguard.flows.redis_harden import (
    HardenFailed,
    Outline,
    Wish,
    execute,
    judge,
    outline,
    plan_of,
    recover,
    resume,
    undo,
)
from go_cache_safeguard.flows.redis_server import address_of, connect_node
from go_cache_safeguard.redis.acl import held, read_commands, read_user
from go_cache_safeguard.redis.call import Answered
from go_cache_safeguard.redis.client import Server as Link
from go_cache_safeguard.redis.client import Word
from go_cache_safeguard.redis.harden import aclfile
from redisgates import asking
from redisguard import Guard
from rediskeys import build, forms, look, pipeline, run
from redisservers import Client, Server, ServerError, running

pytestmark = pytest.mark.real

_ALLOWED = {"redis.on_server": "pass"}
_REFUSED = (
    "DEL s|UNLINK s|FLUSHALL|FLUSHDB|RENAME s q|GETDEL s|MOVE s 9|EVAL return(1) 0|CONFIG SET maxmemory 1|SWAPDB 0 9|SHUTDOWN NOSAVE"
    "|REPLICAOF NO ONE|DEBUG SLEEP 0|MONITOR|SCRIPT FLUSH|ACL SETUSER app +@all|ACL LOG RESET|MODULE LIST x|MIGRATE a 1 s 0 1|SORT_RO"
    "|XGROUP DESTROY x g|CLUSTER RESET|SAVE|CLIENT KILL TYPE normal|CLIENT REPLY OFF|PSYNC a 1"
)
_ORDINARY = (
    "GET s|SET d v|SET q v EX 100|INCR n|LPUSH l q|LRANGE l 0 -1|LPOP l|HSET h a 9|HGETALL h|SADD st q|ZADD z 4 q|EXPIRE d 100|MGET s d"
    "|XADD x * f v|XREAD COUNT 1 STREAMS x 0|PUBLISH a b|SCAN 0|TTL s|PING|ECHO a|SELECT 0|GETSET d v|SDIFFSTORE d st st2|OBJECT ENCODING s"
    "|TYPE s|INFO|WATCH s|UNWATCH|CLIENT SETNAME a|COMMAND|COMMAND COUNT|KEYS *|SETNX new v|DBSIZE|XGROUP CREATE x g2 0"
)


@pytest.fixture
def users(redis_server: Server, redis_client: Client) -> Iterator[Client]:
    """An administrator's connection to a server with an application, one with fewer rights, and the guard's user."""
    client = redis_client
    client("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
    client("ACL", "SETUSER", "small", "on", ">secret", "~*", "-@all", "+get", "+set", "+del", "+config|get", "+ping")
    client("ACL", "SETUSER", "guard", "on", ">other", "~*", "-@all", "+get")
    client("ACL", "SETUSER", "gone", "off", "-@all", "+@all")
    yield client
    client("ACL", "DELUSER", "app", "small", "guard", "gone", "new", "odd")
    assert redis_server.pid


def _guard(server: Server, tmp_path: Path, **settings: str) -> Guard:
    named = {key.replace("__", "."): text for key, text in settings.items()}
    return Guard(f"unix://{server.path}", tmp_path / "state", {**_ALLOWED, **named})


def _outline(guard: Guard, wish: Wish = Wish()) -> Outline:  # noqa: B008 - frozen
    session = guard.session()
    with connect_node(session, address_of(session, guard.url)) as server:
        return outline(session, server, wish)


def _apply(guard: Guard, wish: Wish = Wish()) -> Receipt:  # noqa: B008 - frozen
    found = _outline(guard, wish)
    session = guard.session()
    return clean(session, plan_of(session, found), lambda: judge(session, found), execute, None)


@contextmanager
def _as(server: Server, user: str) -> Iterator[Client]:
    with server.client() as client:
        client("AUTH", user, "secret")
        yield client


def _forms(client: Client) -> list[tuple[bytes, ...]]:
    return [args for args in forms(client) if args[0] not in {b"WAIT", b"DEBUG"}]


def _lost(admin: Client, app: Client, protected: "set[bytes] | None" = None) -> tuple[list[object], int]:
    """Forms that took or emptied a key of these, or of all; and how many forms the server did."""
    wrong: list[object] = []
    done = 0
    build(admin)
    for args in _forms(admin):
        build(admin)
        before = look(admin)
        done += run(app, args) is not None
        after = look(admin)
        for place, was in before.items():
            now = after.get(place)
            bad = now is None or now.kind != was.kind or (now.size < was.size and was.kind != b"string")
            if bad and (protected is None or place[1] in protected):
                wrong.append((args, place))
    return wrong, done


def test_an_application_under_strict_rules_takes_no_key_away_with_any_form(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    _apply(_guard(redis_server, tmp_path), Wish(strict=True))
    with _as(redis_server, "app") as app:
        wrong, done = _lost(users, app)
    assert wrong == []
    assert done > 40  # reads, and writes that only add


def test_protected_keys_cannot_lose_anything_where_the_server_knows_permissions_for_keys(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    if redis_server.name == "redis-6.2":
        found = _outline(_guard(redis_server, tmp_path, redis__protect="l* st z"))
        (told,) = [one for one in found.findings if one.check == "patterns"]
        assert len(told.evidence) == 3
        return
    names = "s d l l1 st s1 z z1 h h1 x hl geo other"
    _apply(_guard(redis_server, tmp_path, redis__protect=names))
    with _as(redis_server, "app") as app:
        wrong, done = _lost(users, app, {name.encode() for name in names.split()})
    assert wrong == []
    assert done > 60


def test_denying_by_the_table_leaves_ordinary_reads_and_writes_alone(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    _apply(_guard(redis_server, tmp_path))
    build(users)
    with _as(redis_server, "app") as app:
        answers = {call: answer for call in _ORDINARY.split("|") for answer in pipeline(app, [call.split()])}
        tried = {call: answer for call in _REFUSED.split("|") for answer in pipeline(app, [call.split()])}
    assert [(call, answer) for call, answer in answers.items() if isinstance(answer, ServerError)] == []
    assert all(isinstance(answer, ServerError) for answer in tried.values()), tried
    assert look(users)[0, b"s"].kind == b"string"


def test_a_script_that_builds_the_name_of_a_command_is_refused_too(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    script = "return redis.call('d'..'el', KEYS[1])"
    users("SET", "s", "v")
    digest = users.text("SCRIPT", "LOAD", script).decode()
    harmless = users.text("SCRIPT", "LOAD", "return redis.call('get', KEYS[1])").decode()
    _apply(_guard(redis_server, tmp_path, redis__scripts=f"{digest} {harmless}"))
    with _as(redis_server, "app") as app:
        with pytest.raises(ServerError, match="NOPERM"):
            app("EVAL", script, 1, "s")
        with pytest.raises(ServerError, match=r"user executing the script|NOPERM|permissions"):
            app("EVALSHA", digest, 1, "s")
        assert app("EVALSHA", harmless, 1, "s") == b"v"
        with pytest.raises(ServerError, match="NOPERM"):
            app("EVALSHA", "0" * 40, 1, "s")


def test_nobody_gets_a_right_and_a_password_stays_what_it_is(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    commands = read_commands(users.array("COMMAND"))
    before = {user.name: user for user in map(read_user, users.strings("ACL", "LIST"))}
    receipt = _apply(_guard(redis_server, tmp_path, redis__protect="a:*"))
    assert (receipt.state, receipt.moved) == (State.DONE, 3)
    after = {user.name: user for user in map(read_user, users.strings("ACL", "LIST"))}
    for name in ("app", "small"):
        had = held(before[name].root.commands, commands)
        has = [held(grant.commands, commands) for grant in (after[name].root, *after[name].selectors)]
        gained = {one for one in frozenset[str]().union(*has) - had if one.partition("|")[0] not in had}
        assert gained == set(), name
    assert held(after["small"].root.commands, commands) >= {"get"}
    assert "del" not in str(after["small"])
    assert after["default"] == before["default"]
    assert after["gone"] == before["gone"]
    with _as(redis_server, "small") as small:
        assert small("PING") == b"PONG"
    (guard,) = [user for user in after.values() if user.name == "guard"]
    assert {"del", "unlink", "getdel", "rename", "restore", "dump"} <= held(guard.root.commands, commands)
    assert not {"config|set", "flushall", "shutdown", "eval"} & held(guard.root.commands, commands)
    state = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" not in state  # SHA-256 of "secret"


def test_undo_gives_back_the_very_rules(redis_server: Server, users: Client, tmp_path: Path) -> None:
    users("ACL", "SETUSER", "app", "resetkeys", "~a:*", "~b\xff*", "-flushall", "resetchannels", "&news")
    if redis_server.name != "redis-6.2":
        users("ACL", "SETUSER", "small", "(%R~r:* +mget)", "(~w:* -@all +set +getdel)")
    before = users.strings("ACL", "LIST")
    guard = _guard(redis_server, tmp_path, redis__protect="a:1:*")
    receipt = _apply(guard)
    assert users.strings("ACL", "LIST") != before
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.newer) == (("app", "guard", "small"), ())
    assert users.strings("ACL", "LIST") == before
    with pytest.raises(IllegalTransition):
        undo(guard.session(), receipt.op)


def test_undo_leaves_what_somebody_changed_since_and_makes_no_user_again(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    guard = _guard(redis_server, tmp_path)
    receipt = _apply(guard)
    users("ACL", "SETUSER", "app", "-get")
    users("ACL", "DELUSER", "small")
    back = undo(guard.session(), receipt.op)
    assert (back.restored, back.newer, back.gone) == (("guard",), ("app",), ("small",))
    assert b"+@all" not in next(line for line in users.strings("ACL", "LIST") if line.startswith(b"user app "))


def test_what_would_lock_somebody_out_is_refused(redis_server: Server, users: Client, tmp_path: Path) -> None:
    guard = _guard(redis_server, tmp_path, redis__protect="session:*")
    users("ACL", "SETUSER", "odd", "on", ">secret", "~*odd*", "+@all")
    session = guard.session()
    before = users.strings("ACL", "LIST")
    for wish, why in (
        (Wish(users=("default",)), "lock yourself out"),
        (Wish(guard="nobody"), "there is no user nobody"),
        (Wish(guard="gone"), "there is no user gone that can log in"),
        (Wish(users=("guard",)), "is the guard's user"),
        (Wish(users=("ghost",)), "there is no user ghost"),
        *(() if redis_server.name == "redis-6.2" else ((Wish(users=("odd",)), "cannot be told apart"),)),
        (Wish(users=("app",), save=True), "neither an ACL file nor"),
    ):
        with pytest.raises(Refused, match=why):
            plan_of(session, _outline(guard, wish))
    with pytest.raises(Refused, match="refused by the rules"):
        plan_of(guard.session(redis__on_server="refuse"), _outline(guard, Wish(users=("app",))))
    assert users.strings("ACL", "LIST") == before


def test_a_change_waits_for_a_person_and_is_void_for_users_that_changed_meanwhile(
    redis_server: Server, users: Client, tmp_path: Path
) -> None:
    guard = Guard(f"unix://{redis_server.path}", tmp_path / "state")
    found, session = _outline(guard), guard.session(approval__on_change="skip")
    plan = plan_of(session, found)
    ops = []
    for _ in range(2):
        with pytest.raises(Held):
            clean(session, plan, lambda: judge(session, found), execute, None)
        ops.append(guard.last())
    users("ACL", "SETUSER", "small", "+incr")
    with session.journal() as journal:
        for op in ops:
            approve_by_digest(session, journal, op, plan.digest)
    before = users.strings("ACL", "LIST")
    with pytest.raises(PlanVoid, match="the rules of 1 of 3 users changed"):
        resume(guard.session(), ops[0])
    assert (guard.state_of(ops[0]), users.strings("ACL", "LIST")) == ("CANCELLED", before)
    op = ops[1]
    receipt = resume(session, op)
    assert (receipt.moved, receipt.changed) == (2, 1)
    (small,) = [read_user(line) for line in users.strings("ACL", "LIST") if line.startswith(b"user small ")]
    assert "+incr" in small.root.commands
    assert "+del" in small.root.commands
    with pytest.raises(IllegalTransition):
        resume(session, op)


def test_an_approval_is_void_for_another_process(users: Client, tmp_path: Path) -> None:
    assert users("PING") == b"PONG"
    (tmp_path / "r").mkdir()
    guard = Guard(f"unix://{tmp_path}/r/s", tmp_path / "state")
    for turn in range(2):
        with running("valkey-9.1", tmp_path / "r") as server, server.client() as client:
            client("ACL", "SETUSER", "guard", "on", ">other", "~*", "-@all")
            client("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
            session = guard.session()
            if turn:
                with pytest.raises(PlanVoid, match="started again"):
                    resume(session, guard.last())
                assert guard.state_of(guard.last()) == State.REFUSED
                assert b"user app on" in b"".join(client.strings("ACL", "LIST"))
                continue
            found = _outline(guard)
            plan = plan_of(session, found)
            verdicts = judge(session, found)
            with pytest.raises(Held):
                clean(session, plan, verdicts.copy, execute, None)
            guard.approve(guard.last(), plan)


def test_rules_that_do_not_hold_are_taken_back(
    redis_server: Server, users: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = users.strings("ACL", "LIST")
    guard = _guard(redis_server, tmp_path)
    ask_all = Link.ask_all

    def meddled(self: Link, commands: Sequence[Sequence[Word]]) -> list[object]:
        """Somebody gives a right back between the change and the proof."""
        answers = ask_all(self, commands)
        if any(tuple(words[:3]) == ("ACL", "SETUSER", b"app") for words in commands):
            users("ACL", "SETUSER", "app", "+flushall")
        return answers

    monkeypatch.setattr(Link, "ask_all", meddled)
    with pytest.raises(HardenFailed, match="user app can still do flushall"):
        _apply(guard)
    monkeypatch.undo()
    assert guard.state_of(guard.last()) == State.ROLLED_BACK
    users("ACL", "SETUSER", "app", "-@all", "+@all")
    assert users.strings("ACL", "LIST") == before


def test_what_was_killed_while_rules_changed_is_taken_back(
    redis_server: Server, users: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = users.strings("ACL", "LIST")
    guard = _guard(redis_server, tmp_path)
    monkeypatch.setattr("go_cache_safeguard.flows.redis_harden._prove", _killed)
    with pytest.raises(KeyboardInterrupt):
        _apply(guard)
    monkeypatch.undo()
    assert guard.state_of(guard.last()) == State.PROVING
    session = guard.session()
    with session.journal() as journal:
        recover(session, journal, guard.last())
    assert guard.state_of(guard.last()) == State.DONE
    undo(session, guard.last())
    monkeypatch.setattr("go_cache_safeguard.flows.redis_harden._set", _killed)
    with pytest.raises(KeyboardInterrupt):
        _apply(guard)
    monkeypatch.undo()
    assert guard.state_of(guard.last()) == State.REMOVING
    with session.journal() as journal:
        recover(session, journal, guard.last())
    assert guard.state_of(guard.last()) == State.ROLLED_BACK
    assert users.strings("ACL", "LIST") == before


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_printed_lines_are_what_acl_load_takes(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    file = tmp_path / "r/users.acl"
    file.write_text("user default on nopass ~* &* +@all\nuser guard on >g ~* -@all\nuser app on >secret ~* &* +@all\n")
    for name in ("redis-6.2", "valkey-9.1"):
        with running(name, tmp_path / "r", "--aclfile", str(file)) as server, server.client() as client:
            guard = _guard(server, tmp_path / name, redis__protect="session:*")
            lines = aclfile(_outline(guard).changes)
            assert "secret" not in lines
            receipt = _apply(guard, Wish(save=True))
            assert receipt.proof[-1] == "saved with ACL SAVE"
            applied = {user.name: user.text for user in map(read_user, client.strings("ACL", "LIST"))}
            assert "+@all" not in file.read_text().split("user app")[1].split("\n")[0]
            file.write_text(f"user default on nopass ~* &* +@all\n{lines.replace(' on ', ' on >secret ')}")
            client("ACL", "LOAD")
            loaded = {user.name: user.text for user in map(read_user, client.strings("ACL", "LIST"))}
            assert loaded["guard"].split(" ")[-20:] == applied["guard"].split(" ")[-20:]
            assert loaded["app"] == applied["app"]
            file.write_text(
                "user default on nopass ~* &* +@all\nuser guard on >g ~* -@all\nuser app on >secret ~* &* +@all\n"
            )


def test_what_replicas_need_is_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    port = _free_port()
    with running("redis-7.0", tmp_path / "a", "--port", str(port)) as server, server.client() as client:
        client("ACL", "SETUSER", "guard", "on", ">other", "~*", "+@all")
        client("ACL", "SETUSER", "replica", "on", ">r", "-@all", "+psync", "+replconf", "+ping")
        client("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        client("ACL", "SETUSER", "admin", "on", ">admin", "~*", "+@all")
        guard = _guard(server, tmp_path)
        with running("redis-7.0", tmp_path / "b", "--replicaof", "127.0.0.1", str(port)):
            deadline = time.monotonic() + 30
            while b"flags=S" not in client.text("CLIENT", "LIST") and time.monotonic() < deadline:
                time.sleep(0.05)
            found = _outline(guard, Wish(users=("default",)))
            assert [one.check for one in found.findings if one.check == "replication"] == ["replication"]
            assert {change.user.name for change in _outline(guard).changes} == {"app", "admin"}
            receipt = _apply(guard, Wish(admins=("admin",)))
            assert receipt.planned == 1


def test_a_server_without_lists_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with running("redis-6.2", tmp_path / "r", "--rename-command", "ACL", "gone") as server:
        guard = _guard(server, tmp_path)
        found = _outline(guard)
        assert [one.check for one in found.findings] == ["users"]
        assert "no access control lists" in found.findings[0].summary
        with pytest.raises(Refused, match="no access control lists"):
            plan_of(guard.session(), found)


def test_a_user_that_may_not_ask_gets_no_rules_that_were_guessed(
    redis_server: Server, users: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users("ACL", "SETUSER", "new", "on", ">new", "-@all", "+info", "+command", "+acl|whoami", "+client|setname")
    monkeypatch.setenv("REDISCLI_AUTH", "new")
    guard = Guard(f"unix://new@{redis_server.path}", tmp_path / "state")
    found = _outline(guard)
    assert found.changes == ()
    unknown = {one.check for one in found.findings if one.outcome is Outcome.UNKNOWN}
    assert {"users", "replication", "protected-mode", "aclfile"} <= unknown
    with pytest.raises(Refused):
        plan_of(guard.session(), found)


def test_what_the_server_refuses_to_an_application_the_guard_does_once_a_person_approves(
    redis_server: Server, users: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(users)
    _apply(_guard(redis_server, tmp_path))
    monkeypatch.setenv("REDISCLI_AUTH", "other")
    guard = Guard(f"unix://guard@{redis_server.path}", tmp_path / "state", {"policy.on_warn": "hold"})
    calls = ("DEL s", "RENAME d new", "GETDEL n", "MOVE l 9", "EXPIRE h 0", "XGROUP DESTROY x g", "FLUSHDB")
    with asking(guard) as gate, _as(redis_server, "app") as app:
        for text in calls:
            words = text.split()
            before = look(users)
            if words[0] != "EXPIRE":
                with pytest.raises(ServerError, match="NOPERM"):
                    app(*words)
            op = gate.held(*words)
            assert look(users) == before
            gate.approve(op)
            answer = gate(*words)
            assert isinstance(answer, Answered), (text, answer)
            assert not answer.reply.startswith(b"-"), (text, answer)
            assert look(users) != before, text
    assert users.number("DBSIZE") == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
