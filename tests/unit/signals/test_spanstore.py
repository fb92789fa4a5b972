"""The store: what is kept comes back, what is old goes, and what is not ours is refused."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from faulty_traces import BEGIN_NS, made
from go_cache_safeguard.flows.receiver import let_go
from go_cache_safeguard.flows.traces import NoSuchTrace, Spans
from go_cache_safeguard.signals.columns import Columns
from go_cache_safeguard.signals.query import EVERYTHING, parse_query
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanstore import SpanStore, SpanStoreUnusable

DAY_NS = 86_400 * 10**9


def test_a_span_sent_twice_is_one_and_the_later_counts(tmp_path: Path) -> None:
    spans = made("shop", 3, 1)
    with SpanStore(tmp_path / "s") as store:
        store.put(spans)
        store.put([replace(spans[0], message="ended after all"), replace(spans[0], tenant="other")])
        found = store.find(EVERYTHING, limit=1000)
        assert len(found) == len(spans) + 1
        assert {span.message for span in store.trace(spans[0].trace_id)} == {"", "ended after all"}


def test_a_window_holds_what_ended_in_it_and_seconds_are_counted_before_sampling(tmp_path: Path) -> None:
    spans = made("shop", 10, 1)
    with SpanStore(tmp_path / "s") as store:
        store.observe(spans)
        assert store.services() == ("cart", "catalog", "edge", "fraud", "payment-gateway")
        store.put(spans[:1])
        ends = sorted(span.end_ns for span in spans if span.service == "edge" and span.is_entry)
        assert len(ends) == 10
        counted = store.series("edge", BEGIN_NS, BEGIN_NS + 10**12)
        assert [second.second for second in counted] == [end // 10**9 for end in ends]
        assert sum(sum(second.durations.values()) for second in counted) == 10
        store.put(spans)
        own = [span for span in spans if span.service == "edge" and ends[2] <= span.end_ns < ends[5]]
        assert sorted(store.window("edge", ends[2], ends[5]), key=_id) == sorted(own, key=_id)


def _id(span: Span) -> bytes:
    return span.span_id


def test_slow_spans_come_slowest_first_and_others_newest_first(tmp_path: Path) -> None:
    spans = [replace(span, end_ns=span.end_ns + 60_000_000) for span in made("shop", 5, 1)]
    with SpanStore(tmp_path / "s") as store:
        store.put(spans)
        slow = store.find(parse_query("duration>60ms"), limit=3)
        assert [span.duration_ns for span in slow] == sorted((span.duration_ns for span in spans), reverse=True)[:3]
        newest = store.find(parse_query("duration>1ns"), limit=3)
        assert [span.end_ns for span in newest] == sorted((span.end_ns for span in spans), reverse=True)[:3]
        assert store.find(EVERYTHING, limit=9, end_ns=BEGIN_NS) == ()


def test_older_spans_move_to_parquet_and_answer_from_there_and_whole_days_go(tmp_path: Path) -> None:
    days = [
        [
            replace(span, start_ns=span.start_ns + day * DAY_NS, end_ns=span.end_ns + day * DAY_NS, tenant=str(day))
            for span in made("shop", 8, day)
        ]
        for day in range(4)
    ]
    every = [span for day in days for span in day]
    with SpanStore(tmp_path / "s") as store:
        store.put(every, observe=True)
        columns = Columns(tmp_path / "parquet")
        before = [columns.move(store, BEGIN_NS + 3 * DAY_NS) for _ in range(4)]
        assert before == [*(len(day) for day in days[:3]), 0]
        spans = Spans(store, columns)
        assert sorted(spans.find(EVERYTHING, limit=10_000), key=_id) == sorted(every, key=_id)
        assert spans.trace(days[1][0].trace_id) == tuple(
            sorted(
                (one for one in every if one.trace_id == days[1][0].trace_id),
                key=lambda one: (one.start_ns, -one.end_ns),
            )
        )
        question = parse_query("service=cart AND attr.db.system=postgresql AND NOT tenant=2")
        assert len(spans.find(question, limit=1000)) == sum(
            one.service == "cart" and "db.system" in one.attributes and one.tenant != "2" for one in every
        )
        assert sum(total.spans for total in spans.totals(EVERYTHING)) == len(every)
        assert sum(total.spans for total in spans.totals(question)) == len(spans.find(question, limit=1000))
        orphan = columns.folder / f"{store.parts()[0].day}-1-1.parquet"
        orphan.write_bytes(b"left by a crash")
        (columns.folder / "mine.txt").write_text("somebody else's")
        let_go(store, columns, BEGIN_NS + DAY_NS, 1 << 40)
        assert len(store.parts()) == 2
        assert sorted(path.name for path in columns.folder.iterdir()) == sorted(
            ["mine.txt", *(part.name for part in store.parts())]
        )
        with pytest.raises(NoSuchTrace):
            spans.trace(days[0][0].trace_id)
        let_go(store, columns, 0, 1)
        assert spans.find(EVERYTHING, limit=10) == ()
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "s", tmp_path / "parquet")} == {"0o600", "0o700"}


def test_retention_takes_spans_counts_and_resources(tmp_path: Path) -> None:
    old = made("shop", 5, 1)
    new = [
        replace(span, end_ns=span.end_ns + DAY_NS, start_ns=span.start_ns + DAY_NS, resource={"host": "n"})
        for span in made("shop", 2, 2)
    ]
    with SpanStore(tmp_path / "s") as store:
        store.put([replace(span, resource={"host": "gone-host"}) for span in old], observe=True)
        store.put(new, observe=True)
        assert store.retain(BEGIN_NS + DAY_NS) == len(old)
        assert len(store.find(EVERYTHING, limit=1000)) == len(new)
        assert sum(second.requests for second in store.series("edge", 0, 1 << 62)) == 2
        store.shrink(0)
        assert store.find(EVERYTHING, limit=1) == ()
    with sqlite3.connect(tmp_path / "s") as db:
        assert db.execute("SELECT resource FROM resources").fetchall() == [('{"host":"n"}',)]


def test_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpanStoreUnusable, match="is not there"):
        SpanStore(tmp_path / "none", read_only=True)
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(SpanStoreUnusable):
        SpanStore(tmp_path / "text")
    with SpanStore(tmp_path / "newer"):
        pass
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SpanStoreUnusable, match="version 1"):
        SpanStore(tmp_path / "newer")
    with SpanStore(tmp_path / "s") as store:
        store.put(made("shop", 1, 1))
    with SpanStore(tmp_path / "s", read_only=True) as store, pytest.raises(SpanStoreUnusable):
        store.put(made("shop", 1, 2))
