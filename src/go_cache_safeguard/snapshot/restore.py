"""Brings files of a snapshot into a cache, so that none of them is ever seen half.

Knows:     how a file is verified before it gets a name, what stands in a cache under given names, and whether there is room.
Called by: `flows.restore`.
Never:     replaces, renames or removes anything; trusts a length or a content that a source gives; follows a link; writes with
           root's rights into a cache of somebody else.
Source:    open(2) O_TMPFILE and linkat(2): a file without a name is gone when we die, and a link never replaces. Where the file
           system has no O_TMPFILE, go's own way (cmd/go/internal/cache/cache.go `copyFile`): in place, last byte last.

Root reads the source and puts what it read into an unnamed file; the child with the owner's rights copies and hashes from there. So
neither does a source need to be open to the owner, nor does the owner's directory ever see root at work.
"""

import ctypes
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Self, TypeAlias, cast

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.snapshot.manifest import Entry
from go_cache_safeguard.snapshot.merge import Live, stamp_of
from go_cache_safeguard.snapshot.source import Source
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner, must_drop, never, silent
from go_cache_safeguard.tree.place import refuse_mounts
from go_cache_safeguard.tree.root import Root, open_below

SMALL = 1 << 20
"""bytes: what is no larger is verified in memory, before any file is made for it."""

_BATCH = 32 << 20
"""bytes that are kept aside before the owner's process takes them."""
_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
_LIBC = ctypes.CDLL(None, use_errno=True)

_Pairs: TypeAlias = Iterable[tuple[Entry, Iterator[bytes]]]
SizeOf: TypeAlias = Callable[[str], int | None]
Admit: TypeAlias = Callable[[Entry, bytes, SizeOf], str | None]
"""Judges a small file by its content, and by what the cache holds now: why it must not be written, or None."""


class NoRoom(Failure):
    """The disk is too full."""

    id = "no-room"
    exit_code = ExitCode.TARGET
    meaning = "the disk has no room, or no inodes, for what would be written"


class WriteFailed(Failure):
    """The cache could not be written."""

    id = "restore-write"
    exit_code = ExitCode.RESTORE_FAILED
    meaning = "the cache could not be written, or what was written is not known to be on the disk"


@dataclass(slots=True)
class Written:
    """What was done, counted while doing it.

    Attributes:
        files: Name, size in bytes and modification time in nanoseconds of each file that has its name now.
        newer: Names that came into being before we got there; theirs was kept.
        failed: Names, and why there is no such file now.
        stopped: Somebody asked to stop; what is not in the other lists was not touched.
    """

    files: list[tuple[str, int, int]] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False

    def add(self, more: "Written") -> None:
        """Add what was done after it."""
        self.files += more.files
        self.newer += more.newer
        self.failed += more.failed
        self.stopped |= more.stopped

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(size for _, size, _ in self.files)


def look(root: Root, entries: Sequence[Entry], *, tell: Callable[[int], None] = silent) -> dict[str, Live]:
    """What the cache holds under these names. A file is read only when its size is the one that is wanted.

    Args:
        root: The cache.
        entries: In a manifest's order.
        tell: Told how many were looked at.
    """
    seen: dict[str, Live] = {}
    with _Folders(root.fd) as folders:
        for number, entry in enumerate(entries, 1):
            live = _look(folders, entry)
            if live is not None:
                seen[entry.name] = live
            if not number % 256:
                tell(number)
    tell(len(entries))
    return seen


def require_room(root: Root, entries: Collection[Entry]) -> None:
    """Make sure that the disk can hold what would be written.

    Raises:
        NoRoom: It cannot.
    """
    disk = os.fstatvfs(root.fd)
    block = max(disk.f_frsize, 4096)
    folders = {entry.name.rpartition("/")[0] for entry in entries}
    size = sum(-(-entry.size // block) * block for entry in entries) + block * len(folders)
    if size > disk.f_bavail * disk.f_frsize:
        raise _no_room(root, f"{size:,} bytes are needed and {disk.f_bavail * disk.f_frsize:,} are free")
    count = len(entries) + len(folders)
    if disk.f_files and count > disk.f_favail:
        raise _no_room(root, f"{count:,} inodes are needed and {disk.f_favail:,} are free")


def write(
    root: Root,
    source: Source,
    entries: Sequence[Entry],
    *,
    now_ns: int,
    programs: Callable[[str], bool],
    in_place: bool,
    admit: Admit | None = None,
    progress: Progress = silent,
    stop: Stop = never,
) -> Written:
    """Write files that are not there. Safe to kill at any moment and to repeat.

    Args:
        root: The cache.
        source: Where the contents come from.
        entries: What to write.
        now_ns: Nanoseconds since 1970-01-01 UTC; see `merge.stamp_of`.
        programs: Whether a name is that of something executable; other files are not.
        in_place: Whether, on a file system that cannot make a file without a name, files may be written in place as go does; a
            kill then leaves a file that is too short.
        admit: Judges content, see `Admit`; then every entry must be small.
        progress: Told how many entries were dealt with.
        stop: Asked between two entries.

    Returns:
        What was done; also on the disk.

    Raises:
        WriteFailed: The disk said no in a way that concerns everything; files that have a name are whole.
        MountInside: Something is mounted inside the cache; nothing was touched.
        Failure: Whatever the source raised; likewise.
    """
    refuse_mounts(root.fd)
    wanted = {entry.name: entry for entry in entries}
    done = Written()

    def act(pairs: _Pairs) -> None:
        before = len(done.files) + len(done.newer) + len(done.failed)

        def work(tell: Progress, stopped: Stop) -> Value:
            with _Folders(root.fd) as folders:
                writer = _Writer(folders, now_ns, programs, admit, in_place=in_place)
                return writer.write_all(pairs, lambda count: tell(before + count), stopped)

        done.add(_written(as_owner(root.uid, root.gid, _translated(root, work), progress=progress, stop=stop)))

    with closing(_checked(source, wanted)) as pairs:
        if not must_drop(root.uid):
            act(pairs)
        else:
            for batch in _set_aside(pairs):
                act(batch)
                if done.stopped:
                    break
    done.failed += [] if done.stopped else [(name, "the snapshot does not hold it") for name in wanted]
    _sync(root)
    return done


def refresh(root: Root, names: Iterable[str], *, now_ns: int, every: bool = False) -> int:
    """Let files that are there and were not used for a day count as used now. Returns how many were too old.

    Args:
        root: The cache.
        names: Of the files.
        now_ns: What counts as now, in nanoseconds since 1970-01-01 UTC.
        every: Give that time to all of them, also to those that were used since.

    Raises:
        WriteFailed: The owner's process could not work at all.
    """
    chosen = list(names)

    def work(_tell: Progress, _stopped: Stop) -> Value:
        with _Folders(root.fd) as folders:
            return sum(_refresh(folders, name, now_ns, every=every) for name in chosen)

    return cast("int", as_owner(root.uid, root.gid, _translated(root, work)))


# ---------------------------------------------------------------- what a source gives


def _checked(source: Source, wanted: dict[str, Entry]) -> Generator[tuple[Entry, Iterator[bytes]]]:
    """The source's pairs, each wanted entry once; what it gives besides is passed over. What was given leaves `wanted`."""
    for given, chunks in source.contents(frozenset(wanted)) if wanted else ():
        entry = wanted.pop(given.name, None)
        if entry is not None:
            yield entry, chunks  # as planned, whatever the source says about it now


def _set_aside(pairs: _Pairs) -> Iterator[list[tuple[Entry, Iterator[bytes]]]]:
    """The same pairs in batches whose contents lie in a file without a name."""
    with tempfile.TemporaryFile(buffering=0) as file:
        batch: list[tuple[Entry, Iterator[bytes]]] = []
        at = 0
        for entry, chunks in pairs:
            try:
                length = _keep(file.fileno(), at, entry.size, chunks)
                batch.append((entry, _part(file.fileno(), at, length)))
                at += length
            except Failure as failure:
                batch.append((entry, iter(partial(_raise, failure), b"")))
            if at >= _BATCH or len(batch) >= 4096:
                yield batch
                batch, at = [], 0
        if batch:
            yield batch


def _keep(fd: int, at: int, size: int, chunks: Iterator[bytes]) -> int:
    """Write what a source gives, one byte more than the manifest says at most: enough to see that it is too much."""
    length = 0
    for chunk in chunks:
        piece = memoryview(chunk)[: size + 1 - length]
        while piece:
            written = os.pwrite(fd, piece, at + length)
            piece, length = piece[written:], length + written
        if length > size:
            break
    return length


def _raise(failure: Failure) -> bytes:
    raise failure


def _part(fd: int, at: int, length: int) -> Iterator[bytes]:
    end = at + length
    while at < end and (chunk := os.pread(fd, min(_CHUNK, end - at), at)):
        yield chunk
        at += len(chunk)


# ---------------------------------------------------------------- writing


class _Bad(Exception):  # noqa: N818 - never leaves this file: one entry is not written
    """Why one entry is not written."""


class _Folders:
    """Directories below the root, opened by name and kept while neighbours follow each other."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._name, self._fd = "", -1
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, name: str, *, make: bool = False) -> tuple[int, str]:
        """The open directory that a file lies in, and its name in there.

        Raises:
            OSError: There is no such directory, or a link, a mount or no directory is on the way.
        """
        folder, _, file = name.rpartition("/")
        if not folder:
            return self._root, file
        if folder != self._name:
            self._stack.close()
            self._name = ""
            self._fd = self._make(folder) if make else open_below(self._root, folder, _DIRECTORY)
            self._stack.callback(os.close, self._fd)
            self._name = folder
        return self._fd, file

    def _make(self, folder: str) -> int:
        try:
            return open_below(self._root, folder, _DIRECTORY)
        except FileNotFoundError:
            above, _, last = folder.rpartition("/")
            parent = self._make(above) if above else os.dup(self._root)
            try:
                with suppress(FileExistsError):
                    os.mkdir(last, 0o777, dir_fd=parent)  # as go does; the umask narrows it
                return open_below(parent, last, _DIRECTORY)
            finally:
                os.close(parent)


class _Writer:
    """Acts with the rights of the owner."""

    def __init__(
        self,
        folders: _Folders,
        now_ns: int,
        programs: Callable[[str], bool],
        admit: Admit | None,
        *,
        in_place: bool,
    ) -> None:
        self._folders = folders
        self._now_ns = now_ns
        self._programs = programs
        self._admit = admit
        self._in_place = in_place
        self._unnamed = True

    def write_all(self, pairs: _Pairs, tell: Progress, stopped: Stop) -> Value:
        files: list[Value] = []
        newer: list[Value] = []
        failed: list[Value] = []
        stop = False
        for entry, chunks in pairs:
            stop = stopped()
            if stop:
                break
            try:
                files.append([entry.name, entry.size, self._write(entry, chunks)])
            except FileExistsError:
                newer.append(entry.name)
            except (_Bad, Failure) as bad:  # of this one entry; a snapshot that cannot go on says so with the next one
                failed.append([entry.name, str(bad)])
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
                    raise
                failed.append([entry.name, error.strerror or str(error)])
            tell(len(files) + len(newer) + len(failed))
        return {"files": files, "newer": newer, "failed": failed, "stopped": stop}

    def _write(self, entry: Entry, chunks: Iterator[bytes]) -> int:
        """Write one file. Returns its modification time.

        Raises:
            FileExistsError: There is one of that name.
        """
        stamp = stamp_of(entry.mtime_ns, self._now_ns)
        verified = _verified(entry, chunks)
        if entry.size <= SMALL or self._admit:
            data = b"".join(verified)
            why = self._admit(entry, data, self._size_of) if self._admit else None
            if why:
                raise _Bad(why)
            verified = iter((data,))
        is_program = self._programs(entry.name)
        folder, name = self._folders.of(entry.name, make=True)
        if self._is_there(folder, name):
            raise FileExistsError
        if not (self._unnamed and self._link(folder, name, verified, stamp, is_program)):
            self._write_in_place(folder, name, verified, stamp, is_program)
        if is_program:
            os.utime(folder, ns=(stamp, stamp))  # go goes by the directory of a program
        return stamp

    def _is_there(self, folder: int, name: str) -> bool:
        """Whether the name is taken, so that no file is made in vain."""
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _link(self, folder: int, name: str, verified: Iterator[bytes], stamp: int, is_program: bool) -> bool:  # noqa: FBT001 - private
        """Give a name to a file that is whole. False when the file system has no files without names; nothing was read then."""
        try:
            fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _mode(is_program), dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self._unnamed = False
            return False
        try:
            for chunk in verified:
                _write_all(fd, chunk)
            os.utime(fd, ns=(stamp, stamp))
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(fd)
        return True

    def _write_in_place(self, folder: int, name: str, verified: Iterator[bytes], stamp: int, is_program: bool) -> None:  # noqa: FBT001 - likewise
        """Go's way: the last byte comes last, and only when everything was verified; a file without it is a miss for go."""
        if not self._in_place:
            raise _Bad("this file system cannot make a file without a name, so a kill could leave it half")
        fd = open_below(folder, name, _NEW | os.O_EXCL, mode=_mode(is_program))
        try:
            held = b""
            for chunk in verified:
                _write_all(fd, held + chunk[:-1])
                held = chunk[-1:] or held
            _write_all(fd, held)
            os.utime(fd, ns=(stamp, stamp))
        finally:
            os.close(fd)

    def _size_of(self, name: str) -> int | None:
        """Bytes of a file in the cache, or of the one file in the directory of that name; None for neither."""
        try:
            folder, file = self._folders.of(name)
            found = os.stat(file, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                return found.st_size
            fd = open_below(folder, file, _DIRECTORY)
        except OSError:
            return None
        try:
            with os.scandir(fd) as items:
                inside = [item.stat(follow_symlinks=False) for item in items]
        finally:
            os.close(fd)
        return inside[0].st_size if len(inside) == 1 and stat.S_ISREG(inside[0].st_mode) else None


def _verified(entry: Entry, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content as far as it can be the promised one.

    Raises:
        _Bad: At its end, or as soon as it is too long: it is not.
    """
    hashed, size = sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > entry.size:
            raise _Bad("the snapshot holds more of it than its manifest says")
        hashed.update(chunk)
        yield chunk
    if size != entry.size:
        raise _Bad("the snapshot holds less of it than its manifest says")
    if hashed.hexdigest() != entry.sha256:
        raise _Bad("its content in the snapshot is not what the manifest says")


def _mode(is_program: bool) -> int:  # noqa: FBT001 - private
    """As go makes them; the umask narrows it. What a snapshot says about modes opens nothing."""
    return 0o777 if is_program else 0o666


def _write_all(fd: int, data: bytes) -> None:
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:] if at else data)


# ---------------------------------------------------------------- looking and refreshing


def _look(folders: _Folders, entry: Entry) -> Live | None:
    try:
        folder, name = folders.of(entry.name)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return Live(None)
        if found.st_size != entry.size:
            return Live(found.st_size)
        fd = open_below(folder, name, _READ)
    except FileNotFoundError:
        return None
    except OSError:
        return Live(None)
    try:
        return _hash(fd, entry.size)
    except OSError:
        return Live(None)
    finally:
        os.close(fd)


def _hash(fd: int, limit: int) -> Live:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return Live(None)
    hashed, size = sha256(), 0
    while size <= limit and (chunk := os.read(fd, _CHUNK)):
        hashed.update(chunk)
        size += len(chunk)
    return Live(size, hashed.hexdigest())


def _refresh(folders: _Folders, name: str, now_ns: int, *, every: bool) -> int:
    try:
        folder, file = folders.of(name)
        found = os.stat(file, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            return 0
        if not every and stamp_of(found.st_mtime_ns, now_ns) == found.st_mtime_ns:
            return 0
        os.utime(file, ns=(now_ns, now_ns), dir_fd=folder, follow_symlinks=False)
    except OSError:
        return 0  # it is gone, or another user's: it stays as old as it is
    return 1


# ---------------------------------------------------------------- system calls and results


def _translated(root: Root, work: Callable[[Progress, Stop], Value]) -> Callable[[Progress, Stop], Value]:
    def translated(tell: Progress, stopped: Stop) -> Value:
        try:
            return work(tell, stopped)
        except OSError as error:
            raise WriteFailed(
                f"{root.path} could not be written: {error.strerror}",
                not_done="files that have a name are whole; the others are not there",
                hint="remove the cause and run the same command again: it goes on where it ended",
            ) from error

    return translated


def _written(value: Value) -> Written:
    plain = cast("dict[str, Any]", value)
    return Written(
        files=[(name, size, stamp) for name, size, stamp in plain["files"]],
        newer=list(plain["newer"]),
        failed=[(name, why) for name, why in plain["failed"]],
        stopped=plain["stopped"],
    )


def _sync(root: Root) -> None:
    """Make everything of the file system durable. One call costs less than an fsync for each of ten thousand files.

    Raises:
        WriteFailed: The kernel does not promise it.
    """
    if _LIBC.syncfs(ctypes.c_int(root.fd)):
        raise WriteFailed(
            f"{root.path}: what was written is not known to be on the disk: {os.strerror(ctypes.get_errno())}",
            not_done="files that have a name are whole as long as the machine runs",
            hint="look at the disk, then run `go-cache-safeguard fsck --all`",
        )


def _no_room(root: Root, why: str) -> NoRoom:
    return NoRoom(
        f"the disk under {root.path} is too full: {why}",
        not_done="nothing was written",
        hint="make room with `go-cache-safeguard clean --unused-for 5d`, then `go-cache-safeguard purge`",
    )
