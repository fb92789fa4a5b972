"""Replies that come in pieces, and commands that go in pieces."""

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.bigvalue import Long, OddReplyError, Plain, Refusal, Replies, in_pieces, take
from go_cache_safeguard.redis.resp import RequestReader
from go_cache_safeguard.redis.trash import Big

REPLIES = st.recursive(
    st.one_of(st.none(), st.binary(max_size=30), st.integers(-9, 10**12), st.just(Refusal("NOPERM no"))),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
MOST = 1 << 20


def _wire(reply: Plain) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case Refusal(text):
            return b"-%b\r\n" % text.encode()
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(_wire, reply))


def _given(data: bytes, length: int) -> Callable[[], bytes]:
    """Bytes that come in pieces of some length, and then no more."""
    pieces: Iterator[bytes] = (data[at : at + length] for at in range(0, len(data), length))
    return lambda: next(pieces)


@given(replies=st.lists(REPLIES, min_size=1), length=st.integers(1, 40))
def test_replies_are_the_same_however_their_bytes_come(replies: list[Plain], length: int) -> None:
    source = Replies(_given(b"".join(map(_wire, replies)), length))
    assert [source.next(MOST) for _ in replies] == replies


@given(text=st.binary(min_size=1, max_size=200), length=st.integers(1, 50), after=REPLIES)
def test_a_long_string_is_handed_on_in_pieces_and_added_up(text: bytes, length: int, after: Plain) -> None:
    source = Replies(_given(_wire(text) + _wire(after), length))
    assert source.next(len(text) - 1) == Long(len(text))
    pieces: list[bytes] = []
    assert take(source, len(text), pieces.append) == Big(len(text), sha256(text).hexdigest())
    assert b"".join(pieces) == text
    assert source.next(MOST) == after


def test_a_long_string_that_nobody_wants_is_read_all_the_same() -> None:
    source = Replies(_given(_wire(b"value") + _wire(7), 3))
    assert source.next(2) == Long(5)
    assert take(source, 5, None).digest == sha256(b"value").hexdigest()
    assert source.next(2) == 7


@pytest.mark.parametrize(
    "data", [b"?what\r\n", b"$x\r\n", b":1.5\r\n", b"$1\r\nabc\r\n", b"*1\r\n$100\r\n", b"\r\n", b"$2\r\nab\n\r"]
)
def test_what_is_no_reply_is_not_taken_for_one(data: bytes) -> None:
    with pytest.raises(OddReplyError):
        Replies(_given(data, 100)).next(50)


def test_a_string_that_does_not_end_where_it_should_is_seen_after_its_last_piece() -> None:
    source = Replies(_given(b"$3\r\nabcdef\r\n", 100))
    assert source.next(1) == Long(3)
    with pytest.raises(OddReplyError):
        take(source, 3, None)


@given(
    before=st.lists(st.binary(max_size=9), min_size=1, max_size=3),
    pieces=st.lists(st.binary(max_size=9), max_size=4),
    after=st.lists(st.binary(max_size=9), max_size=2),
)
def test_a_command_in_pieces_is_the_command(before: list[bytes], pieces: list[bytes], after: list[bytes]) -> None:
    text = b"".join(pieces)
    sent = b"".join(in_pieces(before, len(text), pieces, after))
    (request,) = RequestReader().feed(sent)
    assert request.args == (*before, text, *after)
