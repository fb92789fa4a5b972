"""Operations as a receiver of OTLP sees them: one trace over processes, and nothing that goes wrong there stops anything; what nobody wants is not loaded."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.clean import Held, clean
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.telemetry.names import ids_of
from gocaches import GoCache
from hookservers import HANG, HookServer, hooked
from otlpreceivers import seen
from safeguard import COMMAND, Safeguard, files_of
from smallcaches import small_cache
from webserver import add_person, mint, serving

PASSED = Verdict("reuse", Outcome.PASS, "go uses the cache")
QUICK = ("--all", "--proof", "none", "--checks", "permissions")
OP = re.compile(r"op_[0-9a-z]{16}")


def variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in settings.items()}


def watched(cache: GoCache, folder: Path, receiver: HookServer, **more: str) -> Safeguard:
    headers = folder / "headers"
    headers.touch(mode=0o600)
    headers.write_text("x-key: secret-of-receiver\n")
    settings = {
        "telemetry.endpoint": f"http://127.0.0.1:{receiver.port}",
        "telemetry.headers_file": str(headers),
        "telemetry.tenant": "shop",
        "telemetry.finish": "20s",
        "approval.self": "always",
        **{key.replace("__", "."): text for key, text in more.items()},
    }
    return Safeguard(cache, folder / "state", variables(settings))


def approve(guard: Safeguard, op: str) -> None:
    code, screen = guard.type("ops", "approve", op, answers=(("Type its first", "{digest}"),))
    assert code == 0, screen


def test_what_four_processes_do_for_one_operation_is_one_trace(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked(200) as receiver, hooked() as hook:
        guard = watched(newest_cache, tmp_path, receiver, **hook.settings(tmp_path))
        held = guard.run("clean", *QUICK)
        assert held.returncode == 11, held.stderr
        told = hook.one()
        op = OP.findall(held.stderr)[0]
        approve(guard, op)
        assert guard.run("clean", op, "--proof", "none").returncode == 0
        assert guard.run("undo", op, "--proof", "none").returncode == 0
        found = seen(receiver)
    assert found.paths(op) == [
        "guard.operation",
        "guard.operation/guard.check",
        "guard.operation/guard.check/guard.check.permissions",
        "guard.operation/guard.policy",
        "guard.operation/guard.approval.wait",
        "guard.operation/guard.approval.wait/guard.notify",
        "guard.operation/guard.approval",
        "guard.operation/guard.execute",
        "guard.operation/guard.execute/guard.wave",
        "guard.operation/guard.execute/guard.wave",
        "guard.operation/guard.execute/guard.verify",
        "guard.operation/guard.undo",
    ]
    assert len(found.spans) == len(found.trace(op))  # and no trace besides
    root, *_ = found.trace(op)
    assert (root.parent_id, root.attributes["guard.outcome"], root.is_error) == (b"", "held", False)
    assert root.span_id == ids_of(op).root
    assert {(one.service, one.resource["tenant"]) for one in found.spans} == {("go-cache-safeguard", "shop")}
    assert {one.headers["x-key"] for one in receiver.received} == {"secret-of-receiver"}
    assert {one.headers.get("x-tenant-id", "shop") for one in receiver.received} == {"shop"}
    (notify,) = (one for one in found.trace(op) if one.name == "guard.notify")
    assert told.headers["traceparent"].startswith(f"00-{notify.trace_id.hex()}-{notify.span_id.hex()}-")
    assert told.headers["baggage"] == f"guard.op_id={op}"
    (execute,) = (one for one in found.trace(op) if one.name == "guard.execute")
    (point,) = found.metric("guard.operation.duration").histogram.data_points
    assert [(one.trace_id, one.span_id) for one in point.exemplars] == [(execute.trace_id, execute.span_id)]
    moved = sum(point.as_int for point in found.metric("guard.wave.keys").sum.data_points)
    assert moved == sum(int(str(one.attributes["guard.keys"])) for one in found.trace(op) if one.name == "guard.wave")


def test_a_receiver_that_hangs_costs_a_line_and_nothing_else(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked(HANG) as receiver:
        guard = watched(newest_cache, tmp_path, receiver, policy__hold_share="100%", telemetry__finish="1s")
        done = guard.run("clean", *QUICK)
        assert done.returncode == 0, done.stderr
        assert not receiver.let_go.is_set()  # it ended although nobody had answered
    assert files_of(newest_cache.root) == {}
    lines = [line for line in done.stderr.splitlines() if line]
    assert [line[: line.index("within")] for line in lines] == ["telemetry was not delivered "], done.stderr


def test_a_process_that_is_killed_loses_its_spans_and_its_operation_goes_on_in_the_same_trace(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    with hooked(200) as receiver, hooked() as hook:
        guard = watched(newest_cache, tmp_path, receiver, **hook.settings(tmp_path))
        child = subprocess.Popen(
            [*COMMAND, "clean", *QUICK, "--confirm-wait", "1m"],
            cwd=newest_cache.module,
            env=guard.environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        op = OP.findall(hook.one().body.decode())[0]
        child.kill()
        child.wait(30)
        approve(guard, op)
        assert guard.run("clean", op, "--proof", "none").returncode == 0
        found = seen(receiver)
    assert files_of(newest_cache.root) == {}
    above = {one.name: one.parent_id for one in found.trace(op) if not one.name.startswith("guard.execute.")}
    assert above["guard.approval"] == above["guard.execute"] == ids_of(op).root


def test_the_variables_of_opentelemetry_are_heeded(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked(200) as receiver:
        standard = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=from-environment",
            "OTEL_SERVICE_NAME": "nightly-clean",
            "OTEL_METRICS_EXPORTER": "none",
            **variables({"policy.hold_share": "100%", "telemetry.finish": "20s"}),
        }
        guard = Safeguard(newest_cache, tmp_path / "state", standard)
        assert guard.run("clean", *QUICK).returncode == 0
        assert {(one.path, one.headers["x-key"]) for one in receiver.received} == {("/v1/traces", "from-environment")}
        assert {one.service for one in seen(receiver).spans} == {"nightly-clean"}


def test_a_decision_in_a_browser_or_over_the_api_is_part_of_the_trace_and_the_log_is_json(tmp_path: Path) -> None:
    cache = small_cache(tmp_path / "cache")
    with hooked(200) as receiver:
        settings = {"telemetry.endpoint": f"http://127.0.0.1:{receiver.port}", "log.format": "json"}
        with serving(tmp_path, settings) as served:
            add_person(served, "bob", "approver")
            session = served.session()
            with pytest.raises(Held):
                clean(session, cache.plan(), lambda: [PASSED], Manner(0, None), None)
            with session.journal(read_only=True) as journal:
                (operation,) = journal.operations()
            answer = httpx.post(
                f"{served.url}/api/v1/operations/{operation.id}/approve",
                json={"typed": str(operation.data["digest"])[:8]},
                headers={"Authorization": f"Bearer {mint(served, 'bob', 'approve')}"},
                trust_env=False,
            )
            assert answer.status_code == 200, answer.text
            assert served.stop() == 0
        (approval,) = seen(receiver).trace(operation.id)
    assert approval.parent_id == ids_of(operation.id).root
    assert (approval.attributes["guard.decision"], approval.attributes["guard.actor"]) == ("approve", "user:bob")
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert lines[0]["message"] == f"serving at 127.0.0.1:{served.port}"
    assert {"time", "level", "source", "message"} <= set.intersection(*(set(line) for line in lines))


ON = {"GO_CACHE_SAFEGUARD_TELEMETRY_ENDPOINT": "http://127.0.0.1:9"}


def loaded(guard: Safeguard, *arguments: str) -> set[str]:
    """Modules that a command loads."""
    command = [sys.executable, "-X", "importtime", "-m", "go_cache_safeguard", *arguments]
    done = subprocess.run(
        command, env=guard.environ, cwd=guard.cache.module, capture_output=True, text=True, check=True, timeout=120
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def of_telemetry(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("opentelemetry") or name.endswith("telemetry.otel")}


def test_what_nobody_wants_is_not_loaded_and_what_only_looks_never_loads_it(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    held = {"GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%"}
    off, on = (Safeguard(newest_cache, tmp_path / "state", {**held, **more}) for more in ({}, ON))
    assert of_telemetry(loaded(off, "--help")) == set()
    assert of_telemetry(loaded(on, "status")) == set()
    assert of_telemetry(loaded(off, "clean", *QUICK)) == set()
    (plan,) = (tmp_path / "state" / "plans").iterdir()
    assert of_telemetry(loaded(on, "undo", plan.stem, "--proof", "none"))  # so this test would see it


pytestmark = pytest.mark.real
