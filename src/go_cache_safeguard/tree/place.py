"""A private directory beside a tree, on the same mount, and the lock that one process at a time holds in it.

Knows:     who must own it, who may make it, where it may lie, and who holds the lock.
Called by: `snapshot.quarantine`.
Never:     removes or renames anything, or writes with root's rights into a directory that somebody else can change.
"""

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.tree.mounts import mounts_below
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner, must_drop
from go_cache_safeguard.tree.root import Root, ancestor_problems, mount_id, open_below, open_directory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_LOCK = "lock"


class Locked(Failure):
    """Another safeguard works on the same cache."""

    id = "locked"
    exit_code = ExitCode.LOCKED
    meaning = "another safeguard holds the lock of the cache's quarantine, or of the operation"


class UnsafePlace(Failure):
    """The private directory cannot be used."""

    id = "unsafe-place"
    exit_code = ExitCode.TARGET
    meaning = "the quarantine would lie on another mount, belongs to somebody else, or can be written by others"


class NoPlace(Failure):
    """There is none, and none was to be made."""

    id = "no-quarantine"
    exit_code = ExitCode.TARGET
    meaning = "the cache has no quarantine"


class MountInside(Failure):
    """Something is mounted inside a tree that is to be changed."""

    id = "mount-inside"
    exit_code = ExitCode.TARGET
    meaning = "something is mounted inside the cache or its quarantine, and would travel or be emptied with it"


@contextmanager
def open_place(root: Root, place: Path, *, create: bool) -> Iterator[int]:
    """Open the private directory of a tree, made by the tree's owner if it is to be made.

    Raises:
        NoPlace: It is not there and `create` is False.
        UnsafePlace: It cannot be made or entered, belongs to somebody else, can be written by others, or is on another mount.
        UnsafePath: The way to it is not safe.
    """
    parent = open_directory(place.parent)
    try:
        if create:
            _make(root, parent, place)
        fd = open_below(parent, place.name, _DIRECTORY, cross_mounts=True)
    except FileNotFoundError as error:
        raise NoPlace(f"{place} does not exist", hint="nothing of this cache is in quarantine") from error
    except OSError as error:
        raise _unsafe(place, f"cannot be made or entered: {error.strerror}") from error
    finally:
        os.close(parent)
    try:
        _refuse(root, place, fd)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def hold_lock(root: Root, place: int, *, wait_s: float) -> Iterator[None]:
    """Hold the lock for the length of a block. The kernel frees it however we end.

    The owner makes the file and signs it; root only reads it, so that a name planted there cannot make root write anywhere.

    Args:
        root: The tree.
        place: Its open private directory.
        wait_s: Seconds to wait for the lock.

    Raises:
        Locked: Somebody holds it; the message names them.
        UnsafePlace: The lock file is not a plain file of the owner, or cannot be made.
    """
    _raise_for(root, lambda: os.close(open_below(place, _LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, mode=0o600)))
    try:
        fd = open_below(place, _LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unsafe(root.path, f"has a lock that cannot be opened: {error.strerror}") from error
    try:
        if not is_plain(os.fstat(fd), root.uid):
            raise _unsafe(root.path, "has a lock that is not a plain file of the owner of the cache")
        _wait(fd, wait_s)
        holder = _holder()
        _raise_for(root, lambda: _sign(place, holder))
        yield
    finally:
        os.close(fd)


def is_plain(found: os.stat_result, uid: int) -> bool:
    """Whether this is a file that may be written: no device, and no hard link that could be somebody else's file."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == uid


def overwrite(fd: int, data: bytes) -> None:
    """Make `data` the whole content of an open file."""
    at = 0
    while at < len(data):
        at += os.pwrite(fd, data[at : at + (1 << 24)], at)
    os.ftruncate(fd, len(data))


def refuse_mounts(fd: int) -> None:
    """Make sure that nothing is mounted below an open directory.

    Raises:
        MountInside: Something is.
        MountsUnreadable: Nobody can say.
    """
    path = Path(f"/proc/self/fd/{fd}").readlink()
    if mounts := mounts_below(path):
        raise MountInside(
            f"something is mounted inside {path}: " + ", ".join(mounts[:5]),
            not_done="nothing was touched",
            hint="unmount it, or leave this cache alone",
        )


def _make(root: Root, parent: int, place: Path) -> None:
    def make() -> None:
        with suppress(FileExistsError):
            os.mkdir(place.name, 0o700, dir_fd=parent)
            os.fsync(parent)

    number = _try_as_owner(root, make)
    if number and must_drop(root.uid) and _only_root_writes(parent):
        with suppress(FileExistsError):
            os.mkdir(place.name, 0o700, dir_fd=parent)
    elif number:
        raise OSError(number, os.strerror(number), f"{place}")
    if must_drop(root.uid) and _only_root_writes(parent):
        _give(root, parent, place.name)


def _only_root_writes(parent: int) -> bool:
    found = os.fstat(parent)
    return found.st_uid == 0 and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _give(root: Root, parent: int, name: str) -> None:
    """Where only root can make names, what root made is given to the owner, also if we were killed in between last time."""
    fd = open_below(parent, name, _DIRECTORY, cross_mounts=True)
    try:
        if os.fstat(fd).st_uid == 0:
            with os.scandir(fd) as inside:
                if next(inside, None) is None:
                    os.fchown(fd, root.uid, root.gid)
                    os.fsync(parent)
    finally:
        os.close(fd)


def _refuse(root: Root, place: Path, fd: int) -> None:
    found = os.fstat(fd)
    if found.st_uid != root.uid:
        raise _unsafe(place, f"belongs to user {found.st_uid}, not to the owner of the cache ({root.uid})")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unsafe(place, "can be written by others than its owner")
    if found.st_dev != os.fstat(root.fd).st_dev or mount_id(fd) != mount_id(root.fd):
        raise _unsafe(place, "is not on the same mount as the cache, so nothing can be renamed into it")
    if problems := ancestor_problems(place):
        raise _unsafe(place, "is not safe: " + "; ".join(problems))


def _unsafe(place: Path, why: str) -> UnsafePlace:
    return UnsafePlace(
        f"the quarantine {place} {why}",
        not_done="nothing was touched",
        hint="choose a place on the same mount as the cache that only the owner of the cache can write; it may lie inside the cache",
    )


def _wait(fd: int, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                holder = os.pread(fd, 1000, 0).decode("utf-8", "replace").strip() or "a process that did not sign yet"
                raise Locked(
                    f"another safeguard works on this cache: {holder}",
                    not_done="nothing was touched",
                    hint="try again when it has ended",
                ) from error
            time.sleep(0.05)


def _holder() -> bytes:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return f"pid {os.getpid()}, `{command}`, since {since}\n".encode("utf-8", "replace")


def _sign(place: int, holder: bytes) -> None:
    fd = open_below(place, _LOCK, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if is_plain(os.fstat(fd), os.geteuid()):
            overwrite(fd, holder)
    finally:
        os.close(fd)


def _raise_for(root: Root, work: Callable[[], None]) -> None:
    if number := _try_as_owner(root, work):
        raise _unsafe(root.path, f"has a lock that cannot be written: {os.strerror(number)}")


def _try_as_owner(root: Root, work: Callable[[], None]) -> int:
    """Do something as the owner of the tree. Returns 0, or the errno of what went wrong."""

    def work_or_errno(_tell: Progress, _stopped: Stop) -> Value:
        try:
            work()
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    number = as_owner(root.uid, root.gid, work_or_errno)
    return number if isinstance(number, int) else errno.EIO
