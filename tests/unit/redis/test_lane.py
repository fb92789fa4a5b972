"""Lanes and what they send by: each byte is sent once and in order, and only what may go by does, with and without a compiler."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.redis import _lane
from go_cache_safeguard.redis.fast import fast_calls
from go_cache_safeguard.redis.lane import COMPILED, LanePython, Send, SenderPython
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis.rules import Rules, parse_patterns
from go_cache_safeguard.redis.tablefile import load_table
from redislanes import PYTHON, Transport, Twin, compiled, read_up_to

Made: TypeAlias = Callable[[int, Callable[[], int], Callable[[], bool], Callable[[bytes], object]], Send]

KEYS = fast_calls(load_table(), Rules(protect=parse_patterns("session:*")))
SET = encode((b"SET", b"k", b"v"))


@pytest.fixture(params=[_lane.Sender, SenderPython], ids=["compiled", "python"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.param
    return found


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def test_there_was_a_compiler() -> None:
    assert COMPILED


def test_what_the_kernel_takes_is_sent_at_once(made: Made, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    transport = Transport(ours)
    send = transport.sender(made)
    for piece in (b"one", b"", b"two"):
        send(piece)
    assert (theirs.recv(100), bytes(transport.kept)) == (b"onetwo", b"")


def test_nothing_goes_before_what_waits_and_nothing_to_a_socket_that_closes(
    made: Made, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    transport = Transport(ours, closing=True)
    send = transport.sender(made)
    send(b"first ")
    transport.closing = False
    send(b"then")
    assert bytes(transport.kept) == b"first then"
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 90_000), st.booleans()), max_size=12))
@pytest.mark.parametrize("made", [_lane.Sender, SenderPython], ids=["compiled", "python"])
def test_every_byte_arrives_once_and_in_order(made: Made, pieces: list[tuple[int, int, bool]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        ours.settimeout(0)
        theirs.settimeout(0)
        transport, wanted, got = Transport(ours), bytearray(), bytearray()
        send = transport.sender(made)
        for number, (size, read, drain) in enumerate(pieces):
            data = bytes([number]) * size
            wanted += data
            send(data)
            if drain:
                transport.drain()
            got += read_up_to(theirs, read)
        while transport.kept:
            transport.drain()
            got += read_up_to(theirs, 1 << 20)
        got += read_up_to(theirs, 1 << 20)
        assert got == wanted


def test_a_socket_that_failed_is_left_to_the_transport(made: Made, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    transport = Transport(ours)
    transport.sender(made)(b"lost")
    assert bytes(transport.kept) == b"lost"
    kept: list[bytes] = []
    made(-1, lambda: 0, lambda: False, kept.append)(b"nowhere")
    assert kept == [b"nowhere"]


def test_what_goes_wrong_in_the_transport_is_not_hidden(made: Made, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    ours_is = ours.fileno()
    for waiting, is_closing, later in (
        (lambda: 0, failing, lambda _: None),
        (lambda: 0, lambda: True, failing),
        (failing, lambda: True, lambda _: None),
    ):
        send = made(ours_is, waiting, is_closing, later)  # type: ignore[arg-type] # one that fails gives nothing
        with pytest.raises(OSError, match="Input/output"):
            send(b"x") or send(b"x")  # what waits is asked about after something had to wait
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@pytest.mark.parametrize("made", [_lane.Lane, LanePython], ids=["compiled", "python"])
def test_a_lane_is_closed_until_it_is_opened_and_what_goes_wrong_is_not_hidden(made: type[LanePython]) -> None:
    handed: list[bytes] = []

    def failing(_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    lane = made(handed.append, handed.append)
    assert (lane.quick, lane.plain, lane.heard, lane.traffic) == (False, False, True, False)
    lane.client_sent(b"one")
    lane.server_sent(b"two")
    assert handed == [b"one", b"two"]
    lane.quick, lane.plain, lane.to_server, lane.to_client = True, True, failing, failing
    lane.client_sent(b"three")
    assert handed[2:] == [b"three"]
    lane.scanner, lane.fine = KEYS.scanner, failing  # type: ignore[assignment] # one that fails gives nothing
    with pytest.raises(OSError, match="Input/output"):
        lane.client_sent(SET)
    lane.fine = lambda _: True
    with pytest.raises(OSError, match="Input/output"):
        lane.client_sent(SET)
    with pytest.raises(OSError, match="Input/output"):
        lane.server_sent(b"abc")
    assert handed[3:] == []


@pytest.mark.parametrize("made", [_lane.Lane, LanePython], ids=["compiled", "python"])
def test_a_socket_is_read_until_it_ends_and_that_is_told(
    made: type[LanePython], pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    handed: list[bytes] = []
    ended: list[int] = []
    lane = made(handed.append, handed.append)
    for read in (lane.client_ready, lane.server_ready):
        read(ours.fileno(), ended.append)
        assert (handed, ended) == ([], [])
        theirs.send(b"abc")
        read(ours.fileno(), ended.append)
        assert (handed.pop(), ended) == (b"abc", [])
    theirs.close()
    lane.client_ready(ours.fileno(), ended.append)
    lane.server_ready(10**6, ended.append)
    assert ended == [0, errno.EBADF]


@pytest.mark.parametrize("twin", [compiled(_lane), PYTHON], ids=["compiled", "python"])
def test_what_is_read_goes_by_and_what_waits_then_goes_once(twin: Twin) -> None:
    (client, client_end), (server, server_end) = socket.socketpair(), socket.socketpair()
    with client, client_end, server, server_end:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        for one in (client, server, client_end, server_end):
            one.settimeout(0)
        transport, lane = Transport(server), twin.lane(lambda _: None, lambda _: None)
        lane.quick, lane.fine = True, lambda _: True
        lane.scanner = twin.scanner(KEYS)
        lane.to_server = transport.sender(twin.sender)
        client_end.send(SET * 1_000)
        lane.client_ready(client.fileno(), lambda _: None)
        assert transport.kept
        assert read_up_to(server_end, 1 << 20) + bytes(transport.kept) == SET * 1_000
