"""A publisher of spans for small gateways: OTLP as JSON over MQTT 3.1.1, QoS 1, with a buffer on disk.

Knows:     the packets of MQTT that a publisher needs, the files of its buffer, and the JSON form of OTLP.
Called by: nothing here: `traces edge --print` copies this one file to a gateway, where Python's own library is all it needs:
           `python3 -S -E -I edge.py --broker mqtts://gateway@broker --topic traces/gateway --service gateway --buffer DIR < spans.jsonl`,
           or as a module: `with Publisher(...) as publisher: publisher.span("read", start_ns, end_ns, {"sensor": 7})`.
Never:     imports anything of this package. Sends or writes an attribute that is on the list of what is left out. Forgets a span before the
           broker has acknowledged it, unless the buffer is full: then the oldest go, and are counted. Waits for a network inside `span`,
           except for a name server.
Source:    OASIS MQTT 3.1.1 (4.4: what is not acknowledged is sent again, with DUP and the same number, after the session is resumed);
           opentelemetry-proto (JSON: ids in hex, 64-bit numbers as text).

One thread uses a `Publisher`. Who has no spans for long calls `pump` now and then, or is connected anew with the next span.
"""

import _socket  # `socket` alone would cost half a megabyte, for names that this file does not use
import errno
import fcntl
import os
import select
import struct
import sys
import time
from _json import encode_basestring_ascii, make_encoder, make_scanner  # `json` itself would cost 1.4 MB: it brings `re`
from binascii import crc32

MOST = 64 << 10
"""Bytes of a message."""
LEFT_OUT = (
    "*authorization", "*cookie", "*cookies", "*x-api-key", "*api-key", "*apikey", "*password", "*passwd", "*secret",
    "*access-token", "*refresh-token", "*id-token", "*session-token", "*csrf-token", "*private-key", "*credential", "*credentials",
    "user.id", "user.name", "user.email", "enduser.id", "client.address", "session.id",
)  # fmt: skip
"""Names of attributes that never leave, whatever else is asked for; `_` is `-`, upper case lower, `*` any beginning or end."""
KINDS = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_HEAD = struct.Struct(">3sBII")
_MAGIC, _WAITING, _DONE = b"\xf5\xc7\x9d", 0, 1
_WINDOW = 64
_DEEPEST = 8
_KEEP_ALIVE_S = 30
_PATIENCE_S = 20.0
_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = 0x10, 0x20, 0x32, 0x40, 0xC0, 0xD0, 0xE0
_DUP = 0x08
_REFUSALS = ("", "its version of MQTT", "the client's name", "for now", "user or password", "this user")
_DOWN, _DIALING, _GREETING, _UP = range(4)


class _Reading:
    """How JSON is read: as `json.loads` does."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


_scan = make_scanner(_Reading)  # type: ignore[arg-type] # its stub wants what it makes
_chunks = make_encoder(None, str, encode_basestring_ascii, None, ":", ",", False, False, True)  # noqa: FBT003 - C takes no names


def read_json(line: str) -> object:
    """What a line of JSON says.

    Raises:
        ValueError: It is none.
    """
    line = line.strip()
    try:
        found, end = _scan(line, 0)
    except StopIteration:
        found, end = None, -1
    if end != len(line):
        raise ValueError("no JSON")
    return found


def write_json(what: object) -> str:
    """JSON without blanks."""
    return "".join(_chunks(what, 0))


# --- the buffer --------------------------------------------------------------------------------------------------------


class Segment:
    """One file of the buffer: frames one after the other. It only grows, except for the byte in a frame that says that it is done."""

    __slots__ = ("fd", "path", "size", "waiting")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.size = os.fstat(self.fd).st_size
        self.waiting = 0

    def frame(self, at: int) -> "tuple[int, int, bytes] | None":
        """The first whole frame from a place on: where it is, its state, what it holds. Whatever is torn or damaged is stepped over."""
        while at < self.size:
            head = os.pread(self.fd, _HEAD.size, at)
            if len(head) == _HEAD.size:
                magic, state, length, check = _HEAD.unpack(head)
                held = os.pread(self.fd, length, at + _HEAD.size) if magic == _MAGIC and length <= MOST else b""
                if held and len(held) == length and crc32(held, length) == check:
                    return at, state, held
            found = os.pread(self.fd, self.size - at - 1, at + 1).find(_MAGIC)
            at = self.size if found < 0 else at + 1 + found
        return None

    def add(self, held: bytes, *, sync: bool) -> None:
        """Write a frame; all of it, or nothing.

        Raises:
            OSError: There is no room.
        """
        frame = _HEAD.pack(_MAGIC, _WAITING, len(held), crc32(held, len(held))) + held
        if os.pwrite(self.fd, frame, self.size) < len(frame):
            os.ftruncate(self.fd, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(frame)
        self.waiting += 1
        if sync:
            os.fdatasync(self.fd)

    def done(self, at: int) -> None:
        """Note that the frame there has arrived."""
        os.pwrite(self.fd, bytes((_DONE,)), at + len(_MAGIC))
        self.waiting -= 1

    def remove(self) -> None:
        """Let go of the file."""
        os.unlink(self.path)
        os.close(self.fd)


class Buffer:
    """What has not been acknowledged, on disk, the oldest first. What is in it survives the end of the process, however it comes.

    Attributes:
        waiting: Messages that wait for an acknowledgement.
        dropped: Messages that went because there was no room.
        damaged: Places in old files where a frame could not be read.
    """

    def __init__(self, folder: str, most_bytes: int, *, sync: bool = False) -> None:
        """Open it, and make it if it is not there.

        Args:
            folder: Of its own.
            most_bytes: That it may take; at least 512 KiB.
            sync: Whether each message is to survive a power cut too.

        Raises:
            OSError: It cannot be opened, or another process has it.
            ValueError: It is too small.
        """
        if most_bytes < 8 * MOST:
            raise ValueError(f"a buffer needs {8 * MOST} bytes")
        os.makedirs(folder, 0o700, exist_ok=True)
        self._folder, self._most, self._sync = folder, most_bytes, sync
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.dropped = self.damaged = 0
        self._segments: "list[Segment]" = []
        names = sorted(name for name in os.listdir(folder) if name.endswith(".spans"))
        for name in names:
            self._segments.append(self._opened(os.path.join(folder, name)))
        self._number = int(names[-1].partition(".")[0]) if names else 0
        self._begin()  # never behind a frame that may be torn
        self._tidy()
        self._reading, self._at = self._segments[0], 0

    @property
    def waiting(self) -> int:
        """Messages that wait for an acknowledgement."""
        return sum(segment.waiting for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def half_full(self) -> bool:
        """Whether it would be better to wait with more, if that is possible."""
        return self.size > self._most // 2

    def put(self, held: bytes) -> None:
        """Write a message at the end; if there is no room, the oldest go.

        Raises:
            OSError: The disk is full.
        """
        if self._segments[-1].size + len(held) + _HEAD.size > self._most // 4:
            self._begin()
        while len(self._segments) > 1 and self.size + len(held) + _HEAD.size > self._most:
            self._let_go(self._segments[0], lost=True)
        self._segments[-1].add(held, sync=self._sync)

    def take(self) -> "tuple[Segment, int, bytes] | None":
        """The next message that waits and has not been taken before."""
        while True:
            found = self._reading.frame(self._at)
            if found is None:
                if self._reading is self._segments[-1]:
                    return None
                self._reading, self._at = self._segments[self._segments.index(self._reading) + 1], 0
                continue
            at, state, held = found
            self._at = at + _HEAD.size + len(held)
            if state == _WAITING:
                return self._reading, at, held

    def done(self, segment: Segment, at: int) -> None:
        """A message has arrived."""
        if self.holds(segment):  # and was not dropped meanwhile
            segment.done(at)
            if segment.waiting == 0:
                self._tidy()

    def holds(self, segment: Segment) -> bool:
        """Whether a file has not been let go of."""
        return segment in self._segments

    def client(self) -> str:
        """A name for who has this buffer, made once."""
        with open(os.path.join(self._folder, "client"), "a+") as file:
            file.seek(0)
            name = file.read(64).strip()
            if not name:
                name = "edge-" + os.urandom(8).hex()
                file.write(name)
        return name

    def close(self) -> None:
        """Let go of the files; what waits stays in them."""
        for segment in self._segments:
            if segment.waiting:
                os.close(segment.fd)
            else:
                segment.remove()
        os.close(self._lock)

    def _opened(self, path: str) -> Segment:
        segment, end = Segment(path), 0
        while found := segment.frame(end):
            self.damaged += found[0] > end
            segment.waiting += found[1] == _WAITING
            end = found[0] + _HEAD.size + len(found[2])
        self.damaged += end < segment.size
        return segment

    def _begin(self) -> None:
        self._number += 1
        self._segments.append(Segment(os.path.join(self._folder, f"{self._number:012d}.spans")))

    def _tidy(self) -> None:
        """Files of which everything has arrived go; the one that is written begins anew when it has grown."""
        for segment in self._segments[:-1]:
            if segment.waiting == 0:
                self._let_go(segment, lost=False)
        last = self._segments[-1]
        if len(self._segments) == 1 and last.waiting == 0 and last.size > MOST:
            os.ftruncate(last.fd, 0)
            last.size = self._at = 0

    def _let_go(self, segment: Segment, *, lost: bool) -> None:
        if lost:
            self.dropped += segment.waiting
        self._segments.remove(segment)
        if getattr(self, "_reading", None) is segment:
            self._reading, self._at = self._segments[0], 0
        segment.remove()


# --- the connection ----------------------------------------------------------------------------------------------------


class Tls:
    """TLS between what is said and what goes over the wire. Only who asks for it pays for its import."""

    def __init__(self, host: str, authority: str) -> None:
        import ssl  # noqa: PLC0415 - 5 MB, for who asks for it

        self._again = ssl.SSLWantReadError
        self._come, self._go = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=authority or None)
        self._tls = context.wrap_bio(self._come, self._go, server_hostname=host)
        self._ready = False

    def heard(self, data: bytes) -> bytes:
        """What was said in bytes of the wire."""
        self._come.write(data)
        said = b""
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
            while piece := self._tls.read(16384):
                said += piece
        except self._again:
            pass  # the rest has not come yet
        return said

    def spoken(self, out: bytearray) -> bytes:
        """Bytes for the wire; takes from what is to be said as soon as there is somebody to say it to."""
        if not self._ready:
            self.heard(b"")
        if self._ready and out:
            self._tls.write(bytes(out))
            out.clear()
        return self._go.read()


class Line:
    """One connection to a broker, made without waiting."""

    def __init__(self, address: "tuple[object, ...]", family: int, tls: "Tls | None") -> None:
        self._socket = _socket.socket(family, _socket.SOCK_STREAM)
        self._socket.setblocking(False)  # noqa: FBT003 - C takes no names
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._tls, self._wire = tls, bytearray()
        self.out, self.come = bytearray(), bytearray()
        self.fd = self._socket.fileno()
        failed = self._socket.connect_ex(address)
        if failed not in {0, errno.EINPROGRESS}:
            self.close()
            raise OSError(failed, os.strerror(failed))

    @property
    def has_to_say(self) -> bool:
        """Whether bytes wait for the network."""
        return bool(self.out or self._wire)

    def see_connected(self) -> None:
        """Raise what went wrong with the connection, if something did."""
        failed = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))

    def send(self) -> None:
        """Say what the network takes now."""
        if self._tls:
            self._wire += self._tls.spoken(self.out)
        else:
            self._wire += self.out
            self.out.clear()
        if self._wire:
            try:
                del self._wire[: self._socket.send(self._wire)]
            except BlockingIOError:
                return  # the rest goes later

    def hear(self) -> None:
        """Take what has come.

        Raises:
            OSError: The other side has gone.
        """
        try:
            data = self._socket.recv(16384)
        except BlockingIOError:
            return
        if not data:
            raise OSError(errno.ECONNRESET, "the broker closed the connection")
        self.come += self._tls.heard(data) if self._tls else data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def packet(kind: int, body: bytes) -> bytes:
    """A packet of MQTT."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = length >> 7, length & 127
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes((kind,)) + digits + body


def text(words: str) -> bytes:
    """A text in a packet of MQTT."""
    data = words.encode()
    return struct.pack(">H", len(data)) + data


def packets(come: bytearray) -> "list[tuple[int, bytes]]":
    """Whole packets of what a broker sent, which are taken away from it.

    Raises:
        OSError: A publisher is never sent such a packet.
    """
    found: "list[tuple[int, bytes]]" = []
    while len(come) >= 2:
        if come[1] > 127:
            raise OSError(errno.EPROTO, "the broker sent what no publisher is sent")
        end = 2 + come[1]
        if len(come) < end:
            break
        found.append((come[0], bytes(come[2:end])))
        del come[:end]
    return found


class Broker:
    """Where messages go.

    Attributes:
        host: Its name.
        port: Its port.
        user: Who we are to it; empty if it does not ask.
        secure: Whether TLS is spoken.
    """

    def __init__(self, url: str, *, password: str = "", authority: str = "") -> None:
        """Read a URL: `mqtt://[user@]host[:port]`, or `mqtts://`.

        Raises:
            ValueError: It is none.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in {"mqtt", "mqtts"} or not rest:
            raise ValueError("a broker is mqtt://[user@]host[:port] or mqtts://[user@]host[:port]")
        self.user, _, place = rest.rstrip("/").rpartition("@")
        if ":" in self.user:
            raise ValueError("a password has no place in a URL; use --password-file")
        self.secure, self._password, self._authority = scheme == "mqtts", password, authority
        if place.startswith("["):
            self.host, _, port = place[1:].partition("]")
            port = port.lstrip(":")
        else:
            self.host, _, port = place.partition(":")
        self.port = int(port or (8883 if self.secure else 1883))

    def dial(self, turn: int) -> Line:
        """Begin to connect; each turn tries the next of its addresses.

        Raises:
            OSError: There is no such name, or no way to it.
        """
        # As bytes: text would load the tables of international names, 1.3 MB.
        found = _socket.getaddrinfo(self.host.encode("ascii"), self.port, 0, _socket.SOCK_STREAM)
        family, _, _, _, address = found[turn % len(found)]
        return Line(address, family, Tls(self.host, self._authority) if self.secure else None)

    def greeting(self, client: str) -> bytes:
        """CONNECT: a session that lasts, so that what is sent again is known to be the same."""
        flags = (0x80 if self.user else 0) | (0x40 if self._password else 0)
        body = text("MQTT") + bytes((4, flags)) + struct.pack(">H", _KEEP_ALIVE_S) + text(client)
        return packet(
            _CONNECT, body + (text(self.user) if self.user else b"") + (text(self._password) if self._password else b"")
        )


# --- spans -------------------------------------------------------------------------------------------------------------


def sound(words: object) -> str:
    """A text that every reader of JSON takes: without halves of characters."""
    return str(words).encode("utf-8", "replace").decode()


class Cover:
    """What of attributes may leave: no name that is on a list."""

    def __init__(self, names: "tuple[str, ...] | list[str]" = ()) -> None:
        self._plain, self._ends, self._begins = set(), [], []
        for name in [*LEFT_OUT, *names]:
            plain = _plain(name)
            if plain.startswith("*"):
                self._ends.append(plain[1:])
            elif plain.endswith("*"):
                self._begins.append(plain[:-1])
            else:
                self._plain.add(plain)

    def leaves_out(self, name: str) -> bool:
        """Whether an attribute of this name stays here."""
        plain = _plain(name)
        return (
            plain in self._plain
            or any(plain.endswith(end) for end in self._ends)
            or any(plain.startswith(begin) for begin in self._begins)
        )

    def attributes(self, attributes: "dict[str, object]", depth: int = 0) -> "list[dict[str, object]]":
        """Attributes as OTLP has them, without what stays here.

        Raises:
            ValueError: They are nested too deeply.
        """
        return [
            {"key": sound(name), "value": self._value(value, depth)}
            for name, value in attributes.items()
            if not self.leaves_out(str(name))
        ]

    def _value(self, value: object, depth: int) -> "dict[str, object]":
        if depth > _DEEPEST:
            raise ValueError("attributes are nested too deeply")
        if isinstance(value, bool):
            return {"boolValue": value}
        if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
            return {"intValue": str(value)}
        if isinstance(value, float) and abs(value) < float("inf"):
            return {"doubleValue": value}
        if isinstance(value, (list, tuple)):
            return {"arrayValue": {"values": [self._value(one, depth + 1) for one in value]}}
        if isinstance(value, dict):
            return {"kvlistValue": {"values": self.attributes(value, depth + 1)}}
        return {"stringValue": sound(value)}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _hex(given: object, digits: int) -> str:
    """An id that was given, or a new one.

    Raises:
        ValueError: It is none.
    """
    if not given:
        return os.urandom(digits // 2).hex()
    if not isinstance(given, str) or len(given) != digits or not int(given, 16):
        raise ValueError(f"an id has {digits} hexadecimal digits")
    return given


class Timed:
    """A span that lasts as long as a `with` statement.

    Attributes:
        context: Its trace and its own id, for spans below it.
        attributes: What is known of it; may grow until it ends.
    """

    def __init__(
        self, publisher: "Publisher", name: str, attributes: "dict[str, object]", parent: "tuple[str, str] | None"
    ) -> None:
        self._publisher, self._name, self._parent = publisher, name, parent
        self.attributes, self._began = attributes, 0
        self.context = (parent[0] if parent else _hex("", 32), _hex("", 16))

    def __enter__(self) -> "Timed":  # noqa: PYI034 - `Self` is in `typing`, which costs a megabyte
        self._began = time.time_ns()
        return self

    def __exit__(self, kind: "type[BaseException] | None", error: object, trace: object) -> None:
        self._publisher.span(
            self._name,
            self._began,
            time.time_ns(),
            self.attributes,
            trace_id=self.context[0],
            span_id=self.context[1],
            parent_id=self._parent[1] if self._parent else "",
            error=kind.__name__ if kind else "",
        )


# --- the publisher -----------------------------------------------------------------------------------------------------


class Publisher:
    """Sends spans to a broker, and keeps them until it has them.

    Attributes:
        buffer: What waits.
        acknowledged: Messages that the broker has taken.
        refused: Spans that could not be written: too large, or no room at all.
        connections: How often a connection was made.
        trouble: Why there is no connection; empty when there is one.
    """

    def __init__(
        self, broker: Broker, topic: str, buffer: Buffer, *, service: str, client: str = "",
        resource: "dict[str, object] | None" = None, cover: "Cover | None" = None,
    ) -> None:  # fmt: skip
        """Begin; nothing is connected yet.

        Args:
            broker: Where to.
            topic: Of each message.
            buffer: Where messages wait.
            service: `service.name` of the spans.
            client: This gateway's name, its own in the whole broker; by default one that is made once and kept beside the buffer.
            resource: What else is known of this gateway.
            cover: What is left out.
        """
        self._broker, self._topic, self.buffer = broker, text(topic), buffer
        self._cover, self._client = cover or Cover(), client or buffer.client()
        self._resource = {"attributes": self._cover.attributes({**(resource or {}), "service.name": service})}
        self.acknowledged = self.refused = self.connections = 0
        self.trouble = "not connected yet"
        self._state = _DOWN
        self._line: "Line | None" = None
        self._sent: "dict[int, tuple[Segment, int]]" = {}
        self._number = self._failures = 0
        self._due = self._spoke = self._heard = 0.0

    def __enter__(self) -> "Publisher":  # noqa: PYI034 - as above
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a program calls ----------------------------------------------------------------------------------------

    def span(
        self, name: str, start_ns: int, end_ns: int, attributes: "dict[str, object] | None" = None, *,
        trace_id: str = "", span_id: str = "", parent_id: str = "", kind: str = "internal", error: str = "",
    ) -> "tuple[str, str]":  # fmt: skip
        """Send a span; when this returns it is in the buffer, or counted as refused.

        Args:
            name: What was done.
            start_ns: Nanoseconds since 1970.
            end_ns: Nanoseconds since 1970.
            attributes: What is known of it.
            trace_id: 32 hexadecimal digits; a new trace by default.
            span_id: 16 hexadecimal digits; a new one by default.
            parent_id: 16 hexadecimal digits, or empty.
            kind: `internal`, `server`, `client`, `producer` or `consumer`.
            error: Why it failed; empty when it did not.

        Returns:
            The ids of its trace and its own.

        Raises:
            ValueError: An id, a time or a kind is none.
        """
        made = self._span({
            "name": name, "start_ns": start_ns, "end_ns": end_ns, "attributes": attributes, "trace_id": trace_id,
            "span_id": span_id, "parent_id": parent_id, "kind": kind, "error": error,
        })  # fmt: skip
        self._put([made])
        self.pump()
        return str(made["traceId"]), str(made["spanId"])

    def spans(self, given: "list[dict[str, object]]") -> None:
        """Send several spans, in one message if that is not too large; each has what `span` is given, by the same names.

        Raises:
            ValueError: One of them is none; nothing was sent.
        """
        self._put([self._span(one) for one in given])
        self.pump()

    def timed(
        self, name: str, attributes: "dict[str, object] | None" = None, *, parent: "tuple[str, str] | None" = None
    ) -> Timed:
        """A span around a `with` statement; an exception is its error.

        Args:
            name: What is done.
            attributes: What is known of it.
            parent: `context` of the span above it.
        """
        return Timed(self, name, dict(attributes or {}), parent)

    def pump(self, seconds: float = 0.0, wake: int = -1) -> bool:
        """Connect, send and receive for so long; by default only what can be done without waiting.

        Args:
            seconds: How long.
            wake: A file that ends the waiting when it can be read.

        Returns:
            Whether it can be read.
        """
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            try:
                woken = self._step(max(0.0, left), wake)
            except OSError as error:  # TLS fails with one too
                self._lost(error)
                woken = False
            if woken or left <= 0:
                return woken

    def flush(self, seconds: float) -> bool:
        """Wait until everything has been acknowledged, for so long at most.

        Returns:
            Whether it has.
        """
        until = time.monotonic() + seconds
        while self.buffer.waiting and time.monotonic() < until:
            self.pump(0.05)
        return not self.buffer.waiting

    def close(self, seconds: float = 5.0) -> bool:
        """Wait a little for acknowledgements, take leave of the broker, close the buffer; what waits stays in it.

        Returns:
            Whether everything has been acknowledged.
        """
        whole = self.flush(seconds)
        try:
            self._leave()
        finally:
            self.buffer.close()
        return whole

    def _leave(self) -> None:
        if self._line is None:
            return
        try:
            if self._state == _UP:
                self._line.out += packet(_DISCONNECT, b"")
                self._line.send()
        except OSError as error:  # it has gone already
            self._lost(error)
        else:
            self._line.close()
            self._line = None

    # --- spans -------------------------------------------------------------------------------------------------------

    def _span(self, given: "dict[str, object]") -> "dict[str, object]":
        """A span as OTLP has it.

        Raises:
            ValueError: Something that was given is not what it should be.
        """
        start, end, attributes = given.get("start_ns"), given.get("end_ns"), given.get("attributes") or {}
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < 1 << 63 or not 0 <= end < 1 << 63:
            raise ValueError("start_ns and end_ns are nanoseconds since 1970")
        if not isinstance(attributes, dict):
            raise ValueError("attributes are names and values")  # noqa: TRY004 - what a line says is a value, not a type
        kind = KINDS.get(str(given.get("kind") or "internal"))
        if kind is None:
            raise ValueError("no such kind of span")
        made = {
            "traceId": _hex(given.get("trace_id"), 32), "spanId": _hex(given.get("span_id"), 16),
            "name": sound(given.get("name", "")), "kind": kind, "startTimeUnixNano": str(start), "endTimeUnixNano": str(end),
            "attributes": self._cover.attributes(attributes),
        }  # fmt: skip
        if given.get("parent_id"):
            made["parentSpanId"] = _hex(given["parent_id"], 16)
        if given.get("error"):
            made["status"] = {"code": 2, "message": sound(given["error"])}
        return made

    def _put(self, made: "list[dict[str, object]]") -> None:
        request = {"resourceSpans": [{"resource": self._resource, "scopeSpans": [{"spans": made}]}]}
        held = write_json(request).encode()
        if len(held) > MOST and len(made) > 1:
            self._put(made[: len(made) // 2])
            self._put(made[len(made) // 2 :])
        elif len(held) > MOST:
            self.refused += 1
        else:
            try:
                self.buffer.put(held)
            except OSError:  # no room on the disk: what is there already is worth more
                self.refused += len(made)

    # --- the broker --------------------------------------------------------------------------------------------------

    def _step(self, wait: float, wake: int) -> bool:
        """One look at everything; waits until something happens, at most so long."""
        now = time.monotonic()
        if self._line is None and now >= self._due:
            self._line, self._state = self._broker.dial(self._failures), _DIALING
            self._spoke = self._heard = now
        line = self._line
        poll = select.poll()
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        if line is None:
            wait = min(wait, self._due - now)
        else:
            self._speak(line, now)
            busy = self._state == _DIALING or line.has_to_say
            poll.register(line.fd, select.POLLIN | (select.POLLOUT if busy else 0))
            wait = min(wait, 1.0)
        ready = poll.poll(wait * 1000)
        if line is not None:
            for fd, _ in ready:
                if fd == line.fd:
                    self._listen(line)
        return any(fd == wake for fd, _ in ready)

    def _speak(self, line: Line, now: float) -> None:
        if now - self._heard > (_PATIENCE_S if self._state != _UP or self._sent else 1.5 * _KEEP_ALIVE_S):
            raise OSError(errno.ETIMEDOUT, "the broker does not answer")
        if self._state == _DIALING:
            return
        if self._state == _UP:
            while len(self._sent) < _WINDOW and len(line.out) < MOST // 4 and (found := self.buffer.take()):
                segment, at, held = found
                self._number = self._number % 0xFFFF + 1
                self._sent[self._number] = (segment, at)
                line.out += self._publish(self._number, held)
            if now - self._spoke > _KEEP_ALIVE_S / 2:
                line.out += packet(_PINGREQ, b"")
        if line.out:
            self._spoke = now
        line.send()

    def _publish(self, number: int, held: bytes, again: int = 0) -> bytes:
        return packet(_PUBLISH | again, self._topic + struct.pack(">H", number) + held)

    def _listen(self, line: Line) -> None:
        if self._state == _DIALING:
            line.see_connected()
            self._state = _GREETING
            line.out += self._broker.greeting(self._client)
            line.send()
            return
        line.hear()
        for kind, body in packets(line.come):
            self._heard = time.monotonic()
            if kind == _CONNACK and self._state == _GREETING and len(body) == 2:
                self._greeted(line, body[1])
            elif kind == _PUBACK and self._state == _UP and len(body) == 2:
                self._arrived(int.from_bytes(body, "big"))
            elif kind != _PINGRESP:
                raise OSError(errno.EPROTO, "the broker sent what no publisher is sent")

    def _greeted(self, line: Line, code: int) -> None:
        if code:
            raise OSError(errno.EACCES, "the broker refuses " + (_REFUSALS[code] if code < len(_REFUSALS) else "us"))
        self._state, self.trouble = _UP, ""
        self.connections += 1
        # The same numbers in the same order, as it stands in MQTT.
        self._sent = {number: place for number, place in self._sent.items() if self.buffer.holds(place[0])}
        for number, (segment, at) in self._sent.items():
            if found := segment.frame(at):
                line.out += self._publish(number, found[2], _DUP)

    def _arrived(self, number: int) -> None:
        place = self._sent.pop(number, None)
        if place is not None:
            self.acknowledged += 1
            self._failures = 0
            self.buffer.done(*place)

    def _lost(self, error: OSError) -> None:
        """Hang up, and wait twice as long as the last time, more or less: two thousand gateways do not come back at once."""
        if self._line is not None:
            self._line.close()
        self._line, self._state = None, _DOWN
        self.trouble = error.strerror or str(error)
        self._due = time.monotonic() + min(60.0, 0.5 * 2 ** min(self._failures, 8)) * (0.5 + os.urandom(1)[0] / 512)
        self._failures += 1


# --- the command -------------------------------------------------------------------------------------------------------

_OPTIONS = (
    "broker",
    "topic",
    "service",
    "buffer",
    "most",
    "client",
    "password-file",
    "ca",
    "batch",
    "linger",
    "config",
)
_MANY = ("drop", "resource")
_FLAGS = ("sync",)
_USAGE = """edge.py --broker mqtt[s]://[USER@]HOST[:PORT] --topic TOPIC --service NAME --buffer DIR [OPTIONS] < spans.jsonl
Each line is a span: {"name": "read", "start_ns": 1, "end_ns": 2, "attributes": {}}, and if wanted trace_id, span_id, parent_id, kind, error.
  --most BYTES          of the buffer; when it is full, the oldest go (16777216)
  --drop NAME           an attribute that is left out, beside those always left out; *NAME or NAME*; may be repeated
  --resource KEY=VALUE  what is known of this gateway; may be repeated
  --client NAME         another name than the one kept in DIR
  --password-file FILE  --ca FILE
  --batch N             most spans of a message (50)
  --linger SECONDS      how long to wait for the broker at the end (10)
  --sync                each message survives a power cut too
  --config FILE         lines `option = value`"""


def options_of(words: "list[str]") -> "dict[str, list[str]]":
    """Options of a command line.

    Raises:
        ValueError: There is no such option, or it has no value.
    """
    found: "dict[str, list[str]]" = {}
    left = list(words)
    while left:
        name = left.pop(0)
        option = name[2:]
        if not name.startswith("--") or option not in (*_OPTIONS, *_MANY, *_FLAGS):
            raise ValueError(f"no such option: {name}")
        if option not in _FLAGS and not left:
            raise ValueError(f"{name} needs a value")
        value = "yes" if option in _FLAGS else left.pop(0)
        if option == "config":
            with open(value) as file:
                pairs = [line.split("=", 1) for line in file if line.strip() and not line.startswith("#")]
            for key, *rest in pairs:
                left = ["--" + key.strip(), *([] if key.strip() in _FLAGS else [part.strip() for part in rest]), *left]
        elif option in found and option not in _MANY:
            raise ValueError(f"{name} is given twice")
        else:
            found.setdefault(option, []).append(value)
    for option in ("broker", "topic", "service", "buffer"):
        if option not in found:
            raise ValueError(f"--{option} is missing")
    return found


def publisher_of(found: "dict[str, list[str]]") -> Publisher:
    """The publisher that the options describe.

    Raises:
        ValueError: One of them is wrong.
        OSError: The buffer or a file cannot be opened.
    """
    password = ""
    if "password-file" in found:
        with open(found["password-file"][0]) as file:
            password = file.read().strip()
    topic = found["topic"][0]
    if not topic or "+" in topic or "#" in topic or len(topic) > 1024:
        raise ValueError("a message has one topic, without + and #")
    resource: "dict[str, object]" = {}
    for pair in found.get("resource", []):
        key, _, resource[key] = pair.partition("=")
    return Publisher(
        Broker(found["broker"][0], password=password, authority=found.get("ca", [""])[0]),
        topic,
        Buffer(found["buffer"][0], int(found.get("most", ["16777216"])[0]), sync="sync" in found),
        service=found["service"][0],
        client=found.get("client", [""])[0],
        resource=resource,
        cover=Cover(found.get("drop", [])),
    )


class Lines:
    """Lines of a pipe, read as they come.

    Attributes:
        fd: Of the pipe.
        ended: Whether nothing comes any more.
        bad: Lines that are no spans.
    """

    def __init__(self, fd: int) -> None:
        self.fd, self._rest = fd, b""
        self.ended, self.bad = False, 0

    def spans(self) -> "list[dict[str, object]]":
        """What can be read now."""
        data = os.read(self.fd, 8192)  # what lies in memory as spans takes ten times as much
        self.ended = not data
        lines = (self._rest + data + (b"\n" if self.ended and self._rest else b"")).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > 4 * MOST:  # no line at all
            self._rest = b""
            self.bad += 1
        found = []
        for line in lines:
            try:
                one = read_json(line.decode()) if line.strip() else None
            except (ValueError, RecursionError):
                one = ()
            if isinstance(one, dict):
                found.append(one)
            else:
                self.bad += one is not None
        return found


def run(publisher: Publisher, lines: Lines, batch: int, stopped: "list[int]") -> None:
    """Send lines until there are no more of them, or somebody stops it."""
    while not stopped and not lines.ended:
        held_up = publisher.buffer.half_full and not publisher.trouble  # better to have the writer wait than to drop
        if not publisher.pump(0.05 if held_up else 1.0, -1 if held_up else lines.fd):
            continue
        spans = lines.spans()
        for at in range(0, len(spans), batch):
            try:
                publisher.spans(spans[at : at + batch])
            except ValueError:  # one of them is none: the others go one by one
                for one in spans[at : at + batch]:
                    try:
                        publisher.spans([one])
                    except ValueError:
                        lines.bad += 1


def main(words: "list[str]") -> int:
    """The command; 0 if the broker has everything, 1 if something waits, 2 if it was called wrongly."""
    import _signal  # noqa: PLC0415 - only the command has signals; `signal` would bring `enum`

    try:
        found = options_of(words)
        batch, linger = int(found.get("batch", ["50"])[0]), float(found.get("linger", ["10"])[0])
        publisher = publisher_of(found)
    except (ValueError, OSError) as error:
        print(f"error: {error}\n{_USAGE}", file=sys.stderr)
        return 2
    stopped: "list[int]" = []
    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, lambda number, _frame: stopped.append(number))
    lines = Lines(0)
    run(publisher, lines, max(1, batch), stopped)
    whole = publisher.flush(linger)
    buffer = publisher.buffer
    told = {
        "acknowledged": publisher.acknowledged, "waiting": buffer.waiting, "dropped": buffer.dropped, "refused": publisher.refused,
        "damaged": buffer.damaged, "bad_lines": lines.bad, "connections": publisher.connections, "trouble": publisher.trouble,
    }  # fmt: skip
    publisher.close(0)
    print(write_json(told), file=sys.stderr)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
