"""Alerts and metrics of a journal: a real Alertmanager is told, a real Prometheus reads them, and none of it holds anything up."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alerting import alertmanager, alerts, asked, fetched, program, prometheus
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.alerts import Alarms, afterwards
from go_cache_safeguard.flows.hooks import announce, announcer_of
from go_cache_safeguard.flows.metrics import JournalMetrics
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, new_operation_id, open_session
from guardproxy import free_port, wait_until

pytestmark = pytest.mark.real
P = "go_cache_safeguard_"
ABOUT: dict[str, Any] = {
    "kind": "go-build-cache",
    "target": "/home/alice/cache",
    "digest": "ab" * 32,
    "items": 3,
    "bytes": 70,
}
HELD, BROKEN = "GoCacheSafeguardOperationHeld", "GoCacheSafeguardBreakGlass"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with alertmanager(tmp_path_factory.mktemp("manager")) as where:
        yield where


def settings(folder: Path, manager: str) -> dict[str, str]:
    return {
        "state.dir": str(folder / "state"),
        "alerts.alertmanager": f"http://{manager}",
        "metrics.textfile": str(folder / "safeguard.prom"),
        "approval.page": "https://safeguard.example",
    }


def session_of(folder: Path, manager: str) -> Session:
    return open_session(settings(folder, manager), progress=Silent())


def held(session: Session) -> str:
    op = new_operation_id()
    with session.journal() as journal:
        journal.advance(op, State.REQUESTED, ABOUT)
        journal.advance(op, State.CHECKED, {})
        journal.advance(op, State.HELD, {"reasons": ["too much"], "expires_s": int(time.time()) + 3600})
    return op


def of(manager: str, op: str) -> set[str]:
    """Names of what is alerted about an operation."""
    return {one["labels"]["alertname"] for one in active(manager) if one["labels"].get("op") == op}


def active(manager: str) -> list[dict[str, Any]]:
    return list(fetched(manager, "/api/v2/alerts?active=true"))


def numbers(path: Path) -> dict[str, float]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def command(folder: Path, manager: str, *words: str) -> "subprocess.CompletedProcess[str]":
    given = {
        f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in settings(folder, manager).items()
    }
    return subprocess.run(
        [sys.executable, "-m", "go_cache_safeguard", *words],
        env={**os.environ, **given, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_is_held_is_alerted_and_resolved_by_the_command_that_decides(manager: str, tmp_path: Path) -> None:
    said: list[str] = []
    session = session_of(tmp_path, manager)
    op = held(session)
    with session.journal() as journal:
        announce(session, journal, op, said.append)
    (told,) = [one for one in active(manager) if one["labels"].get("op") == op]
    assert told["labels"]["alertname"] == HELD
    assert told["labels"]["kind"] == "go-build-cache"
    assert told["generatorURL"] == f"https://safeguard.example/op/{op}"
    assert "/home/alice/cache" in told["annotations"]["description"]
    assert numbers(tmp_path / "safeguard.prom")[P + 'held_operations{kind="go-build-cache"}'] == 1
    done = command(tmp_path, manager, "ops", "reject", op)
    assert done.returncode == 0, done.stderr
    assert of(manager, op) == set()
    after = numbers(tmp_path / "safeguard.prom")
    assert after[P + 'held_operations{kind="go-build-cache"}'] == 0
    assert after[P + 'operations_decided_total{outcome="rejected"}'] == 1
    assert said == []


def test_an_emergency_is_alerted_until_somebody_has_reviewed_it(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    op = held(session)
    emergency: dict[str, Any] = {"emergency": True, "reason": "full", "approver": "uid:2(b)", "review_by_s": 1}
    with session.journal() as journal:
        journal.advance(op, State.APPROVED, emergency)
        journal.advance(op, State.PASSED, {})
    afterwards(session, print)
    assert of(manager, op) == {BROKEN, "GoCacheSafeguardReviewOverdue"}
    with session.journal() as journal:
        journal.note("reviewed", {"finding": "justified"}, op=op)
    afterwards(session, print)
    assert of(manager, op) == set()


def test_whoever_delivers_alerts_as_well_and_again(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    announcer = announcer_of(session, print)
    assert announcer is not None
    announcer.begin()
    try:
        op = held(session)
        wait_until("it is alerted", lambda: of(manager, op) == {HELD}, 30)
        with session.journal() as journal:
            journal.advance(op, State.CANCELLED, {})
        wait_until("it is over", lambda: of(manager, op) == set(), 30)
    finally:
        announcer.close()


def test_a_manager_that_is_away_holds_nothing_up_and_is_told_later(manager: str, tmp_path: Path) -> None:
    said: list[str] = []
    away = session_of(tmp_path, f"127.0.0.1:{free_port()}")
    op = held(away)
    with away.journal() as journal:
        announce(away, journal, op, said.append)
    assert len(said) == 1
    assert "the Alertmanager was not told" in said[0]
    assert (tmp_path / "safeguard.prom").exists()
    afterwards(session_of(tmp_path, manager), said.append)
    assert of(manager, op) == {HELD}
    assert len(said) == 1


def test_trouble_with_the_journal_is_alerted_and_nothing_is_guessed(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    held(session)
    afterwards(session, print)
    assert numbers(tmp_path / "safeguard.prom")[P + "journal_readable"] == 1
    journal = tmp_path / "state" / "journal.sqlite"
    journal.rename(tmp_path / "away")
    for more in ("-wal", "-shm"):
        journal.with_name(journal.name + more).unlink(missing_ok=True)
    journal.mkdir()
    done = command(tmp_path, manager, "ops", "deliver")
    assert done.returncode == 33, done.stderr
    assert "GoCacheSafeguardJournalTrouble" in alerts(manager)
    assert numbers(tmp_path / "safeguard.prom") == {P + "journal_readable": 0}


def test_a_journal_that_somebody_changed_is_alerted_by_the_command_that_finds_it(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    op = held(session)
    head = tmp_path / "state" / "journal.sqlite.head"
    head.write_bytes(b"changed")
    done = command(tmp_path, manager, "ops", "reject", op)
    assert done.returncode == 34, done.stderr
    found = [one for one in active(manager) if one["labels"]["alertname"] == "GoCacheSafeguardJournalTrouble"]
    assert "was changed" in found[0]["annotations"]["description"]
    assert numbers(tmp_path / "safeguard.prom") == {P + "journal_readable": 0}


def test_the_textfile_is_well_formed_replaced_as_a_whole_and_names_nobody(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    op, path = held(session), tmp_path / "safeguard.prom"
    looked: list[bytes] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if path.exists():
                looked.append(path.read_bytes())

    watching = threading.Thread(target=look)
    watching.start()
    try:
        with session.journal() as journal:
            for _ in range(20):
                alarms = Alarms(session, print)
                alarms.look(journal)
    finally:
        stop.set()
        watching.join(30)
    assert {one[-1:] for one in looked} == {b"\n"}
    assert len({one.count(b"\n") for one in looked}) == 1
    text = path.read_text()
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert path.stat().st_mode & 0o777 == 0o644
    for secret in (op, "alice", "uid:"):
        assert secret not in text
    assert [one.name for one in tmp_path.iterdir() if "safeguard" in one.name] == ["safeguard.prom"]


@pytest.mark.parametrize("trap", ["link", "fifo", "missing"])
def test_a_textfile_that_cannot_be_written_is_told_and_fails_nothing(manager: str, tmp_path: Path, trap: str) -> None:
    said: list[str] = []
    session = session_of(tmp_path, manager)
    op, waiting = held(session), tmp_path / ".safeguard.prom.new"
    victim = tmp_path / "victim"
    victim.write_text("mine")
    if trap == "link":
        waiting.symlink_to(victim)
    elif trap == "fifo":
        os.mkfifo(waiting)
    else:
        session = open_session(
            {**settings(tmp_path, manager), "metrics.textfile": str(tmp_path / "none" / "x.prom")}, progress=Silent()
        )
    with session.journal() as journal:
        announce(session, journal, op, said.append)
    assert len(said) == 1
    assert "the metrics are not in" in said[0]
    assert victim.read_text() == "mine"
    assert of(manager, op) == {HELD}


@contextmanager
def shown(metrics: JournalMetrics) -> Iterator[str]:
    """Lets a Prometheus ask, as `serve` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = metrics.text(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def test_prometheus_reads_the_journal_and_alerts_by_the_shipped_rules(manager: str, tmp_path: Path) -> None:
    session = session_of(tmp_path, manager)
    op = held(session)
    emergency: dict[str, Any] = {"emergency": True, "reason": "the disk is full", "approver": "uid:2(b)"}
    with session.journal() as journal:
        journal.advance(op, State.APPROVED, {**emergency, "review_by_s": int(time.time()) + 3600})
    with shown(JournalMetrics(session.journal)) as where, prometheus(tmp_path, where, manager) as reader:
        wait_until("it is read", lambda: asked(reader, P + "reviews_due == 1"), 60)
        wait_until("somebody is told", lambda: "GoCacheSafeguardReviewDue" in alerts(manager), 60)
        with session.journal() as journal:
            journal.note("reviewed", {"finding": "justified"}, op=op)
        held(session)
        wait_until("it is over", lambda: asked(reader, P + "reviews_due == 0"), 60)
        wait_until("the other is seen", lambda: asked(reader, P + 'held_operations{kind="go-build-cache"} == 1'), 60)
