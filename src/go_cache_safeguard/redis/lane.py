"""The short way of bytes between a client and the server: what needs no judging goes on at once, the rest is handed over.

Knows:     that a chunk of harmless requests may go to the server as it is, and a chunk of replies to the client, each only while the
           conversation allows it; and that the kernel may take bytes at once when the transport keeps none that were to go before them.
Called by: `redis.proxy`, which makes one lane for each client.
Never:     decides about anything that is not harmless: the whole chunk is handed over then, untouched. Touches a socket whose transport
           is closing, since its number may be another one's soon. Loses or doubles a byte.
Source:    `redis/_lane.c` does the same without a line of Python for each chunk, if a compiler was there when this was installed;
           tests/property/test_redis_lane.py compares.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from go_cache_safeguard.redis import conversation

try:
    from go_cache_safeguard.redis import _lane
except ImportError:  # there was no compiler when this was installed
    COMPILED = False
else:
    COMPILED = True

__all__ = ["COMPILED", "Ended", "Lane", "LanePython", "SenderPython", "lane", "sender"]

_CHUNK = 64 << 10

Send: TypeAlias = Callable[[bytes], object]
Ended: TypeAlias = Callable[[int], object]
"""Takes 0 when the other side has said all that it had to say, or the number of the error that a socket has."""


class Lane(conversation.Lane, Protocol):
    """Both directions of one client's connection, while nothing has to be judged.

    Attributes:
        heard: Whether the server said something since the client did.
        traffic: Whether the server said something since this was set to False.
        last: When the client said something; in seconds of the monotonic clock.
        to_client: Sends bytes; None before there is a connection, and when the client is done with.
        to_server: The same for the server.
    """

    heard: bool
    traffic: bool
    last: float
    to_client: Send | None
    to_server: Send | None

    def client_sent(self, data: bytes, /) -> None:
        """Send on what is harmless from its beginning to its end; hand over everything else."""

    def server_sent(self, data: bytes, /) -> None:
        """Send on what nobody has to look at; hand over everything else."""

    def client_ready(self, place: int, ended: Ended, /) -> None:
        """Read a socket of the client once, and do the same with what was there."""

    def server_ready(self, place: int, ended: Ended, /) -> None:
        """Read a socket of the server once, and do the same with what was there."""


def lane(on_client: Callable[[bytes], None], on_server: Callable[[bytes], None]) -> Lane:
    """Make a lane that is closed, on both sides.

    Args:
        on_client: Takes what the client sent when it may not go by.
        on_server: The same for the server.
    """
    return _lane.Lane(on_client, on_server) if COMPILED else LanePython(on_client, on_server)


def sender(
    place: int, waiting: Callable[[], int], is_closing: Callable[[], bool], later: Callable[[bytes], object]
) -> Send:
    """Make what sends bytes at once, as far as the kernel takes them and nothing waits before them; the rest is the transport's.

    What goes wrong here happens to the transport again, which then tells about it. Nobody else may send anything by this transport,
    but for last words before it is closed.

    Args:
        place: The number of the socket.
        waiting: How many bytes the transport keeps.
        is_closing: Whether the socket may be gone soon, and its number another one's.
        later: Takes what the kernel does not take now.
    """
    made = _lane.Sender if COMPILED else SenderPython
    return made(place, waiting, is_closing, later)


class LanePython:
    """A lane with nothing compiled."""

    __slots__ = (
        "_on_client",
        "_on_server",
        "fine",
        "heard",
        "last",
        "plain",
        "quick",
        "scanner",
        "to_client",
        "to_server",
        "traffic",
    )

    def __init__(self, on_client: Callable[[bytes], None], on_server: Callable[[bytes], None], /) -> None:
        self.quick = self.plain = self.traffic = False
        self.heard = True
        self.last = 0.0
        self.scanner: conversation.Scan | None = None
        self.fine: conversation.Fine | None = None
        self.to_client: Send | None = None
        self.to_server: Send | None = None
        self._on_client = on_client
        self._on_server = on_server

    def client_sent(self, data: bytes, /) -> None:
        """Of the client."""
        if self.quick and self.to_server is not None and self._is_harmless(data):
            self.last, self.heard = time.monotonic(), False
            self.to_server(data)
        else:
            self._on_client(data)

    def server_sent(self, data: bytes, /) -> None:
        """Of the server."""
        if self.plain and self.to_client is not None:
            self.heard = self.traffic = True
            self.to_client(data)
        else:
            self._on_server(data)

    def client_ready(self, place: int, ended: Ended, /) -> None:
        """Of the client."""
        if data := _read(place, ended):
            self.client_sent(data)

    def server_ready(self, place: int, ended: Ended, /) -> None:
        """Of the server."""
        if data := _read(place, ended):
            self.server_sent(data)

    def _is_harmless(self, data: bytes) -> bool:
        if self.scanner is None:
            return False
        end, keys = self.scanner(data)
        return end == len(data) > 0 and (not keys or (self.fine is not None and self.fine(keys)))


def _read(place: int, ended: Ended) -> bytes:
    """What is at a socket now; nothing if there is nothing, or it has ended."""
    try:
        data = os.read(place, _CHUNK)
    except (BlockingIOError, InterruptedError):
        return b""
    except OSError as error:
        ended(error.errno or errno.EIO)
        return b""
    if not data:
        ended(0)
    return data


class SenderPython:
    """A sender with nothing compiled."""

    __slots__ = ("_is_closing", "_keeps", "_later", "_place", "_waiting")

    def __init__(
        self,
        place: int,
        waiting: Callable[[], int],
        is_closing: Callable[[], bool],
        later: Callable[[bytes], object],
        /,
    ) -> None:
        self._place = place
        self._waiting = waiting
        self._is_closing = is_closing
        self._later = later
        self._keeps = False  # the transport may keep bytes of ours

    def __call__(self, data: bytes, /) -> None:
        """Send some bytes."""
        taken = 0 if self._is_busy() else self._taken(data)
        if taken < len(data):
            self._keeps = True
            self._later(data[taken:])

    def _is_busy(self) -> bool:
        """Whether bytes must go to the transport."""
        self._keeps = self._keeps and self._waiting() > 0
        return self._keeps or self._is_closing()

    def _taken(self, data: bytes) -> int:
        """How many bytes the kernel takes now."""
        try:
            return os.write(self._place, data)
        except OSError:
            return 0
