"""Where the time of traces went: self time, critical path, and what differs from healthy ones.

Knows:     how children lie in their parents when clocks differ, outlive them or overlap; which part of a request only one span explains.
Called by: `flows.rootcause`, `signals.waterfall`.
Never:     walks in a circle, or loses a span because its parent is missing: those are roots of their own.
Source:    critical path as in Jaeger's and CRISP's (Uber): from the end of a span back, always to the child that ended last. Clock
           skew as Jaeger's adjuster: a child of another process that lies outside of its parent is moved into it.

On the critical path each nanosecond of a request belongs to one span, so shares add up to all of it; self times of parallel work would not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from go_cache_safeguard.signals.span import Kind, Span

CACHE_HIT = "cache.hit"
"""Attribute of a span that asks a cache, as several instrumentations call it; OpenTelemetry has no name for it yet."""


@dataclass(slots=True)
class Node:
    """A span in its tree.

    Attributes:
        span: The span.
        start_ns: When it began, in the clock of its root.
        end_ns: When it ended, in the clock of its root.
        children: What it called, the earliest first.
        self_ns: Time in which none of its children ran.
        path_ns: Time in which it and nothing below it was what the request waited for.
    """

    span: Span
    start_ns: int
    end_ns: int
    children: "list[Node]" = field(default_factory=list)
    self_ns: int = 0
    path_ns: int = 0


def trees(spans: Iterable[Span]) -> list[Node]:
    """The trees of the spans of one trace, the earliest root first.

    A span whose parent is missing is a root; so is the earliest of a circle, and of two spans with one id the first counts.
    """
    nodes: dict[bytes, Node] = {}
    for span in sorted(spans, key=lambda one: (one.start_ns, -one.end_ns, one.span_id)):
        nodes.setdefault(span.span_id, Node(span, span.start_ns, max(span.start_ns, span.end_ns)))
    roots = [node for node in nodes.values() if not _adopted(node, nodes)]
    reached = {id(node) for root in roots for node in walk(root)}
    for node in nodes.values():  # circles: nothing leads to them
        if id(node) not in reached:
            nodes[node.span.parent_id].children.remove(node)
            roots.append(node)
            reached.update(id(one) for one in walk(node))
    for root in roots:
        _measure(root)
    return roots


def _adopted(node: Node, nodes: Mapping[bytes, Node]) -> bool:
    parent = nodes.get(node.span.parent_id)
    if parent is None or parent is node:
        return False
    parent.children.append(node)
    return True


def walk(root: Node) -> list[Node]:
    """Every node of a tree, parents before their children."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(reversed(node.children))
    return found


def _measure(root: Node) -> None:
    order = walk(root)
    moved = {id(root): 0}
    for node in order:
        for child in node.children:
            moved[id(child)] = _set_clock(node, child, moved[id(node)])
        node.children.sort(key=lambda one: one.start_ns)
    for node in order:
        node.self_ns = node.end_ns - node.start_ns - _covered(node)
    _follow(root)


def _set_clock(parent: Node, child: Node, by_ns: int) -> int:
    """Put a child into the clock of its parent, which was moved itself.

    A child of another service that lies outside of its parent, and would fit, has another clock: it goes to the middle.
    """
    length = child.end_ns - child.start_ns
    start = child.start_ns + by_ns
    outside = start < parent.start_ns or start + length > parent.end_ns
    spare = parent.end_ns - parent.start_ns - length
    if child.span.service != parent.span.service and outside and spare >= 0:
        start = parent.start_ns + spare // 2
    by_ns = start - child.start_ns
    child.start_ns, child.end_ns = start, start + length
    return by_ns


def _covered(node: Node) -> int:
    covered, until = 0, node.start_ns
    for child in node.children:
        begin, end = max(child.start_ns, until), min(child.end_ns, node.end_ns)
        if end > begin:
            covered += end - begin
            until = end
    return covered


def _follow(root: Node) -> None:
    """Give each nanosecond of a root to the span it waited for."""
    waiting = [(root, root.start_ns, root.end_ns)]
    while waiting:
        node, begin, cursor = waiting.pop()
        for child in sorted(node.children, key=lambda one: one.end_ns, reverse=True):
            end = min(child.end_ns, cursor)
            start = max(child.start_ns, begin)
            if end <= start or not _waited_for(node, child):
                continue  # it ran beside the path
            node.path_ns += cursor - end
            waiting.append((child, start, end))
            cursor = start
        node.path_ns += max(0, cursor - begin)


def _waited_for(node: Node, child: Node) -> bool:
    """Whether a parent ended after its child, give or take what clocks and timers do."""
    slack = max(1_000_000, (node.end_ns - node.start_ns) // 100)
    return child.end_ns <= node.end_ns + slack


@dataclass(slots=True)
class Work:
    """All spans of one name in one service, over several traces.

    Attributes:
        service: Their service.
        name: What they do.
        kind: Which side of a call.
        spans: How many there are.
        path_ns: Their time on the critical path.
        failed: How many failed, without a failed one below them: where errors begin.
        answered: How many called another service that told of its part.
        missed: How many asked a cache in vain.
        longest_ns: The longest of them on the critical path.
        sample: One of them: the one that was longest on the path, or failed.
        callers: What called it, how often.
        failing: Traces in which errors begin here.
    """

    service: str
    name: str
    kind: Kind
    spans: int = 0
    path_ns: int = 0
    failed: int = 0
    answered: int = 0
    missed: int = 0
    longest_ns: int = -1
    sample: Span | None = None
    callers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failing: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of traces went.

    Attributes:
        traces: How many.
        total_ns: How long all of them took, added up.
        failed: How many of them failed.
        works: By service and name.
    """

    traces: int
    total_ns: int
    failed: int
    works: Mapping[tuple[str, str], Work]


def profile(spans: Iterable[Span]) -> Profile:
    """Where the time of these traces went.

    Args:
        spans: Of any number of traces, in any order.
    """
    by_trace: dict[bytes, list[Span]] = defaultdict(list)
    for span in spans:
        by_trace[span.trace_id].append(span)
    works: dict[tuple[str, str], Work] = {}
    total_ns, failed = 0, 0
    for trace in by_trace.values():
        roots = trees(trace)
        main = max(roots, key=lambda root: root.end_ns - root.start_ns)
        total_ns += main.end_ns - main.start_ns
        failed += any(span.is_error for span in trace)
        for root in roots:
            _add(works, walk(root), counted=root is main)
    return Profile(len(by_trace), total_ns, failed, works)


def _add(works: dict[tuple[str, str], Work], nodes: Sequence[Node], *, counted: bool) -> None:
    callers = {id(child): (node.span.service, node.span.name) for node in nodes for child in node.children}
    for node in nodes:
        span = node.span
        work = works.setdefault((span.service, span.name), Work(span.service, span.name, span.kind))
        first = span.is_error and not any(child.span.is_error for child in node.children)
        path_ns = node.path_ns if counted else 0
        work.spans += 1
        work.path_ns += path_ns
        if first:
            work.failed += 1
            work.failing.add(span.trace_id)
        work.answered += any(child.span.service != span.service for child in node.children)
        work.missed += span.attributes.get(CACHE_HIT) is False
        if path_ns > work.longest_ns or (first and not (work.sample and work.sample.is_error)):
            work.longest_ns, work.sample = max(path_ns, work.longest_ns), span
        if id(node) in callers:
            work.callers[callers[id(node)]] += 1
