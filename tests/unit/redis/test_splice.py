"""Replies go through untouched, except where a mark stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.splice import Expected, Reached, Splice, SpliceBrokenError, frame_of

MARK = b"GUARD-00112233445566778899aabbccddeeff"
OTHER = b"GUARD-ffeeddccbbaa99887766554433221100"
HELD = b"-GUARDHELD op_1 a person decides\r\n"


def _answer(mark: bytes, quotes: str = "''") -> bytes:
    name = quotes[0].encode() + mark + quotes[1].encode()
    return b"-ERR unknown command " + name + b", with args beginning with: \r\n"


def _fed(splice: Splice, *pieces: bytes) -> tuple[bytes, list[Reached]]:
    out, reached = b"", []
    for piece in pieces:
        more, came = splice.feed(piece)
        out += more
        reached += came
    return out, reached


def test_a_mark_is_a_command_of_one_word() -> None:
    assert frame_of(MARK) == b"*1\r\n$38\r\n" + MARK + b"\r\n"


def test_without_a_mark_everything_goes_through_at_once() -> None:
    splice = Splice()
    assert not splice.busy
    assert splice.feed(b"-ERR unknown comm") == (b"-ERR unknown comm", [])
    assert not splice.busy


@pytest.mark.parametrize("quotes", ["''", "`'"])
def test_the_line_that_answers_a_mark_is_replaced(quotes: str) -> None:
    splice = Splice()
    splice.expect(Expected(MARK, HELD))
    assert splice.busy
    assert splice.feed(b"$1\r\na\r\n" + _answer(MARK, quotes) + b":1\r\n") == (
        b"$1\r\na\r\n" + HELD + b":1\r\n",
        [Reached(MARK)],
    )
    assert not splice.busy


def test_no_byte_waits_that_cannot_belong_to_the_line() -> None:
    splice = Splice()
    splice.expect(Expected(MARK, HELD))
    assert splice.feed(b"$3\r\na-b\r\n") == (b"$3\r\na-b\r\n", [])
    assert splice.feed(b"-ERR wrong\r\n-ERR unk") == (b"-ERR wrong\r\n", [])
    assert splice.feed(b"nown command 'x'\r\n") == (b"-ERR unknown command 'x'\r\n", [])


@given(st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(data: st.DataObject) -> None:
    replies = data.draw(st.lists(st.sampled_from([b":1\r\n", b"$4\r\n-ERR\r\n", b"*1\r\n+x\r\n", b"-ERR unknown\r\n"])))
    at = data.draw(st.integers(0, len(replies)))
    before, after = b"".join(replies[:at]), b"".join(replies[at:])
    stream = before + _answer(MARK) + after + _answer(OTHER)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    splice = Splice()
    splice.expect(Expected(MARK, HELD))
    splice.expect(Expected(OTHER))
    assert _fed(splice, *pieces) == (before + HELD + after, [Reached(MARK), Reached(OTHER)])


def test_what_stands_between_two_marks_is_swallowed_but_messages_are_not() -> None:
    stream = (
        b"+QUEUED\r\n"
        + _answer(MARK)
        + b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n"
        + b"+OK\r\n"
        + _answer(OTHER)
        + b":7\r\n"
    )
    for step in (1, 3, len(stream)):
        splice = Splice()
        splice.expect(Expected(MARK, swallow=1))
        splice.expect(Expected(OTHER, HELD))
        pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
        out, reached = _fed(splice, *pieces)
        assert out == b"+QUEUED\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n" + HELD + b":7\r\n"
        assert reached == [Reached(MARK), Reached(OTHER)]


def test_an_observed_reply_is_told_and_still_goes_to_the_client() -> None:
    splice = Splice()
    splice.expect(Expected(MARK, observe=True))
    assert splice.feed(_answer(MARK) + b"-NOPERM no\r\n:1\r\n") == (
        b"-NOPERM no\r\n:1\r\n",
        [Reached(MARK, b"-NOPERM no\r\n")],
    )


def test_a_mark_anywhere_else_ends_the_connection() -> None:
    splice = Splice()
    splice.expect(Expected(MARK, HELD))
    with pytest.raises(SpliceBrokenError):
        splice.feed(b"$38\r\n" + MARK + b"\r\n")


def test_what_is_no_reply_behind_a_mark_ends_the_connection() -> None:
    splice = Splice()
    splice.expect(Expected(MARK, swallow=1))
    with pytest.raises(SpliceBrokenError):
        splice.feed(_answer(MARK) + b"what\r\n")


def test_a_line_that_never_ends_ends_the_connection() -> None:
    splice = Splice()
    splice.expect(Expected(MARK, HELD))
    with pytest.raises(SpliceBrokenError):
        splice.feed(_answer(MARK)[:-2] + b"x" * 2_000)
