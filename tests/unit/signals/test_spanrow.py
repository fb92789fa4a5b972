"""A span as a row comes back as it went in."""

from math import nan

from go_cache_safeguard.signals.span import Event, Kind, Link, Span, Status
from go_cache_safeguard.signals.spanrow import resource_id, rows, span_of

FULL = Span(
    bytes(range(16)),
    bytes(8),
    bytes(range(8)),
    "n",
    Kind.CLIENT,
    "s",
    "t",
    5,
    9,
    Status.OK,
    "m",
    {"a": "x", "b": False, "c": -1, "d": 0.25, "e": b"\x00", "f": ("y", (1, b"z"))},
    {"r": 1},
    (Event("e", 7, {"k": b"\xff"}),),
    (Link(bytes(16), bytes(8), {"k": ("v",)}),),
    "ot=th:8",
)


def test_every_type_comes_back() -> None:
    (row,) = rows([FULL])
    assert span_of(row) == FULL


def test_a_plain_span_has_no_rest_and_resources_share_their_text() -> None:
    resource = {"host.name": "h"}
    plain = Span(bytes(16), bytes(8), b"", "n", Kind.SERVER, "s", "", 9, 5, attributes={"nan": nan}, resource=resource)
    first, second = rows([plain, plain])
    assert first.rest == ""
    assert first.resource is second.resource
    assert (first.duration_ns, first.end_ns) == (0, 9)
    assert span_of(first).attributes == {}
    assert 0 <= resource_id(first.resource) < 1 << 63
