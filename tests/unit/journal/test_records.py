"""What a journal means, wherever its records lie: every test runs on a file and on a real Postgres."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from go_cache_safeguard.core.errors import ExitCode, IllegalTransition
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import Operation, operation_id
from go_cache_safeguard.journal.chain import Head
from go_cache_safeguard.journal.record import NO_PREV, Entry, Record, parse_record
from go_cache_safeguard.journal.records import JournalUnusable, NoSuchOperation, Pen, Records, Stamp, Writer
from go_cache_safeguard.journal.store import open_journal
from postgres import Database

ALICE = "uid:1000(alice)"
OP, OTHER = operation_id(1, 1), operation_id(2, 2)
HELD = (State.REQUESTED, State.CHECKED, State.HELD)
Opens = Callable[..., Records]


@pytest.fixture(params=["file", "postgres"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Opens:
    """Opens the same journal again and again."""
    if request.param == "file":
        return lambda *, read_only=False: open_journal(
            tmp_path / "journal.sqlite", actor=ALICE, version="0.1", read_only=read_only
        )
    database: Database = request.getfixturevalue("database")
    return lambda *, read_only=False: database.journal(read_only=read_only)


@pytest.fixture
def journal(opens: Opens) -> Iterator[Records]:
    with opens() as journal:
        yield journal


def walk(journal: Records, op: str, *states: State) -> None:
    for state in states:
        journal.advance(op, state, {"to": str(state)})


def test_a_new_journal_is_empty_and_good(opens: Opens) -> None:
    for read_only in (True, False):
        with opens(read_only=read_only) as journal:
            assert (journal.operations(), list(journal.records()), list(journal.rows())) == ([], [], [])
            assert (journal.verify(), journal.last_seq, journal.log, journal.leaves()) == ([], 0, "", b"")
            assert journal.export(lambda _: None) == 0


def test_a_note_holds_who_when_where_and_what(journal: Records) -> None:
    first = journal.note("config", {"paths": ("a", "b")})
    second = journal.note("progress", {"done": 3}, op=OP)
    assert (first.seq, first.prev, first.op, first.actor, first.version) == (1, NO_PREV, None, ALICE, "0.1")
    assert (first.data, first.host) == ({"paths": ["a", "b"]}, os.uname().nodename)
    assert (second.seq, second.op, second.log, second.boot) == (2, OP, first.log, first.boot)
    assert second.prev == next(journal.rows()).hash.hex()
    assert second.mono_ns > first.mono_ns
    assert second.at > first.at
    assert list(journal.records()) == [first, second]
    assert (journal.operations(), journal.verify()) == ([], [])


def test_an_operation_goes_its_way(journal: Records) -> None:
    walk(journal, OP, *HELD)
    journal.note("progress", {"to": "a note lays nothing over an operation"}, op=OP)
    now = journal.advance(OP, State.APPROVED, {"approver": "bob"})
    assert (now.state, now.requester, now.states) == (State.APPROVED, ALICE, (*HELD, State.APPROVED))
    assert now.data == {"to": "HELD", "approver": "bob"}
    assert journal.operation(OP) == now
    assert journal.operations() == [now]


def test_operations_are_listed_newest_last(journal: Records) -> None:
    walk(journal, OTHER, State.REQUESTED)
    walk(journal, OP, *HELD)
    walk(journal, OTHER, State.CANCELLED)
    assert [(found.id, found.state) for found in journal.operations()] == [(OTHER, State.CANCELLED), (OP, State.HELD)]


def test_an_arrow_that_is_not_in_the_table_is_refused_and_nothing_is_written(journal: Records) -> None:
    with pytest.raises(IllegalTransition, match="is not known and cannot become DONE"):
        journal.advance(OP, State.DONE, {})
    walk(journal, OP, *HELD)
    with pytest.raises(IllegalTransition, match="is HELD and cannot become REMOVING") as caught:
        journal.advance(OP, State.REMOVING, {})
    assert caught.value.exit_code is ExitCode.REFUSED
    assert journal.last_seq == 3


def test_nobody_knows_an_operation_that_was_never_asked_for(journal: Records) -> None:
    for name in (OP, "op_'; DROP TABLE record; --"):
        with pytest.raises(NoSuchOperation):
            journal.operation(name)
        with pytest.raises(NoSuchOperation):
            journal.decide(name, lambda *_: [])


def test_what_has_not_the_right_form_is_not_written(journal: Records) -> None:
    with pytest.raises(ValueError, match="not the name of a note"):
        journal.note("DONE", {})
    with pytest.raises(ValueError, match="op is not the name"):
        journal.note("progress", {}, op="op_1")
    with pytest.raises(ValueError, match="op is not the name"):
        journal.advance("../../etc", State.REQUESTED, {})
    with pytest.raises(TypeError, match="no canonical form"):
        journal.note("progress", json.loads('{"share": 0.5}'))
    assert list(journal.rows()) == []
    assert journal.note("progress", {}).seq == 1


def test_records_can_be_asked_for_in_many_ways(journal: Records) -> None:
    walk(journal, OP, *HELD)
    walk(journal, OTHER, State.REQUESTED)
    journal.note("progress", {}, op=OP)
    journal.note("config", {"text": '"step":"progress"'})
    assert [record.seq for record in journal.records(since=3)] == [4, 5, 6]
    assert [record.seq for record in journal.records(op=OP)] == [1, 2, 3, 5]
    assert [record.seq for record in journal.records(since=3, op=OP)] == [5]
    assert [record.seq for record in journal.moves(2)] == [3, 4]
    assert [record.seq for record in journal.filed(1)] == [2, 3, 4, 5]
    assert [record.seq for record in journal.notes("progress")] == [5]
    assert [row.seq for row in journal.rows_from(4)] == [4, 5, 6]
    assert journal.leaves() == b"".join(row.hash for row in journal.rows())
    assert journal.log == next(journal.records()).log


def test_one_may_write_while_one_reads_and_more_than_a_batch_is_all_there(journal: Records, opens: Opens) -> None:
    journal.write_all([Entry("progress", {})] * 2100)
    for record in journal.records():
        if record.seq <= 3:
            journal.note("progress", {"about": record.seq})
    with opens(read_only=True) as reader:
        assert [record.seq for record in reader.records()] == list(range(1, 2104))
        assert reader.verify() == []
        assert reader.examine().leaves == reader.leaves()


def test_a_reader_writes_nothing(opens: Opens) -> None:
    with opens() as journal:
        walk(journal, OP, *HELD)
    with opens(read_only=True) as reader:
        assert reader.operation(OP).state is State.HELD
        for write in (lambda: reader.note("config", {}), lambda: reader.advance(OP, State.APPROVED, {})):
            with pytest.raises(JournalUnusable, match="opened for reading"):
                write()
        with pytest.raises(JournalUnusable, match="opened for reading"):
            reader.decide(OP, lambda *_: [])


def test_several_entries_are_one_transaction_and_a_move_that_cannot_be_is_left_out(journal: Records) -> None:
    entries = [Entry(str(state), {}, OP) for state in HELD]
    found = journal.write_all([*entries, Entry("progress", {}, OP), Entry("DONE", {}, OP), Entry("REJECTED", {}, OP)])
    states = [it.state if isinstance(it, Operation) else type(it) for it in found]
    assert states == [*HELD, type(None), IllegalTransition, State.REJECTED]
    assert [record.step for record in journal.records()] == ["REQUESTED", "CHECKED", "HELD", "progress", "REJECTED"]
    with pytest.raises(ValueError, match="step"):
        journal.write_all([Entry("fine", {}), Entry("Not fine", {})])
    assert journal.last_seq == 5
    journal.catch_up()
    assert journal.verify() == []


def test_an_operation_is_begun_once_whoever_else_tries(journal: Records) -> None:
    entries = [Entry(str(state), {"by": "one"}, OP) for state in HELD]
    first = journal.begin(OP, entries)
    assert (first.state, journal.last_seq) == (State.HELD, 3)
    assert journal.begin(OP, [Entry("REQUESTED", {"by": "other"}, OP)]) == first
    assert journal.last_seq == 3


def test_an_entry_may_be_written_on_behalf_of_somebody_else(journal: Records) -> None:
    journal.write_all([Entry("REQUESTED", {}, OP, actor="uid:7(carol)@host")])
    assert journal.operation(OP).requester == "uid:7(carol)@host"


def test_an_export_can_be_checked_with_sha256sum_alone(journal: Records, tmp_path: Path) -> None:
    walk(journal, OP, *HELD)
    journal.note("config", {"path": "/caf\udce9 \\ \"'%s\n\t$(x)"})
    lines: list[bytes] = []
    assert journal.export(lines.append) == 4
    recipe = "\n".join((Records.export.__doc__ or "").split("\n\n")[2].splitlines())
    for first, changed in ((lines[0], 0), (lines[0].replace(b"alice", b"mallo"), 1)):
        (tmp_path / "export.txt").write_bytes(b"".join([first, *lines[1:]]))
        ran = subprocess.run(["sh", "-c", recipe], cwd=tmp_path, capture_output=True, check=True, text=True)
        assert ran.stdout.count("changed: ") == changed


def test_stored_bodies_are_records(journal: Records) -> None:
    walk(journal, OP, *HELD)
    assert [parse_record(row.body) for row in journal.rows()] == list(journal.records())


# --- decide ------------------------------------------------------------------------------------------------------------


def test_a_judge_sees_the_operation_its_records_and_the_time_and_says_what_is_written(journal: Records) -> None:
    walk(journal, OP, *HELD)
    journal.note("token-minted", {"sha256": "x"}, op=OP)
    walk(journal, OTHER, State.REQUESTED)
    seen: list[tuple[Operation, Sequence[Record], int]] = []

    def judge(found: Operation, records: Sequence[Record], now_s: int) -> list[Entry]:
        seen.append((found, records, now_s))
        return [Entry("agreed", {"by": "bob"}, OP), Entry("APPROVED", {"approver": "bob"}, OP)]

    now = journal.decide(OP, judge)
    ((found, records, now_s),) = seen
    assert (found.state, [record.seq for record in records]) == (State.HELD, [1, 2, 3, 4])
    assert abs(now_s - time.time()) < 60
    assert (now.state, now.data["approver"]) == (State.APPROVED, "bob")
    assert journal.operation(OP) == now
    assert [record.step for record in journal.records(op=OP)][-2:] == ["agreed", "APPROVED"]
    assert journal.verify() == []


def test_what_a_judge_raises_goes_through_and_nothing_is_written(journal: Records) -> None:
    walk(journal, OP, *HELD)

    def judge(*_: object) -> list[Entry]:
        raise NoSuchOperation("not this one")

    with pytest.raises(NoSuchOperation, match="not this one"):
        journal.decide(OP, judge)
    with pytest.raises(IllegalTransition):
        journal.decide(OP, lambda *_: [Entry("agreed", {}, OP), Entry("DONE", {}, OP)])
    assert journal.decide(OP, lambda *_: []).state is State.HELD
    assert journal.last_seq == 3


def test_the_time_that_a_judge_is_told_is_never_before_that_of_a_record() -> None:
    clock = iter(["2026-01-02T03:04:05.000000Z", "1999-01-01T00:00:00.000000Z", "1999-01-01T00:00:00.000000Z"])
    pen = Pen(
        Writer(ALICE, "0.1", "host", "boot"),
        Head("ab" * 16, 0, NO_PREV),
        "",
        lambda: Stamp(next(clock), 1),
        lambda _op: [],
    )
    written = [pen.write(Entry("REQUESTED", {}, OP)), pen.write(Entry("config", {}))]
    assert [record.at[:4] for record in written] == ["2026", "1999"]
    assert pen.present_s(written) == 1_767_323_045


class Watching:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def wrote(self, journal: Records, step: str) -> None:
        assert journal.last_seq
        self.steps.append(step)

    def closing(self, journal: Records) -> None:
        assert journal.last_seq
        self.steps.append("closing")


def test_whoever_keeps_an_eye_on_a_journal_is_told_of_each_record(opens: Opens) -> None:
    watching = Watching()
    with opens() as journal:
        journal._keeper = watching
        journal.note("config", {})
        walk(journal, OP, *HELD)
        journal.decide(OP, lambda *_: [Entry("agreed", {}, OP), Entry("APPROVED", {}, OP)])
        journal.decide(OP, lambda *_: [])
        journal.write_all([Entry("config", {})])
        journal.catch_up()
    assert watching.steps == ["config", *map(str, HELD), "agreed", "APPROVED", "", "closing"]
