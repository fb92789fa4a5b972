"""The rule file as a configuration of the OpenTelemetry Collector: the same traces are kept, the same things taken out.

Knows:     which components say what the rule file says, and how they are joined.
Called by: `flows.collector`.
Never:     writes what decides otherwise than `telemetry.sampling.decide`; what cannot be said raises `NotForCollector`.
Source:    opentelemetry-collector-contrib v0.140: processor/tailsamplingprocessor (internal/sampling/composite.go, and.go, latency.go,
           ottl.go), exporter/loadbalancingexporter, connector/routingconnector, connector/spanmetricsconnector.

First match wins. Policies of `tail_sampling` do not: a trace is kept if any of them wants it, and dropped if any `drop` policy applies,
whatever the order. Only a `composite` policy asks one after the other and stops at the first that applies: if that one has room in its
allocation of spans per second the trace is kept, else it is not, and nobody else is asked. So there is one composite policy, and every
rule is one or two parts of it: its conditions with its chance and all the room there is; then, if it may also drop, its conditions
alone and no room at all, which ends the search. What has no entry in `rate_allocation` has no room.

The `probabilistic` policy hashes a trace's id with a salt and keeps others than our services do. The chance is therefore a condition on
the last fourteen digits of the id, or on `rv` of the tracestate, which is OpenTelemetry's consistent sampling: `signals.ottl.by_chance`.

Metrics are counted from all spans, before sampling. Rules look at spans before redaction, as they do in a service.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from go_cache_safeguard.signals import scrub
from go_cache_safeguard.signals.ottl import NotForCollector, by_chance, has, is_like, quoted
from go_cache_safeguard.telemetry.rules import Rule, RuleFile, Tenant, When
from go_cache_safeguard.telemetry.sampling import WHOLE, share, threshold

Document = Mapping[str, Any]

_ROOM: Final = 1 << 53
"""Spans per second that no machine reaches, and that a float holds exactly."""
_TRACE_BYTES: Final = 8_192
"""What a trace takes in the Collector's memory, about."""
_TRACES: Final = 50_000
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_URL: Final = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
_ADDRESS: Final = re.compile(r"[^\s/?#@]*[^\s/?#@:]:[0-9]{1,5}")
_RECEIVER: Final = ["otlp"]
_REDACTED: Final = ["transform/redaction", "redaction"]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a Collector listens and sends to.

    Attributes:
        host: Where it listens for OTLP, on ports 4317 (gRPC) and 4318 (HTTP).
        jaeger: Gets traces by OTLP over HTTP: http://host:4318.
        loki: Gets logs by OTLP below /otlp: http://host:3100; empty: logs are not received.
        prometheus: Where metrics can be scraped: host:port.
        next: Collectors of the second tier, host:port of their OTLP over gRPC; for the first tier.
        tenants: Those that have a request, and so a header, of their own.
    """

    host: str = "127.0.0.1"
    jaeger: str = "http://127.0.0.1:14318"
    loki: str = ""
    prometheus: str = "127.0.0.1:8889"
    next: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()


def balancer(places: Places) -> Document:
    """The first of two tiers: every span of a trace goes to the same Collector of the second tier, and nothing is decided.

    Args:
        places: `next` names the second tier.

    Raises:
        NotForCollector: A place is written wrongly.
    """
    _checked(places)
    exporter = {
        "routing_key": "traceID",
        "protocol": {"otlp": {"tls": {"insecure": True}}},
        "resolver": {"static": {"hostnames": list(places.next)}},
    }
    return _document(
        places,
        processors={"memory_limiter": _LIMIT},
        exporters={"loadbalancing": exporter},
        pipelines={"traces": _pipeline(_RECEIVER, ["memory_limiter"], ["loadbalancing"])},
    )


def collector(rules: RuleFile, level: float, places: Places) -> Document:
    """A Collector that samples and redacts: the only one, or one of the second tier.

    Args:
        rules: The rule file.
        level: How generous adaptive rules are, 0 (`least`) to 1 (`most`); a Collector has no budget to follow.
        places: Where it listens and sends to.

    Returns:
        What its YAML file holds.

    Raises:
        NotForCollector: A rule means something else to the Collector, or a place is written wrongly.
    """
    _checked(places)
    headed = _by_tenant(rules.tenant, places)
    connectors: dict[str, Document] = {"spanmetrics": _SPAN_METRICS, **headed.connectors}
    pipelines = {
        "traces/metrics": _pipeline(_RECEIVER, ["memory_limiter", "transform/names"], ["spanmetrics"]),
        "traces": _pipeline(_RECEIVER, ["memory_limiter", "tail_sampling", *_REDACTED], headed.to),
        **headed.pipelines,
        "metrics": _pipeline([*_RECEIVER, "spanmetrics"], ["memory_limiter", "batch"], ["prometheus"]),
    }
    exporters = {**headed.exporters, "prometheus": {"endpoint": places.prometheus, "enable_open_metrics": True}}
    if places.loki:
        pipelines["logs"] = _pipeline(_RECEIVER, ["memory_limiter", *_REDACTED, "batch"], ["otlphttp/loki"])
        exporters["otlphttp/loki"] = _http(f"{places.loki.rstrip('/')}/otlp", {})
    return _document(
        places,
        processors={
            "memory_limiter": _LIMIT,
            "tail_sampling": tail_sampling(rules, level),
            **_plain(scrub.names(rules.redaction)),
            **_plain(scrub.processors(rules.redaction)),
            "batch": {"timeout": "1s", "send_batch_size": 1024},
        },
        connectors=connectors,
        exporters=exporters,
        pipelines=pipelines,
    )


_LIMIT: Final = {"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 15}
# Without the key two resources of one service would have series of the same name, and the last would be all that is scraped.
_SPAN_METRICS: Final = {
    "resource_metrics_key_attributes": ["service.name"],
    "histogram": {
        "unit": "s",
        "explicit": {"buckets": [f"{ms}ms" for ms in (5, 10, 25, 50, 100, 250, 500, 1000, 2500)]},
    },
    "exemplars": {"enabled": True},
    "aggregation_cardinality_limit": 10_000,
}


@dataclass(frozen=True, slots=True)
class _Headed:
    """How traces leave."""

    to: list[str]
    exporters: dict[str, Document]
    connectors: dict[str, Document]
    pipelines: dict[str, Document]


def _checked(places: Places) -> None:
    """Say what the Collector would find out when it starts, or never."""
    asked = (
        ("URL", _URL, [places.jaeger, *([places.loki] if places.loki else [])]),
        ("HOST:PORT", _ADDRESS, [places.prometheus, *places.next]),
        ("name of a tenant", _TENANT, places.tenants),
    )
    for what, shape, texts in asked:
        for text in texts:
            if shape.fullmatch(text) is None:
                raise NotForCollector(
                    f"{text!r} is no {what}", not_done="nothing was written", hint="see docs/collector.md"
                )


def _by_tenant(tenant: Tenant, places: Places) -> _Headed:
    """An exporter with a header for each tenant that is named, and one for all others.

    A header belongs to an exporter, and a sampler forgets with which request a span came: nothing in the Collector makes a header of
    an attribute, so tenants must be known when the configuration is written.
    """
    names = (tenant.default, *(name for name in places.tenants if name != tenant.default))
    exporters = {f"otlphttp/{name}": _http(places.jaeger, {tenant.header: name}) for name in names}
    if len(names) == 1:
        return _Headed(
            ["forward"], exporters, {"forward": {}}, {"traces/out": _pipeline(["forward"], ["batch"], [*exporters])}
        )
    table = [
        {"context": "span", "condition": _is_of(tenant, name), "pipelines": [f"traces/{name}"]} for name in names[1:]
    ]
    router = {"default_pipelines": [f"traces/{tenant.default}"], "error_mode": "propagate", "table": _plain(table)}
    pipelines = {f"traces/{name}": _pipeline(["routing"], ["batch"], [f"otlphttp/{name}"]) for name in names}
    return _Headed(["routing"], exporters, {"routing": router}, pipelines)


def _is_of(tenant: Tenant, name: str) -> str:
    """The condition that a span is of a tenant: it says so itself, or else its resource does."""
    own, whole = (f"{of}attributes[{quoted(tenant.attribute)}]" for of in ("", "resource."))
    return f'{own} == {quoted(name)} or (({own} == nil or {own} == "") and {whole} == {quoted(name)})'


def tail_sampling(rules: RuleFile, level: float) -> Document:
    """The rules as a processor; the module's first lines tell how."""
    limits = rules.buffer
    parts = [part for rule in rules.rules for part in _parts(rule, threshold(share(rule.keep, level)))]
    return {
        "decision_wait": f"{limits.wait_ms}ms",
        "num_traces": max(_TRACES, limits.memory // _TRACE_BYTES),
        "block_on_overflow": True,  # otherwise the oldest go undecided, errors among them; so senders wait, and try again
        "decision_cache": {"sampled_cache_size": limits.decisions, "non_sampled_cache_size": limits.decisions},
        "policies": [
            {
                "name": "rules",
                "type": "composite",
                "composite": {
                    "max_total_spans_per_second": _ROOM,
                    "policy_order": [policy["name"] for policy, _ in parts],
                    "composite_sub_policy": [_plain(policy) for policy, _ in parts],
                    "rate_allocation": [{"policy": policy["name"], "percent": 100} for policy, room in parts if room],
                },
            }
        ],
    }


def _parts(rule: Rule, th: int) -> Iterator[tuple[Document, bool]]:
    """The one or two parts of a rule, and whether they have room."""
    asked = [*_asked(rule.when)]
    if th < WHOLE:
        yield _all_of(rule.name, [*asked, *([_condition("chance", by_chance(th))] if th else [])]), True
    if th:
        yield _all_of(f"{rule.name}/else", asked), False


def _all_of(name: str, policies: Sequence[Document]) -> Document:
    if not policies:
        return {"name": name, "type": "always_sample"}
    return {"name": name, "type": "and", "and": {"and_sub_policy": list(policies)}}


def _asked(when: When) -> Iterator[Document]:
    """A policy for each condition; each may be met by another span, as in `telemetry.sampling.applies`."""
    if when.status is not None:
        yield {"name": "status", "type": "status_code", "status_code": {"status_codes": [when.status.name]}}
    if when.duration_ms is not None:
        yield {"name": "duration", "type": "latency", "latency": {"threshold_ms": when.duration_ms}}
    if when.service is not None:
        yield _condition("service", is_like('resource.attributes["service.name"]', when.service))
    if when.name is not None:
        yield _condition("name", is_like("name", when.name))
    for at, condition in enumerate(when.attributes):
        yield _condition(f"attribute-{at}", has(condition))


def _condition(name: str, text: str) -> Document:
    """A policy that applies when a span meets a condition; one that cannot be asked of a span is not met by it."""
    return {"name": name, "type": "ottl_condition", "ottl_condition": {"error_mode": "ignore", "span": [text]}}


def _http(endpoint: str, headers: Mapping[str, str]) -> Document:
    return {"endpoint": endpoint, **({"headers": dict(headers)} if headers else {})}


def _pipeline(receivers: Sequence[str], processors: Sequence[str], exporters: Sequence[str]) -> Document:
    return {"receivers": list(receivers), "processors": list(processors), "exporters": list(exporters)}


def _document(places: Places, *, pipelines: Document, **components: Document) -> Document:
    listen = {name: {"endpoint": f"{places.host}:{port}"} for name, port in (("grpc", 4317), ("http", 4318))}
    scraped = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": 8888}}}}
    return {
        "receivers": {"otlp": {"protocols": listen}},
        **components,
        "extensions": {"health_check": {"endpoint": "127.0.0.1:13133", "path": "/status"}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"readers": [scraped]}},
            "pipelines": pipelines,
        },
    }


def _plain(value: Any) -> Any:
    """Texts of ours as they are; `$` would begin a variable, and only `${env:` is meant to."""
    match value:
        case str():
            return value.replace("$", "$$").replace("$${env:", "${env:")
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return value
