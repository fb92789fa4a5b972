"""Configurations that are compiled from the rule file, in a real Collector: it keeps and redacts what we keep and redact."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from canaries import RULES as CANARY_RULES
from canaries import Canaries
from collectors import KEY, Engine, engine, placed, started
from go_cache_safeguard.flows.collector import CollectorRefuses, Wish, as_yaml, configuration, validate
from go_cache_safeguard.signals.collector import Places, balancer, collector
from go_cache_safeguard.signals.cover import coverer
from go_cache_safeguard.signals.otlp import decode
from go_cache_safeguard.signals.span import Event, Kind, Span, Status, Value
from go_cache_safeguard.telemetry.redact import Redactor
from go_cache_safeguard.telemetry.rules import RuleFile, parse_rules
from guardproxy import wait_until
from hookservers import HookServer, hooked
from sampledtraces import RULES, kept, shuffled, traces

EXAMPLE = Path("docs/signals/rules.yaml")
NUMBER = 10_000


@contextmanager
def collecting(rules: RuleFile, folder: Path, wait: str = "1s", **places: Any) -> Iterator[tuple[Engine, HookServer]]:
    """A Collector that sends to a receiver of ours, and decides after so long: all of a trace must have come by then."""
    with hooked(200) as there:
        document = placed(
            collector(rules, 1.0, Places(jaeger=f"http://127.0.0.1:{there.port}", **places)),
            num_traces=2 * NUMBER,
            decision_wait=wait,
        )
        with started("collector", document, folder, "prometheus", GUARD_REDACTION_KEY=KEY) as running:
            yield running, there


def came(there: HookServer) -> list[Span]:
    """Every span that a receiver was sent."""
    return [span for one in [*there.received] for span in decode(one.body)]


@pytest.mark.parametrize(
    "places",
    [
        Places(),
        Places(loki="http://loki:3100", tenants=("acme", "globex")),
        Places(next=("collector-1:4317", "collector-2:4317")),
    ],
    ids=["one", "tenants-and-logs", "first-tier"],
)
def test_the_real_collector_understands_every_variant(places: Places) -> None:
    validate(configuration(Wish(EXAMPLE, 0.5, places)), engine("collector"))


def test_a_configuration_that_the_collector_does_not_understand_is_refused() -> None:
    with pytest.raises(CollectorRefuses, match="no_such_processor"):
        validate(
            as_yaml({**collector(RULES, 1.0, Places()), "processors": {"no_such_processor": {}}}), engine("collector")
        )


def test_ten_thousand_traces_are_kept_as_we_keep_them(tmp_path: Path) -> None:
    found = traces(NUMBER, seed=7)
    spans = shuffled(found, seed=7)
    wanted = kept(RULES, found, 1.0)
    with collecting(RULES, tmp_path, "8s") as (running, there):
        running.send(spans)
        sent = [span for one in found if one[0].trace_id in wanted for span in one]
        wait_until("some spans stay behind", lambda: len(came(there)) >= len(sent), 60)
        assert {span.trace_id for span in came(there)} == wanted
        assert len(came(there)) == len(sent)
        late = [replace(one[0], span_id=b"\xff" * 8) for one in found]
        running.send(late)
        wait_until("late spans stay behind", lambda: len(came(there)) >= len(sent) + len(wanted), 30)
        assert {span.trace_id for span in came(there)} == wanted, "late spans follow what was decided"
        spans += late
        wait_until("metrics are not of all spans", lambda: _counted(running) == len(spans))


def _counted(running: Engine) -> float:
    """How many spans are in the metrics that Prometheus would scrape."""
    lines = httpx.get(f"{running.url('prometheus')}/metrics", trust_env=False).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("traces_span_metrics_calls_total"))


SECRETS: Mapping[str, Value] = {
    "http.request.header.authorization": "Bearer abcdefgh",
    "HTTP.Request.Header.Cookie": "sid=1",
    "x_api_key": "abc",
    "user.id": "42",
    "Enduser.ID": "Alice",
    "session.id": 4711,
    "db.query.parameter.0": "Alice's",
    "note": "the customer CUST-12345678 called",
    "url.full": "https://svc:hunter2@example.com/cb?code=abc&x=1&access_token=xyz#top",
    "message": 'mail alice@example.com, {"password": "a b", "token":"c"}; Authorization: Basic YWxpY2U6eA==',
    "card": "paid with 4111 1111 1111 1111.",
    "key": "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n",
    "jwt": "got eyJhbGciOi.eyJzdWIi.sig",
    "bearer": "with bearer abcdefghij",
    "plain": "SELECT 1 -- $1 ${HOME} 100%",
    "count": 12,
    "ratio": 0.5,
    "alice@example.com": "x",
}


def _secret_span() -> Span:
    return Span(
        b"\x01" * 16,
        b"\x02" * 8,
        b"",
        "GET https://bob:pw@example.com/",
        Kind.SERVER,
        "shop",
        "",
        1_760_000_000_000_000_000,
        1_760_000_000_000_000_001,
        Status.ERROR,
        "failed for alice@example.com",
        SECRETS,
        {"process.command_args": "--password=hunter2"},
        (Event("exception alice@example.com", 1_760_000_000_000_000_000, SECRETS),),
    )


def test_what_is_redacted_in_process_is_redacted_in_the_collector(tmp_path: Path) -> None:
    rules = RuleFile(
        parse_rules({"sampling": [{"name": "all", "keep": "always"}]}).rules, redaction=_example().redaction
    )
    span = _secret_span()
    with collecting(rules, tmp_path) as (running, there):
        running.send([span])
        (got,) = decode(there.one().body)
    (wanted,) = coverer(Redactor(rules.redaction, KEY.encode()))([span])
    assert got.attributes == _lower(wanted.attributes)
    assert got.events[0].attributes == _lower(wanted.events[0].attributes)
    assert (got.name, got.message, got.events[0].name) == (wanted.name, wanted.message, wanted.events[0].name)
    assert got.resource == wanted.resource


def _lower(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """A hashed name is lower case after the Collector."""
    return {"enduser.id" if name == "Enduser.ID" else name: value for name, value in attributes.items()}


def test_lists_numbers_and_masked_numbers_do_not_pass_either(tmp_path: Path) -> None:
    rules = RuleFile(
        parse_rules({"sampling": [{"name": "all", "keep": "always"}]}).rules, redaction=_example().redaction
    )
    hidden: Mapping[str, Value] = {
        "args": ("--verbose", "--password=canary"),
        "deep": (("inner", ("https://u:canary@h/", "CUST-12345678")),),
        "pan": 4111111111111111,
        "db.query.parameter.1": 13,
        "user.id": True,
        "list": ("a", 1),
    }
    span = Span(b"\x01" * 16, b"\x02" * 8, b"", "x", Kind.SERVER, "s", "", 1, 2, attributes=hidden)
    with collecting(rules, tmp_path) as (running, there):
        running.send([span])
        body = there.one().body
    for secret in (b"canary", b"CUST-12345678", b"4111111111111111"):
        assert secret not in body
    (got,) = decode(body)
    assert got.attributes["db.query.parameter.1"] == "****"
    assert got.attributes["user.id"] == "[redacted]"
    assert got.attributes["list"] == ("a", 1)


def test_no_canary_of_a_thousand_spans_gets_through(tmp_path: Path) -> None:
    canaries = Canaries(Random(5))  # noqa: S311 - no secrets but canaries
    request = encode_spans([canaries.span() for _ in range(1_000)])
    for span in (span for whole in request.resource_spans for scope in whole.scope_spans for span in scope.spans):
        del span.links[:]  # docs/collector.md: links and bytes are not looked at
    _without_bytes(request)
    with collecting(CANARY_RULES, tmp_path) as (running, there):
        running.post(request.SerializeToString())
        wait_until("not all come", lambda: len(came(there)) == 1_000, 30)
        leaked = [leak for one in there.received for leak in canaries.found(one.body)]
    assert leaked == []


def _without_bytes(message: Any) -> None:
    """Bytes of attributes, wherever they are, as a word."""
    for field, value in message.ListFields():
        if field.name == "bytes_value":
            message.string_value = "bytes"
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                _without_bytes(part)


def test_without_a_key_nothing_is_hashed_that_could_be_guessed(tmp_path: Path) -> None:
    with hooked(200) as there:
        rules = RuleFile(parse_rules({"sampling": [{"name": "all", "keep": "always"}]}).rules)
        document = placed(collector(rules, 1.0, Places(jaeger=f"http://127.0.0.1:{there.port}")))
        with started("collector", document, tmp_path, "prometheus") as running:
            running.send([_secret_span()])
            (got,) = decode(there.one().body)
    assert got.attributes["user.id"] == "[redacted]"


def test_each_tenant_has_requests_and_a_header_of_its_own(tmp_path: Path) -> None:
    rules = parse_rules({"sampling": [{"name": "all", "keep": "always"}]})
    told: tuple[tuple[Mapping[str, Value], Mapping[str, Value], str], ...] = (
        ({"tenant": "acme"}, {}, "acme"),
        ({}, {"tenant": "acme"}, "acme"),
        ({"tenant": "globex"}, {"tenant": "acme"}, "globex"),
        ({"tenant": ""}, {"tenant": "globex"}, "globex"),
        ({"tenant": "unknown"}, {}, "shared"),
        ({}, {}, "shared"),
    )
    spans = [
        Span(bytes([at + 1]) * 16, b"\x02" * 8, b"", tenant, Kind.SERVER, "s", "", 1, 2, attributes=own, resource=whole)
        for at, (own, whole, tenant) in enumerate(told)
    ]
    with collecting(rules, tmp_path, tenants=("acme", "globex")) as (running, there):
        running.send(spans)
        wait_until("not all come", lambda: len(came(there)) == len(spans), 30)
        seen = [(one.headers["x-tenant-id"], span.name) for one in there.received for span in decode(one.body)]
    assert len(seen) == len(spans)
    assert all(header == tenant for header, tenant in seen), seen


def test_two_tiers_keep_whole_traces(tmp_path: Path) -> None:
    found = traces(600, seed=3)
    spans = shuffled(found, seed=3)
    wanted = kept(RULES, found, 1.0)
    with hooked(200) as there:
        second = placed(collector(RULES, 1.0, Places(jaeger=f"http://127.0.0.1:{there.port}")), decision_wait="5s")
        with (
            started("collector", second, tmp_path, "prometheus") as left,
            started("collector", second, tmp_path, "prometheus") as right,
        ):
            first = placed(balancer(Places(next=tuple(f"127.0.0.1:{one.ports['grpc']}" for one in (left, right)))))
            with started("collector", first, tmp_path) as running:
                running.send(spans, at_once=100)
                wait_until("not all come", lambda: wanted <= {span.trace_id for span in came(there)}, 30)
        assert {span.trace_id for span in came(there)} == wanted
        assert len(came(there)) == sum(len(one) for one in found if one[0].trace_id in wanted)


def _example() -> RuleFile:
    return parse_rules(yaml.safe_load(EXAMPLE.read_text()))
