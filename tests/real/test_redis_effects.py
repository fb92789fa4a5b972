"""No key is lost without the intent having said so: real commands on real servers, told beforehand and compared afterwards."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Certainty, Intent, Loss, Scope, Terms, judge
from go_cache_safeguard.redis.tablefile import load_table
from rediskeys import DATABASES, Kept, build, forms, look, pipeline, run
from redisservers import Client

pytestmark = pytest.mark.real

_OPTIONS = (
    "NX XX GT LT EX PX EXAT PXAT KEEPTTL PERSIST GET REPLACE ABSTTL STORE STOREDIST BY LIMIT ALPHA COPY KEYS DB MAXLEN MINID ~ = * $"
    " COUNT LEFT RIGHT MIN MAX FIELDS FNX FXX IFEQ IDLETIME FREQ STREAMS GROUP WITHSCORES AGGREGATE WEIGHTS 0 1 2 -1 100 9 a only g v"
)
_WORDS = [word.encode() for word in _OPTIONS.split()] + [
    b"s",
    b"d",
    b"l",
    b"l1",
    b"st",
    b"z",
    b"h",
    b"h1",
    b"x",
    b"new",
    b"nokey",
]
_TOO_FAR = {
    *(
        "SHUTDOWN",
        "DEBUG",
        "MONITOR",
        "SYNC",
        "PSYNC",
        "REPLICAOF",
        "SLAVEOF",
        "FAILOVER",
        "QUIT",
        "RESET",
        "SELECT",
        "MULTI",
        "EXEC",
    ),
    *(
        "DISCARD",
        "AUTH",
        "HELLO",
        "WATCH",
        "HOST:",
        "POST",
        "CLIENT REPLY",
        "CLIENT PAUSE",
        "SCRIPT DEBUG",
        "MODULE LOAD",
        "SAVE",
    ),
    *(
        "BGSAVE",
        "BGREWRITEAOF",
        "ACL SETUSER",
        "ACL DELUSER",
        "CLIENT KILL",
        "CLIENT NO-EVICT",
        "MIGRATE",
        "CONFIG SET",
    ),
}
"""What would end the server, the connection or the test; their intents are tested without a server."""


def _intent(client: Client, args: tuple[bytes, ...]) -> Intent:
    seconds, micros = client.strings("TIME")
    return judge(args, Connection(), load_table(), Terms(int(seconds) * 1000 + int(micros) // 1000))


def unannounced(
    intent: Intent, before: dict[tuple[int, bytes], Kept], after: dict[tuple[int, bytes], Kept]
) -> list[str]:
    """What happened to keys without the intent having said so."""
    if intent.scope is not Scope.KEYS:
        return [] if intent.certainty is Certainty.SURE else ["a large scope must be sure"]
    told: dict[tuple[int, bytes], Loss] = {}
    for use in intent.uses:
        for db in DATABASES if use.db is None else (use.db,):
            told[db, use.key] = max(use.loss, told.get((db, use.key), Loss.NONE))
    found = []
    for place, was in before.items():
        loss, now = told.get(place, Loss.NONE), after.get(place)
        if now is None:
            wrong = loss < Loss.EMPTIED
        elif now.kind != was.kind:
            wrong = loss < Loss.OVERWRITTEN
        elif now.size < was.size and was.kind != b"string":
            wrong = loss < Loss.EMPTIED
        elif was.expires and not now.expires:
            wrong = loss < Loss.EXPIRES
        else:
            coded = (
                intent.name == "SORT" and was.kind == b"zset"
            )  # sort.c has a sorted set coded anew; the content stays
            wrong = now.dump != was.dump and loss < Loss.CHANGED and not coded
        lost = now is None or now.kind != was.kind or (was.expires and not now.expires)
        if wrong or (lost and intent.certainty is Certainty.HARMLESS):
            found.append(f"{place}: told {loss.name}, was {was}, is {now}")
    return found


def test_every_measured_form_does_nothing_that_was_not_told(redis_client: Client) -> None:
    client = redis_client
    build(client)
    wrong, done = [], 0
    for args in forms(client):
        build(client)
        before, intent = look(client), _intent(client, args)
        done += run(client, args) is not None
        wrong += [f"{args}: {text}" for text in unannounced(intent, before, look(client))]
    assert wrong == []
    assert done > 150  # the others are unknown to older servers


def test_what_only_reads_or_adds_is_not_called_destructive(redis_client: Client) -> None:
    build(redis_client)
    harmless = [
        *(
            "GETEX s",
            "SET d v NX",
            "SET lock v NX PX 500",
            "COPY s new",
            "SORT l ALPHA",
            "GEORADIUS geo 13 38 200 km",
            "XADD x * f v",
        ),
        *(
            "MSETNX d v new v",
            "INCR n",
            "HSET h a 9",
            "RESTORE new 0 payload",
            "KEYS *",
            "BITFIELD bm GET u8 0",
            "DEBUG OBJECT s",
        ),
    ]
    for form in harmless:
        intent = _intent(redis_client, tuple(word.encode() for word in form.split()))
        assert intent.certainty is Certainty.HARMLESS, form


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[int, list[tuple[str, int, bytes]]]:
    """Which form, and what is done to its words."""
    acts = st.tuples(
        st.sampled_from(["replace", "insert", "drop", "case", "nul"]), st.integers(1, 9), st.sampled_from(_WORDS)
    )
    return draw(st.integers(0, 10_000)), draw(st.lists(acts, max_size=3))


def _apply(args: tuple[bytes, ...], acts: list[tuple[str, int, bytes]]) -> tuple[bytes, ...]:
    words = list(args)
    for act, place, word in acts:
        at = 1 + place % max(1, len(words) - 1)
        if at >= len(words) and act != "insert":
            continue
        match act:
            case "replace":
                words[at] = word
            case "insert":
                words.insert(at, word)
            case "drop":
                del words[at]
            case "case":
                words[at] = words[at].swapcase()
            case _:
                words[at] += b"\0" + word
    return tuple(words)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated=_mutated())
def test_no_command_destroys_what_its_intent_did_not_tell(
    redis_client: Client, mutated: tuple[int, list[tuple[str, int, bytes]]]
) -> None:
    client = redis_client
    build(client)
    known = forms(client)
    args = _apply(known[mutated[0] % len(known)], mutated[1])
    intent = _intent(client, args)
    if intent.name in _TOO_FAR:
        return
    before = look(client)
    run(client, args)
    assert unannounced(intent, before, look(client)) == [], (args, intent)


def test_every_command_that_reads_leaves_everything_as_it_is_whatever_it_is_given(redis_client: Client) -> None:
    client = redis_client
    build(client)
    before = look(client)
    names = {row.name for row in load_table() if row.cls is Class.READ} - _TOO_FAR
    for name in sorted(names):
        for words in (
            ["s"],
            ["s", "d"],
            ["l", "0", "-1"],
            ["1", "s"],
            ["2", "s", "d"],
            ["h", "a"],
            ["x", "-", "+"],
            [],
        ):
            pipeline(client, [("MULTI",), (*name.split(" "), *words), ("EXEC",)])
    assert look(client) == before


def test_an_eviction_that_config_set_causes_was_told(redis_client: Client) -> None:
    build(redis_client)
    for form in (
        "CONFIG SET maxmemory-policy allkeys-lru",
        "CONFIG SET maxmemory 1",
        "CONFIG SET slowlog-max-len 1 maxmemory 1",
    ):
        args = tuple(word.encode() for word in form.split())
        intent = _intent(redis_client, args)
        assert (intent.certainty, intent.scope, intent.treatment) == (Certainty.SURE, Scope.SERVER, None)
        if b"slowlog-max-len" not in args:
            redis_client(*args)
    try:
        pipeline(redis_client, [("SET", "one", "more")] * 50)
        assert look(redis_client) == {}
    finally:
        redis_client("CONFIG", "SET", "maxmemory", "0")
        redis_client("CONFIG", "SET", "maxmemory-policy", "noeviction")
