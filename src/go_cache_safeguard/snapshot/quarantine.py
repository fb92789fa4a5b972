"""The door: the only file that moves anything out of a cache, back into it, or removes it for good.

Knows:     the place beside the cache, its lock, how an operation lies on disk, and in which order things are moved so that a
           kill or a power cut at any point leaves every entry in the cache or in quarantine.
Called by: `flows` (clean, undo, recover, purge). Import it where it is used.
Never:     copies and deletes instead of renaming, goes by path below an open directory, follows a link, crosses a mount, works
           with more rights than the owner of the cache has, or touches a name that `allowed` does not match. Never takes whole
           shards: of 40 builds that began while shards were exchanged, 3 failed.
Source:    rename(2): renameat2 with RENAME_NOREPLACE; a directory renamed onto an empty one replaces it
           atomically. cmd/go/internal/cache/cache.go `Trim`, `used` (go1.21.13 to go1.27.3) for times and trim.txt.

On disk:   <parent>/.<cache name>.safeguard/lock
           <parent>/.<cache name>.safeguard/<op>/plan.json            durable before the first rename
           <parent>/.<cache name>.safeguard/<op>/files/<shard>/<entry>

A build cache is shards with entries in them. A module cache is `deep`: an entry lies below any number of directories, and may be a
directory with everything in it. Go makes these read-only, and such a directory can be moved to another parent only by root: so
it gets its owner's write bit for the length of a rename, and with it the sticky bit, which go never sets and which tells whoever
finds it after a crash that both are ours to take away again.
"""

import ctypes
import errno
import os
import platform
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, PlanVoid
from go_cache_safeguard.core.operation import is_operation_id
from go_cache_safeguard.core.plan import Item, parse_plan
from go_cache_safeguard.gotool.trim import set_trim_time
from go_cache_safeguard.snapshot.receipt import (
    Purged,
    PutBack,
    Receipt,
    Stored,
    Taken,
    from_value,
    to_value,
)
from go_cache_safeguard.tree.owner import Progress, Stop, as_owner, never, silent
from go_cache_safeguard.tree.place import hold_lock, is_plain, open_place, overwrite, refuse_mounts
from go_cache_safeguard.tree.root import Root, open_below

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_SHAPE = re.compile(r"[0-9a-f]{2}/(?!\.{1,2}\Z)[^/\0]+")
"""What `allowed` can only narrow: a shard, and one name in it."""
_DEEP_SHAPE = re.compile(r"(?:(?!\.{1,2}/)[^/\0]+/)*(?!\.{1,2}\Z)[^/\0]+")
"""Likewise in a deep cache: a name at any depth."""
_MAX_DEPTH = 300
"""directories inside each other; every level holds a descriptor. Linux knows no path of more than 4096 bytes."""
_OURS = stat.S_ISVTX | stat.S_IWUSR
_SHARD = re.compile(r"[0-9a-f]{2}")
_DAY_NS = 86_400 * 10**9
_RENAMEAT2 = {"x86_64": 316, "i686": 353, "armv7l": 382, "ppc64le": 357, "s390x": 347}.get(platform.machine(), 276)
_NOREPLACE = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_PLAN, _PARTIAL, _FILES, _LOCK, _TRIM = "plan.json", "plan.json.partial", "files", "lock", "trim.txt"
_PLAN_LIMIT = 1 << 30


class NotAllowed(Failure):
    """A name that is none of ours was handed to the door."""

    id = "not-allowed"
    exit_code = ExitCode.REFUSED
    meaning = "a plan or a caller names something that is no cache entry or no operation"


class NoOperation(Failure):
    """The quarantine has no such operation, or not this part of one."""

    id = "no-operation"
    exit_code = ExitCode.TARGET
    meaning = "the quarantine has no such operation"


class QuarantineFailed(Failure):
    """The quarantine could not be read or written."""

    id = "quarantine-failed"
    exit_code = ExitCode.NOTHING_REMOVED
    meaning = "the quarantine could not be read or written"


@contextmanager
def open_quarantine(
    cache: Root,
    *,
    allowed: re.Pattern[str],
    wait_s: float = 0,
    place: Path | None = None,
    create: bool = True,
    exclusive: bool = True,
    deep: bool = False,
) -> Iterator["Quarantine"]:
    """Enter the quarantine of a cache and hold its lock.

    Args:
        cache: The open cache.
        allowed: Matches `<shard>/<entry>`, or in a deep cache the whole name, for every name that may be touched.
        wait_s: Seconds to wait for the lock.
        place: Absolute path of the quarantine when it is not to lie beside the cache. It must be on the same mount.
        create: Whether to make it when there is none.
        exclusive: False to only look (`stored`, `left`, `plan_data`) while another may be at work.
        deep: Whether this is a module cache, see above. An allowed name must not lie below another allowed name.

    Raises:
        Locked: Somebody holds the lock; the message names them.
        UnsafePlace: The place cannot be used.
        UnsafePath: The way to it is not safe.
        NoPlace: There is none and `create` is False.
    """
    place = place or cache.path.parent / f".{cache.path.name}.safeguard"
    with (
        open_place(cache, place, create=create) as fd,
        hold_lock(cache, fd, wait_s=wait_s) if exclusive else nullcontext(),
    ):
        yield Quarantine(cache, place, fd, allowed, exclusive=exclusive, deep=deep)


class Quarantine:
    """An open quarantine. Every method acts as the owner of the cache."""

    def __init__(
        self, cache: Root, place: Path, fd: int, allowed: re.Pattern[str], *, exclusive: bool, deep: bool
    ) -> None:
        self.place = place
        self._deep = deep
        self._cache = cache
        self._fd = fd
        self._allowed = allowed
        self._exclusive = exclusive

    def prepare(self, op: str, plan_data: bytes) -> None:
        """Write down what will be taken. Durable when this returns; repeating it with the same plan changes nothing.

        Raises:
            NotAllowed: `op` is no operation id.
            PlanVoid: The operation is there already, with another plan.
            QuarantineFailed: It could not be written; nothing is left behind.
        """
        self._act(op, lambda _tell, _stopped: _prepare(self._fd, op, plan_data))

    def take(self, op: str, items: Sequence[Item], *, progress: Progress = silent, stop: Stop = never) -> Taken:
        """Move entries into quarantine one by one, index entries before outputs.

        What is no longer as the item says is left and counted. Safe while go runs, as far as moving outputs ever is.

        Args:
            op: An operation that was prepared.
            items: What to move; size in bytes, stamp in nanoseconds. A directory that holds a cached program may state the size of
                the program or of the directory; one in a deep cache states the size of all files below it.
            progress: Told how many items were dealt with.
            stop: Asked before each item.

        Raises:
            NotAllowed: A name is not allowed; then nothing was touched.
            MountInside: Likewise.
        """
        self._refuse_names([item.name for item in items])

        def work(tell: Progress, stopped: Stop) -> Value:
            with _opened(self._fd, f"{op}/{_FILES}") as files:
                move = _Move(self._cache.fd, files, self._allowed, tell, stopped)
                return to_value(_take_deep(move, items) if self._deep else _take(move, _by_shard(items)))

        return self._receipt(Taken, op, work, progress, stop)

    def put_back(
        self,
        op: str,
        *,
        now_ns: int,
        only: frozenset[str] | None = None,
        progress: Progress = silent,
        stop: Stop = never,
    ) -> PutBack:
        """Merge an operation back into the cache. May be killed and repeated; what the cache has again is never overwritten.

        Entries last used more than a day ago come back as used now, and trim.txt is set to now: otherwise the next build would
        trim what was just restored.

        Args:
            op: The operation.
            now_ns: Nanoseconds since 1970-01-01 UTC.
            only: Names to put back; None for all.
            progress: Told how many entries were dealt with.
            stop: Asked before each entry.

        Raises:
            MountInside: Something is mounted inside; nothing was touched.
            NoOperation: There is no such operation.
        """

        def work(tell: Progress, stopped: Stop) -> Value:
            with _opened(self._fd, op) as op_fd:
                if _FILES not in _names(op_fd):
                    return to_value(PutBack())  # killed before anything could be moved
                with _opened(op_fd, _FILES) as files:
                    move = _Move(self._cache.fd, files, self._allowed, tell, stopped)
                    if self._deep:
                        # Without a plan it all goes back just the same; only marks in the cache are not looked for.
                        planned = frozenset[str]()
                        with suppress(PlanVoid):
                            planned = _planned(op_fd)
                        return to_value(_put_back_deep(move, planned, only))
                    return to_value(_put_back(move, now_ns, only))

        return self._receipt(PutBack, op, work, progress, stop)

    def purge(
        self,
        op: str,
        *,
        only: Sequence[str],
        per_second: int | None = None,
        progress: Progress = silent,
        stop: Stop = never,
    ) -> Purged:
        """Remove entries of an operation for good. When nothing is left of it, the operation goes too.

        Args:
            op: The operation. One that is gone already gives an empty answer.
            only: Names to remove; each must be allowed and in the operation's plan. Empty to drop an operation that is empty.
            per_second: At most so many entries a second.
            progress: Told how many entries were dealt with.
            stop: Asked before each entry.

        Raises:
            NotAllowed: A name is not allowed or not in the plan; nothing was touched.
            PlanVoid: The plan in quarantine cannot be read.
            MountInside: Something is mounted inside; nothing was touched.
        """
        self._refuse_names(only)

        def work(tell: Progress, stopped: Stop) -> Value:
            purge = _Purge(_Pace(per_second), stopped)
            try:
                with _opened(self._fd, op) as op_fd:
                    # Else killed while the emptied operation was removed: its plan may be gone already.
                    if self._count(op_fd)[0]:
                        _refuse_unplanned(op_fd, only)
                    (_purge_deep if self._deep else _purge)(purge, op_fd, only, tell)
                    purge.left, _ = self._count(op_fd)
            except NoOperation:
                return to_value(Purged())
            if not purge.left:
                purge.failed.extend(_drop_op(self._fd, op))
            return to_value(purge.receipt())

        return self._receipt(Purged, op, work, progress, stop)

    def stored(self) -> list[Stored]:
        """Every operation that is in quarantine, oldest first."""
        rows = self._as_owner(lambda _tell, _stopped: [self._stored(op) for op in _operations(self._fd)])
        return [Stored(op, files, size, _bytes(plan)) for op, files, size, plan in cast("list[Any]", rows)]

    def plan_data(self, op: str) -> bytes:
        """The plan of an operation, as it was written.

        Raises:
            NoOperation: There is no such operation, or it has no plan.
        """
        self._refuse_op(op)
        plan = _bytes(self._as_owner(lambda _tell, _stopped: self._stored(op)[3]))
        if plan is None:
            raise NoOperation(
                f"{self.place} has no plan of operation {op}", hint="`go-cache-safeguard status` lists what is there"
            )
        return plan

    def left(self, op: str) -> tuple[int, int]:
        """Entries of an operation that are in quarantine, and their bytes."""
        self._refuse_op(op)
        row = self._as_owner(lambda _tell, _stopped: list(self._stored(op)[1:3]))
        files, size = cast("list[int]", row)
        return files, size

    def _count(self, op_fd: int) -> tuple[int, int]:
        return _count_deep(op_fd, self._allowed) if self._deep else _count(op_fd)

    def _stored(self, op: str) -> tuple[str, int, int, str | None]:
        try:
            with _opened(self._fd, op) as op_fd:
                data = _read_plan(op_fd)
                count, size = self._count(op_fd)
        except NoOperation:
            return op, 0, 0, None
        return op, count, size, None if data is None else data.decode("latin-1")

    def _receipt(
        self, kind: type[Receipt], op: str, work: Callable[[Progress, Stop], Value], progress: Progress, stop: Stop
    ) -> Receipt:
        return from_value(kind, self._run(op, work, progress, stop))

    def _run(
        self, op: str, work: Callable[[Progress, Stop], Value], progress: Progress, stop: Stop
    ) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._act(op, work, progress, stop))

    def _act(
        self, op: str, work: Callable[[Progress, Stop], Value], progress: Progress = silent, stop: Stop = never
    ) -> Value:
        if not self._exclusive:
            raise NotAllowed("the quarantine was opened to look only", not_done="nothing was touched")
        self._refuse_op(op)
        refuse_mounts(self._cache.fd)
        refuse_mounts(self._fd)
        return self._as_owner(work, progress, stop)

    def _as_owner(
        self, work: Callable[[Progress, Stop], Value], progress: Progress = silent, stop: Stop = never
    ) -> Value:
        def translated(tell: Progress, stopped: Stop) -> Value:
            try:
                return work(tell, stopped)
            except OSError as error:
                raise QuarantineFailed(
                    f"{self.place}: {error.strerror}" + (f" ({error.filename})" if error.filename else ""),
                    not_done="the act ended before it began, or between two entries; every entry is in the cache or in quarantine",
                    hint="run `go-cache-safeguard recover`: it finishes or undoes what was begun",
                ) from error

        return as_owner(self._cache.uid, self._cache.gid, translated, progress=progress, stop=stop)

    def _refuse_op(self, op: str) -> None:
        if not is_operation_id(op):
            raise NotAllowed(f"{op!r} is no operation id", not_done="nothing was touched")

    def _refuse_names(self, names: Sequence[str]) -> None:
        shape, allowed = (_DEEP_SHAPE if self._deep else _SHAPE).fullmatch, self._allowed.fullmatch
        if all(map(shape, names)) and all(map(allowed, names)):
            return
        odd = next(name for name in names if not (shape(name) and allowed(name)))
        raise NotAllowed(
            f"{odd!r} is not the name of a cache entry",
            not_done="nothing was touched",
            hint="make a new plan; this one was not made by this program",
        )


# ---------------------------------------------------------------- writing an operation down


def _prepare(place: int, op: str, plan_data: bytes) -> None:
    with suppress(FileExistsError):
        os.mkdir(op, 0o700, dir_fd=place)
    try:
        with _opened(place, op) as op_fd:
            _write_plan(op_fd, op, plan_data)
            with suppress(FileExistsError):
                os.mkdir(_FILES, 0o700, dir_fd=op_fd)
            os.fsync(op_fd)
        os.fsync(place)
    except OSError:
        _drop_op(place, op)  # what cannot be cleared away is an empty operation, which `stored` shows and `purge` drops
        raise


def _write_plan(op_fd: int, op: str, plan_data: bytes) -> None:
    if _PLAN in _names(op_fd):
        if _read_plan(op_fd) != plan_data:
            raise PlanVoid(f"operation {op} is in quarantine with another plan", not_done="nothing was touched")
        return
    fd = open_below(op_fd, _PARTIAL, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, mode=0o600)
    try:
        if not is_plain(os.fstat(fd), os.geteuid()):
            raise OSError(errno.EINVAL, "is not a plain file of ours", _PARTIAL)
        overwrite(fd, plan_data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(_PARTIAL, _PLAN, src_dir_fd=op_fd, dst_dir_fd=op_fd)


def _read_plan(op_fd: int) -> bytes | None:
    """The plan, or None when there is none or what stands there is no plain file of reasonable size."""
    try:
        fd = open_below(op_fd, _PLAN, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _PLAN_LIMIT:
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(_PLAN_LIMIT)
    finally:
        os.close(fd)


def _drop_op(place: int, op: str) -> list[tuple[str, str]]:
    """Remove an operation of which no entry is left. Anything that is not ours keeps it."""
    try:
        with _opened(place, op) as op_fd:
            with suppress(NoOperation), _opened(op_fd, _FILES) as files:
                _drop_folders(files)
            with suppress(FileNotFoundError):
                os.rmdir(_FILES, dir_fd=op_fd)
            for name in (_PARTIAL, _PLAN):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=op_fd)
        os.rmdir(op, dir_fd=place)
        os.fsync(place)
    except (OSError, NoOperation) as error:
        return [(op, f"the emptied operation could not be removed: {error}")]
    return []


def _drop_folders(directory: int, depth: int = 0) -> None:
    """Remove directories in which there is nothing but such directories."""
    if depth > _MAX_DEPTH:
        raise OSError(errno.ELOOP, "directories are too deep")
    for name in _names(directory):
        with _opened(directory, name) as inside:
            _drop_folders(inside, depth + 1)
        os.rmdir(name, dir_fd=directory)


# ---------------------------------------------------------------- taking


@dataclass(slots=True)
class _Move:
    """One act between a cache and the files of an operation, while it happens."""

    cache: int
    files: int
    allowed: re.Pattern[str]
    tell: Progress
    stopped: Stop
    moved: int = 0
    bytes: int = 0
    done: int = 0
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    durable: bool = True
    touched: set[tuple[int, str]] = field(default_factory=set)

    def fail(self, names: Iterable[str], error: OSError | str) -> None:
        why = error if isinstance(error, str) else f"{errno.errorcode.get(error.errno or 0, '?')}: {error.strerror}"
        self.failed.extend((name, why) for name in names)

    def step(self, count: int) -> None:
        self.done += count
        self.tell(self.done)

    def sync(self) -> None:
        """Make every rename durable: what received names first. After a power cut, a rename without this is undone."""
        for directory, shard in sorted(self.touched, key=lambda pair: (pair[0] != self.files, pair[1])):
            try:
                with _folder_of(directory, shard) as fd:
                    os.fsync(fd)
            except NoOperation:
                pass  # gone as a whole since
            except OSError:
                # Never tried again: after a failed fsync the kernel calls the pages clean, and a second one would lie.
                self.durable = False
        for fd in (self.files, self.cache):
            try:
                os.fsync(fd)
            except OSError:
                self.durable = False

    def taken(self) -> Taken:
        return Taken(
            self.moved,
            self.bytes,
            tuple(self.changed),
            tuple(self.missing),
            tuple(self.failed),
            durable=self.durable,
            stopped=self.stopped(),
        )


def _by_shard(items: Iterable[Item]) -> dict[str, dict[str, Item]]:
    shards: dict[str, dict[str, Item]] = defaultdict(dict)
    for item in items:
        shards[item.name[:2]][item.name[3:]] = item
    return shards


def _take(move: _Move, wanted: Mapping[str, Mapping[str, Item]]) -> Taken:
    # Index entries of all shards first: an entry must never name an output that is away.
    for index in (True, False):
        for shard, batch in wanted.items():
            chosen = [pair for pair in batch.items() if pair[0].endswith("-a") is index]
            if chosen and not move.stopped():
                _take_from(move, shard, chosen)
    move.sync()
    return move.taken()


def _take_from(move: _Move, shard: str, batch: Sequence[tuple[str, Item]]) -> None:
    try:
        source = open_below(move.cache, shard, _DIRECTORY)
    except FileNotFoundError:
        move.missing.extend(item.name for _, item in batch)
        return
    except OSError as error:
        move.fail((item.name for _, item in batch), error)
        return
    try:
        target = _open_shard(move.files, shard, like=source)
    except OSError as error:
        os.close(source)
        move.fail((item.name for _, item in batch), error)
        return
    try:
        _take_entries(move, source, target, batch)
    finally:
        os.close(source)
        os.close(target)
    move.touched |= {(move.files, shard), (move.cache, shard)}
    move.step(len(batch))


def _take_entries(move: _Move, source: int, target: int, batch: Sequence[tuple[str, Item]]) -> None:
    # The hot loop. Plain rename replaces, so what stands in quarantine already is never a target: nobody else writes there.
    there = set(_names(target))
    look, rename, stopped, regular = os.stat, os.rename, move.stopped, stat.S_ISREG
    moved = size = 0
    for entry, item in batch:
        if stopped():
            break
        try:
            found = look(entry, dir_fd=source, follow_symlinks=False)
            plain = regular(found.st_mode)
            if found.st_mtime_ns != item.stamp or (plain and found.st_size != item.size):
                move.changed.append(item.name)
            elif not plain and (why := _why_no_program(source, entry, found, item)):
                move.failed.append((item.name, why))
            elif entry in there:
                move.failed.append((item.name, "one of this name is in quarantine already"))
            else:
                rename(entry, entry, src_dir_fd=source, dst_dir_fd=target)
                moved += 1
                size += item.size
        except FileNotFoundError:
            move.missing.append(item.name)
        except OSError as error:
            move.fail([item.name], error)
    move.moved += moved
    move.bytes += size


def _why_no_program(directory: int, entry: str, found: os.stat_result, item: Item | None) -> str | None:
    """Why something that is no plain file is not a cached program either: a `-d` directory with plain files in it and no more."""
    if not (stat.S_ISDIR(found.st_mode) and entry.endswith("-d")):
        return "it is neither a plain file nor a cached program"
    try:
        with _opened(directory, entry) as fd:
            inside = [os.stat(name, dir_fd=fd, follow_symlinks=False) for name in _names(fd)]
    except OSError as error:
        return f"it cannot be entered: {error.strerror}"
    if not all(stat.S_ISREG(one.st_mode) for one in inside):
        return "it holds something else than a program"
    if item and item.size not in {found.st_size, sum(one.st_size for one in inside)}:
        return "its size is not what the plan says"
    return None


def _open_shard(files: int, shard: str, *, like: int) -> int:
    """Open a shard of the quarantine, made with mode and group of the one in the cache so that it can go back as a whole."""
    with suppress(FileExistsError):  # from an earlier batch, or from before we were killed
        os.mkdir(shard, 0o700, dir_fd=files)
    fd = open_below(files, shard, _DIRECTORY)
    try:
        if not _names(fd):
            _make_alike(fd, like)
    except OSError:
        os.close(fd)
        raise
    return fd


def _make_alike(fd: int, like: int) -> None:
    model = os.fstat(like)
    with suppress(PermissionError):  # then it stays ours, and its entries go back one by one
        os.fchown(fd, model.st_uid, model.st_gid)
    os.fchmod(fd, stat.S_IMODE(model.st_mode) | stat.S_IRWXU)


def _are_alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


# ---------------------------------------------------------------- putting back


def _put_back(move: _Move, now_ns: int, only: frozenset[str] | None) -> PutBack:
    names = sorted(_names(move.files))
    move.fail((name for name in names if not _SHARD.fullmatch(name)), "it is not the name of a shard")
    shards = [name for name in names if _SHARD.fullmatch(name)]
    whole = [shard for shard in shards if only is None and _may_go_whole(move, shard)]
    merged = [shard for shard in shards if shard not in whole]
    # Outputs first: an entry must never name an output that is away. A shard that goes back as a whole brings both, so for the moment
    # until the next shards are back some entries do; Go takes such an entry for a miss.
    newer = _merge(move, merged, now_ns, only, outputs=True)
    late = [shard for shard in whole if not move.stopped() and not _shard_back(move, shard, now_ns)]
    newer += _merge(move, late, now_ns, only, outputs=True)
    newer += _merge(move, [*merged, *late], now_ns, only, outputs=False)
    notes = set_trim_time(move.cache, now_ns)
    move.sync()
    return PutBack(
        move.moved,
        move.bytes,
        newer,
        tuple(move.failed),
        tuple(notes),
        durable=move.durable,
        stopped=move.stopped(),
    )


def _shard_back(move: _Move, shard: str, now_ns: int) -> bool:
    """The fast way: rename a whole shard onto its empty, or absent, self. False when entries must go one by one.

    Renaming onto a directory that is not empty fails, so a build that writes there at the same moment loses nothing.
    """
    try:
        with _opened(move.files, shard) as fd:
            names = _names(fd)
            size = sum(_refresh(fd, entry, now_ns) for entry in names)
        os.rename(shard, shard, src_dir_fd=move.files, dst_dir_fd=move.cache)
    except (OSError, NoOperation):
        return False  # whatever it is, the entries one by one will name it
    move.moved += len(names)
    move.bytes += size
    move.step(len(names))
    return True


def _may_go_whole(move: _Move, shard: str) -> bool:
    """Whether a shard in quarantine holds nothing but our entries, and the live one is absent, or empty and of the same owner and mode."""
    try:
        with _opened(move.files, shard) as fd:
            names, ours = _names(fd), os.fstat(fd)
        if not names or not all(map(move.allowed.fullmatch, [f"{shard}/{entry}" for entry in names])):
            return False
        with _opened(move.cache, shard) as live:
            return not _names(live) and _are_alike(os.fstat(live), ours)
    except NoOperation:
        return True
    except OSError:
        return False


def _merge(move: _Move, shards: Sequence[str], now_ns: int, only: frozenset[str] | None, *, outputs: bool) -> int:
    """Put back the outputs, or the index entries, of shards one by one. Returns how many the cache has again."""
    newer = 0
    for shard in shards:
        if move.stopped():
            break
        try:
            with _opened(move.files, shard) as source:
                chosen = [entry for entry in _names(source) if entry.endswith("-a") is not outputs]
                if only is not None:
                    chosen = [entry for entry in chosen if f"{shard}/{entry}" in only]
                if chosen:
                    newer += _merge_shard(move, shard, source, chosen, now_ns)
        except (OSError, NoOperation) as error:
            move.fail([shard], str(error))
    return newer


def _merge_shard(move: _Move, shard: str, source: int, entries: Sequence[str], now_ns: int) -> int:
    newer = 0
    with suppress(FileExistsError):
        os.mkdir(shard, 0o777, dir_fd=move.cache)  # as Go does; the umask narrows it
    with _opened(move.cache, shard) as live:
        there = set(_names(live))
        for entry in entries:
            if move.stopped():
                break
            try:
                ours = move.allowed.fullmatch(f"{shard}/{entry}")
                if entry in there:
                    raise FileExistsError  # noqa: TRY301 - known already: saves a time stamp and a system call
                size = _refresh(source, entry, now_ns) if ours else 0
                _move_new(source, entry, live)
                move.moved += 1
                move.bytes += size
            except FileExistsError:
                newer += 1
            except OSError as error:
                move.fail([f"{shard}/{entry}"], error)
    move.touched |= {(move.files, shard), (move.cache, shard)}
    move.step(len(entries))
    return newer


def _refresh(directory: int, entry: str, now_ns: int) -> int:
    """Let an entry that was not used for a day count as used now, before Go can see it. Returns its size in bytes."""
    found = os.stat(entry, dir_fd=directory, follow_symlinks=False)
    if found.st_mtime_ns < now_ns - _DAY_NS:
        with suppress(PermissionError):  # another user's file in a shared cache: it comes back as old as it was
            os.utime(entry, ns=(now_ns, now_ns), dir_fd=directory, follow_symlinks=False)
    return _size_of(directory, entry, found)


def _size(directory: int, entry: str) -> int:
    return _size_of(directory, entry, os.stat(entry, dir_fd=directory, follow_symlinks=False))


def _size_of(directory: int, entry: str, found: os.stat_result) -> int:
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    with _opened(directory, entry) as fd:
        return sum(os.stat(name, dir_fd=fd, follow_symlinks=False).st_size for name in _names(fd))


# ---------------------------------------------------------------- removing for good


@dataclass(slots=True)
class _Pace:
    """At most so many entries a second, by sleeping after each batch."""

    per_second: int | None
    done: int = 0
    since: float = field(default_factory=time.monotonic)

    def step(self) -> None:
        self.done += 1
        if self.per_second and self.done % max(1, self.per_second // 10) == 0:
            ahead = self.since + self.done / self.per_second - time.monotonic()
            time.sleep(max(0.0, ahead))


@dataclass(slots=True)
class _Purge:
    """One purge, while it happens."""

    pace: _Pace
    stopped: Stop
    removed: int = 0
    bytes: int = 0
    left: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def receipt(self) -> Purged:
        return Purged(self.removed, self.bytes, self.left, tuple(self.failed), stopped=self.stopped())


def _planned(op_fd: int) -> frozenset[str]:
    """Names in the plan of an operation."""
    data = _read_plan(op_fd)
    if data is None:
        raise PlanVoid("the operation has no plan that can be read", not_done="nothing was touched")
    return frozenset(item.name for item in parse_plan(data).items)


def _refuse_unplanned(op_fd: int, only: Sequence[str]) -> None:
    if not only:
        return
    unplanned = set(only).difference(_planned(op_fd))
    if unplanned:
        raise NotAllowed(
            f"{min(unplanned)!r} is not in the plan of the operation ({len(unplanned)} such names)",
            not_done="nothing was removed",
        )


def _purge(purge: _Purge, op_fd: int, only: Sequence[str], tell: Progress) -> None:
    shards: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(only)):
        shards[name[:2]].append(name[3:])
    try:
        with _opened(op_fd, _FILES) as files:
            for shard, entries in shards.items():
                if not purge.stopped():
                    _purge_shard(purge, files, shard, entries)
                    tell(purge.removed)
            os.fsync(files)
    except NoOperation:
        pass  # killed while the emptied operation was removed: only its directory is left


def _purge_shard(purge: _Purge, files: int, shard: str, entries: Sequence[str]) -> None:
    try:
        with _opened(files, shard) as fd:
            for entry in entries:
                if purge.stopped():
                    break
                _purge_entry(purge, fd, shard, entry)
            os.fsync(fd)
    except NoOperation:
        pass  # the shard went back as a whole, or was never taken
    except OSError as error:
        purge.failed.append((shard, error.strerror or str(error)))


def _purge_entry(purge: _Purge, fd: int, shard: str, entry: str) -> None:
    try:
        purge.bytes += _remove(fd, entry)
        purge.removed += 1
    except FileNotFoundError:
        return  # removed, or put back, before
    except OSError as error:
        purge.failed.append((f"{shard}/{entry}", error.strerror or str(error)))
    purge.pace.step()


def _remove(shard: int, entry: str) -> int:
    """Remove one entry for good. Returns its size in bytes."""
    found = os.stat(entry, dir_fd=shard, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode):
        os.unlink(entry, dir_fd=shard)
        return found.st_size
    if why := _why_no_program(shard, entry, found, None):
        raise OSError(errno.EINVAL, why)
    size = 0
    with _opened(shard, entry) as fd:
        for name in _names(fd):
            size += os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
            os.unlink(name, dir_fd=fd)
    os.rmdir(entry, dir_fd=shard)
    return size


# ---------------------------------------------------------------- looking


def _operations(place: int) -> list[str]:
    return sorted(name for name in _names(place) if is_operation_id(name))


def _bytes(text: Value) -> bytes | None:
    return text.encode("latin-1") if isinstance(text, str) else None


def _count(op_fd: int) -> tuple[int, int]:
    """Everything in an operation's files, whatever its name, and its bytes. What cannot be entered counts as one thing."""
    count = size = 0
    try:
        with _opened(op_fd, _FILES) as files:
            for shard in _names(files):
                try:
                    with _opened(files, shard) as fd:
                        sizes = [_size(fd, entry) for entry in _names(fd)]
                except OSError:
                    sizes = [0]
                count += len(sizes)
                size += sum(sizes)
    except NoOperation:
        pass  # nothing is there, so nothing counts
    return count, size


# ---------------------------------------------------------------- deep caches


def _take_deep(move: _Move, items: Sequence[Item]) -> Taken:
    for item in sorted(items):
        if move.stopped():
            break
        folder, _, entry = item.name.rpartition("/")
        try:
            with _folder_of(move.cache, folder) as source, _folder_like(move, folder) as target:
                _take_one(move, source, target, entry, item)
            move.touched |= {(move.files, folder), (move.cache, folder)}
        except (NoOperation, FileNotFoundError):
            move.missing.append(item.name)
        except OSError as error:
            move.fail([item.name], error)
        move.step(1)
    move.sync()
    return move.taken()


def _take_one(move: _Move, source: int, target: int, entry: str, item: Item) -> None:
    found = os.stat(entry, dir_fd=source, follow_symlinks=False)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        move.failed.append((item.name, "it is neither a plain file nor a directory"))
    elif found.st_mtime_ns != item.stamp or _size_below(source, entry, found) != item.size:
        move.changed.append(item.name)
    elif entry in _names(target):
        move.failed.append((item.name, "one of this name is in quarantine already"))
    else:
        _move_deep(source, entry, target, found)
        move.moved += 1
        move.bytes += item.size


def _put_back_deep(move: _Move, planned: frozenset[str], only: frozenset[str] | None) -> PutBack:
    newer = 0
    for folder, entry in _entries_below(move.files, "", move.allowed):
        name = f"{folder}/{entry}" if folder else entry
        if move.stopped():
            break
        if only is not None and name not in only:
            continue
        if not move.allowed.fullmatch(name):
            move.fail([name], "it is not the name of anything that was taken")
            continue
        try:
            newer += _put_one_back(move, folder, entry)
        except OSError as error:
            move.fail([name], error)
        move.step(1)
    for name in sorted(planned):
        _shut_again(move, name)
    move.sync()
    return PutBack(move.moved, move.bytes, newer, tuple(move.failed), durable=move.durable, stopped=move.stopped())


def _put_one_back(move: _Move, folder: str, entry: str) -> int:
    """Put one entry back. Returns 1 if the cache has it again, and ours stays."""
    with _folder_of(move.files, folder) as source, _folder_of(move.cache, folder, make=True) as target:
        found = os.stat(entry, dir_fd=source, follow_symlinks=False)
        size = _size_below(source, entry, found)
        if entry in _names(target):
            return 1  # seen before the mode of ours is changed for nothing
        try:
            _move_deep(source, entry, target, found)
        except FileExistsError:
            return 1
    move.moved += 1
    move.bytes += size
    move.touched |= {(move.files, folder), (move.cache, folder)}
    return 0


def _shut_again(move: _Move, name: str) -> None:
    """Take our mark from a directory in the cache: somebody was killed between setting it and renaming, or between that and this."""
    folder, _, entry = name.rpartition("/")
    try:
        with _folder_of(move.cache, folder) as source:
            if stat.S_ISDIR(os.stat(entry, dir_fd=source, follow_symlinks=False).st_mode):
                with _opened(source, entry) as fd:
                    _unmark(fd)
    except (NoOperation, FileNotFoundError):
        return
    except OSError as error:
        move.fail([name], error)


def _move_deep(source: int, entry: str, target: int, found: os.stat_result) -> None:
    """Rename, never replacing; a directory that its owner may not write is marked for the length of it."""
    if not stat.S_ISDIR(found.st_mode):
        _move_new(source, entry, target)
        return
    with _opened(source, entry) as fd:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if not mode & stat.S_IWUSR:
            os.fchmod(fd, mode | _OURS)
        try:
            _move_new(source, entry, target)
        finally:
            _unmark(fd)


def _unmark(fd: int) -> None:
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & _OURS == _OURS:
        os.fchmod(fd, mode & ~_OURS)


def _purge_deep(purge: _Purge, op_fd: int, only: Sequence[str], tell: Progress) -> None:
    try:
        with _opened(op_fd, _FILES) as files:
            for name in sorted(set(only)):
                if purge.stopped():
                    break
                folder, _, entry = name.rpartition("/")
                try:
                    with _folder_of(files, folder) as directory:
                        purge.bytes += _remove_deep(directory, entry)
                        purge.removed += 1
                        os.fsync(directory)
                except (NoOperation, FileNotFoundError):
                    continue  # removed, or put back, before
                except OSError as error:
                    purge.failed.append((name, error.strerror or str(error)))
                purge.pace.step()
                tell(purge.removed)
            os.fsync(files)
    except NoOperation:
        pass  # killed while the emptied operation was removed: only its directory is left


def _remove_deep(directory: int, entry: str, depth: int = 0) -> int:
    """Remove a file, or a directory with everything in it, for good. Links are removed, not followed. Returns bytes."""
    found = os.stat(entry, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(entry, dir_fd=directory)
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    if depth > _MAX_DEPTH:
        raise OSError(errno.ELOOP, "it is too deep")
    with _opened(directory, entry) as fd:
        if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(fd, stat.S_IRWXU)
        size = sum(_remove_deep(fd, name, depth + 1) for name in _names(fd))
    os.rmdir(entry, dir_fd=directory)
    return size


def _count_deep(op_fd: int, allowed: re.Pattern[str]) -> tuple[int, int]:
    """Everything in an operation's files that is no directory on the way to something, and its bytes."""
    count = size = 0
    try:
        with _opened(op_fd, _FILES) as files:
            for folder, entry in _entries_below(files, "", allowed):
                count += 1
                with _folder_of(files, folder) as directory:
                    size += _size_below(directory, entry, os.stat(entry, dir_fd=directory, follow_symlinks=False))
    except NoOperation:
        pass  # nothing is there, so nothing counts
    return count, size


def _entries_below(directory: int, folder: str, allowed: re.Pattern[str], depth: int = 0) -> list[tuple[str, str]]:
    """Folder and name of everything below that is an entry, or is nothing of ours."""
    found = []
    for entry in sorted(_names(directory)):
        name = f"{folder}/{entry}" if folder else entry
        on_the_way = stat.S_ISDIR(os.stat(entry, dir_fd=directory, follow_symlinks=False).st_mode)
        if allowed.fullmatch(name) or not on_the_way or depth > _MAX_DEPTH:
            found.append((folder, entry))
            continue
        with _opened(directory, entry) as inside:
            found += _entries_below(inside, name, allowed, depth + 1)
    return found


def _size_below(directory: int, entry: str, found: os.stat_result, depth: int = 0) -> int:
    """Bytes of all plain files in an entry."""
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    if depth > _MAX_DEPTH:
        raise OSError(errno.ELOOP, "it is too deep")
    with _opened(directory, entry) as fd:
        inside = [(name, os.stat(name, dir_fd=fd, follow_symlinks=False)) for name in _names(fd)]
        return sum(_size_below(fd, name, one, depth + 1) for name, one in inside)


@contextmanager
def _folder_of(directory: int, folder: str, *, make: bool = False) -> Iterator[int]:
    """The directory that an entry lies in, which may be the root itself."""
    if make:
        at = ""
        for part in folder.split("/") if folder else ():
            with suppress(FileExistsError), _folder_of(directory, at) as parent:
                os.mkdir(part, 0o777, dir_fd=parent)  # as Go does; the umask narrows it
            at = f"{at}/{part}" if at else part
    if folder:
        with _opened(directory, folder) as fd:
            yield fd
    else:
        yield directory


@contextmanager
def _folder_like(move: _Move, folder: str) -> Iterator[int]:
    """The same directory in quarantine, made if need be, for its owner only: whoever puts back makes those of the cache anew."""
    at = ""
    for part in folder.split("/") if folder else ():
        with suppress(FileExistsError), _folder_of(move.files, at) as parent:
            os.mkdir(part, 0o700, dir_fd=parent)
        at = f"{at}/{part}" if at else part
    with _folder_of(move.files, folder) as fd:
        yield fd


# ---------------------------------------------------------------- system calls


@contextmanager
def _opened(directory: int, name: str) -> Iterator[int]:
    """A directory below an open one, for the length of a block.

    Raises:
        NoOperation: There is none of that name.
    """
    try:
        fd = open_below(directory, name, _DIRECTORY)
    except FileNotFoundError as error:
        raise NoOperation(f"there is no {name}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _names(directory: int) -> list[str]:
    return os.listdir(directory)


def _outputs_first(entry: str) -> bool:
    return entry.endswith("-a")


def _move_new(source: int, entry: str, target: int) -> None:
    """Rename to another directory under the same name, never replacing anything there.

    Raises:
        FileExistsError: The target has one of that name.
    """
    try:
        _renameat2(source, entry, target, entry, _NOREPLACE)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
        _move_new_by_link(source, entry, target)


def _move_new_by_link(source: int, entry: str, target: int) -> None:
    """The same where the filesystem lacks RENAME_NOREPLACE: a link never replaces, nor does a directory replace what is not empty."""
    found = os.stat(entry, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        try:
            os.rename(entry, entry, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.ENOTDIR}:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), entry) from error
            raise
        return
    os.link(entry, entry, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    os.unlink(entry, dir_fd=source)


def _renameat2(source: int, name: str, target: int, new_name: str, flags: int) -> None:
    done = _LIBC.syscall(
        ctypes.c_long(_RENAMEAT2),
        ctypes.c_int(source),
        os.fsencode(name),
        ctypes.c_int(target),
        os.fsencode(new_name),
        ctypes.c_uint(flags),
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
