"""What was found sound before, so that it need not be read again.

Knows:     one SQLite file per cache: file marks (inode, size, mtime, ctime), what each file said, and which seals held.
Called by: `gocache.disk`; `flows.contents` asks what the items of a plan are.
Never:     is more than a memory of ours: a file that is damaged, foreign or of another cache is emptied and made again.
           Whoever can write it can make us believe that a damaged output is sound; `--all` reads everything and asks only
           for seal (iii), which is a function of a content that was hashed again.
Source:    why marks need to be old: git's Documentation/technical/racy-git.txt; why the journal goes before the file:
           sqlite.org/howtocorrupt.html, section 1.4. About Go it knows only what `gocache.inventory` holds.

A row is believed if inode, size, mtime and ctime are all what they were, and ctime was more than `RACY_NS` old when the file
was read: a file system's clock is coarse, so a write right after the reading could leave the same marks (git calls this
"racy"). ctime cannot be set back by a program, which is why an edit that restores size and mtime is still seen.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from go_cache_safeguard.gocache.archive import Archive
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.entry import Entry
from go_cache_safeguard.gocache.fsck import Facts, Memory
from go_cache_safeguard.gocache.inventory import Action, Output

RACY_NS = 2_000_000_000
"""ext2 and FAT keep whole or even seconds; newer systems are finer."""

_FORMAT = 2
"""Raised when a column or its meaning changes; an index of another format is emptied."""
_SCHEMA = """
CREATE TABLE cache (format INTEGER NOT NULL, identity TEXT NOT NULL);
CREATE TABLE makers (
    maker INTEGER PRIMARY KEY, goos TEXT NOT NULL, goarch TEXT NOT NULL, version TEXT NOT NULL, flags TEXT NOT NULL,
    UNIQUE (goos, goarch, version, flags)
);
CREATE TABLE sources (source INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE actions (
    id BLOB PRIMARY KEY, ino INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, output BLOB NOT NULL, said INTEGER NOT NULL, time_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE outputs (
    id BLOB PRIMARY KEY, ino INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, kind TEXT NOT NULL, maker INTEGER, package TEXT, build_action TEXT, build_content TEXT,
    hashed INTEGER NOT NULL, content_id INTEGER NOT NULL, source INTEGER, shape INTEGER NOT NULL
) WITHOUT ROWID;
"""
_KINDS = {kind.value: kind for kind in Kind}
_MANY = 1000
"""ids: from so many on, a table is walked through rather than searched for each."""


_NONSENSE = (sqlite3.Error, OSError, ValueError, LookupError, TypeError)
"""What reading a file that is no index of ours may raise."""
_OUT_OF_REACH = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
    }
)
"""Nothing is wrong with the file: another process may be writing it, so emptying it would take away what that one learnt."""


class IndexState(StrEnum):
    """What became of the index in one look."""

    OFF = "not used"
    NEW = "made"
    USED = "used"
    REMADE = "thrown away and made again"
    UNUSABLE = "cannot be used"


Marks: TypeAlias = tuple[int, int, int, int]
"""Inode, size, mtime_ns, ctime_ns: by what a file is recognised as the one that was read before."""


class KnownEntry(NamedTuple):
    """What an index entry file was and said: a row of `actions`."""

    action: bytes
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    output: bytes
    said: int
    time_ns: int

    @property
    def marks(self) -> Marks:
        """Of the file that was read."""
        return self[1:5]


class KnownOutput(NamedTuple):
    """What an output was: a row of `outputs`.

    Attributes:
        output: Its id.
        ino: Of the file that was read, as are the next three.
        facts: Kind and self-description; they follow from the name, whatever the marks.
        hashed: It was read in full and its content was what its name says.
        content_id: Likewise, and seal (iii) held; like `facts` this can never change.
    """

    output: bytes
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    facts: Facts
    hashed: bool
    content_id: bool

    @property
    def marks(self) -> Marks:
        """Of the file that was read."""
        return self[1:5]


# `_make` without its call and its count: a hundred thousand rows are read at a time.
_entry_of = partial(tuple.__new__, KnownEntry)
_output_of = partial(tuple.__new__, KnownOutput)


class Known(NamedTuple):
    """What is remembered of one shard, by file name."""

    actions: dict[str, KnownEntry]
    outputs: dict[str, KnownOutput]


class Index:
    """The memory of one cache. Any thread may ask it; errors of SQLite never leave it."""

    def __init__(self, path: Path, identity: str, *, patience_s: float = 10.0, read_only: bool = False) -> None:
        """Open the index of one cache, or make it.

        Args:
            path: Where it is; the directory must exist.
            identity: Device and inode of the cache's root: an index of another directory is emptied.
            patience_s: How long to wait for another process that writes, in seconds.
            read_only: Neither make nor empty anything: an index that is not there or not as it should be knows nothing.
        """
        self._patience_s = patience_s
        self._read_only = read_only
        self._lock = Lock()
        self._path = path
        self._identity = identity
        self._makers: dict[int, tuple[str, str, str, tuple[str, ...]]] = {}
        self._sources: dict[int | None, str | None] = {None: None}
        self._words: dict[str | None, str | None] = {}
        self._db: sqlite3.Connection | None = None
        self.state = IndexState.UNUSABLE
        try:
            self._open()
        except _NONSENSE as error:
            self._give_up(error)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def shard(self, number: int) -> Known:
        """What is remembered of one of the 256 shards; nothing if the index turns out to be damaged."""
        low, high = bytes([number]), bytes([number + 1]) if number < 255 else b"\xff" * 33
        with self._lock:
            if self._db is None:
                return Known({}, {})
            try:
                entries = self._db.execute("SELECT * FROM actions WHERE id >= ? AND id < ?", (low, high)).fetchall()
                outputs = self._db.execute("SELECT * FROM outputs WHERE id >= ? AND id < ?", (low, high)).fetchall()
                return Known(
                    {f"{row[0].hex()}-a": _entry_of(row) for row in entries},
                    {f"{row[0].hex()}-d": self._output(row) for row in outputs},
                )
            except _NONSENSE as error:
                self._give_up(error)
                return Known({}, {})

    def recall(self, actions: Iterable[bytes], outputs: Iterable[bytes]) -> Memory:
        """What was known about things that are damaged or gone now.

        Args:
            actions: Ids, 32 bytes each.
            outputs: Likewise; the outputs that these actions named are recalled too.
        """
        named: dict[bytes, bytes] = {}
        facts: dict[bytes, Facts] = {}
        with self._lock, suppress(*_NONSENSE):
            if self._db is not None:
                named = dict(_rows(self._db, "SELECT id, output FROM actions", frozenset(actions)))
                rows = _rows(self._db, "SELECT * FROM outputs", {*outputs, *named.values()})
                facts = {row[0]: self._output(row).facts for row in rows}
        return Memory(facts, named)

    def save(self, news: "News") -> None:
        """Write everything that changed, in one transaction; a writer who is kept waiting for long gives up."""
        if not news or self._db is None:
            return
        try:
            with _transaction(self._db) as db:
                self._save(db, news)
        except (sqlite3.Error, OverflowError):
            # What is not written is read again next time.
            self.state = IndexState.UNUSABLE

    def _open(self) -> None:
        name = f"{self._path.absolute().as_uri()}?mode={'ro' if self._read_only else 'rwc'}"
        self._db = sqlite3.connect(
            name, timeout=self._patience_s, isolation_level=None, check_same_thread=False, uri=True
        )
        fresh = not self._read_only and _is_empty(self._db)
        if fresh:
            with _transaction(self._db) as db:
                if _is_empty(db):  # nobody else made it while we waited
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute("INSERT INTO cache VALUES (?, ?)", (_FORMAT, self._identity))
        if self._db.execute("SELECT * FROM cache").fetchall() != [(_FORMAT, self._identity)]:
            raise ValueError("an index of another cache, or of another version of ours")
        self._learn(self._db)
        self.state = IndexState.NEW if fresh else IndexState.USED

    def _learn(self, db: sqlite3.Connection | None) -> None:
        """Read the words that rows refer to by number."""
        if db is None:
            return
        for maker, goos, goarch, version, flags in db.execute("SELECT * FROM makers").fetchall():
            self._makers[maker] = (goos, goarch, version, tuple(flags.split()))
        self._sources.update(db.execute("SELECT source, name FROM sources").fetchall())

    def _give_up(self, error: Exception) -> None:
        """Start anew if the file is not what it should be; if it is only out of reach, go on without it."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if self._read_only or code in _OUT_OF_REACH or isinstance(error, OSError):
            self.close()
            self.state = IndexState.UNUSABLE
        else:
            self._again()

    def _again(self) -> None:
        """Empty the file and start anew; if even that fails go on without."""
        self.close()
        self._makers.clear()
        self._sources = {None: None}
        try:
            # An unfinished journal of the old file must not be rolled back into the new one, so it goes first.
            for path in (Path(f"{self._path}-journal"), self._path):
                if path.is_file():
                    path.write_bytes(b"")
            self._open()
            self.state = IndexState.REMADE
        except (sqlite3.Error, OSError, ValueError):
            self.close()
            self.state = IndexState.UNUSABLE

    def _output(self, row: tuple[Any, ...]) -> KnownOutput:
        maker, package, build_action, build_content, hashed, content_id, source, shape = row[6:]
        about = None
        if maker is not None:
            # One object for one import path: it stands in a cache once for each toolchain, target and set of flags.
            package = self._words.setdefault(package, package)
            try:
                made, where = self._makers[maker], self._sources[source]
            except KeyError:
                self._learn(self._db)  # another process wrote since we opened it
                made, where = self._makers[maker], self._sources[source]
            about = Archive(package, *made, build_action, build_content, where, shape)
        return _output_of((*row[:5], (_KINDS[row[5]], about), hashed == 1, content_id == 1))

    def _save(self, db: sqlite3.Connection, news: "News") -> None:
        numbers: dict[tuple[str, ...], int] = {}
        sources: dict[str | None, int | None] = {None: None}
        db.executemany("DELETE FROM actions WHERE id = ?", ((key,) for key in news.gone_actions))
        db.executemany("DELETE FROM outputs WHERE id = ?", ((key,) for key in news.gone_outputs))
        db.executemany(
            "INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (item.action, item.ino, item.size, item.mtime_ns, item.ctime_ns, said.output, said.size, said.time_ns)
                for item in news.entries
                if isinstance(said := item.entry, Entry)
            ),
        )
        db.executemany(
            "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_output_row(db, numbers, sources, row) for row in news.outputs),
        )
        # No file has inode -1: what a damaged output was stays known, that it is sound does not.
        db.executemany("UPDATE outputs SET ino = -1, hashed = 0 WHERE id = ?", ((key,) for key in news.bad_outputs))


@dataclass(slots=True)
class News:
    """What one look learnt.

    Attributes:
        entries: Index entries that were read.
        outputs: Outputs that were read, with (hashed, seal (iii) held) and the time stamp of the file itself.
        bad_outputs: Ids of outputs that are damaged.
        gone_actions: Ids that were remembered and are no more.
        gone_outputs: Likewise.
    """

    entries: list[Action] = field(default_factory=list)
    outputs: list[tuple[Output, int, bool, bool]] = field(default_factory=list)
    bad_outputs: list[bytes] = field(default_factory=list)
    gone_actions: list[bytes] = field(default_factory=list)
    gone_outputs: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.entries or self.outputs or self.bad_outputs or self.gone_actions or self.gone_outputs)


def left_behind(path: Path, identity: str) -> Memory:
    """What the index remembers of a cache that stood here before this one; nothing if it is the index of this one.

    Args:
        path: The index.
        identity: Device and inode of the cache that is here now.
    """
    with suppress(*_NONSENSE), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        ((other,),) = db.execute("SELECT identity FROM cache").fetchall()
        if other != identity:
            ids = [row[0] for row in db.execute("SELECT id FROM actions")]
            with closing(Index(path, other, read_only=True)) as index:
                return index.recall(ids, ())
    return Memory()


def _rows(db: sqlite3.Connection, select: str, ids: Collection[bytes]) -> Iterator[tuple[Any, ...]]:
    """The rows of some ids: each by itself, or if they are many, from one walk through all, which is five times as fast."""
    if len(ids) < _MANY:
        for key in ids:
            yield from db.execute(f"{select} WHERE id = ?", (key,))
    else:
        yield from (row for row in db.execute(select) if row[0] in ids)


def _is_empty(db: sqlite3.Connection) -> bool:
    count: tuple[int] = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return count == (0,)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, and nobody else writes meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _output_row(
    db: sqlite3.Connection,
    numbers: dict[tuple[str, ...], int],
    sources: dict[str | None, int | None],
    news: tuple[Output, int, bool, bool],
) -> tuple[object, ...]:
    output, mtime_ns, hashed, content_id = news
    about = output.about
    marks = (output.output, output.ino, output.size, mtime_ns, output.ctime_ns, output.kind.value)
    if about is None:
        return (*marks, None, None, None, None, hashed, content_id, None, 0)
    maker = (about.goos, about.goarch, about.version, " ".join(about.flags))
    if maker not in numbers:
        db.execute("INSERT OR IGNORE INTO makers VALUES (NULL, ?, ?, ?, ?)", maker)
        find = "SELECT maker FROM makers WHERE (goos, goarch, version, flags) = (?, ?, ?, ?)"
        ((numbers[maker],),) = db.execute(find, maker).fetchall()
    if about.source not in sources:
        db.execute("INSERT OR IGNORE INTO sources VALUES (NULL, ?)", (about.source,))
        find = "SELECT source FROM sources WHERE name = ?"
        ((sources[about.source],),) = db.execute(find, (about.source,)).fetchall()
    builds = (numbers[maker], about.package, about.build_action, about.build_content)
    return (*marks, *builds, hashed, content_id, sources[about.source], about.shape)
