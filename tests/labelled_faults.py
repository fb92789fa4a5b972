"""Whole situations with faults of known place and time: what anomalies are scored with.

Traces are those of `faulty_traces`. A situation has a quiet time, a window in which the fault begins, traces that are odd each in a way
of its own, and an operation of ours: just before the fault where a cold cache is the fault, and long before where it is not.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from faulty_traces import BEGIN_NS, FAULTS, Fault, made
from go_cache_safeguard.flows.anomalies import Found, Read, Window, judge
from go_cache_safeguard.signals.event import REACH_NS, Act, Event
from go_cache_safeguard.signals.red import SECOND_NS, Second, counted
from go_cache_safeguard.signals.selftime import trees, walk
from go_cache_safeguard.signals.span import Span, Status

Trace = list[Span]
QUIET_S, CALM_S, TROUBLE_S = 400, 200, 100
WINDOW = Window(BEGIN_NS, BEGIN_NS + QUIET_S * SECOND_NS, BEGIN_NS + (QUIET_S + CALM_S + TROUBLE_S) * SECOND_NS)
ONSET_NS = WINDOW.start_ns + CALM_S * SECOND_NS
HEALTHY, ODD = 0, -1
OP = "op_0123456789abcdef"


def traces_of(spans: Sequence[Span]) -> list[Trace]:
    """Spans by trace, in the order in which traces began."""
    found: dict[bytes, Trace] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return list(found.values())


def moved(trace: Trace, by_ns: int) -> Trace:
    """The same at another time."""
    return [replace(span, start_ns=span.start_ns + by_ns, end_ns=span.end_ns + by_ns) for span in trace]


def is_struck(trace: Trace, fault: Fault) -> bool:
    """Whether a fault that strikes some requests struck this one: what was injected is there."""
    nodes = [node for root in trees(trace) for node in walk(root)]
    if fault.pauses_ms:
        longest = max((node.self_ns for node in nodes if node.span.service == fault.truth[0]), default=0)
        return longest > fault.pauses_ms * 0.25e6
    there = [node for node in nodes if (node.span.service, node.span.name) == fault.truth]
    if fault.times > 1:
        return len(there) * 2 >= fault.times
    if fault.share is not None:
        return bool(there)
    slow = fault.slow_ms and any(node.self_ns > fault.slow_ms * 0.25e6 for node in there)
    return bool(slow) or any(node.span.is_error for node in there)


def odd(trace: Trace, chance: random.Random) -> Trace:
    """A healthy trace with two to four oddities at places of their own: late, failed, new calls, a missing parent."""
    found = list(trace)
    for _ in range(chance.randint(2, 4)):
        at = chance.choice([at for at, span in enumerate(found) if span.parent_id])
        span = found[at]
        match chance.randrange(4):
            case 0:
                _delay(found, at, int(chance.uniform(200, 5_000) * 1e6))
            case 1:
                found[at] = replace(span, status=Status.ERROR)
            case 2:
                name = f"odd {chance.randrange(10**6)}"
                new = [replace(span, span_id=chance.randbytes(8), name=name) for _ in range(chance.randint(1, 6))]
                found += new
            case _:
                found[at] = replace(span, parent_id=chance.randbytes(8))
    return found


def _delay(trace: Trace, at: int, by_ns: int) -> None:
    """Make a span and everything that waits for it longer."""
    numbers = {span.span_id: number for number, span in enumerate(trace)}
    number: int | None = at
    while number is not None:
        trace[number] = replace(trace[number], end_ns=trace[number].end_ns + by_ns)
        number = numbers.get(trace[number].parent_id)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is looked at, and what is true.

    Attributes:
        faults: Those that were injected, in the order of their labels, from 1.
        read: Everything that can be seen.
        truth: The label of each trace of the window: `HEALTHY`, `ODD`, or which fault struck it.
    """

    faults: tuple[Fault, ...]
    read: Read
    truth: dict[bytes, int]


def situation(system: str, faults: Sequence[Fault], seed: int, *, each: int = 50, odds: int = 10) -> Situation:
    """A situation with some faults at once.

    Args:
        system: `shop`, `media` or `bank`.
        faults: Which; none for a healthy window.
        seed: Of chance.
        each: Requests that meet each fault; it need not strike all.
        odds: Odd traces.
    """
    chance = random.Random(seed)  # noqa: S311 - a load, no secret
    quiet = made(system, QUIET_S, seed)
    usual = traces_of(made(system, CALM_S + TROUBLE_S, seed + 1))
    now = [(moved(trace, WINDOW.start_ns - BEGIN_NS), HEALTHY) for trace in usual]
    for label, fault in enumerate(faults, 1):
        for number, trace in enumerate(traces_of(made(system, each, seed + 10 + label, fault))):
            at_ns = ONSET_NS - BEGIN_NS + (TROUBLE_S - 10) * SECOND_NS * number // each - number * SECOND_NS
            now.append((moved(trace, at_ns), label if is_struck(trace, fault) else HEALTHY))
    for number, trace in enumerate(traces_of(made(system, odds, seed + 99))):
        at_ns = WINDOW.start_ns - BEGIN_NS + chance.randrange(CALM_S) * SECOND_NS - number * SECOND_NS
        now.append((odd(moved(trace, at_ns), chance), ODD))
    truth = {trace[0].trace_id: label for trace, label in now}
    spans = [span for trace, _ in now for span in trace]
    cold = any("cold cache" in fault.name for fault in faults)
    end_ns = ONSET_NS - (SECOND_NS if cold else REACH_NS + 60 * SECOND_NS)
    act = Act(OP, "redis 127.0.0.1:6379", end_ns - 5 * SECOND_NS, end_ns)
    read = Read(quiet, spans, _counted([*quiet, *spans]), (), (act,))
    return Situation(tuple(faults), read, truth)


def _counted(spans: Sequence[Span]) -> dict[str, list[Second]]:
    seconds: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    errors: dict[tuple[str, int], float] = defaultdict(float)
    for (service, second, bucket), count in counted(spans).items():
        seconds[service, second][bucket] = count.requests
        errors[service, second] += count.errors
    found: dict[str, list[Second]] = defaultdict(list)
    for (service, second), held in sorted(seconds.items()):
        found[service].append(Second(service, second, sum(held.values()), errors[service, second], held))
    return found


@dataclass(frozen=True, slots=True)
class Score:
    """How right it was.

    Attributes:
        ari: Adjusted Rand index of healthy and struck traces, those in no group being one.
        noise: Of the odd traces, the share that was told as noise.
        named: How many faults an event names rightly: the operation if there was a purge, else service and work.
        faults: Of how many.
        false: Events with traces that are of no fault.
    """

    ari: float
    noise: float
    named: int
    faults: int
    false: int


def scored(one: Situation) -> Score:
    """Judge a situation, and compare with the truth."""
    from sklearn.metrics import adjusted_rand_score

    found = judge(WINDOW, one.read)
    groups = [group for event in found.events for group in event.groups]
    label = {trace: number for number, group in enumerate(groups, 1) for trace in group.cluster.traces}
    noise = {bytes.fromhex(trace) for trace in found.noise}
    told = {trace: label.get(trace, ODD if trace in noise else HEALTHY) for trace in one.truth}
    known = [trace for trace, true in one.truth.items() if true != ODD]
    odds = [trace for trace, true in one.truth.items() if true == ODD]
    ari = adjusted_rand_score([one.truth[trace] for trace in known], [told[trace] for trace in known])
    named = sum(_names(found, one, number, fault) for number, fault in enumerate(one.faults, 1))
    false = sum(bool(event.groups) and not _main(event, one.truth) > 0 for event in found.events)
    share = sum(told[trace] == ODD for trace in odds) / len(odds) if odds else 1.0
    return Score(float(ari), share, named, len(one.faults), false)


def _main(event: Event, truth: dict[bytes, int]) -> int:
    """The label of most traces of an event."""
    labels = [truth[trace] for group in event.groups for trace in group.cluster.traces]
    return max(set(labels), key=labels.count)


def _names(found: Found, one: Situation, label: int, fault: Fault) -> bool:
    """Whether the event of most traces of a fault names it first; of a purge, the operation."""
    struck = {trace for trace, true in one.truth.items() if true == label}
    events = sorted(
        found.events,
        key=lambda event: -sum(trace in struck for group in event.groups for trace in group.cluster.traces),
    )
    if not events or not events[0].groups or not events[0].causes:
        return False
    event = events[0]
    if "cold cache" in fault.name:
        return event.operation == OP and any(blame.place == fault.truth for blame in event.causes)
    return any(blame.place == fault.truth for blame in event.causes[: len(event.groups)]) and not event.operation


def every_fault() -> list[tuple[str, Fault]]:
    """All faults of all systems."""
    return [(system, fault) for system, faults in FAULTS.items() for fault in faults]
