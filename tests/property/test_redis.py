"""Requests and replies under any cuts, patterns under an oracle, intents under any words."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from go_cache_safeguard.core.pattern import PatternError, parse_regex
from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.connection import Connection, advance
from go_cache_safeguard.redis.intent import Certainty, Terms, judge
from go_cache_safeguard.redis.resp import Limits, Malformed, Reply, RequestReader, encode, scan_reply
from go_cache_safeguard.redis.tablefile import load_table

_COMMAND = st.lists(st.binary(max_size=8), min_size=1, max_size=5).map(tuple)
_NOISE = st.lists(
    st.sampled_from([b"*", b"$", b"1", b"2", b"0", b"-1", b"\r\n", b"\r", b"\n", b"a", b" ", b'"', b"'", b"\\x41"])
).map(b"".join)
_STREAM = st.lists(st.one_of(_COMMAND.map(encode), _NOISE), max_size=5).map(b"".join)


@given(data=_STREAM, cuts=st.lists(st.integers(0, 200), max_size=6), inline=st.booleans())
def test_a_stream_reads_the_same_however_it_is_cut(data: bytes, cuts: list[int], *, inline: bool) -> None:
    limits = Limits(arguments=4, argument_bytes=6, request_bytes=20, inline=inline, inline_bytes=24)
    whole = RequestReader(limits)
    expected = whole.feed(data)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for pieces in (places, range(len(data) + 1)):
        reader = RequestReader(limits)
        found = [one for begin, end in zip(pieces, [*pieces][1:], strict=False) for one in reader.feed(data[begin:end])]
        assert (found, reader.refused) == (expected, whole.refused)


@given(data=_STREAM)
def test_what_was_read_and_encoded_again_reads_as_the_same(data: bytes) -> None:
    found = [request for request in RequestReader(Limits(inline=True)).feed(data) if request.args]
    again = RequestReader().feed(b"".join(encode(request.args) for request in found))
    assert [request.args for request in again] == [request.args for request in found]


_SCALAR = st.one_of(
    st.sampled_from(
        [b"+OK\r\n", b"-ERR\r\n", b":1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(1\r\n", b"$-1\r\n", b"*-1\r\n"]
    ),
    st.builds(
        lambda mark, text: b"%b%d\r\n%b\r\n" % (mark, len(text), text),
        st.sampled_from([b"$", b"=", b"!"]),
        st.binary(max_size=6),
    ),
)
_REPLY = st.recursive(
    _SCALAR,
    lambda inner: st.one_of(
        st.builds(
            lambda mark, of: b"%b%d\r\n" % (mark, len(of)) + b"".join(of),
            st.sampled_from([b"*", b"~", b">"]),
            st.lists(inner, max_size=3),
        ),
        st.lists(st.tuples(inner, inner), max_size=2).map(
            lambda of: b"%%%d\r\n" % len(of) + b"".join(a + b for a, b in of)
        ),
        st.tuples(inner, inner, inner).map(lambda of: b"|1\r\n" + b"".join(of)),
    ),
    max_leaves=8,
)


@given(reply=_REPLY, after=st.binary(max_size=5))
def test_a_reply_ends_where_it_was_made_to_end(reply: bytes, after: bytes) -> None:
    found = scan_reply(reply + after)
    assert isinstance(found, Reply)
    assert found.length == len(reply)
    assert all(scan_reply(reply[:cut]) is None for cut in range(len(reply)))


@given(data=st.binary(max_size=40))
def test_scanning_any_bytes_ends(data: bytes) -> None:
    found = scan_reply(data)
    assert found is None or isinstance(found, Malformed) or 0 < found.length <= len(data)


_ATOM = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\x61", r"\.", "ab"])
_REGEX = st.recursive(
    _ATOM,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: f"({'|'.join(of)})"),
        st.builds(
            lambda one, how: f"(?:{one}){how}", inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}"])
        ),
    ),
    max_leaves=5,
)


@given(regex=_REGEX, keys=st.lists(st.text("ab.1", max_size=7), max_size=8))
def test_a_regular_expression_means_what_it_means_to_python(regex: str, keys: list[str]) -> None:
    pattern, oracle = parse_regex(regex), re.compile(regex.encode(), re.DOTALL)
    for key in keys:
        assert pattern.matches(key.encode()) == (oracle.fullmatch(key.encode()) is not None), key


@given(text=st.text(st.sampled_from("ab()[]{}|*+?.^$\\-,123dwx:="), max_size=14))
def test_any_text_is_a_pattern_or_an_error_and_means_the_same_as_to_python(text: str) -> None:
    try:
        pattern = parse_regex(text)
    except PatternError:
        return
    try:
        oracle = re.compile(text.encode(), re.DOTALL)
    except re.error:
        assume(condition=False)
    for key in (b"", b"a", b"ab", b"aab", b"1", b"{", b"-", b"a{1", b"\\"):
        assert pattern.matches(key) == (oracle.fullmatch(key) is not None), key


TABLE = load_table()
_WORDS = st.one_of(
    st.sampled_from(["SET", "config", "MULTI", "EXEC", "SELECT", "1", "EX", "NX", "k"]).map(str.encode),
    st.binary(max_size=4),
)
_NAMES = st.sampled_from(sorted(TABLE.rows)).map(lambda name: [word.encode() for word in name.split(" ")])


@given(
    name=_NAMES,
    words=st.lists(_WORDS, max_size=6),
    before=st.lists(st.lists(_WORDS, min_size=1, max_size=3), max_size=4),
)
def test_any_call_is_judged_and_a_destructive_one_of_keys_names_them(
    name: list[bytes], words: list[bytes], before: list[list[bytes]]
) -> None:
    connection = Connection()
    for args in before:
        connection = advance(connection, args)
    intent = judge([*name, *words], connection, TABLE, Terms(1_700_000_000_000))
    if intent.cls in {Class.REMOVES, Class.OVERWRITES, Class.EMPTIES, Class.EXPIRES}:
        assert intent.losing
    assert (intent.certainty is Certainty.HARMLESS) == (intent.cls in {Class.READ, Class.SESSION, Class.WRITE})


@given(words=st.lists(st.binary(max_size=12), min_size=1, max_size=4))
def test_what_nobody_knows_is_destructive(words: list[bytes]) -> None:
    assume(TABLE.find(words) is None)
    assert judge(words, Connection(), TABLE, Terms(0)).cls is Class.UNKNOWN
