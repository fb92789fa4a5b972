"""Read and hash module versions in a module cache.

Knows:     how zips and trees are read so that neither can lead elsewhere, and which ones go itself would not accept.
Called by: `flows.modules`.
Never:     writes, extracts, follows a symbolic link, or believes a zip about its size.
Source:    golang.org/x/mod/zip/zip.go `MaxZipFile`, `MaxGoMod`, `checkZip`; archive/zip knows the methods store and deflate;
           read in go1.21.13 and go1.26.8.
"""

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import IO

from go_cache_safeguard.gomod.dirhash import hash_go_mod
from go_cache_safeguard.gomod.layout import DOWNLOADS, Version, is_tree, parse_download, parse_tree
from go_cache_safeguard.gomod.sumfile import parse_ziphash
from go_cache_safeguard.gomod.verify import Absent, Broken, Content, Copy, Odd, Unreadable, show
from go_cache_safeguard.gomod.zipend import TAIL, fault_of_end
from go_cache_safeguard.tree.root import open_below

MAX_ZIP = 500 << 20
"""bytes: Go accepts neither a larger zip nor one that holds more."""
MAX_GO_MOD = 16 << 20
"""bytes: Go accepts no larger go.mod file. `.mod` and `.ziphash` are read up to this."""
_CHUNK = 256 << 10
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = _FILE | os.O_DIRECTORY
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_MAX_DEPTH = 200
"""directories inside each other; every level holds a descriptor."""
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
"""What the zipfile module raises for zips that are not."""


def read_copy(root: int, version: Version) -> Copy:
    """Read and hash all that the cache has of a module version.

    Args:
        root: Open GOMODCACHE.
        version: Which one.
    """
    return Copy(
        version=version,
        zip=_read_zip(root, version),
        tree=_read_tree(root, version.tree),
        hash=_read_hash(root, version),
        mod=_read_mod(root, version),
        partial=_is_there(root, version.download(".partial")),
    )


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


def _read_zip(root: int, version: Version) -> Content | Absent | Unreadable | Broken:
    try:
        with _opened(root, version.download(".zip")) as (fd, size):
            if size > MAX_ZIP:
                return Broken(f"it is larger than the {MAX_ZIP >> 20} MiB that go accepts")
            if fault := fault_of_end(os.pread(fd, TAIL, max(0, size - TAIL)), size):
                return Broken(fault)
            with os.fdopen(fd, "rb", closefd=False) as file:
                return _hash_zip(file, f"{version}/".encode())
    except OSError as error:
        return _no_file(error)
    except _ZIP_FAULTS as fault:
        return Broken(f"it is no sound zip: {show(str(fault).encode('utf-8', 'backslashreplace'))}")


def _hash_zip(file: IO[bytes], prefix: bytes) -> Content | Broken:
    files: dict[bytes, bytes] = {}
    odd: list[Odd] = []
    total = 0
    with zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_ZIP:
            return Broken(f"it says that it holds more than the {MAX_ZIP >> 20} MiB that go accepts")
        for info in archive.infolist():
            raw = _raw_name(info)
            name = raw.removeprefix(prefix)
            why = (
                "its name does not begin with module@version/"
                if name == raw
                else _why_odd(info, name, again=name in files)
            )
            if why:
                odd.append(Odd(show(raw), why))
                continue
            digest, size = _hash_member(archive, info)
            files[name] = digest
            total += size
    return Content(files, tuple(odd), total)


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """The name's bytes as they stand in the zip, which is what go hashes; zipfile has decoded them in one of two ways."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


def _why_odd(info: zipfile.ZipInfo, name: bytes, *, again: bool) -> str | None:
    parts = name.removesuffix(b"/").split(b"/") if name else []
    kind = stat.S_IFMT(info.external_attr >> 16)
    if again:
        return "the zip holds this name twice"
    if b"" in parts or b"." in parts or b".." in parts or b"\\" in name or b"\0" in name or b"\n" in name:
        return "its name leads elsewhere, or go does not accept it"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "it is not a regular file"
    if info.compress_type not in _METHODS or info.flag_bits & 1:
        return "it is packed in a way that go does not know"
    return None


def _hash_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[bytes, int]:
    """Hash one file; zipfile hands out no more bytes than the list of files said, and checks their CRC."""
    hashed, size = sha256(), 0
    with archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            hashed.update(chunk)
            size += len(chunk)
    if size != info.file_size:
        raise zipfile.BadZipFile(f"{info.orig_filename!r} is shorter than the zip says")
    return hashed.digest(), size


def _read_tree(root: int, name: str) -> Content | Absent | Unreadable:
    try:
        fd = open_below(root, name, _DIRECTORY, cross_mounts=True)
    except OSError as error:
        return _no_file(error)
    files: dict[bytes, bytes] = {}
    odd: list[Odd] = []
    try:
        size = _hash_tree(fd, b"", files, odd)
    except OSError as error:
        return Unreadable(f"{show(os.fsencode(error.filename or name))} could not be read: {error.strerror}")
    finally:
        os.close(fd)
    return Content(files, tuple(odd), size)


def _hash_tree(folder: int, prefix: bytes, files: dict[bytes, bytes], odd: list[Odd]) -> int:
    """Hash all below an open directory, one descriptor for each level of directories."""
    with os.scandir(folder) as listing:
        found = [(os.fsencode(one.name), one.is_dir(follow_symlinks=False), _kind(one)) for one in listing]
    size = 0
    for name, is_folder, kind in found:
        whole, why = prefix + name, kind
        if why is None and is_folder and whole.count(b"/") >= _MAX_DEPTH:
            why = "it lies deeper than in any module"
        if why or b"\n" in name:
            odd.append(Odd(show(whole), why or "go does not accept its name"))
            continue
        fd = os.open(name, _DIRECTORY if is_folder else _FILE, dir_fd=folder)
        try:
            if is_folder:
                size += _hash_tree(fd, whole + b"/", files, odd)
            elif stat.S_ISREG(os.fstat(fd).st_mode):
                files[whole], read = _hash_file(fd)
                size += read
            else:
                odd.append(Odd(show(whole), "it is not a regular file"))
        finally:
            os.close(fd)
    return size


def _kind(found: "os.DirEntry[str]") -> str | None:
    if found.is_symlink():
        return "it is a symbolic link, which go never extracts"
    if found.is_dir(follow_symlinks=False) or found.is_file(follow_symlinks=False):
        return None
    return "it is neither a file nor a directory"


def _hash_file(fd: int) -> tuple[bytes, int]:
    hashed, size = sha256(), 0
    while chunk := os.read(fd, _CHUNK):
        hashed.update(chunk)
        size += len(chunk)
    return hashed.digest(), size


def _read_hash(root: int, version: Version) -> str | Absent | Unreadable | Broken:
    data = _read_small(root, version.download(".ziphash"))
    if not isinstance(data, bytes):
        return data
    h1 = parse_ziphash(data)
    return h1 if h1 is not None else Broken("it holds no hash; go makes it anew from the zip")


def _read_mod(root: int, version: Version) -> str | Absent | Unreadable:
    data = _read_small(root, version.download(".mod"))
    return hash_go_mod(data) if isinstance(data, bytes) else data


def _read_small(root: int, name: str) -> bytes | Absent | Unreadable:
    try:
        with _opened(root, name) as (fd, size):
            if size > MAX_GO_MOD:
                return Unreadable(f"it is larger than {MAX_GO_MOD >> 20} MiB")
            with os.fdopen(fd, "rb", closefd=False) as file:
                return file.read(MAX_GO_MOD)
    except OSError as error:
        return _no_file(error)


@contextmanager
def _opened(root: int, name: str) -> Iterator[tuple[int, int]]:
    """A regular file below the cache, with its size."""
    fd = open_below(root, name, _FILE, cross_mounts=True)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", name)
        yield fd, found.st_size
    finally:
        os.close(fd)


def _is_there(root: int, name: str) -> bool:
    try:
        with _opened(root, name):
            return True
    except OSError:
        return False  # go only asks whether it can be seen; a tree that is whole is then judged as such


def _no_file(error: OSError) -> Absent | Unreadable:
    if error.errno == errno.ENOENT:
        return Absent()
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return Unreadable("a symbolic link, or something else than a directory, is on the way to it")
    return Unreadable(f"it could not be read: {error.strerror}")
