"""What a call would do, going by its words alone. Real servers confirm it in tests/real/test_redis_effects.py."""

from hashlib import sha1

import pytest

from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Certainty, Intent, KeyUse, Loss, Scope, Terms, judge
from go_cache_safeguard.redis.tablefile import load_table

START = Connection()
NOW = 1_700_000_000_000
TERMS = Terms(NOW, scripts=frozenset({sha1(b"return(1)", usedforsecurity=False).hexdigest()}))


def _judge(text: str, connection: Connection = START) -> Intent:
    return judge([word.encode() for word in text.split(" ")], connection, load_table(), TERMS)


@pytest.mark.parametrize(
    ("call", "cls", "losses"),
    [
        ("GET a", Class.READ, ""),
        ("DEL a b", Class.REMOVES, "a:REMOVED b:REMOVED"),
        ("RENAME a b", Class.REMOVES, "a:REMOVED b:OVERWRITTEN"),
        ("RENAMENX a b", Class.REMOVES, "a:REMOVED"),
        ("SMOVE a b m", Class.EMPTIES, "a:EMPTIED"),
        ("SET a v", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("SET a v NX PX 10", Class.WRITE, ""),
        ("SET a v IFEQ NX", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("SET a v PX 1000", Class.REMOVES, "a:REMOVED"),
        ("SET a v px\0 1000", Class.REMOVES, "a:REMOVED"),
        ("SET a v PX 1001", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("SET a v EX", Class.REMOVES, "a:REMOVED"),
        ("SET a v EXAT 1700000000", Class.REMOVES, "a:REMOVED"),
        ("SET a v EXAT 1700000002", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("SETEX a 1 v", Class.REMOVES, "a:REMOVED"),
        ("SETEX a 2 v", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("PSETEX a 999 v", Class.REMOVES, "a:REMOVED"),
        ("MSETEX 2 a 1 b 2 NX", Class.WRITE, ""),
        ("MSETEX 2 a NX b NX", Class.OVERWRITES, "a:OVERWRITTEN b:OVERWRITTEN"),
        ("MSETEX 1 a 1 PXAT 1 XX", Class.REMOVES, "a:REMOVED"),
        ("EXPIRE a -1", Class.REMOVES, "a:REMOVED"),
        ("EXPIRE a x", Class.REMOVES, "a:REMOVED"),
        ("EXPIRE a 100 NX", Class.EXPIRES, "a:EXPIRES"),
        ("PEXPIREAT a 1", Class.REMOVES, "a:REMOVED"),
        ("PEXPIREAT a 1700000099000", Class.EXPIRES, "a:EXPIRES"),
        ("HEXPIRE a 0 FIELDS 1 f", Class.EMPTIES, "a:EMPTIED"),
        ("HPEXPIREAT a 1700000099000 FIELDS 1 f", Class.EXPIRES, "a:EXPIRES"),
        ("GETEX a", Class.READ, ""),
        ("GETEX a PERSIST", Class.EXPIRES, "a:EXPIRES"),
        ("GETEX a PXAT 1", Class.REMOVES, "a:REMOVED"),
        ("GETEX a EX 100", Class.EXPIRES, "a:EXPIRES"),
        ("INCREX a BYINT 5", Class.WRITE, ""),
        ("INCREX a EXAT 1", Class.REMOVES, "a:REMOVED"),
        ("HGETEX a FIELDS 1 f", Class.READ, ""),
        ("HSETEX a EXAT 1 FIELDS 1 f v", Class.EMPTIES, "a:EMPTIED"),
        ("COPY a b", Class.WRITE, ""),
        ("COPY a b rePlace", Class.OVERWRITES, "b:OVERWRITTEN"),
        ("RESTORE a 0 payload", Class.WRITE, ""),
        ("RESTORE a 0 payload REPLACE", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("RESTORE a 1 payload ABSTTL REPLACE", Class.REMOVES, "a:REMOVED"),
        ("RESTORE a 0 REPLACE", Class.WRITE, ""),
        ("SORT a", Class.READ, ""),
        ("SORT a BY STORE STORE b STORE c", Class.OVERWRITES, "b:OVERWRITTEN c:OVERWRITTEN"),
        ("SORT a STORE", Class.READ, ""),
        ("GEORADIUS a 1 2 3 km STOREDIST b", Class.OVERWRITES, "b:OVERWRITTEN"),
        ("XADD a * f v", Class.WRITE, ""),
        ("XADD a MAXLEN 1 * f v", Class.EMPTIES, "a:EMPTIED"),
        ("MIGRATE h 1 a 0 9", Class.REMOVES, "a:REMOVED"),
        ("MIGRATE h 1 a 0 9 COPY", Class.READ, ""),
        ("MIGRATE h 1 a 0 9 COPY REPLACE", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("MIGRATE h 1  0 9 AUTH KEYS KEYS a KEYS", Class.REMOVES, "a:REMOVED KEYS:REMOVED"),
        ("MIGRATE h 1 a 0 9 KEYS b", Class.REMOVES, "a:REMOVED b:REMOVED"),
        ("SETRANGE a 0 x", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("LPOP a", Class.EMPTIES, "a:EMPTIED"),
        ("SUNIONSTORE a b c", Class.OVERWRITES, "a:OVERWRITTEN"),
        ("EVAL return(1) 1 a", Class.SCRIPT, "a:OVERWRITTEN"),
        ("XREADGROUP GROUP g c STREAMS a >", Class.WRITE, ""),
    ],
)
def test_a_call_is_what_its_options_make_it(call: str, cls: Class, losses: str) -> None:
    intent = _judge(call)
    assert intent.cls is cls
    assert " ".join(f"{use.key.decode()}:{use.loss.name}" for use in intent.losing) == losses


@pytest.mark.parametrize(
    ("call", "certainty", "scope"),
    [
        ("GET a", Certainty.HARMLESS, Scope.KEYS),
        ("SET a b", Certainty.CONDITIONAL, Scope.KEYS),
        ("UNLINK a", Certainty.SURE, Scope.KEYS),
        ("FLUSHDB", Certainty.SURE, Scope.DATABASE),
        ("flushall async", Certainty.SURE, Scope.DATA_SET),
        ("SWAPDB 0 1", Certainty.SURE, Scope.DATA_SET),
        ("SCRIPT FLUSH", Certainty.SURE, Scope.CODE),
        ("FUNCTION DELETE x", Certainty.SURE, Scope.CODE),
        ("SHUTDOWN NOSAVE", Certainty.SURE, Scope.SERVER),
        ("EVAL x 0", Certainty.SURE, Scope.ANYTHING),
        ("FROBNICATE", Certainty.SURE, Scope.ANYTHING),
        ("GET", Certainty.SURE, Scope.ANYTHING),
        ("GET a b", Certainty.SURE, Scope.ANYTHING),
        ("BLMPOP 0 x a LEFT", Certainty.SURE, Scope.ANYTHING),
        ("ZUNIONSTORE d 9 a", Certainty.SURE, Scope.ANYTHING),
        ("MIGRATE h 1  0 9 KEYS", Certainty.SURE, Scope.ANYTHING),
    ],
)
def test_how_sure_and_how_far(call: str, certainty: Certainty, scope: Scope) -> None:
    intent = _judge(call)
    assert (intent.certainty, intent.scope) == (certainty, scope)


@pytest.mark.parametrize(
    ("call", "treatment"),
    [
        ("CONFIG SET slowlog-max-len 1", Treatment.PASS),
        ("CONFIG SET slowlog-max-len 1 maxmemory 1", None),
        ("CONFIG SET maxmemory\0x 1", None),
        ("EVAL return(1) 0", Treatment.PROTECT),
        ("EVAL return(2) 0", None),
        (f"EVALSHA {sha1(b'return(1)', usedforsecurity=False).hexdigest().upper()} 0", Treatment.PROTECT),
        ("MONITOR", Treatment.REFUSE),
        ("CLIENT REPLY OFF", Treatment.REFUSE),
        ("SLOWLOG RESET", Treatment.PASS),
        ("DEBUG OBJECT a", None),
    ],
)
def test_what_the_table_or_a_list_wants_of_a_call(call: str, treatment: Treatment | None) -> None:
    assert _judge(call).treatment is treatment


def test_keys_know_their_database() -> None:
    assert _judge("COPY a b DB 5 REPLACE", Connection(db=3)).uses == (
        KeyUse(b"a", 3, Loss.NONE),
        KeyUse(b"b", 5, Loss.OVERWRITTEN),
    )
    assert _judge("DEL a", Connection(db=None)).uses == (KeyUse(b"a", None, Loss.REMOVED),)


def test_a_key_that_is_named_twice_loses_the_worse_of_both() -> None:
    assert [use.key for use in _judge("SMOVE a b m").changing] == [b"a", b"b"]
    assert _judge("RENAME a a").losing == (KeyUse(b"a", 0, Loss.REMOVED),)


def test_a_transaction_is_judged_as_a_whole() -> None:
    queued = ((b"GET", b"a"), (b"SELECT", b"4"), (b"DEL", b"b"), (b"SET", b"c", b"1"))
    intent = _judge("EXEC", Connection(db=2, queued=queued, before=2))
    assert (intent.name, intent.cls, intent.certainty) == ("EXEC", Class.REMOVES, Certainty.SURE)
    assert intent.losing == (KeyUse(b"b", 4, Loss.REMOVED), KeyUse(b"c", 4, Loss.OVERWRITTEN))
    assert [part.name for part in intent.parts] == ["GET", "SELECT", "DEL", "SET"]


def test_an_empty_transaction_and_one_that_never_began_are_harmless() -> None:
    assert _judge("EXEC", Connection(queued=())).certainty is Certainty.HARMLESS
    assert _judge("EXEC").certainty is Certainty.HARMLESS
