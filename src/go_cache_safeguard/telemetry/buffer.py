"""Traces in memory until it is known what becomes of them, and what is remembered afterwards.

Knows:     which spans of a trace are open, ended, waiting to be exported or dropped a moment ago, and how many bytes that is.
Called by: `telemetry.tail`, from one thread at a time.
Never:     takes more than its limit, and never makes room by a guess: what must go early is decided by the rules with what is
           known, and what must be kept is the last that is lost.
Source:    the wishes of opentelemetry-collector-contrib #31498 (decide when the root has ended), #14760 (late spans follow
           the decision) and Refinery #973 (a late error is kept all the same).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

from go_cache_safeguard.telemetry.rules import Adaptive, Rule, RuleFile, Status
from go_cache_safeguard.telemetry.sampling import Controller, Decision, Judge, SpanFacts, Statuses, TraceFacts

T = TypeVar("T")

OPEN_BYTES = 3_000
"""What a span that is open takes, about; measured with SDK 1.45."""
RECORDER = "flight-recorder"
"""The rule that is told of spans that were dropped and asked for afterwards."""
UNSET_BIT, OK_BIT, ERROR_BIT = 1, 2, 4
_STATUSES: tuple[Statuses, ...] = tuple(
    frozenset(status for bit, status in ((1, Status.UNSET), (2, Status.OK), (4, Status.ERROR)) if bits & bit)
    for bits in range(8)
)
_PULLED = Decision(keep=True, rule=RECORDER, probability=1.0, th=None)
_MOST_AWAITED = 10_000
_STEP_NS = 250_000_000

SAMPLED = "sampled"
QUEUE_FULL = "queue_full"
MUST_KEEP_OVERFLOW = "must_keep_overflow"
EXPORT_FAILED = "export_failed"
AFTER_SHUTDOWN = "after_shutdown"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of what happened can be seen.

    Attributes:
        started: Spans.
        ended: Spans that said so themselves.
        incomplete: Spans that never ended and were exported as they stood.
        late: Spans that came after their trace was decided.
        exported: Spans that the receiver took.
        dropped: Spans by reason; `sampled` is what the rules wanted.
        parents_unknown: Exported spans whose parent should have been seen here and was not.
        kept: Traces by rule.
        open: Spans now.
        buffered: Bytes now, estimated.
    """

    started: int = 0
    ended: int = 0
    incomplete: int = 0
    late: int = 0
    exported: int = 0
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    parents_unknown: int = 0
    kept: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    open: int = 0
    buffered: int = 0

    @property
    def lost(self) -> int:
        """Spans that the rules wanted and that nobody got."""
        return sum(number for reason, number in self.dropped.items() if reason != SAMPLED)

    @property
    def completeness(self) -> float:
        """Of the spans that should have been exported by now, the share that was: 0 to 1."""
        due = self.exported + self.lost + self.parents_unknown
        return self.exported / due if due else 1.0


class _Trace(Generic[T]):
    """What is known of a trace since it was decided last."""

    __slots__ = ("bits", "first_ns", "last_ns", "late", "open", "randomness", "since_ns", "size", "spans")

    def __init__(self, randomness: int) -> None:
        self.randomness = randomness
        self.open = 0
        self.since_ns = 0
        self.clear()

    def clear(self) -> None:
        self.spans: list[T] = []
        self.first_ns = self.last_ns = self.bits = self.size = 0


@dataclass(frozen=True, slots=True)
class Parcel(Generic[T]):
    """Spans of one trace that are to be exported.

    Attributes:
        decision: Why.
        spans: Of one trace.
        size: Bytes, estimated.
        wanted: What the rules wanted; else it is exported because nothing is dropped in a dry run.
        tries: How often it was not taken.
    """

    decision: Decision
    spans: Sequence[T]
    size: int
    wanted: bool = True
    tries: int = 0


class TraceBuffer(Generic[T]):
    """The buffer of one process. Spans are whatever the caller says; times are nanoseconds of one clock.

    Args:
        rules: What is kept, and the limits.
        chance: Tells the 56 bits of randomness of a span's trace.
        family: Tells a span's own id, and the id of its parent if that is a span of this process, else 0.
        inside: Tells what rules may ask of a span.
        dry_run: Everything is exported; decisions are only counted and told.
    """

    def __init__(
        self,
        rules: RuleFile,
        *,
        chance: Callable[[T], int],
        family: Callable[[T], tuple[int, int]],
        inside: Callable[[T], SpanFacts],
        dry_run: bool = False,
    ) -> None:
        self._limits = rules.buffer
        self._rules = rules
        self._chance, self._family, self._inside, self._dry_run = chance, family, inside, dry_run
        self._controller = Controller(rules.budget)
        self._judge = Judge(rules, self._controller.level)
        self._traces: dict[int, _Trace[T]] = {}
        self._waiting: dict[int, _Trace[T]] = {}
        self._open: dict[int, tuple[int, int, T]] = {}
        self._decided: dict[int, Decision] = {}
        self._must: deque[Parcel[T]] = deque()
        self._rest: deque[Parcel[T]] = deque()
        self._recorder: dict[int, tuple[int, Parcel[T]]] = {}
        self._awaited: dict[int, int] = {}
        self._size = self._rest_size = self._recorder_size = 0
        self._least = self._room = 0.0
        self._stepped_ns = 0
        self.queued = 0
        self._started = self._ended = self._incomplete = self._late = self._exported = 0
        self._dropped: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()

    # What happens to spans.

    def started(self, now_ns: int, trace_id: int, span_id: int, span: T) -> None:
        """A span was opened."""
        self._started += 1
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = _Trace(self._chance(span))
        trace.open += 1
        self._open[span_id] = (now_ns, trace_id, span)
        self._size += OPEN_BYTES

    def ended(  # noqa: PLR0917 - called for every span: keywords alone would cost a tenth of it
        self,
        now_ns: int,
        trace_id: int,
        span_id: int,
        span: T,
        first_ns: int,
        last_ns: int,
        bit: int,
        size: int,
    ) -> None:
        """A span ended.

        Args:
            now_ns: The time.
            trace_id: 128 bits.
            span_id: 64 bits.
            span: What is exported.
            first_ns: When it began.
            last_ns: When it ended.
            bit: How: UNSET_BIT, OK_BIT or ERROR_BIT.
            size: Bytes, estimated.
        """
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces[trace_id] = _Trace(self._chance(span))
        if self._open.pop(span_id, None) is not None:
            trace.open -= 1
            self._size -= OPEN_BYTES
        self._ended += 1
        spans = trace.spans
        if not spans:
            trace.since_ns, trace.first_ns, trace.last_ns = now_ns, first_ns, last_ns
            self._waiting[trace_id] = trace
        else:
            trace.first_ns = min(trace.first_ns, first_ns)
            trace.last_ns = max(trace.last_ns, last_ns)
        spans.append(span)
        trace.bits |= bit
        trace.size += size
        self._size += size
        if not trace.open:
            self._decide(trace_id, trace, trace.last_ns)
        if self._size > self._limits.memory:
            self._shrink(now_ns)

    def overdue(self, now_ns: int, *, everything: bool = False) -> list[T]:
        """Spans that are open for too long, or are too many; the caller ends a copy of each with `ended`."""
        found: list[T] = []
        too_many = len(self._open) - self._limits.memory // 2 // OPEN_BYTES
        for since_ns, _trace, span in self._open.values():
            waits = since_ns + self._limits.watchdog_ms * 1_000_000 > now_ns
            if waits and len(found) >= too_many and not everything:
                break
            found.append(span)
        self._incomplete += len(found)
        self._ended -= len(found)
        return found

    def tick(self, now_ns: int) -> None:
        """Decide what waited long enough, forget what was dropped long enough ago, and follow the load."""
        wait_ns, keep_ns = self._limits.wait_ms * 1_000_000, self._limits.recorder_ms * 1_000_000
        while self._waiting:
            trace_id, trace = next(iter(self._waiting.items()))
            if trace.since_ns + wait_ns > now_ns:
                break
            self._decide(trace_id, trace, now_ns)
        while self._recorder:
            trace_id, (dropped_ns, _parcel) = next(iter(self._recorder.items()))
            if dropped_ns + keep_ns > now_ns:
                break
            self._forget(trace_id)
        if self._stepped_ns + _STEP_NS <= now_ns:
            self._step(now_ns)

    def flush(self, now_ns: int) -> None:
        """Decide everything that has an ended span."""
        while self._waiting:
            trace_id, trace = next(iter(self._waiting.items()))
            self._decide(trace_id, trace, now_ns)

    def take(self, spans: int) -> list[Parcel[T]]:
        """Parcels to export, what must be kept first; at least `spans` spans if there are so many."""
        found, number = [], 0
        for queue in (self._must, self._rest):
            while queue and number < spans:
                parcel = queue.popleft()
                if queue is self._rest:
                    self._rest_size -= parcel.size
                self._size -= parcel.size
                number += len(parcel.spans)
                found.append(parcel)
        self.queued -= number
        return found

    def sent(self, parcel: Parcel[T]) -> None:
        """The receiver took a parcel."""
        self._exported += len(parcel.spans)

    def failed(self, parcel: Parcel[T], tries: int) -> None:
        """The receiver did not take a parcel: what must be kept goes back to its place, up to so many times."""
        if not parcel.decision.must or parcel.tries + 1 >= tries:
            self._dropped[EXPORT_FAILED] += len(parcel.spans)
            return
        self._must.appendleft(Parcel(parcel.decision, parcel.spans, parcel.size, parcel.wanted, parcel.tries + 1))
        self._size += parcel.size
        self.queued += len(parcel.spans)

    def lose(self, reason: str, spans: int) -> None:
        """Spans that never came in."""
        self._dropped[reason] += spans

    def pull(self, trace_ids: Sequence[int] | None = None) -> dict[int, int]:
        """Export dropped traces that are still remembered.

        Args:
            trace_ids: Which; all if it is not told.

        Returns:
            How many spans come, by their trace; of all, what was dropped last stands last.
        """
        wanted = list(self._recorder) if trace_ids is None else [one for one in trace_ids if one in self._recorder]
        found = {}
        for trace_id in wanted:
            parcel = self._forget(trace_id)
            self._dropped[SAMPLED] -= len(parcel.spans)
            self._decided[trace_id] = _PULLED
            self._queue(Parcel(_PULLED, parcel.spans, parcel.size))
            found[trace_id] = len(parcel.spans)
        return found

    def meter(self) -> Meter:
        """How much can be seen."""
        return Meter(
            started=self._started,
            ended=self._ended,
            incomplete=self._incomplete,
            late=self._late,
            exported=self._exported,
            dropped=MappingProxyType({reason: number for reason, number in list(self._dropped.items()) if number}),
            parents_unknown=sum(number for parent, number in list(self._awaited.items()) if parent not in self._open),
            kept=MappingProxyType(dict(self._kept)),
            open=len(self._open),
            buffered=self._size + self._recorder_size,
        )

    @property
    def level(self) -> float:
        """How generous adaptive rules are now, 0 to 1."""
        return self._controller.level

    # How they are decided.

    def _decide(self, trace_id: int, trace: _Trace[T], until_ns: int) -> None:
        """Ask the rules, and let spans that came late follow what was said of their trace."""
        spans, size = trace.spans, trace.size
        del self._waiting[trace_id]
        decision = self._ask(trace, max(until_ns, trace.last_ns))
        known = self._decided.get(trace_id)
        if known is None:
            self._remember(trace_id, decision)
            self._kept[decision.rule] += decision.keep
        else:
            self._late += len(spans)
            if decision.must and not known.keep:
                self._remember(trace_id, decision)
                self._kept[decision.rule] += 1
                self._rescue(trace_id, decision)
            else:
                decision = known
        if trace.open:
            trace.clear()
        else:
            del self._traces[trace_id]
        self._size -= size
        if decision.keep or self._dry_run:
            self._family_of(spans, late=known is not None)
            self._queue(Parcel(decision, spans, size, wanted=decision.keep))
        else:
            self._dropped[SAMPLED] += len(spans)
            self._record(trace_id, until_ns, Parcel(decision, spans, size))

    def _ask(self, trace: _Trace[T], until_ns: int) -> Decision:
        inside = list(map(self._inside, trace.spans)) if self._judge.looks_inside else ()
        facts = TraceFacts(trace.randomness, until_ns - trace.first_ns, _STATUSES[trace.bits], inside)
        decision, rule = self._judge.judge(facts)
        self._count(rule, len(trace.spans))
        return decision

    def _count(self, rule: Rule, spans: int) -> None:
        """What the budget is compared with."""
        keep = rule.keep
        if isinstance(keep, Adaptive):
            self._least += keep.least * spans
            self._room += (keep.most - keep.least) * spans

    def _step(self, now_ns: int) -> None:
        if self._stepped_ns:
            seconds = (now_ns - self._stepped_ns) / 1e9
            self._controller = self._controller.step(seconds, self._least, self._room)
            self._judge = Judge(self._rules, self._controller.level)
        self._stepped_ns, self._least, self._room = now_ns, 0.0, 0.0

    def _remember(self, trace_id: int, decision: Decision) -> None:
        if len(self._decided) >= self._limits.decisions:
            del self._decided[next(iter(self._decided))]
        self._decided[trace_id] = decision

    def _rescue(self, trace_id: int, decision: Decision) -> None:
        """A trace that was dropped must be kept after all: what is remembered of it comes along."""
        if trace_id in self._recorder:
            parcel = self._forget(trace_id)
            self._dropped[SAMPLED] -= len(parcel.spans)
            self._queue(Parcel(decision, parcel.spans, parcel.size))

    def _family_of(self, spans: Sequence[T], *, late: bool) -> None:
        """Notice spans whose parent is not there. A late span's parent was exported before it, or is still awaited."""
        pairs = list(map(self._family, spans))
        known = {own for own, _parent in pairs}
        for own, parent in pairs:
            if self._awaited:
                self._awaited.pop(own, None)
            if parent and not late and parent not in known and len(self._awaited) < _MOST_AWAITED:
                self._awaited[parent] = self._awaited.get(parent, 0) + 1

    # What is kept in memory, and what goes when that is too much.

    def _queue(self, parcel: Parcel[T]) -> None:
        self._size += parcel.size
        self.queued += len(parcel.spans)
        if parcel.decision.must:
            self._must.append(parcel)
        else:
            self._rest.append(parcel)
            self._rest_size += parcel.size

    def _record(self, trace_id: int, now_ns: int, parcel: Parcel[T]) -> None:
        """Remember what was dropped, as long as there is room."""
        if trace_id in self._recorder:
            before = self._forget(trace_id)
            parcel = Parcel(parcel.decision, [*before.spans, *parcel.spans], before.size + parcel.size)
        self._recorder[trace_id] = (now_ns, parcel)
        self._recorder_size += parcel.size
        while self._recorder_size > self._limits.recorder_memory:
            self._forget(next(iter(self._recorder)))

    def _forget(self, trace_id: int) -> Parcel[T]:
        _dropped_ns, parcel = self._recorder.pop(trace_id)
        self._recorder_size -= parcel.size
        return parcel

    def _shrink(self, now_ns: int) -> None:
        """Make room: exports of ordinary traces that pile up, then a decision for the oldest; what must be kept goes last."""
        limit = self._limits.memory
        while self._size > limit:
            if self._rest_size > limit // 4 or (self._rest and not self._waiting):
                self._drop(self._rest, QUEUE_FULL)
            elif self._waiting:
                trace_id, trace = next(iter(self._waiting.items()))
                self._decide(trace_id, trace, now_ns)
            elif self._must:
                self._drop(self._must, MUST_KEEP_OVERFLOW)
            else:
                break

    def _drop(self, queue: deque[Parcel[T]], reason: str) -> None:
        parcel = queue.popleft()
        self._size -= parcel.size
        self.queued -= len(parcel.spans)
        self._dropped[reason] += len(parcel.spans)
        if queue is self._rest:
            self._rest_size -= parcel.size


def sizes(values: Mapping[str, object] | Sequence[object]) -> Iterator[int]:
    """Bytes of texts in attributes, however deep; an estimate of what a span holds beyond its frame."""
    for value in values.values() if isinstance(values, Mapping) else values:
        if isinstance(value, str | bytes):
            yield len(value)
        elif isinstance(value, Mapping | tuple | list):
            yield from sizes(value)
