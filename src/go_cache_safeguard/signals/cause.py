"""Why requests are slow or fail: what differs most from healthy ones, in a sentence.

Knows:     how much of a slowdown and of new errors each kind of work explains, and what such work is called among people.
Called by: `flows.rootcause`.
Never:     calls something a cause that is as in the baseline; without a baseline it says where the time went, and no more.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from go_cache_safeguard.signals.selftime import Profile, Work
from go_cache_safeguard.signals.span import Kind


class Shape(StrEnum):
    """What kind of trouble it is; the text is half a sentence."""

    POOL = "waiting for a connection from the pool"
    LOCK = "waiting for a lock"
    NAMES = "looking up a name"
    RETRIES = "trying again what fails"
    MANY = "calling the same thing many times"
    MISSES = "loading what a cache no longer has"
    TIMEOUT = "waiting for an answer that does not come"
    NETWORK = "on the way between two services"
    QUERY = "waiting for the database"
    PAUSE = "pauses of the whole process"
    WORK = "its own work"


_REPEATED = frozenset({Shape.RETRIES, Shape.MANY, Shape.MISSES})
_VISIBLE = 0.1
"""A share of the time that is worth saying."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One candidate.

    Attributes:
        service: Where.
        name: Which work; empty when it is the whole process.
        shape: What kind of trouble.
        score: How much of the trouble it explains, 0 to 1.
        share: Of the requests' time that was spent there, 0 to 1.
        share_before: The same in the baseline; None without one.
        failing: Of the requests, how many fail where it begins, 0 to 1.
        failing_before: The same in the baseline; None without one.
        per_trace: How often it happens in each request.
        per_trace_before: The same in the baseline; None without one.
        trace_id: An example, in hex.
    """

    service: str
    name: str
    shape: Shape
    score: float
    share: float
    share_before: float | None
    failing: float
    failing_before: float | None
    per_trace: float
    per_trace_before: float | None
    trace_id: str

    @property
    def sentence(self) -> str:
        """The first line of an answer."""
        where = f"{self.name} in {self.service}" if self.name else self.service
        slower = self.share - (self.share_before or 0.0)
        if self.shape in _REPEATED and slower < _VISIBLE:
            said = f"{self.shape} ({where}): {self.per_trace:.1f} times in each request"
            return said if self.per_trace_before is None else f"{said}, {self.per_trace_before:.1f} in the baseline"
        if self.shape not in _REPEATED and self.failing - (self.failing_before or 0.0) > slower:
            said = f"{_percent(self.failing)} of the requests fail where {where} fails first"
            return f"{said}{_compared(self.failing_before)}"
        said = f"{_percent(self.share)} of the time is {self.shape} ({where})"
        if self.shape in _REPEATED:
            said += f", {self.per_trace:.1f} times in each request"
        return f"{said}{_compared(self.share_before)}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def _compared(before: float | None) -> str:
    return "" if before is None else f", {_percent(before)} in the baseline"


@dataclass(frozen=True, slots=True)
class _Gain:
    """What one kind of work has more of than in the baseline, for each request."""

    work: Work
    before: Work | None
    time_ns: float
    failed: float


_POOL = re.compile(
    r"getresource|getconnection|borrow|(acquire|checkout|wait)\W*(a\W*)?(conn|pool)|pool\W*(wait|acquire|get)",
    re.IGNORECASE,
)
_LOCK = re.compile(r"lock|mutex|semaphore|for update|synchronized", re.IGNORECASE)
_NAMES = re.compile(r"\bdns\b|getaddrinfo|resolve\W*host|name\W*lookup", re.IGNORECASE)
_QUERY = re.compile(r"^(select|insert|update|delete|merge|with)\b", re.IGNORECASE)
_MANY_TIMES = 3.0
_AS_MUCH = 0.8
_SPREAD, _SPREAD_NAMES, _SPREAD_LEAST, _ONE_SERVICE = 0.6, 3, 0.06, 0.6
"""A pause: no name has more than 60 % of its service's excess, three have 6 %, and the service has 60 % of all."""


def causes(now: Profile, before: Profile | None) -> tuple[Cause, ...]:
    """What explains the trouble, the best explanation first.

    Args:
        now: Of requests that are slow or fail.
        before: Of healthy requests of the same kind; without it, time alone counts.
    """
    if not now.traces or not now.works:
        return ()
    gains = [_gain(work, now, before) for work in now.works.values()]
    if before is not None and before.traces:
        gains = _lifted(gains, now, before)
    slower = sum(max(0.0, gain.time_ns) for gain in gains)
    failing = sum(max(0.0, gain.failed) for gain in gains)
    late, broken = _weights(now, before)
    found = []
    for gain in gains:
        score = late * _part(gain.time_ns, slower) + broken * _part(gain.failed, failing)
        if score > 0:
            found.append(_cause(gain, score / (late + broken), now, before))
    found.extend(_pauses(gains, slower, late / (late + broken) if late + broken else 0, now, before))
    return tuple(sorted(found, key=lambda cause: (-cause.score, cause.service, cause.name)))


def _weights(now: Profile, before: Profile | None) -> tuple[float, float]:
    """How much of the trouble is lateness, and how much failure."""
    mean = now.total_ns / now.traces
    failing = now.failed / now.traces
    if before is None or not before.traces:
        return (1.0, failing) if mean else (0.0, failing)
    late = max(0.0, mean - before.total_ns / before.traces) / mean if mean else 0.0
    return late, max(0.0, failing - before.failed / before.traces)


def _gain(work: Work, now: Profile, before: Profile | None) -> _Gain:
    time_ns, failed = work.path_ns / now.traces, work.failed / now.traces
    other = before.works.get((work.service, work.name)) if before else None
    if other and before:
        time_ns -= other.path_ns / before.traces
        failed -= other.failed / before.traces
    return _Gain(work, other, time_ns, failed)


def _lifted(gains: list[_Gain], now: Profile, before: Profile) -> list[_Gain]:
    """What happens more often only because its caller does is the caller's: lift its gain to where the numbers begin to grow."""
    grown = {(one.work.service, one.work.name): _growth(one, now, before) for one in gains}
    time_ns: Counter[tuple[str, str]] = Counter()
    for gain in gains:
        place = (gain.work.service, gain.work.name)
        seen: set[tuple[str, str]] = set()
        while grown[place] >= _MANY_TIMES and place not in seen:
            seen.add(place)
            caller = next(iter(now.works[place].callers.most_common(1)), (place, 0))[0]
            if grown[caller] < _AS_MUCH * grown[place]:
                break
            place = caller
        time_ns[place] += int(gain.time_ns)
    return [replace(gain, time_ns=time_ns[gain.work.service, gain.work.name]) for gain in gains]


def _growth(gain: _Gain, now: Profile, before: Profile) -> float:
    """How many times as often it happens in each request; 0 for what the baseline does not have."""
    usual = gain.before.spans / before.traces if gain.before else 0.0
    return gain.work.spans / now.traces / usual if usual else 0.0


def _part(value: float, whole: float) -> float:
    return max(0.0, value) / whole if whole > 0 else 0.0


def _cause(gain: _Gain, score: float, now: Profile, before: Profile | None) -> Cause:
    work, other = gain.work, gain.before
    total_before = before.total_ns if before else 0
    return Cause(
        work.service,
        work.name,
        _shape(gain, now, before),
        score,
        work.path_ns / now.total_ns if now.total_ns else 0.0,
        None if before is None else (other.path_ns / total_before if other and total_before else 0.0),
        len(work.failing) / now.traces,
        None if before is None else (len(other.failing) / before.traces if other else 0.0),
        work.spans / now.traces,
        None if before is None else (other.spans / before.traces if other else 0.0),
        work.sample.trace_id.hex() if work.sample else "",
    )


def _shape(gain: _Gain, now: Profile, before: Profile | None) -> Shape:
    work, name = gain.work, gain.work.name
    for pattern, shape in ((_POOL, Shape.POOL), (_LOCK, Shape.LOCK), (_NAMES, Shape.NAMES)):
        if pattern.search(name):
            return shape
    often = work.spans / now.traces
    usual = gain.before.spans / before.traces if gain.before and before else 0.0
    if before and often >= _MANY_TIMES * max(usual, 0.1):
        if work.failed * 2 >= work.spans:
            return Shape.RETRIES
        if _misses(work.service, now.works) > _misses(work.service, before.works) + 0.2:
            return Shape.MISSES
        if often >= _MANY_TIMES:
            return Shape.MANY
    database = work.sample is not None and any(key.startswith("db.") for key in work.sample.attributes)
    if database or _QUERY.search(name):
        return Shape.QUERY
    if work.kind is Kind.CLIENT:
        return Shape.NETWORK if work.answered * 2 >= work.spans and work.failed * 2 < work.spans else Shape.TIMEOUT
    return Shape.WORK


def _misses(service: str, works: Mapping[tuple[str, str], Work]) -> float:
    """The highest share of a service's cache look-ups that find nothing."""
    return max((work.missed / work.spans for (of, _name), work in works.items() if of == service), default=0.0)


def _pauses(
    gains: Iterable[_Gain], slower: float, late: float, now: Profile, before: Profile | None
) -> Iterable[Cause]:
    """Services in which everything is slower: garbage collection, a starved processor, a host in trouble."""
    by_service: dict[str, list[_Gain]] = defaultdict(list)
    for gain in gains:
        if gain.time_ns > 0:
            by_service[gain.work.service].append(gain)
    for own in by_service.values():
        whole = sum(gain.time_ns for gain in own)
        parts = sorted((gain.time_ns / whole for gain in own), reverse=True)
        spread = parts[0] <= _SPREAD and sum(part >= _SPREAD_LEAST for part in parts) >= _SPREAD_NAMES
        if before is None or not spread or whole < _ONE_SERVICE * slower:
            continue
        most = max(own, key=lambda gain: gain.time_ns)
        one = _cause(most, late * whole / slower, now, before)
        share = sum(gain.work.path_ns for gain in own) / now.total_ns
        usual = sum(gain.before.path_ns for gain in own if gain.before) / before.total_ns if before.total_ns else 0.0
        yield replace(one, name="", shape=Shape.PAUSE, share=share, share_before=usual)
