"""A trace as lines: who called whom, when, for how long, and what it was itself busy with.

Knows:     the order of the lines, and where a bar begins and ends.
Called by: `cli.traces_show`, `web.trace_page`.
Never:     draws: the terminal and the page have their own ways; shows control characters of names that came from outside.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from go_cache_safeguard.signals.selftime import Node, trees
from go_cache_safeguard.signals.span import Span

MOST = 2_000
"""Lines of one trace."""


@dataclass(frozen=True, slots=True)
class Line:
    """One span.

    Attributes:
        depth: How many spans are above it.
        service: Its service.
        name: What it did.
        failed: Whether it failed.
        message: What its status says.
        offset: Where its bar begins, 0 to 1 of the whole.
        width: How long its bar is, 0 to 1 of the whole.
        duration_ms: How long it took.
        self_ms: How much of that none of its children explains.
        path_share: Of the whole, what the request waited for here, 0 to 1.
        span: The span.
    """

    depth: int
    service: str
    name: str
    failed: bool
    message: str
    offset: float
    width: float
    duration_ms: float
    self_ms: float
    path_share: float
    span: Span


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A whole trace.

    Attributes:
        trace_id: In hex.
        lines: In the order of the call tree.
        left_out: Spans that are too many for a page.
        duration_ms: From the first beginning to the last end.
        start_ns: The first beginning, nanoseconds since 1970.
        errors: How many spans failed.
        services: How many services took part.
        missing: How many spans have a parent that is not here.
    """

    trace_id: str
    lines: tuple[Line, ...]
    left_out: int
    duration_ms: float
    start_ns: int
    errors: int
    services: int
    missing: int


def waterfall(spans: Iterable[Span]) -> Waterfall | None:
    """The lines of one trace; None when there is no span.

    Args:
        spans: All of one trace.
    """
    roots = trees(spans)
    if not roots:
        return None
    nodes = [(node, depth) for root in roots for node, depth in _walk(root)]
    begin = min(node.start_ns for node, _ in nodes)
    whole = max(1, max(node.end_ns for node, _ in nodes) - begin)
    own = [node.span for node, _ in nodes]
    return Waterfall(
        own[0].trace_id.hex(),
        tuple(_line(node, depth, begin, whole) for node, depth in nodes[:MOST]),
        max(0, len(nodes) - MOST),
        whole / 1e6,
        begin,
        sum(span.is_error for span in own),
        len({span.service for span in own}),
        sum(bool(root.span.parent_id) for root in roots),
    )


def _walk(root: Node) -> Iterable[tuple[Node, int]]:
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in reversed(node.children))


def _line(node: Node, depth: int, begin: int, whole: int) -> Line:
    span = node.span
    return Line(
        depth,
        shown(span.service),
        shown(span.name),
        span.is_error,
        shown(span.message),
        (node.start_ns - begin) / whole,
        (node.end_ns - node.start_ns) / whole,
        (node.end_ns - node.start_ns) / 1e6,
        node.self_ns / 1e6,
        node.path_ns / whole,
        span,
    )


def shown(text: str) -> str:
    """Text from outside, harmless for a terminal, at most 200 characters of it."""
    cut = text if len(text) <= 200 else f"{text[:199]}…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)


def bar(line: Line, width: int) -> str:
    """A bar of so many characters: blank before, filled while it ran."""
    start = min(width - 1, int(line.offset * width))
    length = max(1, min(width - start, round(line.width * width)))
    return " " * start + "█" * length + " " * (width - start - length)
