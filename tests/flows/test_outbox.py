"""The outbox: nothing is lost and nothing told twice by two, whatever dies, is away, or comes at the same time."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.approval.outbox import CLAIMED, FAILED, GIVEN_UP, SENT
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows import outbox
from go_cache_safeguard.flows.hooks import channels_of, rule_of
from go_cache_safeguard.flows.outbox import Courier
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.session import Session, new_operation_id, open_session
from go_cache_safeguard.journal import store
from go_cache_safeguard.journal.record import Entry
from go_cache_safeguard.journal.records import Stamp
from hookservers import HANG, HookServer, hooked

ABOUT: dict[str, Any] = {"kind": "go-build-cache", "target": "/cache", "digest": "ab" * 32, "items": 3, "bytes": 70}


def session_of(folder: Path, hook: HookServer, **more: str) -> Session:
    return open_session({"state.dir": str(folder / "state"), **hook.settings(folder, **more)}, progress=Silent())


def held(session: Session, count: int = 1) -> list[str]:
    ops = [new_operation_id() for _ in range(count)]
    with session.journal() as journal:
        hold = {"reasons": ["too much"], "expires_s": int(time.time()) + 86_400}
        steps: list[tuple[State, dict[str, Any]]] = [(State.REQUESTED, ABOUT), (State.CHECKED, {}), (State.HELD, hold)]
        journal.write_all([Entry(str(state), data, op) for op in ops for state, data in steps])
        journal.catch_up()
    return ops


def courier_of(session: Session, said: list[str] | None = None, **more: Any) -> Courier:
    say = (said if said is not None else []).append
    return Courier(channels_of(session), rule_of(session.config), say, pause=lambda _: True, **more)


def delivered(session: Session, said: list[str] | None = None) -> Counter[str]:
    with session.journal() as journal:
        courier = courier_of(session, said)
        courier.round(journal)
    return courier.delivered


def steps(session: Session, op: str) -> list[str]:
    with session.journal(read_only=True) as journal:
        return [record.step for record in journal.records(op=op) if record.state is None]


def later(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let time go by, for who looks whether something is due, and for the journal."""

    def stamp() -> Stamp:
        at = datetime.fromtimestamp(time.time() + seconds, UTC)
        return Stamp(at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), time.monotonic_ns())

    monkeypatch.setattr(outbox, "_now_s", lambda: int(time.time()) + seconds)
    monkeypatch.setattr(store, "stamp", stamp)


def test_a_target_that_was_down_for_a_while_gets_everything_once_when_it_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with hooked(503, 204) as hook:
        session = session_of(tmp_path, hook)
        ops = held(session, 20)
        assert delivered(session, said) == Counter(failed=1)  # one of them asks whether it is there
        assert "answered 503" in said[0]
        assert delivered(session) == Counter()  # it is not asked again before its time
        later(monkeypatch, 60)
        assert delivered(session) == Counter(sent=20)
        assert delivered(session) == Counter()
    ids = Counter(one.headers["webhook-id"] for one in hook.received)
    assert set(ids) == {f"{op}_held" for op in ops}
    assert sum(ids.values()) == 21
    assert len({one.body for one in hook.received}) == 20  # the same message is the same bytes


def test_a_thousand_held_operations_are_told_once_each_by_two_who_deliver_at_the_same_time(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook)
        ops = held(session, 1000)
        counts: list[Counter[str]] = []
        couriers = [threading.Thread(target=lambda: counts.append(delivered(session))) for _ in range(2)]
        for one in couriers:
            one.start()
        for one in couriers:
            one.join(300)
        assert Counter(one.headers["webhook-id"] for one in hook.received) == Counter(f"{op}_held" for op in ops)
    assert sum((count["sent"] for count in counts), 0) == 1000
    with session.journal(read_only=True) as journal:
        assert Counter(record.step for record in journal.filed() if record.state is None) == {CLAIMED: 1000, SENT: 1000}
        assert journal.verify() == []


def deliver(session: Session, hook: HookServer, folder: Path, *more: str, **settings: str) -> "subprocess.Popen[str]":
    """As a timer would start it."""
    given = {"state.dir": str(session.state_dir), **hook.settings(folder, **settings)}
    environ = {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in given.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "go_cache_safeguard", "ops", "deliver", *more],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_whoever_is_killed_between_sending_and_noting_has_it_sent_again_by_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hooked(HANG, 204) as hook:
        session = session_of(tmp_path, hook, approval__hook_timeout="20s")
        (op,) = held(session)
        with deliver(session, hook, tmp_path, approval__hook_timeout="20s") as child:
            first = hook.one()  # it has come, and whoever sent it does not know
            child.kill()
        hook.let_go.set()
        assert steps(session, op) == [CLAIMED]
        assert delivered(session) == Counter()  # nobody else takes it while the other may be at it
        later(monkeypatch, 600)
        assert delivered(session) == Counter(sent=1)
        second = hook.received[-1]
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"{op}_held"
    assert first.body == second.body
    assert steps(session, op) == [CLAIMED, CLAIMED, SENT]


def test_after_the_stated_time_it_is_given_up_loudly_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with hooked(500) as hook:
        session = session_of(tmp_path, hook, approval__give_up="1h")
        (op,) = held(session)
        assert delivered(session) == Counter(failed=1)
        later(monkeypatch, 1800)
        assert delivered(session) == Counter(failed=1)
        later(monkeypatch, 4000)
        assert delivered(session, said) == Counter(given_up=1)
        assert delivered(session) == Counter()
        assert len(hook.received) == 2
    assert steps(session, op) == [CLAIMED, FAILED, CLAIMED, FAILED, GIVEN_UP]
    assert "given up after 2 attempts" in said[0]
    assert op in said[0]
    with session.journal(read_only=True) as journal:
        assert journal.operation(op).state is State.HELD


def test_gone_means_that_nobody_wants_it(tmp_path: Path) -> None:
    with hooked(410) as hook:
        session = session_of(tmp_path, hook)
        (op,) = held(session)
        assert delivered(session) == Counter(failed=1)
        assert delivered(session) == Counter(given_up=1)
        assert len(hook.received) == 1
    assert steps(session, op)[-1] == GIVEN_UP


def test_who_says_how_long_to_wait_is_left_alone_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hooked(429, 204, retry_after="900") as hook:
        session = session_of(tmp_path, hook)
        held(session)
        assert delivered(session) == Counter(failed=1)
        assert len(hook.received) == 1  # no second attempt at once either
        later(monkeypatch, 890)
        assert delivered(session) == Counter()
        later(monkeypatch, 910)
        assert delivered(session) == Counter(sent=1)


def test_what_was_decided_meanwhile_is_not_told_as_held(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook)
        (op,) = held(session)
        with session.journal() as journal:
            journal.advance(op, State.REJECTED, {"rejected_by": "uid:1(a)"})
        assert delivered(session) == Counter()
        assert hook.received == []


def test_decisions_and_emergencies_are_told_as_the_site_wants(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook, approval__tell="all")
        rejected, broken = held(session, 2)
        assert delivered(session) == Counter(sent=2)
        with session.journal() as journal:
            journal.advance(rejected, State.REJECTED, {"rejected_by": "uid:1(a)", "why": "not today"})
            why = "the disk is full"
            by = ["uid:2(b)"]
            journal.advance(
                broken, State.APPROVED, {"emergency": True, "reason": why, "approver": by[0], "approvers": by}
            )
        assert delivered(session) == Counter(sent=2)
        bodies = {one.headers["webhook-id"]: one.body for one in hook.received[2:]}
    assert set(bodies) == {f"{rejected}_rejected", f"{broken}_break-glass"}
    assert b'"type":"operation.rejected"' in bodies[f"{rejected}_rejected"]
    assert b'"decided_by":["uid:1(a)"]' in bodies[f"{rejected}_rejected"]
    assert b'"why":"the disk is full"' in bodies[f"{broken}_break-glass"]


def test_a_message_tells_of_the_moment_and_not_of_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hooked(204, 500, 204) as hook:
        session = session_of(tmp_path, hook, approval__tell="all")
        (op,) = held(session)
        delivered(session)
        with session.journal() as journal:
            journal.advance(op, State.APPROVED, {"approver": "uid:1(a)"})
            delivered(session)
            journal.advance(op, State.PASSED, {})
        later(monkeypatch, 60)
        assert delivered(session) == Counter(sent=1)
    assert hook.received[1].body == hook.received[2].body
    assert b'"state":"APPROVED"' in hook.received[1].body


def test_an_exception_of_a_channel_is_a_failure_and_shows_nothing_of_it(tmp_path: Path) -> None:
    class Broken:
        name, where, gather_s, lease_s = "broken", "nowhere", 0, 60

        def send(self, _letters: object, _pause: object) -> Any:
            raise RuntimeError("https://hooks.example/the-secret")

    said: list[str] = []
    with hooked() as hook:
        session = session_of(tmp_path, hook)
        (op,) = held(session)
        with session.journal() as journal:
            courier = Courier([Broken()], rule_of(session.config), said.append)
            courier.round(journal)
        assert courier.delivered == Counter(failed=1)
        assert "RuntimeError" in said[0]
        with session.journal(read_only=True) as journal:
            assert "the-secret" not in str(said) + str([dict(record.data) for record in journal.records(op=op)])


def test_the_command_for_timers_delivers_once_and_says_what_it_could_not(tmp_path: Path) -> None:
    with hooked(500, 500, 500, 204) as hook:
        session = session_of(tmp_path, hook)
        (op,) = held(session)
        with deliver(session, hook, tmp_path) as first:
            out, err = first.communicate(timeout=60)
        assert first.returncode == 13, err
        assert "0 sent, 1 failed" in out
        assert f"{op} is held, and its hook was not told" in err
        metrics = tmp_path / "safeguard.prom"
        with deliver(session, hook, tmp_path, "--json", "--metrics-file", str(metrics)) as again:
            out, err = again.communicate(timeout=60)
        assert 'messages_total{channel="hook",result="failed"} 1.0' in metrics.read_text()
        assert again.returncode == 0, err
        assert '"hook": 1' in out
        assert len(hook.received) == 3


def test_a_journal_without_records_has_nothing_to_tell(tmp_path: Path) -> None:
    with hooked() as hook:
        session = session_of(tmp_path, hook)
        assert delivered(session) == Counter()
        (op,) = held(session)
        assert delivered(session) == Counter(sent=1)
        assert steps(session, op)[-1] == SENT
