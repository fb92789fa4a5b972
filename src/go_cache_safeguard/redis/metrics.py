"""What a running proxy counts, as one table: names, labels, and where each number lies in memory.

Knows:     every metric with its kind, its sentence and the few values that its labels may have.
Called by: `flows.redis_metrics`, which keeps the numbers and shows them; the docs and the alert rules use the names.
Never:     has a label whose values clients choose: no key, no address, no user.
Source:    OpenMetrics 1.0: base units, `_total` behind the name of a counter, buckets that hold all below them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from go_cache_safeguard.redis.commands import Class

PREFIX = "go_cache_safeguard_redis_"
"""Before every name."""
INFINITE = "+Inf"
"""How the last bucket is called."""


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How the numbers of several processes become one."""

    SUM = "sum"
    LEAST = "least"


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is counted or measured.

    Attributes:
        name: Behind `PREFIX`; of a counter without `_total`.
        kind: What it is.
        what: One sentence.
        labels: Names of labels, each with every value that it may have.
        bounds: Upper bounds of a histogram's buckets, in the metric's unit, without the infinite one.
        merge: How several processes become one.
    """

    name: str
    kind: Kind
    what: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def full_name(self) -> str:
        """As it is scraped, without what the format puts behind it."""
        return PREFIX + self.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(name for name, _ in self.labels)

    @property
    def series(self) -> tuple[tuple[str, ...], ...]:
        """Every combination of the labels' values; one empty one if there are no labels."""
        return tuple(product(*(values for _, values in self.labels)))

    @property
    def width(self) -> int:
        """How many numbers one series has: a histogram has one for each bucket, and the sum of all values."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


ANSWERS = ("passed", "held", "refused", "answered")
"""What became of a call that was asked about; `answered` by the guard, which did it on its own connection."""

CONNECTIONS = Metric("connections", Kind.GAUGE, "Clients that are connected now.")
ACCEPTED = Metric("connections_accepted", Kind.COUNTER, "Clients that were let in.")
TURNED_AWAY = Metric(
    "connections_turned_away", Kind.COUNTER, "Clients that were not let in, because there were too many."
)
BROKEN = Metric("connections_broken", Kind.COUNTER, "Clients that were closed for what they sent.")
CALLS = Metric(
    "calls",
    Kind.COUNTER,
    "Calls that were not harmless at first sight, by the class of the command and the answer.",
    (("class", tuple(str(cls) for cls in Class)), ("answer", ANSWERS)),
)
DECISION = Metric(
    "decision_seconds",
    Kind.HISTOGRAM,
    "How long it took to decide about a call, with the wait for a person where redis.wait allows one.",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0),
)
FAILURES = Metric(
    "failures",
    Kind.COUNTER,
    "Times that the guard could not do its work: because of the journal, the server, or something else.",
    (("kind", ("journal", "server", "other")),),
)
RELOADS = Metric(
    "reloads", Kind.COUNTER, "Times that a worker read its settings again.", (("result", ("success", "failure")),)
)
RELOADED = Metric(
    "last_reload_successful",
    Kind.GAUGE,
    "1 if the settings that were read last are those that count, in every worker.",
    merge=Merge.LEAST,
)
SHARED = (CONNECTIONS, ACCEPTED, TURNED_AWAY, BROKEN, CALLS, DECISION, FAILURES, RELOADS, RELOADED)
"""What every process counts for itself, in memory that outlives it."""

OUTCOMES = ("approved", "rejected", "expired", "cancelled")
"""How an operation stops being held."""
HELD = Metric("held_operations", Kind.GAUGE, "Operations that wait for a person now.")
OLDEST = Metric(
    "oldest_held_timestamp_seconds", Kind.GAUGE, "When the one that waits longest was held; not there if none waits."
)
HELD_TOTAL = Metric("operations_held", Kind.COUNTER, "Operations that were held.")
DECIDED = Metric(
    "operations_decided", Kind.COUNTER, "Operations that are held no longer, and why.", (("outcome", OUTCOMES),)
)
HELD_SECONDS = Metric(
    "held_seconds",
    Kind.HISTOGRAM,
    "How long operations were held until somebody decided, or their time was over.",
    bounds=(1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0),
)
EXECUTED = Metric(
    "approvals_executed",
    Kind.COUNTER,
    "Approved operations that were carried out: by the guard, by the client itself (passed), or nobody knows (unknown).",
    (("result", ("done", "passed", "unknown")),),
)
CAPTURED = Metric(
    "captured_bytes", Kind.COUNTER, "Bytes of values that were copied before they were removed or changed."
)
JOURNAL = (HELD, OLDEST, HELD_TOTAL, DECIDED, HELD_SECONDS, EXECUTED, CAPTURED)
"""What the journal tells, of all clients' calls in it, also those before this start."""

STATES = ("learning", "idle", "normal", "dropped", "unknown")
UP = Metric("upstream_up", Kind.GAUGE, "1 if the server answered when it was asked last.")
HIT_RATE = Metric("hit_rate_ratio", Kind.GAUGE, "Look-ups that found their key, of all in the last window.")
USUAL = Metric("hit_rate_usual_ratio", Kind.GAUGE, "The hit rate that the last one is compared with.")
HIT_STATE = Metric("hit_rate_state", Kind.GAUGE, "1 for the state of a server's hit rate, 0 for the others.")
NODES = (UP, HIT_RATE, USUAL, HIT_STATE)
"""What is known of each server, by the label `node`."""

BUILD = "go_cache_safeguard_build"
"""Name of the metric that tells version and Python; `_info` comes behind it."""


def _laid_out(metrics: Sequence[Metric]) -> tuple[dict[tuple[str, tuple[str, ...]], int], int]:
    places, at = {}, 0
    for metric in metrics:
        for values in metric.series:
            places[metric.name, values] = at
            at += metric.width
    return places, at


_PLACES, SLOTS = _laid_out(SHARED)


def place(metric: Metric, *values: str) -> int:
    """Where the first number of a series lies, of `SLOTS` in all.

    Args:
        metric: One of `SHARED`.
        values: Of its labels, in their order.

    Raises:
        KeyError: A label has no such value.
    """
    return _PLACES[metric.name, values]


def bucket(metric: Metric, value: float) -> int:
    """Which bucket of a histogram a value belongs to."""
    return bisect_left(metric.bounds, value)


def merged(metric: Metric, values: tuple[str, ...], rows: Sequence[Sequence[float]]) -> list[float]:
    """The numbers of one series, of all processes together.

    Args:
        metric: One of `SHARED`.
        values: Of its labels.
        rows: `SLOTS` numbers of each process.
    """
    at = place(metric, *values)
    merge = min if metric.merge is Merge.LEAST else sum
    return [float(merge(row[slot] for row in rows)) for slot in range(at, at + metric.width)]


def cumulated(metric: Metric, numbers: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """The buckets of a histogram as they are shown, each with all below it, and the sum of the values.

    Args:
        metric: A histogram.
        numbers: `width` of them: one for each bucket, then the sum.
    """
    shown, below = [], 0.0
    for bound, count in zip((*(str(one) for one in metric.bounds), INFINITE), numbers[:-1], strict=True):
        below += count
        shown.append((bound, below))
    return shown, numbers[-1]
