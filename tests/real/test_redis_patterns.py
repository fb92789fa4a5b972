"""Glob patterns match what a server's KEYS matches, and lines split as a server splits them, odd ones included."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from go_cache_safeguard.core.pattern import parse_glob
from go_cache_safeguard.redis.resp import RequestReader, encode, split_line
from rediskeys import pipeline
from redisservers import Client, Server, ServerError

pytestmark = pytest.mark.real

_SOUP = st.lists(st.sampled_from([bytes([byte]) for byte in b"*?[]^-\\ab]:\x00\xff"]), max_size=9).map(b"".join)
_KEYS = st.lists(
    st.lists(st.sampled_from([bytes([byte]) for byte in b"ab]-^\\:*\x00\xff\x80"]), max_size=5).map(b"".join),
    max_size=12,
)
_SHARED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SHARED
@given(glob=_SOUP, keys=_KEYS)
@example(glob=b"[a-]", keys=[b"a", b"]", b"^", b"b"])
@example(glob=b"[^", keys=[b"a", b""])
@example(glob=b"[]a]", keys=[b"a", b"]", b"a]"])
@example(glob=b"**", keys=[b"", b"a"])
@example(glob=b"[a-\xff]", keys=[b"a", b"b", b"\xff", b"\x00"])
@example(glob=b"[\\]-a]", keys=[b"]", b"a", b"-", b"^"])
@example(glob=b"a\\", keys=[b"a\\", b"a"])
def test_a_glob_matches_what_keys_matches(redis_client: Client, glob: bytes, keys: list[bytes]) -> None:
    pipeline(redis_client, [("FLUSHALL",), *(("SET", key, "1") for key in keys)])
    found = set(redis_client.strings("KEYS", glob))
    pattern = parse_glob(glob)
    assert {key for key in keys if pattern.matches(key)} == found


_LINE = st.text(st.sampled_from("ab\"'\\x41nrt  ~"), max_size=14).map(str.encode)


@_SHARED
@given(line=_LINE)
@example(line=b'"\\x44EL" k')
@example(line=b'DE"L" k')
@example(line=b"'it\\'s' \"a\\x4\"")
def test_a_line_has_the_words_that_a_server_sees(redis_client: Client, line: bytes) -> None:
    args = split_line(b"ECHO " + line)
    if not isinstance(args, tuple) or len(args) != 2:
        return
    redis_client.send(b"ECHO " + line + b"\r\n")
    assert redis_client.read() == args[1]


@_SHARED
@given(
    commands=st.lists(st.lists(st.binary(max_size=6), min_size=1, max_size=4), min_size=1, max_size=5),
    junk=st.binary(max_size=12),
)
def test_a_stream_that_is_read_to_its_end_has_as_many_commands_as_the_server_answers(
    redis_client: Client, commands: list[list[bytes]], junk: bytes
) -> None:
    stream = b"".join(encode((b"ECHO", *command)) for command in commands)
    reader = RequestReader()
    found = reader.feed(stream)
    redis_client.send(stream)
    answers = [redis_client.read() for _ in found]
    assert [request.args for request in found] == [(b"ECHO", *command) for command in commands]
    assert [answer for answer in answers if isinstance(answer, bytes)] == [one[0] for one in commands if len(one) == 1]
    # What follows a whole stream is never taken for a part of it.
    more = RequestReader()
    assert more.feed(stream + junk)[: len(found)] == found


def test_a_stream_that_hides_a_command_is_refused_whatever_the_server_does(
    redis_server: Server, redis_client: Client
) -> None:
    smuggled = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nkXX*1\r\n$8\r\nFLUSHALL\r\n"
    reader = RequestReader()
    assert reader.feed(smuggled) == []
    assert reader.refused is not None
    redis_client("SET", "precious", "1")
    redis_client.send(smuggled)
    first = redis_client.read()
    if redis_server.name.startswith("redis"):
        assert [first, redis_client.read(), redis_client("DBSIZE")] == [b"OK", b"OK", 0]  # FLUSHALL ran
    else:
        assert isinstance(first, ServerError)  # Valkey looks at the bytes after a bulk string
