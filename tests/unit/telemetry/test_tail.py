"""The sampler in a real SDK: nothing that must be kept is lost, nothing waits for itself, nothing fails the service."""

import gc
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from threading import Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from canaries import leaks
from go_cache_safeguard.telemetry import tail
from go_cache_safeguard.telemetry.rules import Buffer, RuleFile, Tenant, default_rules, parse_rules
from go_cache_safeguard.telemetry.sampling import keeps, parse_ot
from hookservers import hooked

NEVER = parse_rules(
    {"sampling": [{"name": "errors", "when": {"status": "error"}, "keep": "always"}, {"name": "none", "keep": "never"}]}
)
ALWAYS = parse_rules({"sampling": [{"name": "all", "keep": "always"}]})


class Kept(SpanExporter):
    """Keeps what it gets, and refuses it first as often as it is told to."""

    def __init__(self, refuse: int = 0, error: Exception | None = None) -> None:
        self.spans: list[ReadableSpan] = []
        self.refuse, self.error = refuse, error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.refuse:
            self.refuse -= 1
            if self.error:
                raise self.error
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS

    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)


class Service:
    """A process that is sampled."""

    def __init__(self, rules: RuleFile, **settings: Any) -> None:
        self.kept = settings.pop("exporter", None) or Kept()
        self.sampler = tail.TailSampler(self.kept, rules, **settings)
        self.provider = TracerProvider(resource=Resource({"service.name": "pay"}), shutdown_on_exit=False)
        self.provider.add_span_processor(self.sampler)
        self.tracer: Tracer = self.provider.get_tracer("test")  # type: ignore[assignment] # the SDK's own

    def one(self, name: str, *, error: bool = False, **settings: Any) -> None:
        """A trace of one span."""
        with self.tracer.start_as_current_span(name, **settings) as span:
            if error:
                span.set_status(StatusCode.ERROR)

    def flush(self) -> list[str]:
        assert self.provider.force_flush()
        return self.kept.names()


@pytest.fixture
def services() -> Iterator[list[Service]]:
    made: list[Service] = []
    yield made
    for service in made:
        service.provider.shutdown()


def test_four_threads_lose_no_error_and_no_slow_trace_and_the_volume_falls_by_four_fifths() -> None:
    service = Service(default_rules())
    wanted: list[set[int]] = [set() for _ in range(4)]

    def work(number: int) -> None:
        random = Random(number)  # noqa: S311 - any will do
        for _ in range(500):
            chance = random.random()
            start_ns = 1_000_000_000 if chance < 0.01 else None
            root = service.tracer.start_span("GET /pay", start_time=start_ns)
            with trace.use_span(root, end_on_exit=False):
                for at in range(7):
                    with service.tracer.start_as_current_span("redis") as span:
                        if at == 3 and 0.01 < chance < 0.02:
                            span.set_status(StatusCode.ERROR)
            root.end(3_000_000_000 if start_ns else None)
            if chance < 0.02:
                wanted[number].add(root.get_span_context().trace_id)

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    service.flush()
    meter = service.sampler.meter
    service.provider.shutdown()
    whole: dict[int, int] = {}
    for span in service.kept.spans:
        whole[span.context.trace_id] = whole.get(span.context.trace_id, 0) + 1
    assert set.union(*wanted) <= set(whole)
    assert set(whole.values()) == {8}
    assert len(service.kept.spans) <= 16_000 * 0.182
    assert (meter.started, meter.ended, meter.lost, meter.completeness) == (16_000, 16_000, 0, 1.0)
    assert meter.exported + meter.dropped["sampled"] == 16_000


def test_what_is_exported_says_why_and_with_which_threshold(services: list[Service]) -> None:
    services.append(service := Service(default_rules()))
    head = TraceState([("ot", "th:8;rv:ffffffffffffff"), ("other", "x")])
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=head)
    service.one("by chance", context=trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    service.one("error", error=True)
    for _ in range(300):
        service.one("many")
    service.flush()
    first, second, *many = sorted(service.kept.spans, key=lambda span: ("many" in span.name, span.name))
    assert first.attributes
    assert second.attributes
    assert first.attributes["sampling.rule"] == "rest"
    state = parse_ot(first.context.trace_state["ot"])
    assert state.th is not None
    assert state.th > 1 << 55
    assert "other" not in first.context.trace_state
    assert (second.attributes["sampling.rule"], second.context.trace_state["ot"]) == ("errors", "th:0")
    assert many
    for span in many:
        th = parse_ot(span.context.trace_state["ot"]).th
        assert th is not None
        assert keeps(span.context.trace_id.to_bytes(16), th)


def test_a_span_that_comes_late_follows_the_decision_and_a_late_error_brings_the_dropped_ones_back(
    services: list[Service],
) -> None:
    services.append(service := Service(NEVER))
    with service.tracer.start_as_current_span("root") as root:
        within = trace.set_span_in_context(root)
    service.one("late", context=within)
    assert service.flush() == []
    service.one("failed", context=within, error=True)
    assert service.flush() == ["failed", "late", "root"]
    service.one("later", context=within)
    assert service.flush() == ["failed", "late", "later", "root"]
    meter = service.sampler.meter
    assert (meter.late, meter.exported, meter.dropped, meter.parents_unknown) == (3, 4, {}, 0)


def test_dropped_traces_of_the_last_moments_can_be_pulled_once(services: list[Service]) -> None:
    services.append(service := Service(NEVER))
    service.one("a")
    service.one("b")
    assert service.flush() == []
    pulled = service.sampler.pull()
    assert (list(pulled.values()), service.sampler.pull()) == ([1, 1], {})
    assert service.flush() == ["a", "b"]
    attributes = service.kept.spans[0].attributes
    assert attributes
    assert attributes["sampling.rule"] == "flight-recorder"
    assert not service.kept.spans[0].context.trace_state


def test_spans_that_never_end_are_exported_as_incomplete_and_nothing_is_missing(services: list[Service]) -> None:
    rules = replace(ALWAYS, buffer=Buffer(watchdog_ms=500))
    services.append(service := Service(rules))
    for at in range(400):
        root = service.tracer.start_span("request", kind=SpanKind.SERVER)
        service.one("child", context=trace.set_span_in_context(root))
        if at % 20:
            root.end()
    service.sampler._sort()
    time.sleep(0.6)
    for _ in range(2):
        service.sampler._beat()
    service.flush()
    meter = service.sampler.meter
    incomplete = [span for span in service.kept.spans if span.attributes and span.attributes.get("guard.incomplete")]
    assert len(service.kept.spans) - len(incomplete) == 780
    assert {span.name for span in incomplete} == {"request"}
    assert all(span.end_time for span in incomplete)
    assert {span.context.span_id for span in service.kept.spans if span.name == "child"}
    assert (meter.open, meter.parents_unknown, meter.lost) == (0, 0, 0)
    assert meter.completeness >= 0.997


def test_a_dry_run_exports_everything_and_says_what_it_would_have_done(services: list[Service]) -> None:
    services.append(service := Service(NEVER, dry_run=True))
    service.one("a")
    service.one("b", error=True)
    assert service.flush() == ["a", "b"]
    told = {span.name: dict(span.attributes or {}) for span in service.kept.spans}
    assert told["a"] == {"sampling.rule": "none", "sampling.would_keep": False}
    assert told["b"] == {"sampling.rule": "errors", "sampling.would_keep": True}
    assert {span.name: str(span.context.trace_state.get("ot")) for span in service.kept.spans} == {
        "a": "None",
        "b": "th:0",
    }


def test_metrics_see_every_root_and_server_span_before_anything_is_dropped(services: list[Service]) -> None:
    seen: list[tuple[str, str, bool]] = []
    services.append(
        service := Service(
            NEVER, observe=lambda own, name, start, end, bad: seen.append((own, name, bad and start <= end))
        )
    )
    with service.tracer.start_as_current_span("root"):
        service.one("child")
        service.one("server", kind=SpanKind.SERVER, error=True)
    service.flush()
    assert sorted(seen) == [("pay", "root", False), ("pay", "server", True)]


def test_a_hook_an_exporter_or_a_receiver_that_fails_fails_nothing_else(services: list[Service]) -> None:
    def observe(*_facts: object) -> None:
        raise RuntimeError("a fault of the service's own code")

    services.append(deaf := Service(ALWAYS, observe=observe))
    deaf.one("a")
    assert deaf.flush() == ["a"]
    services.append(service := Service(ALWAYS, exporter=Kept(refuse=2, error=OSError("away"))))
    service.one("b")
    assert not service.provider.force_flush()
    service.sampler._not_before = 0.0
    assert not service.provider.force_flush()
    service.sampler._not_before = 0.0
    assert service.flush() == ["b"]


def test_what_need_not_be_kept_is_dropped_when_the_receiver_refuses_it(services: list[Service]) -> None:
    rules = parse_rules({"sampling": [{"name": "rest", "keep": {"adaptive": {"least": 1, "most": 1}}}]})
    services.append(service := Service(rules, exporter=Kept(refuse=1)))
    service.one("a")
    assert not service.provider.force_flush()
    service.sampler._not_before = 0.0
    assert service.flush() == []
    assert service.sampler.meter.dropped == {"export_failed": 1}


class _EndsInFinaliser:
    def __init__(self, span: trace.Span) -> None:
        self.span, self.me = span, self

    def __del__(self) -> None:
        self.span.end()


def test_a_signal_handler_and_a_finaliser_that_end_spans_never_wait_for_themselves(services: list[Service]) -> None:
    services.append(service := Service(ALWAYS))
    ends: list[bool] = []

    def handler(_signal: int, _frame: object) -> None:
        service.one("in the handler")
        ends.append(service.provider.force_flush(200))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with service.sampler._hold(1) as held:
            assert held
            _EndsInFinaliser(service.tracer.start_span("in a finaliser"))
            gc.collect()
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(70):
                service.one("here")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ends == [False]
    assert {*service.flush()} == {"here", "in a finaliser", "in the handler"}


def test_a_forked_child_begins_afresh_whatever_the_parent_held() -> None:
    service = Service(ALWAYS)
    service.one("of the parent")
    with service.sampler._hold(1):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                service.one("of the child")
                service.provider.force_flush(5_000)
                code = 0 if service.kept.names() == ["of the child"] and service.sampler.meter.started == 1 else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert service.flush() == ["of the parent"]
    service.provider.shutdown()


def test_shutdown_exports_what_is_open_and_counts_what_comes_after() -> None:
    service = Service(ALWAYS)
    left = service.tracer.start_span("open")
    service.provider.shutdown()
    left.end()
    assert service.kept.names() == ["open"]
    assert service.sampler.meter.dropped == {"after_shutdown": 1}
    service.sampler.shutdown()


def test_spans_that_the_head_sampler_did_not_want_are_not_kept(services: list[Service]) -> None:
    services.append(service := Service(ALWAYS))
    with service.tracer.start_as_current_span("x") as span:
        pass
    own = span.get_span_context()
    unwanted = SpanContext(own.trace_id, own.span_id + 1, is_remote=False, trace_flags=TraceFlags(0))
    service.sampler.on_end(ReadableSpan("unwanted", unwanted, start_time=1, end_time=2))
    assert service.flush() == ["x"]


def test_each_tenant_has_requests_of_its_own(services: list[Service]) -> None:
    sizes: list[set[str]] = []

    class Apart(Kept):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            sizes.append({tail._tenant_of(span, Tenant()) for span in spans})
            return super().export(spans)

    services.append(service := Service(ALWAYS, exporter=Apart()))
    for at in range(60):
        service.one(str(at), attributes={"tenant": ("a", "b", "evil\r\nx-tenant-id: a")[at % 3]})
    assert len(service.flush()) == 60
    assert set.union(*sizes) == {"a", "b", "shared"}
    assert all(len(names) == 1 for names in sizes)


def test_the_receiver_is_told_whose_spans_a_request_carries_and_gets_no_secret(services: list[Service]) -> None:
    with hooked(200) as receiver:
        exporter = tail.TenantExporter(Tenant(), endpoint=receiver.url, headers={"x-more": "y"})
        services.append(service := Service(ALWAYS, exporter=exporter))
        for tenant in ("a", "b", "a"):
            service.one("GET /?token=canary", attributes={"tenant": tenant, "password": "canary"})
        assert service.provider.force_flush()
        sent = [({name.lower(): told for name, told in one.headers.items()}, one.body) for one in receiver.received]
        assert sorted((headers["x-tenant-id"], headers["x-more"]) for headers, _body in sent) == [
            ("a", "y"),
            ("b", "y"),
        ]
        assert all(b"sampling.rule" in body and b"canary" not in body for _headers, body in sent)
        service.provider.shutdown()


def test_two_lines_install_it(tmp_path: Any) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("sampling:\n- {name: all, keep: always}\n")
    kept, provider = Kept(), TracerProvider(shutdown_on_exit=False)
    sampler = tail.install(path, exporter=kept, provider=provider)
    with provider.get_tracer("x").start_as_current_span("a"):
        pass
    provider.shutdown()
    assert kept.names() == ["a"]
    assert sampler.level == 1.0


@pytest.mark.parametrize("key", [b"a key", b""])
def test_no_canary_in_any_place_of_a_span_is_exported(key: bytes) -> None:
    assert leaks(11, 1_000, key) == []
