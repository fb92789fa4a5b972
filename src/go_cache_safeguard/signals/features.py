"""A trace as numbers: how it is built, where its time went, where errors begin; and how unusual each number is.

Knows:     what is measured of a trace, and how far from healthy ones a measure lies.
Called by: `signals.clusters`.
Never:     lets what varies among healthy requests look unusual, or a few odd ones among them change what is usual.

Each measure is compared with its median in the baseline, in units of its spread there: the greater of the median absolute deviation and
of the standard deviation without the outermost hundredths, so that a call which only some requests make is no surprise. What is less than
`NOTICE` units away counts as nothing, and the rest by its logarithm: healthy traces are all alike, and an unusual one is known by what is
unusual about it and not by how much.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import copysign, isnan, log1p, log2, nan, sqrt

from go_cache_safeguard.signals.selftime import CACHE_HIT, Node, trees, walk
from go_cache_safeguard.signals.span import Kind, Span

NOTICE = 3.5
"""Units of spread that are noticed: a measure of a healthy trace goes further in one of 2,000 cases."""
NOTICE_COUNT = 2.5
"""The same for how often something happens: what one request in eight does is usual, what one in twenty does is noticed."""
_MOST = 400
"""Measures of one window; those of the most traces are kept."""


class What(StrEnum):
    """What is measured; the text says what is unusual about it when there is more."""

    SPANS = "more calls"
    DEPTH = "deeper calls"
    FAN_OUT = "more calls at one place"
    REPEATED = "the same call again and again"
    MISSING = "missing spans"
    ERRORS = "errors"
    ERROR_DEPTH = "errors deeper down"
    WAITING = "more waiting for others"
    LENGTH = "slower"
    SERVICE_TIME = "more time in this service"
    SERVICE_MISSES = "look-ups in a cache in vain"
    TIME = "more time here"
    COUNT = "more often"
    FAILED = "errors begin here"


_FLOOR: Mapping[What, float] = {
    What.WAITING: 0.1,
    What.LENGTH: 0.15,
    What.SERVICE_TIME: 0.2,
    What.TIME: 0.2,
    What.FAILED: 0.1,
    What.MISSING: 0.1,
}
"""Least spread. Times are natural logarithms of milliseconds, so 0.2 is a fifth."""
_FLOOR_COUNT = 0.25
_WEIGHT: Mapping[What, float] = {
    What.SERVICE_TIME: 1.0,
    What.SERVICE_MISSES: 1.0,
    What.FAILED: 2.0,
    What.TIME: 1.0,
    What.COUNT: 1.0,
    What.MISSING: 1.0,
}
"""How much a measure tells traces apart; what belongs to no place is moved by every trouble, so it tells little."""
_WEIGHT_WHOLE = 0.4


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """One number.

    Attributes:
        what: What is measured.
        service: Where; empty for the whole trace.
        name: Of which work; empty for a whole service.
    """

    what: What
    service: str = ""
    name: str = ""

    @property
    def weight(self) -> float:
        """How much it tells traces apart."""
        return _WEIGHT.get(self.what, _WEIGHT_WHOLE)


@dataclass(frozen=True, slots=True)
class Measured:
    """One trace.

    Attributes:
        trace_id: 16 bytes.
        start_ns: When its first span began.
        end_ns: When its last span ended.
        values: Its measures; those that are not there are 0.
        path: Of each service that took part, those through which it was called, itself included.
        operations: Ids of operations of ours that its spans carry.
    """

    trace_id: bytes
    start_ns: int
    end_ns: int
    values: Mapping[Measure, float]
    path: Mapping[str, frozenset[str]]
    operations: frozenset[str] = frozenset()


def measure(spans: Sequence[Span], operation: str = "") -> Measured:
    """Measure one trace.

    Args:
        spans: All of one trace, at least one.
        operation: The attribute in which a span carries the id of an operation of ours.
    """
    roots = trees(spans)
    main = max(roots, key=lambda root: root.end_ns - root.start_ns)
    values: defaultdict[Measure, float] = defaultdict(float)
    path: dict[str, set[str]] = defaultdict(set)
    for root in roots:
        callers = {id(root): frozenset({root.span.service})}
        for node in walk(root):
            _add(values, node, timed=root is main)
            path[node.span.service] |= callers[id(node)]
            for child in node.children:
                callers[id(child)] = callers[id(node)] | {child.span.service}
    _whole(values, main, spans, sum(bool(root.span.parent_id) for root in roots))
    found = {str(span.attributes[operation]) for span in spans if operation in span.attributes}
    logs = {one: _scaled(one, value) for one, value in values.items() if value}
    return Measured(
        spans[0].trace_id,
        min(span.start_ns for span in spans),
        max(span.end_ns for span in spans),
        logs,
        {service: frozenset(through) for service, through in path.items()},
        frozenset(found),
    )


def _add(values: dict[Measure, float], node: Node, *, timed: bool) -> None:
    span = node.span
    place = (span.service, span.name)
    values[Measure(What.COUNT, *place)] += 1
    if timed:
        values[Measure(What.TIME, *place)] += node.path_ns / 1e6
        values[Measure(What.SERVICE_TIME, span.service)] += node.path_ns / 1e6
    if span.is_error and not any(child.span.is_error for child in node.children):
        values[Measure(What.FAILED, *place)] = 1
        values[Measure(What.ERRORS)] += 1
    if span.attributes.get(CACHE_HIT) is False:
        values[Measure(What.SERVICE_MISSES, span.service)] += 1


def _whole(values: dict[Measure, float], main: Node, spans: Sequence[Span], missing: int) -> None:
    """What is measured of a trace as a whole."""
    depth, deepest, failed, waiting = {id(main): 1}, 1, 0, 0
    widest = repeated = 1
    for node in walk(main):
        own = depth[id(node)]
        deepest = max(deepest, own)
        failed = max(failed, own if node.span.is_error else 0)
        waiting += node.path_ns if node.span.kind is Kind.CLIENT else 0
        widest = max(widest, len(node.children))
        repeated = max((repeated, *Counter((one.span.service, one.span.name) for one in node.children).values()))
        depth.update((id(child), own + 1) for child in node.children)
    length = main.end_ns - main.start_ns
    values[Measure(What.SPANS)] = len(spans)
    values[Measure(What.DEPTH)] = deepest
    values[Measure(What.FAN_OUT)] = widest
    values[Measure(What.REPEATED)] = repeated
    values[Measure(What.MISSING)] = missing
    values[Measure(What.ERROR_DEPTH)] = failed
    values[Measure(What.LENGTH)] = length / 1e6
    values[Measure(What.WAITING)] = waiting / length if length else 0.0


def _scaled(one: Measure, value: float) -> float:
    if one.what in {What.TIME, What.SERVICE_TIME, What.LENGTH}:
        return log1p(value)
    return value if one.what in {What.WAITING, What.FAILED} else log2(1 + value)


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual in a baseline.

    Attributes:
        measures: Those that count, in the order of rows.
        center: Their medians.
        unit: Their spreads.
    """

    measures: tuple[Measure, ...]
    center: tuple[float, ...]
    unit: tuple[float, ...]

    def row(self, trace: Measured) -> tuple[float, ...]:
        """How unusual each measure of a trace is: 0 if it is not."""
        return tuple(
            _noticed((_value(trace, one, center) - center) / unit, one.what) * one.weight
            for one, center, unit in zip(self.measures, self.center, self.unit, strict=True)
        )


def _value(trace: Measured, one: Measure, center: float) -> float:
    """A measure; the time of what did not happen is as usual, for that it did not is another measure."""
    return trace.values.get(one, center if one.what is What.TIME else 0.0)


def _noticed(away: float, what: What) -> float:
    beyond = abs(away) - (NOTICE_COUNT if what is What.COUNT else NOTICE)
    return copysign(log1p(beyond), away) if beyond > 0 else 0.0


def usual(baseline: Sequence[Measured], window: Iterable[Measured]) -> Usual:
    """Learn what is usual.

    Args:
        baseline: Mostly healthy traces.
        window: Traces that will be compared: what only they have counts as well.
    """
    often = Counter(one for trace in (*baseline, *window) for one in trace.values)
    measures = tuple(sorted(one for one, _ in sorted(often.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST]))
    both = [_center_and_unit(one, [_value(trace, one, nan) for trace in baseline]) for one in measures]
    return Usual(measures, tuple(center for center, _ in both), tuple(unit for _, unit in both))


def _center_and_unit(one: Measure, values: list[float]) -> tuple[float, float]:
    floor = _FLOOR.get(one.what, _FLOOR_COUNT)
    values = sorted(value for value in values if not isnan(value))
    if not values:
        return 0.0, floor
    center, cut = values[len(values) // 2], len(values) // 100
    away = sorted(abs(value - center) for value in values)[len(values) // 2]
    inner = values[cut : len(values) - cut]
    mean = sum(inner) / len(inner)
    spread = sqrt(sum((value - mean) ** 2 for value in inner) / len(inner))
    return center, max(1.4826 * away, spread, floor)
