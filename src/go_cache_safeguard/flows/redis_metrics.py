"""The numbers of a running proxy: kept by every process, shown by one.

Knows:     where processes write their numbers so that they outlive a worker, and how all of them are shown to Prometheus.
Called by: `flows.redis_workers` makes the memory, `flows.redis_proxy` counts, `flows.redis_metrics_server` asks for the text.
Never:     shows the name of a key, or who a client is; guesses what it cannot read: such a metric is left out.
"""

import mmap
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from go_cache_safeguard import __version__
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.redis import metrics
from go_cache_safeguard.redis.client import ServerUnreachable
from go_cache_safeguard.redis.commands import Class
from go_cache_safeguard.redis.heldcalls import HeldCalls
from go_cache_safeguard.redis.hitrate import Reading
from go_cache_safeguard.redis.metrics import Kind, Metric, bucket, cumulated, merged, place

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

    from go_cache_safeguard.journal.store import Journal

_WIDE = 8
_Values = dict[tuple[str, ...], float]


class Numbers:
    """Memory for the numbers of all processes, made before they are forked. Each process writes only its own."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = memoryview(mmap.mmap(-1, workers * metrics.SLOTS * _WIDE)).cast("d")
        for worker in range(workers):
            self._memory[self._at(worker, place(metrics.RELOADED))] = 1.0

    def of(self, worker: int) -> "Tally":
        """What one process counts with. Its counters go on where the process before it stopped."""
        self.forget(worker)
        return Tally(self._memory[self._at(worker, 0) : self._at(worker + 1, 0)])

    def forget(self, worker: int) -> None:
        """A process is gone, and its connections with it; what it has counted stays."""
        self._memory[self._at(worker, place(metrics.CONNECTIONS))] = 0.0

    def rows(self) -> list[list[float]]:
        """What is there now: `metrics.SLOTS` numbers of each process."""
        return [list(self._memory[self._at(worker, 0) : self._at(worker + 1, 0)]) for worker in range(self._workers)]

    def _at(self, worker: int, slot: int) -> int:
        return worker * metrics.SLOTS + slot


class Tally:
    """The numbers of one process. All methods may be called from any thread of it."""

    def __init__(self, slots: "memoryview[float]") -> None:
        self._slots = slots
        self._begun = list(slots)
        self._lock = threading.Lock()

    def count(self, metric: Metric, *labels: str) -> None:
        """One more."""
        with self._lock:
            self._slots[place(metric, *labels)] += 1

    def put(self, metric: Metric, value: float) -> None:
        """So many now; of a counter, since this process began."""
        at = place(metric)
        self._slots[at] = value + (self._begun[at] if metric.kind is Kind.COUNTER else 0.0)

    def took(self, metric: Metric, seconds: float) -> None:
        """Something took so long."""
        at = place(metric)
        with self._lock:
            self._slots[at + bucket(metric, seconds)] += 1
            self._slots[at + metric.width - 1] += seconds

    def decided(self, cls: Class, answer: str, seconds: float) -> None:
        """The gate has decided about a call."""
        self.count(metrics.CALLS, str(cls), answer)
        self.took(metrics.DECISION, seconds)

    def failed(self, error: BaseException) -> None:
        """Something could not be done."""
        self.count(metrics.FAILURES, _kind_of(error))

    def reloaded(self, *, well: bool) -> None:
        """Settings were read again."""
        self.count(metrics.RELOADS, "success" if well else "failure")
        self.put(metrics.RELOADED, float(well))


def _kind_of(error: BaseException) -> str:
    if isinstance(error, ServerUnreachable):
        return "server"
    return "journal" if isinstance(error, Failure) and error.exit_code.name.startswith("JOURNAL") else "other"


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of one server.

    Attributes:
        up: Whether it answered when it was asked last.
        reading: Of its hit rate; None if that is not known.
    """

    up: bool
    reading: Reading | None


@dataclass(slots=True)
class Page:
    """What Prometheus gets. `text` is called from one thread at a time.

    Attributes:
        numbers: Of all processes.
        nodes: Asks what is known of each server.
        journal: Opens the journal for reading.
        failed: Told when the journal cannot be read.
    """

    numbers: Numbers
    nodes: Callable[[], Mapping[str, Node]]
    journal: "Callable[[], Journal]"
    failed: Callable[[BaseException], None]
    _calls: HeldCalls = field(default_factory=HeldCalls)
    _seen: int = 0

    def text(self, accepts: str) -> tuple[str, bytes]:
        """All numbers of now.

        Args:
            accepts: What the client can read, as in its `Accept` header.

        Returns:
            The content type and the text.
        """
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - loaded where somebody asks
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - as above

        encode, content_type = choose_encoder(accepts)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(list(self._families())))
        return content_type, encode(registry)

    def _families(self) -> "Iterator[Family]":
        from prometheus_client.core import InfoMetricFamily  # noqa: PLC0415 - as above

        build = InfoMetricFamily(metrics.BUILD, "Which version runs, on which Python.")
        build.add_metric((), {"version": __version__, "python": platform.python_version()})
        yield build
        read = self._read_journal()
        rows = self.numbers.rows()
        for metric in metrics.SHARED:
            yield _family(metric, {values: merged(metric, values, rows) for values in metric.series})
        yield from _of_nodes(self.nodes())
        if read:
            yield from _of_calls(self._calls)

    def _read_journal(self) -> bool:
        """Count what was written since the last time; False if that cannot be read."""
        try:
            with self.journal() as journal:
                last = journal.last_seq
                for record in journal.moves(self._seen) if last != self._seen else ():
                    if record.op is not None and record.state is not None:
                        self._calls.add(record.op, record.state, record.at, record.data)
                self._seen = last
        except (Failure, OSError) as error:
            self._calls, self._seen = HeldCalls(), 0  # a record that was half counted would be counted again
            self.failed(error)
            return False
        return True


class _Collected:
    """As prometheus_client wants it."""

    def __init__(self, families: "list[Family]") -> None:
        self._families = families

    def collect(self) -> "list[Family]":
        return self._families


def _of_nodes(nodes: Mapping[str, Node]) -> "Iterator[Family]":
    yield _by_node(metrics.UP, {(name,): float(node.up) for name, node in nodes.items()})
    known = {name: node.reading for name, node in nodes.items() if node.reading is not None}
    rates: _Values = {(name,): one.rate for name, one in known.items() if one.rate is not None}
    usual: _Values = {(name,): one.usual for name, one in known.items() if one.usual is not None}
    yield _by_node(metrics.HIT_RATE, rates)
    yield _by_node(metrics.USUAL, usual)
    states = {name: known[name].state.name.lower() if name in known else "unknown" for name in nodes}
    shown: _Values = {(name, state): float(now == state) for name, now in states.items() for state in metrics.STATES}
    yield _by_node(metrics.HIT_STATE, shown, "state")


def _by_node(metric: Metric, values: _Values, *more: str) -> "Family":
    return _family(metric, {labels: [value] for labels, value in values.items()}, ("node", *more))


def _of_calls(calls: HeldCalls) -> "Iterator[Family]":
    yield _family(metrics.HELD, {(): [float(len(calls.held))]})
    yield _family(metrics.OLDEST, {(): [min(calls.held.values())]} if calls.held else {})
    yield _family(metrics.HELD_TOTAL, {(): [float(calls.held_total)]})
    yield _family(metrics.DECIDED, {(outcome,): [float(count)] for outcome, count in calls.decided.items()})
    yield _family(metrics.HELD_SECONDS, {(): calls.seconds})
    yield _family(metrics.EXECUTED, {(result,): [float(count)] for result, count in calls.executed.items()})
    yield _family(metrics.CAPTURED, {(): [float(calls.captured)]})


def _family(
    metric: Metric, series: Mapping[tuple[str, ...], list[float]], names: tuple[str, ...] | None = None
) -> "Family":
    """One metric with all its numbers, as prometheus_client has it."""
    from prometheus_client import core  # noqa: PLC0415 - loaded where somebody asks

    labels = metric.label_names if names is None else names
    if metric.kind is Kind.HISTOGRAM:
        histogram = core.HistogramMetricFamily(metric.full_name, metric.what, labels=labels)
        for values, numbers in series.items():
            buckets, total = cumulated(metric, numbers)
            histogram.add_metric(values, buckets, total)
        return histogram
    of_kind = core.CounterMetricFamily if metric.kind is Kind.COUNTER else core.GaugeMetricFamily
    family = of_kind(metric.full_name, metric.what, labels=labels)
    for values, (value,) in series.items():
        family.add_metric(values, value)
    return family
