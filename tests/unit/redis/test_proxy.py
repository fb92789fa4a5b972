"""How bytes are sent at once: whatever the kernel takes of them, each is sent once and in order, with and without a compiler."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from go_cache_safeguard.redis import _send
from go_cache_safeguard.redis.proxy import COMPILED, send_python

Send: TypeAlias = Callable[[int, Callable[[], int], Callable[[], bool], Callable[[bytes], object], bytes], None]


@dataclass
class Transport:
    """Keeps what it is given, until told to send it."""

    one: socket.socket
    closing: bool = False
    kept: bytearray = field(default_factory=bytearray)

    def waiting(self) -> int:
        return len(self.kept)

    def is_closing(self) -> bool:
        return self.closing

    def later(self, data: bytes) -> None:
        self.kept += data

    def drain(self) -> None:
        try:
            taken = self.one.send(self.kept)
        except BlockingIOError:
            return
        del self.kept[:taken]


@pytest.fixture(params=[_send.send, send_python], ids=["compiled", "python"])
def send(request: pytest.FixtureRequest) -> Send:
    found: Send = request.param
    return found


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def given_to(send: Send, transport: Transport, data: bytes) -> None:
    send(transport.one.fileno(), transport.waiting, transport.is_closing, transport.later, data)


def test_there_was_a_compiler() -> None:
    assert COMPILED


def test_what_the_kernel_takes_is_sent_at_once(send: Send, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    transport = Transport(ours)
    given_to(send, transport, b"one")
    given_to(send, transport, b"")
    given_to(send, transport, b"two")
    assert (theirs.recv(100), bytes(transport.kept)) == (b"onetwo", b"")


def test_nothing_goes_before_what_waits_and_nothing_to_a_socket_that_closes(
    send: Send, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    for transport in (Transport(ours, kept=bytearray(b"first ")), Transport(ours, closing=True)):
        before = bytes(transport.kept)
        given_to(send, transport, b"then")
        assert bytes(transport.kept) == before + b"then"
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 90_000), st.booleans()), max_size=12))
@pytest.mark.parametrize("send", [_send.send, send_python], ids=["compiled", "python"])
def test_every_byte_arrives_once_and_in_order(send: Send, pieces: list[tuple[int, int, bool]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        ours.settimeout(0)
        theirs.settimeout(0)
        transport, wanted, got = Transport(ours), bytearray(), bytearray()
        for number, (size, read, drain) in enumerate(pieces):
            data = bytes([number]) * size
            wanted += data
            given_to(send, transport, data)
            if drain:
                transport.drain()
            got += read_up_to(theirs, read)
        while transport.kept:
            transport.drain()
            got += read_up_to(theirs, 1 << 20)
        got += read_up_to(theirs, 1 << 20)
        assert got == wanted


def read_up_to(one: socket.socket, size: int) -> bytes:
    try:
        return one.recv(size) if size else b""
    except BlockingIOError:
        return b""


def test_a_socket_that_failed_is_left_to_the_transport(send: Send, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    transport = Transport(ours)
    given_to(send, transport, b"lost")
    assert bytes(transport.kept) == b"lost"
    kept: list[bytes] = []
    send(-1, lambda: 0, lambda: False, kept.append, b"nowhere")
    assert kept == [b"nowhere"]


def test_what_goes_wrong_in_the_transport_is_not_hidden(send: Send, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for waiting, is_closing in ((failing, lambda: False), (lambda: 0, failing), (lambda: 1, lambda: False)):
        with pytest.raises(OSError, match="Input/output"):
            send(ours.fileno(), waiting, is_closing, failing, b"x")  # type: ignore[arg-type] # one that fails gives nothing
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
