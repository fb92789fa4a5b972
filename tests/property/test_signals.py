"""Laws of spans: SQL means what a question means, nothing is lost on the way, and no bytes are too odd."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as some

from faulty_traces import made
from go_cache_safeguard.signals.otlp import OtlpUnreadable, decode, encode, take, take_json
from go_cache_safeguard.signals.query import QueryUnreadable, matches, parse_query, sql, traceql, write_query
from go_cache_safeguard.signals.selftime import trees, walk
from go_cache_safeguard.signals.span import Kind, Span, Status
from go_cache_safeguard.signals.spanrow import rows, span_of
from go_cache_safeguard.signals.spanstore import SpanStore

TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)
VALUE = some.one_of(
    TEXT,
    some.booleans(),
    some.integers(-(1 << 63), (1 << 63) - 1),
    some.floats(allow_nan=False, allow_infinity=False),
    some.binary(max_size=5),
)
NESTED = some.recursive(VALUE, lambda inner: some.lists(inner, max_size=3).map(tuple), max_leaves=4)
KEYS = some.sampled_from(["a", "b.c", "d-e"])
SPANS = some.builds(
    Span,
    some.binary(min_size=16, max_size=16).filter(any),
    some.binary(min_size=8, max_size=8).filter(any),
    some.sampled_from([b"", b"p" * 8]),
    TEXT,
    some.sampled_from(Kind),
    some.sampled_from(["x", "y'", 'z"']),
    some.just(""),
    some.integers(0, 1 << 50),
    some.integers(1 << 50, 1 << 51),
    some.sampled_from(Status),
    TEXT,
    some.dictionaries(KEYS, NESTED, max_size=3),
    some.dictionaries(KEYS, NESTED, max_size=2),
)
_QUOTED = TEXT.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
COMPARISONS = some.one_of(
    some.tuples(
        some.sampled_from(["service", "name", "message", "tenant"]), some.sampled_from(["=", "!=", "~", "!~"]), _QUOTED
    ),
    some.tuples(
        KEYS.map("attr.{}".format) | KEYS.map("resource.{}".format),
        some.sampled_from(["=", "!="]),
        some.one_of(_QUOTED, some.integers(-9, 9).map(str), some.sampled_from(["true", "false", "0.5", "-2.25"])),
    ),
    some.tuples(
        KEYS.map("attr.{}".format), some.sampled_from(["<", "<=", ">", ">="]), some.sampled_from(["0", "0.5", "-3"])
    ),
    some.tuples(some.just("status"), some.sampled_from(["=", "!="]), some.sampled_from(["ok", "error", "unset"])),
    some.tuples(some.just("duration"), some.sampled_from(["<", ">", ">="]), some.sampled_from(["1ms", "300h", "0.5s"])),
).map("".join)
QUESTIONS = some.recursive(
    COMPARISONS,
    lambda inner: some.one_of(
        inner.map("NOT ({})".format), some.lists(inner, min_size=2, max_size=3).map(") AND (".join).map("({})".format),
        some.lists(inner, min_size=2, max_size=3).map(") OR (".join).map("({})".format),
    ),
    max_leaves=6,
)  # fmt: skip


@given(QUESTIONS, some.lists(SPANS, min_size=1, max_size=6, unique_by=lambda span: span.span_id))
@settings(max_examples=25, deadline=None)
def test_the_store_finds_exactly_what_a_question_means(text: str, spans: list[Span]) -> None:
    query = parse_query(text)
    with TemporaryDirectory() as folder, SpanStore(Path(folder) / "s") as store:
        store.put(spans)
        found = {span.span_id for span in store.find(query, limit=100)}
    assert found == {span.span_id for span in spans if matches(query, span)}


@given(QUESTIONS)
def test_a_question_that_is_written_is_read_as_the_same(text: str) -> None:
    query = parse_query(text)
    assert parse_query(write_query(query)) == query
    assert traceql(query).startswith("{ ")
    asked = sql(query)
    assert asked.where.count("?") == len(asked.parameters)
    assert not set(asked.where) - set("abcdefghijklmnopqrstuvwxyzTRUEANDORTILS_ ()<>=?$',.0123456789")


@given(some.text(max_size=60))
def test_any_text_is_a_question_or_is_refused(text: str) -> None:
    try:
        query = parse_query(text)
    except QueryUnreadable as refused:
        assert refused.what.startswith("at character")  # noqa: PT017 - both ways are right
    else:
        assert parse_query(write_query(query)) == query


@given(some.lists(SPANS, max_size=5))
@settings(max_examples=40)
def test_otlp_and_rows_lose_nothing(spans: list[Span]) -> None:
    assert list(decode(encode(spans))) == spans
    assert [span_of(row) for row in rows(spans)] == spans


@given(some.binary(max_size=200), some.integers(0, 400), some.integers(0, 255))
@settings(max_examples=150)
def test_no_bytes_break_a_decoder(odd: bytes, at: int, byte: int) -> None:
    body = bytearray(encode(made("shop", 1, 1)[:2]))
    body[at % len(body)] = byte
    for data in (odd, bytes(body), bytes(body[: at % len(body)])):
        for decoder in (take, take_json):
            with suppress(OtlpUnreadable):
                decoder(data)


@given(
    some.lists(
        some.tuples(
            some.integers(1, 6),
            some.integers(0, 6),
            some.integers(0, 50),
            some.integers(0, 50),
            some.sampled_from("ab"),
        ),
        max_size=8,
    )
)
@settings(max_examples=150)
def test_the_critical_path_adds_up_to_the_whole_whatever_the_tree(drawn: list[tuple[int, int, int, int, str]]) -> None:
    spans = [
        Span(b"t" * 16, bytes([one] * 8), bytes([parent] * 8) if parent else b"", "n", Kind.SERVER, service, "", start, start + took)
        for one, parent, start, took, service in drawn
    ]  # fmt: skip
    roots = trees(spans)
    nodes = [node for root in roots for node in walk(root)]
    assert len(nodes) == len({span.span_id for span in spans})
    for root in roots:
        assert sum(node.path_ns for node in walk(root)) == root.end_ns - root.start_ns
    assert all(0 <= node.self_ns <= node.end_ns - node.start_ns for node in nodes)
