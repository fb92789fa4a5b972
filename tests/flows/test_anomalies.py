"""Anomalies of a real store of spans, as the command, the gate and the evidence of a held operation tell them."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from faulty_traces import FAULTS
from flows.test_flows import session_at
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.plan import Item, Plan
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.anomalies import Window, acts_of_journal, window_of
from go_cache_safeguard.flows.clean import ask
from go_cache_safeguard.flows.golden import SPANS
from go_cache_safeguard.signals.span import Kind, Span
from go_cache_safeguard.signals.spanstore import SpanStore
from go_cache_safeguard.telemetry.names import OP_ID
from labelled_faults import ONSET_NS, OP, QUIET_S, WINDOW, moved, situation
from safeguard import COMMAND

_S = 1_000_000_000
_EARLIER_S = 1_700  # so far before the window the quiet time lies: more than half an hour ago


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session's folder, with a purge of ours and what came of it in its store."""
    base = tmp_path_factory.mktemp("anomalies")
    cold = next(fault for fault in FAULTS["shop"] if "cold" in fault.name)
    read = situation("shop", [cold], 7_900).read
    by_ns = time.time_ns() - WINDOW.end_ns
    ids = bytes(range(16)), bytes(range(8))
    begin_ns = ONSET_NS - 6 * _S
    ours = Span(
        *ids, b"", "guard.wave", Kind.INTERNAL, "guard", "", begin_ns, begin_ns + 5 * _S, attributes={OP_ID: OP}
    )
    session = session_at(base)
    session.state_folder("signals")
    with SpanStore(session.state_dir / SPANS) as store:
        store.put(moved(list(read.before), by_ns - _EARLIER_S * _S), observe=True)
        store.put(moved([*read.now, ours], by_ns), observe=True)
    log = [_line(ONSET_NS + by_ns + at * _S, f"product {at} is not in the cache, loading it") for at in range(60)]
    quiet_ns = WINDOW.baseline_ns + by_ns - _EARLIER_S * _S
    usual = [_line(quiet_ns + at * _S, f"request {at} served") for at in range(QUIET_S)]
    (base / "log").write_text("\n".join([*usual, *log, "no json"]), "utf-8")
    return base


def _line(at_ns: int, message: str) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ns / 1e9))
    return json.dumps({"time": f"{at}Z", "service": "catalog", "message": message})


def _run(base: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {
        "HOME": str(base),
        "PATH": "",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
        "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base}/state",
    }
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=120, cwd=base
    )


def test_the_command_joins_traces_metrics_and_logs_and_names_our_operation(state: Path) -> None:
    done = _run(state, "signals", "anomalies", "--logs", "log", "--json")
    assert done.returncode == 10, done.stderr
    told = json.loads(done.stdout)
    event = told["events"][0]
    assert event["operation"] == OP
    assert event["causes"][0]["sure"] == 0.8
    assert event["causes"][1]["place"] == ["catalog", "SELECT product"]
    assert {"catalog", "edge"} <= set(event["services"])
    assert [one["text"] for one in event["templates"]] == ["product <n> is not in the cache, loading it"]
    assert ("edge", "p95") in {(one["service"], one["metric"]) for one in event["changes"]}, told
    assert (told["unread_lines"], told["why"]) == (1, "")


def test_the_gate_pauses_for_an_event_that_points_at_the_operation(state: Path) -> None:
    lengths = ("--since", "10m", "--baseline", "40m", "--service", "edge")
    done = _run(state, "signals", "gate", *lengths, "--operation", OP, "--json")
    assert done.returncode == 11, (done.stdout, done.stderr)
    reasons = json.loads(done.stdout)["services"]["edge"]["reasons"]
    assert any("points at this operation" in reason for reason in reasons)


def test_a_held_operation_tells_what_was_wrong_and_the_journal_when_something_went(state: Path) -> None:
    session = session_at(state)
    plan = Plan(
        kind="redis", target="127.0.0.1:6379", identity="x", selectors=("shop:*",), requester="uid:1(a)", items=(Item("0/a", 1, 0, "x"),),
        whole=1, made_at="2026-11-23T00:00:00Z",
    )  # fmt: skip
    fine = (Verdict("size", Outcome.PASS, "fine"),)
    with session.journal() as journal:
        op = ask(session, journal, plan, lambda: fine, person="somebody is to look").op
        told = journal.operation(op).data["dependents"]
        journal.advance(op, State.APPROVED, {})
        journal.advance(op, State.REMOVING, {})
    assert told[0].startswith(f"catalog, edge: our operation {OP} (in waves)")
    assert "compared with" in told[-1]
    (act,) = acts_of_journal(session, window_of(60, 60))
    assert (act.op, act.what) == (op, "redis 127.0.0.1:6379")


def test_without_a_store_nothing_is_told_and_without_a_journal_there_are_no_acts(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    assert acts_of_journal(session, Window(0, 1, 2)) == []
    done = _run(tmp_path, "signals", "anomalies")
    assert done.returncode == 36
    assert "traces receive" in done.stderr
