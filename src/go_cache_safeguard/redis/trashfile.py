"""Captured values on disk: one file for each operation, which only grows.

Knows:     how a file is made, locked, synced, read frame by frame, and thrown away.
Called by: `flows`.
Never:     changes what it has written; removes any file but one of its own folder, named after an operation.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.redis.trashlog import Kept, TrashLocked, TrashLog, TrashUnusable

_SUFFIX = ".values"
_LOCK = ".lock"
_PIECE = 1 << 20


class TrashFile(TrashLog):
    """An open file of captured values, locked by us. Use it in a `with` statement."""

    may_be_torn = True

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(str(path), partial(os.close, handle))
        self.path = path
        self._handle = handle

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self._handle).st_size

    def sync(self) -> None:
        """Make everything durable."""
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise self._unusable(error) from error

    def _begun(self) -> None:
        with _folder(self.path.parent) as handle:
            os.fsync(handle)

    def _read(self, at: int) -> Iterator[bytes]:
        while piece := os.pread(self._handle, _PIECE, at):
            yield piece
            at += len(piece)

    def _cut(self, size: int) -> None:
        os.ftruncate(self._handle, size)

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
            hint="make room, or choose another place with the setting redis.trash",
        )


class Folder:
    """A folder of such files.

    Attributes:
        path: The folder.
        url: The same as text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def see_fit(self) -> None:
        """A folder is as good as its disk."""

    def open(self, op: str, *, new: bool = False) -> TrashFile:
        """See `open_trash`."""
        return open_trash(self.path, op, new=new)

    def kept(self) -> list[Kept]:
        """Every file, by operation."""
        return kept(self.path)

    def free(self) -> int | None:
        """Bytes that we may still write to its disk."""
        try:
            return free_bytes(self.path)
        except OSError as error:
            raise TrashUnusable(f"{self.path}: {error.strerror}", not_done="nothing was removed") from error

    def throw_away(self, op: str) -> int:
        """Remove the file of an operation for good."""
        return throw_away(self.path, op)


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
        _lock(handle, op)
    except TrashLocked:
        os.close(handle)
        raise
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
def locked(folder: Path, op: str) -> Iterator[None]:
    """Keep other processes from an operation whose values lie elsewhere, by a file of ours.

    Args:
        folder: For the files of this kind, on this machine.
        op: The operation.

    Raises:
        TrashLocked: Another process has it.
    """
    path = _path(folder, op).with_suffix(_LOCK)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, op)
        yield
    finally:
        os.close(handle)


def forget_lock(folder: Path, op: str) -> None:
    """Remove the file of `locked` after there is nothing to lock any more."""
    with suppress(FileNotFoundError), _folder(folder) as handle:
        os.unlink(f"{op}{_LOCK}", dir_fd=handle)


def _lock(handle: int, op: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise TrashLocked(f"another process works on {op}", not_done="nothing was done") from error


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
