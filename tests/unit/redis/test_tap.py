"""A tap: what comes is read without the transport, the end is told by the transport, and nothing is kept when it is gone."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import cast

import pytest
import uvloop

from go_cache_safeguard.redis.lane import Ended
from go_cache_safeguard.redis.tap import Tap

LOOPS = pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])


class _Side(asyncio.Protocol):
    """Notes who read what, and how it ended."""

    def __init__(self) -> None:
        self.read: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.ended: list[str] = []
        self.tap: Tap
        self.lost = asyncio.Event()

    def ready(self, place: int, ended: Ended) -> None:
        try:
            data = os.read(place, 100)
        except OSError as error:
            ended(error.errno or 0)
            return
        if data:
            self.read.put_nowait(("tap", data))
        else:
            ended(0)

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.read.get(), 10)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.tap = Tap(cast("asyncio.Transport", transport), self.ready)

    def data_received(self, data: bytes) -> None:
        self.read.put_nowait(("transport", data))

    def eof_received(self) -> bool:
        self.ended.append("end")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.tap.give_back()
        self.lost.set()


async def _connected() -> tuple[_Side, socket.socket, asyncio.Transport]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    transport, side = await asyncio.get_running_loop().create_connection(_Side, sock=ours)
    return side, theirs, transport


async def _both_read_in_turn() -> None:
    side, theirs, _ = await _connected()
    theirs.send(b"one")
    assert await side.next() == ("transport", b"one")
    side.tap.open()
    side.tap.open()
    theirs.send(b"two")
    assert await side.next() == ("tap", b"two")
    side.tap.shut()
    side.tap.shut()
    theirs.send(b"three")
    await asyncio.sleep(0.05)
    assert side.read.empty()
    side.tap.open()
    assert await side.next() == ("tap", b"three")
    theirs.close()
    await asyncio.wait_for(side.lost.wait(), 10)
    assert side.ended == ["end"]


async def _nothing_is_kept() -> None:
    side, theirs, transport = await _connected()
    side.tap.open()
    transport.close()
    await asyncio.wait_for(side.lost.wait(), 10)
    side.tap.open()
    side.tap.give_back()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""
    theirs.close()


async def _an_error_ends_it() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    ours.settimeout(0)
    _, side = await asyncio.get_running_loop().create_connection(_Side, sock=ours)
    side.tap.open()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()  # a reset
    listener.close()
    await asyncio.wait_for(side.lost.wait(), 10)
    assert (side.read.empty(), side.ended) == (True, [])


@LOOPS
@pytest.mark.parametrize("story", [_both_read_in_turn, _nothing_is_kept, _an_error_ends_it])
def test_a_tap_reads_only_while_it_is_open_and_leaves_every_end_to_the_transport(
    story: Callable[[], Coroutine[None, None, None]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.sleep(0))  # what the first loop of a process opens stays
    before = _open_files()
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story())
    assert _open_files() == before


def _open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}
