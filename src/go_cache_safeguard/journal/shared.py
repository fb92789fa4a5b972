"""The journal of one tenant in a Postgres database that many servers share.

Knows:     how a record becomes durable there, that nobody else writes behind the same end meanwhile, and how to find out whether
           something was written when the answer to COMMIT was lost.
Called by: `flows.database`.
Never:     changes or removes a record; asks for a row without its tenant; tries again what may have been written already.
Source:    https://www.postgresql.org/docs/current/transaction-iso.html (READ COMMITTED: what is read after the row lock is what others
           had committed), https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html.

What the head in the database can prove: that an end was cut off by somebody who forgot the head. Who may write both tables can cut
both, as with a file and its head: signed checkpoints, which do not lie in the database, and witnesses show it (`flows.checkpoint`).
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Engine

from go_cache_safeguard.journal.chain import Head, Row, bad_end, read_row
from go_cache_safeguard.journal.database import JOURNAL, RECORD, TENANT, seam, speak_as, turn
from go_cache_safeguard.journal.record import Entry, Record
from go_cache_safeguard.journal.records import (
    Examined,
    JournalTampered,
    JournalUnusable,
    Keeper,
    Pen,
    Records,
    Stamp,
    T,
    Writer,
)
from go_cache_safeguard.journal.sweep import Run, sweep
from go_cache_safeguard.journal.sweepers import MANY, sweep_stream

LOOK_SECONDS = 30.0
"""How long we ask a server that went away at COMMIT whether it wrote."""

_TRIES = 4
_PAUSE_S = 0.2
_BATCH = 2000
_AGAIN = {"40001", "40P01"}
"""Serialisation failure and deadlock: the server says that it wrote nothing."""
_END = sa.text(
    """
    SELECT now.now, record.seq, record.op, record.body, record.hash
    FROM (SELECT clock_timestamp() AS now) AS now
    LEFT JOIN record ON tenant = :tenant AND log = :log AND seq >= :seq
    ORDER BY seq LIMIT 2
    """
)
_APPEND = sa.text(
    """
    INSERT INTO record (tenant, log, seq, op, body, hash)
    SELECT :tenant, :log, * FROM unnest(
        CAST(:seq AS bigint[]), CAST(:op AS text[]), CAST(:body AS bytea[]), CAST(:hash AS bytea[])
    )
    """
)
_SELECT = "SELECT seq, op, body, hash FROM record WHERE tenant = %(tenant)s AND log = %(log)s"


class OutcomeUnknown(JournalUnusable):
    """A record was sent, and whether it was written could not be found out."""

    id = "journal-outcome-unknown"
    meaning = "the database went away while a record was written, and did not come back to say whether it was"
    exit_code: ClassVar = JournalUnusable.exit_code


class _NotWritten(Exception):  # noqa: N818 - not an error: an answer
    """The answer to COMMIT was lost, and the record is not there."""


class SharedJournal(Records):
    """An open journal of one tenant. It holds no connection between two calls, so any number may be open.

    Attributes:
        tenant: Whose it is.
    """

    def __init__(
        self,
        engine: Engine,
        tenant: str,
        folder: Path,
        *,
        writer: Writer,
        read_only: bool = False,
        keeper: Keeper | None = None,
        log: str = "",
    ) -> None:
        """Connect to nothing yet.

        Args:
            engine: From `journal.database.open_engine`.
            tenant: Whose journal.
            folder: Where signed checkpoints lie, one folder for each tenant.
            writer: Who writes.
            read_only: Write nothing.
            keeper: Told of each record, and before the journal is closed.
            log: An earlier log of the tenant, which is closed and not removed yet; empty for the present one.

        Raises:
            JournalUnusable: This cannot be the name of a tenant.
        """
        if TENANT.fullmatch(tenant) is None:
            raise JournalUnusable(
                f"{tenant!r} cannot be a tenant",
                not_done="nothing was written",
                hint="a to z, digits, dot, dash, underscore",
            )
        super().__init__(folder / tenant / "journal", read_only=read_only or bool(log), keeper=keeper)
        self.tenant = tenant
        self._engine = engine
        self._writer = writer
        self._pinned = log
        self._inside: Connection | None = None

    def _let_go(self) -> None:
        """Nothing is open."""

    # --- writing -------------------------------------------------------------------------------------------------------

    def _write(self, act: Callable[[Pen], T]) -> T:
        if self.read_only:
            raise JournalUnusable(
                f"the journal of {self.tenant} was opened for reading", not_done="nothing was removed"
            )
        with seam(self.tenant):
            for _ in range(_TRIES - 1):
                try:
                    return self._attempt(act)
                except _NotWritten:
                    continue
                except sa.exc.DBAPIError as error:
                    if not _wrote_nothing(error):
                        raise
            try:
                return self._attempt(act)
            except _NotWritten as lost:
                raise JournalUnusable(
                    f"the journal of {self.tenant} cannot be written: the connection is lost at each COMMIT",
                    not_done="nothing was written",
                    hint="look at the server's log, and at what stands between it and us",
                ) from lost

    def _attempt(self, act: Callable[[Pen], T]) -> T:
        """One transaction.

        Raises:
            DBAPIError: Before COMMIT, so nothing was written.
            _NotWritten: At COMMIT, and nothing was written.
            OutcomeUnknown: At COMMIT.
        """
        with self._engine.connect() as db:
            begun = db.begin()
            speak_as(db, self.tenant)
            self._inside = db
            try:
                pen = self._pen(db)
                found = act(pen)
                self._store(db, pen.log, pen.rows)
            finally:
                self._inside = None
            try:
                begun.commit()
            except sa.exc.DBAPIError as error:
                db.invalidate()
                if pen.rows and not self._is_there(pen.log, pen.rows[-1]):
                    raise _NotWritten from error
        return found

    def _pen(self, db: Connection) -> Pen:
        """Take the journal's end for ourselves until the transaction ends.

        Raises:
            JournalTampered: The end is not as it was left.
        """
        head = self._locked(db)
        # Only now: what is read with the lock itself would be as it was before we waited for it.
        found = db.execute(_END, {"tenant": self.tenant, "log": head.log, "seq": head.seq}).all()
        now, since_ns = found[0].now, time.monotonic_ns()
        rows = [Row(*row[1:]) for row in found if row.seq is not None]
        last = rows[-1] if rows else None
        why = bad_end(last, last if last and last.seq == head.seq else None, head)
        if not why and len(rows) > (head.seq > 0):
            why = f"there are records behind record {head.seq}, which is the last one that we wrote"
        record = read_row(last) if last else None
        if why:
            raise self._tampered(why)
        newest = record.at if isinstance(record, Record) else ""
        return Pen(self._writer, head, newest, _clock(now, since_ns), self._records_of)

    def _locked(self, db: Connection) -> Head:
        """The end, with a lock that nobody else gets before our transaction ends. A journal without records gets its id here."""
        query = sa.select(*_HEAD).where(JOURNAL.c.tenant == self.tenant).with_for_update()
        found = db.execute(query).one_or_none()
        if found is None:
            row = {"tenant": self.tenant, "log": secrets.token_hex(16), "head_seq": 0, "head_hash": bytes(32)}
            # Somebody else may be as fast.
            made = db.execute(insert(JOURNAL).values(row).on_conflict_do_nothing().returning(JOURNAL.c.log)).first()
            found = db.execute(query).one()
            if made is not None and self._has_records(db):
                raise self._tampered("there are records, and nothing says where they end")
        return Head(found.log, found.head_seq, found.head_hash.hex())

    def _has_records(self, db: Connection) -> bool:
        return db.execute(sa.select(RECORD.c.log).where(RECORD.c.tenant == self.tenant).limit(1)).first() is not None

    def _store(self, db: Connection, log: str, rows: list[Row]) -> None:
        """Send all rows in one statement; the database moves the head with them."""
        if rows:
            columns = {name: [row[at] for row in rows] for at, name in enumerate(Row._fields)}
            db.execute(_APPEND, {"tenant": self.tenant, "log": log, **columns})

    def _is_there(self, log: str, row: Row) -> bool:
        """Whether a record was written, when the answer to COMMIT was lost.

        Who sent it had the lock of the journal's end, and keeps it until the server knows how that transaction ended; so with the lock
        in our hands there is nothing left that could still happen.

        Raises:
            OutcomeUnknown: Nobody says.
        """
        until = time.monotonic() + LOOK_SECONDS
        while True:
            try:
                with turn(self._engine, self.tenant) as db:
                    self._locked(db)
                    where = (RECORD.c.tenant == self.tenant, RECORD.c.log == log, RECORD.c.seq == row.seq)
                    return bool(db.execute(sa.select(RECORD.c.hash).where(*where)).scalar() == row.hash)
            except JournalUnusable as failure:
                if time.monotonic() > until:
                    raise OutcomeUnknown(
                        f"it is not known whether record {row.seq} of the journal of {self.tenant} was written: {failure.what}",
                        not_done="it was not tried again",
                        hint="when the database is back, look where the operation stands before anything is done again",
                    ) from failure
                time.sleep(_PAUSE_S)

    def succeed(self, last: Entry, log: str, begin: Callable[[Row], list[Row]]) -> None:
        """End the present log with one more record, and begin another one. Only the owner of the tables may.

        Args:
            last: What the last record says.
            log: Id of the other log.
            begin: Given the last row, as nobody can write behind it any more, says what the other log begins with. What it raises goes
                through, and nothing is written.

        Raises:
            JournalUnusable, JournalTampered: It was not done; or the answer was lost: then look which log the tenant has.
        """
        with turn(self._engine, self.tenant) as db:
            db.execute(sa.text("SET LOCAL statement_timeout = 0"))
            db.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
            self._inside = db
            try:
                pen = self._pen(db)
                pen.write(last)
                rows = begin(pen.rows[-1])
                self._store(db, pen.log, pen.rows)
                other = {"log": log, "head_seq": 0, "head_hash": bytes(32)}
                db.execute(sa.update(JOURNAL).where(JOURNAL.c.tenant == self.tenant).values(other))
                self._store(db, log, rows)
            finally:
                self._inside = None

    def _publish_head(self) -> None:
        """It is written with the records."""

    # --- reading -------------------------------------------------------------------------------------------------------

    @property
    def is_made(self) -> bool:
        """See `Records`."""
        return self._end() is not None

    @property
    def last_seq(self) -> int:
        """See `Records`."""
        head = self._end()
        return head.seq if head else 0

    def leaves(self) -> bytes:
        """See `Records`."""
        with self._reading() as (db, log):
            query = "SELECT hash FROM record WHERE tenant = %(tenant)s AND log = %(log)s ORDER BY seq"
            return b"".join([row[0] for row in _fetch(db, query, {"tenant": self.tenant, "log": log})])

    def _rows(self, since: int, *, op: str | None = None, filed: bool = False, part: str = "") -> Iterator[Row]:
        wanted = {"AND op = %(op)s": op, "AND position(%(part)s in body) > 0": part.encode()}
        where = " ".join([clause for clause, value in wanted.items() if value] + ["AND op IS NOT NULL"] * filed)
        query = f"{_SELECT} AND seq > %(since)s {where} ORDER BY seq LIMIT {_BATCH}"
        while True:
            with self._reading() as (db, log):
                values = {"tenant": self.tenant, "log": log, "since": since, "op": op, "part": part.encode()}
                batch = [Row(*row) for row in _fetch(db, query, values)]
            yield from batch
            if len(batch) < _BATCH:
                return
            since = batch[-1].seq

    def _rows_of(self, op: str) -> list[Row]:
        with self._reading() as (db, log):
            values = {"tenant": self.tenant, "log": log, "op": op}
            return [Row(*row) for row in _fetch(db, f"{_SELECT} AND op = %(op)s ORDER BY seq", values)]

    def _last(self) -> Row | None:
        with self._reading() as (db, log):
            found = _fetch(db, f"{_SELECT} ORDER BY seq DESC LIMIT 1", {"tenant": self.tenant, "log": log})
        return Row(*found[0]) if found else None

    def examine(self, *, headless: bool = False) -> Examined:
        """See `Records`. What was read while somebody began another log is read again."""
        before, found = self._end(), super().examine(headless=headless)
        after = self._end()
        moved = before is not None and after is not None and before.log != after.log
        return super().examine(headless=headless) if moved and found.breaks else found

    def _runs(self) -> list[Run]:
        many = self.last_seq >= MANY
        with self._reading() as (db, log):
            rows = _all_rows(db, {"tenant": self.tenant, "log": log})
            if many:
                return sweep_stream(rows)
            run = sweep(rows)
        return [] if run is None else [run]

    def _seen(self) -> Head | str | None:
        head = self._end()
        if head is None:
            return None
        last = self._last()
        # Read afterwards, so records that were written meanwhile are fine; but the head is written with its record.
        now = self._end()
        if last and now and last.seq > now.seq:
            return f"there are records behind record {now.seq}, which is the last one that we wrote"
        return head

    def _end(self) -> Head | None:
        """The end as it was written with the last record; of an earlier log, as its rows tell; None if nothing was ever written."""
        if self._pinned:
            last = self._last()
            return Head(self._pinned, last.seq, last.hash.hex()) if last else None
        with turn(self._engine, self.tenant) as db:
            found = db.execute(sa.select(*_HEAD).where(JOURNAL.c.tenant == self.tenant)).one_or_none()
        return Head(found.log, found.head_seq, found.head_hash.hex()) if found else None

    def lost_head(self) -> Head | None:
        """Never: it is written in one transaction with the records."""
        return None

    def restore_head(self, head: Head) -> None:
        """See `lost_head`."""
        raise self._tampered(f"the head of record {head.seq} is in the database, and cannot be lost alone")

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, str]]:
        """The transaction that is open, or one for this question; and the id of the log."""
        if self._inside is not None:
            yield self._inside, self._log_of(self._inside)
            return
        with turn(self._engine, self.tenant) as db:
            yield db, self._log_of(db)

    def _log_of(self, db: Connection) -> str:
        if self._pinned:
            return self._pinned
        found = db.execute(sa.select(JOURNAL.c.log).where(JOURNAL.c.tenant == self.tenant)).scalar()
        if found is None:  # nothing was ever written; or what says where the log ends was taken away
            found = db.execute(sa.select(RECORD.c.log).where(RECORD.c.tenant == self.tenant).limit(1)).scalar()
        return found or ""

    def _tampered(self, why: str) -> JournalTampered:
        return JournalTampered(
            f"the journal of {self.tenant} is not as it was left: {why}",
            not_done="nothing was removed, and nothing was written",
            hint="see `go-cache-safeguard serve database check --thorough`; keep a backup of the database as it is now",
        )


_HEAD = (JOURNAL.c.log, JOURNAL.c.head_seq, JOURNAL.c.head_hash)


def _wrote_nothing(error: sa.exc.DBAPIError) -> bool:
    """Whether it may be tried again: before COMMIT was sent, a connection that is lost has written nothing."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _AGAIN


def _clock(now: datetime, since_ns: int) -> Callable[[], Stamp]:
    """The database's clock, which was read once, and goes on as ours does."""

    def stamp() -> Stamp:
        mono_ns = time.monotonic_ns()
        at = now + timedelta(microseconds=(mono_ns - since_ns) // 1000)
        return Stamp(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), mono_ns)

    return stamp


def _fetch(db: Connection, query: str, values: dict[str, Any]) -> Sequence[Any]:
    return db.exec_driver_sql(query, values).all()


def _all_rows(db: Connection, place: dict[str, str]) -> Iterator[tuple[int, str | None, bytes, bytes]]:
    query = f"{_SELECT} AND seq > %(since)s ORDER BY seq LIMIT {_BATCH}"
    since = -(1 << 63)
    while batch := _fetch(db, query, {**place, "since": since}):
        yield from batch
        if len(batch) < _BATCH:
            return
        since = batch[-1][0]
