"""Forms that need no judging are judged harmless by `redis.intent`, whatever their words are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.commands import Treatment
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis_py import Guard
from go_cache_safeguard.redis_py.timely import FORMS, timely
from redisface import session

_WORDS = st.sampled_from(
    [
        b"EX",
        b"PX",
        b"NX",
        b"XX",
        b"GET",
        b"KEEPTTL",
        b"EXAT",
        b"1",
        b"0",
        b"2",
        b"60",
        b"-5",
        b"060",
        b"9999999999",
        b"ex",
        b"k",
    ]
)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(session(tmp_path_factory.mktemp("state")))


@given(
    name=st.sampled_from([b"SET", b"SETEX", b"PSETEX", b"EXPIRE", b"PEXPIRE", b"GETEX"]),
    rest=st.lists(_WORDS, max_size=6),
)
def test_what_is_let_through_without_judging_loses_nothing_but_of_its_key(
    guard: Guard, name: bytes, rest: list[bytes]
) -> None:
    args = (name, *rest)
    if guard.is_timely(args):
        intent = guard.judge(args, Connection())
        assert guard.treatment(intent) is Treatment.PASS
        assert {use.key for use in intent.losing} <= {args[1]}


def test_every_form_is_known_as_redis_py_sends_it_and_as_bytes(guard: Guard) -> None:
    for form in FORMS:
        words = form.replace(" t", " 60000").split()
        assert guard.is_timely([word if word != "60000" else 60_000 for word in words]), form
        assert guard.is_timely([word.encode() for word in words]), form


@pytest.mark.parametrize("time", [1, 0, -1, "60", 1.5, True, None, b"060", b"1", 10**30, b"9" * 30])
def test_a_time_that_is_near_or_odd_is_judged(guard: Guard, time: object) -> None:
    assert not guard.is_timely(("SET", "k", "v", "EX", time))
    assert not guard.is_timely((b"SET", b"k", b"v", b"EX", time))


def test_odd_words_are_judged(guard: Guard) -> None:
    assert not guard.is_timely(("SET", "k", "v", bytearray(b"EX"), 60))
    assert not guard.is_timely(("GET",))


def test_a_form_that_a_site_does_not_let_through_is_not_known() -> None:
    nothing = timely(lambda _args: False, 1000)
    assert not any(nothing.knows(form.replace(" t", " 60000").encode().split()) for form in FORMS)
