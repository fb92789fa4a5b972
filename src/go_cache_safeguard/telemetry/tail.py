"""Tail sampling inside of a service: what is worth keeping is known when a trace has ended, and no earlier. A shell.

Knows:     how OpenTelemetry's SDK hands over spans, and how they get from there to an exporter.
Called by: any Python service; `telemetry.otel`.
Never:     raises into the service, waits for a lock in it, or lets a secret reach an exporter.

In a service that has the extra `[otel]` these two lines are all:

    from go_cache_safeguard.telemetry import tail
    tail.install("rules.yaml")

A span that begins or ends is only put into an inbox; appending is atomic. Whoever finds enough in there and gets the baton
without waiting sorts it into the buffer, else a thread does within moments. So a finaliser or a signal handler that ends a span
in the middle of that cannot wait for itself.
"""

import logging
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, time_ns
from types import MappingProxyType
from typing import Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, detach, set_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from go_cache_safeguard.telemetry.buffer import (
    AFTER_SHUTDOWN,
    ERROR_BIT,
    EXPORT_FAILED,
    OK_BIT,
    QUEUE_FULL,
    UNREADABLE,
    UNSET_BIT,
    Meter,
    Parcel,
    TraceBuffer,
    sizes,
)
from go_cache_safeguard.telemetry.redact import Redactor
from go_cache_safeguard.telemetry.rules import RuleFile, Tenant, default_rules, read_rules
from go_cache_safeguard.telemetry.sampling import OtState, parse_ot

RULE = "sampling.rule"
"""Attribute of exported spans: the rule that kept them."""
WOULD_KEEP = "sampling.would_keep"
"""Attribute of exported spans of a dry run: what would have become of them."""
INCOMPLETE = "guard.incomplete"
"""Attribute of a span that was exported before it ended."""

Observe: TypeAlias = Callable[[str, str, int, int, bool], None]
"""Told of each root and server span before anything is dropped: service, name, start and end in ns, whether it failed."""

_BATCH = 512
_INBOX = 64
_MOST_INBOX = 50_000
"""Far more than whoever has the baton leaves; only if it is never given back."""
_BEAT_S = 0.1
_TRIES = 8
_LONGEST_PAUSE_S = 30.0
_FRAME, _ATTRIBUTE, _EVENT = 600, 60, 500
"""bytes of a span that was packed; measured with SDK 1.45 and Python 3.11, rounded up."""
_LIST, _UNPACKED = 1_000, 2_200
"""bytes that a list of the SDK takes with its lock, and what a span takes more that cannot be packed."""
_BITS = {StatusCode.UNSET: UNSET_BIT, StatusCode.OK: OK_BIT, StatusCode.ERROR: ERROR_BIT}
_ENTRIES = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_MOST_TENANTS = 256
_MASK = (1 << 56) - 1
_TENANT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

_log = logging.getLogger(__name__)


def install(
    rules: "RuleFile | str | Path | None" = None,
    *,
    exporter: SpanExporter | None = None,
    provider: TracerProvider | None = None,
    observe: Observe | None = None,
    dry_run: bool = False,
) -> "TailSampler":
    """Sample the traces of this process.

    Args:
        rules: The rule file, or what was read of it; without it errors, slow traces and 5 to 15 % of the rest are kept.
        exporter: Where spans go; by default over OTLP to where the variables OTEL_EXPORTER_OTLP_* say, a request per tenant.
        provider: Whose spans; by default the process's, which is made if there is none.
        observe: Told of each root and server span before anything is dropped, for metrics.
        dry_run: Export everything and only say what would have been dropped.

    Returns:
        What was installed; its `meter` tells what became of the spans.

    Raises:
        RulesBad: The rule file is written wrongly.
        OSError: It cannot be read.
    """
    known = load_rules(rules) if isinstance(rules, str | Path) else rules or default_rules()
    sampler = TailSampler(exporter or TenantExporter(known.tenant), known, observe=observe, dry_run=dry_run)
    if provider is None:
        present = trace.get_tracer_provider()
        provider = present if isinstance(present, TracerProvider) else TracerProvider()
        if provider is not present:
            trace.set_tracer_provider(provider)
    provider.add_span_processor(sampler)
    return sampler


def load_rules(path: str | Path) -> RuleFile:
    """Read a rule file.

    Raises:
        RulesBad: It is written wrongly.
        OSError: It cannot be read.
    """
    return read_rules(Path(path).read_bytes(), str(path))


class TailSampler(SpanProcessor):
    """Keeps what the rules say, and exports it in a thread of its own. Starts afresh in a forked child.

    Args:
        exporter: Where spans go. One that was given to a forking process must bear to be used by both;
            `TenantExporter` does.
        rules: What is kept, taken out, and how much memory that may take.
        observe: See `Observe`.
        dry_run: Export everything and only say what would have been dropped.
        key: Of hashed values; by default what the variable of the rule file has.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        rules: RuleFile | None = None,
        *,
        observe: Observe | None = None,
        dry_run: bool = False,
        key: bytes | None = None,
    ) -> None:
        self._rules = rules or default_rules()
        if key is None:
            key = os.environb.get(self._rules.redaction.key_variable.encode(), b"")
        self._exporter, self._observe, self._dry_run = exporter, observe, dry_run
        self._dresser = _Dresser(Redactor(self._rules.redaction, key), dry_run=dry_run)
        self._afresh()
        me = weakref.WeakMethod(self._afresh)
        os.register_at_fork(after_in_child=lambda: (again := me()) and again())

    def _afresh(self) -> None:
        """Nothing is buffered and nobody holds anything; spans that a parent process has are the parent's to export."""
        self._inbox: deque[ReadableSpan] = deque()
        self._baton = threading.Lock()
        self._holder = 0
        self._buffer = TraceBuffer[ReadableSpan](
            self._rules, chance=_chance, family=_family, inside=_Inside, dry_run=self._dry_run
        )
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._exporting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False
        self._faults = 0
        self._pause_s = 0.0
        self._not_before = 0.0

    # What the SDK calls.

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """A span began."""
        if not self._closed:
            self._inbox.append(span)
            if self._worker is None:
                self._sort()

    def on_end(self, span: ReadableSpan) -> None:
        """A span ended."""
        if self._closed:
            self._buffer.lose(AFTER_SHUTDOWN, 1)
            return
        self._inbox.append(span if type(span) in _ENDED else _copy(span))
        if len(self._inbox) >= _INBOX:
            self._sort()
            if len(self._inbox) > _MOST_INBOX:
                self._buffer.lose(QUEUE_FULL, 1)
                self._inbox.popleft()

    def shutdown(self) -> None:
        """Decide and export what is there, open spans as incomplete. Takes as long as the exporter needs."""
        if self._closed:
            return
        self._settle(lambda now_ns: self._cut(now_ns, everything=True), 30.0)
        self._closed = True
        self._wake.put(None)
        self._export(monotonic() + 30.0)
        self._buffer.lose(EXPORT_FAILED, sum(len(parcel.spans) for parcel in self._buffer.take(self._buffer.queued)))
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Decide everything that has ended, and export it.

        Returns:
            Whether all of it was exported in time.
        """
        until = monotonic() + timeout_millis / 1_000
        return self._settle(None, timeout_millis / 1_000) and self._export(until)

    # What an operator asks.

    @property
    def meter(self) -> Meter:
        """What became of the spans."""
        with self._hold(1.0) as held:
            if held:
                self._empty()
            return self._buffer.meter()

    @property
    def level(self) -> float:
        """How generous adaptive rules are now, 0 to 1."""
        return self._buffer.level

    def pull(self, trace_ids: Sequence[int] | None = None) -> dict[int, int]:
        """Export dropped traces of the last moments after all; for when something was seen to go wrong.

        Args:
            trace_ids: Which; all that are remembered if it is not told.

        Returns:
            How many spans come, by their trace; of all, what was dropped last stands last.
        """
        found: dict[int, int] = {}
        with self._hold(5.0) as held:
            if held:
                found = self._buffer.pull(trace_ids)
        self._wake.put(None)
        return found

    # How spans get into the buffer.

    def _sort(self) -> None:
        """Put what came in to its trace, unless somebody does that already."""
        while self._inbox and self._baton.acquire(blocking=False):
            self._holder = threading.get_ident()
            try:
                self._empty()
                if self._worker is None and not self._closed:
                    self._start()
            except RuntimeError:  # the interpreter ends, and starts no thread any more
                self._fault("no thread could be started; spans are exported at the end")
            finally:
                self._holder = 0
                self._baton.release()
        if self._buffer.queued >= _BATCH and self._wake.empty():
            self._wake.put(None)

    @contextmanager
    def _hold(self, seconds: float) -> Iterator[bool]:
        """Get the baton, and wait for it, but never for oneself: a signal handler may interrupt its holder."""
        held = self._holder != threading.get_ident() and self._baton.acquire(timeout=max(0.0, seconds))
        if not held:
            yield False
            return
        self._holder = threading.get_ident()
        try:
            yield True
        finally:
            self._holder = 0
            self._baton.release()

    def _empty(self) -> None:
        """Sort all that is in the inbox. Called by who has the baton."""
        while self._inbox:
            try:
                self._drain(self._inbox, time_ns())
            except Exception:  # noqa: BLE001 - whatever is wrong with a span must not become the service's failure
                self._buffer.lose(UNREADABLE, 1)
                self._fault("a span was lost")

    def _drain(self, inbox: deque[ReadableSpan], now_ns: int) -> None:
        """Sort what is in the inbox now. Called by who has the baton."""
        started, ended, observe = self._buffer.started, self._buffer.ended, self._observe
        unset, failed = StatusCode.UNSET, StatusCode.ERROR
        for _ in range(len(inbox)):
            span = inbox.popleft()
            trace_id, span_id, _remote, flags, _state, _valid = span.context
            if type(span) not in _ENDED:
                if flags & 1:
                    started(now_ns, trace_id, span_id, span)
                continue
            code = span.status.status_code
            bit = UNSET_BIT if code is unset else ERROR_BIT if code is failed else OK_BIT
            first_ns, last_ns = span.start_time or now_ns, span.end_time or now_ns
            if observe and (span.parent is None or span.kind in _ENTRIES):
                try:
                    observe(_service(span), span.name, first_ns, last_ns, bit == ERROR_BIT)
                except Exception:  # noqa: BLE001 - the hook is anybody's code, and the span must be kept all the same
                    self._fault("the hook for metrics failed")
            if flags & 1:
                ended(now_ns, trace_id, span_id, span, first_ns, last_ns, bit, _pack(span))

    def _settle(self, cut: Callable[[int], None] | None, seconds: float) -> bool:
        """Sort and decide everything; False if somebody else has the baton for so long."""
        with self._hold(seconds) as held:
            if held:
                self._empty()
                if cut:
                    cut(time_ns())
                self._buffer.flush(time_ns())
        return held

    def _cut(self, now_ns: int, *, everything: bool = False) -> None:
        """Export spans that are open for too long as they stand."""
        for span in self._buffer.overdue(now_ns, everything=everything):
            copy = _copy(span, {INCOMPLETE: True}, now_ns)
            own, bit = span.context, _BITS[span.status.status_code]
            first_ns = span.start_time or now_ns
            self._buffer.ended(now_ns, own.trace_id, own.span_id, copy, first_ns, now_ns, bit, _pack(copy))

    # The thread.

    def _start(self) -> None:
        self._worker = threading.Thread(
            target=_work, args=(weakref.ref(self), self._wake), daemon=True, name="tail-sampler"
        )
        self._worker.start()

    def _beat(self) -> bool:
        """One round of the thread; False when it is over."""
        if self._closed:
            return False
        try:
            self._sort()
            with self._hold(1.0) as held:
                if held:
                    now_ns = time_ns()
                    self._cut(now_ns)
                    self._buffer.tick(now_ns)
            self._export(monotonic() + _BEAT_S * 20)
        except Exception:  # noqa: BLE001 - the thread must live on, or everything after this would be lost too
            self._fault("a round was skipped")
        return True

    def _export(self, until: float) -> bool:
        """Export what is queued; False if something is left when the time is over or the receiver does not take it."""
        if not self._exporting.acquire(timeout=max(0.0, until - monotonic())):
            return False
        try:
            while monotonic() < until and (self._closed or monotonic() >= self._not_before):
                with self._hold(1.0) as held:
                    parcels = self._buffer.take(_BATCH) if held else []
                if not parcels:
                    return held
                if not self._send(parcels):
                    return False
            return False
        finally:
            self._exporting.release()

    def _send(self, parcels: Sequence[Parcel[ReadableSpan]]) -> bool:
        """Hand parcels over, those of each tenant apart, and tell the buffer what became of them."""
        taken: list[Parcel[ReadableSpan]] = []
        refused: list[Parcel[ReadableSpan]] = []
        for group in self._groups(parcels):
            spans = self._dressed(group)
            (taken if not spans or self._handed(spans) else refused).extend(group)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2 or 0.5) if refused else 0.0
        self._not_before = monotonic() + self._pause_s if refused else 0.0
        with self._hold(30.0):
            for parcel in taken:
                self._buffer.sent(parcel)
            for parcel in reversed(refused):
                self._buffer.failed(parcel, _TRIES)
        return not refused

    def _groups(self, parcels: Sequence[Parcel[ReadableSpan]]) -> Iterator[list[Parcel[ReadableSpan]]]:
        """Parcels of one tenant each; a trace in which two tenants appear is parted."""
        tenant = self._rules.tenant
        parts: dict[str, list[Parcel[ReadableSpan]]] = {}
        for parcel in parcels:
            for name, spans in _by_tenant(parcel.spans, tenant).items():
                size = parcel.size * len(spans) // len(parcel.spans)
                parts.setdefault(name, []).append(replace(parcel, spans=spans, size=size))
        yield from parts.values()

    def _dressed(self, group: list[Parcel[ReadableSpan]]) -> list[ReadableSpan]:
        """Spans ready to leave. A parcel that cannot be made ready is lost, and taken from the group: never does it go as it is."""
        spans: list[ReadableSpan] = []
        for parcel in tuple(group):
            try:
                spans += self._dresser.dressed(parcel)
            except Exception:  # noqa: BLE001 - a value of a kind that nobody knows; the other spans must not suffer
                self._fault("spans could not be redacted and were lost")
                self._buffer.lose(EXPORT_FAILED, len(parcel.spans))
                group.remove(parcel)
        return spans

    def _handed(self, spans: Sequence[ReadableSpan]) -> bool:
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        try:
            return self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - an exporter is anybody's code
            self._fault("spans were not exported")
            return False
        finally:
            detach(token)

    def _fault(self, what: str) -> None:
        """Telemetry that fails must not become the service's failure: it is told once, and counted."""
        self._faults += 1
        if self._faults == 1:
            _log.warning("tail sampling: %s", what, exc_info=True)


def _work(sampler: "weakref.ref[TailSampler]", wake: "SimpleQueue[None]") -> None:
    """The thread's life; ends with its sampler."""
    while True:
        with suppress(Empty):
            wake.get(timeout=_BEAT_S)
        me = sampler()
        if me is None or not me._beat():  # noqa: SLF001 - the thread is a part of its sampler that must not keep it alive
            return
        del me


class TenantExporter(SpanExporter):
    """Sends spans over OTLP, those of each tenant in a request of its own that says whose they are.

    Args:
        tenant: Where a span says whose it is, and in which header the receiver is told.
        endpoint: Whole URL; by default what the variables OTEL_EXPORTER_OTLP_* say.
        headers: Sent with each request besides.
    """

    def __init__(
        self, tenant: Tenant, *, endpoint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._tenant, self._endpoint, self._headers = tenant, endpoint, dict(headers or {})
        self._senders: OrderedDict[tuple[int, str], SpanExporter] = OrderedDict()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; a failure if any tenant's were not taken."""
        results = {self._sender(name).export(own) for name, own in _by_tenant(spans, self._tenant).items()}
        return SpanExportResult.SUCCESS if results == {SpanExportResult.SUCCESS} else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the connections."""
        for sender in self._senders.values():
            sender.shutdown()

    def _sender(self, name: str) -> SpanExporter:
        """A tenant's connection; a forked child has its own, because two processes cannot share one."""
        key = (os.getpid(), name)
        sender = self._senders.pop(key, None)
        if sender is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - 60 ms

            sender = OTLPSpanExporter(self._endpoint, headers={**self._headers, self._tenant.header: name})
        self._senders[key] = sender
        if len(self._senders) > _MOST_TENANTS:
            self._senders.popitem(last=False)[1].shutdown()
        return sender


def _by_tenant(spans: Sequence[ReadableSpan], tenant: Tenant) -> dict[str, Sequence[ReadableSpan]]:
    """Spans by whose they are; the usual case, one tenant, costs no copy."""
    names = [_tenant_of(span, tenant) for span in spans]
    if len(set(names)) == 1:
        return {names[0]: spans}
    found: dict[str, list[ReadableSpan]] = {}
    for name, span in zip(names, spans, strict=True):
        found.setdefault(name, []).append(span)
    return dict(found)


def _tenant_of(span: ReadableSpan, tenant: Tenant) -> str:
    """Whose a span is. What would not be safe in a header is nobody's."""
    told = _attributes(span).get(tenant.attribute) or span.resource.attributes.get(tenant.attribute)
    name = told if isinstance(told, str) else ""
    return name if name and len(name) <= 64 and set(name) <= _TENANT else tenant.default


class _Exported(ReadableSpan):
    """A span as it is exported, with the counts of what the SDK had dropped of it."""

    def __init__(self, span: ReadableSpan, **fields: Any) -> None:
        super().__init__(**fields)
        self._of = span

    dropped_attributes = property(lambda self: self._of.dropped_attributes)
    dropped_events = property(lambda self: self._of.dropped_events)
    dropped_links = property(lambda self: self._of.dropped_links)


class _Dresser:
    """Makes spans ready to leave: without what must not, and with what was decided of them."""

    def __init__(self, redactor: Redactor, *, dry_run: bool) -> None:
        self._redactor, self._dry_run = redactor, dry_run
        self._resources: dict[int, tuple[Resource, Resource]] = {}
        self._scopes: dict[int, tuple[Any, Any]] = {}
        self._state: tuple[int | None, TraceState] = (None, TraceState())

    def dressed(self, parcel: Parcel[ReadableSpan]) -> Iterator[ReadableSpan]:
        """The spans of a parcel."""
        told: dict[str, Any] = {RULE: parcel.decision.rule}
        if self._dry_run:
            told[WOULD_KEEP] = parcel.wanted
        th = parcel.decision.th if parcel.wanted else None
        for span in parcel.spans:
            yield self._one(span, told, th)

    def _one(self, span: ReadableSpan, told: Mapping[str, Any], th: int | None) -> ReadableSpan:
        own, redactor, status = span.context, self._redactor, span.status
        context = SpanContext(
            own.trace_id, own.span_id, own.is_remote, own.trace_flags, self._told(own.trace_state, th)
        )
        if status.description:
            status = Status(status.status_code, redactor.text(status.description))
        return _Exported(
            span,
            name=redactor.text(span.name),
            context=context,
            parent=span.parent,
            resource=self._resource(span.resource),
            attributes={**redactor.attributes(_attributes(span)), **told},
            events=[self._event(event) for event in span.events],
            links=[self._link(link) for link in span.links],
            kind=span.kind,
            status=status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=self._scope(span.instrumentation_scope),
        )

    def _told(self, state: TraceState, th: int | None) -> TraceState:
        """A tracestate with the threshold that a trace has passed; what other systems put there is theirs and stays here."""
        if not state:
            if self._state[0] != th:
                self._state = (th, _ot("", th))
            return self._state[1]
        return _ot(state.get("ot", ""), th)

    def _event(self, event: Event) -> Event:
        redactor = self._redactor
        return Event(redactor.text(event.name), redactor.attributes(event.attributes or {}), event.timestamp)

    def _link(self, link: Link) -> Link:
        other = link.context
        state = self._told(other.trace_state, None) if other.trace_state else other.trace_state
        there = SpanContext(other.trace_id, other.span_id, other.is_remote, other.trace_flags, state)
        return Link(there, self._redactor.attributes(link.attributes or {}))

    def _resource(self, resource: Resource) -> Resource:
        known = self._resources.get(id(resource))
        if known is None:
            clean = Resource(self._redactor.attributes(resource.attributes), self._redactor.text(resource.schema_url))
            known = self._resources[id(resource)] = (resource, clean)
        return known[1]

    def _scope(self, scope: InstrumentationScope | None) -> InstrumentationScope | None:
        if scope is None:
            return None
        known = self._scopes.get(id(scope))
        if known is None:
            text = self._redactor.text
            clean = InstrumentationScope(
                text(scope.name),
                text(scope.version or ""),
                text(scope.schema_url or ""),
                self._redactor.attributes(scope.attributes or {}),
            )
            known = self._scopes[id(scope)] = (scope, clean)
        return known[1]


def _ot(known: str, th: int | None) -> TraceState:
    """A tracestate that says no more than how a trace was sampled."""
    ot = parse_ot(known)
    text = OtState(ot.th, ot.rv).merged(th).text()
    return TraceState([("ot", text)]) if text else TraceState()


class _Inside:
    """What rules ask of a span."""

    __slots__ = ("_span",)

    def __init__(self, span: ReadableSpan) -> None:
        self._span = span

    @property
    def name(self) -> str:
        """Its name."""
        return self._span.name

    @property
    def service(self) -> str:
        """Its service."""
        return _service(self._span)

    @property
    def attributes(self) -> Mapping[str, object]:
        """Its attributes."""
        return _attributes(self._span)

    @property
    def resource(self) -> Mapping[str, object]:
        """Those of its resource."""
        return self._span.resource.attributes


_ENDED = frozenset({ReadableSpan, _Exported})
"""What ended spans are in the inbox; open ones are of the SDK's own kinds. `isinstance` takes ten times as long with those."""


def _service(span: ReadableSpan) -> str:
    return str(span.resource.attributes.get("service.name", ""))


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    """A copy, which the SDK makes at once: other threads may add to an open span meanwhile."""
    found: dict[str, Any] = span.attributes.copy()  # type: ignore[union-attr] # a MappingProxyType, which passes it on
    return found


def _chance(span: ReadableSpan) -> int:
    """The randomness of a span's trace."""
    own = span.context
    told = parse_ot(own.trace_state.get("ot", "")).rv if own.trace_state else None
    return own.trace_id & _MASK if told is None else told


def _family(span: ReadableSpan) -> tuple[int, int]:
    """A span's own id, and its parent's if that is of this process."""
    parent = span.parent
    return span.context.span_id, 0 if parent is None or parent.is_remote else parent.span_id


def _pack(span: ReadableSpan) -> int:
    """Make an ended span small, and tell how many bytes it takes in memory, about.

    The SDK gives every span two lists, three locks and a guarded mapping, most of them empty; that is two thirds of it. Only
    fields that the constructor of `ReadableSpan` takes are set, to values it would take.
    """
    attributes = _attributes(span)
    size = _FRAME + _ATTRIBUTE * len(attributes)
    for value in attributes.values():
        if type(value) is str:
            size += len(value)
        elif type(value) is not int:
            size += sum(sizes((value,)))
    if not _PACKS:
        size += _UNPACKED
    else:
        if not span.dropped_attributes:
            span._attributes = attributes  # noqa: SLF001 - see above
        if not span._events:  # noqa: SLF001 - see above
            span._events = ()  # noqa: SLF001 - see above
        if not span._links:  # noqa: SLF001 - see above
            span._links = ()  # noqa: SLF001 - see above
    events, links = span.events, span.links
    if events or links:
        size += 2 * _LIST + _EVENT * (len(events) + len(links))
        size += sum(sum(sizes(event.attributes or {})) for event in events)
    return size


_PACKS = {"_attributes", "_events", "_links"} <= vars(ReadableSpan("")).keys()
"""The SDK at hand has these fields."""


def _copy(
    span: ReadableSpan, told: Mapping[str, Any] = MappingProxyType({}), end_ns: int | None = None
) -> ReadableSpan:
    """A span as it stands now."""
    return _Exported(
        span,
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span) | dict(told),
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=end_ns or span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
