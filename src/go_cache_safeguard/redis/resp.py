r"""Redis' wire format, read strictly.

Knows:     how a request is framed (RESP2 arrays of bulk strings, and inline commands when somebody allows them), how long one
           reply is (RESP2 and RESP3), and how a request is written in its one canonical form.
Called by: the guard's proxy, and whoever talks to a server.
Never:     guesses: a byte that a canonical frame would not have ends the reading for good, because a server that is more
           lenient than we are would see another command than the one that was judged.
Source:    networking.c `processMultibulkBuffer`, `processInlineBuffer`, sds.c `sdssplitargs`: Redis 6.2.14 and 7.0.15 look neither
           at the CR LF after a bulk nor at the byte after a CR, and `$1\r\nkXX*1\r\n$8\r\nFLUSHALL\r\n` runs FLUSHALL there; Valkey
           9.1.2 refuses it (tests/real/test_redis_patterns.py).
"""

import re
from dataclasses import dataclass
from enum import Enum

_MEBIBYTE = 1 << 20
_HEADER_BYTES = 16
_COUNT = re.compile(rb"[*$](0|[1-9][0-9]{0,9})\r\n")
_PLAIN = re.compile(rb"[\x20-\x7e\x80-\xff]*")
_HEX = re.compile(rb"\\x([0-9a-fA-F]{2})")
_ESCAPED = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}
_QUOTE, _APOSTROPHE, _BACKSLASH, _SPACE = b"\"'\\ "
_WEB = (b"POST", b"HOST:")


class Wrong(Enum):
    """Why a request is not read; the text is for people."""

    INLINE = "an inline command; only arrays of bulk strings are understood"
    HEADER = "a length that is not written in its one canonical form"
    EMPTY = "a command without a name"
    TOO_MANY = "more arguments than allowed"
    TOO_LARGE = "an argument or a command larger than allowed"
    END = "a bulk string that does not end in CR LF"
    LINE = "an inline command with control characters or without CR LF at its end"
    QUOTES = "an inline command with unbalanced quotes"
    WEB = "a line of a web browser"
    REPLY = "a reply that RESP does not have"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What cannot be understood.

    Attributes:
        wrong: See `Wrong`.
        at: Offset of the frame or part that is wrong, in bytes since the reader began.
    """

    wrong: Wrong
    at: int


@dataclass(frozen=True, slots=True)
class Request:
    """One command.

    Attributes:
        args: The name and its arguments; empty only for an inline line without a word, which a server skips.
        length: Bytes that it took on the wire.
        inline: Whether it came as a line. Forward `encode(args)` then, never the line.
    """

    args: tuple[bytes, ...]
    length: int
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A request of which some arguments are there, and the next one is on its way.

    Attributes:
        words: Its name and arguments, all together.
        args: Those that are complete.
        missing: Bytes of the next one that have not come yet, its CR LF included.
    """

    words: int
    args: tuple[bytes, ...]
    missing: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may take.

    Attributes:
        arguments: At most, the name included.
        argument_bytes: Of one argument; Redis' own `proto-max-bulk-len` is 512 MiB.
        request_bytes: Of all arguments together.
        inline: Whether inline commands are read at all.
        inline_bytes: Of one line; Redis' own limit is 64 KiB.
    """

    arguments: int = _MEBIBYTE
    argument_bytes: int = 512 * _MEBIBYTE
    request_bytes: int = 1024 * _MEBIBYTE
    inline: bool = False
    inline_bytes: int = 64 << 10


UNAUTHENTICATED = Limits(arguments=10, argument_bytes=16 << 10, request_bytes=64 << 10)
"""What a connection may send before it said who it is; Redis has the same limits."""


class RequestReader:
    """Reads one connection's requests, in whatever pieces they come.

    The result does not depend on how the bytes are cut. After the first malformed byte nothing more is read.

    Attributes:
        refused: What was wrong; None while nothing is.
    """

    def __init__(self, limits: Limits = Limits()) -> None:
        self.refused: Malformed | None = None
        self._limits = limits
        self._buffer = bytearray()
        self._base = 0  # offset of the buffer's first byte in the whole stream
        self._at = 0  # where reading goes on, inside the buffer
        self._start = 0  # where the request began, inside the buffer
        self._missing = 0  # arguments that are still to come; 0 between requests
        self._size = -1  # of the bulk string that is to come; -1 when its header is to come
        self._total = 0
        self._args: list[bytes] = []

    def feed(self, data: bytes) -> list[Request]:
        """Take what came.

        Returns:
            The requests that are complete now, in order.
        """
        found: list[Request] = []
        while (request := self.next(data)) is not None:
            found.append(request)
            data = b""
        return found

    def next(self, data: bytes = b"") -> Request | None:
        """Take what came, and read one request; what follows it is kept for the next call."""
        self._buffer += data
        request = None if self.refused is not None else self._next()
        self._drop(self._start)
        return request

    def release(self) -> bytes:
        """Give back what follows the last request. Not while one has begun to be read."""
        rest = bytes(self._buffer)
        self._drop(len(rest))
        return rest

    def begun(self) -> "Begun | None":
        """What is known of a request whose next argument is not complete; None if no such argument has begun."""
        if self.refused is not None or not self._missing or self._size < 0:
            return None
        words = len(self._args) + self._missing
        return Begun(words, tuple(self._args), self._at + self._size + 2 - len(self._buffer))

    def surrender(self) -> bytes:
        """Give back all bytes of the request that has begun, and forget it."""
        data = bytes(self._buffer)
        self._drop(len(data))
        self._at, self._missing, self._size, self._args = 0, 0, -1, []
        return data

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._base += size
        self._at -= min(size, self._at)
        self._start = 0

    @property
    def pending(self) -> int:
        """Bytes of a request that is not complete yet."""
        return len(self._buffer)

    def set_limits(self, limits: Limits) -> None:
        """Other limits from the next request on, for example after a login."""
        self._limits = limits

    def _next(self) -> Request | None:
        if not self._missing and not self._begin():
            return None
        if not self._missing:
            return self._line()
        while self._missing:
            if not self._argument():
                return None
        return self._done(tuple(self._args), inline=False)

    def _begin(self) -> bool:
        """Read the header of an array; True if a request goes on, `_missing` tells of which kind."""
        if self._at >= len(self._buffer):
            return False
        if self._buffer[self._at] != 0x2A:
            return self._limits.inline or self._refuse(Wrong.INLINE)
        count = self._header()
        if count is None:
            return False
        if count == 0:
            return self._refuse(Wrong.EMPTY)
        if count > self._limits.arguments:
            return self._refuse(Wrong.TOO_MANY)
        self._missing, self._size, self._total, self._args = count, -1, 0, []
        return True

    def _argument(self) -> bool:
        """Read one bulk string; False if more bytes are needed or it is wrong."""
        if self._size < 0:
            if self._at < len(self._buffer) and self._buffer[self._at] != 0x24:
                return self._refuse(Wrong.HEADER)
            size = self._header()
            if size is None:
                return False
            self._total += size
            if size > self._limits.argument_bytes or self._total > self._limits.request_bytes:
                return self._refuse(Wrong.TOO_LARGE)
            self._size = size
        end = self._at + self._size
        ending = self._buffer[end : end + 2]
        if ending != b"\r\n"[: len(ending)]:
            return self._refuse(Wrong.END)
        if len(ending) < 2:
            return False
        self._args.append(bytes(self._buffer[self._at : end]))
        self._at, self._size = end + 2, -1
        self._missing -= 1
        return True

    def _header(self) -> int | None:
        """Read `*N` or `$N`; None if it is not complete or wrong."""
        line = bytes(self._buffer[self._at : self._at + _HEADER_BYTES])
        newline = line.find(b"\n")
        if newline < 0 and len(line) < _HEADER_BYTES:
            return None
        match = _COUNT.fullmatch(line, 0, newline + 1)
        if match is None:
            self._refuse(Wrong.HEADER)
            return None
        self._at += newline + 1
        return int(match[1])

    def _line(self) -> Request | None:
        newline = self._buffer.find(b"\n", self._at, self._at + self._limits.inline_bytes)
        if newline < 0:
            if len(self._buffer) - self._at >= self._limits.inline_bytes:
                self._refuse(Wrong.TOO_LARGE)
            return None
        line = bytes(self._buffer[self._at : newline + 1])
        args = split_line(line[:-2]) if line.endswith(b"\r\n") else Wrong.LINE
        if isinstance(args, Wrong):
            self._refuse(args)
            return None
        self._at = newline + 1
        return self._done(args, inline=True)

    def _done(self, args: tuple[bytes, ...], *, inline: bool) -> Request:
        length = self._at - self._start
        self._start = self._at
        return Request(args, length, inline)

    def _refuse(self, wrong: Wrong) -> bool:
        self.refused = Malformed(wrong, self._base + self._at)
        return False


def split_line(line: bytes) -> tuple[bytes, ...] | Wrong:
    """Split an inline command as a server would.

    Args:
        line: Without its CR LF.

    Returns:
        The words; none for a line of spaces. Control characters are refused, although a server takes tabs for spaces and
        stops at NUL; so are the first lines of web browsers, after which a server closes the connection.
    """
    if _PLAIN.fullmatch(line) is None:
        return Wrong.LINE
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] == _SPACE:
            at += 1
        if at == len(line):
            break
        word = _word(line, at)
        if word is None:
            return Wrong.QUOTES
        text, at = word
        words.append(text)
    return Wrong.WEB if words and words[0].upper() in _WEB else tuple(words)


def _word(line: bytes, at: int) -> tuple[bytes, int] | None:
    """The word that begins here and where it ends; None if a quote is not closed, or something follows a closing one."""
    word = bytearray()
    quote = 0
    while at < len(line):
        char = line[at]
        if not quote:
            if char == _SPACE:
                break
            if char in {_QUOTE, _APOSTROPHE}:
                quote = char
            else:
                word.append(char)
            at += 1
        elif char == quote:
            after = line[at + 1 : at + 2]
            return (bytes(word), at + 1) if after in {b"", b" "} else None
        else:
            read, at = _quoted(line, at, quote)
            word.append(read)
    return None if quote else (bytes(word), at)


def _quoted(line: bytes, at: int, quote: int) -> tuple[int, int]:
    """One character inside quotes, and where the next one is."""
    char = line[at]
    if char != _BACKSLASH or at + 1 == len(line):
        return char, at + 1
    escaped = line[at + 1]
    if quote == _APOSTROPHE:
        return (escaped, at + 2) if escaped == _APOSTROPHE else (char, at + 1)
    code = _HEX.match(line, at)
    return (int(code[1], 16), at + 4) if code else (_ESCAPED.get(escaped, escaped), at + 2)


def encode(args: tuple[bytes, ...]) -> bytes:
    """A request in its canonical form: the only one that may be sent to a server."""
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


@dataclass(frozen=True, slots=True)
class Reply:
    """Where one reply ends.

    Attributes:
        length: Bytes, attributes before it included.
        kind: Its first byte; `>` is a push message, which answers no request.
    """

    length: int
    kind: bytes


_REPLY = re.compile(rb"([+\-:$*%~>|=!_,#(])([^\r\n]*)\r\n")
_LENGTH = re.compile(rb"-1|0|[1-9][0-9]{0,18}")
_LINE_BYTES = 64 << 10
_OF_REPLY = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}


def scan_reply(buffer: bytes, at: int = 0) -> Reply | Malformed | None:
    """Find where one complete reply ends, without decoding it.

    Args:
        buffer: What a server sent.
        at: Where the reply begins.

    Returns:
        None if more bytes are needed. Nesting is counted, not recursed into, so no depth is too deep.
    """
    start, missing, kind = at, 1, b""
    while missing:
        match = _REPLY.match(buffer, at)
        if match is None:
            return _unfinished(buffer, at)
        mark, text = match[1], match[2]
        size = 0
        if mark in _OF_REPLY or mark in b"$=!":
            if _LENGTH.fullmatch(text) is None or (text == b"-1" and mark not in b"$*"):
                return Malformed(Wrong.REPLY, at)
            size = max(0, int(text)) if text != b"-1" else -1
        if missing == 1 and not kind and mark != b"|":
            kind = mark  # what stands before it belongs to an attribute
        at = match.end()
        missing -= mark != b"|"
        if mark in _OF_REPLY:
            missing += max(0, size) * _OF_REPLY[mark]
        elif mark in b"$=!" and size >= 0:
            ending = buffer[at + size : at + size + 2]
            if ending != b"\r\n"[: len(ending)]:
                return Malformed(Wrong.REPLY, at)
            if len(ending) < 2:
                return None
            at += size + 2
    return Reply(at - start, kind)


def _unfinished(buffer: bytes, at: int) -> Malformed | None:
    """A header that is not there yet, or never will be."""
    line = buffer[at : at + _LINE_BYTES]
    if not line:
        return None
    newline, carriage = line.find(b"\n"), line.find(b"\r")
    complete = newline >= 0 or len(line) == _LINE_BYTES or 0 <= carriage < len(line) - 1
    return Malformed(Wrong.REPLY, at) if complete or line[:1] not in b"+-:$*%~>|=!_,#(" else None
