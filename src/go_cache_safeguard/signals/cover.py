"""A span without what must not be written down.

Knows:     every place of a span where text from outside can stand.
Called by: `signals.receive`, before anything reaches a disk.
Never:     decides what is secret: that is the redactor that it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from go_cache_safeguard.signals.span import Event, Link, Span, Value

_KEPT = 4_096


class Redactor(Protocol):
    """What of attributes and texts may be kept."""

    def attributes(self, attributes: Mapping[str, Value], /) -> Mapping[str, Value]:
        """The attributes that may be kept, as they may be kept."""
        ...

    def text(self, text: str, /) -> str:
        """The text as it may be kept."""
        ...


def coverer(redactor: Redactor) -> Callable[[Sequence[Span]], Sequence[Span]]:
    """A function that takes out of spans what a redactor takes out of attributes and texts."""
    # Names repeat; what is remembered has been redacted, or is a name that came in and is on its way.
    text = lru_cache(_KEPT)(redactor.text)

    def cover(spans: Sequence[Span]) -> Sequence[Span]:
        resources = {id(span.resource): span.resource for span in spans}
        covered = {number: redactor.attributes(resource) for number, resource in resources.items()}
        return [_covered(span, redactor, text, covered[id(span.resource)]) for span in spans]

    return cover


def _covered(span: Span, redactor: Redactor, text: Callable[[str], str], resource: Mapping[str, Value]) -> Span:
    attributes = redactor.attributes
    return Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        text(span.name),
        span.kind,
        text(span.service),
        span.tenant,
        span.start_ns,
        span.end_ns,
        span.status,
        redactor.text(span.message) if span.message else "",
        attributes(span.attributes) if span.attributes else span.attributes,
        resource,
        tuple(Event(text(one.name), one.at_ns, attributes(one.attributes)) for one in span.events)
        if span.events
        else (),
        tuple(Link(one.trace_id, one.span_id, attributes(one.attributes)) for one in span.links) if span.links else (),
        text(span.trace_state) if span.trace_state else "",
    )
