"""Looks at a Go build cache on the disk.

Knows:     how to list, read and hash a hundred thousand files safely and at the speed of the machine, also while `go` runs.
Called by: `flows`; the door (`snapshot.quarantine`) may.
Never:     writes into the cache, follows a link, opens a pipe, trusts a length, or uses a path: everything goes through the
           root's descriptor.
Source:    speed: 2.7 GB/s with two threads where `sha256sum` in two processes gives 0.55 GB/s; hashlib lets go of the
           interpreter's lock, so what matters is few system calls per file, one buffer per thread and shards in parallel.

A look has three parts. First every shard is listed and every index entry read. Then outputs are read, as the level asks:
those that an entry names with the right size are hashed, the others are only asked what they are. Last, whatever looks
wrong is looked at once more, because `go` may have been writing it; only what is still wrong is reported.
"""

import gc
import os
import random
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from pathlib import Path
from threading import Event
from time import monotonic
from typing import NamedTuple, TypeAlias, TypeVar

from go_cache_safeguard.gocache.archive import PROGRAM_HEAD, Archive, Span, build_id_at, read_archive, read_program
from go_cache_safeguard.gocache.classify import HEAD, TAIL, Kind, classify
from go_cache_safeguard.gocache.damage import Finding
from go_cache_safeguard.gocache.entry import ENTRY_SIZE, Damage, Entry, parse_entry
from go_cache_safeguard.gocache.fsck import Facts, Memory, Seal, is_damage, judge
from go_cache_safeguard.gocache.index import (
    RACY_NS,
    Index,
    IndexState,
    Known,
    KnownOutput,
    Marks,
    News,
    left_behind,
)
from go_cache_safeguard.gocache.inventory import Action, Foreign, Fuzz, Inventory, Output, Shape, id_half
from go_cache_safeguard.gocache.layout import (
    FUZZ,
    README,
    SHARDS,
    SPECIAL,
    TRIM,
    Identity,
    action_name,
    identify,
    is_readme,
    output_name,
    parse_file,
    parse_name,
    parse_trim,
    printable,
)

Progress: TypeAlias = Callable[[int, int], None]
"""Called now and then, from the calling thread, with files looked at and bytes hashed so far."""

_BUFFER = 1 << 20
"""bytes: fits the second level of a processor's cache together with what else is hot; larger ones are slower."""
_LARGEST = 64 << 30
"""bytes: no output is larger; whoever plants a larger one does not get us to read it."""
_COLD_THREADS = 8
"""A disk wants more requests in flight than there are processors (measured: 2 threads 7.8 s, 8 threads 5.7 s)."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_MODE = 0o7777
_INT63 = (1 << 63) - 1

_T = TypeVar("_T")
_R = TypeVar("_R")


class Level(StrEnum):
    """How much a look reads."""

    STATUS = "status"
    """Entries, and what outputs are; nothing is hashed."""
    CHANGED = "changed"
    """Besides, every named output is hashed that was not, or is not what it was when it was."""
    ALL = "all"
    """Every named output is hashed, whatever is remembered."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look found out, and how much of it was seen now rather than remembered.

    Attributes:
        inventory: What is there.
        findings: What is wrong, worst first.
        level: How much was asked for.
        hashed_files: Outputs that were read in full and hashed now.
        hashed_bytes: Bytes of them.
        trusted_files: Outputs that entries name and that were believed because they had not changed since they were hashed.
        unhashed_files: Outputs that entries name and that were neither.
        read_entries: Index entry files read now.
        trusted_entries: Index entry files believed because they had not changed.
        threads: How many threads read.
        cold: Whether the files were found not to be in memory.
        index: What became of the index.
        seconds: How long it took.
        gone: What was remembered of entries that are no more there.
    """

    inventory: Inventory
    findings: tuple[Finding, ...]
    level: Level
    hashed_files: int
    hashed_bytes: int
    trusted_files: int
    unhashed_files: int
    read_entries: int
    trusted_entries: int
    threads: int
    cold: bool
    index: IndexState
    seconds: float
    gone: Memory = field(default_factory=Memory)


class _Stat(NamedTuple):
    """Of `os.stat_result` what we use, in a fraction of its size."""

    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    disk: int
    mode: int

    @property
    def marks(self) -> Marks:
        return self[:4]


@dataclass(slots=True)
class _Shard:
    """What the first part of a look saw in one shard.

    Attributes:
        name: Two hexadecimal digits.
        actions: Index entries.
        same: Outputs that are what they were when they were read before.
        unread: The others.
        known: What is remembered of any output here, also of those that changed.
        foreign: What `go` did not put there.
        read: Index entries that were read now.
        entries: Of these, what is worth remembering.
        gone_actions: Ids that are remembered and no more there.
        gone_outputs: Likewise.
        listed: The directory could be listed.
    """

    name: str
    actions: list[Action] = field(default_factory=list)
    same: list[tuple[Output, KnownOutput]] = field(default_factory=list)
    unread: list[tuple[bytes, _Stat]] = field(default_factory=list)
    known: dict[str, KnownOutput] = field(default_factory=dict)
    foreign: list[Foreign] = field(default_factory=list)
    read: int = 0
    entries: list[Action] = field(default_factory=list)
    gone_actions: list[bytes] = field(default_factory=list)
    gone_outputs: list[bytes] = field(default_factory=list)
    listed: bool = True


class _Job(NamedTuple):
    """One output to read.

    Attributes:
        output: Its id.
        seen: What the listing said of it.
        facts: What it is, if that is known from its name.
        hash_it: Whether to hash it, or only ask what it is.
        sealed: Seal (iii) is known to hold for this content.
        marks: Of a program that was hashed: if the file inside the directory has them it is believed.
    """

    output: bytes
    seen: _Stat
    facts: Facts | None
    hash_it: bool
    sealed: bool
    marks: Marks | None = None


class _Read(NamedTuple):
    """What reading one output showed.

    Attributes:
        output: What it is.
        seal: What hashing it showed; None if it was not hashed.
        mtime_ns: That of the file that was read: of a program, not that of its directory.
        believed: It was not read, because it is what it was when it was hashed.
    """

    output: Output
    seal: Seal | None
    mtime_ns: int
    believed: bool = False


_Reads: TypeAlias = list[tuple[bytes, _Read | None]]


def identify_at(root_fd: int) -> Identity:
    """Tell whether a directory is a Go build cache.

    Args:
        root_fd: The open directory.
    """
    with os.scandir(root_fd) as names:
        top = {item.name: item.is_dir(follow_symlinks=False) for item in names}
    shards = sum(top.get(name, False) for name in SHARDS)
    return identify(top, _small(root_fd, README), shards, has_entry=shards == 256 and _has_entry(root_fd))


def named_outputs(root_fd: int) -> set[bytes]:
    """Ids of all outputs that a sound index entry names at this moment: every entry is read, nothing is remembered or believed."""
    named: set[bytes] = set()
    for shard in SHARDS:
        try:
            fd = os.open(shard, _LIST, dir_fd=root_fd)
        except FileNotFoundError:
            continue
        try:
            with os.scandir(fd) as items:
                names = [item.name for item in items if item.name.endswith("-a")]
            for name in names:
                parsed = parse_file(shard, name)
                entry = parse_entry(_read_entry(fd, name) or b"", parsed[0]) if parsed is not None else None
                if isinstance(entry, Entry):
                    named.add(entry.output)
        finally:
            os.close(fd)
    return named


def inspect(
    root_fd: int,
    *,
    index_path: Path | None,
    level: Level,
    sample: float = 0.0,
    threads: int | None = None,
    now_ns: int,
    progress: Progress | None = None,
) -> Inspection:
    """Look at a whole cache.

    Args:
        root_fd: The open root.
        index_path: Where to remember what was sound; None to remember nothing.
        level: How much to read.
        sample: Share, 0 to 1, of what need not be hashed that is hashed all the same, chosen by chance.
        threads: How many threads read; None to choose by whether the files are in memory.
        now_ns: The time, in nanoseconds since 1970-01-01 UTC. It must not be later than it is: what is younger than
            `RACY_NS` is not remembered, and what is younger than `fsck.GRACE_NS` may be being written.
        progress: Told how far it is.
    """
    began = monotonic()
    found = os.fstat(root_fd)
    identity = f"{found.st_dev}:{found.st_ino}"
    cold = _is_cold(root_fd)
    before = Memory() if index_path is None else left_behind(index_path, identity)
    index = None if index_path is None else Index(index_path, identity)
    readers = threads or (_COLD_THREADS if cold else os.cpu_count() or 1)
    remembered = index is not None and index.state is IndexState.USED and level is not Level.ALL
    look = _Look(
        root_fd=root_fd,
        identity=identity,
        index=index,
        level=level,
        sample=sample,
        threads=readers,
        # Asking for marks alone is the interpreter's work: more threads would only take turns.
        listers=1 if remembered and not cold else readers,
        now_ns=now_ns,
        progress=progress or (lambda _files, _bytes: None),
        whole=level is Level.ALL or (level is Level.CHANGED and not remembered),
    )
    try:
        with _no_garbage():
            inventory, findings = look.go()
    finally:
        look.stop.set()  # an interrupt may have come while no thread was waited for
        if index is not None:
            index.close()
    named = sum(key in inventory.outputs for key in inventory.references)
    return Inspection(
        inventory=inventory,
        findings=tuple(findings),
        level=level,
        hashed_files=look.hashed_files,
        hashed_bytes=look.hashed_bytes,
        trusted_files=look.trusted_files,
        unhashed_files=max(0, named - look.hashed_files - look.trusted_files),
        read_entries=look.read_entries,
        trusted_entries=max(0, len(inventory.actions) - look.read_entries),
        threads=look.threads,
        cold=cold,
        index=IndexState.OFF if index is None else index.state,
        seconds=monotonic() - began,
        gone=Memory({**before.outputs, **look.gone.outputs}, {**before.actions, **look.gone.actions}),
    )


@dataclass(slots=True)
class _Look:
    """One look: what it was asked, and what it counted."""

    root_fd: int
    identity: str
    index: Index | None
    level: Level
    sample: float
    threads: int
    listers: int
    now_ns: int
    progress: Progress
    whole: bool
    hashed_files: int = 0
    hashed_bytes: int = 0
    trusted_files: int = 0
    read_entries: int = 0
    remembered: set[bytes] = field(default_factory=set)
    gone: Memory = field(default_factory=Memory)
    stop: Event = field(default_factory=Event)

    def go(self) -> tuple[Inventory, list[Finding]]:
        """List, read, look again at what seems wrong, remember."""
        news = News()
        seals: dict[bytes, Seal] = {}
        shards, inventory = self._list(news, seals)
        if self.whole:
            self._forget_unjudged(inventory, seals)
        else:
            for reads in self._in_threads(self._read_shard, self._jobs(shards, inventory), self.threads):
                for key, read in reads:
                    self._take(key, read, inventory.outputs, seals, news)
                self.progress(inventory.files, self.hashed_bytes)
        findings = judge(inventory, seals, now_ns=self.now_ns)
        if any(is_damage(finding) for finding in findings):
            inventory, findings = self._again(inventory, findings, seals, news)
        if self.index is not None:
            news.bad_outputs += [key for key, seal in seals.items() if _is_bad(seal)]
            if news.gone_actions:
                self.gone = self.index.recall(news.gone_actions, ())
            self.index.save(news)
        return inventory, findings

    # First part: listing.

    def _list(self, news: News, seals: dict[bytes, Seal]) -> tuple[dict[str, _Shard], Inventory]:
        names, foreign = _top(self.root_fd)
        shards: dict[str, _Shard] = {}
        actions: dict[bytes, Action] = {}
        outputs: dict[bytes, Output] = {}
        work = self._list_and_read_shard if self.whole else self._only_list_shard
        for shard, reads in self._in_threads(work, names, self.threads if self.whole else self.listers):
            shards[shard.name] = shard
            actions.update((item.action, item) for item in shard.actions)
            shard.actions.clear()
            outputs.update((item.output, item) for item, _row in shard.same)
            foreign += shard.foreign
            self.read_entries += shard.read
            news.entries += shard.entries
            news.gone_actions += shard.gone_actions
            news.gone_outputs += shard.gone_outputs
            for key, read in reads:
                self._take(key, read, outputs, seals, news)
            self.progress(len(actions) + len(outputs), self.hashed_bytes)
        readme, trim = _small(self.root_fd, README), _small(self.root_fd, TRIM)
        return shards, Inventory(
            root=printable(str(Path(f"/proc/self/fd/{self.root_fd}").readlink())),
            identity=self.identity,
            actions=actions,
            outputs=outputs,
            foreign=tuple(foreign),
            fuzz=_fuzz(self.root_fd),
            trim_ns=None if trim is None else parse_trim(trim),
            readme=readme is not None and is_readme(readme),
            shards=len(names),
            unreadable=tuple(name for name, shard in shards.items() if not shard.listed),
        )

    def _only_list_shard(self, name: str) -> tuple[_Shard, _Reads]:
        return self._list_shard(name), []

    def _list_and_read_shard(self, name: str) -> tuple[_Shard, _Reads]:
        """When everything is read anyway, one thread lists while another hashes.

        Outputs are then hashed before every entry that may name them was read, and so are those that none names. Neither
        does harm: what seems wrong is looked at again, and what is not named is not judged.
        """
        shard = self._list_shard(name)
        jobs = [
            _Job(one.output, _seen(one), _sure(row), hash_it=True, sealed=row.content_id) for one, row in shard.same
        ]
        for key, seen in shard.unread:
            row = shard.known.get(f"{key.hex()}-d")
            jobs.append(_Job(key, seen, row and _sure(row), hash_it=True, sealed=row is not None and row.content_id))
        shard.unread.clear()
        return shard, self._read_shard((name, jobs)) if jobs else []

    def _forget_unjudged(self, inventory: Inventory, seals: dict[bytes, Seal]) -> None:
        """Drop what was hashed and is not judged by its content: what no entry names, and what has not the size that one says."""
        for key in list(seals):
            output = inventory.outputs.get(key)
            if output is None or output.size not in _sizes(inventory, key):
                del seals[key]
        self.hashed_files = len(seals)
        self.hashed_bytes = sum(inventory.outputs[key].size for key in seals)

    def _list_shard(self, name: str) -> _Shard:
        known = Known({}, {}) if self.index is None else self.index.shard(int(name, 16))
        shard = _Shard(name, known=known.outputs)
        try:
            fd = os.open(name, _LIST, dir_fd=self.root_fd)
        except FileNotFoundError:
            return shard
        except OSError:
            return replace(shard, listed=False)
        try:
            with os.scandir(fd) as items:
                for item in items:
                    self._list_item(fd, item, known, shard)
        finally:
            os.close(fd)
        if len(shard.actions) - shard.read < len(known.actions):
            actions = {action.action for action in shard.actions}
            shard.gone_actions = [row.action for row in known.actions.values() if row.action not in actions]
        if len(shard.same) < len(known.outputs):
            outputs = {output.output for output, _row in shard.same}.union(key for key, _seen in shard.unread)
            shard.gone_outputs = [row.output for row in known.outputs.values() if row.output not in outputs]
        return shard

    def _list_item(self, fd: int, item: os.DirEntry[str], known: Known, shard: _Shard) -> None:
        """Take in one name: first what is as it was, because nearly everything is."""
        name = item.name
        try:
            found = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # trimmed or cleaned between listing and asking
        marks = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if (entry := known.actions.get(name)) is not None:
            if entry[1:5] == marks and self.level is not Level.ALL:
                key, ino, size, mtime_ns, ctime_ns, output, said, time_ns = entry
                disk = found.st_blocks * 512
                says = Entry(key, output, said, time_ns)
                shard.actions.append(Action(key, size, mtime_ns, says, ino, ctime_ns, disk))
                return
            self._list_new(fd, name, _stat_of(found), shard)
            if shard.entries and entry[1:5] == marks and shard.entries[-1].entry == Entry(entry[0], *entry[5:]):
                shard.entries.pop()  # it says what is remembered already
            return
        if (row := known.outputs.get(name)) is not None and row[1:5] == marks:
            key, ino, size, mtime_ns, ctime_ns, (kind, about), _hashed, _content_id = row
            disk, mode = found.st_blocks * 512, found.st_mode & _MODE
            same = Output(key, size, disk, mtime_ns, mode, False, kind, about, Shape.FILE, ino, ctime_ns)  # noqa: FBT003
            shard.same.append((same, row))
            return
        self._list_new(fd, name, _stat_of(found), shard)

    def _list_new(self, fd: int, name: str, seen: _Stat, shard: _Shard) -> None:
        parsed = parse_file(shard.name, name)
        regular = stat.S_ISREG(seen.mode)
        if parsed is None or not (regular or (stat.S_ISDIR(seen.mode) and parsed[1] == "d")):
            shard.foreign.append(Foreign(printable(f"{shard.name}/{name}"), _type(seen.mode), seen.size))
            return
        key, suffix = parsed
        if suffix == "d":
            shard.unread.append((key, seen))
            return
        shard.read += 1
        # The marks are those from before reading: if it changed in between, they fit no later look.
        data = _read_entry(fd, name)
        action = _action(key, seen, None if data is None else parse_entry(data, key))
        shard.actions.append(action)
        if isinstance(action.entry, Entry) and self._settled(action.ino, action.mtime_ns, action.ctime_ns):
            shard.entries.append(action)

    def _settled(self, ino: int, mtime_ns: int, ctime_ns: int) -> bool:
        """Whether the marks of a file can be remembered: they are not too young, and SQLite can hold them."""
        return ctime_ns < self.now_ns - RACY_NS and max(ino, abs(mtime_ns)) <= _INT63

    # Second part: reading outputs.

    def _jobs(self, shards: dict[str, _Shard], inventory: Inventory) -> Iterator[tuple[str, list[_Job]]]:
        """What to read, shard by shard."""
        for name in list(shards):
            shard = shards.pop(name)
            jobs = [
                self._unread_job(key, seen, inventory, shard.known.get(f"{key.hex()}-d")) for key, seen in shard.unread
            ]
            for output, row in shard.same:
                if output.output not in inventory.references:
                    continue
                if not self._read_again(row):
                    self.trusted_files += row.hashed
                elif output.size in _sizes(inventory, output.output):
                    jobs.append(_Job(output.output, _seen(output), _sure(row), hash_it=True, sealed=row.content_id))
            if jobs:
                yield name, jobs

    def _unread_job(self, key: bytes, seen: _Stat, inventory: Inventory, row: KnownOutput | None) -> _Job:
        sizes, directory = _sizes(inventory, key), stat.S_ISDIR(seen.mode)
        # A program's size is not known before its directory was opened.
        named = seen.size in sizes or (directory and bool(sizes))
        hash_it = named and self.level is not Level.STATUS
        if row is None:
            return _Job(key, seen, None, hash_it, sealed=False)
        marks = row.marks if directory and row.hashed and not self._read_again(row) else None
        return _Job(key, seen, _sure(row) if hash_it else row.facts, hash_it, row.content_id, marks)

    def _read_again(self, row: KnownOutput) -> bool:
        """Whether to hash a named output that is what it was."""
        if self.level is Level.STATUS:
            return False
        # Chance need not be unpredictable here: an attacker who knows it can also write the index.
        return self.level is Level.ALL or not row.hashed or random.random() < self.sample  # noqa: S311

    def _read_shard(self, item: tuple[str, list[_Job]]) -> _Reads:
        name, jobs = item
        fd = os.open(name, _LIST, dir_fd=self.root_fd)
        try:
            reader = _Reader(fd, memoryview(bytearray(_BUFFER)), self.stop)
            return [(job.output, reader.read(job)) for job in jobs if not self.stop.is_set()]
        finally:
            os.close(fd)

    def _take(
        self, key: bytes, read: _Read | None, outputs: dict[bytes, Output], seals: dict[bytes, Seal], news: News
    ) -> None:
        if read is None:
            outputs.pop(key, None)
            return
        outputs[key] = read.output
        self.trusted_files += read.believed
        if read.believed:
            return
        if read.seal is not None:
            self.hashed_files += key not in seals
            self.hashed_bytes += 0 if key in seals else read.output.size
            seals[key] = read.seal
        if (
            read.output.sound_shape
            and key not in self.remembered
            and not _is_bad(read.seal)
            and self._settled(read.output.ino, read.mtime_ns, read.output.ctime_ns)
        ):
            content_id = read.seal is not None and read.seal.content_id is True
            news.outputs.append((read.output, read.mtime_ns, read.seal is not None, content_id))

    # Third part: looking again.

    def _again(
        self, inventory: Inventory, findings: list[Finding], seals: dict[bytes, Seal], news: News
    ) -> tuple[Inventory, list[Finding]]:
        """Look once more at everything that seems wrong: `go` may have been writing or trimming it."""
        names = [parse_name(finding.name) for finding in findings if is_damage(finding)]
        entries = {name[0] for name in names if name is not None and name[1] == "a"}
        suspects = {name[0] for name in names if name is not None and name[1] == "d"}
        entries.update(*(inventory.references.get(key, ()) for key in suspects))
        actions, outputs = dict(inventory.actions), dict(inventory.outputs)
        for key in entries:
            action = self._action_now(key)
            suspects.update(_named(actions.pop(key)), _named(action))
            if action is not None:
                actions[key] = action
        inventory = replace(inventory, actions=actions, outputs=outputs)
        for key in suspects:
            read = self._output_now(key, _sizes(inventory, key))
            self._take(key, read, outputs, seals, news)
        memory = Memory() if self.index is None else self.index.recall(entries, suspects)
        return inventory, judge(inventory, seals, memory=memory, now_ns=self.now_ns)

    def _action_now(self, key: bytes) -> Action | None:
        name = action_name(key)
        with suppress(FileNotFoundError):
            seen = _stat_of(os.stat(name, dir_fd=self.root_fd, follow_symlinks=False))
            if stat.S_ISREG(seen.mode):
                self.read_entries += 1
                data = _read_entry(self.root_fd, name)
                return _action(key, seen, None if data is None else parse_entry(data, key))
        return None

    def _output_now(self, key: bytes, sizes: set[int]) -> _Read | None:
        name = output_name(key)
        try:
            seen = _stat_of(os.stat(name, dir_fd=self.root_fd, follow_symlinks=False))
            fd = os.open(name[:2], _LIST, dir_fd=self.root_fd)
        except OSError:
            return None
        try:
            if not (stat.S_ISREG(seen.mode) or stat.S_ISDIR(seen.mode)):
                return None
            hash_it = self.level is not Level.STATUS and (
                seen.size in sizes or (bool(sizes) and stat.S_ISDIR(seen.mode))
            )
            job = _Job(key, seen, facts=None, hash_it=hash_it, sealed=False)
            return _Reader(fd, memoryview(bytearray(_BUFFER)), self.stop).read(job)
        finally:
            os.close(fd)

    def _in_threads(self, work: Callable[[_T], _R], items: Iterable[_T], threads: int) -> Iterator[_R]:
        """Do the work for every item, and give the results as they come; whatever interrupts stops the threads."""
        if threads == 1:
            for item in items:
                yield work(item)
            return
        waiting = iter(items)
        pool = ThreadPoolExecutor(threads)
        try:
            # Only a few at a time: what is not yet asked for need not be in memory.
            running = {pool.submit(work, item) for item in islice(waiting, 2 * threads)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running.update(pool.submit(work, item) for item in islice(waiting, len(done)))
                yield from (future.result() for future in done)
        finally:
            self.stop.set()
            pool.shutdown(cancel_futures=True)
            self.stop.clear()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads outputs of one shard, one after the other, through one buffer."""

    shard_fd: int
    buffer: memoryview
    stop: Event

    def read(self, job: _Job) -> _Read | None:
        """Read one output; None if it is gone."""
        name = f"{job.output.hex()}-d"
        try:
            if stat.S_ISDIR(job.seen.mode):
                return self._program(name, job)
            fd = os.open(name, _READ, dir_fd=self.shard_fd)
            try:
                return self._file(fd, job)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            facts = job.facts or (Kind.OTHER, None)
            seal = Seal(None, error=error.strerror or str(error)) if job.hash_it else None
            shape = Shape.UNREADABLE if seal is None else Shape.FILE
            return _Read(_output(job.output, job.seen, job.seen, facts, shape), seal, job.seen.mtime_ns)

    def _file(self, fd: int, job: _Job) -> _Read:
        seen = _stat_of(os.fstat(fd))
        if not stat.S_ISREG(seen.mode):
            raise OSError("it was replaced while it was read")
        head, tail, seal = b"", b"", None
        if job.hash_it:
            head, tail, seal = self._hash(fd, seen.size, job)
        facts = job.facts
        if facts is None:
            facts = self._facts(fd, seen.size, head, tail)
        return _Read(_output(job.output, seen, seen, facts, Shape.FILE), seal, seen.mtime_ns)

    def _hash(self, fd: int, size: int, job: _Job) -> tuple[bytes, bytes, Seal]:
        """Hash a file once, or an archive whose seal (iii) is not known to hold twice, chunk by chunk."""
        if size > _LARGEST:
            raise OSError(f"{size} bytes are more than any output has")
        whole, blanked, at, head, tail = sha256(), None, 0, b"", b""
        found = None
        while at < size or not at:
            chunk = self.buffer[: os.preadv(fd, [self.buffer[: min(size - at, _BUFFER)]], at)]
            if not at:
                head = bytes(chunk[:HEAD])
                found = None if job.sealed else build_id_at(head)
                blanked = None if found is None else sha256()
            whole.update(chunk)
            tail = (tail + bytes(chunk[-TAIL:]))[-TAIL:]
            if found is not None and blanked is not None:
                _blank(chunk, at, *found)
                blanked.update(chunk)
            at += len(chunk)
            if not chunk or self.stop.is_set():
                break
        content = at == size and whole.digest() == job.output
        content_id: bool | None = True if content and job.sealed else None
        if content and found is not None and blanked is not None:
            half = found[0][-20:].decode("ascii")
            content_id = id_half(blanked.digest()) == half or id_half(self._blanked(fd, found[0])) == half
        return head, tail, Seal(content, content_id, zeros=at > 0 and not tail.strip(b"\0"))

    def _blanked(self, fd: int, build_id: bytes) -> bytes:
        """SHA-256 of a file with every occurrence of the build ID replaced by zeros, wherever it is."""
        blanked, at, rest = sha256(), 0, b""
        while count := os.preadv(fd, [self.buffer], at):
            data = (rest + bytes(self.buffer[:count])).replace(build_id, bytes(len(build_id)))
            rest = data[-len(build_id) + 1 :]
            blanked.update(data[: len(data) - len(rest)])
            at += count
        blanked.update(rest)
        return blanked.digest()

    def _facts(self, fd: int, size: int, head: bytes, tail: bytes) -> Facts:
        """What an output is: from its ends, and if it is an archive from a few spans in it."""
        if not head and size:
            head = os.pread(fd, HEAD, 0)
            tail = head[-TAIL:] if size <= HEAD else os.pread(fd, TAIL, size - TAIL)
        kind = classify(head, tail, size)
        return kind, _drive(fd, read_archive(head)) if kind is Kind.ARCHIVE else None

    def _program(self, name: str, job: _Job) -> _Read | None:
        """Read a cached program: the one regular file in a directory."""
        outside = job.seen
        bad = _Read(
            _output(job.output, outside, outside, (Kind.EXECUTABLE, None), Shape.BAD_DIRECTORY), None, outside.mtime_ns
        )
        directory = os.open(name, _LIST, dir_fd=self.shard_fd)
        try:
            with os.scandir(directory) as items:
                inside = [item.name for item, _two in zip(items, range(2), strict=False)]
            if len(inside) != 1:
                return bad
            if not stat.S_ISREG(os.stat(inside[0], dir_fd=directory, follow_symlinks=False).st_mode):
                return bad
            fd = os.open(inside[0], _READ, dir_fd=directory)
            try:
                seen = _stat_of(os.fstat(fd))
                believed = job.marks == seen.marks
                seal = self._hash(fd, seen.size, job)[2] if job.hash_it and not believed else None
                about = _drive(fd, read_program(printable(inside[0]), os.pread(fd, PROGRAM_HEAD, 0)))
            finally:
                os.close(fd)
        finally:
            os.close(directory)
        output = _output(job.output, seen, outside, (Kind.EXECUTABLE, about), Shape.PROGRAM)
        return _Read(output, seal, seen.mtime_ns, believed)


def _drive(fd: int, parser: Generator[Span, bytes, Archive | None]) -> Archive | None:
    """Give a parser the spans that it asks for."""
    try:
        at, length = next(parser)
        while True:
            at, length = parser.send(os.pread(fd, length, at) if 0 <= at <= _INT63 - length else b"")
    except StopIteration as end:
        about: Archive | None = end.value
        return about


def _blank(chunk: memoryview, at: int, build_id: bytes, places: tuple[int, int]) -> None:
    """Put zeros over a build ID at its usual places, as far as they lie in this chunk of the file."""
    for place in places:
        begin, end = max(place - at, 0), min(place - at + len(build_id), len(chunk))
        if begin < end and chunk[begin:end] == build_id[begin + at - place : end + at - place]:
            chunk[begin:end] = bytes(end - begin)


def _read_entry(fd: int, name: str) -> bytes | None:
    """Content of an index entry, at most one byte more than it should have; None if it cannot be read."""
    try:
        file = os.open(name, _READ, dir_fd=fd)
    except OSError:
        return None
    try:
        return os.read(file, ENTRY_SIZE + 1)
    except OSError:
        return None
    finally:
        os.close(file)


def _stat_of(found: os.stat_result) -> _Stat:
    return _Stat(
        found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_blocks * 512, found.st_mode
    )


def _action(key: bytes, seen: _Stat, entry: Entry | Damage | None) -> Action:
    return Action(key, seen.size, seen.mtime_ns, entry, seen.ino, seen.ctime_ns, seen.disk)


def _output(key: bytes, seen: _Stat, outside: _Stat, facts: Facts, shape: Shape) -> Output:
    """Put together what is known; `outside` is the directory around a program, else the file itself."""
    kind, about = facts
    mode = stat.S_IMODE(seen.mode)
    is_dir = stat.S_ISDIR(outside.mode)
    return Output(
        key, seen.size, seen.disk, outside.mtime_ns, mode, is_dir, kind, about, shape, seen.ino, seen.ctime_ns
    )


def _seen(output: Output) -> _Stat:
    return _Stat(output.ino, output.size, output.mtime_ns, output.ctime_ns, output.disk, stat.S_IFREG | output.mode)


def _sizes(inventory: Inventory, output: bytes) -> set[int]:
    """The sizes that entries say an output has: one, unless an entry is damaged; none if no entry names it."""
    entries = (inventory.actions[action].entry for action in inventory.references.get(output, ()))
    return {entry.size for entry in entries if isinstance(entry, Entry)}


def _sure(row: KnownOutput) -> Facts | None:
    """What an output is; None if it was never hashed: it may have been asked before it was complete."""
    return row.facts if row.hashed or row.content_id else None


def _named(action: Action | None) -> list[bytes]:
    """The output that an entry names, if it is sound."""
    return [action.entry.output] if action is not None and isinstance(action.entry, Entry) else []


def _is_bad(seal: Seal | None) -> bool:
    return seal is not None and (not seal.content or seal.content_id is False)


def _type(mode: int) -> str:
    """The word for a foreign thing."""
    return _TYPES.get(stat.S_IFMT(mode), "device")


_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def _top(root_fd: int) -> tuple[list[str], list[Foreign]]:
    """Names of the shards that are there, and what else is that should not be."""
    shards, foreign = [], []
    with os.scandir(root_fd) as items:
        for item in items:
            with suppress(FileNotFoundError):
                found = item.stat(follow_symlinks=False)
                directory = stat.S_ISDIR(found.st_mode)
                if item.name in _SHARD_NAMES and directory:
                    shards.append(item.name)
                elif item.name not in SPECIAL or directory != (item.name == FUZZ):
                    foreign.append(Foreign(printable(item.name), _type(found.st_mode), found.st_size))
    return sorted(shards), foreign


_SHARD_NAMES = frozenset(SHARDS)


def _small(root_fd: int, name: str) -> bytes | None:
    """Content of one of `go`'s small files, or its first 4 KiB; None if there is no such regular file."""
    try:
        fd = os.open(name, _READ, dir_fd=root_fd)
    except OSError:
        return None
    try:
        return os.read(fd, 4096) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def _fuzz(root_fd: int) -> Fuzz:
    """Count the user's fuzzing inputs."""
    files = size = 0
    with suppress(OSError):
        for _path, _directories, names, fd in os.fwalk(FUZZ, dir_fd=root_fd):
            for name in names:
                with suppress(OSError):
                    size += os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
                    files += 1
    return Fuzz(files, size)


def _has_entry(root_fd: int) -> bool:
    """Whether any index entry is well-formed: the first one of each shard is asked until one is."""
    for name in SHARDS:
        with suppress(OSError):
            fd = os.open(name, _LIST, dir_fd=root_fd)
            try:
                with os.scandir(fd) as items:
                    keys = ((item.name, parse_file(name, item.name)) for item in items)
                    first = next(((file, key[0]) for file, key in keys if key is not None and key[1] == "a"), None)
                if first is not None and isinstance(parse_entry(_read_entry(fd, first[0]) or b"", first[1]), Entry):
                    return True
            finally:
                os.close(fd)
    return False


def _is_cold(root_fd: int) -> bool:
    """Whether at least a quarter of a sample of outputs is not in memory.

    The sample is read only as far as the page cache has it (`RWF_NOWAIT`); a file system that cannot say counts as warm.
    """
    asked = missing = 0
    for name in ("17", "5c", "a1", "e6"):
        with suppress(OSError):
            fd = os.open(name, _LIST, dir_fd=root_fd)
            try:
                with os.scandir(fd) as items:
                    files = [item.name for item in items if item.name.endswith("-d")][:8]
                asked += len(files)
                missing += sum(_is_missing(fd, file) for file in files)
            finally:
                os.close(fd)
    return missing * 4 > asked


def _is_missing(shard_fd: int, name: str) -> bool:
    try:
        fd = os.open(name, _READ, dir_fd=shard_fd)
    except OSError:
        return False
    try:
        middle = os.fstat(fd).st_size // 2
        os.preadv(fd, [bytearray(1)], middle, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Without the collector of cycles: it would visit a million objects again and again, and none of them is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
