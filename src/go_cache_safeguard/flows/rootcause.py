"""Why requests are slow or fail: the traces in question beside healthy ones.

Knows:     which traces are meant, and which are their healthy likes.
Called by: `cli.signals_rootcause`, and whoever explains a breach.
Never:     takes a trace for healthy that failed or is among those in question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.traces import FOREVER_NS, Spans
from go_cache_safeguard.signals.cause import Cause, causes
from go_cache_safeguard.signals.query import All, Comparison, Field, Operator, Query
from go_cache_safeguard.signals.selftime import profile
from go_cache_safeguard.signals.span import Span, Status

MOST_TRACES = 200
_LOOKED_AT = 2_000
"""Spans that are looked at for traces, in question or healthy."""


class NothingToExplain(Failure):
    """No trace is meant."""

    id = "nothing-to-explain"
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_TELL
    meaning = "no trace was found for which a cause could be looked for"


@dataclass(frozen=True, slots=True)
class Explained:
    """What was found.

    Attributes:
        causes: The best explanation first.
        traces: How many traces were in question.
        healthy: How many they were compared with; 0 is no comparison.
    """

    causes: tuple[Cause, ...]
    traces: int
    healthy: int


def explain(spans: Spans, asked: Query, *, start_ns: int = 0, end_ns: int = FOREVER_NS) -> Explained:
    """Explain the traces that have a span for which a question holds.

    Args:
        spans: Where to look.
        asked: The question; `trace=...` for one trace.
        start_ns: Those spans ended then, or later.
        end_ns: Those spans ended before.

    Raises:
        NothingToExplain: There is no such span.
    """
    ids = _traces(spans.find(asked, limit=_LOOKED_AT, start_ns=start_ns, end_ns=end_ns), frozenset())
    if not ids:
        raise NothingToExplain(
            "no span answers the question", not_done="nothing was compared", hint="see `traces query`"
        )
    meant = [span for one in ids for span in spans.trace(one)]
    entries = {(span.service, span.name) for span in meant if not span.parent_id}
    healthy = [span for one in _healthy(spans, entries, frozenset(ids), meant) for span in spans.trace(one)]
    before = profile(healthy) if healthy else None
    return Explained(causes(profile(meant), before), len(ids), before.traces if before else 0)


def _traces(found: Sequence[Span], besides: frozenset[bytes]) -> list[bytes]:
    ids = dict.fromkeys(span.trace_id for span in found if span.trace_id not in besides)
    return list(ids)[:MOST_TRACES]


def _healthy(
    spans: Spans, entries: set[tuple[str, str]], besides: frozenset[bytes], meant: Sequence[Span]
) -> list[bytes]:
    """Traces that came in by the same doors, did not fail, and are of the faster half of their kind.

    What is kept of traces is mostly what was slow: the middle of all of them need not be healthy.
    """
    roots = sorted(span.duration_ns for span in meant if not span.parent_id)
    usual_ns = roots[len(roots) // 2] if roots else FOREVER_NS
    failing = any(span.is_error for span in meant)
    ids: list[bytes] = []
    for service, name in sorted(entries):
        parts = [
            Comparison(Field.SERVICE, "", Operator.IS, service),
            Comparison(Field.NAME, "", Operator.IS, name),
            Comparison(Field.STATUS, "", Operator.IS_NOT, int(Status.ERROR)),
        ]
        if not failing:
            parts.append(Comparison(Field.DURATION, "", Operator.LESS, usual_ns))
        found = sorted(spans.find(All(tuple(parts)), limit=_LOOKED_AT), key=lambda span: span.duration_ns)
        others = [span for span in found if span.trace_id not in besides]
        ids += _traces(others[: (len(others) + 1) // 2], besides)
    return ids[:MOST_TRACES]
