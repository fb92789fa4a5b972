"""OpenTracing applications in a real JVM, with and without the agent, before our own receiver. `make test-jvm` builds what they need."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from go_cache_safeguard.signals.query import parse_query
from go_cache_safeguard.signals.span import Span, Status
from go_cache_safeguard.signals.spanstore import SpanStore
from receiving import Receiving, receiver

JVM = Path(__file__).resolve().parents[2] / "jvm"
AGENT = JVM / "agent" / "target" / "opentracing-agent-0.1.0.jar"
LIBRARIES = JVM / "sample" / "target" / "lib"


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    with receiver(tmp_path_factory.mktemp("state")) as listening:
        yield listening


def run(receiving: Receiving, main: str, *, service: str, agent: bool, libraries: str = "*.jar") -> str:
    """Start an application; what it printed. Everything is sent when it has ended."""
    assert AGENT.is_file(), "run `make test-jvm`"
    path = [JVM / "sample" / "target" / "classes", *sorted(LIBRARIES.glob(libraries))]
    done = subprocess.run(
        ["java", *([f"-javaagent:{AGENT}"] if agent else []), "-cp", ":".join(map(str, path)), f"sample.{main}"],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiving.http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "opentracing-agent" not in done.stderr
    return done.stdout


def spans_of(receiving: Receiving, service: str) -> dict[str, Span]:
    with SpanStore(receiving.store, read_only=True) as store:
        found = store.find(parse_query(f"service={service}"), limit=100)
        assert len(found) == len({span.name for span in found})
        return {span.name: span for span in found}


def test_spans_of_opentracing_arrive_as_opentelemetry_with_parents_tags_and_errors(receiving: Receiving) -> None:
    said = run(receiving, "Shop", service="shop", agent=True, libraries="opentracing-*.jar")
    assert said.splitlines() == ["active afterwards: null", "order done", "spans of its own tracer: 0"]
    spans = spans_of(receiving, "shop")
    assert set(spans) == {"order", "reserve", "pay", "ship"}
    order, pay = spans["order"], spans["pay"]
    assert order.parent_id == b""
    assert {span.parent_id for name, span in spans.items() if name != "order"} == {order.span_id}
    assert {span.trace_id for span in spans.values()} == {order.trace_id}
    assert (order.attributes["customer"], order.attributes["items"]) == ("c-17", 3)
    assert (spans["reserve"].attributes["span.kind"], spans["reserve"].attributes["shelf"]) == ("client", "a-4")
    assert {name for name, span in spans.items() if span.status is Status.ERROR} == {"pay"}
    (refused,) = [event for event in pay.events if event.name == "exception"]
    assert refused.attributes["exception.message"] == "card refused"


def test_without_the_agent_nothing_changes(receiving: Receiving) -> None:
    said = run(receiving, "Shop", service="shop-alone", agent=False, libraries="opentracing-*.jar")
    assert said.splitlines() == ["active afterwards: null", "order done", "spans of its own tracer: 4"]
    assert spans_of(receiving, "shop-alone") == {}


def test_spans_of_both_apis_are_parents_of_each_other(receiving: Receiving) -> None:
    assert run(receiving, "Mixed", service="mixed", agent=True) == "done\n"
    spans = spans_of(receiving, "mixed")
    assert spans["outer"].parent_id == b""
    assert spans["middle"].parent_id == spans["outer"].span_id
    assert spans["inner"].parent_id == spans["middle"].span_id


def test_without_the_agent_such_an_application_loses_its_old_half(receiving: Receiving) -> None:
    run(receiving, "Mixed", service="mixed-alone", agent=False)
    spans = spans_of(receiving, "mixed-alone")
    assert set(spans) == {"outer", "inner"}
    assert spans["inner"].parent_id == spans["outer"].span_id


def test_an_opentelemetry_that_the_application_has_and_does_not_use_is_neither_used_nor_set(
    receiving: Receiving,
) -> None:
    run(receiving, "Shop", service="shop-both", agent=True)
    assert set(spans_of(receiving, "shop-both")) == {"order", "reserve", "pay", "ship"}
