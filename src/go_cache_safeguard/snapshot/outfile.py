"""A file that is complete or absent, with small files beside it; and a directory for such files, which is filled or absent.

Knows:     how a file is written under the name of `<name>.partial` and gets its own name only when all of it is on the disk.
Called by: `flows.snapshot`, `flows.ci_pack`, `flows.html_report`, `flows.collector`, `snapshot.pack`.
Never:     overwrites a file that is complete, or takes over a `.partial` that somebody else writes or that is none of ours.
Source:    renameat2(2) RENAME_NOREPLACE, fsync(2), flock(2): a dead process holds no lock.

The files beside it (`<name>.sha256`) are written first, so a file that has its own name has them, too. What a process leaves that was
killed (`.partial`, and files beside no file) is replaced by the next one that writes the same name.
"""

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure, UsageFailure
from go_cache_safeguard.snapshot.manifest import refusal
from go_cache_safeguard.snapshot.zframe import is_zstd

_NOREPLACE = 1
_HEAD = 512
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BeingWritten(Failure):
    """Another process writes the same file."""

    id = "being-written"
    exit_code = ExitCode.LOCKED
    meaning = "another process is writing the same snapshot file"


class Outfile:
    """The file while it is written.

    Attributes:
        fd: Open for reading and writing, at its beginning.
    """

    def __init__(self, path: Path, folder: int) -> None:
        self._path, self._folder = path, folder
        self._made: list[str] = []
        self._stale = False
        self.fd = self._begin()
        os.fchmod(self.fd, 0o600)

    @property
    def _partial(self) -> str:
        return f"{self._path.name}.partial"

    def beside(self, ending: str, data: bytes) -> None:
        """Write a small file beside it.

        Raises:
            UsageFailure: There is one already.
        """
        name = self._path.name + ending
        try:
            fd = os.open(name, _NEW, 0o666, dir_fd=self._folder)
        except FileExistsError:
            if not self._stale:
                raise _exists(self._path.with_name(name)) from None
            fd = os.open(name, _OLD, dir_fd=self._folder)
        self._made.append(name)
        with os.fdopen(fd, "wb") as file:
            file.truncate(0)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Give the file its name, durably.

        Raises:
            UsageFailure: Somebody made a file of that name meanwhile.
        """
        mask = os.umask(0o077)  # it can only be asked by setting it
        os.umask(mask)
        os.fchmod(self.fd, 0o666 & ~mask)
        os.fsync(self.fd)
        self._drop_stale()
        try:
            _rename_new(self._folder, self._partial, self._path.name)
        except FileExistsError:
            raise _exists(self._path) from None
        self._made.clear()
        os.fsync(self._folder)

    def _drop_stale(self) -> None:
        """What a dead process left beside and we did not write anew would say wrong things of our file."""
        for name in {self._path.name + ending for ending in BESIDE}.difference(self._made) if self._stale else ():
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)

    def abandon(self) -> None:
        """Leave nothing."""
        for name in [*self._made, self._partial]:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)

    def _begin(self) -> int:
        self._refuse_there(self._path.name)
        try:
            fd = os.open(self._partial, _NEW, 0o666, dir_fd=self._folder)
        except FileExistsError:
            fd = os.open(self._partial, _OLD, dir_fd=self._folder)
            self._stale = True
        try:
            self._lock(fd)
            if self._stale:
                self._take_over(fd)
            else:
                self._refuse_beside()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _refuse_beside(self) -> None:
        try:
            for ending in BESIDE:
                self._refuse_there(self._path.name + ending)
        except UsageFailure:
            os.unlink(self._partial, dir_fd=self._folder)
            raise

    def _refuse_there(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            raise _exists(self._path.with_name(name))

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(self._partial, dir_fd=self._folder, follow_symlinks=False)
        except (BlockingIOError, FileNotFoundError):
            there = None
        if there is None or (there.st_dev, there.st_ino) != (os.fstat(fd).st_dev, os.fstat(fd).st_ino):
            raise BeingWritten(f"{self._path} is being written by another process", not_done="nothing was written")

    def _take_over(self, fd: int) -> None:
        """A `.partial` that a dead process left: it must be ours, and is emptied."""
        found = os.fstat(fd)
        head = os.pread(fd, _HEAD, 0)
        ours = not head or is_zstd(head) or head.startswith((b"././@PaxHeader", b"snapshot/"))
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid() or not ours:
            raise _exists(self._path.with_name(self._partial))
        self._refuse_there(self._path.name)
        os.ftruncate(fd, 0)


BESIDE = (".sha256", ".manifest.sha256", ".manifest.sig")
"""Endings of files that may stand beside a snapshot."""


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Outfile]:
    """Write a file: it has its name when the block ends, and is not there when the block raises.

    Args:
        path: Where; its directory exists.

    Raises:
        UsageFailure: It exists, or its directory does not, or its name cannot stand in a list of checksums.
        BeingWritten: Another process writes it.
        OSError: The disk is full, or whatever else it says.
    """
    if why := refusal(path.name):
        raise UsageFailure(f"{path} cannot be written: {why}", not_done="nothing was written")
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageFailure(
            f"{path.parent} cannot be entered: {error.strerror}", not_done="nothing was written"
        ) from error
    try:
        file = Outfile(path, folder)
        try:
            yield file
            file.finish()
        except BaseException:
            file.abandon()
            raise
        finally:
            os.close(file.fd)
    finally:
        os.close(folder)


def write_text(path: Path, text: str, *, what: str) -> None:
    """Write a text file that is complete or absent.

    Args:
        path: Where; its directory exists.
        text: All of it.
        what: What it is, for messages.

    Raises:
        UsageFailure: It exists, or it cannot be written.
    """
    try:
        with complete_or_absent(path) as out, os.fdopen(os.dup(out.fd), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageFailure(
            f"{path} cannot be written: {error.strerror or error}",
            not_done=f"no {what} was written",
            hint="name a new file in a directory that you can write to, or `-` to have it printed",
        ) from error


class NewFolder:
    """A directory that was just made, while it is filled.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[str] = []
        path.mkdir(mode=0o755)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file into it, durably.

        Raises:
            OSError: The disk is full, or whatever else it says.
        """
        fd = os.open(name, _NEW, 0o666, dir_fd=self._fd)
        self._made.append(name)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def abandon(self) -> None:
        """Leave nothing, unless somebody put something else into it, which may need what we wrote."""
        with os.scandir(self._fd) as entries:
            there = {entry.name for entry in entries}
        if there <= set(self._made):
            for name in self._made:
                os.unlink(name, dir_fd=self._fd)
            self.path.rmdir()

    def close(self) -> None:
        """Nothing more is written by us."""
        os.close(self._fd)


@contextmanager
def filled_or_absent(path: Path) -> Iterator[NewFolder]:
    """Make a directory: it is not there when the block raises before something complete was put into it.

    Args:
        path: Where; nothing is there.

    Raises:
        UsageFailure: It cannot be made.
        OSError: The disk is full, or whatever else it says.
    """
    try:
        folder = NewFolder(path)
    except OSError as error:
        raise UsageFailure(f"{path} cannot be made: {error.strerror}", not_done="nothing was written") from error
    try:
        yield folder
    except BaseException:
        folder.abandon()
        raise
    finally:
        folder.close()


def end_at(fd: int, size: int) -> None:
    """End a file that is being written after so many bytes; what was written beyond, and laid out anew since, goes.

    Raises:
        OSError: The disk fails.
    """
    os.ftruncate(fd, size)


def _exists(path: Path) -> UsageFailure:
    return UsageFailure(
        f"{path} exists, and is never overwritten",
        not_done="nothing was written",
        hint="choose another name, or remove it yourself",
    )


def _rename_new(folder: int, old: str, new: str) -> None:
    """Rename, unless the new name exists."""
    if _LIBC.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), _NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number not in {errno.EINVAL, errno.ENOSYS}:
        raise OSError(number, os.strerror(number), new)
    # A filesystem without RENAME_NOREPLACE: a link never replaces either.
    os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    os.unlink(old, dir_fd=folder)
