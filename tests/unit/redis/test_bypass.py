"""Two readings of a server's counters are compared; each thing is told once, and silence is no good news."""

from collections.abc import Mapping
from types import MappingProxyType

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.redis.bypass import (
    Base,
    Count,
    Finding,
    Ours,
    Peer,
    Reading,
    Refusal,
    Through,
    Watch,
    begin,
    compare,
    read_counts,
    read_peers,
    read_refusals,
    surplus,
)
from go_cache_safeguard.redis.info import parse_info
from go_cache_safeguard.redis.rules import Rules, parse_overrides
from go_cache_safeguard.redis.tablefile import load_table

WATCH = Watch(Rules(), load_table())
NONE = Through()


def _reading(
    counts: Mapping[str, int | Count] | None = None,
    *,
    run_id: str = "a",
    peers: tuple[Peer, ...] | None = (),
    refusals: Mapping[Refusal, int] | None = MappingProxyType({}),
    replica: bool = False,
) -> Reading:
    known = {name: one if isinstance(one, Count) else Count(one) for name, one in (counts or {}).items()}
    return Reading(run_id, known, peers, refusals, replica)


def _began(
    counts: Mapping[str, int | Count] | None = None, refusals: Mapping[Refusal, int] = MappingProxyType({})
) -> Base:
    return begin(_reading(counts, refusals=refusals), NONE, WATCH)[0]


def _told(findings: list[Finding]) -> list[tuple[str, str, int]]:
    return [(one.what, one.command, one.calls) for one in findings]


def test_only_destructive_calls_that_succeeded_count_and_each_is_told_once() -> None:
    base = _began({"del": 5, "get": 5})
    now = _reading({"del": Count(9, failed=1), "get": 99, "set": 3, "flushall": 1, "psync": 1, "mymodule.x": 1})
    base, found = compare(base, now, NONE, WATCH)
    assert _told(found) == [
        ("direct-command", "del", 3),
        ("direct-command", "flushall", 1),
        ("direct-command", "mymodule.x", 1),
    ]
    assert {one.outcome for one in found} == {Outcome.BLOCK}
    base, found = compare(base, now, NONE, WATCH)
    assert found == []
    assert _told(
        compare(
            base,
            _reading({"del": Count(10, failed=1), "get": 99, "set": 3, "flushall": 1, "psync": 1, "mymodule.x": 1}),
            NONE,
            WATCH,
        )[1]
    ) == [("direct-command", "del", 1)]


def test_what_was_let_through_is_subtracted_and_what_is_under_way_waits() -> None:
    base = _began({"unlink": 1})
    now = _reading({"unlink": 4})
    assert compare(base, now, Through({"unlink": 3}), WATCH)[1] == []
    assert surplus(base, now, Through({"unlink": 2}), WATCH)
    assert not surplus(base, now, Through({"unlink": 3}), WATCH)
    later, found = compare(base, now, Through({}, frozenset({"unlink"})), WATCH)
    assert found == []
    assert _told(compare(later, now, Through({"unlink": 2}), WATCH)[1]) == [("direct-command", "unlink", 1)]
    assert _told(compare(base, now, Through({"unlink": 9}), WATCH)[1]) == []


def test_a_site_decides_what_it_wants_to_know() -> None:
    now = _reading({"keys": 1, "lpop": 1, "config|set": 1})
    assert _told(compare(_began(), now, NONE, WATCH)[1]) == [("direct-command", "config|set", 1)]
    strict = Watch(Rules(), load_table(), strict=True)
    assert _told(compare(_began(), now, NONE, strict)[1]) == [
        ("direct-command", "config|set", 1),
        ("direct-command", "lpop", 1),
    ]
    own = Watch(Rules(overrides=parse_overrides("KEYS=hold CONFIG|SET=pass")), load_table())
    assert _told(compare(_began(), now, NONE, own)[1]) == [("direct-command", "keys", 1)]


def test_containers_without_subcommands_are_unknown_and_those_of_every_client_are_left_out() -> None:
    (found,) = compare(
        _began(), _reading({"config": 2, "client": 9, "object": 3, "acl": 2}), Through({"acl|setuser": 2}), WATCH
    )[1]
    assert (found.what, found.outcome) == ("subcommands", Outcome.UNKNOWN)
    assert found.text.endswith("config (2)")


def test_scripts_that_may_be_allowed_are_unknown() -> None:
    watch = Watch(Rules(scripts=frozenset({"a" * 40})), load_table())
    (found,) = compare(_began(), _reading({"evalsha": 2}), NONE, watch)[1]
    assert (found.outcome, found.calls) == (Outcome.UNKNOWN, 2)


def test_calls_that_the_server_rejected_are_told_apart_from_ours() -> None:
    now = _reading({"del": Count(0, 0, 3), "get": Count(0, 0, 5)})
    (found,) = compare(_began(), now, Through(rejected={"del": 1}), WATCH)[1]
    assert (found.what, found.outcome, found.calls) == ("refused", Outcome.WARN, 2)


def test_counters_that_went_down_are_a_finding_and_counting_begins_again() -> None:
    base = _began({"del": 5, "get": 9})
    base, found = compare(base, _reading({"del": 2}), Through({"del": 1}), WATCH)
    assert _told(found) == [("counters-reset", "", 0), ("direct-command", "del", 1)]
    assert compare(base, _reading({"del": 2}), Through({"del": 1}), WATCH)[1] == []


def test_another_process_begins_a_new_base_and_what_it_did_is_seen() -> None:
    base, found = compare(_began({"del": 5}), _reading({"del": 1}, run_id="b"), NONE, WATCH)
    assert _told(found) == [("restarted", "", 0), ("direct-command", "del", 1)]
    assert found[0].outcome is Outcome.UNKNOWN
    assert compare(base, _reading({"del": 1}, run_id="b"), NONE, WATCH)[1] == []


def test_what_cannot_be_read_is_told_once_and_a_replica_is_not_judged() -> None:
    base, found = begin(_reading(peers=None, refusals=None), NONE, WATCH)
    assert [one.outcome for one in found] == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert compare(base, _reading(peers=None, refusals=None), NONE, WATCH)[1] == []
    base, found = begin(Reading("a", None, (), {}), NONE, WATCH)
    assert "INFO commandstats" in found[0].text
    assert not surplus(base, Reading("a", None, (), {}), NONE, WATCH)
    assert _told(compare(_began(), _reading({"del": 9}, replica=True), NONE, WATCH)[1]) == [("replica", "", 0)]


def test_connections_are_told_apart_by_user_name_and_address() -> None:
    peers = (
        Peer("1", "10.0.0.7:400", "app", "", "get"),
        Peer("2", "10.0.0.8:400", "guard", "", "unlink"),
        Peer("3", "10.0.0.9:400", "app", "go-cache-safeguard", "get"),
        Peer("4", "10.0.0.9:401", "repl", "", "replconf", "S"),
        Peer("5", "/run/proxy.sock:0", "app", "", "get"),
        Peer("6", "[::1]:7", "app", "", "get"),
    )
    watch = Watch(Rules(), load_table(), Ours("guard", ("10.0.0.7", "/run/proxy.sock", "::1")))
    base, found = begin(_reading(peers=peers), NONE, watch)
    assert [(one.outcome, one.text) for one in found] == [
        (Outcome.WARN, "not through the proxy: client 3 from 10.0.0.9:400 as app (go-cache-safeguard): get")
    ]
    named = Watch(Rules(), load_table(), Ours(None, ("10.0.0.7", "/run/proxy.sock", "::1")))
    assert [one.text.split()[5] for one in begin(_reading(peers=peers), NONE, named)[1]] == ["2"]
    assert begin(_reading(peers=peers), NONE, WATCH)[1] == []
    did = (Peer("3", "10.0.0.9:400", "app", "", "del"),)
    base, found = compare(base, _reading(peers=did), NONE, watch)
    assert [one.outcome for one in found] == [Outcome.BLOCK]
    base, found = compare(base, _reading(peers=did), NONE, watch)
    assert found == []


def test_new_entries_of_the_log_are_told_and_an_emptied_log_too() -> None:
    one = Refusal("command", "lua", "del", "app")
    base, found = compare(_began(refusals={one: 1}), _reading(refusals={one: 3}), NONE, WATCH)
    assert [(each.text, each.calls) for each in found] == [("user app was refused the command del (lua), 2 times", 2)]
    assert _told(compare(base, _reading(), NONE, WATCH)[1]) == [("acl-log-reset", "", 0)]


def test_replies_are_read() -> None:
    text = b"# Commandstats\r\ncmdstat_config|set:calls=3,usec=1,usec_per_call=0.1,rejected_calls=2,failed_calls=1\r\ncmdstat_GET:calls=x"
    assert read_counts(parse_info(text)) == {"config|set": Count(3, 1, 2), "get": Count()}
    assert read_counts(parse_info(b"cmdstat_host_:calls=1,usec=1")) == {"host:": Count(1)}
    lines = (
        b"id=3 addr=127.0.0.1:5 laddr=x name=web user=app idle=7 flags=N cmd=del\n"
        b"id=4 addr=[/run/s:0]:0 name=\x1b user=\xff cmd=get|x flags=U idle=odd\nid=9 addr=x cmd=client|list\nodd line\n"
    )
    assert read_peers(lines, "9") == (
        Peer("3", "127.0.0.1:5", "app", "web", "del", "N", 7),
        Peer("4", "/run/s:0", "\\x5cxff", "\\x1b", "get|x", "U", 0),
    )
    entry = [b"count", 2, b"reason", b"command", b"context", b"toplevel", b"object", b"del", b"username", b"app"]
    ours = [b"count", 9, b"reason", b"command", b"username", b"go-cache-safeguard-try-1"]
    assert read_refusals([entry, entry, ours, [b"count", b"?"]]) == {
        Refusal("command", "toplevel", "del", "app"): 4,
        Refusal("", "", "", ""): 1,
    }
