"""The metrics of a journal: for Prometheus at `/metrics` of `serve`, and for the textfile of a machine.

Knows:     how the numbers of a journal are kept while it grows, and how prometheus_client wants them.
Called by: `web.health` at `/metrics`, `flows.textfile`, `flows.alerts`.
Never:     shows a target, a requester or who somebody is; guesses what it cannot read: then it says that it cannot, and nothing else.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from go_cache_safeguard.approval.figures import READABLE, RECORDS, WRITTEN, Figure, Figures
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.journal.record import Record
from go_cache_safeguard.telemetry.names import ids_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family


class Book(Protocol):
    """What is needed of an open journal; see `journal.records.Records`."""

    @property
    def last_seq(self) -> int:
        """Number of the newest record."""

    def filed(self, since: int = 0) -> Iterator[Record]:
        """Records about operations, in order."""


class Counting:
    """The figures of one journal, brought up to date as it grows. Use it from one thread at a time."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.records = 0
        self._seen = 0

    def look(self, book: Book) -> Figures:
        """Count what was written since the last time.

        Raises:
            Failure: The journal cannot be read; nothing was counted twice.
        """
        try:
            last = book.last_seq
            if last < self._seen:
                self.forget()  # another journal lies there now
            for record in book.filed(self._seen) if last != self._seen else ():
                self.figures.add(record)
                self._seen = record.seq
            self.records = last
        except (Failure, OSError):
            self.forget()
            raise
        self.figures.forget(int(time.time()))
        return self.figures

    def forget(self) -> None:
        """Count from the first record again."""
        self.figures, self.records, self._seen = Figures(), 0, 0


class JournalMetrics:
    """The page of one journal. Safe from any thread."""

    def __init__(self, open_journal: Callable[..., AbstractContextManager[Book]]) -> None:
        """Make one; nothing is opened yet.

        Args:
            open_journal: Opens the journal: `open_journal(read_only=True)`.
        """
        self._open = open_journal
        self._counting = Counting()
        self._lock = threading.Lock()

    def families(self) -> "list[Family]":
        """All metrics as they are now; only that the journal cannot be read, if it cannot."""
        with self._lock:
            try:
                with self._open(read_only=True) as book:
                    self._counting.look(book)
            except (Failure, OSError):
                return families_of(None)
            return families_of(self._counting)

    def text(self, accepts: str = "") -> tuple[str, bytes]:
        """The same as a page.

        Args:
            accepts: What the client can read, as in its `Accept` header.

        Returns:
            The content type and the text.
        """
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - loaded where somebody asks

        encode, content_type = choose_encoder(accepts)
        return content_type, encode(registry_of(self.families()))


class _Collected:
    """As prometheus_client wants it."""

    def __init__(self, families: "list[Family]") -> None:
        self._families = families

    def collect(self) -> "list[Family]":
        return self._families


def registry_of(families: "list[Family]") -> "CollectorRegistry":
    """Ready to be shown in any format."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - loaded where somebody asks

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return registry


def families_of(counting: Counting | None) -> "list[Family]":
    """The metrics of what was counted; None if the journal cannot be read."""
    found = [_family(READABLE, {(): 0.0 if counting is None else 1.0})]
    if counting is None:
        return found
    found.append(_family(RECORDS, {(): float(counting.records)}))
    if counting.figures.written_s:
        found.append(_family(WRITTEN, {(): float(counting.figures.written_s)}))
    figures = counting.figures
    return found + [
        _counter(figure, numbers, figures) if figure.counter else _family(figure, numbers)
        for figure, numbers in figures.shown().items()
    ]


def _family(figure: Figure, numbers: Mapping[tuple[str, ...], float]) -> "Family":
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - loaded where somebody asks

    family = GaugeMetricFamily(figure.full_name, figure.what, labels=figure.labels)
    for labels, value in numbers.items():
        family.add_metric(labels, value)
    return family


def _counter(figure: Figure, numbers: Mapping[tuple[str, ...], float], figures: Figures) -> "Family":
    """Each number points at the operation that was counted last, and at its trace. Only OpenMetrics can say that."""
    from prometheus_client.core import CounterMetricFamily, Exemplar  # noqa: PLC0415 - loaded where somebody asks

    family = CounterMetricFamily(figure.full_name, figure.what, labels=figure.labels)
    for labels, value in numbers.items():
        last = figures.last(figure, labels)
        exemplar = last and Exemplar({"trace_id": ids_of(last[0]).trace.hex(), "op_id": last[0]}, 1.0, float(last[1]))
        family.add_metric(labels, value, exemplar=exemplar)
    return family
