"""What was found sound before, so that it need not be read again.

Knows:     one SQLite file per module cache: by what marks a module version was recognised, and all its hashes.
Called by: `flows.versions` only.
Never:     is more than a memory of ours: a file that is damaged, foreign or of another cache is emptied and made again.
           Whoever can write it can make us believe that a damaged module is sound; `--all` reads every byte, and asks only what
           a zip of this very SHA-256 held, which is a function of its content.
Source:    why marks need to be old: git's Documentation/technical/racy-git.txt; why the journal goes before the file:
           sqlite.org/howtocorrupt.html, section 1.4.

A row is believed if name, mode, inode, size, mtime and ctime of everything that belongs to the module version are what they were,
and the latest ctime was more than `RACY_NS` old when we began to look: a file system's clock is coarse, so a write right after
the reading could leave the same marks. ctime cannot be set back by a program, so an edit that restores size and mtime is seen.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.verify import Sums

RACY_NS = 2_000_000_000
"""ext2 and FAT keep whole or even seconds; newer systems are finer."""
_FORMAT = 1
"""Raised when a column or its meaning changes; an index of another format is emptied."""
_SCHEMA = """
CREATE TABLE cache (format INTEGER NOT NULL, identity TEXT NOT NULL);
CREATE TABLE versions (
    path TEXT NOT NULL, version TEXT NOT NULL, marks BLOB NOT NULL, zip TEXT, tree TEXT, hash TEXT, mod TEXT, sha BLOB NOT NULL,
    PRIMARY KEY (path, version)
) WITHOUT ROWID;
"""
_NONSENSE = (sqlite3.Error, OSError, ValueError, LookupError, TypeError)
"""What reading a file that is no index of ours may raise."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
"""Nothing is wrong with the file: another process may be writing it."""


class Known(NamedTuple):
    """What is remembered of a module version.

    Attributes:
        marks: See `gomod.read.Marks`.
        sums: Its hashes.
    """

    marks: bytes
    sums: Sums


class ModuleIndex:
    """The memory of one module cache. Errors of SQLite never leave it; not to be shared by threads."""

    def __init__(self, path: Path, identity: str, *, patience_s: float = 10.0) -> None:
        """Open the index of one module cache, or make it.

        Args:
            path: Where it is; the directory must exist.
            identity: Device and inode of GOMODCACHE: an index of another directory is emptied.
            patience_s: How long to wait for another process that writes, in seconds.
        """
        self._path, self._identity, self._patience_s = path, identity, patience_s

    def load(self) -> dict[Version, Known]:
        """Everything that is remembered; nothing if the index cannot be used."""
        try:
            db = self._open()
        except _NONSENSE as error:
            self._empty(error)
            return {}
        try:
            return dict(map(_known, db.execute("SELECT * FROM versions").fetchall()))
        except _NONSENSE as error:
            db.close()
            self._empty(error)
            return {}
        finally:
            db.close()

    def save(self, news: Sequence[tuple[Version, Known]], gone: Sequence[Version] = ()) -> None:
        """Write everything that was learnt, in one transaction. What cannot be written is read again next time.

        Args:
            news: Module versions that were read and are sound in themselves.
            gone: Those that are not, or not any more.
        """
        if not news and not gone:
            return
        try:
            db = self._open()
        except _NONSENSE:
            return
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "DELETE FROM versions WHERE (path, version) = (?, ?)", [(one.path, one.version) for one in gone]
            )
            db.executemany(
                "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(version.path, version.version, known.marks, *known.sums) for version, known in news],
            )
            db.execute("COMMIT")
        except sqlite3.Error:
            return
        finally:
            db.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=self._patience_s, isolation_level=None)
        try:
            if _is_empty(db):
                db.execute("BEGIN IMMEDIATE")
                if _is_empty(db):  # nobody else made it while we waited
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute("INSERT INTO cache VALUES (?, ?)", (_FORMAT, self._identity))
                db.execute("COMMIT")
            self._refuse_other(db)
        except BaseException:
            db.close()
            raise
        return db

    def _refuse_other(self, db: sqlite3.Connection) -> None:
        if db.execute("SELECT * FROM cache").fetchall() != [(_FORMAT, self._identity)]:
            raise ValueError("an index of another cache, or of another version of ours")

    def _empty(self, error: Exception) -> None:
        """Start anew if the file is not what it should be; if it is only out of reach, leave it alone."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _BUSY or isinstance(error, OSError):
            return
        try:
            # An unfinished journal of the old file must not be rolled back into the new one, so it goes first.
            for path in (Path(f"{self._path}-journal"), self._path):
                if path.is_file():
                    path.write_bytes(b"")
        except OSError:
            return


def _is_empty(db: sqlite3.Connection) -> bool:
    count: tuple[int] = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return count == (0,)


def _known(row: tuple[Any, ...]) -> tuple[Version, Known]:
    path, version, marks, *sums = row
    found = Sums(*sums)
    if found.zip and found.tree and found.zip != found.tree:
        raise ValueError("a version that is not sound in itself is never written")
    return Version(path, version), Known(marks, found)
