"""The buffer stays within its memory, decides what it lets go, and loses what must be kept last."""

from dataclasses import dataclass

import pytest

from go_cache_safeguard.telemetry.buffer import ERROR_BIT, OPEN_BYTES, UNSET_BIT, TraceBuffer, sizes
from go_cache_safeguard.telemetry.rules import Buffer, RuleFile, default_rules, parse_rules
from go_cache_safeguard.telemetry.sampling import threshold

HALF = {"adaptive": {"least": "50%", "most": "50%"}}
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class One:
    """A span."""

    trace: int
    own: int
    parent: int = 0
    name: str = ""
    service: str = "pay"

    @property
    def attributes(self) -> dict[str, object]:
        return {}

    resource = attributes


class Bench:
    """A buffer and its spans; traces with an odd id are kept by chance, others are not."""

    def __init__(self, **limits: int) -> None:
        errors = {"name": "errors", "when": {"status": "error"}, "keep": "always"}
        slow = {"name": "slow", "when": {"duration_over": "10s"}, "keep": "always"}
        parsed = parse_rules({"sampling": [errors, slow, {"name": "rest", "keep": HALF}]})
        self.rules = RuleFile(parsed.rules, buffer=Buffer(**limits))
        edge = threshold(0.5)
        self.buffer = TraceBuffer[One](
            self.rules,
            chance=lambda one: edge if one.trace % 2 else 0,
            family=lambda one: (one.own, one.parent),
            inside=lambda one: one,
        )

    def start(self, now_s: int, one: One) -> None:
        self.buffer.started(now_s * SECOND, one.trace, one.own, one)

    def end(self, now_s: int, one: One, *, error: bool = False, size: int = 1_000) -> None:
        bit = ERROR_BIT if error else UNSET_BIT
        self.buffer.ended(now_s * SECOND, one.trace, one.own, one, now_s * SECOND, now_s * SECOND, bit, size)

    def taken(self) -> list[int]:
        return [one.own for parcel in self.buffer.take(1_000_000) for one in parcel.spans]


def test_a_trace_is_decided_when_nothing_of_it_is_open() -> None:
    bench = Bench()
    root, child = One(1, 1), One(1, 2, parent=1)
    bench.start(0, root)
    bench.start(0, child)
    bench.end(1, child)
    assert bench.taken() == []
    bench.end(1, root)
    assert bench.taken() == [2, 1]
    assert bench.buffer.meter().buffered == 0


def test_a_flood_stays_within_the_memory_and_loses_nothing_that_must_be_kept() -> None:
    limit = 200_000
    bench = Bench(memory=limit, recorder_memory=50_000, decisions=100)
    for at in range(5_000):
        bench.end(0, One(at, at), error=at % 50 == 0)
        assert bench.buffer.meter().buffered <= limit + 50_000
    kept = bench.taken()
    assert {at for at in range(5_000) if at % 50 == 0} <= set(kept)
    meter = bench.buffer.meter()
    assert set(meter.dropped) == {"sampled", "queue_full"}
    assert meter.lost == 2_500 - (len(kept) - 100)
    assert meter.completeness < 0.1


def test_only_what_must_be_kept_can_push_out_what_must_be_kept() -> None:
    bench = Bench(memory=10_000)
    for at in range(0, 30, 2):
        bench.end(0, One(at, at), error=True)
    assert bench.taken() == list(range(10, 30, 2))
    assert bench.buffer.meter().dropped == {"must_keep_overflow": 5}


def test_too_many_traces_are_decided_early_by_the_rules_and_the_oldest_first() -> None:
    bench = Bench(memory=30_000 + 20 * OPEN_BYTES)
    for at in range(20):
        bench.start(0, One(at, at))
        bench.end(0, One(at, 100 + at), error=at == 0, size=1_000)
        bench.end(0, One(at, 200 + at), size=1_000)
    assert bench.buffer.meter().open == 20
    taken = bench.taken()
    assert taken[:2] == [100, 200]
    assert set(taken) <= {100, 200, *range(101, 300, 2)}
    assert bench.buffer.meter().buffered <= 30_000 + 20 * OPEN_BYTES + Buffer().recorder_memory


def test_a_root_that_does_not_end_is_not_waited_for_and_counts_as_slow_when_it_is() -> None:
    bench = Bench(wait_ms=5_000)
    for trace, begun in ((1, 0), (2, 0)):
        bench.start(begun, One(trace, trace))
        bench.end(begun, One(trace, trace + 10, parent=trace))
    bench.buffer.tick(4 * SECOND)
    assert bench.taken() == []
    bench.buffer.tick(5 * SECOND)
    assert bench.taken() == [11]
    assert bench.buffer.meter().parents_unknown == 0
    bench.end(6, One(1, 1))
    assert bench.taken() == [1]
    patient = Bench(wait_ms=20_000)
    patient.start(0, One(2, 2))
    patient.end(0, One(2, 12, parent=2))
    patient.buffer.tick(20 * SECOND)
    assert patient.taken() == [12]


def test_a_parent_that_nobody_saw_is_counted_until_it_comes() -> None:
    bench = Bench()
    bench.end(0, One(1, 2, parent=1))
    assert bench.taken() == [2]
    meter = bench.buffer.meter()
    assert meter.parents_unknown == 1
    bench.end(0, One(1, 1))
    assert (bench.taken(), bench.buffer.meter().parents_unknown) == ([1], 0)


def test_open_spans_are_reported_when_they_are_old_or_too_many() -> None:
    bench = Bench(watchdog_ms=5_000, memory=OPEN_BYTES * 20)
    for at in range(8):
        bench.start(at, One(at, at))
    assert [one.own for one in bench.buffer.overdue(6 * SECOND)] == [0, 1]
    for at in range(8, 13):
        bench.start(8, One(at, at))
    assert len(bench.buffer.overdue(0)) == 3
    assert len(bench.buffer.overdue(0, everything=True)) == 13


def test_dropped_traces_are_remembered_for_a_time_and_within_their_memory() -> None:
    bench = Bench(recorder_ms=5_000, recorder_memory=3_000)
    for at in range(0, 10, 2):
        bench.end(at, One(at, at))
    assert bench.buffer.meter().buffered == 3_000
    bench.buffer.tick(10 * SECOND)
    assert bench.buffer.pull([0, 4]) == {}
    assert bench.buffer.pull() == {6: 1, 8: 1}
    assert bench.taken() == [6, 8]


def test_what_must_be_kept_is_tried_again_and_not_for_ever() -> None:
    bench = Bench()
    bench.end(0, One(2, 2), error=True)
    bench.end(0, One(1, 1))
    for parcel in reversed(bench.buffer.take(10)):
        bench.buffer.failed(parcel, 3)
    assert bench.buffer.meter().dropped == {"export_failed": 1}
    for left in (1, 1, 0):
        parcels = bench.buffer.take(10)
        assert len(parcels) == left
        for parcel in parcels:
            bench.buffer.failed(parcel, 3)
    assert bench.buffer.meter().dropped == {"export_failed": 2}


def test_the_level_falls_when_there_is_more_than_the_budget() -> None:
    buffer = TraceBuffer[One](
        default_rules(), chance=lambda _one: 0, family=lambda one: (one.own, 0), inside=lambda one: one
    )
    buffer.tick(SECOND)
    assert buffer.level == 1.0
    for at in range(30_000):
        buffer.ended(0, at, at, One(at, at), 0, 0, UNSET_BIT, 1)
    buffer.tick(2 * SECOND)
    assert buffer.level == 0.0


@pytest.mark.parametrize(("value", "size"), [({"a": "xyz", "b": (b"12", ("3",)), "c": 5, "d": {"e": "f"}}, 7), ((), 0)])
def test_texts_are_counted_however_deep(value: dict[str, object], size: int) -> None:
    assert sum(sizes(value)) == size
