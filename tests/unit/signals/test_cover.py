"""Nothing that a redactor takes out is left in any place of a span."""

from collections.abc import Mapping

from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.span import Event, Kind, Link, Span, Status, Value
from go_cache_safeguard.signals.spanrow import rows


class _Hides:
    def attributes(self, attributes: Mapping[str, Value], /) -> Mapping[str, Value]:
        return dict.fromkeys(attributes, "-")

    def text(self, text: str, /) -> str:
        return text.replace("secret", "-")


def test_every_text_of_a_span_is_covered_and_its_ids_are_not() -> None:
    said = {"k": "secret"}
    span = Span(
        b"t" * 16,
        b"s" * 8,
        b"p" * 8,
        "a secret",
        Kind.SERVER,
        "secret-service",
        "tenant",
        1,
        2,
        Status.ERROR,
        "the secret",
        said,
        said,
        (Event("secret", 1, said),),
        (Link(b"t" * 16, b"s" * 8, said),),
        "x=secret",
    )
    (covered,) = coverer(_Hides())([span])
    assert "secret" not in repr(rows([covered]))
    assert (covered.trace_id, covered.span_id, covered.parent_id, covered.status) == (
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.status,
    )
