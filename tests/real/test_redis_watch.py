"""Who destroys something on a server and does not come through the guard is seen; what the guard does itself is not reported."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.redis_harden import Wish, execute, judge, outline, plan_of, undo
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_server import address_of, connect_node
from go_cache_safeguard.flows.redis_watch import Told, Watched, names_of, watched
from go_cache_safeguard.redis.bypass import Ours
from go_cache_safeguard.redis.call import Answered, Pass
from redisgates import asking
from redisguard import Guard
from redisservers import Client, Server, ServerError

pytestmark = pytest.mark.real


class _Counted:
    """What somebody says that was let through."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def counts(self) -> Mapping[str, int]:
        return self.calls


def _seen(
    guard: Guard, act: Callable[[], object], ours: Ours | None = None, more: _Counted | None = None
) -> list[Told]:
    """Everything that is told when something is done between the first look and the next ones."""
    told: list[Told] = []
    session = guard.session()
    begun = False

    class _Acting:
        """Does it once, after the first look, when what was let through is asked about for the first time."""

        def counts(self) -> Mapping[str, int]:
            nonlocal begun
            if begun:
                return more.counts() if more is not None else {}
            begun = True
            before = dict(more.counts()) if more is not None else {}
            act()
            return before

    watched(
        session,
        Watched(address_of(session, guard.url), ours or Ours(), every_s=0.03, for_s=0.1),
        told.append,
        _Acting(),
    )
    return told


@pytest.fixture
def guard(redis_server: Server, redis_client: Client, tmp_path: Path) -> Iterator[Guard]:
    redis_client("ACL", "LOG", "RESET")
    redis_client("MSET", "a", "1", "b", "2", "c", "3")
    yield Guard(f"unix://{redis_server.path}", tmp_path / "state")
    redis_client("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis_client("ACL", "DELUSER", "app", "guard")


def _found(told: list[Told], what: str) -> list[tuple[str, int]]:
    return [(one.finding.command, one.finding.calls) for one in told if one.finding.what == what]


def test_nothing_is_told_of_ordinary_traffic(guard: Guard, redis_client: Client) -> None:
    def act() -> None:
        redis_client("SET", "a", "2")
        redis_client("GET", "a")
        redis_client("LPUSH", "l", "x")
        redis_client("LPOP", "l")
        redis_client("KEYS", "*")

    assert _seen(guard, act) == []


def test_a_direct_removal_and_a_direct_change_of_settings_are_found(
    guard: Guard, redis_client: Client, redis_server: Server
) -> None:
    def act() -> None:
        redis_client("DEL", "a")
        redis_client("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        redis_client("DEL", "nokey")
        with pytest.raises(ServerError):
            redis_client("RENAME", "nokey", "other")  # failed: nothing was done

    told = _seen(guard, act)
    assert ("del", 2) in _found(told, "direct-command")
    if redis_server.name == "redis-6.2":
        assert _found(told, "direct-command") == [("del", 2)]
        (unsure,) = [one.finding for one in told if one.finding.what == "subcommands"]
        assert (unsure.outcome, "config (1)" in unsure.text) == (Outcome.UNKNOWN, True)
    else:
        assert _found(told, "direct-command") == [("config|set", 1), ("del", 2)]
    assert {one.finding.outcome for one in told} <= {Outcome.BLOCK, Outcome.UNKNOWN}
    (row,) = [one.as_value() for one in told if one.finding.command == "del"]
    assert (row["schema"], row["calls"], row["outcome"]) == ("go-cache-safeguard/redis-watch/1", 2, "BLOCK")


def test_a_removal_inside_of_a_script_is_found(guard: Guard, redis_client: Client) -> None:
    told = _seen(guard, lambda: redis_client("EVAL", "return redis.call('d'..'el', KEYS[1])", 1, "a"))
    assert _found(told, "direct-command") == [("del", 1), ("eval", 1)]


def test_what_the_guard_removes_and_puts_back_is_not_reported(guard: Guard, redis_client: Client) -> None:
    def act() -> None:
        receipt = guard.remove(Wanted("DEL", (b"a", b"b")))
        assert receipt.moved == 2
        guard.remove(Wanted("UNLINK", (b"c",)))

    assert _found(_seen(guard, act), "direct-command") == []
    assert redis_client.number("DBSIZE") == 0


def test_what_a_proxy_let_through_is_not_reported_and_the_rest_is(guard: Guard, redis_client: Client) -> None:
    proxied = _Counted()

    def act() -> None:
        redis_client("DEL", "a")
        redis_client("DEL", "b")
        proxied.calls["del"] = 1

    assert _found(_seen(guard, act, more=proxied), "direct-command") == [("del", 1)]


def test_calls_that_the_gate_noted_as_passed_are_not_reported(guard: Guard, redis_client: Client) -> None:
    def act() -> None:
        with guard.session().journal() as journal:
            near = guard.url.replace("unix://", "unix://guard@")
            for target, words in (
                (near, ["del", "a"]),
                (near, ["UNLINK", "b", ";", "SET", "x", "1", ";", "UNLINK", "x"]),
                ("redis://elsewhere:6379", ["FLUSHALL"]),
            ):
                journal.note("call-passed", {"target": target, "words": list[Value](words)})
        redis_client("DEL", "a")
        redis_client("UNLINK", "b")
        redis_client("UNLINK", "c")
        redis_client("FLUSHALL")

    assert _found(_seen(guard, act), "direct-command") == [("flushall", 1)]
    assert names_of(["CONFIG", "SET", "a", "b"]) == ["config|set"]


def test_what_the_gate_does_for_a_client_is_not_reported(guard: Guard, redis_client: Client) -> None:
    def act() -> None:
        with asking(guard, policy__on_warn="hold") as gate:
            for words in (("GETDEL", "a"), ("RENAME", "b", "d"), ("UNLINK", "c")):
                gate.approve(gate.held(*words))
                assert isinstance(gate(*words), Answered)
        with asking(guard) as gate:
            assert isinstance(gate("DEL", "d"), Pass)
            redis_client("DEL", "d")  # as the client does that got through

    assert _found(_seen(guard, act), "direct-command") == []
    assert redis_client.number("DBSIZE") == 0


def test_rules_that_harden_applies_are_not_reported(guard: Guard, redis_client: Client, redis_server: Server) -> None:
    redis_client("ACL", "SETUSER", "guard", "on", ">g", "~*", "-@all")
    redis_client("ACL", "SETUSER", "app", "on", ">a", "~*", "+@all")

    def act() -> None:
        session = guard.session(redis__on_server="pass")
        with connect_node(session, address_of(session, guard.url)) as server:
            found = outline(session, server, Wish())
            plan = plan_of(session, found)
        op = clean(session, plan, lambda: judge(session, found), execute, None).op
        undo(session, op)

    told = _seen(guard, act)
    assert _found(told, "direct-command") == []
    texts = [one.finding.text for one in told if one.finding.what != "subcommands"]
    assert texts == []
    assert (len(told) == 1) is (redis_server.name == "redis-6.2")


def test_what_the_server_refuses_is_told_with_the_user(
    guard: Guard, redis_client: Client, redis_server: Server
) -> None:
    redis_client("ACL", "SETUSER", "app", "on", ">a", "~*", "-@all", "+get")

    def act() -> None:
        with redis_server.client() as app:
            app("AUTH", "app", "a")
            with pytest.raises(ServerError):
                app("FLUSHALL")

    told = _seen(guard, act)
    texts = [one.finding.text for one in told]
    assert "user app was refused the command flushall (toplevel), 1 time" in texts
    assert "flushall: the server rejected 1 call" in texts
    assert {one.finding.outcome for one in told} == {Outcome.WARN}


def test_counters_that_somebody_reset_are_a_finding_and_what_came_after_is_seen(
    guard: Guard, redis_client: Client
) -> None:
    def act() -> None:
        redis_client("DEL", "a")
        redis_client("CONFIG", "RESETSTAT")
        redis_client("UNLINK", "b")

    told = _seen(guard, act)
    assert ("unlink", 1) in _found(told, "direct-command")
    (reset,) = [one.finding for one in told if one.finding.what == "counters-reset"]
    assert reset.outcome is Outcome.BLOCK


def test_connections_that_do_not_come_from_the_proxy_are_named(
    guard: Guard, redis_client: Client, redis_server: Server
) -> None:
    redis_client("ACL", "SETUSER", "guard", "on", ">g", "~*", "+@all")

    def act() -> None:
        redis_client("GETDEL", "a")

    with redis_server.client() as ours:
        ours("AUTH", "guard", "g")
        ours("GET", "a")
        told = _seen(guard, act, Ours("guard", ("10.0.0.7",)))
        direct = [one.finding for one in told if one.finding.what == "direct-connection"]
        assert [one.outcome for one in direct] == [Outcome.WARN, Outcome.BLOCK]
        assert all("as default" in one.text for one in direct)
        assert direct[1].command == "getdel"
        passed = _seen(guard, lambda: None, Ours(None, (f"{redis_server.path}:0",)))
        assert [one for one in passed if one.finding.what == "direct-connection"] == []


def test_what_cannot_be_read_is_unknown(guard: Guard, redis_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_client("ACL", "SETUSER", "app", "on", ">a", "~*", "-@all", "+info", "+client|setname", "+ping")
    monkeypatch.setenv("REDISCLI_AUTH", "a")
    told = _seen(Guard(guard.url.replace("unix://", "unix://app@"), guard.state, guard.settings), lambda: None)
    assert sorted(one.finding.text.split(" cannot")[0] for one in told if one.finding.what == "unread") == [
        "ACL LOG",
        "CLIENT LIST",
    ]
    assert {one.finding.outcome for one in told if one.finding.what == "unread"} == {Outcome.UNKNOWN}
