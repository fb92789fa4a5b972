"""What a removal keeps of the keys that it takes: the form of one file.

Knows:     the frames of the file, and how they add up to what was removed, what was not, and what nobody knows.
Called by: `redis.trashfile` reads and writes it; `flows` decides with the sum.
Never:     takes a damaged frame for a whole one; only the last one may be cut off, by a crash.

A frame is a kind (1 byte), the length of its body (4 bytes, big end first), the body, and SHA-256 of kind and body. The first frame
is the HEADER. A CALL frame holds the one call of a client that waits for a person, as it is to be sent. KEY frames of a batch are
durable before its keys go; then REMOVED or STAYED tells what the server answered. KEY frames at the end without either are a batch of
which nobody knows: the reply was lost, or we were killed. A value that is too large for memory stands in PIECE frames, one after the
other; a BIG frame, later, is what a KEY frame is for others. Pieces that no BIG frame names belong to nothing. A BACK frame names
keys that went and were put back: as if they had never gone.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any

from go_cache_safeguard.core.canonical import canonical

FORMAT = "go-cache-safeguard/redis-trash/1"
_HEAD = struct.Struct(">cI")
HEAD_SIZE = _HEAD.size
_SUM = 32
_KEY = struct.Struct(">IqI")
_BIG = struct.Struct(">IqIQq32s")
_BACK = struct.Struct(">II")


class TrashError(ValueError):
    """These bytes are not a file of captured values; the text says where."""


class Frame(Enum):
    """What a frame tells."""

    HEADER = b"H"
    CALL = b"C"
    KEY = b"K"
    PIECE = b"P"
    BIG = b"B"
    REMOVED = b"R"
    STAYED = b"S"
    BACK = b"U"


_KINDS = frozenset(frame.value for frame in Frame)
KEYS = frozenset({Frame.KEY, Frame.BIG})
"""Frames that tell of one key."""
PIECE_COST = HEAD_SIZE + _SUM
"""Bytes that a PIECE frame needs besides its piece."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the file is about.

    Attributes:
        op: The operation.
        target: The server, as `Address.target`.
        run_id: Of the server's process.
        digest: Of the plan.
    """

    op: str
    target: str
    run_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Big:
    """A value that is not held in memory.

    Attributes:
        size: Bytes of the reply of DUMP.
        digest: SHA-256 of it, 64 hexadecimal digits.
        at: Where its first PIECE frame begins; -1 if it was read and not kept.
    """

    size: int
    digest: str
    at: int = -1


@dataclass(frozen=True, slots=True)
class Captured:
    """One key with its value.

    Attributes:
        db: Number of the database.
        key: Its name.
        expires_ms: When it ends, in milliseconds since 1970-01-01 UTC; -1 for never.
        dump: The reply of DUMP; empty if it goes without a copy, or is big.
        big: Where the reply lies in pieces.
    """

    db: int
    key: bytes
    expires_ms: int
    dump: bytes
    big: Big | None = None

    @property
    def size(self) -> int:
        """Bytes of its frame, without the pieces."""
        return HEAD_SIZE + (_KEY if self.big is None else _BIG).size + len(self.key) + len(self.dump) + _SUM

    @property
    def length(self) -> int:
        """Bytes of the reply of DUMP; 0 without a copy."""
        return len(self.dump) if self.big is None else self.big.size

    @property
    def digest(self) -> str:
        """SHA-256 of the reply of DUMP."""
        return sha256(self.dump).hexdigest() if self.big is None else self.big.digest


@dataclass(slots=True)
class Told:
    """What the frames up to some point say, by database and key.

    Attributes:
        removed: The server said so; whether there is a copy.
        open: Kept, and then nothing more was told: nobody knows.
        size: Bytes of dumps of what was removed or may have been.
    """

    removed: dict[tuple[int, bytes], bool] = field(default_factory=dict)
    open: dict[tuple[int, bytes], bool] = field(default_factory=dict)
    size: int = 0

    def add(self, kind: Frame, body: bytes) -> None:
        """Take in one more frame."""
        if kind in KEYS:
            one = parse_one(kind, body)
            self.open[one.db, one.key] = one.length > 0
            self.size += one.length
        elif kind is Frame.REMOVED:
            self.removed |= self.open
            self.open = {}
        elif kind is Frame.STAYED:
            self.open = {}
        elif kind is Frame.BACK:
            for place in parse_back(body):
                self.removed.pop(place, None)


def frame_bytes(kind: Frame, body: bytes = b"") -> bytes:
    """One frame."""
    return b"".join((_HEAD.pack(kind.value, len(body)), body, sha256(kind.value + body).digest()))


def frame_rest(head: bytes) -> int:
    """How many bytes follow the first `HEAD_SIZE` of a frame.

    Raises:
        TrashError: No frame begins so.
    """
    kind, length = _HEAD.unpack(head)
    if kind not in _KINDS:
        raise TrashError("a frame of a kind that we do not know")
    return int(length) + _SUM


def parse_frame(head: bytes, rest: bytes) -> tuple[Frame, bytes]:
    """Kind and body of a whole frame.

    Raises:
        TrashError: Its bytes were changed.
    """
    kind, body = head[:1], rest[:-_SUM]
    if len(rest) != frame_rest(head) or sha256(kind + body).digest() != rest[-_SUM:]:
        raise TrashError("a frame whose bytes were changed")
    return Frame(kind), body


def header_body(header: Header) -> bytes:
    """The body of the first frame."""
    value = {"format": FORMAT, "op": header.op, "target": header.target}
    return canonical({**value, "run_id": header.run_id, "digest": header.digest})


def parse_header(body: bytes) -> Header:
    """Read the body of the first frame.

    Raises:
        TrashError: It is of a format that we do not know.
    """
    try:
        value: Any = json.loads(body)
        if value["format"] == FORMAT:
            return Header(*(str(value[name]) for name in ("op", "target", "run_id", "digest")))
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise TrashError("not a file of captured values of a format that we know")


def key_body(one: Captured) -> bytes:
    """The body of a KEY frame."""
    return _KEY.pack(one.db, one.expires_ms, len(one.key)) + one.key + one.dump


def parse_key(body: bytes) -> Captured:
    """Read the body of a KEY frame.

    Raises:
        TrashError: It is too short.
    """
    if len(body) < _KEY.size:
        raise TrashError("a key that is too short")
    db, expires_ms, length = _KEY.unpack_from(body)
    end = _KEY.size + length
    if end > len(body):
        raise TrashError("a key that is too short")
    return Captured(db, expires_ms=expires_ms, key=body[_KEY.size : end], dump=body[end:])


def back_body(places: Iterable[tuple[int, bytes]]) -> bytes:
    """The body of a BACK frame: databases and keys."""
    return b"".join(_BACK.pack(db, len(key)) + key for db, key in places)


def parse_back(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Read the body of a BACK frame.

    Raises:
        TrashError: It is cut off.
    """
    at = 0
    while at < len(body):
        if at + _BACK.size > len(body):
            raise TrashError("a list of keys that is cut off")
        db, length = _BACK.unpack_from(body, at)
        at += _BACK.size + length
        if at > len(body):
            raise TrashError("a list of keys that is cut off")
        yield db, body[at - length : at]


def one_frame(one: Captured) -> bytes:
    """The KEY or BIG frame of one key."""
    if one.big is None:
        return frame_bytes(Frame.KEY, key_body(one))
    big = one.big
    head = _BIG.pack(one.db, one.expires_ms, len(one.key), big.size, big.at, bytes.fromhex(big.digest))
    return frame_bytes(Frame.BIG, head + one.key)


def parse_one(kind: Frame, body: bytes) -> Captured:
    """Read the body of a KEY or BIG frame.

    Raises:
        TrashError: It has another length than it says.
    """
    if kind is Frame.KEY:
        return parse_key(body)
    if len(body) < _BIG.size:
        raise TrashError("a large key that is too short")
    db, expires_ms, length, size, at, digest = _BIG.unpack_from(body)
    if _BIG.size + length != len(body):
        raise TrashError("a large key of another length than it says")
    return Captured(db, body[_BIG.size :], expires_ms, b"", Big(size, digest.hex(), at))
