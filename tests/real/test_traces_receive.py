"""The receiver with real exporters, hostile clients, sudden deaths, and no room."""

import gzip
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from faulty_traces import FAULTS, made
from go_cache_safeguard.signals import otlp
from go_cache_safeguard.signals.query import EVERYTHING, parse_query
from go_cache_safeguard.signals.receive import Behind, Desk, Sent
from go_cache_safeguard.signals.span import Span
from go_cache_safeguard.signals.spanstore import SpanStore, SpanStoreUnusable
from receiving import EXPORT, Receiving, document, receiver, run

PROTOBUF = {"content-type": "application/x-protobuf"}
CANARY = "Bearer canary-0d5c7a1e"


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    with receiver(tmp_path_factory.mktemp("state")) as one:
        yield one


def _kept(one: Receiving, question: str = "", limit: int = 100_000) -> tuple[Span, ...]:
    with SpanStore(one.store, read_only=True) as store:
        return store.find(parse_query(question), limit=limit)


def _send(one: Receiving, body: bytes, **headers: str) -> httpx.Response:
    return httpx.post(one.http, content=body, headers={**PROTOBUF, **headers}, trust_env=False, timeout=30)


def test_spans_of_the_real_sdk_are_kept_with_everything_they_say_except_secrets(listening: Receiving) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "sdk", "host.name": "h1"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(listening.http, headers={"x-tenant-id": "blue"})))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("GET /pay", kind=SpanKind.SERVER) as parent:
        parent.set_attribute("http.request.header.authorization", CANARY)
        parent.set_attribute("http.response.status_code", 503)
        with tracer.start_as_current_span("inner", attributes={"note": f"sent {CANARY}"}) as inner:
            inner.add_event("gave up", {"left": 2})
            inner.set_status(StatusCode.ERROR, "no connection")
    provider.shutdown()
    inner_kept, root = sorted(_kept(listening, "service=sdk AND tenant=blue"), key=lambda span: span.name, reverse=True)
    assert (root.name, root.attributes["http.response.status_code"], root.resource["host.name"]) == (
        "GET /pay",
        503,
        "h1",
    )
    assert inner_kept.parent_id == root.span_id
    assert inner_kept.message == "no connection"
    assert [event.name for event in inner_kept.events] == ["gave up"]
    written = b"".join(path.read_bytes() for path in listening.state.rglob("*") if path.is_file())
    assert b"GET /pay" in written
    assert b"canary-0d5c7a1e" not in written


def test_grpc_json_and_gzip_say_the_same(listening: Receiving) -> None:
    span = made("shop", 1, 3)[0]
    body = otlp.encode([span])
    with grpc.insecure_channel(listening.grpc) as channel:
        assert channel.unary_unary(EXPORT)(body, metadata=(("x-tenant-id", "g"),), timeout=20) == b""
    assert _send(listening, gzip.compress(body), **{"content-encoding": "gzip", "x-tenant-id": "z"}).content == b""
    text = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": span.service}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": span.trace_id.hex(),
                                "spanId": span.span_id.hex(),
                                "parentSpanId": span.parent_id.hex(),
                                "name": span.name,
                                "kind": int(span.kind),
                                "startTimeUnixNano": str(span.start_ns),
                                "endTimeUnixNano": str(span.end_ns),
                                "attributes": [
                                    {"key": key, "value": {"stringValue": value}}
                                    for key, value in span.attributes.items()
                                ],
                            }
                        ]
                    }
                ],
            }
        ]
    }
    answer = _send(listening, json.dumps(text).encode(), **{"content-type": "application/json", "x-tenant-id": "j"})
    assert answer.json() == {}
    kept = {one.tenant: one for one in _kept(listening, f"trace={span.trace_id.hex()}")}
    assert set(kept) == {"g", "z", "j"}
    assert {(one.name, one.start_ns, one.end_ns, tuple(one.attributes.items())) for one in kept.values()} == {
        (span.name, span.start_ns, span.end_ns, tuple(span.attributes.items()))
    }


def test_what_cannot_be_used_is_counted_and_the_rest_is_kept(listening: Receiving) -> None:
    good, bad = made("shop", 1, 4)[:2]
    wrong = ExportTraceServiceRequest()
    wrong.ParseFromString(otlp.encode([good, bad]))
    spans = [one for group in wrong.resource_spans for scope in group.scope_spans for one in scope.spans]
    spans[1].trace_id = b"short"
    answer = ExportTraceServiceResponse()
    answer.ParseFromString(_send(listening, wrong.SerializeToString(), **{"x-tenant-id": "part"}).content)
    assert answer.partial_success.rejected_spans == 1
    assert "16 bytes" in answer.partial_success.error_message
    assert [one.span_id for one in _kept(listening, "tenant=part")] == [good.span_id]


def test_hostile_requests_are_refused_and_the_receiver_goes_on(listening: Receiving) -> None:
    body = otlp.encode(made("shop", 1, 5))
    bomb = gzip.compress(bytes(64 << 20))
    statuses = [
        _send(listening, body[:-3]).status_code,
        _send(listening, b"\xff" * 1000).status_code,
        _send(listening, b"[" * 100_000, **{"content-type": "application/json"}).status_code,
        _send(listening, bomb, **{"content-encoding": "gzip"}).status_code,
        _send(listening, b"not gzip", **{"content-encoding": "gzip"}).status_code,
        _send(listening, body, **{"content-type": "text/plain"}).status_code,
        _send(listening, body, **{"x-tenant-id": "x" * 500}).status_code,
        _send(listening, bytes(17 << 20)).status_code,
    ]
    assert statuses == [400, 400, 400, 400, 400, 415, 400, 413]
    with grpc.insecure_channel(listening.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(EXPORT)(b"\xff" * 100, timeout=20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _send(listening, body).status_code == 200


def test_what_was_acknowledged_survives_kill_9_and_a_second_process_reads_meanwhile(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []
    with receiver(tmp_path) as one:
        with httpx.Client(trust_env=False, timeout=10) as client:

            def pour() -> None:
                for number in range(10_000):
                    spans = made("shop", 2, number)
                    try:
                        done = client.post(one.http, content=otlp.encode(spans), headers=PROTOBUF).status_code == 200
                    except httpx.HTTPError:
                        return
                    if done:
                        acknowledged.extend(span.span_id for span in spans)

            pouring = threading.Thread(target=pour)
            pouring.start()
            while len(acknowledged) < 500:
                found = _kept(one, limit=50)
                assert all(span.service for span in found)
            one.process.send_signal(signal.SIGKILL)
            pouring.join(30)
        assert not pouring.is_alive()
    with SpanStore(one.store) as store:
        kept = {span.span_id for span in store.find(EVERYTHING, limit=1_000_000)}
        assert len(acknowledged) >= 500
        assert kept.issuperset(acknowledged)
    with sqlite3.connect(one.store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_without_room_spans_are_to_be_sent_again_and_the_store_stays_whole(tmp_path: Path) -> None:
    with receiver(tmp_path) as one:
        assert _send(one, otlp.encode(made("shop", 1, 1))).status_code == 200
        # No file of it may grow beyond this: what a full disk says, without filling one.
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))
        answers = [_send(one, otlp.encode(made("shop", 60, seed))) for seed in range(2, 6)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in refused} == {503}
        assert refused[0].headers["retry-after"] == "5"
        taken = 1 + 60 * (len(answers) - len(refused))
        assert one.stop() == 0
    with SpanStore(one.store) as store:
        assert len({span.trace_id for span in store.find(EVERYTHING, limit=1_000_000)}) == taken


def test_a_person_finds_shows_and_explains_the_slow_ones(tmp_path: Path) -> None:
    fault = FAULTS["shop"][0]
    with receiver(tmp_path) as one:
        for spans in (made("shop", 60, 1), made("shop", 20, 2, fault)):
            assert _send(one, otlp.encode(spans)).status_code == 200
        assert one.stop() == 0
    question = "service=payment-gateway AND duration>2000ms"
    found = document(one.environ, "traces", "query", question)["spans"]
    assert found
    assert {span["name"] for span in found} <= {"pay", "JedisPool.getResource"}
    told = run(one.environ, "signals", "rootcause", question).splitlines()[0]
    assert "of the time is waiting for a connection from the pool (JedisPool.getResource in payment-gateway)" in told
    assert told.endswith("in the baseline")
    shown = run(one.environ, "traces", "show", found[0]["trace"])
    assert "payment-gateway: JedisPool.getResource" in shown
    totals = document(one.environ, "traces", "query", "--totals")["totals"]
    assert sum(total["spans"] for total in totals) == len(made("shop", 60, 1)) + len(made("shop", 20, 2, fault))
    assert "error: at character 9" in run(one.environ, "traces", "query", "service=", code=2)
    text = run(one.environ, "traces", "query", question, "--traceql").strip()
    assert text == '{ resource.service.name = "payment-gateway" && duration > 2000000000ns }'


def test_two_processes_write_to_one_store(tmp_path: Path) -> None:
    path = tmp_path / "spans.sqlite"
    code = (
        "import sys; from pathlib import Path; from faulty_traces import made;"
        "from go_cache_safeguard.signals.spanstore import SpanStore;"
        "s = SpanStore(Path(sys.argv[1]));"
        "[s.put(made('shop', 5, int(sys.argv[2]) + n), observe=True) for n in range(20)]; s.close()"
    )
    with receiver(tmp_path / "unused") as one:  # its environment finds the package
        environ = {**one.environ, "PYTHONPATH": f"{one.environ['PYTHONPATH']}:{Path(__file__).parents[1]}"}
    both = [subprocess.Popen([sys.executable, "-c", code, str(path), str(seed)], env=environ) for seed in (100, 200)]
    assert [one.wait(60) for one in both] == [0, 0]
    with SpanStore(path) as store:
        expected = sum(len(made("shop", 5, seed + n)) for seed in (100, 200) for n in range(20))
        assert len(store.find(EVERYTHING, limit=1_000_000)) == expected
        counted = store.series("edge", 0, 1 << 62)
        assert sum(second.requests for second in counted) == 200


def test_more_than_can_wait_is_sent_away_and_the_end_loses_nothing_that_waits(tmp_path: Path) -> None:
    body = otlp.encode(made("shop", 2, 1))
    begin = threading.Event()

    def opened() -> SpanStore:
        begin.wait(20)
        return SpanStore(tmp_path / "s")

    desk = Desk(opened, lambda spans: spans, lambda _: None, most_waiting=3 * len(body))
    waiting = [desk.give(Sent(body, packed=False, json=False, tenant=str(number))) for number in range(3)]
    with pytest.raises(Behind):
        desk.give(Sent(body, packed=False, json=False, tenant="late"))
    begin.set()
    desk.close()
    assert all(one.done() and not one.exception() for one in waiting)
    with pytest.raises(Behind):
        desk.give(Sent(body, packed=False, json=False, tenant="after"))
    with SpanStore(tmp_path / "s") as store:
        assert {span.tenant for span in store.find(EVERYTHING, limit=1000)} == {"0", "1", "2"}


def test_a_store_that_breaks_leaves_nobody_waiting() -> None:
    begin = threading.Event()

    def broken() -> SpanStore:
        begin.wait(20)
        raise SpanStoreUnusable("it broke")

    desk = Desk(broken, lambda spans: spans, lambda _: None)
    waiting = desk.give(Sent(b"", packed=False, json=False, tenant=""))
    begin.set()
    with pytest.raises(Behind):
        waiting.result(20)
    with pytest.raises(Behind):
        desk.give(Sent(b"", packed=False, json=False, tenant=""))
    desk.close()


def test_a_place_that_somebody_has_is_not_shared(listening: Receiving, tmp_path: Path) -> None:
    port = listening.http.partition("//")[2].partition("/")[0].rpartition(":")[2]
    environ = {**listening.environ, "GO_CACHE_SAFEGUARD_STATE_DIR": str(tmp_path)}
    assert "cannot be had" in run(environ, "traces", "receive", "--http", port, "--grpc", "0", code=36)
    port = listening.grpc.rpartition(":")[2]
    assert "cannot be had" in run(environ, "traces", "receive", "--http", "0", "--grpc", port, code=36)
