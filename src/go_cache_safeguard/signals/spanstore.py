"""Spans on disk, in SQLite: what is looked up by trace, by service and time, by service and duration.

Knows:     the tables, what is durable when, and how old spans go.
Called by: `flows`, and the receiver.
Never:     redacts: what comes here has been redacted. Acknowledges what is not committed, and keeps nothing from readers for long.

One `SpanStore` belongs to one thread. Others open their own; readers and one writer do not wait for each other (WAL), and a commit
is on disk when `put` returns. A span that is sent twice is one span: the later one counts.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.query import All, Comparison, Field, Operator, Query, float_or_int, sql
from go_cache_safeguard.signals.red import SECOND_NS, Second, counted
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanrow import resource_id, rows, span_of

SLOW_NS = 50_000_000
"""Only spans that took so long are in order of duration: an index of all would cost more than all other writing."""
VERSION = 1
"""Of the tables."""
_APPLICATION = 0x67637373
_WAIT_S = 10
_CHUNK = 2_000
"""Rows that go in one transaction, so that whoever puts spans waits a few milliseconds only."""
_LIMIT = 1_000_000
_FOREVER = (1 << 63) - 1
_COLUMNS = (
    "trace, span, parent, service, tenant, name, kind, status, message, end_ns, duration_ns, attributes, resource, rest"
)
_FROM = "spans JOIN resources ON resources.id = spans.resource_id"
_TABLES = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE resources (id INTEGER PRIMARY KEY, resource TEXT NOT NULL, last_ns INTEGER NOT NULL);
CREATE TABLE spans (
    number INTEGER PRIMARY KEY,
    trace BLOB NOT NULL, span BLOB NOT NULL, parent BLOB NOT NULL,
    service TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL,
    kind INTEGER NOT NULL, status INTEGER NOT NULL, message TEXT NOT NULL,
    end_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL,
    attributes TEXT NOT NULL, resource_id INTEGER NOT NULL, rest TEXT NOT NULL
);
CREATE UNIQUE INDEX spans_once ON spans (trace, span, kind, tenant);
CREATE INDEX spans_ended ON spans (end_ns);
CREATE INDEX spans_by_service ON spans (service, end_ns);
CREATE INDEX spans_slow ON spans (duration_ns) WHERE duration_ns >= {SLOW_NS};
CREATE INDEX spans_slow_by_service ON spans (service, duration_ns) WHERE duration_ns >= {SLOW_NS};
CREATE INDEX spans_by_name ON spans (name, end_ns);
CREATE INDEX spans_failed ON spans (end_ns) WHERE status = 2;
CREATE INDEX spans_failed_by_service ON spans (service, end_ns) WHERE status = 2;
CREATE TABLE seconds (
    service TEXT NOT NULL, second INTEGER NOT NULL, bucket INTEGER NOT NULL, requests REAL NOT NULL, errors REAL NOT NULL,
    PRIMARY KEY (service, second, bucket)
) WITHOUT ROWID;
CREATE TABLE parts (
    name TEXT PRIMARY KEY, day TEXT NOT NULL, spans INTEGER NOT NULL, bytes INTEGER NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


class SpanStoreUnusable(Failure):
    """The file of spans cannot be used."""

    id = "span-store-unusable"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "the store of spans is missing, damaged, of another version, or cannot be written"


class SpanStoreFull(SpanStoreUnusable):
    """There is no room for more spans."""

    id = "span-store-full"
    exit_code = ExitCode.TARGET
    meaning = "there is no room on the disk for more spans"


class SpanStoreBusy(SpanStoreUnusable):
    """Another process writes for too long."""

    id = "span-store-busy"
    exit_code = ExitCode.LOCKED
    meaning = "another process writes to the store of spans for too long"


@dataclass(frozen=True, slots=True)
class Part:
    """Spans of one day that lie in a Parquet file.

    Attributes:
        name: Of the file.
        day: UTC, `2026-11-23`.
        spans: How many.
        bytes: Of the file.
        first_ns: End of the earliest of them.
        last_ns: End of the latest of them.
    """

    name: str
    day: str
    spans: int
    bytes: int
    first_ns: int
    last_ns: int


class SpanStore:
    """An open store. Use it in a `with` statement.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open it, and make it unless it is only read.

        Raises:
            SpanStoreUnusable: It is not there, not ours, or not of this version.
        """
        self.path = path
        with self._told():
            self._db = self._open(read_only=read_only)

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        if read_only and not self.path.exists():
            raise SpanStoreUnusable(
                f"{self.path} is not there", not_done="nothing was read", hint="`traces receive` makes it"
            )
        if not read_only:
            self.path.touch(mode=0o600)
        address = f"{self.path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
        db = sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None)
        try:
            self._prepare(db, read_only=read_only)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection, *, read_only: bool) -> None:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -64000")
        db.execute("PRAGMA wal_autocheckpoint = 8000")
        if not read_only and self._version(db) == 0:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if self._version(db) == 0:  # nobody else was faster
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
            db.execute("COMMIT")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        if (application, self._version(db)) != (_APPLICATION, VERSION):
            raise SpanStoreUnusable(
                f"{self.path} is no store of spans of version {VERSION}",
                not_done="nothing was read or written",
                hint="use the program that wrote it, or name another state directory",
            )

    @staticmethod
    def _version(db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA user_version").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._db.close()

    # --- writing -------------------------------------------------------------------------------------------------------

    def put(self, spans: Sequence[Span], *, observe: bool = False) -> int:
        """Keep spans; they are on disk when this returns.

        Args:
            spans: Redacted.
            observe: Count them as well, in the same transaction; see `observe`.

        Returns:
            How many were given.

        Raises:
            SpanStoreFull: There is no room; nothing was kept.
            SpanStoreUnusable: They cannot be written; nothing was kept.
        """
        made = rows(spans)
        last_ns = max((row.end_ns for row in made), default=0)  # of all: exact enough for the retention of resources
        ids = {text: resource_id(text) for text in {row.resource for row in made}}
        with self._writing():
            self._db.executemany(
                "INSERT INTO resources VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET last_ns = max(last_ns, excluded.last_ns)",
                [(number, text, last_ns) for text, number in ids.items()],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO spans VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row[:12], ids[row.resource], row.rest) for row in made],
            )
            if observe:
                self._observe(spans)
        return len(made)

    def observe(self, spans: Iterable[Span]) -> None:
        """Count requests of spans, also of those that will be thrown away: call it before any sampling.

        Raises:
            SpanStoreUnusable: They cannot be written.
        """
        with self._writing():
            self._observe(spans)

    def _observe(self, spans: Iterable[Span]) -> None:
        self._db.executemany(
            "INSERT INTO seconds VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET requests = requests + excluded.requests, errors = errors + excluded.errors",
            [(*place, count.requests, count.errors) for place, count in counted(spans).items()],
        )

    # --- reading -------------------------------------------------------------------------------------------------------

    def trace(self, trace_id: bytes) -> tuple[Span, ...]:
        """Every span of a trace, the earliest first."""
        found = self._spans(_select("trace = ?"), (trace_id,))
        return tuple(sorted(found, key=lambda span: (span.start_ns, -span.end_ns)))

    def find(self, query: Query, *, limit: int, start_ns: int = 0, end_ns: int = _FOREVER) -> tuple[Span, ...]:
        """Spans for which a question holds: the slowest first if it asks for slow ones, else the newest first.

        Args:
            query: The question.
            limit: At most so many.
            start_ns: They ended then, or later.
            end_ns: They ended before.
        """
        asked, source, time, order = sql(query), _FROM, "end_ns >= ? AND end_ns < ?", "end_ns"
        if asks_for_slow(query):
            # The condition of the indexes in their own words, and which one: SQLite cannot know how few slow spans there are.
            time, order = f"+end_ns >= ? AND +end_ns < ? AND duration_ns >= {SLOW_NS}", "duration_ns"
            source = _FROM.replace("spans ", f"spans INDEXED BY {_slow_index(query)} ", 1)
        statement = _select(f"{asked.where} AND {time} ORDER BY {order} DESC LIMIT ?", source=source)
        return tuple(self._spans(statement, (*asked.parameters, start_ns, end_ns, min(limit, _LIMIT))))

    def window(self, service: str, start_ns: int, end_ns: int) -> Iterator[Span]:
        """Spans of a service that ended from `start_ns` on and before `end_ns`, in that order."""
        return self._spans(
            _select("service = ? AND end_ns >= ? AND end_ns < ? ORDER BY end_ns"),
            (service, start_ns, end_ns),
        )

    def series(self, service: str, start_ns: int, end_ns: int) -> tuple[Second, ...]:
        """What was counted of a service, second by second; seconds without requests are missing."""
        found: dict[int, tuple[float, float, dict[int, float]]] = {}
        with self._told():
            read = self._db.execute(
                "SELECT second, bucket, requests, errors FROM seconds WHERE service = ? AND second >= ? AND second < ?"
                " ORDER BY second, bucket",
                (service, start_ns // SECOND_NS, -(-end_ns // SECOND_NS)),
            )
            for second, bucket, requests, errors in read:
                before, failed, durations = found.get(second, (0.0, 0.0, {}))
                found[second] = (before + requests, failed + errors, {**durations, bucket: requests})
        return tuple(Second(service, at, *counts) for at, counts in found.items())

    def services(self) -> tuple[str, ...]:
        """Every service of which something is known here, by name."""
        with self._told():
            read = self._db.execute(
                # One step of the index for each service, not one for each span.
                "WITH RECURSIVE one (service) AS (SELECT min(service) FROM spans UNION ALL"
                " SELECT (SELECT min(service) FROM spans WHERE service > one.service) FROM one WHERE one.service IS NOT NULL),"
                " two (service) AS (SELECT min(service) FROM seconds UNION ALL"
                " SELECT (SELECT min(service) FROM seconds WHERE service > two.service) FROM two WHERE two.service IS NOT NULL)"
                " SELECT service FROM one WHERE service IS NOT NULL UNION SELECT service FROM two WHERE service IS NOT NULL"
                " ORDER BY 1"
            )
            return tuple(row[0] for row in read)

    def size(self) -> int:
        """Bytes that are in use."""
        with self._told():
            pages, unused, page = (
                int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - unused) * page

    def _spans(self, statement: str, parameters: Sequence[object]) -> Iterator[Span]:
        with self._told():
            for row in self._db.execute(statement, parameters):
                yield span_of(row)

    # --- letting go ----------------------------------------------------------------------------------------------------

    def retain(self, before_ns: int) -> int:
        """Let go of what ended before: spans, counts, and resources that nothing names any more.

        Returns:
            How many spans went.
        """
        gone = 0
        while went := self._drop(before_ns):
            gone += went
        with self._writing():
            self._db.execute("DELETE FROM resources WHERE last_ns < ?", (before_ns,))
            self._db.execute("DELETE FROM seconds WHERE second < ?", (before_ns // SECOND_NS,))
        self._give_back()
        return gone

    def shrink(self, most_bytes: int) -> int:
        """Let go of the oldest spans until so many bytes are enough.

        Returns:
            How many spans went.
        """
        gone = 0
        while self.size() > most_bytes and (went := self._drop(_FOREVER)):
            gone += went
        self._give_back()
        return gone

    def _drop(self, before_ns: int) -> int:
        oldest = "SELECT number FROM spans WHERE end_ns < ? ORDER BY end_ns LIMIT ?"
        with self._writing():
            return self._db.execute(f"DELETE FROM spans WHERE number IN ({oldest})", (before_ns, _CHUNK)).rowcount  # noqa: S608 - the text above

    def _give_back(self) -> None:
        """Pages that are not needed go back to the disk."""
        with self._told():
            self._db.execute("PRAGMA incremental_vacuum").fetchall()

    # --- parts: spans that moved to Parquet ----------------------------------------------------------------------------

    def parts(self) -> tuple[Part, ...]:
        """What lies in Parquet files, the oldest first."""
        with self._told():
            read = self._db.execute("SELECT name, day, spans, bytes, first_ns, last_ns FROM parts ORDER BY day, name")
            return tuple(Part(*row) for row in read)

    def oldest(self, before_ns: int, limit: int) -> tuple[tuple[int, ...], list[tuple[object, ...]]]:
        """Numbers and rows (in the order of `spanrow.COLUMNS`) of the oldest spans that ended before."""
        with self._told():
            read = self._db.execute(
                _select("end_ns < ? ORDER BY end_ns LIMIT ?", first="number, "),
                (before_ns, limit),
            ).fetchall()
        return tuple(row[0] for row in read), [row[1:] for row in read]

    def moved(self, numbers: Sequence[int], part: Part) -> None:
        """These spans are in that file now, which is on disk: at once they are no longer here."""
        with self._writing():
            self._db.executemany("DELETE FROM spans WHERE number = ?", [(number,) for number in numbers])
            self._db.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)",
                (part.name, part.day, part.spans, part.bytes, part.first_ns, part.last_ns),
            )

    def forget(self, parts: Iterable[Part]) -> None:
        """These files count no longer; whoever calls removes them then."""
        with self._writing():
            self._db.executemany("DELETE FROM parts WHERE name = ?", [(part.name,) for part in parts])

    # --- the file ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _failure(self.path, error) from error
        except OSError as error:
            raise SpanStoreUnusable(
                f"{self.path} cannot be opened: {error.strerror}", not_done="nothing was read or written"
            ) from error


def _select(where: str, *, first: str = "", source: str = _FROM) -> str:
    """Of our own words and those of `query.sql`: whatever somebody typed is a parameter."""
    return f"SELECT {first}{_COLUMNS} FROM {source} WHERE {where}"  # noqa: S608 - see above


def _failure(path: Path, error: sqlite3.Error) -> SpanStoreUnusable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return SpanStoreFull(
            f"{path} cannot grow: {error}", not_done="no span was kept", hint="make room, or set signals.keep shorter"
        )
    kind = SpanStoreBusy if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else SpanStoreUnusable
    return kind(f"{path} cannot be used: {error}", not_done="nothing was read or written")


def asks_for_slow(query: Query) -> bool:
    """Whether every answer has to be slow."""
    return any(
        part.field is Field.DURATION
        and part.operator in {Operator.MORE, Operator.LEAST}
        and float_or_int(part.wanted) >= SLOW_NS
        for part in _sure(query)
    )


def _slow_index(query: Query) -> str:
    named = {part.field for part in _sure(query) if part.operator is Operator.IS}
    if Field.TRACE in named:
        return "spans_once"
    return "spans_slow_by_service" if Field.SERVICE in named else "spans_slow"


def _sure(query: Query) -> list[Comparison]:
    """Comparisons that hold for every answer."""
    parts = query.parts if isinstance(query, All) else (query,)
    return [part for part in parts if isinstance(part, Comparison)]
