"""Older spans in Parquet, a folder of parts by day; sums over all spans, old and new.

Knows:     how rows become a part, which parts count (the store's table says so), and how they are asked and let go.
Called by: `flows.traces`, `flows.receiver`.
Never:     removes a file that is not a part in its own folder; lets a span be in neither place: its part is on disk before its row goes.
Source:    Parquet statistics per row group let DuckDB skip what lies outside of a service and a time; rows are written in that order.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.query import Query, matches, wider_sql
from go_cache_safeguard.signals.red import SECOND_NS
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanrow import COLUMNS, span_of
from go_cache_safeguard.signals.spanstore import Part, SpanStore, asks_for_slow

if TYPE_CHECKING:
    import duckdb

_NAME = re.compile(r"\d{4}-\d{2}-\d{2}-\d{1,19}-\d{1,19}\.parquet", re.ASCII)
_DAY_NS = 86_400 * SECOND_NS
_AT_ONCE = 50_000
"""Rows of one part at most: what is moved in one go, and held in memory meanwhile."""
_BATCH = 1_000
_MEMORY = "256MB"
_IDS = frozenset({"trace", "span", "parent"})
_TOTALS = (
    "service, name, count(*), count(*) FILTER (status = 2), quantile_cont(duration_ns, 0.5) / 1e6,"
    " quantile_cont(duration_ns, 0.95) / 1e6, max(duration_ns) / 1e6"
)


class ColumnsUnusable(Failure):
    """Parts of older spans cannot be read or written."""

    id = "columns-unusable"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "the Parquet files of older spans cannot be read or written"


@dataclass(frozen=True, slots=True)
class Total:
    """Every span of one name in one service.

    Attributes:
        service: Its service.
        name: What it does.
        spans: How many there are.
        errors: How many of them failed.
        p50_ms: Half of them took no longer.
        p95_ms: 95 of 100 took no longer.
        most_ms: The slowest.
    """

    service: str
    name: str
    spans: int
    errors: int
    p50_ms: float
    p95_ms: float
    most_ms: float


class Columns:
    """The folder of parts.

    Attributes:
        folder: For parts only, and for their owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # --- moving and letting go -----------------------------------------------------------------------------------------

    def move(self, store: SpanStore, before_ns: int) -> int:
        """Move the oldest spans of one day into a new part.

        Returns:
            How many went; 0 when there is none.

        Raises:
            ColumnsUnusable: The part cannot be written; every span is where it was.
        """
        with self._locked() as folder:
            numbers, rows = store.oldest(before_ns, _AT_ONCE)
            if not rows:
                return 0
            ended = COLUMNS.index("end_ns")
            ends = [_whole(row[ended]) for row in rows]
            day = ends[0] // _DAY_NS
            count = sum(1 for end_ns in ends if end_ns // _DAY_NS == day)  # they come in the order of time
            part = self._write(rows[:count], ends[:count], f"{_day(ends[0])}-{numbers[0]}-{ends[count - 1]}.parquet")
            os.fsync(folder)
            store.moved(numbers[:count], part)
        return count

    def _write(self, rows: Sequence[tuple[object, ...]], ends: Sequence[int], name: str) -> Part:
        import numpy as np  # noqa: PLC0415 - only where parts are written

        path = self.folder / name
        # Read by DuckDB by its name.
        part = {
            column: np.array([one.hex() if isinstance(one, bytes) else one for one in values], dtype=_dtype(column))
            for column, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
        }
        made = ", ".join(f"unhex({column}) AS {column}" if column in _IDS else column for column in COLUMNS)
        with self._asking() as db:
            db.register("part", part)
            select = f"SELECT {made} FROM part ORDER BY service, end_ns"  # noqa: S608 - names of columns, ours
            where = str(path).replace("'", "''")
            # COPY takes no parameter for a file's name; a quote in it is doubled.
            db.execute(f"COPY ({select}) TO '{where}' (FORMAT parquet, CODEC zstd)")
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        return Part(name, _day(ends[0]), len(rows), size, ends[0], ends[-1])

    def let_go(self, store: SpanStore, parts: Sequence[Part]) -> None:
        """Forget parts, and remove their files and those that a crash left without a row in the store."""
        with self._locked() as folder:
            store.forget(parts)
            known = {part.name for part in store.parts()}
            for path in self.folder.iterdir():
                if _NAME.fullmatch(path.name) and path.name not in known:
                    os.unlink(path.name, dir_fd=folder)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(folder)

    # --- asking --------------------------------------------------------------------------------------------------------

    def trace(self, parts: Sequence[Part], trace_id: bytes) -> tuple[Span, ...]:
        """Every span of a trace in these parts."""
        return tuple(self._rows(parts, "trace = ?", [trace_id]))

    def find(self, parts: Sequence[Part], query: Query, *, limit: int, start_ns: int, end_ns: int) -> tuple[Span, ...]:
        """See `SpanStore.find`."""
        asked = wider_sql(query)
        order = "duration_ns" if asks_for_slow(query) else "end_ns"
        where = f"({asked.where}) AND end_ns >= ? AND end_ns < ? ORDER BY {order} DESC"
        found: list[Span] = []
        for span in self._rows(_between(parts, start_ns, end_ns), where, [*asked.parameters, start_ns, end_ns]):
            if matches(query, span):
                found.append(span)
                if len(found) >= limit:
                    break
        return tuple(found)

    def totals(self, parts: Sequence[Part], newer: Sequence[Span], start_ns: int, end_ns: int) -> tuple[Total, ...]:
        """Sums by service and name over these parts and over spans that are in none, the most numerous first."""
        import numpy as np  # noqa: PLC0415 - only here

        columns = ("service", "name", "status", "duration_ns", "end_ns")
        live = {name: np.array([getattr(span, name) for span in newer], dtype=_dtype(name)) for name in columns}
        names = ", ".join(columns)
        sources = [f"SELECT {names} FROM live"]  # noqa: S608 - names of ours
        chosen = _between(parts, start_ns, end_ns)
        if chosen:
            sources.append(f"SELECT {names} FROM read_parquet(?)")  # noqa: S608 - likewise
        with self._asking() as db:
            db.register("live", live)
            found = db.execute(
                f"SELECT {_TOTALS} FROM ({' UNION ALL '.join(sources)}) WHERE end_ns >= ? AND end_ns < ?"  # noqa: S608 - as above
                " GROUP BY service, name ORDER BY 3 DESC, 1, 2",
                [*([self._paths(chosen)] if chosen else []), start_ns, end_ns],
            ).fetchall()
        return tuple(Total(*row) for row in found)

    def _rows(self, parts: Sequence[Part], where: str, parameters: Sequence[object]) -> Iterator[Span]:
        if not parts:
            return
        with self._asking() as db:
            read = db.execute(
                f"SELECT {', '.join(COLUMNS)} FROM read_parquet(?) WHERE {where}",  # noqa: S608 - of our own words
                [self._paths(parts), *parameters],
            )
            while rows := read.fetchmany(_BATCH):
                for row in rows:
                    yield span_of(row)

    def _paths(self, parts: Sequence[Part]) -> list[str]:
        return [str(self.folder / part.name) for part in parts]

    @contextmanager
    def _asking(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        import duckdb  # noqa: PLC0415 - heavy: only where parts are read or written

        try:
            with duckdb.connect(
                config={"memory_limit": _MEMORY, "threads": "1", "autoinstall_known_extensions": "false"}
            ) as db:
                yield db
        except (duckdb.Error, OSError) as error:
            raise ColumnsUnusable(
                f"{self.folder}: {error}", not_done="older spans were not read or moved", hint="ask again"
            ) from error


def _dtype(column: str) -> str:
    return "int64" if column in {"kind", "status", "end_ns", "duration_ns"} else "object"


def _between(parts: Sequence[Part], start_ns: int, end_ns: int) -> list[Part]:
    return [part for part in parts if part.last_ns >= start_ns and part.first_ns < end_ns]


def _day(end_ns: int) -> str:
    return datetime.fromtimestamp(end_ns // SECOND_NS, UTC).strftime("%Y-%m-%d")


def _whole(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - the column is declared so
    return value
