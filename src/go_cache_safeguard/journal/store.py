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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure, IllegalTransition
from go_cache_safeguard.core.lifecycle import State, may_follow
from go_cache_safeguard.core.operation import Operation, follow
from go_cache_safeguard.journal.chain import (
    Break,
    BreakKind,
    Head,
    Row,
    bad_end,
    head_bytes,
    parse_head,
    read_row,
    verify_chain,
)
from go_cache_safeguard.journal.law import Act, acts
from go_cache_safeguard.journal.record import FORMAT, NO_PREV, Record, is_note_step, leaf_hash, record_bytes
from go_cache_safeguard.journal.sweep import Run, join, sweep
from go_cache_safeguard.journal.sweepers import rows_between, sweep_all

BUSY_SECONDS = 30
"""How long a writer waits for other writers. One append takes milliseconds."""

_BATCH = 1000
_MANY = 40_000
"""Records from which on several processes read them: to start those takes as long as to read about as many."""
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


class JournalUnusable(Failure):
    """The journal cannot be opened, read or written."""

    id = "journal-unusable"
    exit_code: ClassVar[ExitCode] = ExitCode.JOURNAL
    meaning = "the journal cannot be opened, read or written"


class JournalTampered(Failure):
    """The journal is not as this program left it."""

    id = "journal-tampered"
    exit_code: ClassVar[ExitCode] = ExitCode.JOURNAL_TAMPERED
    meaning = "the journal was changed by something else than this program"


class NoSuchOperation(Failure):
    """Nobody ever asked for an operation of this name."""

    id = "no-such-operation"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "the journal has no operation of this name"


class Keeper(Protocol):
    """Keeps an eye on a journal that is written: see `flows.checkpoint`."""

    def wrote(self, journal: "Journal", step: str) -> None:
        """A record is durable and the head knows it. `step` is empty if it is about several notes."""

    def closing(self, journal: "Journal") -> None:
        """The journal is about to be closed. Nothing is raised."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A whole journal, looked at.

    Attributes:
        log: Its id; empty if there is no record.
        count: How many rows there are.
        breaks: What is wrong with its chain; empty if nothing is. Only then the rest is filled.
        leaves: 32 bytes for each record, its hash.
        acts: What the law is about.
    """

    log: str
    count: int
    breaks: tuple[Break, ...] = ()
    leaves: bytes = b""
    acts: Sequence[Act] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that is to be written.

    Attributes:
        step: The name of a state, or of a note.
        data: What there is to say.
        op: The operation; None for a note about none.
    """

    step: str
    data: Mapping[str, Value]
    op: str | None = None

    @property
    def to(self) -> State | None:
        """The state to enter; None for a note."""
        return State(self.step) if self.step in State.__members__ else None


class Journal:
    """An open journal. Use it in a `with` statement, from one thread; several processes may have it open at once.

    Attributes:
        path: The SQLite file.
        read_only: Whether writing is refused.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        path: Path,
        *,
        actor: str,
        version: str,
        read_only: bool,
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper
        self.path = path
        self.read_only = read_only
        self._db = db
        self._head_path = path.with_name(path.name + ".head")
        self._actor = actor
        self._version = version
        self._host = os.uname().nodename
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. Nothing is pending: each record was durable when its call returned."""
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                keeper.closing(self)
        finally:
            with _seam(self.path):
                self._db.close()

    def note(self, step: str, data: Mapping[str, Value], *, op: str | None = None) -> Record:
        """Write a record that moves no operation. It is durable when this returns.

        Args:
            step: Small words joined by dashes: `config`, `token-minted`, `progress`.
            data: What there is to say, as `core.canonical` allows it.
            op: The operation that it is about. Its state and its `data` stay as they are.

        Raises:
            ValueError: `step` or `op` has not the right form.
            TypeError: `data` has no canonical form.
            JournalUnusable: The record could not be written, or is not known to be durable.
            JournalTampered: The journal is not as we left it.
        """
        if not is_note_step(step):
            raise ValueError(f"{step!r} is not the name of a note")
        with self._writing():
            record = self._append(step, data, op)
        self._publish_head()
        self._tell(step)
        return record

    def write_all(self, entries: Sequence[Entry]) -> list[Operation | IllegalTransition | None]:
        """Write several notes and moves in one transaction. They are durable when this returns.

        The head stays behind: call `catch_up` soon, and not for each of many.

        Args:
            entries: In order.

        Returns:
            For each: the operation as it is then, why it cannot move there (then it did not), or None for a note.

        Raises:
            ValueError, TypeError, JournalUnusable, JournalTampered: As `advance`; then none of them was written.
        """
        found: list[Operation | IllegalTransition | None] = []
        with self._writing():
            end = self._sound_end()
            for entry in entries:
                before = self._fold(entry.op) if entry.op and entry.to else None
                illegal = None if entry.to is None else _illegal(entry.op or "", before, entry.to)
                if illegal is not None:
                    found.append(illegal)
                    continue
                record, row = self._write_after(end, entry.step, entry.data, entry.op)
                end = Head(record.log, record.seq, row.hash.hex())
                found.append(_moved(before, record))
        return found

    def catch_up(self) -> None:
        """Bring the head up to the last record."""
        self._publish_head()
        self._tell("")

    def _tell(self, step: str) -> None:
        if self._keeper is not None:
            self._keeper.wrote(self, step)

    def advance(self, op: str, to: State, data: Mapping[str, Value]) -> Operation:
        """Move an operation along one arrow of the lifecycle. It is durable when this returns.

        The arrow is looked up inside the transaction that writes it: of two processes that try the same one, one wins.

        Args:
            op: See `core.operation.operation_id`; a new name with `State.REQUESTED` starts an operation.
            to: The state to enter.
            data: What there is to say; laid over what earlier records said.

        Returns:
            The operation as it is now.

        Raises:
            IllegalTransition: There is no such arrow from where the operation stands; nothing was written.
            ValueError: `op` has not the right form.
            TypeError: `data` has no canonical form.
            JournalUnusable: The record could not be written, or is not known to be durable.
            JournalTampered: The journal is not as we left it.
        """
        with self._writing():
            before = self._fold(op)
            illegal = _illegal(op, before, to)
            if illegal is not None:
                raise illegal
            record = self._append(str(to), data, op)
        self._publish_head()
        self._tell(record.step)
        moved = _moved(before, record)
        assert moved is not None  # noqa: S101 - the record is a move
        return moved

    def operations(self) -> list[Operation]:
        """All operations, by their first record, newest last.

        Records that were damaged are left out here, so that a damaged journal can still be looked at; `verify` names
        them, and `operation` and `advance` refuse to build on them.
        """
        found: dict[str, Operation] = {}
        for row in self._rows("AND op IS NOT NULL", 0):
            record = read_row(row)
            if isinstance(record, Record):
                _lay(found, record)
        return list(found.values())

    def operation(self, op: str) -> Operation:
        """One operation.

        Raises:
            NoSuchOperation: There is none of this name.
            JournalTampered: One of its records was changed.
            JournalUnusable: The journal cannot be read.
        """
        with _seam(self.path):
            found = self._fold(op)
        if found is None:
            raise NoSuchOperation(
                f"there is no operation {op!r}",
                not_done="nothing was removed",
                hint="`go-cache-safeguard ops list` names them all",
            )
        return found

    def records(self, since: int = 0, *, op: str | None = None) -> Iterator[Record]:
        """Records in order, notes as well. Damaged ones are left out; `verify` names them.

        Args:
            since: Only those with a higher number.
            op: Only those of one operation.
        """
        rows = self._rows("", since) if op is None else self._rows("AND op = ?", since, op)
        return (record for record in map(read_row, rows) if isinstance(record, Record))

    def moves(self, since: int = 0) -> Iterator[Record]:
        """Records that moved an operation, in order; damaged ones are left out.

        Args:
            since: Only those with a higher number.
        """
        records = (read_row(row) for row in self._rows("AND op IS NOT NULL", since))
        return (record for record in records if isinstance(record, Record) and record.state)

    @property
    def last_seq(self) -> int:
        """Number of the newest record, 0 if there is none: it changes with whatever is written."""
        with _seam(self.path):
            found = self._db.execute("SELECT max(seq) FROM record").fetchone()
        return int(found[0] or 0)

    def rows(self) -> Iterator[Row]:
        """All rows as they are stored, unjudged."""
        return self._rows("", -(1 << 63))

    def lost_head(self) -> Head | None:
        """The head that a journal would get again whose head file is lost or cannot be read; None if it is not, or has no record."""
        with _seam(self.path):
            last = None if isinstance(self._read_head(), Head) else self._row("ORDER BY seq DESC LIMIT 1")
        record = read_row(last) if last else ""
        return Head(record.log, last.seq, last.hash.hex()) if last and isinstance(record, Record) else None

    def restore_head(self, head: Head) -> None:
        """Write a head again that was lost.

        Args:
            head: What `lost_head` returned, and a person agreed to.

        Raises:
            JournalTampered: The journal is not as it was then.
        """
        with self._writing():
            if self.lost_head() != head:
                raise _tampered(self.path, "it changed since its end was shown")
            self._write_head(head)

    def notes(self, step: str) -> Iterator[Record]:
        """Notes of one kind, in order; damaged ones are left out."""
        part = f'"step":"{step}"'
        records = (read_row(row) for row in self._rows("AND instr(body, CAST(? AS BLOB)) > 0", 0, part))
        return (record for record in records if isinstance(record, Record) and record.step == step)

    def leaves(self) -> bytes:
        """The hashes of all records as they are stored, unjudged, 32 bytes each."""
        with _seam(self.path):
            return b"".join([row[0] for row in self._db.execute("SELECT hash FROM record ORDER BY seq").fetchall()])

    def rows_from(self, seq: int) -> Iterator[Row]:
        """All rows from one number on, that one included, as they are stored."""
        return self._rows("", seq - 1)

    @property
    def log(self) -> str:
        """Id of the journal, as its newest record says; empty if it has none that can be read."""
        with _seam(self.path):
            last = self._row("ORDER BY seq DESC LIMIT 1")
        record = read_row(last) if last else ""
        return record.log if isinstance(record, Record) else ""

    def verify(self) -> list[Break]:
        """Judge the whole journal; empty if nothing is wrong. What this cannot see: the docstring of this file."""
        return list(self.examine().breaks)

    def examine(self, *, headless: bool = False) -> Examined:
        """Judge the whole journal, and keep what further questions need.

        A journal that is as it should be is recognised quickly, by several processes if it is long; another one is read again
        and each break is named.

        Args:
            headless: Do without the head: it is known to be lost. Then a missing end cannot be seen.
        """
        with _seam(self.path):
            # Before the rows: whatever the head says must be in them.
            seen = self.lost_head() if headless else self._read_head()
        if isinstance(seen, Head):
            whole = join(self._runs(), seen)
            if whole is not None:
                return Examined(whole.log, whole.last, (), whole.leaves, whole.acts)
        return self._look_closely(seen)

    def _runs(self) -> list[Run]:
        last = self.last_seq
        if last >= _MANY:
            return sweep_all(self.path, last)
        with _seam(self.path):
            run = sweep(rows_between(self._db, -(1 << 63), last))
        return [] if run is None else [run]

    def _look_closely(self, seen: Head | str | None) -> Examined:
        rows = list(self.rows())
        breaks = verify_chain(rows, seen if isinstance(seen, Head) else None)
        if not isinstance(seen, Head) and (seen or rows):
            end = rows[-1].seq if rows else 0
            breaks.append(Break(end, BreakKind.HEAD, seen or "the head file is missing, so the end is not known"))
        records = [record for record in map(read_row, rows) if isinstance(record, Record)]
        log = records[-1].log if records else ""
        if breaks:
            return Examined(log, len(rows), tuple(breaks))
        return Examined(log, len(rows), (), b"".join([row.hash for row in rows]), list(acts(records)))

    def export(self, write: Callable[[bytes], object]) -> int:
        r"""Write one line for each record: its hash in hexadecimal, a space, and the record as it is stored.

        Somebody without this program can check it (records are ASCII without line ends), and each `prev` by eye:

            while read -r hash body; do
              [ "$(printf '\0%s' "$body" | sha256sum)" = "$hash  -" ] || echo "changed: $body"
            done < export.txt

        A row that is not one line of ASCII was not written by us. It is exported as `!` and hexadecimal digits, so that it
        cannot pass for other lines, and fails the check.

        Returns:
            How many lines were written.
        """
        count = 0
        for count, row in enumerate(self.rows(), 1):  # noqa: B007 - the last value is the answer
            plain = row.body.isascii() and row.body.decode("ascii").isprintable()
            body = row.body if plain else b"!" + row.body.hex().encode("ascii")
            write(row.hash.hex().encode("ascii") + b" " + body + b"\n")
        return count

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

    def _append(self, step: str, data: Mapping[str, Value], op: str | None) -> Record:
        return self._write_after(self._sound_end(), step, data, op)[0]

    def _write_after(self, end: Head, step: str, data: Mapping[str, Value], op: str | None) -> tuple[Record, Row]:
        record = Record(
            log=end.log,
            seq=end.seq + 1,
            prev=end.hash,
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            mono_ns=time.monotonic_ns(),
            boot=self._boot,
            actor=self._actor,
            host=self._host,
            version=self._version,
            op=op,
            step=step,
            data=data,
        )
        body = record_bytes(record)
        row = Row(record.seq, op, body, leaf_hash(body))
        written = read_row(row)
        if isinstance(written, str):
            raise TypeError(written)
        self._db.execute("INSERT INTO record(seq, op, body, hash) VALUES (?, ?, ?, ?)", row)
        return written, row

    def _sound_end(self) -> Head:
        """What the next record is chained to. A journal without records gets its id, and its first head, here.

        Raises:
            JournalTampered: The last record or the head is not as we left it.
        """
        last = self._row("ORDER BY seq DESC LIMIT 1")
        head = self._read_head()
        why = (
            head if isinstance(head, str) else bad_end(last, self._row("WHERE seq = ?", head.seq if head else 0), head)
        )
        if why or isinstance(head, str):
            raise _tampered(self.path, why)
        if head is None:
            head = Head(secrets.token_hex(16), 0, NO_PREV)
            self._write_head(head)  # before the first record, so that a journal with records always had a head
        return Head(head.log, last.seq, last.hash.hex()) if last else head

    def _fold(self, op: str) -> Operation | None:
        found: dict[str, Operation] = {}
        for row in self._db.execute(f"{_SELECT} WHERE op = ? ORDER BY seq", (op,)).fetchall():
            record = read_row(Row(*row))
            if isinstance(record, str):
                raise _tampered(self.path, record)
            _lay(found, record)
        return found.get(op)

    def _row(self, where: str, *values: int) -> Row | None:
        found = self._db.execute(f"{_SELECT} {where}", values).fetchone()
        return Row(*found) if found else None

    def _rows(self, where: str, since: int, *values: str) -> Iterator[Row]:
        """Rows after `since`, a batch at a time, so that no read transaction stays open between two of them."""
        while True:
            with _seam(self.path):
                query = f"{_SELECT} WHERE seq > ? {where} ORDER BY seq LIMIT {_BATCH}"
                batch = [Row(*row) for row in self._db.execute(query, (since, *values)).fetchall()]
            yield from batch
            if len(batch) < _BATCH:
                return
            since = batch[-1].seq

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
            last = self._row("ORDER BY seq DESC LIMIT 1")
            record = read_row(last) if last else "the journal is empty, and had records"
            if isinstance(record, str) or last is None:
                raise _tampered(self.path, str(record))
            self._write_head(Head(record.log, last.seq, last.hash.hex()))

    def _write_head(self, head: Head) -> None:
        """Replace the head file as a whole. The caller holds SQLite's write lock.

        The first one is durable. After a power cut a later one may be behind, as it may be anyway.
        """
        replace_file(self._head_path, head_bytes(head), durable=not head.seq)


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
            return Journal(db, path, actor=actor, version=version, read_only=read_only, keeper=keeper)
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


def _illegal(op: str, before: Operation | None, to: State) -> IllegalTransition | None:
    """Why an operation cannot enter a state."""
    state = before.state if before else None
    if may_follow(state, to):
        return None
    return IllegalTransition(
        f"operation {op} is {state or 'not known'} and cannot become {to}",
        not_done="nothing was removed, and the operation stays as it was",
        hint="see where it stands with `go-cache-safeguard ops list`",
    )


def _moved(before: Operation | None, record: Record) -> Operation | None:
    """The operation after a record; None if that moves none."""
    if record.op is None or record.state is None:
        return None
    return follow(before, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data)


def _lay(found: dict[str, Operation], record: Record) -> None:
    """Lay one record over what is known of its operation; a note changes nothing."""
    if record.op and record.state:
        before = found.get(record.op)
        found[record.op] = follow(
            before, op=record.op, state=record.state, actor=record.actor, at=record.at, data=record.data
        )


def _tampered(path: Path, why: str) -> JournalTampered:
    return JournalTampered(
        f"journal {str(path)!r} is not as it was left: {why}",
        not_done="nothing was removed, and nothing was written",
        hint="see `go-cache-safeguard audit verify`; if only the head file is lost, `audit repair`; else move the journal and its"
        " .head file away, both, and its checkpoints, and keep them",
    )


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
