"""One event out of many signs: unusual traces, log lines and changed metrics that belong together, and the likely cause.

Knows:     what belongs together: the same operation or trace, or the same time and service; and when an operation of ours is to blame.
Called by: `flows.anomalies`.
Never:     says that an operation of ours is the cause without saying how sure that is and why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from go_cache_safeguard.signals.cause import Cause
from go_cache_safeguard.signals.changepoint import Change
from go_cache_safeguard.signals.clusters import Cluster
from go_cache_safeguard.signals.drain import Surge

SLACK_NS = 10_000_000_000
"""By so much the times of signs of one event may differ: two bins of a metric."""
REACH_NS = 120_000_000_000
"""So long after the end of an operation may what it caused begin."""
BY_ID, BY_MISSES, BY_TIME, AGAINST = 0.95, 0.8, 0.4, 0.1
"""How sure it is that an operation is the cause: its id is in the traces; they ask caches in vain more than before; it only came before;
it came before, but they ask caches and find what they want."""
_MORE_MISSES = 0.2
_WEIGHTS = (0.5, 0.3, 0.2)
"""What traces, metrics and logs are worth as signs."""


@dataclass(frozen=True, slots=True)
class Act:
    """An operation of ours that removed something.

    Attributes:
        op: Its id.
        what: Which kind, and of what.
        start_ns: When the first thing went.
        end_ns: When the last did.
    """

    op: str
    what: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster, and what else is known of its traces.

    Attributes:
        cluster: The traces.
        start_ns: From when on there are more of them; a few may have been there before.
        cause: What explains them best; None if nothing does.
        misses: Of the traces that ask a cache, the share that asks in vain, 0 to 1: now, and in the baseline; None if none asks.
    """

    cluster: Cluster
    start_ns: int
    cause: Cause | None = None
    misses: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Blame:
    """A likely cause.

    Attributes:
        words: For people.
        sure: 0 to 1.
        why: What that rests on.
        operation: The id of an operation of ours; empty if it is none.
        place: Service and work; empty where unknown.
    """

    words: str
    sure: float
    why: str
    operation: str = ""
    place: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that went wrong.

    Attributes:
        start_ns: When its first sign was seen.
        end_ns: When the last was.
        services: Those that feel it.
        groups: Unusual traces.
        surges: Log lines.
        changes: Metrics.
        causes: The likely cause first; empty if there is no telling.
        score: How much speaks for there being something at all, 0 to 1.
    """

    start_ns: int
    end_ns: int
    services: frozenset[str]
    groups: tuple[Group, ...]
    surges: tuple[Surge, ...]
    changes: tuple[Change, ...]
    causes: tuple[Blame, ...]
    score: float

    @property
    def operation(self) -> str:
        """The operation of ours that is the likely cause; empty if none is."""
        return self.causes[0].operation if self.causes else ""


@dataclass(slots=True)
class _Core:
    """An event that is being put together."""

    groups: list[Group] = field(default_factory=list)
    surges: list[Surge] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        starts = [group.start_ns for group in self.groups]
        return min((*starts, *(one.start_ns for one in self.surges), *(one.start_ns for one in self.changes)))

    @property
    def onset_ns(self) -> int:
        """When it began, as exactly as can be told: traces know it to the moment, metrics to a bin."""
        return min((group.start_ns for group in self.groups), default=self.start_ns)

    @property
    def end_ns(self) -> int:
        ends = [group.cluster.end_ns for group in self.groups]
        return max((*ends, *(one.end_ns for one in self.surges), *(one.end_ns for one in self.changes)))

    @property
    def services(self) -> frozenset[str]:
        return frozenset().union(
            *(group.cluster.services for group in self.groups),
            *(surge.services for surge in self.surges),
            (change.service for change in self.changes),
        )

    @property
    def operations(self) -> frozenset[str]:
        return frozenset().union(
            *(group.cluster.operations for group in self.groups), *(surge.operations for surge in self.surges)
        )


def join(
    groups: Iterable[Group], surges: Iterable[Surge], changes: Iterable[Change], acts: Sequence[Act]
) -> tuple[Event, ...]:
    """Put signs together into events, the most important first.

    Args:
        groups: Unusual traces.
        surges: Log lines that are new or more frequent.
        changes: Metrics that are not what they were.
        acts: What we removed in that time.
    """
    cores = _merged(groups, acts)
    loose: list[_Core] = []
    for change in sorted(changes, key=lambda one: (one.start_ns, one.service, one.metric)):
        _home(change, change.service, cores, loose).changes.append(change)
    for surge in sorted(surges, key=lambda one: (one.start_ns, one.id)):
        (_by_trace(surge, cores) or _home(surge, "", cores, loose)).surges.append(surge)
    events = [_event(core, acts) for core in (*cores, *loose)]
    return tuple(sorted(events, key=lambda one: (-one.score, one.start_ns, sorted(one.services))))


def _merged(groups: Iterable[Group], acts: Sequence[Act]) -> list[_Core]:
    """Groups of one operation, or of one cause, are one event."""
    found: dict[object, _Core] = {}
    for number, group in enumerate(groups):
        core = _Core([group])
        blamed = _blames(core, acts)
        first = blamed[0] if blamed else None
        key = (first.operation or first.place) if first else number
        found.setdefault(key, _Core()).groups.append(group)
    return list(found.values())


def _by_trace(surge: Surge, cores: Iterable[_Core]) -> _Core | None:
    """The event with the most of a template's traces, or with its operation."""
    best, most = None, 0
    for core in cores:
        ids = {one.hex() for group in core.groups for one in group.cluster.traces}
        shared = len(ids & surge.traces) + bool(surge.operations & core.operations)
        if shared > most:
            best, most = core, shared
    return best


def _home(sign: Change | Surge, service: str, cores: Iterable[_Core], loose: list[_Core]) -> _Core:
    """The event of the same time and service that began nearest to a sign; else one of signs without traces."""
    services = {service} if isinstance(sign, Change) else sign.services
    near = [core for core in cores if _meets(sign, core) and services & core.services]
    if near:
        return min(near, key=lambda core: abs(core.start_ns - sign.start_ns))
    for core in loose:
        if _meets(sign, core) and abs(core.start_ns - sign.start_ns) <= 3 * SLACK_NS:
            return core
    loose.append(_Core())
    return loose[-1]


def _meets(sign: Change | Surge, core: _Core) -> bool:
    return sign.start_ns <= core.end_ns + SLACK_NS and core.onset_ns <= sign.start_ns + 3 * SLACK_NS


def _event(core: _Core, acts: Sequence[Act]) -> Event:
    parts = (core.groups, core.changes, core.surges)
    return Event(
        core.start_ns,
        core.end_ns,
        core.services,
        tuple(core.groups),
        tuple(core.surges),
        tuple(core.changes),
        tuple(_blames(core, acts)),
        sum(weight for weight, part in zip(_WEIGHTS, parts, strict=True) if part),
    )


def _blames(core: _Core, acts: Sequence[Act]) -> list[Blame]:
    """Likely causes. An operation of ours that came before is first, unless the traces speak against it."""
    ours = sorted((_ours(core, act) for act in acts if _before(core, act)), key=lambda one: -one.sure)
    found: dict[tuple[str, str], Blame] = {}
    for group in sorted(core.groups, key=lambda one: -len(one.cluster.traces)):
        if group.cause:
            place = (group.cause.service, group.cause.name)
            found.setdefault(place, _theirs(group, group.cause, place))
    others = list(found.values()) or _first_sign(core)
    first = [blame for blame in ours if blame.sure > AGAINST]
    return [*first, *others, *(blame for blame in ours if blame.sure <= AGAINST)]


def _before(core: _Core, act: Act) -> bool:
    if act.op in core.operations:
        return True
    return act.start_ns <= core.onset_ns + SLACK_NS and core.onset_ns <= act.end_ns + REACH_NS


def _ours(core: _Core, act: Act) -> Blame:
    sure, why = BY_TIME, "it came before, and nothing else is known"
    asked = [group.misses for group in core.groups if group.misses is not None]
    if act.op in core.operations:
        sure, why = BY_ID, "its id is in what went wrong"
    elif asked:
        now, before = max(asked, key=lambda pair: pair[0] - pair[1])
        misses = f"{now * 100:.0f} % of the requests that ask a cache ask in vain, {before * 100:.0f} % before"
        sure = BY_MISSES if now - before >= _MORE_MISSES else AGAINST
        why = f"it came before; {misses}"
    late_s = (core.onset_ns - act.start_ns) / 1e9
    when = f"began {late_s:.0f} s before" if late_s > 0 else "began at the same time"
    return Blame(f"our operation {act.op} ({act.what}), which {when}", sure, why, act.op)


def _theirs(group: Group, cause: Cause, place: tuple[str, str]) -> Blame:
    why = f"it explains {cause.score * 100:.0f} % of the trouble in {len(group.cluster.traces)} traces"
    return Blame(cause.sentence, cause.score, why, place=place)


def _first_sign(core: _Core) -> list[Blame]:
    """Without traces the earliest change is all that can be said."""
    if core.groups:
        widest = max(core.groups, key=lambda one: len(one.cluster.traces))
        return [Blame(widest.cluster.words, 0.2, "this is what sets the traces apart")]
    if not core.changes:
        return []
    first = min(core.changes, key=lambda one: (one.start_ns, -one.strength))
    return [Blame(first.words, 0.2, "it was the first sign", place=(first.service, ""))]


def suspicions(events: Iterable[Event], op: str) -> dict[str, str]:
    """Why each service speaks against going on with an operation: those of events that it is the likely cause of."""
    return {
        service: f"an event since points at this operation: {event.causes[0].why}"
        for event in events
        if event.operation == op
        for service in event.services
    }
