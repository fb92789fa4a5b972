"""Entering a directory tree so that nobody can lead us elsewhere.

Knows:     openat2 and its resolve flags, what to do where the kernel lacks it, and which roots are never entered.
Called by: `snapshot.quarantine`, `gocache.disk`, and the permission check. Import it where it is used: ctypes is slow to load.
Never:     follows a symbolic link, and never changes anything.
Source:    openat2(2); Linux include/uapi/linux/openat2.h. Docker's seccomp profiles before 20.10 answer EPERM to it.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.core.errors import ExitCode, Failure

_OPENAT2 = 437  # the same number on every architecture
_AT_FDCWD = -100
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_LIBC = ctypes.CDLL(None, use_errno=True)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePath(Failure):
    """The path leads, or could be made to lead, to something else than the cache."""

    id = "unsafe-path"
    exit_code = ExitCode.TARGET
    meaning = "the path of the target cannot be entered safely"


@dataclass(frozen=True, slots=True)
class Root:
    """An open directory tree.

    Attributes:
        path: Absolute and resolved; for people and for the list of mounts. Work goes through `fd`.
        fd: Open directory; closed when the `open_root` block ends.
        identity: `device:inode`, decimal.
        uid: Owner of the directory.
        gid: Its group.
    """

    path: Path
    fd: int
    identity: str
    uid: int
    gid: int


@contextmanager
def open_root(path: Path, *, identity: str | None = None) -> Iterator[Root]:
    """Enter a tree.

    Args:
        path: Absolute, already resolved.
        identity: `device:inode` that it must have, if it was looked at before.

    Raises:
        UnsafePath: It is not a directory, is `/` or holds the home directory, goes through a symbolic link, was replaced, or lies
            below a directory in which somebody else could replace it.
    """
    _refuse_never_roots(path)
    fd = open_directory(path)
    try:
        found = os.fstat(fd)
        root = Root(path, fd, f"{found.st_dev}:{found.st_ino}", found.st_uid, found.st_gid)
        _refuse_home(path, root.identity)
        if identity not in {None, root.identity}:
            raise _unsafe(path, f"is not the directory that was looked at before ({root.identity}, not {identity})")
        if problems := ancestor_problems(path):
            raise _unsafe(path, "is not safe: " + "; ".join(problems))
        yield root
    finally:
        os.close(fd)


def open_directory(path: Path) -> int:
    """Open a directory by an absolute path without following any symbolic link; the caller closes it.

    Raises:
        UnsafePath: It is relative, goes through a symbolic link, is no directory, or cannot be opened.
    """
    if not path.is_absolute() or ".." in path.parts:
        raise _unsafe(path, "is not an absolute path without `..`")
    try:
        try:
            return _openat2(_AT_FDCWD, f"{path}", _DIRECTORY, 0, _NO_SYMLINKS | _NO_MAGICLINKS)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EPERM}:
                raise
            return _open_stepwise(path)
    except OSError as error:
        why = "a symbolic link or no directory is on the way" if error.errno in {errno.ELOOP, errno.ENOTDIR} else None
        raise _unsafe(path, f"cannot be entered: {why or error.strerror}") from error


def open_below(dir_fd: int, name: str, flags: int, *, mode: int = 0, cross_mounts: bool = False) -> int:
    """Open something below an open directory, and nothing that lies elsewhere; the caller closes it.

    Args:
        dir_fd: Open directory.
        name: Relative, `/` between parts, no `.` or `..`.
        flags: As for `os.open`; never follows a link, always closes on exec.
        mode: For O_CREAT.
        cross_mounts: Whether a mount point may lie on the way.

    Raises:
        OSError: ELOOP for a symbolic link, EXDEV for a mount or for `..`, and whatever else open(2) says.
    """
    if not name or name.startswith("/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise OSError(errno.EXDEV, "not a name below the directory", name)
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    resolve = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | (0 if cross_mounts else _NO_XDEV)
    try:
        return _openat2(dir_fd, name, flags, mode if flags & os.O_CREAT else 0, resolve)
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
        return _open_below_stepwise(dir_fd, name, flags, mode, cross_mounts=cross_mounts)


def ancestor_problems(path: Path) -> tuple[str, ...]:
    """Why somebody else could replace a directory by another: one sentence for each ancestor that lets them.

    An ancestor must be owned by root, by the owner of the tree or by us, and must not be writable by everybody unless its sticky
    bit keeps names safe from others.
    """
    try:
        trusted = {0, os.geteuid(), os.lstat(path).st_uid}
        return tuple(
            problem
            for ancestor in reversed(path.parents)
            if (problem := _ancestor_problem(ancestor, os.lstat(ancestor), trusted))
        )
    except OSError as error:
        return (f"{error.filename} cannot be examined: {error.strerror}",)


def mount_id(fd: int) -> int | None:
    """Number of the mount that an open file lies on; None where /proc does not tell."""
    try:
        text = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii")
    except OSError:
        return None
    return next((int(line[7:]) for line in text.splitlines() if line.startswith("mnt_id:")), None)


def _refuse_never_roots(path: Path) -> None:
    if not path.is_absolute() or ".." in path.parts:
        raise _unsafe(path, "is not an absolute path without `..`")
    if path == Path("/"):
        raise _unsafe(path, "is the root of the whole system")


def _refuse_home(path: Path, identity: str) -> None:
    home = Path(os.environ.get("HOME") or "/root")
    for directory in (home, *home.parents):
        try:
            found = directory.stat()
        except OSError:
            continue  # a home that is not there cannot be harmed
        if f"{found.st_dev}:{found.st_ino}" == identity:
            raise _unsafe(path, "is the home directory, or holds it")


def _ancestor_problem(ancestor: Path, found: os.stat_result, trusted: set[int]) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return f"{ancestor} is a symbolic link"
    if found.st_uid not in trusted:
        return f"{ancestor} belongs to user {found.st_uid}, who could replace what is in it"
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return f"{ancestor} is writable by everybody and has no sticky bit"
    return None


def _unsafe(path: Path, why: str) -> UnsafePath:
    return UnsafePath(
        f"{path} {why}",
        not_done="nothing was touched",
        hint="name the real directory of the cache, with no symbolic link on the way, below directories that only its owner can change",
    )


def _openat2(dir_fd: int, name: str, flags: int, mode: int, resolve: int) -> int:
    how = struct.pack("QQQ", flags, mode, resolve)
    for _ in range(100):  # EAGAIN: something was renamed while the kernel looked
        fd: int = _LIBC.syscall(
            ctypes.c_long(_OPENAT2), ctypes.c_int(dir_fd), os.fsencode(name), how, ctypes.c_size_t(len(how))
        )
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
            break
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), name)


def _open_stepwise(path: Path) -> int:
    fd = os.open("/", _DIRECTORY)
    for part in path.parts[1:]:
        try:
            # O_PATH: a directory on the way may be enterable without being readable.
            step = os.open(part, _DIRECTORY | os.O_PATH, dir_fd=fd)
        finally:
            os.close(fd)
        fd = step
    try:
        return os.open(".", _DIRECTORY, dir_fd=fd)
    finally:
        os.close(fd)


def _open_below_stepwise(dir_fd: int, name: str, flags: int, mode: int, *, cross_mounts: bool) -> int:
    start, *parts = dir_fd, *name.split("/")
    at = os.dup(start)
    for number, part in enumerate(parts, 1):
        try:
            last = number == len(parts)
            step = os.open(part, flags if last else _DIRECTORY | os.O_PATH, mode, dir_fd=at)
        finally:
            os.close(at)
        at = step
        if not cross_mounts and _on_other_mount(start, at):
            os.close(at)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return at


def _on_other_mount(one: int, other: int) -> bool:
    return os.fstat(one).st_dev != os.fstat(other).st_dev or mount_id(one) != mount_id(other)
