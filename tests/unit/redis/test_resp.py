"""Requests are read strictly, replies are measured, and a request has one form."""

import pytest

from go_cache_safeguard.redis.resp import (
    UNAUTHENTICATED,
    Limits,
    Malformed,
    Reply,
    Request,
    RequestReader,
    Wrong,
    encode,
    scan_reply,
    split_line,
)

ANY = Limits()
GET = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"


def _read(data: bytes, limits: Limits = ANY) -> tuple[list[Request], Malformed | None]:
    reader = RequestReader(limits)
    return reader.feed(data), reader.refused


def test_commands_come_out_in_order_with_their_length() -> None:
    assert _read(GET + GET) == ([Request((b"GET", b"k"), len(GET))] * 2, None)


def test_an_incomplete_command_waits() -> None:
    reader = RequestReader()
    assert reader.feed(GET[:-1]) == []
    assert reader.pending == len(GET) - 1
    assert reader.feed(b"\n") == [Request((b"GET", b"k"), len(GET))]
    assert reader.pending == 0


@pytest.mark.parametrize(
    ("data", "wrong", "at"),
    [
        (b"GET k\r\n", Wrong.INLINE, 0),
        (b"\x00", Wrong.INLINE, 0),
        (b"*0\r\n", Wrong.EMPTY, 4),
        (b"*-1\r\n", Wrong.HEADER, 0),
        (b"*+2\r\n", Wrong.HEADER, 0),
        (b"*02\r\n", Wrong.HEADER, 0),
        (b"* 2\r\n", Wrong.HEADER, 0),
        (b"*2\n", Wrong.HEADER, 0),
        (b"*2\rX\n", Wrong.HEADER, 0),
        (b"*99999999999\r\n", Wrong.HEADER, 0),
        (b"*9999999999999999999999", Wrong.HEADER, 0),
        (b"*9999999999\r\n", Wrong.TOO_MANY, 13),
        (b"*1\r\n:3\r\n", Wrong.HEADER, 4),
        (b"*1\r\n$-1\r\n", Wrong.HEADER, 4),
        (b"*1\r\n$999999999\r\n", Wrong.TOO_LARGE, 16),
        (b"*1\r\n$3\r\nGETX", Wrong.END, 8),
        (b"*1\r\n$3\r\nGET\rX", Wrong.END, 8),
        (GET + b"FLUSHALL\r\n", Wrong.INLINE, len(GET)),
    ],
)
def test_what_is_not_canonical_ends_the_reading_at_its_place(data: bytes, wrong: Wrong, at: int) -> None:
    assert _read(data)[1] == Malformed(wrong, at)


def test_nothing_is_read_after_something_malformed() -> None:
    reader = RequestReader()
    reader.feed(b"*0\r\n")
    assert reader.feed(GET) == []


def test_a_connection_that_did_not_log_in_may_send_little() -> None:
    assert _read(encode((b"X",) * 11), UNAUTHENTICATED)[1] == Malformed(Wrong.TOO_MANY, 5)
    assert _read(encode((b"X" * 16_385,)), UNAUTHENTICATED)[1] == Malformed(Wrong.TOO_LARGE, 12)
    reader = RequestReader(UNAUTHENTICATED)
    reader.set_limits(Limits())
    assert len(reader.feed(encode((b"X",) * 11))) == 1


def test_an_inline_command_is_read_when_it_is_allowed_and_says_that_it_was_one() -> None:
    assert _read(b"SET a 'b c'\r\n\r\n" + GET, Limits(inline=True)) == (
        [
            Request((b"SET", b"a", b"b c"), 13, inline=True),
            Request((), 2, inline=True),
            Request((b"GET", b"k"), len(GET)),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"DEL k\n", Wrong.LINE),
        (b"DEL\tk\r\n", Wrong.LINE),
        (b"DEL 'k\r\n", Wrong.QUOTES),
        (b"GET " + b"k" * 70_000, Wrong.TOO_LARGE),
    ],
)
def test_an_inline_command_that_servers_read_in_several_ways_is_refused(line: bytes, wrong: Wrong) -> None:
    assert _read(line, Limits(inline=True))[1] == Malformed(wrong, 0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", ()),
        (b"  DEL   k ", (b"DEL", b"k")),
        (b'"D\\x45L" k', (b"DEL", b"k")),
        (b'DE"L" k', (b"DEL", b"k")),
        (b"\"\\n\\r\\t\\b\\a\\q\\\"\\\\\" 'it\\'s \\n'", (b'\n\r\t\b\aq"\\', b"it's \\n")),
        (b'"\\x4" ""', (b"x4", b"")),
        (b'"a"b', Wrong.QUOTES),
        (b'"a', Wrong.QUOTES),
        (b'"a\\', Wrong.QUOTES),
        (b"'a'b", Wrong.QUOTES),
        (b"a\rb", Wrong.LINE),
        (b"a\0b", Wrong.LINE),
        (b"POST / HTTP/1.1", Wrong.WEB),
        (b"host: x", Wrong.WEB),
    ],
)
def test_a_line_is_split_as_a_server_splits_it(line: bytes, words: tuple[bytes, ...] | Wrong) -> None:
    assert split_line(line) == words


def test_encoding_is_what_reading_undoes() -> None:
    args = (b"SET", b"", b"\r\n$1\r\n")
    assert _read(encode(args))[0][0].args == args


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"+OK\r\n", b"+"),
        (b"-ERR x\r\n", b"-"),
        (b":-1\r\n", b":"),
        (b"$-1\r\n", b"$"),
        (b"$0\r\n\r\n", b"$"),
        (b"$2\r\n\r\n\r\n", b"$"),
        (b"*-1\r\n", b"*"),
        (b"*0\r\n", b"*"),
        (b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n", b"*"),
        (b"%1\r\n+k\r\n~1\r\n#t\r\n", b"%"),
        (b"_\r\n", b"_"),
        (b",1.5\r\n", b","),
        (b"(123\r\n", b"("),
        (b"!3\r\nERR\r\n", b"!"),
        (b"=7\r\ntxt:abc\r\n", b"="),
        (b">2\r\n+message\r\n+x\r\n", b">"),
        (b"|1\r\n+ttl\r\n:3600\r\n:42\r\n", b":"),
        (b"*1\r\n|1\r\n+a\r\n+b\r\n+x\r\n", b"*"),
    ],
)
def test_a_reply_ends_where_it_ends_and_nowhere_before(reply: bytes, kind: bytes) -> None:
    assert scan_reply(b"xx" + reply + b"+more\r\n", 2) == Reply(len(reply), kind)
    for cut in range(len(reply)):
        assert scan_reply(reply[:cut]) is None, cut


@pytest.mark.parametrize(
    "reply",
    [
        b"?\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"*01\r\n",
        b"~-1\r\n",
        b"+a\rb\r\n",
        b"+a\nb\r\n",
        b"$1\r\nabc",
        b"*1\r\nx",
        b"+" + b"a" * 70_000,
    ],
)
def test_a_reply_that_resp_does_not_have_is_malformed(reply: bytes) -> None:
    found = scan_reply(reply)
    assert isinstance(found, Malformed)
    assert found.wrong is Wrong.REPLY


def test_depth_costs_nothing_but_time() -> None:
    deep = b"*1\r\n" * 50_000 + b":1\r\n"
    assert scan_reply(deep) == Reply(len(deep), b"*")
