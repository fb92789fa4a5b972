"""Values that are too large for memory, on their way from a server and back to it.

Knows:     how replies are read one after the other, long strings piece by piece, and how a command is sent whose argument comes in pieces.
Called by: `redis.client`.
Never:     holds more of a long string than what just came; reads past the last reply that was asked for.
Source:    RESP2, the protocol of Redis since 2.0: a bulk string tells its length before its bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from go_cache_safeguard.redis.trash import Big

Keep = Callable[[bytes], None]
"""Takes the pieces of one long string, one after the other."""
Sink = Callable[[bytes, int], Keep | None]
"""Asked with a key and the length of its value: who takes the pieces; None if nobody does."""


class OddReplyError(ValueError):
    """The server answered with something that is no reply, or not one to what was asked."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of the server, as a value.

    Attributes:
        text: Without the minus.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Long:
    """A string that was not read yet. Read it with `Replies.pieces` before anything else.

    Attributes:
        size: Bytes.
    """

    size: int


Plain = bytes | int | Refusal | list["Plain"] | None


class Replies:
    """What a server answers, read from a connection on which nothing else is under way.

    Args:
        receive: Gives what came next, at least one byte.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self._at = 0

    def next(self, most: int) -> "Plain | Long":
        """The next reply. A string of more than `most` bytes is left where it is.

        Raises:
            OddReplyError: It is none.
        """
        line = self._line()
        kind, text = line[:1], line[1:]
        match kind:
            case b"$":
                size = _number(text)
                if size > most:
                    return Long(size)
                return None if size < 0 else self._string(size)
            case b"+":
                return text
            case b"-":
                return Refusal(text.decode("utf-8", "replace"))
            case b":":
                return _number(text)
            case b"*":
                return self._array(_number(text), most)
        raise OddReplyError(f"a reply that begins with {line[:20]!r}")

    def pieces(self, size: int) -> Iterator[bytes]:
        """The bytes of a long string, as they come."""
        left = size
        while left:
            if self._at == len(self._buffer):
                self._buffer, self._at = self._receive(), 0
            piece = self._buffer[self._at : self._at + left]
            self._at += len(piece)
            left -= len(piece)
            yield piece
        self._end()

    def _array(self, count: int, most: int) -> Plain:
        if count < 0:
            return None
        found: list[Plain] = []
        for _ in range(count):
            one = self.next(most)
            if isinstance(one, Long):
                raise OddReplyError("a long string inside of an array")
            found.append(one)
        return found

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            self._more()
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line

    def _string(self, size: int) -> bytes:
        if self._at + size + 2 > len(self._buffer):
            parts, had = [self._buffer[self._at :]], len(self._buffer) - self._at
            while had < size + 2:
                parts.append(self._receive())
                had += len(parts[-1])
            self._buffer, self._at = b"".join(parts), 0
        text = self._buffer[self._at : self._at + size]
        self._at += size
        self._end()
        return text

    def _end(self) -> None:
        while len(self._buffer) - self._at < 2:
            self._more()
        if self._buffer[self._at : self._at + 2] != b"\r\n":
            raise OddReplyError("a string that does not end where it should")
        self._at += 2

    def _more(self) -> None:
        self._buffer, self._at = self._buffer[self._at :] + self._receive(), 0


def take(replies: Replies, size: int, keep: Keep | None) -> Big:
    """Read a long string: hand its pieces on, and add up what it is."""
    digest = sha256()
    for piece in replies.pieces(size):
        digest.update(piece)
        if keep is not None:
            keep(piece)
    return Big(size, digest.hexdigest())


def in_pieces(before: Sequence[bytes], size: int, pieces: Iterable[bytes], after: Sequence[bytes]) -> Iterator[bytes]:
    """A command as it goes over the wire, of which one argument comes in pieces.

    Args:
        before: Its words before that argument.
        size: Bytes of that argument.
        pieces: Together exactly so many bytes.
        after: Its words after that argument.
    """
    yield b"*%d\r\n" % (len(before) + 1 + len(after)) + b"".join(map(_bulk, before)) + b"$%d\r\n" % size
    yield from pieces
    yield b"\r\n" + b"".join(map(_bulk, after))


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise OddReplyError(f"{text[:20]!r} where a number should stand") from error
