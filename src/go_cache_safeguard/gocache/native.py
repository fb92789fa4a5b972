"""A build cache on disk, read and written as the go command itself does. A shell.

Knows:     what go does at a Get, an OutputFile and a Put, in which order; and when a content has been proved.
Called by: `flows.cacheprog` and `flows.trace_prog`, each in the place of go's own code.
Never:     removes or renames anything; gives out a content whose SHA-256 is not its name, or an archive that another action made;
           raises because a cache is damaged, full, or not ours to write.
Source:    cmd/go/internal/cache/cache.go, `get`, `markUsed`, `OutputFile`, `copyFile` and `putIndexEntry`, read in go1.24.11, go1.26.8
           and go1.27.3. Where go removes an entry that it could not complete, this empties it, which go reads as absent. A trim is
           go's own: it makes one at the end of a build without GOCACHEPROG only.

Loads next to nothing, because `go` waits until we are there; what proves and writes comes when it is needed.
A content is hashed when it is written or first seen, and known by its marks from then on. Marks are believed if they are old
(`gocache.index` says why), or if the time stamp is one that we set ourselves to the nanosecond: a write would set another one.
"""

import os
import stat
import time
from binascii import Error as BadHex
from binascii import unhexlify

from go_cache_safeguard.gocache.hits import Swift
from go_cache_safeguard.gocache.mark import IN_BUCKET, RECORD, SIZE, Mark, Marks, bucket, pack, place, unpack
from go_cache_safeguard.gocache.progproto import escaped

TYPE_CHECKING = False  # see gocache.progproto
if TYPE_CHECKING:
    from collections.abc import Callable

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_WRITE = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o666
_ENTRY = 175
_EMPTY = unhexlify("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
_HOUR_NS = 3600 * 10**9
"""go refreshes time stamps at most this often."""
_RACY_NS = 2 * 10**9
_PIECE = 1 << 18
_INT64_MAX = 2**63 - 1
_MOST_NOTES = 20
_FORMAT = stat.S_IFMT(0xFFFF)
"""Of a mode, the bits that say what a file is."""

_ANY = Mark((0, 0, 0, 0), None)
"""Stands for a mark where none is needed."""

Look = tuple[bytes, int, int, int, int, int, int, int, int]
"""What an index entry says (output, size, time_ns), its mtime_ns, and how the output looks: mode (0: absent), inode, size, mtime_ns, ctime_ns."""


class Found:
    """What there is for an action.

    Attributes:
        action: 32 bytes.
        output: 32 bytes.
        size: Of the output, in bytes.
        time_ns: When the entry was written.
        path: Of the output.
        shown: The same as it stands in JSON.
        marks: Of the output.
        mark: What is remembered of it, if it is what it was; None if the content has to be proved first.
    """

    __slots__ = ("action", "mark", "marks", "output", "path", "shown", "size", "time_ns")

    def __init__(self, action: bytes, output: bytes, size: int, time_ns: int, *, path: str, shown: bytes) -> None:
        self.action = action
        self.output = output
        self.size = size
        self.time_ns = time_ns
        self.path = path
        self.shown = shown
        self.marks: Marks = (0, 0, 0, 0)
        self.mark: Mark | None = None


class Table:
    """The table of marks of one cache, shared by all processes of one user."""

    def __init__(self, path: str) -> None:
        """Open it, or make it; if that fails nothing is remembered.

        Args:
            path: Where it is; its folder must be there.
        """
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDWR | _WRITE, 0o600)
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                self.close()
            elif found.st_size != SIZE:
                os.pwrite(self._fd, b"\0", SIZE - 1)
        except OSError:
            self.close()

    @property
    def descriptor(self) -> int:
        """Of the open file; -1 if there is none."""
        return self._fd

    def get(self, output: bytes) -> Mark | None:
        """What is remembered of an output."""
        if self._fd < 0:
            return None
        try:
            records = os.pread(self._fd, IN_BUCKET * RECORD, bucket(output))
        except OSError:
            return None
        at = records.find(output)
        return unpack(records[at : at + RECORD], output) if at >= 0 and at % RECORD == 0 else None

    def put(self, output: bytes, mark: Mark) -> None:
        """Remember an output."""
        if self._fd < 0:
            return
        at = bucket(output)
        try:
            records = os.pread(self._fd, IN_BUCKET * RECORD, at)
            os.pwrite(self._fd, pack(output, mark), at + place(records, output) * RECORD)
        except OSError:
            pass  # it is hashed again next time

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Native:
    """One cache. Any thread may use it.

    Attributes:
        read_only: Nothing is written into it, no time stamp either.
        damaged: How many contents were not what they should be.
        notes: The first of them, a line each.
    """

    def __init__(
        self,
        root: str,
        *,
        table: Table | None = None,
        verify: str = "marks",
        read_only: bool = False,
        known: "Callable[[bytes], Marks | None] | None" = None,
    ) -> None:
        """Look at a cache.

        Args:
            root: Its directory, absolute.
            table: What was proved before.
            verify: `marks`: hash what is not remembered; `always`: hash each time; `never`: only the size counts, as for go.
            read_only: Write nothing.
            known: Gives the marks of an output that somebody else has proved.
        """
        self.read_only = read_only
        self.damaged = 0
        self.notes: list[str] = []
        self._root = root
        self._table = table
        self._verify = verify
        self._known = known
        self._spills: dict[str, _Spill] = {}
        try:
            self._shown = escaped(root)
        except UnicodeEncodeError:
            # JSON cannot say this name, so go gets another one of the same directory; it lives as long as we do.
            self._shown = b"/proc/%d/fd/%d" % (os.getpid(), os.open(root, os.O_PATH | os.O_CLOEXEC))

    def look(self, action: bytes, now_ns: int) -> Found | None:
        """What go would find.

        Args:
            action: 32 bytes.
            now_ns: The present.

        Returns:
            What there is; if its `mark` is None it is only to be used if `prove` agrees.
        """
        seen = look(self._root, action)
        if seen is None:
            return None
        output, size, time_ns, entry_mtime_ns, mode, *marks = seen
        digits = output.hex()
        found = Found(
            action,
            output,
            size,
            time_ns,
            path=f"{self._root}/{digits[:2]}/{digits}-d",
            shown=b"%b/%b/%b-d" % (self._shown, digits[:2].encode(), digits.encode()),
        )
        if now_ns - entry_mtime_ns >= _HOUR_NS:
            hexed = action.hex()
            self._touch(f"{self._root}/{hexed[:2]}/{hexed}-a", now_ns)
        kind = mode & _FORMAT
        if kind == stat.S_IFDIR:
            return self._program(found)
        if kind != stat.S_IFREG or marks[1] != size:
            return None
        found.marks = (marks[0], marks[1], marks[2], marks[3])
        return self._recognise(found)

    def swift(self) -> Swift | None:
        """What the compiled twin is told; None if each content has to be read."""
        table = -1 if self._table is None else self._table.descriptor
        if self._verify == "always" or (self._verify == "marks" and table < 0):
            return None
        return Swift(os.fsencode(self._root), self._shown, table, verify=self._verify != "never")

    def prove(self, found: Found, now_ns: int) -> bool:
        """Whether the content is what its name says, and was made by this action. Reads all of it, unless somebody else did."""
        mark = self._hash(found)
        if mark is None:
            return False
        found.mark = mark
        if self._table is not None and now_ns - found.marks[3] > _RACY_NS:
            self._table.put(found.output, mark)
        return self._fits(found, mark)

    def used(self, found: Found, now_ns: int) -> None:
        """Note that a content is used, as go does: in its time stamp, at most once an hour."""
        if self.read_only or now_ns - found.marks[2] < _HOUR_NS:
            return
        path = found.path
        if self._touch(path, now_ns) and found.mark is not None and found.mark is not _ANY:
            self._remember(found.output, path, now_ns, found.mark.seal, found.marks)

    def begin(self, action: bytes, output: bytes, size: int) -> "Incoming":
        """Take a content that comes in pieces.

        Args:
            action: 32 bytes.
            output: 32 bytes.
            size: In bytes.
        """
        return Incoming(self, action, output, size)

    def close(self) -> None:
        """Give back what was needed for this run only; paths below a temporary folder end here."""
        for spill in self._spills.values():
            spill.close()

    def _program(self, found: Found) -> Found | None:
        """A cached program is the one file in a directory; one that cannot be executed is of no use."""
        try:
            names = os.listdir(found.path)  # noqa: PTH208 - pathlib takes long to load
            if len(names) != 1:
                return None
            path = f"{found.path}/{names[0]}"
            inside = os.lstat(path)
            shown = found.shown + b"/" + escaped(names[0])
        except (OSError, UnicodeEncodeError):
            return None
        if not stat.S_ISREG(inside.st_mode) or inside.st_size != found.size or not inside.st_mode & 0o111:
            return None
        found.path, found.shown = path, shown
        found.marks = _marks(inside)
        return self._recognise(found)

    def _recognise(self, found: Found) -> Found | None:
        if found.size == 0 or self._verify == "never":
            found.mark = _ANY
            return found if found.size or found.output == _EMPTY else None
        if self._verify == "marks" and self._table is not None:
            mark = self._table.get(found.output)
            if mark is not None and mark.marks == found.marks:
                found.mark = mark
                return found if self._fits(found, mark) else None
        return found

    def _fits(self, found: Found, mark: Mark) -> bool:
        if mark.fits(found.action):
            return True
        self._bad(f"{found.action.hex()}-a names an archive that another action made")
        return False

    def _hash(self, found: Found) -> Mark | None:
        """A new mark; None if the content is not what its name says, or changes."""
        from hashlib import sha256  # noqa: PLC0415 - takes milliseconds to load, and most builds prove nothing new

        from go_cache_safeguard.gocache.seals import HEAD, seal_of  # noqa: PLC0415 - likewise

        try:
            fd = os.open(found.path, _READ)
        except OSError:
            return None
        try:
            if _marks(os.fstat(fd)) != found.marks:
                return None
            head = os.pread(fd, HEAD, 0)
            if self._verify != "always" and self._known is not None and self._known(found.output) == found.marks:
                return Mark(found.marks, seal_of(head))
            digest = sha256()
            while piece := os.read(fd, _PIECE):
                digest.update(piece)
            if digest.digest() == found.output:  # if somebody has touched it meanwhile it is a miss, and no damage
                return Mark(found.marks, seal_of(head)) if _marks(os.fstat(fd)) == found.marks else None
        except OSError:
            pass  # unreadable is as bad as wrong
        finally:
            os.close(fd)
        self._bad(f"{found.output.hex()}-d is not what its name says")
        return None

    def _bad(self, note: str) -> None:
        if note in self.notes:
            return  # it was looked up, and then written again
        self.damaged += 1
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(note)

    def _touch(self, path: str, now_ns: int) -> bool:
        if self.read_only:
            return False
        try:
            os.utime(path, ns=(now_ns, now_ns), follow_symlinks=False)
        except OSError:
            return False  # somebody else's file: go lets that be, too
        return True

    def _remember(self, output: bytes, path: str, now_ns: int, seal: bytes | None, before: Marks | None) -> None:
        """Remember a file whose time stamp we have just set to `now_ns`."""
        if self._table is None:
            return
        try:
            marks = _marks(os.lstat(path))
        except OSError:
            return
        # A file system that keeps less than nanoseconds cannot tell our stamp from that of a write.
        if marks[2] == now_ns and now_ns % 1000 and (before is None or marks[:2] == before[:2]):
            self._table.put(output, Mark(marks, seal))

    def _holds(self, output: bytes, size: int) -> bool:
        """Whether this content is there and sound, so that nothing need be written."""
        digits = output.hex()
        found = Found(b"", output, size, 0, path=f"{self._root}/{digits[:2]}/{digits}-d", shown=b"")
        try:
            seen = os.lstat(found.path)
        except OSError:
            return False
        found.marks = _marks(seen)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != size:
            return False
        mark = self._table.get(output) if self._table is not None and self._verify == "marks" else None
        return (mark is not None and mark.marks == found.marks) or self._hash(found) is not None

    def _spilled(self) -> "_Spill":
        # Of two threads that come at once both get the first one.
        return self._spills.get(self._root) or self._spills.setdefault(self._root, _Spill())

    def _open(self, path: str, flags: int) -> int:
        """Open a file of the cache for writing; the shard is made if it is not there.

        Raises:
            OSError: It cannot be opened, or is no regular file.
        """
        try:
            fd = os.open(path, flags | _WRITE, _MODE)
        except FileNotFoundError:
            os.mkdir(path[: path.rindex("/")], 0o777)  # noqa: PTH102 - likewise
            fd = os.open(path, flags | _WRITE, _MODE)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(f"{path} is no regular file")
        return fd

    def _index(self, action: bytes, output: bytes, size: int) -> bool:
        """Write the index entry, in place, and cut it to its length afterwards."""
        digits = action.hex()
        path = f"{self._root}/{digits[:2]}/{digits}-a"
        now_ns = time.time_ns()
        entry = f"v1 {digits} {output.hex()} {size:20d} {now_ns:20d}\n".encode()
        try:
            fd = self._open(path, os.O_WRONLY)
        except OSError:
            return False
        try:
            if os.write(fd, entry) == _ENTRY:
                os.ftruncate(fd, _ENTRY)
                os.utime(fd, ns=(now_ns, now_ns))
                return True
            os.ftruncate(fd, 0)
        except OSError:
            _empty(fd)
        finally:
            os.close(fd)
        return False


class Incoming:
    """A content on its way into the cache; into a temporary folder if the cache does not take it.

    Attributes:
        size: That was announced, in bytes.
        indexed: After `finish`: whether it is in the cache, with its index entry.
        path: After `finish`: where the content is.
    """

    def __init__(self, native: Native, action: bytes, output: bytes, size: int) -> None:
        self.size = size
        self.indexed = False
        digits = output.hex()
        self.path = f"{native._root}/{digits[:2]}/{digits}-d"  # noqa: SLF001 - two halves of one thing
        self._native = native
        self._action = action
        self._output = output
        self._seen = 0
        self._last = b""
        self._head = b""
        self._fd = -1
        self._spilled = False
        self._there = not native.read_only and native._holds(output, size)  # noqa: SLF001
        if not self._there:
            from hashlib import sha256  # noqa: PLC0415 - a build that compiles nothing does without

            self._digest = sha256()
            self._begin()

    def write(self, data: bytes) -> None:
        """The next piece."""
        if self._there or not data:
            return
        self._seen += len(data)
        self._digest.update(data)
        if len(self._head) < 4096:
            self._head += data[: 4096 - len(self._head)]
        if self._seen >= self.size and not self._spilled:
            data, self._last = data[:-1], data[-1:]  # with the last byte the size is right, and others begin to use it
        try:
            _write(self._fd, data)
        except OSError:
            self._to_spill()
            _write(self._fd, data)

    def finish(self, *, whole: bool = True) -> bytes:
        """Nothing more comes.

        Args:
            whole: Whether all of it came, as far as the protocol tells.

        Returns:
            Where it is, as it stands in JSON.

        Raises:
            OSError: Neither cache nor temporary folder nor memory takes it.
        """
        native = self._native
        if self._there:
            self.indexed = whole and native._index(self._action, self._output, self.size)  # noqa: SLF001
            return self._shown()
        right = whole and self._seen == self.size and self._digest.digest() == self._output
        if right and not self._spilled:
            try:
                _write(self._fd, self._last)
            except OSError:
                right = False
        if self._spilled or not right:
            return self._finish_elsewhere()
        now_ns = time.time_ns() | 1  # never a round number, which is what coarse file systems keep
        try:
            os.utime(self._fd, ns=(now_ns, now_ns))
        except OSError:
            now_ns = 0  # the content is there all the same, and is hashed when it is looked up
        os.close(self._fd)
        from go_cache_safeguard.gocache.seals import seal_of  # noqa: PLC0415 - see above

        if self.size:
            native._remember(self._output, self.path, now_ns, seal_of(self._head), None)  # noqa: SLF001
        self.indexed = native._index(self._action, self._output, self.size)  # noqa: SLF001
        return self._shown()

    def _begin(self) -> None:
        if self._native.read_only:
            self._to_spill()
            return
        try:
            self._fd = self._native._open(self.path, os.O_RDWR)  # noqa: SLF001
            if os.fstat(self._fd).st_size > self.size:
                os.ftruncate(self._fd, 0)
        except OSError:
            self._to_spill()

    def _to_spill(self) -> None:
        """Go on in a temporary file, with what came so far; leave no wrong bytes behind."""
        fd, path = self._native._spilled().new(self._output)  # noqa: SLF001
        if self._fd >= 0:
            try:
                at = 0
                while piece := os.pread(self._fd, min(_PIECE, self._seen - at), at):
                    _write(fd, piece)
                    at += len(piece)
            finally:
                _empty(self._fd)
                os.close(self._fd)
        self._fd, self.path, self._spilled = fd, path, True

    def _finish_elsewhere(self) -> bytes:
        if not self._spilled:
            self._to_spill()
            _write(self._fd, self._last)
        self._native._spilled().done(self._fd, self.path)  # noqa: SLF001
        return self._shown()

    def _shown(self) -> bytes:
        native = self._native
        root = native._root  # noqa: SLF001
        if self._spilled or not self.path.startswith(root):
            return escaped(self.path)
        return native._shown + self.path[len(root) :].encode("ascii")  # noqa: SLF001


class _Spill:
    """Contents that the cache does not take: in a temporary folder, else in memory, until we end."""

    def __init__(self) -> None:
        from tempfile import TemporaryDirectory  # noqa: PLC0415 - hardly ever needed

        self._count = 0
        try:
            self._folder: TemporaryDirectory[str] | None = TemporaryDirectory(
                prefix="cacheprog-", ignore_cleanup_errors=True
            )
        except OSError:
            self._folder = None

    def new(self, output: bytes) -> tuple[int, str]:
        """A file to write into, and its path."""
        self._count += 1
        if self._folder is not None:
            path = f"{self._folder.name}/{output.hex()}-{self._count}"
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
            except OSError:
                pass
        fd = os.memfd_create("cacheprog")
        return fd, f"/proc/{os.getpid()}/fd/{fd}"

    def done(self, fd: int, path: str) -> None:
        """Nothing more is written; what is in memory lives as long as it is open."""
        if not path.startswith("/proc/"):
            os.close(fd)

    def close(self) -> None:
        """Remove what we made."""
        if self._folder is not None:
            self._folder.cleanup()


def look(root: str, action: bytes) -> Look | None:
    """Read an index entry and look at its output; None where go would find no entry.

    Args:
        root: Of the cache.
        action: 32 bytes.
    """
    digits = action.hex()
    try:
        fd = os.open(f"{root}/{digits[:2]}/{digits}-a", _READ)
    except OSError:
        return None
    try:
        data = os.read(fd, _ENTRY + 1)
        mtime_ns = os.fstat(fd).st_mtime_ns
    except OSError:
        return None
    finally:
        os.close(fd)
    said = _said(data, action, digits)
    if said is None:
        return None
    hexed = said[0].hex()
    try:
        seen = os.lstat(f"{root}/{hexed[:2]}/{hexed}-d")
    except OSError:
        return (*said, mtime_ns, 0, 0, 0, 0, 0)
    return (*said, mtime_ns, seen.st_mode, *_marks(seen))


def _said(data: bytes, action: bytes, digits: str) -> tuple[bytes, int, int] | None:
    """Output, size and time of an entry: quickly if it is as go writes it, else by all that go would accept."""
    if (
        len(data) == _ENTRY
        and data.startswith(b"v1 ")
        and data[3:67] == digits.encode()
        and data[67] == data[132] == 32
    ):
        size, time_ns = data[133:153].lstrip(b" "), data[154:174].lstrip(b" ")
        if size.isdigit() and time_ns.isdigit() and data[153] == 32 and data[174] == 10:
            try:
                said = unhexlify(data[68:132]), int(size), int(time_ns)
            except BadHex:
                return None
            return said if said[1] <= _INT64_MAX and said[2] <= _INT64_MAX else None
    from go_cache_safeguard.gocache.entry import Entry, parse_entry  # noqa: PLC0415 - for odd ones only

    entry = parse_entry(data, action)
    return (entry.output, entry.size, entry.time_ns) if isinstance(entry, Entry) else None


def _marks(seen: os.stat_result) -> Marks:
    return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _write(fd: int, data: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: It does not go in.
    """
    done = os.write(fd, data) if data else 0
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _empty(fd: int) -> None:
    """Leave no wrong bytes behind, if that is possible at all."""
    try:
        os.ftruncate(fd, 0)
    except OSError:
        return  # as in go: the size is wrong, so nobody uses it
