"""Questions: what they mean, what is wrong with them, and their other forms."""

import pytest

from go_cache_safeguard.signals.query import (
    EVERYTHING,
    QueryNotForJaeger,
    QueryUnreadable,
    jaeger_parameters,
    matches,
    parse_query,
    sql,
    traceql,
)
from go_cache_safeguard.signals.span import Kind, Span, Status

SPAN = Span(
    bytes(range(16)),
    bytes(8),
    b"",
    "POST /pay",
    Kind.SERVER,
    "payment-gateway",
    "blue",
    0,
    4_000_000_000,
    Status.ERROR,
    "no connection",
    {"http.status_code": 503, "retry": True, "text": "500", "part": 0.5},
    {"host.name": "h1"},
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("service=payment-gateway AND duration>3000ms", True),
        ("service=payment-gateway AND duration>4s", False),
        ("duration>=4s and duration<=4000ms", True),
        ('(name~"/pay" OR status=ok) AND attr.http.status_code>=500', True),
        ("NOT (status=error OR kind=client)", False),
        ("NOT (kind=client AND attr.nothing=1)", True),
        ("NOT attr.nothing=1", False),
        ("attr.nothing!=1", False),
        ("attr.text=500", True),
        ('attr.http.status_code="503"', False),
        ("attr.retry=true AND attr.part<0.75", True),
        ("attr.retry=1", False),
        ("attr.text>400", False),
        ("resource.host.name!~h2 AND tenant=blue AND message~connection", True),
        ("trace=000102030405060708090a0b0c0d0e0f", True),
        ("", True),
    ],
)
def test_a_question_means_what_it_says(text: str, holds: bool) -> None:  # noqa: FBT001 - parametrized
    assert matches(parse_query(text), SPAN) is holds


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("service=", 9, "a value is missing"),
        ("service payment", 9, "an operator is missing"),
        ("servce=x", 1, "'servce' is not a field"),
        ("duration>3000", 10, "'3000' is no duration here"),
        ("service=x status=error", 11, "AND or OR is missing"),
        ("(service=x", 11, "a closing parenthesis is missing"),
        ('name="x', 6, "a quote that does not end"),
        ("service>x", 9, "service has no order"),
        ("status=bad", 8, "'bad' is no status"),
        ("attr.=1", 1, "'attr.' is not a field"),
        ("trace=12", 7, "32 hexadecimal digits"),
        ("attr.x>y", 8, "'y' is no number"),
        ("(" * 100 + "service=x", 66, "more than 64 levels"),
    ],
)
def test_what_cannot_be_understood_is_pointed_at(text: str, at: int, said: str) -> None:
    with pytest.raises(QueryUnreadable) as refused:
        parse_query(text)
    assert f"at character {at}:" in refused.value.what
    assert said in refused.value.what
    assert refused.value.hint
    assert refused.value.what.endswith("^")


def test_a_question_that_is_too_long_is_refused() -> None:
    with pytest.raises(QueryUnreadable, match="longer than"):
        parse_query("service=x OR " * 1000 + "service=x")


def test_jaeger_is_asked_for_at_least_what_is_wanted() -> None:
    asked = parse_query(
        'service=pay AND name="GET /" AND duration>3000ms AND duration<5s AND status=error AND attr.a=1 AND (kind=client OR attr.b=2)'
    )
    assert jaeger_parameters(asked) == {
        "service": "pay",
        "operation": "GET /",
        "minDuration": "3000000us",
        "maxDuration": "5000000us",
        "tags": '{"a": "1", "error": "true"}',
    }
    with pytest.raises(QueryNotForJaeger):
        jaeger_parameters(parse_query("service=a OR service=b"))


def test_traceql_says_the_same() -> None:
    assert traceql(EVERYTHING) == "{ }"
    assert traceql(parse_query('service=pay AND (status=error OR name~"a.b") AND attr.x="q\\"z" AND duration>3s')) == (
        '{ resource.service.name = "pay" && (status = error || name =~ ".*a\\\\.b.*") && span.x = "q\\"z" && duration > 3000000000ns }'
    )


def test_sql_holds_no_word_of_the_question() -> None:
    asked = sql(parse_query('service="x\'; DROP TABLE spans--" AND attr.a-b=1'))
    assert "DROP" not in asked.where
    assert "a-b" not in asked.where
    assert asked.parameters[0] == "x'; DROP TABLE spans--"
