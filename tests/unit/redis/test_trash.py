"""The form of captured values."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.redis.trash import (
    HEAD_SIZE,
    Big,
    Captured,
    Frame,
    Header,
    Told,
    TrashError,
    back_body,
    frame_bytes,
    frame_rest,
    header_body,
    key_body,
    one_frame,
    parse_back,
    parse_frame,
    parse_header,
    parse_key,
    parse_one,
)

BIGS = st.builds(Big, st.integers(0, 2**63), st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(-1, 2**62))
VALUES = st.builds(Captured, st.integers(0, 99), st.binary(max_size=20), st.integers(-1, 2**50), st.binary(max_size=40))


@given(one=VALUES)
def test_a_value_comes_back_and_knows_its_size(one: Captured) -> None:
    frame = frame_bytes(Frame.KEY, key_body(one))
    assert len(frame) == one.size == HEAD_SIZE + frame_rest(frame[:HEAD_SIZE])
    kind, body = parse_frame(frame[:HEAD_SIZE], frame[HEAD_SIZE:])
    assert (kind, parse_key(body)) == (Frame.KEY, one)


@given(one=st.builds(lambda one, big: replace(one, dump=b"", big=big), VALUES, BIGS))
def test_a_large_value_comes_back_without_its_pieces(one: Captured) -> None:
    frame = one_frame(one)
    assert len(frame) == one.size
    kind, body = parse_frame(frame[:HEAD_SIZE], frame[HEAD_SIZE:])
    assert (kind, parse_one(kind, body)) == (Frame.BIG, one)
    assert one.big is not None
    assert (one.length, one.digest) == (one.big.size, one.big.digest)
    for wrong in (body[:-1], body + b"x", b""):
        with pytest.raises(TrashError):
            parse_one(Frame.BIG, wrong)


def test_pieces_alone_are_of_no_key() -> None:
    told = Told()
    told.add(Frame.PIECE, b"any bytes")
    told.add(Frame.REMOVED, b"")
    assert (told.removed, told.size) == ({}, 0)


@given(one=VALUES, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_goes_unseen(one: Captured, at: int, bit: int) -> None:
    frame = bytearray(frame_bytes(Frame.KEY, key_body(one)))
    frame[at % len(frame)] ^= 1 << bit
    with pytest.raises(TrashError):
        parse_frame(bytes(frame[:HEAD_SIZE]), bytes(frame[HEAD_SIZE:]))


def test_a_header_comes_back_and_another_format_is_refused() -> None:
    header = Header("op_0000000000000000", "redis://h:1", "f" * 40, "0" * 64)
    assert parse_header(header_body(header)) == header
    for body in (b"", b"{}", b"[]", header_body(header).replace(b"trash/1", b"trash/2")):
        with pytest.raises(TrashError):
            parse_header(body)


@pytest.mark.parametrize("body", [b"", b"\0" * 15, b"\0" * 12 + b"\0\0\0\1"])
def test_a_key_that_is_too_short_is_refused(body: bytes) -> None:
    with pytest.raises(TrashError):
        parse_key(body)


def test_frames_add_up_to_what_went_what_stayed_and_what_nobody_knows() -> None:
    told = Told()
    a, b, c = (Captured(0, name, -1, b"dump") for name in (b"a", b"b", b"c"))
    for kind, one in ((Frame.KEY, a), (Frame.REMOVED, None), (Frame.KEY, b), (Frame.STAYED, None), (Frame.KEY, c)):
        told.add(kind, b"" if one is None else key_body(one))
    assert (told.removed, told.open) == ({(0, b"a"): True}, {(0, b"c"): True})
    told.add(Frame.KEY, key_body(Captured(1, b"c", -1, b"")))
    told.add(Frame.REMOVED, b"")
    assert told.removed == {(0, b"a"): True, (0, b"c"): True, (1, b"c"): False}


def test_keys_that_were_put_back_are_as_if_they_had_never_gone() -> None:
    places = [(0, b"a"), (3, b""), (1, b"\x00\xff")]
    body = back_body(places)
    assert list(parse_back(body)) == places
    for cut in range(1, 9):  # within the first of them
        with pytest.raises(TrashError):
            list(parse_back(body[:cut]))
    told = Told(removed={(0, b"a"): True, (0, b"b"): True})
    told.add(Frame.BACK, back_body([(0, b"a"), (7, b"unknown")]))
    assert told.removed == {(0, b"b"): True}
