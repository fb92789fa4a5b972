"""What a load balancer says before the first byte of a connection."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.proxyheader import Header, HeaderError, parse_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR = IPv4Address("203.0.113.7").packed + IPv4Address("192.0.2.1").packed + struct.pack("!HH", 4711, 6379)
SIX = IPv6Address("2001:db8::7").packed + IPv6Address("::1").packed + struct.pack("!HH", 4711, 6379)


def second(family: int, body: bytes, version: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", version, family, len(body)) + body


GOOD = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 6379\r\n", "203.0.113.7:4711"),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 6379\r\n", "[2001:db8::7]:4711"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""),
    (second(0x11, FOUR), "203.0.113.7:4711"),
    (second(0x21, SIX), "[2001:db8::7]:4711"),
    (second(0x11, FOUR + b"\x04\x00\x02ab"), "203.0.113.7:4711"),
    (second(0x00, b""), ""),
    (second(0x11, FOUR, version=0x20), ""),
    (second(0x31, b"x" * 216), ""),
]


@pytest.mark.parametrize(("data", "source"), GOOD)
def test_a_header_ends_where_it_says_in_whatever_pieces_it_comes(data: bytes, source: str) -> None:
    assert parse_header(data + b"*1\r\n") == Header(len(data), source)
    for end in range(len(data)):
        assert parse_header(data[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 6379\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 04711 6379\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 6379\r\n",
        b"PROXY TCP4 203.0.113.777 192.0.2.1 1 6379\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 1 6379\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 1 6379\r\n",
        b"PROXY TCP4  203.0.113.7 192.0.2.1 1 6379\r\n",
        b"PROXY UDP4 203.0.113.7 192.0.2.1 1 6379\r\n",
        b"PROXY " + b"x" * 101,
        second(0x11, FOUR, version=0x11),
        second(0x11, FOUR, version=0x22),
        second(0x12, FOUR),
        second(0x11, FOUR[:-1]),
        second(0x21, FOUR),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 4_097),
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(data)


@given(st.binary(max_size=200) | st.builds(lambda tail: b"PROXY TCP4 " + tail, st.binary(max_size=150)))
def test_any_bytes_give_a_header_a_refusal_or_a_wish_for_few_more(data: bytes) -> None:
    try:
        found = parse_header(data)
    except HeaderError:
        return
    if found is None:
        assert len(data) < 16 + 4_096
    else:
        assert 0 < found.length <= len(data)


@given(st.binary(max_size=120), st.integers(0, 119))
def test_a_refusal_does_not_depend_on_how_the_bytes_are_cut(tail: bytes, cut: int) -> None:
    data = b"PROXY TCP4 203.0.113.7 " + tail

    def said(part: bytes) -> Header | str | None:
        try:
            return parse_header(part)
        except HeaderError:
            return "refused"

    if said(data[:cut]) is not None:
        assert said(data) == said(data[:cut])
