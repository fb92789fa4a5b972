"""Read and hash module versions in a module cache.

Knows:     how trees are read so that they cannot lead elsewhere, which marks of files tell that nothing has changed, that
           what zip and tree both hold needs to be hashed only once, and that a zip of a known SHA-256 need not be unpacked.
Called by: `flows.modules`, `flows.versions`, `flows.vendor`, `flows.repair_modules`.
Never:     writes, extracts, or follows a symbolic link.
Source:    golang.org/x/mod/zip/zip.go `MaxGoMod`; read in go1.21.13 and go1.26.8.
"""

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

from go_cache_safeguard.gomod.dirhash import hash_go_mod
from go_cache_safeguard.gomod.layout import DOWNLOADS, Version, is_tree, parse_download, parse_tree
from go_cache_safeguard.gomod.sumfile import parse_ziphash
from go_cache_safeguard.gomod.verify import Absent, Broken, Content, Copy, Odd, Unreadable, settle, show
from go_cache_safeguard.gomod.zipfiles import SMALL, ZipError, ZipFiles
from go_cache_safeguard.tree.root import open_below

MAX_GO_MOD = 16 << 20
"""bytes: Go accepts no larger go.mod file. `.mod` and `.ziphash` are read up to this."""
_WHOLE = 64 << 20
"""bytes: larger zips are not held in memory, and are unpacked each time."""
_CHUNK = 256 << 10
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = _FILE | os.O_DIRECTORY
_MAX_DEPTH = 200
"""directories inside each other; every level holds a descriptor."""
_DOWNLOADED = (".zip", ".ziphash", ".mod", ".partial")
_MARK = struct.Struct("<QQqqq")


class Marks(NamedTuple):
    """By what a module version is recognised as the one that was read before.

    Attributes:
        digest: SHA-256 of name, mode, inode, size, mtime and ctime of everything that belongs to it.
        newest_ns: The latest ctime among them, in nanoseconds since 1970-01-01 UTC.
    """

    digest: bytes
    newest_ns: int


class _Marking:
    """Marks, while they are collected. Whoever reads does it in the same order as whoever only looks."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._newest_ns = 0

    def add(self, name: bytes, found: os.stat_result) -> None:
        ctime_ns = found.st_ctime_ns
        mark = _MARK.pack(found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, ctime_ns)
        self._hash.update(b"%s\0%s" % (name, mark))
        self._newest_ns = max(self._newest_ns, ctime_ns)

    def absent(self, name: bytes) -> None:
        self._hash.update(name + b"\0-")

    def done(self) -> Marks:
        return Marks(self._hash.digest(), self._newest_ns)


def marks_of(root: int, version: Version) -> Marks | None:
    """What can be seen of a module version without reading it; None if not all of it can be seen.

    Args:
        root: Open GOMODCACHE.
        version: Which one.
    """
    marking = _Marking()
    try:
        with _opened_below(root, version.folder) as folder:
            _mark_downloads(folder, version, marking)
        with _opened_below(root, version.tree) as tree:
            if tree is None:
                marking.absent(b"/")
            else:
                _mark_tree(tree, b"", marking)
    except OSError:
        return None  # reading it says what is wrong
    return marking.done()


def read_copy(root: int, version: Version, zip_known: tuple[bytes, str] | None = None) -> tuple[Copy, Marks | None]:
    """Read and hash all that the cache has of a module version.

    Args:
        root: Open GOMODCACHE.
        version: Which one.
        zip_known: SHA-256 of a zip that was unpacked before, and the `h1:` hash of what it held. If the zip is still that
            one, byte for byte, it is not unpacked again, and its files are not named.

    Returns:
        What was read, and what it looked like before each file of it was read; None if not all of it could be read.
    """
    reading = _Reading(version, zip_known)
    try:
        with _opened_below(root, version.folder) as folder:
            return reading.read(root, folder)
    except OSError as error:
        # Of the folder itself; what is wrong with a single file is in the copy.
        away = _no_file(error)
        return Copy(version, zip=away, hash=away, mod=away, tree=reading.tree_of(root, version.tree)), None


def read_tree(root: int, name: str) -> Content | Absent | Unreadable:
    """Hash everything in a directory.

    Args:
        root: An open directory above it.
        name: Relative to it.
    """
    return _Reading(Version(name, ""), None).tree_of(root, name)


def read_text(root: int, name: str) -> bytes | None:
    """The content of a file of at most `MAX_GO_MOD` bytes below an open directory; None if it cannot be had."""
    folder, _, last = name.rpartition("/")
    try:
        with _opened_below(root, folder or ".") as directory:
            found = _read_small(directory, last)
    except OSError:
        return None
    return found if isinstance(found, bytes) else None


def measure_entry(root: int, name: str) -> tuple[int, int] | None:
    """Bytes of all plain files in a file or tree, and the mtime of itself in nanoseconds; None if it cannot be seen.

    Args:
        root: Open GOMODCACHE.
        name: Relative to it.
    """
    folder, _, last = name.rpartition("/")
    try:
        with _opened_below(root, folder or ".") as directory:
            if directory is None:
                return None
            found = os.stat(last, dir_fd=directory, follow_symlinks=False)
            return _size_below(directory, last, found), found.st_mtime_ns
    except OSError:
        return None


def _size_below(directory: int, name: str, found: os.stat_result) -> int:
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    fd = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        return sum(_size_below(fd, inner, one) for inner, one in _entries(fd, b"", _Marking()))
    finally:
        os.close(fd)


def _mark_downloads(folder: int | None, version: Version, marking: _Marking) -> None:
    for suffix in _DOWNLOADED:
        name = version.file(suffix)
        try:
            if folder is None:
                raise FileNotFoundError  # noqa: TRY301 - as if each were away
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            marking.absent(os.fsencode(suffix))
        else:
            marking.add(os.fsencode(suffix), found)


def _mark_tree(folder: int, prefix: bytes, marking: _Marking) -> None:
    for name, found in _entries(folder, prefix, marking):
        if stat.S_ISDIR(found.st_mode):
            fd = os.open(name, _DIRECTORY, dir_fd=folder)
            try:
                _mark_tree(fd, b"%s%s/" % (prefix, os.fsencode(name)), marking)
            finally:
                os.close(fd)


def _entries(folder: int, prefix: bytes, marking: _Marking) -> list[tuple[str, os.stat_result]]:
    """Everything in an open directory, marked."""
    found = []
    with os.scandir(folder) as listing:
        for one in listing:
            seen = one.stat(follow_symlinks=False)
            marking.add(prefix + os.fsencode(one.name), seen)
            found.append((one.name, seen))
    return found


class _Reading:
    """One module version while it is read."""

    def __init__(self, version: Version, zip_known: tuple[bytes, str] | None) -> None:
        self._version = version
        self._known = zip_known
        self._zip_sha = b""
        self._zip_size = 0
        self._marking = _Marking()
        self._zip: ZipFiles | None = None
        self._zipped: dict[bytes, bytes] = {}
        self._fault = ""
        self._files: dict[bytes, bytes] = {}
        self._odd: list[Odd] = []
        self._size = 0

    def read(self, root: int, folder: int | None) -> tuple[Copy, Marks | None]:
        """Everything, given the folder of the zip, if there is one."""
        _mark_downloads(folder, self._version, self._marking)
        zip_fd, away = _open_file(folder, self._version.file(".zip"))
        try:
            if zip_fd is not None:
                self._list_zip(zip_fd)
            tree = self.tree_of(root, self._version.tree)
            copy = Copy(
                version=self._version,
                zip=away if zip_fd is None else self._rest_of_zip(),
                tree=tree,
                hash=_read_hash(folder, self._version),
                mod=_read_mod(folder, self._version),
                partial=_is_there(folder, self._version.file(".partial")),
            )
        finally:
            if zip_fd is not None:
                os.close(zip_fd)
        return settle(copy), None if isinstance(tree, Unreadable) else self._marking.done()

    def tree_of(self, root: int, name: str) -> Content | Absent | Unreadable:
        """The extracted tree; what the zip holds, too, is compared with it on the way."""
        try:
            with _opened_below(root, name) as tree:
                if tree is None:
                    self._marking.absent(b"/")
                    return Absent()
                self._read_tree(tree, b"")
        except OSError as error:
            if error.filename is None or error.filename == name:
                return _no_file(error)
            return Unreadable(f"{show(os.fsencode(error.filename))} could not be read: {error.strerror}")
        return Content(self._files, tuple(self._odd), self._size)

    def _list_zip(self, fd: int) -> None:
        try:
            size = os.fstat(fd).st_size
            data = os.read(fd, size + 1) if size <= _WHOLE else b""
            self._zip_size = len(data)
            if len(data) == size:
                # Hashed and unpacked are the very same bytes: nobody can change the file in between.
                self._zip_sha = sha256(data).digest()
                if self._known is not None and self._zip_sha == self._known[0]:
                    return
            self._zip = ZipFiles(data if self._zip_sha else fd, size, f"{self._version}/".encode())
        except ZipError as fault:
            self._fault = f"{fault}"
        except OSError as error:
            self._fault = f"it could not be read: {error.strerror}"

    def _rest_of_zip(self) -> Content | Broken:
        """What no file of the tree was compared with."""
        if self._known is not None and self._zip_sha == self._known[0]:
            return Content({}, size=self._zip_size, h1=self._known[1], sha=self._zip_sha)
        if self._zip is not None and not self._fault:
            try:
                for name, member in self._zip.files.items():
                    if name not in self._zipped:
                        self._zipped[name] = self._zip.digest(member)
            except ZipError as fault:
                self._fault = f"{fault}"
        if self._zip is None or self._fault:
            return Broken(show(f"it is no sound zip: {self._fault}".encode()))
        odd = tuple(Odd(show(name), why) for name, why in self._zip.odd)
        size = sum(member.size for member in self._zip.files.values())
        return Content(self._zipped, odd, size, sha=self._zip_sha)

    def _read_tree(self, folder: int, prefix: bytes) -> None:
        """All below an open directory, one descriptor for each level of directories."""
        for name, found in _entries(folder, prefix, self._marking):
            whole = prefix + os.fsencode(name)
            is_folder = not stat.S_ISREG(found.st_mode)
            if (is_folder or b"\n" in whole) and (why := _why_odd(whole, found.st_mode)):
                self._odd.append(Odd(show(whole), why))
                continue
            fd = os.open(name, _DIRECTORY if is_folder else _FILE, dir_fd=folder)
            try:
                if is_folder:
                    self._read_tree(fd, whole + b"/")
                else:
                    self._read_file(fd, whole, found)
            finally:
                os.close(fd)

    def _read_file(self, fd: int, name: bytes, found: os.stat_result) -> None:
        size = found.st_size
        data = os.read(fd, size + 1) if size <= SMALL else b""
        if size > SMALL or len(data) != size:
            self._files[name], read = _hash_file(fd, data)
            self._size += read
            return
        self._files[name] = digest = sha256(data).digest()
        self._size += size
        member = self._zip.files.get(name) if self._zip is not None and not self._fault else None
        if self._zip is None or member is None or member.size != size:
            return
        try:
            if member.packed <= SMALL and self._zip.content(member) == data:
                self._zipped[name] = digest
        except ZipError as fault:
            self._fault = f"{fault}"


def _why_odd(name: bytes, mode: int) -> str | None:
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, which go never extracts"
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "it is neither a file nor a directory"
    if stat.S_ISDIR(mode) and name.count(b"/") >= _MAX_DEPTH:
        return "it lies deeper than in any module"
    return "go does not accept its name" if b"\n" in name else None


def _hash_file(fd: int, begun: bytes) -> tuple[bytes, int]:
    """Hash an open file from where it stands, after what was read of it."""
    hashed, size = sha256(begun), len(begun)
    while chunk := os.read(fd, _CHUNK):
        hashed.update(chunk)
        size += len(chunk)
    return hashed.digest(), size


def _read_hash(folder: int | None, version: Version) -> str | Absent | Unreadable | Broken:
    data = _read_small(folder, version.file(".ziphash"))
    if not isinstance(data, bytes):
        return data
    h1 = parse_ziphash(data)
    return h1 if h1 is not None else Broken("it holds no hash; go makes it anew from the zip")


def _read_mod(folder: int | None, version: Version) -> str | Absent | Unreadable:
    data = _read_small(folder, version.file(".mod"))
    return hash_go_mod(data) if isinstance(data, bytes) else data


def _read_small(folder: int | None, name: str) -> bytes | Absent | Unreadable:
    fd, away = _open_file(folder, name)
    if fd is None:
        return away
    try:
        if os.fstat(fd).st_size > MAX_GO_MOD:
            return Unreadable(f"it is larger than {MAX_GO_MOD >> 20} MiB")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(MAX_GO_MOD)
    except OSError as error:
        return _no_file(error)
    finally:
        os.close(fd)


def _is_there(folder: int | None, name: str) -> bool:
    """Go only asks whether it can be seen; a tree that is whole is then judged as such."""
    fd, _ = _open_file(folder, name)
    if fd is not None:
        os.close(fd)
    return fd is not None


def _open_file(folder: int | None, name: str) -> tuple[int | None, Absent | Unreadable]:
    """A regular file in an open directory; the caller closes it. Without one, why."""
    if folder is None:
        return None, Absent()
    try:
        fd = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        return None, _no_file(error)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd, Absent()
    os.close(fd)
    return None, Unreadable("it could not be read: it is not a regular file")


@contextmanager
def _opened_below(root: int, name: str) -> Iterator[int | None]:
    """A directory below the cache, or itself, for the length of a block; None if there is none."""
    try:
        fd = os.dup(root) if name == "." else open_below(root, name, _DIRECTORY, cross_mounts=True)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _no_file(error: OSError) -> Absent | Unreadable:
    if error.errno == errno.ENOENT:
        return Absent()
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return Unreadable("a symbolic link, or something else than a directory, is on the way to it")
    return Unreadable(f"it could not be read: {error.strerror}")


def list_versions(root: int, *, unreadable: Callable[[str, str], None]) -> Iterator[Version]:
    """Every module version of which there is anything in the cache; one may come more than once.

    Args:
        root: Open GOMODCACHE.
        unreadable: Told of directories that cannot be listed, and why.
    """
    for folder, name, is_folder in _walk(root, unreadable=unreadable):
        whole = f"{folder}/{name}" if folder else name
        found = None
        if folder.startswith(f"{DOWNLOADS}/") and folder.endswith("/@v"):
            found = parse_download(folder[len(DOWNLOADS) + 1 : -3], name)
        elif is_folder and is_tree(whole) and not folder.startswith("cache"):
            found = parse_tree(whole)
            if found is None:
                unreadable(show(os.fsencode(whole)), "its name is not that of a module version")
        if found is not None:
            yield found


def _walk(root: int, *, unreadable: Callable[[str, str], None]) -> Iterator[tuple[str, str, bool]]:
    """Directory, name and whether it is a directory, of everything that is not inside an extracted tree."""
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            listed = _list(root, folder)
        except OSError as error:
            unreadable(show(os.fsencode(folder or ".")), error.strerror or "cannot be listed")
            continue
        for name, is_folder in listed:
            yield folder, name, is_folder
            whole = f"{folder}/{name}" if folder else name
            if is_folder and (name == "@v" or not is_tree(whole)) and whole not in {"cache/vcs", f"{DOWNLOADS}/sumdb"}:
                todo.append(whole)


def _list(root: int, folder: str) -> list[tuple[str, bool]]:
    fd = open_below(root, folder, _DIRECTORY, cross_mounts=True) if folder else os.dup(root)
    try:
        with os.scandir(fd) as listing:
            return sorted((found.name, found.is_dir(follow_symlinks=False)) for found in listing)
    finally:
        os.close(fd)
