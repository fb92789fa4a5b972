"""What operations tell of themselves, with the real SDK inside of a test: ways back, crashes, servers, approvals of others."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.test_flows import session_at
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import clean
from go_cache_safeguard.flows.metrics import JournalMetrics
from go_cache_safeguard.flows.observing import observe
from go_cache_safeguard.flows.prove import Proof
from go_cache_safeguard.flows.redis_plan import Wanted
from go_cache_safeguard.flows.redis_undo import undo
from go_cache_safeguard.flows.remove import Manner, ProofFailed
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.redis.call import Answered
from go_cache_safeguard.telemetry import span as spans
from go_cache_safeguard.telemetry.names import SpanName, ids_of
from go_cache_safeguard.telemetry.otel import Setup, Tracing
from go_cache_safeguard.tree.root import Root
from hookservers import HookServer, hooked
from otlpreceivers import Seen, seen
from redisgates import asking, call_of
from redisguard import Guard
from redisservers import running
from smallcaches import small_cache

PASSED = Verdict("reuse", Outcome.PASS, "go uses the cache")


@pytest.fixture
def receiver() -> Iterator[HookServer]:
    """A receiver that is told of everything in this process."""
    with hooked(200) as server:
        setup = Setup(f"http://127.0.0.1:{server.port}", host="here", finish_s=30)
        spans.record_with(lambda: Tracing(setup))
        yield server
        spans.finish()
        logging.getLogger("opentelemetry").handlers.clear()


def told(receiver: HookServer) -> Seen:
    """All of it, at the end."""
    assert spans.finish() == ""
    return seen(receiver)


def op_of(session: Session) -> str:
    with session.journal(read_only=True) as journal:
        return journal.operations()[-1].id


def no_proof(_session: Session, _root: Root) -> Proof:
    return Proof(passed=False, evidence=("canary: it does not build, password=hunter2",))


def test_a_failed_proof_and_the_way_back_are_told_and_counted(receiver: HookServer, tmp_path: Path) -> None:
    session, cache = session_at(tmp_path, policy__hold_share="100%"), small_cache(tmp_path / "cache")
    with pytest.raises(ProofFailed):
        clean(session, cache.plan(), lambda: [PASSED], Manner(0, no_proof), None)
    found, op = told(receiver), op_of(session)
    paths = found.paths(op)
    assert "guard.operation/guard.execute/guard.rollback" in paths
    spans_of = {one.name: one for one in found.trace(op)}
    assert spans_of["guard.verify"].attributes["guard.verdict"] == "BLOCK"
    assert "it does not build" in spans_of["guard.execute"].message
    assert not [one for one in receiver.received if b"hunter2" in one.body]
    for name in ("guard.operation", "guard.execute"):
        assert spans_of[name].is_error
        assert spans_of[name].attributes["error.type"] == "proof-failed"
    assert spans_of["guard.check"].events[0].attributes["guard.check.id"] == "reuse"
    assert found.metric("guard.spans.kept").sum.data_points[0].as_int == len(found.spans)
    assert found.metric("guard.trace.completeness").gauge.data_points[0].as_double == 1.0
    (point,) = found.metric("guard.rollback").sum.data_points
    (exemplar,) = point.exemplars
    assert (point.as_int, exemplar.span_id) == (1, spans_of["guard.rollback"].span_id)
    page = JournalMetrics(session.journal).text("application/openmetrics-text; version=1.0.0")[1].decode()
    (line,) = (line for line in page.splitlines() if line.startswith("go_cache_safeguard_proofs_failed_total"))
    assert f'# {{op_id="{op}",trace_id="{ids_of(op).trace.hex()}"}} 1.0' in line


def test_keys_of_a_server_go_in_waves_and_come_back_in_the_same_trace(receiver: HookServer, tmp_path: Path) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state")
    with running("valkey-9.1", tmp_path) as server, server.client() as client:
        for key in ("a:1", "a:2", "a:3"):
            client("SET", key, "v")
        guard.remove(Wanted("UNLINK", (b"a:1", b"a:2", b"a:3")))
        op = op_of(guard.session())
        undo(guard.session(), op)
    found = told(receiver)
    assert found.paths(op) == [
        "guard.operation",
        "guard.operation/guard.check",
        "guard.operation/guard.policy",
        "guard.operation/guard.execute",
        "guard.operation/guard.execute/guard.wave",
        "guard.operation/guard.execute/guard.verify",
        "guard.operation/guard.undo",
    ]
    waves = [one.attributes for one in found.trace(op) if one.name == "guard.wave"]
    assert [(one["guard.wave.n"], one["guard.keys"]) for one in waves] == [(1, 3)]


def test_a_held_call_of_a_client_is_decided_and_done_in_one_trace_and_what_passes_is_not_told(
    receiver: HookServer, tmp_path: Path
) -> None:
    guard = Guard(f"unix://{tmp_path}/s", tmp_path / "state", {"redis.protect": "user:*"})
    with running("valkey-9.1", tmp_path) as server, server.client() as client, asking(guard) as gate:
        client("SET", "user:1", "v")
        client("SET", "other", "v")
        gate("GET", "user:1")
        gate("DEL", "other")
        op = gate.held_call(call_of("GETDEL", "user:1", user="app"))
        gate.approve(op)
        assert gate.call(call_of("GETDEL", "user:1", user="app")) == Answered(b"$1\r\nv\r\n")
    found = told(receiver)
    assert found.paths(op) == [
        "guard.operation",
        "guard.operation/guard.check",
        "guard.operation/guard.policy",
        "guard.operation/guard.approval",
        "guard.operation/guard.execute",
        "guard.operation/guard.execute/guard.snapshot",
        "guard.operation/guard.execute/guard.wave",
    ]
    assert len(found.spans) == len(found.trace(op))


@pytest.mark.parametrize("status", [0, 500])
def test_a_receiver_that_is_away_or_fails_is_told_of_once_at_the_end(
    status: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    with hooked(status or 200) as server:
        port = server.port if status else 9
        spans.record_with(lambda: Tracing(Setup(f"http://127.0.0.1:{port}", finish_s=1)))
        with spans.span(SpanName.OPERATION, op="op_1"):
            pass
        assert spans.finish().startswith("telemetry was not delivered")
    for thread in threading.enumerate():
        if thread.name == "telemetry-end":
            thread.join(60)  # a command ends meanwhile; here other tests go on, and throw dice of their own
            assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


def test_who_turns_opentelemetry_off_is_heeded(tmp_path: Path) -> None:
    session = session_at(tmp_path, telemetry__endpoint="http://127.0.0.1:9")
    observe(replace(session, environ={**session.environ, "OTEL_SDK_DISABLED": "true"}))
    assert spans.span(SpanName.OPERATION, op="op_1") is spans.NOTHING


def test_a_span_of_another_trace_is_linked_where_an_operation_goes_on(receiver: HookServer) -> None:
    with spans.span(SpanName.OPERATION, op="op_of_a_service"):
        with spans.span(SpanName.APPROVAL, op="op_1", decision="approve") as here:
            here.link(b"t" * 16, b"s" * 8)
        elsewhere = ids_of("op_of_a_service")
    (approval,) = told(receiver).trace("op_1")
    assert approval.parent_id == ids_of("op_1").root
    assert [(one.trace_id, one.span_id) for one in approval.links] == [
        (elsewhere.trace, elsewhere.root),
        (b"t" * 16, b"s" * 8),
    ]


pytestmark = pytest.mark.real
