"""How long questions take on a million spans, beside a scan of the same spans in Parquet by DuckDB.

Run: `python benchmarks/trace_query.py [--spans N] [--rounds N]`. Each question is asked by turns, of the store and of DuckDB, which
reads the columns it needs; the page cache is warm. DuckDB is not asked about attributes, which it would have to parse.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import duckdb

from go_cache_safeguard.signals.columns import Columns
from go_cache_safeguard.signals.query import parse_query, wider_sql
from go_cache_safeguard.signals.spanstore import SpanStore, asks_for_slow
from page import machine, median, write_section
from telemetry_spans import PER_TRACE, traces

GOAL_MS = 50.0
QUESTIONS = (
    "service=payment-gateway AND duration>3000ms",
    "duration>2s",
    "service=payment-gateway",
    "service=catalog AND status=error",
    "status=error AND attr.http.response.status_code>=500",
    "service=payment-gateway AND name=JedisPool.getResource",
    "name=JedisPool.getResource AND duration>500ms",
    "service=edge AND attr.http.response.status_code>=500",
    "service=cart AND name~Add AND duration>1ms",
)
SCANNED = 'service=orders AND attr.url.path="/p/77"'
"""A rare value of an attribute: no index is kept of those, so all spans of the service are read."""
LIMIT = 20
_PIECE = 500


def main() -> None:
    """Measure, print, and write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trace-query-") as folder:
        text = section(Path(folder), asked.rounds, asked.spans)
    if asked.dry:
        print(text)
    else:
        write_section("trace-query", text)


def section(folder: Path, rounds: int, count: int) -> str:
    """Fill the store and the same spans into Parquet, ask both by turns, and tell."""
    columns, ids = Columns(folder / "parquet"), []
    with SpanStore(folder / "spans.sqlite") as store, SpanStore(folder / "copy.sqlite") as copy:
        every = traces(count // PER_TRACE)
        for number, piece in enumerate(iter(lambda: [span for trace in islice(every, _PIECE) for span in trace], [])):
            store.put(piece)
            copy.put(piece)
            ids.append(piece[0].trace_id)
            if number % 10 == 9:
                while columns.move(copy, 1 << 62):
                    pass
        while columns.move(copy, 1 << 62):
            pass
        return told(store, str(columns.folder / "*.parquet"), rounds, ids)


def told(store: SpanStore, parts: str, rounds: int, ids: list[bytes]) -> str:
    """Ask, and say how long it took."""
    ours: dict[str, list[float]] = {question: [] for question in (*QUESTIONS, SCANNED)}
    theirs: dict[str, list[float]] = {question: [] for question in (*QUESTIONS, SCANNED)}
    by_trace = []
    with duckdb.connect(config={"threads": "1"}) as db:
        for at in range(rounds):
            for question in (*QUESTIONS, SCANNED):
                ours[question].append(timed(partial(find, store, question)))
                theirs[question].append(timed(partial(scan, db, parts, question)))
            by_trace.append(timed(partial(store.trace, ids[at % len(ids)])))
    whole = sorted(value for values in (*(ours[one] for one in QUESTIONS), by_trace) for value in values)
    p95 = whole[int(len(whole) * 0.95)]
    lines = [
        f"{store.size() / 1e6:,.0f} MB of spans, the {LIMIT} first answers, {rounds} rounds by turns, milliseconds. {machine()}",
        "",
        "| question | store, median | store, worst | scan of Parquet by DuckDB, median |",
        "| --- | ---: | ---: | ---: |",
        f"| one trace by its id | {median(by_trace):.2f} | {max(by_trace):.2f} | |",
        *(
            f"| `{one}` | {median(ours[one]):.2f} | {max(ours[one]):.2f} | {median(theirs[one]):.1f} |"
            for one in (*QUESTIONS, SCANNED)
        ),
        "",
        "The last question has no index: every span of the service is read. It is not part of the figure below.",
        "",
        f"95 of 100 questions take at most {p95:.1f} ms; goal: {'met' if p95 <= GOAL_MS else '**not met**'} ({GOAL_MS:g}).",
    ]
    return "\n".join(lines)


def find(store: SpanStore, question: str) -> object:
    """What `traces query` does."""
    return store.find(parse_query(question), limit=LIMIT)


def scan(db: duckdb.DuckDBPyConnection, parts: str, question: str) -> object:
    """The same question without what is asked of attributes, to Parquet."""
    query = parse_query(question)
    asked, order = wider_sql(query), "duration_ns" if asks_for_slow(query) else "end_ns"
    text = f"SELECT * FROM read_parquet(?) WHERE {asked.where} ORDER BY {order} DESC LIMIT {LIMIT}"  # noqa: S608 - questions of ours
    return db.execute(text, [parts, *asked.parameters]).fetchall()


def timed(ask: Callable[[], object]) -> float:
    """How long it takes, in milliseconds."""
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1_000


if __name__ == "__main__":
    main()
