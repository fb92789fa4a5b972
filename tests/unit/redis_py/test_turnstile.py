"""What is sent together is asked about together."""

from pathlib import Path

import pytest

from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis_py.errors import OperationRefused, OutcomeUnknown
from go_cache_safeguard.redis_py.turnstile import PASSED, Passage, Shape, Turnstile
from redisface import guard


@pytest.fixture
def turnstile(tmp_path: Path) -> Turnstile:
    return Turnstile(guard(tmp_path))


def _wire(text: str) -> bytes:
    return b"".join(encode(tuple(word.encode() for word in line.split())) for line in text.split("|"))


def _weigh(turnstile: Turnstile, text: str) -> Passage:
    passage = turnstile.weigh(_wire(text))
    turnstile.sent(passage)
    return passage


def _db(turnstile: Turnstile) -> int | None:
    return turnstile.state.db


def _asked(passage: Passage) -> tuple[bytes, ...]:
    assert passage.ask is not None
    return tuple(b" ".join(words) for words in passage.ask[0].commands)


@pytest.mark.parametrize(
    ("text", "shape", "commands"),
    [
        ("DEL a", Shape.CALL, (b"DEL a",)),
        ("GET a|DEL a", Shape.PIPELINE, (b"GET a", b"DEL a")),
        ("MULTI|GET a|DEL a|EXEC", Shape.TRANSACTION, (b"GET a", b"DEL a")),
        ("MULTI|DEL a", Shape.PIPELINE, None),
        ("GET a|MULTI|DEL a|EXEC", Shape.PIPELINE, None),
    ],
)
def test_a_call_a_pipeline_and_a_transaction_are_asked_about_as_a_whole(
    turnstile: Turnstile, text: str, shape: Shape, commands: tuple[bytes, ...] | None
) -> None:
    if commands is None:
        with pytest.raises(OperationRefused, match="by itself"):
            turnstile.weigh(_wire(text))
        return
    passage = turnstile.weigh(_wire(text))
    assert passage.shape is shape
    assert passage.risky
    assert _asked(passage) == commands


def test_a_transaction_call_by_call_is_asked_about_at_exec(turnstile: Turnstile) -> None:
    _weigh(turnstile, "SELECT 3")
    _weigh(turnstile, "MULTI")
    turnstile.agreed()
    assert _weigh(turnstile, "DEL a").ask is None
    passage = turnstile.weigh(_wire("EXEC"))
    assert passage.shape is Shape.EXEC
    assert _asked(passage) == (b"DEL a",)
    assert passage.ask is not None
    assert (passage.ask[0].transaction, passage.ask[0].db) == (True, 3)


def test_after_an_error_inside_of_a_transaction_the_connection_has_to_be_closed(turnstile: Turnstile) -> None:
    for word in ("EXEC", "MULTI", "SELECT 1", "DISCARD"):
        _weigh(turnstile, "MULTI")
        turnstile.agreed()
        _weigh(turnstile, "DEL a")
        _weigh(turnstile, word)
        assert turnstile.disagreed(), word
        turnstile.closed()


def test_a_part_of_a_transaction_in_a_pipeline_is_refused(turnstile: Turnstile) -> None:
    for text in ("GET a|MULTI", "MULTI|GET a"):
        with pytest.raises(OperationRefused, match="by itself"):
            turnstile.weigh(_wire(text))
    _weigh(turnstile, "MULTI")
    turnstile.agreed()
    for text in ("GET a|EXEC", "GET a|SET a b"):
        with pytest.raises(OperationRefused, match="by itself"):
            turnstile.weigh(_wire(text))


def test_after_a_refused_multi_calls_are_asked_about_at_once(turnstile: Turnstile) -> None:
    _weigh(turnstile, "MULTI")
    turnstile.disagreed()
    assert _asked(turnstile.weigh(_wire("DEL a"))) == (b"DEL a",)


def test_as_long_as_nobody_saw_multi_agreed_to_calls_are_asked_about_at_once(turnstile: Turnstile) -> None:
    _weigh(turnstile, "MULTI")
    turnstile.before = None  # the next call was sent before the reply was read
    assert _asked(_weigh(turnstile, "DEL a")) == (b"DEL a",)
    assert _asked(turnstile.weigh(_wire("EXEC"))) == (b"DEL a",)


def test_a_select_that_the_server_refused_is_forgotten(turnstile: Turnstile) -> None:
    _weigh(turnstile, "SELECT 3")
    turnstile.agreed()
    _weigh(turnstile, "SELECT 99")
    turnstile.disagreed()
    assert _db(turnstile) == 3
    _weigh(turnstile, "SELECT 4|GET a")
    turnstile.disagreed()
    assert _db(turnstile) is None
    turnstile.closed()
    assert _db(turnstile) == 0


def test_what_is_never_done_is_refused_with_all_that_comes_with_it(turnstile: Turnstile) -> None:
    with pytest.raises(OperationRefused, match="MONITOR"):
        turnstile.weigh(_wire("GET a|MONITOR"))
    for data in (b"PING\r\n", b"*1\r\n$4\r\nPI", b"*2\r\n$3\r\nGET\r\n$1\r\naXX", b""):
        with pytest.raises(OperationRefused, match="nothing was sent"):
            turnstile.weigh(data)


def test_calls_that_were_allowed_together_are_not_asked_about_again(turnstile: Turnstile) -> None:
    token = PASSED.set(frozenset({(b"DEL", b"a")}))
    try:
        assert turnstile.weigh(_wire("DEL a")).ask is None
        assert turnstile.weigh(_wire("DEL b")).ask is not None
    finally:
        PASSED.reset(token)


def test_what_redis_py_says_of_itself_is_not_asked_about(turnstile: Turnstile) -> None:
    assert turnstile.weigh(_wire("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip")).ask is None
    with pytest.raises(OperationRefused):
        turnstile.weigh(_wire("CLIENT MAINT_NOTIFICATIONS ALL"))


def test_one_reply_of_the_guard_becomes_the_replies_that_a_caller_waits_for(turnstile: Turnstile) -> None:
    assert turnstile.weigh(_wire("DEL a")).replies(b":1\r\n") == [b":1\r\n"]
    transaction = turnstile.weigh(_wire("MULTI|GET a|DEL a|EXEC"))
    assert transaction.replies(b"*2\r\n+x\r\n:1\r\n") == [
        b"+OK\r\n",
        b"+QUEUED\r\n",
        b"+QUEUED\r\n",
        b"*2\r\n+x\r\n:1\r\n",
    ]
    assert transaction.replies(b"_\r\n")[-2:] == [b"+QUEUED\r\n", b"_\r\n"]
    pipeline = turnstile.weigh(_wire("GET a|DEL a"))
    assert pipeline.replies(b"*2\r\n$1\r\nx\r\n:1\r\n") == [b"$1\r\nx\r\n", b":1\r\n"]
    assert pipeline.replies(b"-ERR no\r\n") == [b"-ERR no\r\n"] * 2
    with pytest.raises(OutcomeUnknown):
        pipeline.replies(b"*1\r\n:1\r\n")
