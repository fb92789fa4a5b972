"""What went wrong among services in the last minutes, joined into events: traces, logs, metrics, and what we removed meanwhile.

Knows:     which traces of the store are whole and can be compared, and where operations of ours are told.
Called by: `cli.signals_anomalies`, `cli.signals_golden` for the gate, `flows.clean` for the evidence of a held operation.
Never:     writes. Takes a trace for odd because a part of it lies outside of the window, or our own traces for those of a service.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation
from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.signals.cause import Shape, causes
from go_cache_safeguard.signals.changepoint import BIN_S, Change, Metric, changes, onset, points, share
from go_cache_safeguard.signals.clusters import MOST_TRACES, Cluster, Clustered, clustered, merged
from go_cache_safeguard.signals.drain import Line, Surge, surges
from go_cache_safeguard.signals.event import Act, Event, Group, join, suspicions
from go_cache_safeguard.signals.features import Measured, measure
from go_cache_safeguard.signals.query import EVERYTHING
from go_cache_safeguard.signals.red import SECOND_NS, Second
from go_cache_safeguard.signals.selftime import CACHE_HIT, profile
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.telemetry.names import OP_ID

LATELY_S = 1_800
"""Of what the evidence of a held operation tells."""
MOST_SPANS, _FOR_EVIDENCE = 120_000, 30_000
"""Spans of the window, and of its baseline, that are read; fewer while somebody waits for an operation to be held."""
_PROFILED = 200
_SETTLED_NS = 5 * SECOND_NS
"""A trace whose last span is younger may still go on."""
_OURS = "guard."
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at.

    Attributes:
        baseline_ns: Where the time begins that is compared with.
        start_ns: Where it ends, and the window begins.
        end_ns: Where the window ends.
    """

    baseline_ns: int
    start_ns: int
    end_ns: int


def window_of(since_s: int, baseline_s: int) -> Window:
    """A window that ends now, and the time before it."""
    end_ns = time.time_ns()
    start_ns = end_ns - since_s * SECOND_NS
    return Window(start_ns - baseline_s * SECOND_NS, start_ns, end_ns)


@dataclass(frozen=True, slots=True)
class Read:
    """What events are found in.

    Attributes:
        before: Spans of the baseline.
        now: Spans of the window.
        counted: Requests by service, second by second, of both.
        lines: Of a log.
        acts: What we removed; an operation that is told twice counts once, as it was told first.
        most: As many spans were asked for: if there are so many, older ones of the same traces may be missing.
    """

    before: Sequence[Span]
    now: Sequence[Span]
    counted: Mapping[str, Sequence[Second]]
    lines: Sequence[Line] = ()
    acts: Sequence[Act] = ()
    most: int = MOST_SPANS


@dataclass(frozen=True, slots=True)
class Found:
    """What a window shows.

    Attributes:
        events: The most important first.
        noise: Odd traces that are like no others, in hex.
        traces: How many were looked at.
        before: How many of the baseline they were compared with.
        why: Why nothing could be compared; empty if it could.
    """

    events: tuple[Event, ...]
    noise: tuple[str, ...]
    traces: int
    before: int
    why: str = ""


def look(
    session: Session, window: Window, *, service: str = "", lines: Sequence[Line] = (), most: int = MOST_SPANS
) -> Found:
    """Look at what the store of spans, the journal and a log tell.

    Args:
        session: Whose.
        window: When.
        service: Only events that this service feels; empty for all.
        lines: Of a log.
        most: Spans of the window, and of its baseline, that are read: the newest.

    Raises:
        SpanStoreUnusable: Nothing was received yet, or it cannot be read.
    """
    from go_cache_safeguard.flows.traces import open_spans  # noqa: PLC0415 - an extra, loaded where used

    with open_spans(session.state_dir) as spans:
        before = spans.find(EVERYTHING, limit=most, start_ns=window.baseline_ns, end_ns=window.start_ns)
        now = spans.find(EVERYTHING, limit=most, start_ns=window.start_ns, end_ns=window.end_ns)
        counted = {name: spans.store.series(name, window.baseline_ns, window.end_ns) for name in spans.store.services()}
    acts = [*acts_of_journal(session, window), *acts_of_spans((*before, *now), window)]
    return judge(window, Read(before, now, counted, lines, acts, most), service=service)


def judge(window: Window, read: Read, *, service: str = "") -> Found:
    """Find events in what was read.

    Args:
        window: When.
        read: What there is.
        service: Only events that this service feels; empty for all.
    """
    before, now = read.before, read.now
    healthy, unsure = (
        _traces(before, window.baseline_ns, window.start_ns, read.most),
        _traces(now, window.start_ns, window.end_ns, read.most),
    )
    measured = [measure(spans, OP_ID) for spans in healthy.values()]
    made = clustered([measure(spans, OP_ID) for spans in unsure.values()], measured)
    groups = _groups(made, unsure, healthy, measured, window)
    found = join(
        groups, _surges(read.lines, window), _changes(read.counted, (*before, *now), window), _distinct(read.acts)
    )
    events = tuple(event for event in found if not service or service in event.services)
    why = "" if made.before else "no traces of the time before are kept to compare with"
    return Found(events, tuple(one.hex() for one in made.noise), made.traces, made.before, why)


def _traces(spans: Sequence[Span], start_ns: int, end_ns: int, most: int) -> dict[bytes, list[Span]]:
    """Whole traces of services: those that began after the oldest span that was read, and that do not go on."""
    if len(spans) >= most:
        start_ns = min(span.end_ns for span in spans)
    found: dict[bytes, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    whole = [trace for trace in found.values() if _is_whole(trace, start_ns, end_ns)]
    whole.sort(key=lambda trace: max(span.end_ns for span in trace), reverse=True)
    return {trace[0].trace_id: trace for trace in whole[:MOST_TRACES]}


def _is_whole(trace: Sequence[Span], start_ns: int, end_ns: int) -> bool:
    if any(span.name.startswith(_OURS) for span in trace) or min(span.start_ns for span in trace) < start_ns:
        return False
    ended = any(not span.parent_id for span in trace)
    return ended or max(span.end_ns for span in trace) < end_ns - _SETTLED_NS


def _groups(
    made: Clustered,
    now: Mapping[bytes, Sequence[Span]],
    before: Mapping[bytes, Sequence[Span]],
    measured: Sequence[Measured],
    window: Window,
) -> list[Group]:
    """Clusters with their causes."""
    if not made.clusters:
        return []
    usual = [span for one in measured[:: -(-len(measured) // _PROFILED)] for span in before[one.trace_id]]
    healthy, asked = profile(usual), _misses(before.values())

    def group(cluster: Cluster) -> Group:
        traces = [now[one] for one in cluster.traces]
        explained = causes(profile([span for trace in traces[:_PROFILED] for span in trace]), healthy)
        misses = _misses(traces)
        both = None if misses is None else (misses, asked or 0.0)
        return Group(cluster, _onset(cluster, now, window), explained[0] if explained else None, both)

    return _paused([group(cluster) for cluster in made.clusters], group)


def _paused(groups: Sequence[Group], group: Callable[[Cluster], Group]) -> list[Group]:
    """Groups of one service are one, if together they show that the whole process pauses: pauses strike now here, now there."""
    by_service: dict[str, list[Group]] = defaultdict(list)
    for one in groups:
        by_service[one.cause.service if one.cause else ""].append(one)
    found: list[Group] = []
    for service, held in by_service.items():
        whole = group(merged([one.cluster for one in held])) if service and len(held) > 1 else None
        is_pause = whole is not None and whole.cause is not None and whole.cause.shape is Shape.PAUSE
        found += [whole] if whole is not None and is_pause else held
    return found


def _onset(cluster: Cluster, now: Mapping[bytes, Sequence[Span]], window: Window) -> int:
    return onset([min(span.start_ns for span in now[one]) for one in cluster.traces], window.start_ns, window.end_ns)


def _misses(traces: Iterable[Sequence[Span]]) -> float | None:
    """Of the traces that ask a cache, the share that asks it in vain; None if none asks."""
    asked = [[span.attributes[CACHE_HIT] for span in trace if CACHE_HIT in span.attributes] for trace in traces]
    told = [any(hit is False for hit in hits) for hits in asked if hits]
    return sum(told) / len(told) if told else None


def _surges(lines: Sequence[Line], window: Window) -> tuple[Surge, ...]:
    return surges(lines, window.start_ns, window.end_ns, baseline_ns=window.baseline_ns)


def _changes(counted: Mapping[str, Sequence[Second]], spans: Iterable[Span], window: Window) -> Iterator[Change]:
    bins: dict[tuple[str, Metric], dict[int, tuple[int, int]]] = {}
    for span in spans:
        hit = span.attributes.get(CACHE_HIT)
        if isinstance(hit, bool):
            held = bins.setdefault((span.service, Metric.HITS), {})
            number = (span.end_ns - window.baseline_ns) // (BIN_S * SECOND_NS)
            hits, asked = held.get(number, (0, 0))
            held[number] = hits + hit, asked + 1
    for (service, metric), held in sorted(bins.items()):
        made = (share(window.baseline_ns + at * BIN_S * SECOND_NS, *held[at]) for at in sorted(held))
        yield from changes(service, metric, [one for one in made if one], window.start_ns)
    for service, seconds in sorted(counted.items()):
        for metric, series in points(seconds, window.baseline_ns, window.end_ns).items():
            yield from changes(service, metric, series, window.start_ns)


def acts_of_journal(session: Session, window: Window) -> list[Act]:
    """What the journal says was removed, from the baseline on; nothing where there is no journal."""
    try:
        with session.journal(read_only=True) as journal:
            late = [one for one in journal.operations() if _ns(one.last_at) >= window.baseline_ns]
            made = [_act(operation, tuple(journal.records(op=operation.id))) for operation in late]
            return [act for act in made if act and act.start_ns < window.end_ns]
    except Failure:
        return []  # an event can be told without it; whoever needs the journal is told by `audit`


def _act(operation: Operation, records: Sequence[Record]) -> Act | None:
    """From the first thing that went to the record after the last; None if nothing went."""
    removing = [number for number, record in enumerate(records) if record.state is State.REMOVING]
    if not removing:
        return None
    done = records[min(removing[-1] + 1, len(records) - 1)]
    what = f"{operation.data.get('kind', '')} {operation.data.get('target', '')}".strip()
    return Act(operation.id, what, _ns(records[removing[0]].at), _ns(done.at))


def _ns(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1e6) * 1_000


def acts_of_spans(spans: Iterable[Span], window: Window) -> list[Act]:
    """What our own spans say was removed, on this machine or another."""
    times: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        op = span.attributes.get(OP_ID)
        if isinstance(op, str) and span.name in {"guard.wave", "guard.execute"} and span.start_ns < window.end_ns:
            times[op].append(span)
    return [
        Act(op, "in waves", min(one.start_ns for one in held), max(one.end_ns for one in held))
        for op, held in sorted(times.items())
    ]


def _distinct(acts: Iterable[Act]) -> list[Act]:
    return list({act.op: act for act in reversed(list(acts))}.values())


def suspected(session: Session, op: str, since_s: int, baseline_s: int) -> dict[str, str]:
    """Why services speak against going on with an operation; see `signals.event.heeding`. What cannot be read is a suspicion as well."""
    try:
        return suspicions(look(session, window_of(since_s, baseline_s)).events, op)
    except Failure as failure:
        return {"anomalies": f"could not be looked for: {failure.what}"}


def wrong_lately(session: Session) -> dict[str, Value]:
    """What was wrong among services in the last half hour, for the evidence of a held operation; nothing without received traces."""
    if not (session.state_dir / SPANS).exists():
        return {}
    try:
        found = look(session, window_of(LATELY_S, LATELY_S), most=_FOR_EVIDENCE)
    except (Failure, ImportError):
        return {}  # the pack then says itself that nobody has told
    compared = f"{found.traces:,} traces of the last 30 minutes, compared with {found.before:,} of the 30 before"
    told = [f"{', '.join(sorted(one.services))}: {_line(one)}" for one in found.events[:_TOLD]]
    if not told and not found.why:
        told = ["nothing was wrong"]
    return {"dependents": [*told, found.why or compared]}


def _line(event: Event) -> str:
    if not event.causes:
        return f"{len(event.surges)} kinds of log lines are new or more frequent"
    first = event.causes[0]
    return f"{first.words} ({first.sure * 100:.0f} % sure: {first.why})"
