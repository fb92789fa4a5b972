"""The outbox of a fleet: several servers on one database tell each hold once, and count the same."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.test_outbox import ABOUT, courier_of, session_of
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.metrics import JournalMetrics
from go_cache_safeguard.flows.session import new_operation_id
from go_cache_safeguard.journal.record import Entry
from hookservers import hooked
from postgres import Database

pytestmark = pytest.mark.real


def test_two_servers_tell_each_hold_once(database: Database, tmp_path: Path) -> None:
    ops = [new_operation_id() for _ in range(50)]
    hold: dict[str, Any] = {"reasons": ["too much"]}
    steps: list[tuple[State, dict[str, Any]]] = [(State.REQUESTED, ABOUT), (State.CHECKED, {}), (State.HELD, hold)]
    with database.journal() as journal:
        journal.write_all([Entry(str(state), data, op) for op in ops for state, data in steps])
    counts: list[Counter[str]] = []
    with hooked() as hook:
        session = session_of(tmp_path, hook)

        def server() -> None:
            courier = courier_of(session)
            with database.journal() as journal:
                courier.round(journal)
            counts.append(courier.delivered)

        servers = [threading.Thread(target=server) for _ in range(2)]
        for one in servers:
            one.start()
        for one in servers:
            one.join(120)
        assert Counter(one.headers["webhook-id"] for one in hook.received) == Counter(f"{op}_held" for op in ops)
    assert sum(count["sent"] for count in counts) == 50
    with database.journal() as journal:
        assert journal.verify() == []
    text = JournalMetrics(database.journal).text()[1].decode()
    assert 'go_cache_safeguard_held_operations{kind="go-build-cache"} 50.0' in text
    assert 'go_cache_safeguard_messages_total{channel="hook",result="sent"} 50.0' in text
