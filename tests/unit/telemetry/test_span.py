"""Spans of nobody cost nothing; whoever records is asked for once, when there is something to record."""

import tracemalloc
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import pytest

from go_cache_safeguard.telemetry import span as spans
from go_cache_safeguard.telemetry.names import MetricName, SpanName
from go_cache_safeguard.telemetry.span import NOTHING, SpanHandle, measure, record_with, span


class Handle:
    """A span that is written down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def set(self, **words: object) -> None:
        """Nothing."""

    def event(self, name: str, **words: object) -> None:
        """Nothing."""

    def link(self, trace_id: bytes, span_id: bytes) -> None:
        """Nothing."""

    def failed(self, error: BaseException) -> None:
        """Nothing."""


class Notes:
    """A recorder that writes down what it is asked."""

    def __init__(self, trace: str = "") -> None:
        self.said: list[tuple[object, ...]] = []
        self.trace = trace

    def begin(self, name: SpanName, op: str, words: Mapping[str, object]) -> SpanHandle:
        self.said.append((name, op, dict(words)))
        return Handle()

    def measure(self, name: MetricName, value: float, labels: Mapping[str, str]) -> None:
        self.said.append((name, value, dict(labels)))

    def current(self) -> tuple[str, str]:
        return self.trace, self.trace

    def outgoing(self) -> dict[str, str]:
        return {"traceparent": self.trace}

    def finish(self) -> str:
        return "the end"


@pytest.fixture(autouse=True)
def _nobody_records() -> Iterator[None]:
    spans.finish()
    yield
    spans.finish()


def test_without_a_recorder_every_span_is_the_same_object_and_nothing_is_kept() -> None:
    def work() -> None:
        for _ in range(1000):
            with span(SpanName.OPERATION, op="op_1", kind="redis", keys=3) as here:
                here.set(outcome="done")
                here.event("verdict", check="x")
                here.link(b"t" * 16, b"s" * 8)
                here.failed(ValueError())
            measure(MetricName.ROLLBACKS, 1, kind="redis")

    assert span(SpanName.OPERATION, op="op_1") is NOTHING
    work()
    tracemalloc.start()
    work()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1000  # bytes for a thousand spans: of the loop itself
    assert (spans.current_trace_id(), spans.current_ids(), spans.outgoing(), spans.finish()) == ("", ("", ""), {}, "")


def test_a_recorder_is_made_once_and_only_for_what_is_worth_it() -> None:
    made: list[Notes] = []

    def make() -> Notes:
        made.append(Notes())
        return made[-1]

    record_with(make)
    assert span(SpanName.CHECK, check="integrity") is NOTHING  # about no operation, and nothing around it
    assert made == []
    with span(SpanName.OPERATION, op="op_1", kind="redis"), span(SpanName.SNAPSHOT, keys=1):
        pass
    record_with(make)  # settings are read again: whoever records goes on
    measure(MetricName.ROLLBACKS, 1, kind="redis")
    assert len(made) == 1
    assert made[0].said == [
        (SpanName.OPERATION, "op_1", {"kind": "redis"}),
        (SpanName.SNAPSHOT, "", {"keys": 1}),
        (MetricName.ROLLBACKS, 1, {"kind": "redis"}),
    ]


def test_inside_of_a_span_everything_is_recorded() -> None:
    notes = Notes("ab" * 16)
    record_with(lambda: notes)
    with span(SpanName.OPERATION, op="op_1"):
        span(SpanName.CHECK, check="integrity")
    assert [said[0] for said in notes.said] == [SpanName.OPERATION, SpanName.CHECK]
    assert spans.current_trace_id() == "ab" * 16
    assert spans.outgoing() == {"traceparent": "ab" * 16}
    assert spans.finish() == "the end"
    assert span(SpanName.OPERATION, op="op_1") is NOTHING


def test_whoever_serves_others_has_the_recorder_made_beforehand() -> None:
    notes = Notes()
    asked: list[int] = []

    def make() -> Notes:
        asked.append(1)
        return notes

    spans.prepare()
    record_with(make)
    spans.prepare()
    assert asked == [1]
    span(SpanName.OPERATION, op="op_1")
    assert (asked, len(notes.said)) == ([1], 1)


def test_who_cannot_record_is_asked_only_once() -> None:
    asked: list[int] = []

    def make() -> None:
        asked.append(1)

    record_with(make)
    assert span(SpanName.OPERATION, op="op_1") is NOTHING
    assert span(SpanName.OPERATION, op="op_2") is NOTHING
    assert asked == [1]
