"""Traces by the thousand for comparing samplers: every condition of a rule file is met by some and missed by others."""

from collections.abc import Iterator, Sequence
from random import Random

from go_cache_safeguard.signals.span import Kind, Span, Value
from go_cache_safeguard.signals.span import Status as SpanStatus
from go_cache_safeguard.telemetry.rules import RuleFile, Status, parse_rules
from go_cache_safeguard.telemetry.sampling import TraceFacts, decide, randomness

RULES: RuleFile = parse_rules(
    {
        "sampling": [
            {"name": "errors", "when": {"status": "error", "service": "*"}, "keep": "always"},
            {"name": "probes", "when": {"attributes": [{"key": "http.route", "regex": r"/(healthz|ready\S?)\d*"}]}, "keep": "never"},
            {"name": "slow", "when": {"duration_over": "1s"}, "keep": "always"},
            {"name": "half", "when": {"service": "pay*ment", "name": "GET *"}, "keep": {"adaptive": {"least": "20%", "most": "50%"}}},
            {
                "name": "typed",
                "when": {
                    "attributes": [
                        {"key": "http.status", "equals": 404},
                        {"key": "cached", "equals": True},
                        {"key": "ratio", "equals": 0.5},
                    ]
                },
                "keep": {"adaptive": {"least": "1%", "most": "80%"}},
            },
            {"name": "beta", "when": {"attributes": [{"key": "zone", "exists": True}, {"key": "tier", "equals": 'ga"ld\\'}]}, "keep": "never"},
            {"name": "ok", "when": {"status": "ok", "duration_over": "500ms"}, "keep": {"adaptive": {"least": "0%", "most": "30%"}}},
            {"name": "rest", "keep": {"adaptive": {"least": "5%", "most": "15%"}}},
        ]
    }
)  # fmt: skip
_STATUSES = (SpanStatus.UNSET,) * 12 + (SpanStatus.OK,) * 6 + (SpanStatus.ERROR,)
_VALUES: dict[str, tuple[Value, ...]] = {
    "http.route": ("/healthz", "/ready1", "/ready", "/pay/{id}", "/healthz/x", "/a\n/healthz", 7),
    "http.status": (404, 404, 404.0, "404", 200),
    "cached": (True, True, False, "true"),
    "ratio": (0.5, 0.5, "0.5", 1),
    "tier": ('ga"ld\\', "gold", ""),
    "zone": ("eu", 0, False, ""),
}
_RESOURCES: tuple[dict[str, Value], ...] = (
    {},
    {"zone": "eu"},
    {"cached": True, "http.status": 404},
    {"http.route": "/ready"},
)
_START = 1_760_000_000_000_000_000


def traces(number: int, seed: int) -> list[tuple[Span, ...]]:
    """Traces of one to five spans."""
    random = Random(seed)  # noqa: S311 - a test's own
    return [tuple(_trace(random)) for _ in range(number)]


def shuffled(found: Sequence[tuple[Span, ...]], seed: int) -> list[Span]:
    """Every span of some traces, as if they came from everywhere."""
    spans = [span for one in found for span in one]
    Random(seed).shuffle(spans)  # noqa: S311 - a test's own
    return spans


def _trace(random: Random) -> Iterator[Span]:
    trace_id, start = random.randbytes(16), _START + random.randrange(10**12)
    state = f"ot=rv:{random.getrandbits(56):014x}" if random.random() < 0.05 else ""
    spans = [random.randbytes(8) for _ in range(random.choice((1, 1, 2, 3, 5)))]
    for at, span_id in enumerate(spans):
        begin = start + random.randrange(200_000_000) * at
        took = (
            random.choice((10**5, 3 * 10**7, 499_999_999, 500_000_000, 999_999_999, 10**9))
            if random.random() < 0.2
            else 10**6
        )
        yield Span(
            trace_id,
            span_id,
            spans[0] if at else b"",
            random.choice(("GET /pay", "GET ", "POST /pay", "redis GET", "GET \n")),
            Kind.SERVER,
            random.choice(("payment", "pay-ment", "paymen", "front", "payment-x")),
            "",
            begin,
            begin + took,
            random.choice(_STATUSES),
            attributes={key: random.choice(values) for key, values in _VALUES.items() if random.random() < 0.25},
            resource=random.choice(_RESOURCES),
            trace_state=state,
        )


def kept(rules: RuleFile, found: Sequence[tuple[Span, ...]], level: float) -> set[bytes]:
    """The ids that `telemetry.sampling` keeps."""
    return {spans[0].trace_id for spans in found if decide(rules, facts(spans), level).keep}


def facts(spans: Sequence[Span]) -> TraceFacts:
    """What rules can ask of a trace."""
    first = spans[0]
    told = first.trace_state.removeprefix("ot=")
    return TraceFacts(
        randomness(first.trace_id, told),
        max(one.end_ns for one in spans) - min(one.start_ns for one in spans),
        frozenset(Status(one.status.name.lower()) for one in spans),
        spans,
    )
