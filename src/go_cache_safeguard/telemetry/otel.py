"""Records spans and metrics with OpenTelemetry, and sends them over OTLP.

Knows:     how the SDK is set up, how an operation's trace goes on in another process, and that nothing of this may hold up the work.
Called by: `flows.observing`, when the first span is opened.
Never:     waits for a receiver longer than it is told to; raises because of one; says anything by itself: `finish` tells, once.
Source:    https://opentelemetry.io/docs/specs/otel/protocol/exporter/ for the OTEL_EXPORTER_OTLP_* variables, which the exporters read.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags

from go_cache_safeguard import __version__
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.telemetry.names import (
    METRICS,
    OP_ID,
    OTHER,
    OUTCOMES,
    ROOTS,
    SPANS,
    Instrument,
    MetricName,
    SpanName,
    TraceIds,
    attributes_of,
    full_name,
    ids_of,
    labels_of,
)
from go_cache_safeguard.telemetry.rules import Always, Rule, RuleFile, When
from go_cache_safeguard.telemetry.tail import TailSampler, TenantExporter

SERVICE = "go-cache-safeguard"
_BOUNDS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_SAID_NO = range(ExitCode.BLOCKED, ExitCode.BLOCKED + 10)
"""Exit codes of what the guard did not allow, which is no error of ours."""
_SPEAKERS = ("opentelemetry", "go_cache_safeguard.telemetry")
EVERYTHING = RuleFile((Rule("all", When(), Always()),))
"""Operations are few and each is worth its trace; what must not leave is taken out all the same."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where to, and as whom.

    Attributes:
        endpoint: Base of the receiver's URLs; empty for what the environment says.
        headers: Sent with each request, besides those of the environment.
        tenant: Whose telemetry it is; empty for nobody's.
        host: This machine.
        finish_s: How long the end may take, in seconds.
        metrics: Whether metrics are sent as well.
        rules: What is kept, and what must not leave.
    """

    endpoint: str = ""
    headers: Mapping[str, str] | None = None
    tenant: str = ""
    host: str = ""
    finish_s: float = 2.0
    metrics: bool = True
    rules: RuleFile = EVERYTHING


class _Ids(RandomIdGenerator):
    """Random ids, except for the root of an operation."""

    def __init__(self) -> None:
        self._next = threading.local()

    @contextmanager
    def given(self, ids: TraceIds) -> Iterator[None]:
        """The next span of this thread is the root of a trace that is called so."""
        self._next.ids = ids
        try:
            yield
        finally:
            self._next.ids = None

    def generate_trace_id(self) -> int:
        """See `given`."""
        ids: TraceIds | None = getattr(self._next, "ids", None)
        return super().generate_trace_id() if ids is None else int.from_bytes(ids.trace)

    def generate_span_id(self) -> int:
        """See `given`."""
        ids: TraceIds | None = getattr(self._next, "ids", None)
        return super().generate_span_id() if ids is None else int.from_bytes(ids.root)


class _Ear(logging.Handler):
    """Hears what the SDK complains of, instead of whoever reads stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last complaint."""
        self.heard = record.getMessage()


class _Open:
    """A span that is recorded; see `telemetry.span.SpanHandle`."""

    __slots__ = ("_name", "_recorder", "_since", "_span", "_token", "_within", "_words")

    def __init__(
        self,
        recorder: "Tracing",
        name: SpanName,
        words: Mapping[str, object],
        opened: Span,
        within: context.Context,
    ) -> None:
        self._recorder, self._name, self._span, self._words = recorder, name, opened, dict(words)
        self._within, self._since = trace.set_span_in_context(opened, within), monotonic()

    def __enter__(self) -> Self:
        self._token = context.attach(self._within)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error)
        if self._name is SpanName.EXECUTE:
            labels = {"kind": str(self._words.get("kind", OTHER)), "outcome": str(self._words.get("outcome", OTHER))}
            self._recorder.measure(MetricName.DURATION, monotonic() - self._since, labels)
        context.detach(self._token)
        self._span.end()

    def set(self, **words: object) -> None:
        """See `SpanHandle`."""
        self._words |= words
        self._span.set_attributes(attributes_of(words, SPANS[self._name].words))

    def event(self, name: str, **words: object) -> None:
        """See `SpanHandle`."""
        self._span.add_event(name, attributes_of(words, SPANS[self._name].words))

    def link(self, trace_id: bytes, span_id: bytes) -> None:
        """See `SpanHandle`."""
        self._span.add_link(_context_of(TraceIds(trace_id, span_id)))

    def failed(self, error: BaseException) -> None:
        """See `SpanHandle`."""
        known = error.id if isinstance(error, Failure) else type(error).__name__
        self.set(outcome=known if known in OUTCOMES else OTHER)
        if isinstance(error, Failure) and error.exit_code in _SAID_NO:
            return
        self._span.set_attribute("error.type", known)
        self._span.set_status(Status(StatusCode.ERROR, str(error)))


class Tracing:
    """Records; see `telemetry.span.Recorder`. Safe from any thread; a child after a fork begins with nothing to send."""

    def __init__(self, setup: Setup) -> None:
        """Begin.

        Args:
            setup: Where to, and as whom.
        """
        self._ear = _Ear()
        for name in _SPEAKERS:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [self._ear], False
        self._finish_s, self._ids = setup.finish_s, _Ids()
        about = {"service.name": SERVICE, "service.version": __version__, "host.name": setup.host}
        ours = Resource.create(about | ({"tenant": setup.tenant} if setup.tenant else {}))
        resource = ours.merge(OTELResourceDetector().detect())  # what somebody set for this process wins
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        url = f"{setup.endpoint.rstrip('/')}/v1/traces" if setup.endpoint else None
        exporter = TenantExporter(setup.rules.tenant, endpoint=url, headers=setup.headers)
        self._sampler = TailSampler(exporter, setup.rules)
        self._traces.add_span_processor(self._sampler)
        reader = [PeriodicExportingMetricReader(_metrics_to(setup))] if setup.metrics else []
        self._metrics = MeterProvider(reader, resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer(SERVICE, __version__)
        self._instruments = self._made()
        self._meter_spans()

    def _made(self) -> Mapping[MetricName, Counter | Histogram]:
        meter = self._metrics.get_meter(SERVICE, __version__)
        return {
            name: meter.create_histogram(name, about.unit, about.what, explicit_bucket_boundaries_advisory=_BOUNDS_S)
            if about.instrument is Instrument.HISTOGRAM
            else meter.create_counter(name, about.unit, about.what)
            for name, about in METRICS.items()
            if about.instrument in {Instrument.COUNTER, Instrument.HISTOGRAM}
        }

    def _meter_spans(self) -> None:
        """Have it told with the metrics what became of the spans."""

        def kept(_: CallbackOptions) -> Iterator[Observation]:
            yield Observation(self._sampler.meter.exported)

        def dropped(_: CallbackOptions) -> Iterator[Observation]:
            for reason, number in self._sampler.meter.dropped.items():
                yield Observation(number, labels_of(MetricName.SPANS_DROPPED, {"reason": reason}))

        def completeness(_: CallbackOptions) -> Iterator[Observation]:
            yield Observation(self._sampler.meter.completeness)

        meter = self._metrics.get_meter(SERVICE, __version__)
        for name, observe in ((MetricName.SPANS_KEPT, kept), (MetricName.SPANS_DROPPED, dropped)):
            meter.create_observable_counter(name, [observe], METRICS[name].unit, METRICS[name].what)
        about = METRICS[MetricName.COMPLETENESS]
        meter.create_observable_gauge(MetricName.COMPLETENESS, [completeness], about.unit, about.what)

    def begin(self, name: SpanName, op: str, words: Mapping[str, object]) -> _Open:
        """See `Recorder`."""
        said = {**words, "op": op} if op else words
        full, attributes = full_name(name, str(words.get("check", ""))), attributes_of(said, SPANS[name].words)
        within = context.get_current()
        if not op:
            return _Open(self, name, words, self._tracer.start_span(full, within, attributes=attributes), within)
        ids, here = ids_of(op), trace.get_current_span().get_span_context()
        within = baggage.set_baggage(OP_ID, op, within)
        if here.trace_id == int.from_bytes(ids.trace):
            return _Open(self, name, words, self._tracer.start_span(full, within, attributes=attributes), within)
        links = [Link(here)] if here.is_valid else []
        if name in ROOTS:
            empty = trace.set_span_in_context(trace.INVALID_SPAN, within)
            with self._ids.given(ids):
                opened = self._tracer.start_span(full, empty, attributes=attributes, links=links)
        else:
            root = trace.set_span_in_context(NonRecordingSpan(_context_of(ids)), within)
            opened = self._tracer.start_span(full, root, attributes=attributes, links=links)
        return _Open(self, name, words, opened, within)

    def measure(self, name: MetricName, value: float, labels: Mapping[str, str]) -> None:
        """See `Recorder`."""
        instrument, said = self._instruments[name], labels_of(name, labels)
        if isinstance(instrument, Histogram):
            instrument.record(value, said)
        else:
            instrument.add(value, said)

    def current(self) -> tuple[str, str]:
        """See `Recorder`."""
        here = trace.get_current_span().get_span_context()
        return (f"{here.trace_id:032x}", f"{here.span_id:016x}") if here.is_valid else ("", "")

    def outgoing(self) -> dict[str, str]:
        """See `Recorder`."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    def finish(self) -> str:
        """See `Recorder`. A receiver that is slow, silent or away costs at most the time of the setup."""
        end = threading.Thread(target=self._end, daemon=True, name="telemetry-end")
        end.start()
        end.join(self._finish_s)
        if end.is_alive():
            return f"telemetry was not delivered within {self._finish_s:g}s{self._ear.heard and ': '}{self._ear.heard}"
        return f"telemetry was not delivered: {self._ear.heard}" if self._ear.heard else ""

    def _end(self) -> None:
        """Spans first: metrics tell what became of them."""
        self._traces.shutdown()
        self._metrics.shutdown()


def _metrics_to(setup: Setup) -> OTLPMetricExporter:
    url = f"{setup.endpoint.rstrip('/')}/v1/metrics" if setup.endpoint else None
    return OTLPMetricExporter(url, headers=dict(setup.headers or {}) or None)


def _context_of(ids: TraceIds) -> SpanContext:
    """A span elsewhere, which is sampled: whoever began the trace records it."""
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int.from_bytes(ids.trace), int.from_bytes(ids.root), is_remote=True, trace_flags=sampled)
