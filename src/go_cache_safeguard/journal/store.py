"""The journal on disk: one SQLite file and a head file beside it.

Knows:     how a record becomes durable, how operations are folded from their records, and who may open the files.
Called by: `flows` and `cli`.
Never:     changes or removes a record; writes to a journal whose end is not as we left it; touches a cache.
Source:    https://sqlite.org/pragma.html#pragma_synchronous (FULL: a commit in WAL mode is synced before it returns),
           https://sqlite.org/howtocorrupt.html section 2.2 (why nobody else here may open the database file).

What the head file can prove: a chain alone does not show that its end was cut off. `<path>.head` holds the number and the
hash of the last record, written after each commit, so a shorter journal is found. What it cannot prove: whoever may write
both files can cut or rewrite both, and nothing here will show it: signed checkpoints and witnesses do
(`journal.sealer`, `flows.witnesses`). A head that is *behind* is normal: the machine may have stopped between the commit and the head.
"""

import os
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from go_cache_safeguard.journal.chain import Head, Row, bad_end, head_bytes, parse_head, read_row
from go_cache_safeguard.journal.record import FORMAT, NO_PREV, Record
from go_cache_safeguard.journal.records import (
    Examined,
    JournalTampered,
    JournalUnusable,
    Keeper,
    NoSuchOperation,
    Pen,
    Records,
    Stamp,
    T,
    Writer,
)
from go_cache_safeguard.journal.sweep import Run, sweep
from go_cache_safeguard.journal.sweepers import MANY, rows_between, sweep_all

__all__ = [
    "Examined",
    "Journal",
    "JournalTampered",
    "JournalUnusable",
    "Keeper",
    "NoSuchOperation",
    "directory",
    "give_to_owner",
    "make_directory",
    "open_journal",
    "refuse_link",
    "replace_file",
    "stamp",
    "writer",
]

BUSY_SECONDS = 30
"""How long a writer waits for other writers. One append takes milliseconds."""

_BATCH = 1000
_MANY = MANY
_SELECT = "SELECT seq, op, body, hash FROM record"
_HINT_ACCESS = "look at the owner and the permissions of the journal and its directory, and at the free space"
_HINT_MOVE = "move the file away and keep it; a new journal is made when there is none"
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on the disk that holds the journal",
    sqlite3.SQLITE_BUSY: "another process is writing; try again when it is done",
    sqlite3.SQLITE_CANTOPEN: _HINT_ACCESS,
    sqlite3.SQLITE_READONLY: _HINT_ACCESS,
    sqlite3.SQLITE_PERM: _HINT_ACCESS,
    sqlite3.SQLITE_IOERR: "the disk that holds the journal fails; look at the kernel's log",
}
_CREATING = threading.Lock()
_SCHEMA = (
    "CREATE TABLE record(seq INTEGER PRIMARY KEY, op TEXT, body BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
    "CREATE INDEX record_of_operation ON record(op) WHERE op IS NOT NULL",
    """CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON record
    BEGIN SELECT RAISE(ABORT, 'a record is never changed'); END""",
    """CREATE TRIGGER record_is_never_removed BEFORE DELETE ON record
    BEGIN SELECT RAISE(ABORT, 'a record is never removed'); END""",
    # INSERT OR REPLACE would remove a row without asking the trigger above.
    """CREATE TRIGGER record_is_only_appended BEFORE INSERT ON record
    WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM record)
    BEGIN SELECT RAISE(ABORT, 'a record is only appended'); END""",
    f"PRAGMA user_version = {FORMAT}",
)


class Journal(Records):
    """An open journal in a file. Use it in a `with` statement, from one thread; several processes may have it open at once."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, *, writer: Writer, read_only: bool, keeper: Keeper | None = None
    ) -> None:
        super().__init__(path, read_only=read_only, keeper=keeper)
        self._db = db
        self._head_path = path.with_name(path.name + ".head")
        self._writer = writer

    def _let_go(self) -> None:
        with _seam(self.path):
            self._db.close()

    @property
    def is_made(self) -> bool:
        """See `Records`."""
        return self.path.exists()

    @property
    def last_seq(self) -> int:
        """See `Records`."""
        with _seam(self.path):
            found = self._db.execute("SELECT max(seq) FROM record").fetchone()
        return int(found[0] or 0)

    def leaves(self) -> bytes:
        """See `Records`."""
        with _seam(self.path):
            return b"".join([row[0] for row in self._db.execute("SELECT hash FROM record ORDER BY seq").fetchall()])

    def lost_head(self) -> Head | None:
        """See `Records`."""
        last = None if isinstance(self._seen(), Head) else self._last()
        record = read_row(last) if last else ""
        return Head(record.log, last.seq, last.hash.hex()) if last and isinstance(record, Record) else None

    def restore_head(self, head: Head) -> None:
        """See `Records`."""
        with self._writing():
            if self.lost_head() != head:
                raise self._tampered("it changed since its end was shown")
            self._write_head(head)

    def _runs(self) -> list[Run]:
        last = self.last_seq
        if last >= _MANY:
            return sweep_all(self.path, last)
        with _seam(self.path):
            run = sweep(rows_between(self._db, -(1 << 63), last))
        return [] if run is None else [run]

    def _write(self, act: Callable[[Pen], T]) -> T:
        with self._writing():
            end, newest = self._sound_end()
            pen = Pen(self._writer, end, newest, stamp, self._records_of)
            found = act(pen)
            self._db.executemany("INSERT INTO record(seq, op, body, hash) VALUES (?, ?, ?, ?)", pen.rows)
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One immediate transaction: nobody else writes between what we read and what we write."""
        if self.read_only:
            raise JournalUnusable(f"journal {str(self.path)!r} was opened for reading", not_done="nothing was removed")
        with _seam(self.path):
            _begin(self._db)
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _sound_end(self) -> tuple[Head, str]:
        """What the next record is chained to, and when that was written. A journal without records gets its id, and its first head, here.

        Raises:
            JournalTampered: The last record or the head is not as we left it.
        """
        last, head = self._last(), self._read_head()
        why = (
            head if isinstance(head, str) else bad_end(last, self._row("WHERE seq = ?", head.seq if head else 0), head)
        )
        if why or isinstance(head, str):
            raise self._tampered(why)
        if head is None:
            head = Head(secrets.token_hex(16), 0, NO_PREV)
            self._write_head(head)  # before the first record, so that a journal with records always had a head
        record = read_row(last) if last else None
        if last is None or not isinstance(record, Record):
            return head, ""
        return Head(head.log, last.seq, last.hash.hex()), record.at

    def _rows_of(self, op: str) -> list[Row]:
        with _seam(self.path):
            return [Row(*row) for row in self._db.execute(f"{_SELECT} WHERE op = ? ORDER BY seq", (op,)).fetchall()]

    def _last(self) -> Row | None:
        with _seam(self.path):
            return self._row("ORDER BY seq DESC LIMIT 1")

    def _row(self, where: str, *values: int) -> Row | None:
        found = self._db.execute(f"{_SELECT} {where}", values).fetchone()
        return Row(*found) if found else None

    def _rows(self, since: int, *, op: str | None = None, filed: bool = False, part: str = "") -> Iterator[Row]:
        wanted = {"AND op = ?": op, "AND instr(body, CAST(? AS BLOB)) > 0": part}
        values = [value for value in wanted.values() if value]
        where = " ".join([clause for clause, value in wanted.items() if value] + ["AND op IS NOT NULL"] * filed)
        query = f"{_SELECT} WHERE seq > ? {where} ORDER BY seq LIMIT {_BATCH}"
        while True:
            with _seam(self.path):
                batch = [Row(*row) for row in self._db.execute(query, (since, *values)).fetchall()]
            yield from batch
            if len(batch) < _BATCH:
                return
            since = batch[-1].seq

    def _seen(self) -> Head | str | None:
        with _seam(self.path):
            return self._read_head()

    def _read_head(self) -> Head | str | None:
        """The head; None if there is no such file, text if it cannot be understood."""
        try:
            data = self._head_path.read_bytes()
        except FileNotFoundError:
            return None
        return parse_head(data) or "the head file was changed: it cannot be understood"

    def _publish_head(self) -> None:
        """Bring the head file up to the last record, under SQLite's write lock: it never goes back."""
        with self._writing():
            last = self._last()
            record = read_row(last) if last else "the journal is empty, and had records"
            if isinstance(record, str) or last is None:
                raise self._tampered(str(record))
            self._write_head(Head(record.log, last.seq, last.hash.hex()))

    def _write_head(self, head: Head) -> None:
        """Replace the head file as a whole. The caller holds SQLite's write lock.

        The first one is durable. After a power cut a later one may be behind, as it may be anyway.
        """
        replace_file(self._head_path, head_bytes(head), durable=not head.seq)

    def _tampered(self, why: str) -> JournalTampered:
        return JournalTampered(
            f"journal {str(self.path)!r} is not as it was left: {why}",
            not_done="nothing was removed, and nothing was written",
            hint="see `go-cache-safeguard audit verify`; if only the head file is lost, `audit repair`; else move the journal and its"
            " .head file away, both, and its checkpoints, and keep them",
        )


def writer(actor: str, version: str) -> Writer:
    """Somebody who writes from this machine, as it runs now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return Writer(actor, version, os.uname().nodename, boot)


def stamp() -> Stamp:
    """The present of this machine."""
    return Stamp(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), time.monotonic_ns())


def open_journal(
    path: Path, *, actor: str, version: str, read_only: bool = False, keeper: Keeper | None = None
) -> Journal:
    """Open a journal, and make it if there is none.

    A damaged journal can be opened and read. Each write looks at the last record and at the head first, and refuses with
    `JournalTampered` if they are not as we left them.

    Args:
        path: The SQLite file. Its directory is made for its owner alone. As root, everything that is made belongs to the
            owner of the directory that was there.
        actor: Who writes, for example `uid:1000(alice)`.
        version: Of this program.
        read_only: Write nothing. What nobody has written to yet, or is just being made, is a journal without records.
        keeper: Told of each record, and before the journal is closed.

    Raises:
        JournalUnusable: It cannot be opened, is not a journal, or was written by a newer version.
    """
    with _seam(path):
        if not read_only:
            make_directory(path.parent)
            _make_file(path)
        db = _reader(path) if read_only else _connect(f"{path.absolute().as_uri()}?mode=rw")
        try:
            _prepare(db, path)
            return Journal(db, path, writer=writer(actor, version), read_only=read_only, keeper=keeper)
        except BaseException:
            db.close()
            raise


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write to the file; to an empty database in memory if there is no journal yet."""
    if path.exists():
        db = _connect(f"{path.absolute().as_uri()}?mode=ro")
        if _written_as(db, path):
            return db
        db.close()
    return _connect(":memory:")


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA trusted_schema = OFF")
    if _written_as(db, path) == 0:
        _patiently(db, "PRAGMA journal_mode = WAL")
        _begin(db)
        try:
            if _written_as(db, path) == 0:  # nobody was faster
                for statement in _SCHEMA:
                    db.execute(statement)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
    table = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'record'").fetchone()
    if table != (_SCHEMA[0],):
        raise JournalUnusable(f"{str(path)!r} is not a journal", not_done="nothing was removed", hint=_HINT_MOVE)


def _written_as(db: sqlite3.Connection, path: Path) -> int:
    """The format of the file; 0 if it is empty."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise JournalUnusable(
            f"journal {str(path)!r} has format {found}, and this version knows formats up to {FORMAT}",
            not_done="nothing was removed",
            hint="use the version that wrote it, or a newer one",
        )
    empty = db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    return 0 if empty else max(found, 1)


def _begin(db: sqlite3.Connection) -> None:
    """Begin to write, before anybody else does.

    SQLite itself waits with growing pauses, so that of two busy writers the one that waits longest gets the lock last.
    """
    db.execute("PRAGMA busy_timeout = 1")
    try:
        _patiently(db, "BEGIN IMMEDIATE")
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Try until others let us. A switch to a write-ahead log does not wait by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return


def make_directory(path: Path) -> None:
    """Make a directory and those above it, each for the owner of the one above it."""
    if not path.is_dir():
        make_directory(path.parent)
        with directory(path.parent) as above, suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=above)
            with directory(path.name, inside=above) as made:
                give_to_owner(made, above)
            os.fsync(above)
    elif path.stat().st_mode & stat.S_IWOTH:
        raise JournalUnusable(
            f"everybody may write in {str(path)!r}, so a journal there proves nothing",
            not_done="nothing was removed",
            hint="keep it in a directory that only its owner may write in",
        )


def _make_file(path: Path) -> None:
    """Make an empty database file, which SQLite then fills. An existing one is not opened: that would drop its locks."""
    with _CREATING, directory(path.parent) as folder, suppress(FileExistsError):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path.name, flags, 0o600, dir_fd=folder)
        try:
            give_to_owner(file, folder)
        finally:
            os.close(file)


def give_to_owner(made: int, beside: int) -> None:
    """As root, give what was just made to whom the directory belongs, who could not use it otherwise."""
    if os.geteuid() == 0:
        owner = os.fstat(beside)
        os.fchown(made, owner.st_uid, owner.st_gid)


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file of ours as a whole. The caller holds a lock against others who do the same.

    Args:
        path: The file.
        data: What it is to hold.
        durable: Whether the new one must outlive a power cut from now on; else the old one may come back, whole as well.

    Raises:
        OSError: It cannot be written; the old one is as it was.
        JournalUnusable: Something that is not ours lies in the way.
    """
    with directory(path.parent) as folder:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(f"{path.name}.new", flags, 0o600, dir_fd=folder)
        try:
            refuse_link(file, f"{path.name}.new")
            give_to_owner(file, folder)
            os.ftruncate(file, 0)
            os.write(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(f"{path.name}.new", path.name, src_dir_fd=folder, dst_dir_fd=folder)
        if durable:
            os.fsync(folder)


def refuse_link(file: int, name: str) -> None:
    """Root must not write where a link points to.

    Raises:
        JournalUnusable: The open file is not a plain one with one name.
    """
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise JournalUnusable(f"{name} beside the journal is not a plain file of ours", hint=_HINT_MOVE)


@contextmanager
def directory(path: Path | str, *, inside: int | None = None) -> Iterator[int]:
    """A directory, open for the length of a block."""
    opened = os.open(
        path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if inside else 0), dir_fd=inside
    )
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def _seam(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a failure of ours, here and nowhere else."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a fault of ours, not of the journal
    except (sqlite3.Error, OSError) as error:
        raise JournalUnusable(
            f"journal {str(path)!r} cannot be used: {error}", not_done="nothing was removed", hint=_hint(error)
        ) from error


def _hint(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return _HINT_ACCESS
    return _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, _HINT_MOVE)
