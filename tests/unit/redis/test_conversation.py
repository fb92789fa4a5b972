"""What reaches the server, what the client reads, and when the gate is asked, byte by byte."""

from functools import partial

import pytest

from go_cache_safeguard.redis.call import Held, Pass
from go_cache_safeguard.redis.checks.names import may_lose
from go_cache_safeguard.redis.commands import Class, Treatment
from go_cache_safeguard.redis.conversation import Conversation, Setting
from go_cache_safeguard.redis.fast import KeysSeen, fast_calls
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis.rules import TREATMENTS, Rules, parse_patterns
from go_cache_safeguard.redis.splice import frame_of
from go_cache_safeguard.redis.tablefile import load_table

TABLE = load_table()
NOW = 1_700_000_000_000
MARKS = [b"GUARD-" + b"%032x" % at for at in range(9)]
GET = encode((b"GET", b"k"))
SET = encode((b"SET", b"k", b"v"))
DEL = encode((b"DEL", b"k"))
MULTI, EXEC, DISCARD = encode((b"MULTI",)), encode((b"EXEC",)), encode((b"DISCARD",))
HELD = Held("op_1", "why")


def _answer(at: int) -> bytes:
    return b"-ERR unknown command '" + MARKS[at] + b"', with args beginning with: \r\n"


def _talk(rules: Rules | None = None, *, stream_bytes: int = 256 << 10, queued_bytes: int = 64 << 20) -> Conversation:
    rules = rules or Rules()
    ok = partial(may_lose, rules=rules)
    fast = fast_calls(TABLE, rules)
    setting = Setting(TABLE, rules, fast, ok, stream_bytes=stream_bytes, queued_bytes=queued_bytes)
    numbers = iter(range(len(MARKS)))
    return Conversation(
        setting, KeysSeen(ok), lambda size: next(numbers).to_bytes(size, "big"), lambda: NOW, "somewhere"
    )


def test_harmless_bytes_are_sent_on_as_the_very_same_object() -> None:
    talk = _talk()
    data = GET + SET
    assert talk.client_sent(data) is data
    assert talk.lane.plain
    assert talk.idle


def test_a_request_in_pieces_is_sent_on_when_it_is_whole() -> None:
    talk = _talk()
    assert b"".join(talk.client_sent(GET[at : at + 1]) for at in range(len(GET))) == GET
    assert talk.idle


def test_before_the_gate_is_asked_everything_sent_before_is_done() -> None:
    talk = _talk()
    assert talk.client_sent(GET + DEL + GET) == GET + frame_of(MARKS[0])
    assert not talk.reads
    assert talk.server_sent(b"$1\r\nv\r\n") == b"$1\r\nv\r\n"
    assert talk.go_on() == b""
    assert talk.server_sent(_answer(0)) == b""
    assert talk.go_on() == b""
    assert talk.asked is not None
    call, intent = talk.asked
    assert call.commands == ((b"DEL", b"k"),)
    assert call.client == "somewhere"
    assert intent.name == "DEL"


def test_what_the_gate_lets_through_is_sent_with_what_came_after_it() -> None:
    talk = _talk()
    talk.client_sent(DEL + GET)
    talk.server_sent(_answer(0))
    talk.go_on()
    assert talk.decided(Pass()) == DEL + GET
    assert talk.idle


def test_a_held_call_is_answered_in_its_place() -> None:
    talk = _talk()
    talk.client_sent(DEL + GET)
    talk.server_sent(_answer(0))
    talk.go_on()
    assert talk.decided(HELD) == frame_of(MARKS[1]) + GET
    assert talk.server_sent(_answer(1) + b"$-1\r\n") == b"-GUARDHELD op_1 why\r\n$-1\r\n"


def test_a_late_decision_sends_nothing_twice() -> None:
    talk = _talk()
    talk.client_sent(DEL)
    talk.server_sent(_answer(0))
    talk.go_on()
    assert talk.decided(Pass()) == DEL
    assert talk.decided(Pass()) == b""


def test_a_transaction_is_sent_on_and_held_at_its_end() -> None:
    talk = _talk()
    first = frame_of(MARKS[0]) + MULTI
    assert talk.client_sent(MULTI + SET + DEL + EXEC + GET) == first + SET
    assert talk.server_sent(_answer(0) + b"+OK\r\n+QUEUED\r\n") == b"+OK\r\n+QUEUED\r\n"
    assert talk.go_on() == DEL
    assert talk.asked is not None
    assert talk.asked[0].commands == ((b"SET", b"k", b"v"), (b"DEL", b"k"))
    assert talk.asked[0].transaction
    assert talk.decided(HELD) == frame_of(MARKS[1]) + DISCARD + frame_of(MARKS[2]) + GET
    said = talk.server_sent(b"+QUEUED\r\n" + _answer(1) + b"+OK\r\n" + _answer(2) + b"$-1\r\n")
    assert said == b"+QUEUED\r\n-GUARDHELD op_1 why\r\n$-1\r\n"


def test_after_a_refused_multi_nothing_counts_as_queued() -> None:
    talk = _talk()
    talk.client_sent(MULTI + SET + DEL)
    talk.server_sent(_answer(0) + b"-NOPERM no\r\n+OK\r\n")
    talk.go_on()
    assert talk.asked is not None
    assert not talk.asked[0].transaction


def test_exec_without_multi_is_never_sent() -> None:
    talk = _talk()
    assert talk.client_sent(EXEC) == frame_of(MARKS[0])
    assert talk.server_sent(_answer(0)) == b"-ERR EXEC without MULTI\r\n"


def test_a_reply_that_cannot_be_told_from_a_message_ends_the_connection() -> None:
    talk = _talk()
    talk.client_sent(encode((b"SELECT", b"1")))
    talk.server_sent(_answer(0) + b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n")
    assert talk.over
    assert "cannot be told" in talk.why


def test_a_retry_names_the_operation_and_is_judged_as_the_call_it_holds() -> None:
    talk = _talk()
    talk.client_sent(encode((b"guard", b"retry", b"op_7", b"DEL", b"k")))
    talk.server_sent(_answer(0))
    talk.go_on()
    assert talk.asked is not None
    assert (talk.asked[0].op, talk.asked[0].commands) == ("op_7", ((b"DEL", b"k"),))
    assert talk.decided(Pass()) == DEL


def test_a_guard_command_that_is_none_is_answered() -> None:
    talk = _talk()
    talk.client_sent(encode((b"GUARD", b"what")))
    assert talk.server_sent(_answer(0)) == b"-ERR GUARD RETRY operation command [argument ...]\r\n"


def test_keys_that_are_not_protected_are_looked_at_once() -> None:
    talk = _talk(Rules(protect=parse_patterns("session:*")))
    fine = encode((b"SET", b"page:1", b"v"))
    held = encode((b"SET", b"session:1", b"v"))
    assert talk.client_sent(fine + fine) == fine + fine
    assert talk.client_sent(fine + held + fine) == fine + frame_of(MARKS[0])


@pytest.mark.parametrize(
    "request_", [(b"APPEND", b"session:1", b"v"), (b"MSETNX", b"page:1", b"v", b"session:1", b"v")]
)
def test_where_the_site_wants_keys_left_as_they_are_adding_to_them_is_asked_about(request_: tuple[bytes, ...]) -> None:
    protect = parse_patterns("session:*")
    data = encode(request_)
    assert _talk(Rules(protect=protect)).client_sent(data) == data
    strict = Rules(treatments={**TREATMENTS, Class.WRITE: Treatment.PROTECT}, protect=protect)
    assert _talk(strict).client_sent(data) == frame_of(MARKS[0])


def test_other_rules_count_from_the_next_request_on() -> None:
    talk = _talk()
    assert talk.client_sent(SET) == SET
    rules = Rules(protect=parse_patterns("k"))
    ok = partial(may_lose, rules=rules)
    talk.replace_setting(Setting(TABLE, rules, fast_calls(TABLE, rules), ok), KeysSeen(ok))
    assert talk.client_sent(SET) == frame_of(MARKS[0])


@pytest.mark.parametrize("name", [b"SET", b"APPEND", b"LPUSH"])
def test_a_large_value_is_sent_on_in_pieces_and_its_end_is_looked_at(name: bytes) -> None:
    request = encode((name, b"k", b"x" * 100))
    talk = _talk(stream_bytes=10)
    sent = [talk.client_sent(request[at : at + 7]) for at in range(0, len(request), 7)]
    assert b"".join(sent) == request
    assert sum(map(bool, sent)) > 10
    assert talk.idle
    talk = _talk(stream_bytes=10)
    talk.client_sent(request[:60])
    assert talk.client_sent(request[60:-2] + b"\rX") == b""
    assert talk.over


def test_a_large_value_with_options_behind_it_is_read_whole() -> None:
    talk = _talk(stream_bytes=10)
    request = encode((b"SET", b"k", b"x" * 100, b"EX", b"0"))
    assert talk.client_sent(request[:-10]) == b""
    assert talk.client_sent(request[-10:]) == frame_of(MARKS[0])


def test_a_transaction_may_not_grow_without_end() -> None:
    talk = _talk(queued_bytes=1_000)
    talk.client_sent(MULTI)
    talk.server_sent(_answer(0) + b"+OK\r\n")
    for _ in range(10):
        talk.client_sent(SET)
    assert not talk.reads
    assert "transaction" in talk.why
