"""Unusual traces in groups that are alike, and what each group has that others have not.

Knows:     how traces are compared with a baseline, that a group which was as frequent before is no news, and how a group is told.
Called by: `flows.anomalies`.
Never:     looks at more traces than `MOST_TRACES`; takes an odd trace into a group that it does not belong to: noise is kept apart.
Source:    HDBSCAN of scikit-learn (R. Campello et al. 2013). Its time grows with the square: 5,000 rows 0.4 s of CPU, 20,000 rows 6.8 s.
           It is loaded when there is something to cluster: 1.2 s, 130 MB.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import TYPE_CHECKING

from go_cache_safeguard.signals.features import Measure, Measured, Usual, What, usual
from go_cache_safeguard.signals.rank import more_often

if TYPE_CHECKING:
    import numpy as np

MOST_TRACES = 5_000
"""Traces of a window, and of its baseline, that are looked at."""
LEAST = 6
"""Traces of a group."""
_NOT_BY_CHANCE = 0.001
_EXAMPLES = 3
_TOLD = 3
_WEAK, _STRONG = 1.1, 2.0
"""The length of a row below which a trace is not unusual, and the length of a row that is unusual enough for its direction alone to count."""
_NOISE, _KNOWN = -1, -2
_SAME = 0.5
"""An odd trace so near to an odd one of the baseline is as odd as there were before."""
_ALIKE, _NEAR = 0.8, 0.7
"""Cosines of the angle between rows: two groups are one if their middles are so alike, and a trace belongs to a group that is so near."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Traces that are unusual in the same way.

    Attributes:
        traces: Their ids, the most typical first.
        start_ns: When the first began.
        end_ns: When the last ended.
        marks: What sets them apart, the strongest first: a measure, and how much more (or less, if negative) of it there is.
        services: Those in which something is unusual, and those through which they were called.
        share: Of all traces of the window, 0 to 1.
        share_before: Of the baseline's, 0 to 1.
        operations: Ids of operations of ours that at least half of the traces carry.
    """

    traces: tuple[bytes, ...]
    start_ns: int
    end_ns: int
    marks: tuple[tuple[Measure, float], ...]
    services: frozenset[str]
    share: float
    share_before: float
    operations: frozenset[str]

    @property
    def examples(self) -> tuple[str, ...]:
        """A few of them, in hex."""
        return tuple(one.hex() for one in self.traces[:_EXAMPLES])

    @property
    def words(self) -> str:
        """What sets them apart, for people."""
        return ", ".join(_told(one, much) for one, much in self.marks[:_TOLD])


def _told(one: Measure, much: float) -> str:
    what = str(one.what) if much > 0 else _LESS.get(one.what, f"not {one.what}")
    where = f"{one.name} in {one.service}" if one.name else one.service
    return f"{what} ({where})" if where else what


_LESS: Mapping[What, str] = {
    What.SPANS: "fewer calls",
    What.DEPTH: "calls are less deep",
    What.FAN_OUT: "fewer calls at one place",
    What.WAITING: "less waiting for others",
    What.LENGTH: "faster",
    What.SERVICE_TIME: "less time in this service",
    What.TIME: "less time here",
    What.COUNT: "less often",
}


@dataclass(frozen=True, slots=True)
class Clustered:
    """What a window shows.

    Attributes:
        clusters: The largest first.
        noise: Unusual traces that are like no others.
        traces: How many were looked at.
        before: How many of the baseline they were compared with.
    """

    clusters: tuple[Cluster, ...]
    noise: tuple[bytes, ...]
    traces: int
    before: int


def clustered(window: Sequence[Measured], baseline: Sequence[Measured]) -> Clustered:
    """Find groups of unusual traces that were not there, or were rarer, before.

    Args:
        window: The newest `MOST_TRACES` are looked at.
        baseline: Mostly healthy, from before; likewise. Without any, nothing is unusual.
    """
    now = sorted(window, key=lambda trace: (trace.start_ns, trace.trace_id))[-MOST_TRACES:]
    before = sorted(baseline, key=lambda trace: (trace.start_ns, trace.trace_id))[-MOST_TRACES:]
    if not before:
        return Clustered((), (), len(now), 0)
    known = usual(before, now)
    rows = ((trace, known.row(trace)) for trace in (*now, *before))
    both = [(trace, row) for trace, row in rows if hypot(*row) >= _WEAK]
    new = {id(trace) for trace in now}
    labels = _labels([row for _, row in both], [id(trace) in new for trace, _ in both])
    found, noise = [], []
    for label, members in _by_label(labels, both).items():
        fresh = [pair for pair in members if id(pair[0]) in new]
        if label == _NOISE:
            noise += [trace.trace_id for trace, _ in fresh]
        elif label >= 0 and more_often(len(fresh), len(now), len(members) - len(fresh), len(before)) < _NOT_BY_CHANCE:
            old = (len(members) - len(fresh)) / len(before)
            found.append(_cluster(fresh, known, len(fresh) / len(now), old))
    found.sort(key=lambda one: (-len(one.traces), one.start_ns))
    return Clustered(tuple(found), tuple(noise), len(now), len(before))


_Row = tuple[float, ...]


def _by_label(labels: Iterable[int], both: Sequence[tuple[Measured, _Row]]) -> dict[int, list[tuple[Measured, _Row]]]:
    found: dict[int, list[tuple[Measured, _Row]]] = defaultdict(list)
    for label, pair in zip(labels, both, strict=True):
        found[label].append(pair)
    return found


def _labels(rows: Sequence[_Row], fresh: Sequence[bool]) -> list[int]:
    """The group of each row; `_NOISE` for none, and `_KNOWN` if in the baseline there is one so odd as well.

    Args:
        rows: Of the window and of the baseline.
        fresh: Which are of the window.
    """
    if not rows:
        return []
    import numpy as np  # noqa: PLC0415 - an extra, loaded where used

    table = np.asarray(rows)
    table /= np.linalg.norm(table, axis=1, keepdims=True).clip(min=_STRONG)  # what is unusual, not how much
    table = table[:, table.any(axis=0)]
    labels = np.full(len(rows), _NOISE)
    if (middles := _middles(table)) is not None:
        groups = np.asarray(_joined((middles @ middles.T >= _ALIKE).tolist()))
        near = table @ middles.T
        labels = np.where(near.max(axis=1) >= _NEAR, groups[near.argmax(axis=1)], _NOISE)
    odd, old = labels == _NOISE, ~np.asarray(fresh)
    if (odd & old).any():
        for at in np.flatnonzero(odd & ~old):
            if np.linalg.norm(table[odd & old] - table[at], axis=1).min() < _SAME:
                labels[at] = _KNOWN
    return [int(label) for label in labels]


def _middles(table: "np.ndarray") -> "np.ndarray | None":
    """The directions of dense groups of rows; None without any."""
    import numpy as np  # noqa: PLC0415 - an extra, loaded where used

    if len(table) < LEAST:
        return None
    from sklearn.cluster import HDBSCAN  # noqa: PLC0415 - likewise, and it takes a second

    labels = HDBSCAN(min_cluster_size=LEAST, min_samples=3, allow_single_cluster=True, copy=True).fit_predict(table)
    found = [np.median(table[labels == label], axis=0) for label in range(labels.max() + 1)]
    lengths = [np.linalg.norm(middle) for middle in found]
    kept = [middle / length for middle, length in zip(found, lengths, strict=True) if length > 0]
    return np.asarray(kept) if kept else None


def _joined(alike: Sequence[Sequence[bool]]) -> list[int]:
    """The group of each thing, if things that are alike, or alike to something that is, are one group."""
    groups = list(range(len(alike)))
    for one, row in enumerate(alike):
        for other, same in enumerate(row[:one]):
            if same:
                old, new = groups[one], groups[other]
                groups = [new if group == old else group for group in groups]
    return groups


def _cluster(members: Sequence[tuple[Measured, _Row]], known: Usual, share: float, share_before: float) -> Cluster:
    columns = list(zip(*(row for _, row in members), strict=True))
    middle = [sorted(column)[len(column) // 2] for column in columns]
    order = sorted(range(len(middle)), key=lambda at: (-abs(middle[at]), known.measures[at]))
    marks = tuple((known.measures[at], middle[at]) for at in order if middle[at])
    typical = sorted(members, key=lambda pair: (_distance(pair[1], middle), pair[0].trace_id))
    traces = [trace for trace, _ in typical]
    carried = Counter(one for trace in traces for one in trace.operations)
    return Cluster(
        tuple(trace.trace_id for trace in traces),
        min(trace.start_ns for trace in traces),
        max(trace.end_ns for trace in traces),
        marks,
        _services(marks, traces),
        share,
        share_before,
        frozenset(one for one, count in carried.items() if 2 * count >= len(traces)),
    )


def merged(parts: Sequence[Cluster]) -> Cluster:
    """Clusters that turned out to be one, under the name of the largest."""
    first, *others = sorted(parts, key=lambda one: -len(one.traces))
    return replace(
        first,
        traces=tuple(trace for one in (first, *others) for trace in one.traces),
        start_ns=min(one.start_ns for one in parts),
        end_ns=max(one.end_ns for one in parts),
        services=frozenset().union(*(one.services for one in parts)),
        share=sum(one.share for one in parts),
        share_before=sum(one.share_before for one in parts),
        operations=first.operations,
    )


def _services(marks: Iterable[tuple[Measure, float]], traces: Iterable[Measured]) -> frozenset[str]:
    """Where something is unusual, and through which services it was called: these feel it."""
    unusual = {one.service for one, much in marks if one.service and much > 0}
    through = (trace.path.get(service, frozenset()) for trace in traces for service in unusual)
    return frozenset(unusual).union(*through)


def _distance(row: _Row, middle: Sequence[float]) -> float:
    return sum((one - other) ** 2 for one, other in zip(row, middle, strict=True))
