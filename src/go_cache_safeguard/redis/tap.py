"""A tap at a transport: what comes to its socket is read without the transport, for as long as nothing special happens.

Knows:     that a second number of the same socket may be watched while the transport is paused, and that the transport alone tells of
           an end, so it reads on from there.
Called by: `redis.proxy`, for both sides of a connection.
Never:     reads where TLS is spoken: only the transport can. Keeps the second number when the transport is gone: the connection would
           stay open.
Source:    uvloop hands over each chunk as an object of its own, read by its streams; a callable that reads for itself
           (`redis.lane`, `client_ready`) takes half the time for it. `loop.add_reader` refuses the number that a transport uses.
"""

import asyncio
import os
from collections.abc import Callable
from typing import TypeAlias

from go_cache_safeguard.redis.lane import Ended

Ready: TypeAlias = Callable[[int, Ended], None]


class Tap:
    """Reads for a transport whenever it may. Belongs to the thread of the event loop."""

    __slots__ = ("_is_open", "_loop", "_place", "_ready", "_transport")

    def __init__(self, transport: asyncio.Transport, ready: Ready) -> None:
        """Make it, closed.

        Args:
            transport: Whose socket is read; it hands over what comes while the tap is none.
            ready: Reads the socket once.
        """
        self._transport = transport
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._place = _second(transport)
        self._is_open = False

    def open(self) -> None:
        """Read from now on; not if the transport is closing."""
        if self._transport.is_closing():
            return
        if self._place is None:
            self._transport.resume_reading()
        elif not self._is_open:
            self._is_open = True
            self._transport.pause_reading()
            self._loop.add_reader(self._place, self._ready, self._place, self._ended)

    def shut(self) -> None:
        """Read nothing for now."""
        if self._place is None or not self._is_open:
            self._transport.pause_reading()
        else:
            self._is_open = False
            self._loop.remove_reader(self._place)

    def give_back(self) -> None:
        """Let the transport read for itself, or nobody: it is gone."""
        if self._place is None:
            return
        if self._is_open:
            self._loop.remove_reader(self._place)
        os.close(self._place)
        self._place, self._is_open = None, False

    def _ended(self, error: int) -> None:
        self.give_back()
        if error:
            self._transport.abort()
        else:
            self._transport.resume_reading()


def _second(transport: asyncio.Transport) -> int | None:
    """Another number of the socket; None if the transport has to read for itself."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        return os.dup(transport.get_extra_info("socket").fileno())
    except OSError:  # there are no more numbers
        return None
