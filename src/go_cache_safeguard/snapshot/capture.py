"""Reads the files of a cache for a snapshot, also while go works in it.

Knows:     how to list a cache in a manifest's order, and how to read a file so that what was read is what was there at one moment.
Called by: `snapshot.archive`, the repository and `flows`.
Never:     writes into a cache, follows a link, opens a pipe or a device, or leaves anything out without saying so.
Source:    openat2(2), open(2) O_NOFOLLOW. A file is the same as before if inode, size, mtime and ctime are; those move at most with
           every tick of the kernel's clock (10 ms at CONFIG_HZ=100), so a file that changed less than two ticks ago is not believed yet.

A snapshot first walks (`walk`, `find`): names, sizes and times, nothing is opened. Then it reads, one `Reader` for each thread.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from time import sleep, time_ns
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

from go_cache_safeguard.snapshot.manifest import Entry, Kind, Skipped, has_time, order, refusal, shown
from go_cache_safeguard.snapshot.memory import INODE, pack_look
from go_cache_safeguard.snapshot.scope import partial_mark, why_not
from go_cache_safeguard.tree.looks import look_at
from go_cache_safeguard.tree.root import Root, open_below

IN_MEMORY = 8 << 20
"""bytes: what is larger is not read by `Reader.read` but copied by `Reader.copy`."""
TRIES = 4
"""How often a file is read that changes under our eyes, before it is left out."""

_LARGEST = 64 << 30
"""bytes: go writes nothing larger; whoever plants a sparse giant does not get us to read it."""
_YOUNG_NS = 20_000_000
_PAUSE_S = 0.025
_MAX_DEPTH = 200
"""directories inside each other; every level holds a descriptor."""
_PIECE = 1 << 20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = "it was removed while the snapshot was made"
_REWRITTEN = "it was rewritten while it was read"


class Found(NamedTuple):
    """A file, as a look without opening it showed it.

    Attributes:
        name: Path below the root of the cache.
        size: Bytes.
        mode: The nine permission bits.
        mtime_ns: Nanoseconds since 1970-01-01 UTC.
        ctime_ns: Likewise; moves with every change of content, time or mode.
        ino: Number of its inode.
    """

    name: str
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    ino: int


Room: TypeAlias = Callable[[Found], memoryview]
"""Asked, for every attempt to read a file, for memory of exactly `size` bytes; told how the file stands now."""
Sink: TypeAlias = Callable[[memoryview, int], None]
"""Given a piece of a file, and how many bytes of the file stand before it."""
Skip: TypeAlias = Callable[[Skipped], None]
"""Told what is left out."""
Surveyed: TypeAlias = tuple[str, "list[Found] | None"]
"""A name in the root with its files; None when they all look as they did."""


def walk(root: Root, kind: Kind, *, skipped: Skip) -> Iterator[Found]:
    """Every file that belongs in a snapshot, in the order of a manifest; nothing is opened but directories.

    Args:
        root: The open cache.
        kind: Which cache it is.
        skipped: Told what is left out.
    """
    return _Walk(root, kind, skipped).folder("", 0)


def survey(root: Root, kind: Kind, looks: Mapping[str, bytes], *, skipped: Skip) -> Iterator[Surveyed]:
    """The same, by what lies below each name of the root, and without the files of what looks as it did.

    Args:
        root: The open cache.
        kind: Which cache it is.
        looks: By name of a directory in the root, or of a file: the look that `snapshot.memory` kept of its files; it may have no others.
        skipped: Told what is left out.
    """
    return _Walk(root, kind, skipped).survey(looks)


def find(root: Root, kind: Kind, names: Iterable[str], *, skipped: Skip) -> Iterator[Found]:
    """The files of these names, in the order of a manifest; of a directory (a cached program) every file in it.

    Args:
        root: The open cache.
        kind: Which cache it is.
        names: Paths below the root, as a plan has them.
        skipped: Told what is not there, or is left out.
    """
    return _Walk(root, kind, skipped).named(names)


class Reader:
    """Reads files, one after the other, best in a manifest's order. Not for two threads at once. Leave it by `with`."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._guarded = os.geteuid() == 0 and root.uid != 0
        self._folder = ""
        self._fd = os.dup(root.fd)
        self._buffer = memoryview(bytearray(_PIECE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    def read(self, found: Found, room: Room) -> Entry | Skipped:
        """Read a file of at most `IN_MEMORY` bytes.

        Args:
            found: What `walk` said of it.
            room: Asked for memory; when a file must be read again it is asked again, and what it gave before is worth nothing.

        Returns:
            The entry: its bytes are in the memory that `room` gave last. Or why it was left out.
        """
        return self._steadily(found, lambda fd, now: _fill(fd, now, room) if now.size <= IN_MEMORY else None)

    def fetch(self, found: Found, room: Room, limit: int) -> Entry | Skipped:
        """Read a file and hash nothing: whoever has fetched several hashes them side by side, see `core.digests`.

        Args:
            found: What `walk` said of it.
            room: As for `read`.
            limit: Bytes that it may have.

        Returns:
            The entry, its SHA-256 still empty; or why it was left out.
        """
        return self._steadily(found, lambda fd, now: _fetch(fd, now, room) if now.size <= limit else None)

    def copy(self, found: Found, target: int) -> Entry | Skipped:
        """Read a file of any size into an open file of ours: afterwards its first bytes, as many as the entry says, are the content.

        Args:
            found: What `walk` said of it.
            target: Open for writing.

        Returns:
            The entry, or why it was left out.

        Raises:
            OSError: The target cannot be written.
        """
        return self._steadily(found, lambda fd, now: self._copy(fd, now, target))

    def read_as(self, found: Found, sink: Sink) -> Entry | Skipped:
        """Read a file of any size that is still what `walk` said of it, piece by piece.

        Args:
            found: What `walk` said of it.
            sink: Given each piece with where in the file it begins; when a file must be read again it is given all pieces again.

        Returns:
            The entry, which says the same as `found`, or why it was left out.

        Raises:
            Changed: Its size, mode or time is another one by now.
            OSError: The sink cannot take it.
        """
        return self._steadily(found, lambda fd, now: self._pour(fd, found, now, sink))

    def _pour(self, fd: int, found: Found, now: Found, sink: Sink) -> str | None:
        if now[:4] != found[:4]:
            raise Changed
        sha, at = sha256(), 0
        while at < now.size:
            got = _read(fd, self._buffer[: now.size - at])
            if not got:
                return None
            piece = self._buffer[:got]
            sha.update(piece)
            sink(piece, at)
            at += got
        return sha.hexdigest()

    def _steadily(self, found: Found, work: Callable[[int, Found], str | None]) -> Entry | Skipped:
        """Read until nothing changed meanwhile; `work` gives the hash, or None when the file ended early or grew too large."""
        name = found.name
        for attempt in range(TRIES):
            if attempt:
                sleep(_PAUSE_S)
            try:
                fd = self._open(name)
            except OSError as error:
                return Skipped(name, _why(error))
            try:
                before = os.fstat(fd)
                if why := self._refuse(before):
                    return Skipped(name, why)
                sha = work(fd, _found(name, before))
                after = os.fstat(fd)
            except _ReadError as error:
                return Skipped(name, f"it cannot be read: {error}")
            finally:
                os.close(fd)
            if (
                sha is not None
                and _marks(before) == _marks(after)
                and not 0 <= time_ns() - after.st_ctime_ns < _YOUNG_NS
            ):
                return Entry(name, after.st_size, after.st_mode & 0o777, after.st_mtime_ns, sha)
        return Skipped(name, _REWRITTEN)

    def _open(self, name: str) -> int:
        folder, _, base = name.rpartition("/")
        if folder != self._folder:
            fd = _open_folder(self._root, folder)
            os.close(self._fd)
            self._folder, self._fd = folder, fd
        return os.open(order(base), _FILE, dir_fd=self._fd)

    def _refuse(self, found: os.stat_result) -> str | None:
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        if found.st_size > _LARGEST:
            return f"it is larger than {_LARGEST >> 30} GiB"
        if self._guarded and found.st_uid != self._root.uid and not found.st_mode & stat.S_IROTH:
            # A link to a secret of somebody else would be read with root's rights and given to whoever gets the snapshot.
            return f"it belongs to user {found.st_uid}, and the owner of the cache may not read it"
        return None if has_time(found.st_mtime_ns) else "its time is before year 1 or after year 9999"

    def _copy(self, fd: int, now: Found, target: int) -> str | None:
        os.lseek(target, 0, os.SEEK_SET)
        sha, left = sha256(), now.size
        while left:
            got = _read(fd, self._buffer[:left])
            if not got:
                return None
            piece = self._buffer[:got]
            sha.update(piece)
            while piece:
                piece = piece[os.write(target, piece) :]
            left -= got
        return sha.hexdigest()


def look_of(files: Iterable[tuple[str, os.stat_result]]) -> bytes:
    """What some files look like, in the form in which `snapshot.memory` keeps it."""
    names: list[str] = []
    numbers: list[int] = []
    for name, found in files:
        names.append(name)
        numbers += (found.st_size, found.st_mode, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & INODE)
    return pack_look(names, numbers)


def _look_slowly(fd: int) -> bytes:
    """The same as `look_at`, whatever the names are."""
    with os.scandir(fd) as listing:
        items = {one.name: one for one in listing}
        return look_of((name, items[name].stat(follow_symlinks=False)) for name in sorted(items))


class Changed(Exception):  # noqa: N818 - it is no error
    """A file is not as it was when it was listed."""


class _ReadError(Exception):
    """The disk does not give what it holds. Apart from OSError, so that trouble with our own target is not taken for it."""


class _Walk:
    """One walk through a cache."""

    def __init__(self, root: Root, kind: Kind, skipped: Skip) -> None:
        self._root, self._kind = root, kind
        self._device = os.fstat(root.fd).st_dev
        self._skipped = skipped

    def skip(self, name: str, why: str) -> None:
        self._skipped(Skipped(shown(name), why))

    def named(self, names: Iterable[str]) -> Iterator[Found]:
        wanted = set(names)
        there: list[tuple[bytes, str, os.stat_result]] = []
        for name in sorted(wanted, key=order):
            if name.rpartition("/")[0] in wanted:
                continue  # its directory is wanted, and all that is in it
            if why := refusal(name):
                self.skip(name, why)
                continue
            try:
                found = self._stat(name)
            except OSError as error:
                self.skip(name, "it is not there" if error.errno == errno.ENOENT else _why(error))
                continue
            there.append((_key(name, is_folder=stat.S_ISDIR(found.st_mode)), name, found))
        for _, name, found in sorted(there, key=lambda one: one[0]):
            yield from self.item(name, found, 0)

    def _stat(self, name: str) -> os.stat_result:
        folder, _, base = name.rpartition("/")
        with _closing(_open_folder(self._root, folder)) as fd:
            return os.stat(order(base), dir_fd=fd, follow_symlinks=False)

    def folder(self, name: str, depth: int) -> Iterator[Found]:
        """Everything in a directory."""
        try:
            fd = _open_folder(self._root, name)
        except OSError as error:
            self.skip(name, _why(error))
            return
        with _closing(fd):
            if why := self._refuse_folder(fd, name, depth):
                self.skip(name, why)
                return
            try:
                with os.scandir(fd) as listing:
                    items = sorted(listing, key=_place)
            except OSError as error:
                self.skip(name or ".", f"it cannot be listed: {error.strerror}")
                return
            for item in items:
                own = _utf8(item.name)
                whole = f"{name}/{own}" if name else own
                try:
                    found = item.stat(follow_symlinks=False)
                except OSError as error:
                    self.skip(whole, _why(error))
                    continue
                yield from self.item(whole, found, depth)

    def survey(self, looks: Mapping[str, bytes]) -> Iterator[Surveyed]:
        """Everything in the root, by name."""
        with os.scandir(self._root.fd) as listing:
            items = sorted(listing, key=_place)
        same = self._same([item for item in items if looks.get(_utf8(item.name))], looks)
        for item in items:
            own = _utf8(item.name)
            if own in same:
                yield own, None
                continue
            try:
                found = item.stat(follow_symlinks=False)
            except OSError as error:
                self.skip(own, _why(error))
                continue
            if files := list(self.item(own, found, 0)):
                yield own, files

    def _same(self, items: "Sequence[os.DirEntry[str]]", looks: Mapping[str, bytes]) -> set[str]:
        """Names of what looks as it did; two look at once, because most of this is waiting for the kernel."""
        if not items:
            return set()
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - heavy: loaded where there was a snapshot before

        def some(part: "Sequence[os.DirEntry[str]]") -> list[str]:
            return [own for item in part if self._look(item) == looks[own := _utf8(item.name)]]

        with ThreadPoolExecutor(2) as pool:
            return {own for found in pool.map(some, (items[::2], items[1::2])) for own in found}

    def _look(self, item: "os.DirEntry[str]") -> bytes:
        """How a file looks, or a directory that holds nothing but files; of anything else something that no memory says."""
        try:
            if not item.is_dir(follow_symlinks=False):
                return look_of([("", item.stat(follow_symlinks=False))])
            with _closing(_open_folder(self._root, item.name)) as fd:
                if os.fstat(fd).st_dev != self._device:
                    return b""
                look = look_at(fd)
                return _look_slowly(fd) if look is None else look
        except OSError:
            return b""  # the walk tells why

    def item(self, name: str, found: os.stat_result, depth: int) -> Iterator[Found]:
        """A file, or a directory with what is in it."""
        mode = found.st_mode
        is_folder = stat.S_ISDIR(mode)
        why = refusal(name) or why_not(self._kind, name, is_folder=is_folder)
        if why is None and not is_folder and not stat.S_ISREG(mode):
            why = _kind_of(mode)
        if why is not None:
            self.skip(name, why)
        elif is_folder:
            yield from self.folder(name, depth + 1)
        else:
            yield _found(name, found)

    def _refuse_folder(self, fd: int, name: str, depth: int) -> str | None:
        if depth > _MAX_DEPTH:
            return "too many directories are inside each other"
        if os.fstat(fd).st_dev != self._device:
            return "something else is mounted there"
        mark = partial_mark(name) if self._kind is Kind.MODULE else None
        if mark is not None:
            # Asked after the directory was seen: go makes the mark before the directory and removes it after the last file.
            try:
                self._stat(mark)
            except FileNotFoundError:
                return None
            except OSError as error:
                return f"it cannot be known whether it was extracted completely: {error.strerror}"
            return "it was not extracted completely"
        return None


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _place(item: "os.DirEntry[str]") -> bytes:
    return _key(_utf8(item.name), is_folder=item.is_dir(follow_symlinks=False))


def _utf8(name: str) -> str:
    """A name of this system as UTF-8 reads its bytes: without that a snapshot would depend on the locale."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def _open_folder(root: Root, name: str) -> int:
    return open_below(root.fd, os.fsdecode(order(name)), _FOLDER) if name else os.dup(root.fd)


def _key(name: str, *, is_folder: bool) -> bytes:
    """Where a name stands among its siblings when all paths below them are in the order of their bytes."""
    return order(f"{name}/" if is_folder else name)


def _found(name: str, found: os.stat_result) -> Found:
    return Found(name, found.st_size, found.st_mode & 0o777, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _marks(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode


def _fill(fd: int, now: Found, room: Room) -> str | None:
    memory = room(now)
    if now.size <= _PIECE:
        if now.size and _read(fd, memory) != now.size:
            return None
        return sha256(memory).hexdigest()
    sha, at = sha256(), 0
    while at < now.size:
        got = _read(fd, memory[at : at + _PIECE])
        if not got:
            return None
        sha.update(memory[at : at + got])
        at += got
    return sha.hexdigest()


def _fetch(fd: int, now: Found, room: Room) -> str | None:
    memory, at = room(now), 0
    while at < now.size:
        got = _read(fd, memory[at:] if at else memory)
        if not got:
            return None
        at += got
    return ""


def _read(fd: int, memory: memoryview) -> int:
    try:
        return os.readv(fd, [memory])
    except OSError as error:
        raise _ReadError(error.strerror or "input/output error") from error


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return _GONE
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "it was replaced by something else while the snapshot was made"
    if error.errno == errno.EXDEV:
        return "something else is mounted there"
    return f"it cannot be opened: {error.strerror}"


def _kind_of(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "it is a symbolic link"
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        return "it is a socket or a pipe"
    return "it is a device"
