"""Captured values on disk: one file for each operation, which only grows.

Knows:     how a file is made, locked, synced, read frame by frame, and thrown away.
Called by: `flows`.
Never:     changes what it has written; removes any file but one of its own folder, named after an operation.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.redis.trash import (
    HEAD_SIZE,
    Captured,
    Frame,
    Header,
    Told,
    TrashError,
    frame_bytes,
    frame_rest,
    header_body,
    key_body,
    parse_frame,
    parse_header,
    parse_key,
)

_SUFFIX = ".values"


class TrashUnusable(Failure):
    """Captured values cannot be written or read."""

    id = "trash-unusable"
    exit_code = ExitCode.RESTORE_FAILED
    meaning = "the file with captured values of a Redis operation is missing, damaged, or cannot be written"


class TrashLocked(Failure):
    """Another process works on the same operation."""

    id = "trash-locked"
    exit_code = ExitCode.LOCKED
    meaning = "another process works on the same Redis operation"


@dataclass(frozen=True, slots=True)
class Kept:
    """One file.

    Attributes:
        op: The operation.
        size: Bytes on disk.
    """

    op: str
    size: int


class TrashFile:
    """An open file of captured values, locked by us. Use it in a `with` statement."""

    def __init__(self, handle: int, path: Path) -> None:
        self.path = path
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self._handle).st_size

    def begin(self, header: Header) -> None:
        """Write the first frame, or see that the file is about just this.

        Raises:
            TrashUnusable: It is about something else, or cannot be written.
        """
        if self.size:
            if self.header() != header:
                raise TrashUnusable(f"{self.path} is about another operation", not_done="nothing was removed")
            self._cut_torn_end()
            return
        self._write(frame_bytes(Frame.HEADER, header_body(header)))
        self.sync()
        with _folder(self.path.parent) as handle:
            os.fsync(handle)

    def keep(self, batch: Sequence[Captured]) -> None:
        """Write values, durable when this returns."""
        self._write(b"".join([frame_bytes(Frame.KEY, key_body(one)) for one in batch]))
        self.sync()

    def tell(self, kind: Frame) -> None:
        """Write what became of the last batch. The next `keep` or `sync` makes it durable."""
        self._write(frame_bytes(kind))

    def sync(self) -> None:
        """Make everything durable."""
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise self._unusable(error) from error

    def header(self) -> Header:
        """What the file is about."""
        for kind, body in self.frames():
            if kind is Frame.HEADER:
                try:
                    return parse_header(body)
                except TrashError as error:
                    raise TrashUnusable(f"{self.path}: {error}", not_done="nothing was put back") from error
            break
        raise TrashUnusable(f"{self.path} is not a file of captured values", not_done="nothing was put back")

    def told(self) -> Told:
        """What all frames say together."""
        told = Told()
        for kind, body in self.frames():
            told.add(kind, body)
        return told

    def values(self) -> Iterator[Captured]:
        """Every value that went or may have gone, one after the other; of two copies of a key the last.

        Raises:
            TrashUnusable: Bytes were changed; raised after every value that stands before them.
        """
        told, last, damage = Told(), dict[tuple[int, bytes], int](), None
        try:
            for number, (kind, body) in enumerate(self.frames()):
                told.add(kind, body)
                if kind is Frame.KEY:
                    one = parse_key(body)
                    last[one.db, one.key] = number
        except TrashUnusable as error:
            damage = error
        wanted = {last[place] for place in (*told.removed, *told.open)}
        end = max(wanted, default=-1)
        for number, (_, body) in enumerate(self.frames() if wanted else ()):
            if number in wanted:
                yield parse_key(body)
            if number == end:
                break
        if damage is not None:
            raise damage

    def frames(self) -> Iterator[tuple[Frame, bytes]]:
        """Every whole frame. One that a crash cut off ends the file.

        Raises:
            TrashUnusable: Bytes were changed.
        """
        for _, kind, body in self._frames():
            yield kind, body

    def _frames(self) -> Iterator[tuple[int, Frame, bytes]]:
        """With the place at which each frame ends."""
        end = self.size
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            at = 0
            while at + HEAD_SIZE <= end:
                head = file.read(HEAD_SIZE)
                try:
                    length = frame_rest(head)
                    if at + HEAD_SIZE + length > end:
                        return
                    kind, body = parse_frame(head, file.read(length))
                except TrashError as error:
                    if not any(head) and not any(file.read()):
                        return  # space that a power cut left without its bytes
                    raise TrashUnusable(
                        f"{self.path}, byte {at}: {error}", not_done="nothing was put back from there on"
                    ) from error
                at += HEAD_SIZE + length
                yield at, kind, body

    def _cut_torn_end(self) -> None:
        """What a crash left of a frame must not stand before the next one."""
        whole = 0
        for whole, _, _ in self._frames():  # noqa: B007 - the last one counts
            pass
        if whole != self.size:
            os.ftruncate(self._handle, whole)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> TrashUnusable:
        return TrashUnusable(
            f"{self.path} cannot be written: {error.strerror}",
            not_done="what was not kept was not removed",
            hint="make room, or choose another place with the setting state.dir",
        )


def open_trash(folder: Path, op: str, *, new: bool = False) -> TrashFile:
    """Open and lock the file of an operation.

    Args:
        folder: For files of this kind only.
        op: The operation.
        new: Make it if it is not there.

    Raises:
        TrashLocked: Another process has it.
        TrashUnusable: It is not there, or cannot be opened.
    """
    path = _path(folder, op)
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if new else 0)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise TrashUnusable(f"{path} cannot be opened: {error.strerror}", not_done="nothing was done") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise TrashLocked(f"another process works on {op}", not_done="nothing was done") from error
    return TrashFile(handle, path)


def kept(folder: Path) -> list[Kept]:
    """Every file, by operation."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    ops = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    found = [Kept(op, _path(folder, op).stat().st_size) for op in ops if is_operation_id(op)]
    return [one for one in found if one.size]


def free_bytes(folder: Path) -> int:
    """Bytes that we may still write to the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def throw_away(folder: Path, op: str) -> int:
    """Remove the file of an operation for good. Returns its bytes; 0 if it is not there."""
    try:
        with open_trash(folder, op) as file:
            size = file.size
            with _folder(folder) as handle:
                os.unlink(file.path.name, dir_fd=handle)
                os.fsync(handle)
    except TrashUnusable:
        if _path(folder, op).exists():
            raise
        return 0
    return size


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _path(folder: Path, op: str) -> Path:
    if not is_operation_id(op):
        raise TrashUnusable(f"{op!r} is not an operation", not_done="nothing was done")
    return folder / f"{op}{_SUFFIX}"
