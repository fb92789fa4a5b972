"""What the go command and a GOCACHEPROG program say to each other.

Knows:     requests, the bodies that follow puts, and how replies are written.
Called by: `flows.cacheprog`, which moves the bytes.
Never:     holds more than a request line and one piece of a body, whatever comes; believes a length without counting.
Source:    cmd/go/internal/cache/prog.go and cmd/go/internal/cacheprog, read in go1.24.11, go1.26.8 and go1.27.3: a request is a line
           of JSON and a blank line; a put with BodySize > 0 then has its body as one JSON string in base64, on a line. Up to go1.24
           a command built with the experiment says `ObjectID` for `OutputID`.

Loads next to nothing, because `go` waits until we are there: no dataclasses, no regular expressions, and JSON only for requests
that are not written the way `go` writes them.
"""

from binascii import Error as BadBase64
from binascii import a2b_base64, b2a_base64

TYPE_CHECKING = False  # not from typing, which takes longer to load than all the rest; linters know the name
if TYPE_CHECKING:
    from collections.abc import Callable

LINE_LIMIT = 1 << 16
"""bytes: a request without its body is below 300."""
_INT64_MAX = 2**63 - 1
_BEGIN = b'{"ID":'
_GET = b',"Command":"get","ActionID":"'
_PUT = b',"Command":"put","ActionID":"'
_OUTPUT = b'","OutputID":"'
_SIZE = b'","BodySize":'
_CLOSE = b',"Command":"close"}'
_ESCAPES = {'"': '\\"', "\\": "\\\\"}


class Get:
    """Is there something for this action?

    Attributes:
        id: Of the request.
        action: 32 bytes.
    """

    __slots__ = ("action", "id")

    def __init__(self, id: int, action: bytes) -> None:  # noqa: A002 - its name in the protocol
        self.id = id
        self.action = action


class Put:
    """Keep this; its body follows in `Piece`s until `End`.

    Attributes:
        id: Of the request.
        action: 32 bytes.
        output: 32 bytes, SHA-256 of the body, as go says.
        size: Of the body, in bytes.
    """

    __slots__ = ("action", "id", "output", "size")

    def __init__(self, id: int, action: bytes, output: bytes, size: int) -> None:  # noqa: A002 - its name in the protocol
        self.id = id
        self.action = action
        self.output = output
        self.size = size


class Piece:
    """A part of the body of the put before.

    Attributes:
        data: Its bytes.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class End:
    """The body of the put before is over.

    Attributes:
        whole: It had as many bytes as were announced, and all were base64.
    """

    __slots__ = ("whole",)

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole


class Close:
    """Nothing more will be asked.

    Attributes:
        id: Of the request.
    """

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:  # noqa: A002 - its name in the protocol
        self.id = id


class Unclear:
    """No request that we know.

    Attributes:
        id: Of the request, or None if not even that could be read.
    """

    __slots__ = ("id",)

    def __init__(self, id: int | None) -> None:  # noqa: A002 - its name in the protocol
        self.id = id


Event = Get | Put | Piece | End | Close | Unclear


class Reader:
    """Turns bytes, cut anywhere, into requests."""

    def __init__(self) -> None:
        self._rest = b""
        self._read: Callable[[bytes, int, list[Event]], int] = self._line
        self._left = 0

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a request."""
        return not self._rest and self._read == self._line

    def feed(self, data: bytes) -> list[Event]:
        """What has become clear with these bytes.

        Args:
            data: What `go` wrote next.
        """
        events: list[Event] = []
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at = 0
        while 0 <= at < len(data):
            at = self._read(data, at, events)
        return events

    def _line(self, data: bytes, at: int, events: list[Event]) -> int:
        end = data.find(b"\n", at)
        if end < 0:
            return self._wait(data, at, events)
        line = data[at:end]
        if line:
            event = parse_request(line)
            events.append(event)
            if isinstance(event, Put):
                self._expect(event, events)
        return end + 1

    def _wait(self, data: bytes, at: int, events: list[Event]) -> int:
        """Half a line: keep it, unless no request is that long."""
        if len(data) - at > LINE_LIMIT:
            events.append(Unclear(None))
            self._read = self._skip
            return at
        self._rest = data[at:]
        return -1

    def _expect(self, put: Put, events: list[Event]) -> None:
        if put.size == 0:
            events.append(End(whole=True))
        else:
            self._left = (put.size + 2) // 3 * 4
            self._read = self._quote

    def _quote(self, data: bytes, at: int, events: list[Event]) -> int:
        """The quotation mark before a body; empty lines may stand before it."""
        if data[at] == 0x0A:
            return at + 1
        if data[at] != 0x22:
            return self._broken(at, events)
        self._read = self._body
        return at + 1

    def _body(self, data: bytes, at: int, events: list[Event]) -> int:
        here = min(len(data) - at, self._left)
        if here < self._left:
            here -= here % 4
        if here == 0 and self._left:
            self._rest = data[at:]  # three bytes at most
            return -1
        if here:
            try:
                events.append(Piece(a2b_base64(data[at : at + here], strict_mode=True)))
            except BadBase64:
                return self._broken(at, events)
            self._left -= here
            if self._left == 0:
                self._read = self._unquote
        return at + here

    def _unquote(self, data: bytes, at: int, events: list[Event]) -> int:
        if data[at] != 0x22:
            return self._broken(at, events)
        events.append(End(whole=True))
        self._read = self._line
        return at + 1

    def _broken(self, at: int, events: list[Event]) -> int:
        events.append(End(whole=False))
        self._read = self._skip
        return at

    def _skip(self, data: bytes, at: int, _events: list[Event]) -> int:
        """To the end of the line, keeping nothing."""
        end = data.find(b"\n", at)
        if end < 0:
            return -1
        self._read = self._line
        return end + 1


def parse_request(line: bytes) -> Get | Put | Close | Unclear:
    """Read one request.

    Args:
        line: Without its newline.
    """
    before, get, after = line.partition(_GET)
    if get and len(after) == 46 and after.endswith(b'"}'):
        number, action = _number(before), _id(after[:44])
        if number is not None and action is not None:
            return Get(number, action)
    return _parse_put(line) or _parse_other(line)


def _parse_put(line: bytes) -> Put | None:
    """A put exactly as `go` writes it; None for anything else."""
    before, put, after = line.partition(_PUT)
    if not put or after[44:58] != _OUTPUT:
        return None
    number, action, output, tail = _number(before), _id(after[:44]), _id(after[58:102]), after[102:]
    if number is None or action is None or output is None:
        return None
    if tail == b'"}':
        return Put(number, action, output, 0)
    digits = tail.removeprefix(_SIZE)
    if digits == tail or not digits.endswith(b"}") or not digits[:-1].isdigit() or len(digits) > 19:
        return None
    return Put(number, action, output, int(digits[:-1]))


def _number(text: bytes) -> int | None:
    digits = text[6:]
    return int(digits) if text.startswith(_BEGIN) and digits.isdigit() and len(digits) < 19 else None


def _id(text: bytes) -> bytes | None:
    """32 bytes in base64; None if it is anything else."""
    try:
        found = a2b_base64(text, strict_mode=True)
    except BadBase64:
        return None
    return found if len(found) == 32 else None


def _parse_other(line: bytes) -> Get | Put | Close | Unclear:
    """Whatever is written otherwise: other spaces, another order, an older name."""
    if line.startswith(_BEGIN) and line.endswith(_CLOSE) and line[6 : -len(_CLOSE)].isdigit() and len(line) < 45:
        return Close(int(line[6 : -len(_CLOSE)]))
    import json  # noqa: PLC0415 - a millisecond that go need not wait for

    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Unclear(None)
    if not isinstance(value, dict):
        return Unclear(None)
    number = _int(value.get("ID"))
    if number is None:
        return Unclear(None)
    action, output = _ids(value, "ActionID"), _ids(value, "OutputID", "ObjectID")
    match value.get("Command"):
        case "close":
            return Close(number)
        case "get" if action is not None:
            return Get(number, action)
        case "put" if action is not None and output is not None:
            size = _int(value.get("BodySize", 0))
            return Unclear(number) if size is None else Put(number, action, output, size)
    return Unclear(number)


def _int(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _INT64_MAX else None


def _ids(value: "dict[str, object]", *names: str) -> bytes | None:
    for name in names:
        text = value.get(name)
        if isinstance(text, str) and text.isascii():
            return _id(text.encode("ascii"))
    return None


def hello(*, put: bool) -> bytes:
    """The first thing that is said: what we can do.

    Args:
        put: Whether anything may be written.
    """
    return b'{"ID":0,"KnownCommands":["get",%b"close"]}\n' % (b'"put",' if put else b"")


def hit(number: int, output: bytes, size: int, time_ns: int, path: bytes) -> bytes:
    """The answer to a get that found something.

    Args:
        number: Of the request.
        output: 32 bytes.
        size: In bytes.
        time_ns: When it was written, in nanoseconds since 1970-01-01 UTC.
        path: Where it lies, from `escaped`.
    """
    text = b2a_base64(output, newline=False)
    return b'{"ID":%d,"OutputID":"%b","Size":%d,"Time":"%b","DiskPath":"%b"}\n' % (
        number,
        text,
        size,
        _rfc3339(time_ns),
        path,
    )


_DATES: dict[int, bytes] = {}
"""The dates of the few days on which a cache was written, by days since 1970-01-01."""


def _rfc3339(time_ns: int) -> bytes:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    days, second = divmod(seconds, 86_400)
    date = _DATES.get(days) or _date(days)
    return b"%bT%02d:%02d:%02d.%09dZ" % (date, second // 3_600, second // 60 % 60, second % 60, rest)


def _date(days: int) -> bytes:
    # Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years that begin in March, eras of 400 years.
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    from_march = (5 * of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    day = of_year - (153 * from_march + 2) // 5 + 1
    date = b"%04d-%02d-%02d" % (year + era * 400 + (month <= 2), month, day)
    if len(_DATES) < 1000:
        _DATES[days] = date
    return date


def miss(number: int) -> bytes:
    """The answer to a get that found nothing, for whatever reason."""
    return b'{"ID":%d,"Miss":true}\n' % number


def stored(number: int, path: bytes) -> bytes:
    """The answer to a put.

    Args:
        number: Of the request.
        path: Where it lies until we end, from `escaped`.
    """
    return b'{"ID":%d,"DiskPath":"%b"}\n' % (number, path)


def closed(number: int) -> bytes:
    """The answer to the last request."""
    return b'{"ID":%d}\n' % number


def escaped(path: str) -> bytes:
    """A path as it stands inside of a JSON string.

    Raises:
        UnicodeEncodeError: It is no UTF-8, which JSON cannot say.
    """
    if path.isascii() and path.isprintable() and '"' not in path and "\\" not in path:
        return path.encode("ascii")
    return "".join(_escape(char) for char in path).encode("utf-8")


def _escape(char: str) -> str:
    return _ESCAPES.get(char) or (char if ord(char) >= 0x20 else f"\\u{ord(char):04x}")
