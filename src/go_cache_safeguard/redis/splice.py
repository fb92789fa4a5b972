"""A server's replies on their way to a client, untouched except at marks.

Knows:     how the line looks with which a server answers a mark, how it is found in a stream whose other bytes are not parsed, and
           how the few replies behind a mark are read whole.
Called by: `redis.conversation`.
Never:     parses a reply where nobody asked; holds back a byte that cannot be part of what is looked for, so no client ever waits
           for the end of a reply that it could have had.
Source:    server.c `processCommand`: an unknown command is answered before authentication, rights, MULTI, publish/subscribe and
           memory are looked at, with ``-ERR unknown command 'NAME'`` (Redis 7.0, Valkey 9.1) or with backticks (Redis 6.2).

A mark is a command that no server knows: `GUARD-` and 128 random bits. No stored value and no client can hold its name before it was
sent, and after that it is looked for only once.
"""

from collections import deque
from dataclasses import dataclass

from go_cache_safeguard.redis.resp import Malformed, scan_reply

_BEGINNINGS = (b"-ERR unknown command '", b"-ERR unknown command `")
_LINE_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Expected:
    """One mark on its way.

    Attributes:
        mark: Its name.
        reply: What the client gets in the place of the server's complaint; empty for nothing.
        swallow: How many replies that follow at once the client does not get.
        observe: Whether the reply that follows at once is told to whoever waits; the client gets it as well.
    """

    mark: bytes
    reply: bytes = b""
    swallow: int = 0
    observe: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """A mark came back, so everything that was sent before it is done.

    Attributes:
        mark: Its name.
        seen: The reply behind it, if that was to be observed.
    """

    mark: bytes
    seen: bytes = b""


class SpliceBrokenError(ValueError):
    """The server did not answer as servers do; nobody can tell any more which reply belongs to what."""


def frame_of(mark: bytes) -> bytes:
    """The request that makes a server answer a mark."""
    return b"*1\r\n$%d\r\n%b\r\n" % (len(mark), mark)


class Splice:
    """The stream of one connection, from the server to the client."""

    def __init__(self) -> None:
        self._expected: deque[Expected] = deque()
        self._held = b""
        self._reading = 0  # replies behind the last mark that are still to be read
        self._current: Expected | None = None

    @property
    def busy(self) -> bool:
        """Whether `feed` has to see what comes; otherwise bytes may go on as they are."""
        return bool(self._expected or self._reading or self._held)

    def expect(self, expected: Expected) -> None:
        """Call this before the mark is sent, in the order in which marks are sent."""
        self._expected.append(expected)

    def feed(self, data: bytes) -> tuple[bytes, list[Reached]]:
        """Take what the server sent.

        Returns:
            What the client gets now, and which marks came back.

        Raises:
            SpliceBrokenError: What follows a mark is no reply.
        """
        self._held += data
        out: list[bytes] = []
        reached: list[Reached] = []
        while self._step(out, reached):
            pass
        return b"".join(out), reached

    def _step(self, out: list[bytes], reached: list[Reached]) -> bool:
        """Get over one mark or one reply; False if more bytes are needed."""
        if self._reading:
            return self._read(out, reached)
        if not self._expected:
            out.append(self._held)
            self._held = b""
            return False
        return self._find(out, reached)

    def _find(self, out: list[bytes], reached: list[Reached]) -> bool:
        """Look for the line that answers the next mark."""
        expected = self._expected[0]
        at = self._held.find(expected.mark)
        if at < 0:
            keep = _kept(self._held, expected.mark)
            out.append(self._held[: len(self._held) - keep])
            self._held = self._held[len(self._held) - keep :]
            return False
        begin = at - len(_BEGINNINGS[0])
        if begin < 0 or self._held[begin:at] not in _BEGINNINGS:
            raise SpliceBrokenError("a mark came back in something else than the line that answers it")
        end = self._held.find(b"\r\n", at, at + _LINE_BYTES)
        if end < 0:
            if len(self._held) - at >= _LINE_BYTES:
                raise SpliceBrokenError("the line that answers a mark does not end")
            out.append(self._held[:begin])
            self._held = self._held[begin:]
            return False
        out += (self._held[:begin], expected.reply)
        self._held = self._held[end + 2 :]
        self._expected.popleft()
        self._current, self._reading = expected, expected.swallow or int(expected.observe)
        if not self._reading:
            reached.append(Reached(expected.mark))
        return True

    def _read(self, out: list[bytes], reached: list[Reached]) -> bool:
        """Read one whole reply behind a mark."""
        found = scan_reply(self._held)
        if found is None:
            return False
        if isinstance(found, Malformed):
            raise SpliceBrokenError(f"behind a mark the server sent {found.wrong.value}")
        reply, self._held = self._held[: found.length], self._held[found.length :]
        current = self._current
        if current is None or found.kind == b">" or current.observe:
            out.append(reply)
        if found.kind == b">":
            return True
        self._reading -= 1
        if current is not None and not self._reading:
            reached.append(Reached(current.mark, reply if current.observe else b""))
        return True


def _kept(held: bytes, mark: bytes) -> int:
    """How many of the last bytes may be the beginning of the line that answers a mark."""
    most = len(_BEGINNINGS[0]) + len(mark)
    at = held.find(b"-", max(0, len(held) - most))
    while at >= 0:
        tail = held[at:]
        if any((beginning + mark).startswith(tail) for beginning in _BEGINNINGS):
            return len(tail)
        at = held.find(b"-", at + 1)
    return 0
