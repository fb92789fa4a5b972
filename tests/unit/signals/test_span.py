"""What a span says by itself."""

from go_cache_safeguard.signals.span import Kind, Span, Status


def test_a_span_knows_its_duration_its_outcome_and_whether_it_came_from_outside() -> None:
    span = Span(bytes(16), bytes(8), b"p" * 8, "n", Kind.CLIENT, "s", "", 9, 5, Status.ERROR)
    assert (span.duration_ns, span.is_error, span.is_entry) == (0, True, False)
    server = Span(bytes(16), bytes(8), b"p" * 8, "n", Kind.SERVER, "s", "", 5, 9)
    assert (server.duration_ns, server.is_error, server.is_entry) == (4, False, True)
    assert Span(bytes(16), bytes(8), b"", "n", Kind.INTERNAL, "s", "", 5, 9).is_entry
