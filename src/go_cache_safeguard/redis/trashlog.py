"""What one operation keeps, wherever it lies: a log of frames that only grows.

Knows:     how values are kept and told about, and how they are found again; the three places give it their bytes.
Called by: `redis.trashfile`, `redis.trashstore` and `redis.trashserver` are such logs; `flows` keeps and reads values with them.
Never:     changes what stands there; holds a value in memory that came in pieces; takes a log for whole whose middle is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import ClassVar, Protocol, Self

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.redis.trash import (
    HEAD_SIZE,
    KEYS,
    Big,
    Captured,
    Frame,
    Header,
    Told,
    TrashError,
    back_body,
    frame_bytes,
    frame_rest,
    header_body,
    one_frame,
    parse_back,
    parse_frame,
    parse_header,
    parse_one,
)

_BACK = "nothing was put back"


class TrashUnusable(Failure):
    """Captured values cannot be written or read."""

    id = "trash-unusable"
    exit_code = ExitCode.RESTORE_FAILED
    meaning = "captured values of a Redis operation are missing, damaged, or cannot be written or read where they lie"


class TrashLocked(Failure):
    """Another process works on the same operation."""

    id = "trash-locked"
    exit_code = ExitCode.LOCKED
    meaning = "another process works on the same Redis operation"


@dataclass(frozen=True, slots=True)
class Kept:
    """What one operation keeps.

    Attributes:
        op: The operation.
        size: Bytes where they lie.
    """

    op: str
    size: int


class TrashLog:
    """The captured values of one operation, open and locked by us. Use it in a `with` statement.

    Attributes:
        place: Where they lie, as a person may see it.
        may_be_torn: Whether a crash can leave half a frame at the end.
        home: The place that it was opened in.
    """

    may_be_torn: ClassVar[bool] = False
    home: "Bin"

    def __init__(self, place: str, release: Callable[[], None]) -> None:
        self.place = place
        self._release = release

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    @property
    def size(self) -> int:
        """Bytes so far, those that are not durable yet too."""
        raise NotImplementedError

    def sync(self) -> None:
        """Make everything durable.

        Raises:
            TrashUnusable: Nobody can say that it is.
        """
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        """Add whole frames."""
        raise NotImplementedError

    def _read(self, at: int) -> Iterator[bytes]:
        """All bytes from some place on, in pieces of any length."""
        raise NotImplementedError

    def _cut(self, size: int) -> None:
        """Take away what stands after so many bytes: half a frame."""
        raise NotImplementedError

    def _begun(self) -> None:
        """The first frame was written and is durable."""

    def begin(self, header: Header) -> None:
        """Write the first frame, or see that the log is about just this.

        Raises:
            TrashUnusable: It is about something else, or cannot be written.
        """
        if self.size:
            if self.header() != header:
                raise TrashUnusable(f"{self.place} is about another operation", not_done="nothing was removed")
            self._cut_torn_end()
            return
        self._write(frame_bytes(Frame.HEADER, header_body(header)))
        self.sync()
        self._begun()

    def keep(self, batch: Sequence[Captured]) -> None:
        """Write values, durable when this returns; of large ones the pieces stand there already."""
        self._write(b"".join(map(one_frame, batch)))
        self.sync()

    def add_piece(self, piece: bytes) -> None:
        """Write a piece of a large value, after the one before. `keep` makes it durable."""
        self._write(frame_bytes(Frame.PIECE, piece))

    def tell(self, kind: Frame) -> None:
        """Write what became of the last batch. The next `keep` or `sync` makes it durable."""
        self._write(frame_bytes(kind))

    def give_back(self, values: Sequence[Captured]) -> None:
        """Write that these are on the server again, durable when this returns."""
        self._write(frame_bytes(Frame.BACK, back_body((one.db, one.key) for one in values)))
        self.sync()

    def remember(self, call: bytes) -> None:
        """Write the call that is to be done later, durable when this returns."""
        self._write(frame_bytes(Frame.CALL, call))
        self.sync()

    def call(self) -> bytes:
        """The call that was remembered; empty if there is none."""
        return next((body for kind, body in self.frames() if kind is Frame.CALL), b"")

    def header(self) -> Header:
        """What the log is about."""
        for kind, body in self.frames():
            if kind is Frame.HEADER:
                try:
                    return parse_header(body)
                except TrashError as error:
                    raise TrashUnusable(f"{self.place}: {error}", not_done=_BACK) from error
            break
        raise TrashUnusable(f"{self.place} holds no captured values", not_done=_BACK)

    def told(self) -> Told:
        """What all frames say together."""
        told = Told()
        for kind, body in self.frames():
            told.add(kind, body)
        return told

    def values(self, since: int = 0) -> Iterator[Captured]:
        """Every value that went or may have gone, one after the other; of two copies of a key the last.

        Args:
            since: Only those whose frames stand behind so many bytes, which is where a frame begins.

        Raises:
            TrashUnusable: Bytes were changed; raised after every value that stands before them.
        """
        seen, damage = _Seen(since), None
        try:
            for end, kind, body in self._frames(since):
                seen.add(end, kind, body)
        except TrashUnusable as error:
            damage = error
        wanted = seen.wanted()
        for begin, stop in seen.runs(max(wanted, default=0)):
            for end, kind, body in self._frames(begin):
                if end in wanted:
                    yield parse_one(kind, body)
                if end >= stop:
                    break
        if damage is not None:
            raise damage

    def pieces(self, big: Big) -> Iterator[bytes]:
        """The bytes of a large value, one piece after the other.

        Raises:
            TrashUnusable: They are not what was captured; raised before the last piece is given.
        """
        digest, left = sha256(), big.size
        for _, kind, body in self._frames(big.at):
            if kind is not Frame.PIECE or len(body) > left:
                break
            digest.update(body)
            left -= len(body)
            if not left and digest.hexdigest() != big.digest:
                break
            yield body
            if not left:
                return
        raise TrashUnusable(f"{self.place}, byte {big.at}: a large value that is not whole", not_done=_BACK)

    def frames(self) -> Iterator[tuple[Frame, bytes]]:
        """Every whole frame. One that a crash cut off ends the log.

        Raises:
            TrashUnusable: Bytes were changed.
        """
        for _, kind, body in self._frames():
            yield kind, body

    def _frames(self, at: int = 0) -> Iterator[tuple[int, Frame, bytes]]:
        """From a place on, with the place at which each frame ends."""
        end, source = self.size, _Source(self._read(at))
        while at < end:
            head = source.take(HEAD_SIZE)
            try:
                length = frame_rest(head) if len(head) == HEAD_SIZE else 0
                if not length or at + HEAD_SIZE + length > end:
                    self._see_torn(at)
                    return
                kind, body = parse_frame(head, source.take(length))
            except TrashError as error:
                if self.may_be_torn and not any(head) and source.is_empty():
                    return  # space that a power cut left without its bytes
                raise TrashUnusable(
                    f"{self.place}, byte {at}: {error}", not_done="nothing was put back from there on"
                ) from error
            at += HEAD_SIZE + length
            yield at, kind, body

    def _see_torn(self, at: int) -> None:
        if not self.may_be_torn:
            raise TrashUnusable(f"{self.place}, byte {at}: half a frame", not_done="nothing was put back from there on")

    def _cut_torn_end(self) -> None:
        """What a crash left of a frame must not stand before the next one."""
        whole = 0
        for whole, _, _ in self._frames():  # noqa: B007 - the last one counts
            pass
        if whole != self.size:
            self._cut(whole)


class Bin(Protocol):
    """A place for the values of many operations. Use it in a `with` statement.

    Attributes:
        url: Where it is, as it is found again.
    """

    url: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def see_fit(self) -> None:
        """Refuse a place that could lose what it is given.

        Raises:
            TrashUnusable: It could, or cannot be reached.
        """

    def open(self, op: str, *, new: bool = False) -> TrashLog:
        """Open and lock what an operation keeps.

        Raises:
            TrashLocked: Another process has it.
            TrashUnusable: It is not there and not `new`, or the place cannot be reached.
        """

    def kept(self) -> list[Kept]:
        """What every operation keeps, by operation.

        Raises:
            TrashUnusable: The place cannot be reached.
        """

    def free(self) -> int | None:
        """Bytes for which there is room; None if the place has no bound that it tells.

        Raises:
            TrashUnusable: The place cannot be reached.
        """

    def throw_away(self, op: str) -> int:
        """Remove what an operation keeps for good. Returns its bytes; 0 if there is nothing.

        Raises:
            TrashLocked: Another process has it.
            TrashUnusable: The place cannot be reached, and something may be left.
        """


class _Source:
    """Bytes that come in pieces of any length, taken in pieces of a wanted one."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def take(self, length: int) -> bytes:
        """So many bytes, fewer at the end."""
        taken: list[bytes] = []
        while length > 0:
            if self._at == len(self._piece):
                self._at, self._piece = 0, next(self._pieces, b"")
                if not self._piece:
                    break
            part = self._piece[self._at : self._at + length]
            self._at += len(part)
            length -= len(part)
            taken.append(part)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def is_empty(self) -> bool:
        """Whether nothing but zeros is left."""
        return not any(self._piece[self._at :]) and not any(any(piece) for piece in self._pieces)


class _Seen:
    """What stands where, after reading a log once."""

    def __init__(self, begin: int) -> None:
        self._gone: dict[tuple[int, bytes], int] = {}
        self._open: dict[tuple[int, bytes], int] = {}
        self._runs: list[tuple[int, int]] = []
        self._end = begin

    def add(self, end: int, kind: Frame, body: bytes) -> None:
        """One more frame, and where it ends."""
        if kind in KEYS:
            one = parse_one(kind, body)
            self._open[one.db, one.key] = end
        elif kind in {Frame.REMOVED, Frame.STAYED}:
            self._gone |= self._open if kind is Frame.REMOVED else {}
            self._open = {}
        elif kind is Frame.BACK:
            for place in parse_back(body):
                self._gone.pop(place, None)
        if kind is not Frame.PIECE:
            joins = bool(self._runs) and self._runs[-1][1] == self._end
            begin = self._runs.pop()[0] if joins else self._end
            self._runs.append((begin, end))
        self._end = end

    def wanted(self) -> set[int]:
        """Where the frames end whose keys went or may have gone."""
        return set((self._gone | self._open).values())

    def runs(self, until: int) -> list[tuple[int, int]]:
        """Where frames stand that are no pieces, up to some place: begin and end of each run."""
        return [(begin, min(end, until)) for begin, end in self._runs if begin < until]
