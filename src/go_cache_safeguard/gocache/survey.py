"""Who owns what in a build cache, and who may do what with it.

Knows:     how to look at every shard and entry once, through open directories, without following a link.
Called by: `flows`, for the permission check.
Never:     opens a file, changes anything, or stops at the first thing that is wrong.
Source:    the names that go gives are `gocache.layout`'s; a cached program is a directory with one file, cmd/go/internal/cache/cache.go
           `PutExecutable` (go1.24 and later).
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from go_cache_safeguard.gocache.checks.permissions import PermissionFacts
from go_cache_safeguard.gocache.checks.tally import Tally
from go_cache_safeguard.gocache.layout import SHARDS, SPECIAL, parse_file, printable
from go_cache_safeguard.tree.mounts import MountsUnreadable, mounts_below
from go_cache_safeguard.tree.root import ancestor_problems

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def survey(root_fd: int, path: Path, *, uid: int) -> PermissionFacts:
    """Look at the whole cache.

    Args:
        root_fd: Its root, open.
        path: The same root, absolute and resolved; for the list of mounts, the ancestors, and messages.
        uid: Who would act: the effective user, or the owner if root acts in the owner's name.
    """
    root = os.fstat(root_fd)
    look = _Look(owner=root.st_uid, uid=uid)
    look.directory(root_fd, ".", root)
    for entry in _entries(root_fd):
        look.top(root_fd, entry)
    return PermissionFacts(
        path=str(path),
        owner=_owner_name(root),
        uid=uid,
        entries=look.entries,
        **look.tallies,
        mounts=_mounts(path),
        ancestors=ancestor_problems(path),
        read_only=bool(os.fstatvfs(root_fd).f_flag & os.ST_RDONLY),
    )


class _Look:
    """What was seen so far."""

    def __init__(self, *, owner: int, uid: int) -> None:
        self.entries = 0
        self.tallies = dict.fromkeys(
            (
                "foreign",
                "closed_shards",
                "locked_shards",
                "closed_entries",
                "dull_programs",
                "links",
                "linked_shards",
                "strange",
            ),
            Tally(),
        )
        self._owner = owner
        self._uid = uid

    def note(self, kind: str, name: str) -> None:
        self.tallies[kind] = self.tallies[kind].plus(printable(name))

    def top(self, root_fd: int, entry: "os.DirEntry[str]") -> None:
        """One name directly below the root."""
        if entry.is_symlink():
            self.note("linked_shards" if entry.name in _SHARD_NAMES else "links", entry.name)
        elif entry.name in _SHARD_NAMES and entry.is_dir(follow_symlinks=False):
            self.shard(root_fd, entry.name)
        elif entry.name not in SPECIAL:
            self.note("strange", entry.name)

    def shard(self, root_fd: int, name: str) -> None:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=root_fd)
        except FileNotFoundError:
            return
        except OSError:
            self.note("closed_shards", name)
            return
        try:
            self.directory(fd, name, os.fstat(fd))
            for entry in _entries(fd):
                self.entry(fd, name, entry)
        finally:
            os.close(fd)

    def directory(self, fd: int, name: str, found: os.stat_result) -> None:
        """The root or a shard itself."""
        if found.st_uid != self._owner:
            self.note("foreign", name)
        own = stat.S_IMODE(found.st_mode) & stat.S_IRWXU
        if not own & stat.S_IRUSR or not own & stat.S_IXUSR:
            self.note("closed_shards", name)
        if not own & stat.S_IWUSR or not _may_write(fd, found, self._uid):
            self.note("locked_shards", name)

    def entry(self, shard_fd: int, shard: str, entry: "os.DirEntry[str]") -> None:
        """One name in a shard."""
        self.entries += 1
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if found.st_uid != self._owner:
            self.note("foreign", f"{shard}/{entry.name}")
        if stat.S_ISLNK(found.st_mode):
            self.note("links", f"{shard}/{entry.name}")
        elif parse_file(shard, entry.name) is None:
            self.note("strange", f"{shard}/{entry.name}")
        elif stat.S_ISDIR(found.st_mode):
            self.program(shard_fd, f"{shard}/{entry.name}", entry.name)
        elif not found.st_mode & stat.S_IRUSR:
            self.note("closed_entries", f"{shard}/{entry.name}")

    def program(self, shard_fd: int, name: str, base: str) -> None:
        """A cached program: a directory with one file, which must be executable."""
        try:
            fd = os.open(base, _DIRECTORY, dir_fd=shard_fd)
        except FileNotFoundError:
            return
        except OSError:
            self.note("closed_entries", name)
            return
        try:
            for entry in _entries(fd):
                if not entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR:
                    self.note("dull_programs", f"{name}/{entry.name}")
        finally:
            os.close(fd)


_SHARD_NAMES = frozenset(SHARDS)


def _entries(fd: int) -> Iterable["os.DirEntry[str]"]:
    """Every name of an open directory, in order, so that two surveys of the same cache say the same."""
    with os.scandir(fd) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _may_write(fd: int, found: os.stat_result, uid: int) -> bool:
    """Whether this user could rename in this directory, by its mode bits and owner; a read-only mount forbids it to all."""
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        return False
    if uid in {0, found.st_uid}:
        return True
    if uid == os.geteuid():
        return os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)
    return bool(found.st_mode & stat.S_IWOTH)


def _mounts(path: Path) -> tuple[str, ...] | None:
    try:
        return mounts_below(path)
    except MountsUnreadable:
        return None


def _owner_name(found: os.stat_result) -> str:
    """`user:group`; the number of whoever has no name here."""
    try:
        user = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        user = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f"{user}:{group}"
