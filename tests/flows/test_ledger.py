"""Notes of many threads: each durable, none lost, few transactions."""

import threading
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.ledger import Ledger, LedgerClosed
from go_cache_safeguard.journal.store import Journal, JournalUnusable, open_journal


def _journal(path: Path) -> Journal:
    return open_journal(path, actor="uid:1(somebody)", version="1")


def test_every_note_of_every_thread_is_there_in_one_sound_chain(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    ledger = Ledger(lambda: _journal(path))

    def write(thread: int) -> None:
        for number in range(50):
            ledger.note("call-passed", {"thread": thread, "number": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    ledger.close()
    with _journal(path) as journal:
        found = [(record.data["thread"], record.data["number"]) for record in journal.records()]
        assert sorted(found) == [(thread, number) for thread in range(8) for number in range(50)]
        assert all(found.index((thread, 0)) < found.index((thread, 49)) for thread in range(8))
        assert journal.verify() == []
        assert (journal.last_seq, list(journal.moves())) == (400, [])


def test_a_note_is_durable_when_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    ledger = Ledger(lambda: _journal(path))
    for number in range(3):
        ledger.note("call-passed", {"number": number})
        with open_journal(path, actor="", version="1", read_only=True) as journal:
            assert journal.last_seq == number + 1
    ledger.close()


def test_whoever_cannot_write_is_told_and_the_next_one_may_try_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    broken, odd = [True], dict[str, Any](number=1.5)

    def journal() -> Journal:
        if broken[0]:
            raise JournalUnusable("no disk")
        return _journal(path)

    ledger = Ledger(journal)
    with pytest.raises(JournalUnusable):
        ledger.note("call-passed", {"number": 1})
    broken[0] = False
    ledger.note("call-passed", {"number": 2})
    with pytest.raises(TypeError):
        ledger.note("call-passed", odd)
    ledger.note("call-passed", {"number": 3})
    ledger.close()
    with _journal(path) as found:
        assert [record.data["number"] for record in found.records()] == [2, 3]
        assert found.verify() == []


def test_a_closed_ledger_writes_nothing_and_says_so(tmp_path: Path) -> None:
    ledger = Ledger(lambda: _journal(tmp_path / "state" / "journal.sqlite"))
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerClosed):
        ledger.note("call-passed", {})
    assert issubclass(LedgerClosed, Failure)
    assert not (tmp_path / "state").exists()
