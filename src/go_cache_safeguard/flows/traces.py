"""Ask for spans: of our own store with its older parts, or of a Jaeger.

Knows:     where the store lies, that older spans are in Parquet, and how a Jaeger is asked.
Called by: `cli.traces_show`, `flows.rootcause`, `web.trace_page`.
Never:     writes. Follows a redirect of a Jaeger, or heeds a proxy of the environment.
Source:    Jaeger's HTTP API, `GET /api/traces` and `/api/traces/{id}`: times in µs, `limit` counts traces.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.signals.columns import Columns, Total
from go_cache_safeguard.signals.jaegerjson import spans_of
from go_cache_safeguard.signals.query import EVERYTHING, Query, jaeger_parameters, matches
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanstore import SpanStore, asks_for_slow

PARTS = SPANS.parent / "parquet"
"""Older spans, in the state directory."""
FOREVER_NS = (1 << 63) - 1
_MOST_BYTES = 64 << 20
_PATIENCE_S = 20.0
_MOST_SUMMED = 1_000_000


class JaegerAway(Failure):
    """A Jaeger does not answer, or answers that it will not."""

    id = "jaeger-away"
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_TELL
    meaning = "a Jaeger that was asked for traces does not answer as it should"


class NoSuchTrace(Failure):
    """Nobody has heard of a trace."""

    id = "no-such-trace"
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    meaning = "no span of this trace is kept"


@dataclass(frozen=True, slots=True)
class Spans:
    """Everything that is kept here, as one.

    Attributes:
        store: What is new.
        columns: What is older.
    """

    store: SpanStore
    columns: Columns

    def trace(self, trace_id: bytes) -> tuple[Span, ...]:
        """Every span of a trace, the earliest first.

        Raises:
            NoSuchTrace: There is none.
        """
        # The store first: what moves meanwhile is in a part that is asked later, and counts once.
        found = {_key(span): span for span in self.store.trace(trace_id)}
        for span in self.columns.trace(self.store.parts(), trace_id):
            found.setdefault(_key(span), span)
        if not found:
            raise _no_trace(trace_id)
        return tuple(sorted(found.values(), key=lambda span: (span.start_ns, -span.end_ns)))

    def find(self, query: Query, *, limit: int, start_ns: int = 0, end_ns: int = FOREVER_NS) -> tuple[Span, ...]:
        """Spans for which a question holds: the slowest first if it asks for slow ones, else the newest first."""
        newer = self.store.find(query, limit=limit, start_ns=start_ns, end_ns=end_ns)
        slow = asks_for_slow(query)
        parts = self.store.parts()
        if not parts or (len(newer) >= limit and not slow):
            return newer
        older = self.columns.find(parts, query, limit=limit, start_ns=start_ns, end_ns=end_ns)
        found = {_key(span): span for span in (*older, *newer)}
        order = sorted(found.values(), key=lambda span: span.duration_ns if slow else span.end_ns, reverse=True)
        return tuple(order[:limit])

    def totals(self, query: Query, *, start_ns: int = 0, end_ns: int = FOREVER_NS) -> tuple[Total, ...]:
        """Sums by service and name of the spans for which a question holds, the most numerous first."""
        newer = self.store.find(query, limit=_MOST_SUMMED, start_ns=start_ns, end_ns=end_ns)
        parts = self.store.parts()
        if query == EVERYTHING:
            return self.columns.totals(parts, newer, start_ns, end_ns)
        older = self.columns.find(parts, query, limit=_MOST_SUMMED, start_ns=start_ns, end_ns=end_ns)
        return self.columns.totals((), (*newer, *older), start_ns, end_ns)


@contextmanager
def open_spans(state_dir: Path) -> Iterator[Spans]:
    """Everything that is kept in a state directory, to be read.

    Raises:
        SpanStoreUnusable: Nothing was received yet, or it cannot be read.
    """
    with SpanStore(state_dir / SPANS, read_only=True) as store:
        yield Spans(store, Columns(state_dir / PARTS))


def state_of(session: Session) -> tuple[Path, Path]:
    """The store's file and the folder of parts, their folder made if need be."""
    session.state_folder(SPANS.parent.name)
    return session.state_dir / SPANS, session.state_dir / PARTS


def _key(span: Span) -> tuple[bytes, bytes, int, str]:
    return span.trace_id, span.span_id, int(span.kind), span.tenant


def _no_trace(trace_id: bytes) -> NoSuchTrace:
    return NoSuchTrace(
        f"no span of the trace {trace_id.hex()} is kept", not_done="nothing was shown", hint="see `traces query`"
    )


def ask_jaeger(url: str, query: Query, *, limit: int, start_ns: int = 0, end_ns: int = FOREVER_NS) -> tuple[Span, ...]:
    """Spans of a Jaeger for which a question holds.

    Args:
        url: Where its query API is: http://host:16686.
        query: Has to name a service.
        limit: Spans, and traces that Jaeger looks at, at most.
        start_ns: They ended then, or later.
        end_ns: They ended before.

    Raises:
        QueryNotForJaeger: No service is named.
        JaegerAway: It does not answer.
        JaegerUnreadable: Its answer cannot be read.
    """
    parameters = {**jaeger_parameters(query), "limit": str(limit)}
    if start_ns:
        parameters["start"] = str(start_ns // 1_000)
    if end_ns < FOREVER_NS:
        parameters["end"] = str(-(-end_ns // 1_000))
    told = {
        _key(span): span for one in _ways(parameters) for span in spans_of(_asked(f"{url.rstrip('/')}/api/traces", one))
    }
    found = [span for span in told.values() if start_ns <= span.end_ns < end_ns and matches(query, span)]
    slow = asks_for_slow(query)
    found.sort(key=lambda span: span.duration_ns if slow else span.end_ns, reverse=True)
    return tuple(found[:limit])


def _ways(parameters: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The question, and once more without the tag `error`: Jaeger's memory store (2.13) answers it with what did not fail."""
    yield parameters
    tags = json.loads(parameters.get("tags", "{}"))
    if tags.pop("error", None):
        yield {**parameters, "tags": json.dumps(tags, ensure_ascii=False, sort_keys=True)}


def trace_of_jaeger(url: str, trace_id: bytes) -> tuple[Span, ...]:
    """Every span of a trace of a Jaeger.

    Raises:
        NoSuchTrace: It has none.
        JaegerAway: It does not answer.
        JaegerUnreadable: Its answer cannot be read.
    """
    found = spans_of(_asked(f"{url.rstrip('/')}/api/traces/{trace_id.hex()}", {}))
    if not found:
        raise _no_trace(trace_id)
    return found


def _asked(url: str, parameters: Mapping[str, str]) -> object:
    import httpx  # noqa: PLC0415 - loaded where used

    body = bytearray()
    try:
        with (
            httpx.Client(timeout=_PATIENCE_S, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", url, params=parameters) as answer,
        ):
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise _away(url, "its answer is too long")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _away(url, str(error) or type(error).__name__) from error
    if answer.status_code not in {200, 404}:
        raise _away(url, f"it answered {answer.status_code}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _away(url, "it does not answer JSON") from error


def _away(url: str, why: str) -> JaegerAway:
    return JaegerAway(f"{url}: {why}", not_done="nothing was shown", hint="is it the port of the query API, as 16686?")
