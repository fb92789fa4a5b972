"""Settings become rules, and rules treat commands."""

import pytest

from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.intent import Terms, judge
from go_cache_safeguard.redis.rules import (
    TREATMENTS,
    Rules,
    RulesError,
    parse_overrides,
    parse_patterns,
    parse_scripts,
)
from go_cache_safeguard.redis.tablefile import load_table

TABLE = load_table()
START = Connection()


def _treatment(rules: Rules, call: str, connection: Connection = START) -> Treatment:
    return rules.of_intent(judge([word.encode() for word in call.split()], connection, TABLE, Terms(0)))


def test_every_class_is_treated() -> None:
    assert set(TREATMENTS) == set(Class)


@pytest.mark.parametrize(
    ("call", "treatment"),
    [
        ("GET a", Treatment.PASS),
        ("SET a b", Treatment.PROTECT),
        ("SET a b NX", Treatment.PASS),
        ("LPOP a", Treatment.PROTECT),
        ("EXPIRE a 100", Treatment.PROTECT),
        ("EXPIRE a 0", Treatment.CHECK),
        ("DEL a", Treatment.CHECK),
        ("FLUSHALL", Treatment.HOLD),
        ("CONFIG SET save x", Treatment.HOLD),
        ("CONFIG SET hz 10", Treatment.PASS),
        ("EVAL x 0", Treatment.HOLD),
        ("MONITOR", Treatment.REFUSE),
        ("FROBNICATE", Treatment.HOLD),
    ],
)
def test_calls_are_treated_by_their_class_unless_the_table_says_otherwise(call: str, treatment: Treatment) -> None:
    assert _treatment(Rules(), call) is treatment


def test_a_site_may_say_otherwise_of_classes_and_of_commands() -> None:
    rules = Rules(
        treatments={Class.FLUSHES: Treatment.REFUSE}, overrides={"GET": Treatment.HOLD, "MONITOR": Treatment.PASS}
    )
    assert _treatment(rules, "FLUSHALL") is Treatment.REFUSE
    assert _treatment(rules, "GET a") is Treatment.HOLD
    assert _treatment(rules, "MONITOR") is Treatment.PASS
    assert rules.of_command(TABLE.rows["FLUSHDB"]) is Treatment.REFUSE
    assert rules.of_command(TABLE.rows["DEL"]) is Treatment.CHECK


def test_nothing_makes_an_unknown_command_pass() -> None:
    rules = Rules(
        treatments={Class.UNKNOWN: Treatment.PASS}, overrides={"FROBNICATE": Treatment.PASS, "GET": Treatment.PASS}
    )
    assert _treatment(rules, "FROBNICATE") is Treatment.HOLD
    assert _treatment(rules, "GET a b c") is Treatment.HOLD
    assert _treatment(Rules(treatments={Class.UNKNOWN: Treatment.REFUSE}), "FROBNICATE") is Treatment.REFUSE


def test_a_transaction_is_treated_like_the_worst_in_it() -> None:
    connection = Connection(queued=((b"GET", b"a"), (b"FLUSHALL",), (b"DEL", b"a")))
    assert _treatment(Rules(), "EXEC", connection) is Treatment.HOLD
    assert _treatment(Rules(), "EXEC", Connection(queued=((b"GET", b"a"),))) is Treatment.PASS


def test_words_become_rules() -> None:
    assert [pattern.text for pattern in parse_patterns("session:*\n  re:user:[0-9]+ ")] == [
        "session:*",
        "re:user:[0-9]+",
    ]
    assert parse_overrides("keys=hold Config|Set=check") == {"KEYS": Treatment.HOLD, "CONFIG SET": Treatment.CHECK}
    assert parse_scripts("A" * 40) == {"a" * 40}
    assert (parse_patterns(""), parse_overrides(""), parse_scripts("")) == ((), {}, frozenset())


def test_words_that_make_no_rule_are_named() -> None:
    for text in ("KEYS", "=hold", "KEYS=", "KEYS=maybe"):
        with pytest.raises(RulesError, match="COMMAND=TREATMENT"):
            parse_overrides(text)
    with pytest.raises(RulesError, match="SHA-1"):
        parse_scripts("abc")
    with pytest.raises(RulesError, match=r"'re:\(' *: a \( without"):
        parse_patterns("ok re:(")
